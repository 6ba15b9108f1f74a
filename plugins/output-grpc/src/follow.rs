//! One client's way through the log. What it has not taken yet is bounded: a few messages in a channel, and what
//! HTTP/2 lets through.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::convert::Item;
use crate::log::Client;

/// Messages on their way to a client.
const ON_THE_WAY: usize = 8;
/// Alerts read at a time.
const AT_A_TIME: usize = 16;

/// What a service sends.
pub(crate) type Stream<T> = ReceiverStream<Result<T, Status>>;

/// What there is to tell a client.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Next<'a> {
    /// So many alerts are gone; the next one has this number.
    Lost { count: u64, next: u64 },
    /// An alert and its number.
    Alert { number: u64, item: &'a Arc<Item> },
}

/// Where to begin, and when to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) next: u64,
    /// Go on with what comes, rather than end with what is there.
    pub(crate) follow: bool,
}

/// Sends what `message` makes of everything, until the client goes, or the log is closed and read.
pub(crate) fn follow<T: Send + 'static>(
    client: Client,
    way: Way,
    first: Vec<T>,
    message: impl Fn(&Client, Next<'_>) -> Option<T> + Send + 'static,
) -> Stream<T> {
    let (send, receive) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(async move {
        for one in first {
            if send.send(Ok(one)).await.is_err() {
                return;
            }
        }
        run(client, way, message, send).await;
    });
    ReceiverStream::new(receive)
}

async fn run<T>(
    client: Client,
    way: Way,
    message: impl Fn(&Client, Next<'_>) -> Option<T>,
    send: mpsc::Sender<Result<T, Status>>,
) {
    let mut next = way.next;
    let end = client.log().end();
    let mut news = client.log().news();
    loop {
        news.borrow_and_update();
        let read = client.log().read(next, AT_A_TIME);
        let mut messages = Vec::with_capacity(read.items.len() + 1);
        if read.lost > 0 {
            let lost = Next::Lost {
                count: read.lost,
                next: read.first,
            };
            messages.extend(message(&client, lost));
        }
        next = read.first;
        for item in &read.items {
            if !way.follow && next >= end {
                break;
            }
            messages.extend(message(&client, Next::Alert { number: next, item }));
            next += 1;
        }
        for one in messages {
            if send.send(Ok(one)).await.is_err() {
                return;
            }
        }
        if read.last || (!way.follow && next >= end) {
            return;
        }
        if read.items.is_empty() {
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = send.closed() => return,
            }
        }
    }
}
