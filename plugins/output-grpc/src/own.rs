//! Our own service: filters, a cursor, notices of loss.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::falco::too_many_clients;
use crate::follow::{Next, Span, Stream, follow};
use crate::log::{Client, Cursor, Log};
use crate::proto::own::alerts_server::Alerts;
use crate::proto::own::loss::Cause;
use crate::proto::own::message::Content;
use crate::proto::own::{Alert, Loss, Message, SubscribeRequest};

/// `lanner.alerts.v1.Alerts`.
#[derive(Debug)]
pub(crate) struct Own(pub(crate) Arc<Log>);

#[tonic::async_trait]
impl Alerts for Own {
    type SubscribeStream = Stream<Message>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let client = self.0.enter().ok_or_else(too_many_clients)?;
        let wanted = request.into_inner();
        let log = &self.0;
        let mut begin = Vec::new();
        let first = match (wanted.after.as_str(), wanted.no_follow) {
            ("", false) => log.end(),
            ("" | "oldest", _) => log.oldest(),
            (cursor, _) => match log.after(cursor) {
                Some(Cursor::Next(next)) => next,
                Some(Cursor::OtherProcess) => {
                    let next = log.oldest();
                    begin.push(loss(log, Cause::Restarted, 0, next));
                    next
                }
                None => {
                    return Err(Status::invalid_argument(format!(
                        "after: {cursor:?} is no cursor; use that of a message, or \"oldest\""
                    )));
                }
            },
        };
        let span = Span {
            first,
            follow: !wanted.no_follow,
        };
        let message = move |client: &Client, next: Next<'_>| message(client, next, &wanted);
        Ok(Response::new(follow(client, span, begin, message)))
    }
}

fn loss(log: &Log, cause: Cause, count: u64, next: u64) -> Message {
    let loss = Loss {
        cause: cause.into(),
        count,
    };
    Message {
        // A client that goes on after the notice gets the next alert. There is no cursor before the first alert.
        cursor: next
            .checked_sub(1)
            .map(|number| log.cursor(number))
            .unwrap_or_default(),
        content: Some(Content::Loss(loss)),
    }
}

fn message(client: &Client, next: Next<'_>, wanted: &SubscribeRequest) -> Option<Message> {
    let log = client.log();
    match next {
        Next::Lost { count, next } => Some(loss(log, Cause::Overwritten, count, next)),
        Next::Alert { number, item } => wants(wanted, &item.own).then(|| Message {
            cursor: log.cursor(number),
            content: Some(Content::Alert(item.own.clone())),
        }),
    }
}

/// Whether an alert passes the filters of a request.
fn wants(wanted: &SubscribeRequest, alert: &Alert) -> bool {
    let among = |list: &[String], value: &String| list.is_empty() || list.contains(value);
    wanted.priority.is_none_or(|worst| alert.priority <= worst)
        && among(&wanted.rules, &alert.rule)
        && among(&wanted.sources, &alert.source)
        && (wanted.tags.is_empty() || alert.tags.iter().any(|tag| wanted.tags.contains(tag)))
}
