//! Sends the log's alerts to one client. Little waits for a slow client: a few messages in a channel, and what fits into
//! its HTTP/2 window.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::convert::Item;
use crate::log::Client;

/// How many messages wait in the channel to a client.
const CHANNEL: usize = 8;
/// How many alerts are read from the log at a time.
const READ: usize = 16;

/// The stream of messages that a service sends.
pub(crate) type Stream<T> = ReceiverStream<Result<T, Status>>;

/// The next thing to send to a client.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Next<'a> {
    /// `count` alerts are not in the log any more. The next one has the number `next`.
    Lost { count: u64, next: u64 },
    /// An alert and its number.
    Alert { number: u64, item: &'a Arc<Item> },
}

/// Which alerts a client gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// The number of the first one.
    pub(crate) first: u64,
    /// Whether the client also gets alerts that come later, or only those that are there now.
    pub(crate) follow: bool,
}

/// Sends the messages of `begin`, and then the message that `message` makes of each alert and loss. Ends when the client
/// disconnects, the span ends, or the log is closed and read.
pub(crate) fn follow<T: Send + 'static>(
    client: Client,
    span: Span,
    begin: Vec<T>,
    message: impl Fn(&Client, Next<'_>) -> Option<T> + Send + 'static,
) -> Stream<T> {
    let (send, receive) = mpsc::channel(CHANNEL);
    tokio::spawn(async move {
        for one in begin {
            if send.send(Ok(one)).await.is_err() {
                return;
            }
        }
        run(client, span, message, send).await;
    });
    ReceiverStream::new(receive)
}

async fn run<T>(
    client: Client,
    span: Span,
    message: impl Fn(&Client, Next<'_>) -> Option<T>,
    send: mpsc::Sender<Result<T, Status>>,
) {
    let mut next = span.first;
    let end = client.log().end();
    let mut news = client.log().news();
    loop {
        news.borrow_and_update();
        let read = client.log().read(next, READ);
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
            if !span.follow && next >= end {
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
        if read.last || (!span.follow && next >= end) {
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
