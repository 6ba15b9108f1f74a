//! Accepts a limited number of connections, so that clients cannot take all descriptors that lanner may have. If accepting one
//! fails, the server logs that and goes on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lanner_plugin::{Host, Level};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;

use crate::authority::Frames;
use crate::connection::Connection;

/// How many connections there may be beyond those of `max_clients`. A client asks for alerts only after it has connected, and one
/// that is then refused must get an answer.
const MORE: usize = 16;

/// How long to wait after a failure: perhaps there are descriptors again then.
const PAUSE: Duration = Duration::from_millis(100);

/// The number of connections at a time: all clients and some more, but at most half of the descriptors that lanner may have.
pub(crate) fn places(max_clients: usize) -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call writes the struct.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    let half = usize::try_from(limit.rlim_cur / 2).unwrap_or(usize::MAX);
    let most = if known { half.max(MORE) } else { MORE };
    (max_clients.saturating_add(MORE))
        .min(most)
        .min(Semaphore::MAX_PERMITS)
}

/// A listener of tokio's.
pub(crate) trait Listen: Send + Sync + 'static {
    type Stream: Send + 'static;

    /// What changes the bytes of a new connection before the HTTP/2 library sees them, if anything does.
    fn rewritten() -> Option<Frames>;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listen for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;

    /// The bytes are those of TLS.
    fn rewritten() -> Option<Frames> {
        None
    }

    async fn accept(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listen for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    fn rewritten() -> Option<Frames> {
        Some(Frames::default())
    }

    async fn accept(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Accepts the connections of a listener, each of which holds one of the places until it ends. Call it in a runtime.
pub(crate) fn incoming<L: Listen>(
    listener: L,
    places: Arc<Semaphore>,
    host: Host,
) -> ReceiverStream<io::Result<Connection<L::Stream>>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = accept(&listener, &places, &host, &sender) => {}
            // the server has ended
            () = sender.closed() => {}
        }
    });
    ReceiverStream::new(receiver)
}

async fn accept<L: Listen>(
    listener: &L,
    places: &Arc<Semaphore>,
    host: &Host,
    sender: &Sender<io::Result<Connection<L::Stream>>>,
) {
    // While no place is free, new clients wait in the listener's queue.
    while let Ok(place) = Arc::clone(places).acquire_owned().await {
        match listener.accept().await {
            Ok(stream) => {
                let connection = Connection::new(stream, L::rewritten(), place);
                if sender.send(Ok(connection)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                let text = format!("cannot accept a client: {error}");
                host.log(Level::Warn, &text);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use lanner_plugin::testing;
    use tokio::io::{DuplexStream, duplex};
    use tokio_stream::StreamExt;

    use super::*;

    /// Has no descriptor three times, and then clients without end.
    struct Flaky(AtomicUsize);

    impl Listen for Flaky {
        type Stream = DuplexStream;

        fn rewritten() -> Option<Frames> {
            None
        }

        async fn accept(&self) -> io::Result<DuplexStream> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0..3 => Err(io::Error::from_raw_os_error(libc::EMFILE)),
                _ => Ok(duplex(1).0),
            }
        }
    }

    #[tokio::test]
    async fn failures_are_no_end_and_each_connection_has_a_place() {
        let (host, heard) = testing::host_with_ears();
        let places = Arc::new(Semaphore::new(2));
        let mut incoming = incoming(Flaky(AtomicUsize::new(0)), Arc::clone(&places), host);
        let first = incoming.next().await.unwrap().unwrap();
        assert!(heard.lines()[0].contains("cannot accept a client"));
        let _second = incoming.next().await.unwrap().unwrap();
        assert_eq!(places.available_permits(), 0);
        drop(first);
        let _third = incoming.next().await.unwrap().unwrap();
        assert_eq!(places.available_permits(), 0);
    }
}
