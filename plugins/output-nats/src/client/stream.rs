//! A stream of JetStream, over a [`Client`] (NATS, "JetStream wire API"). Questions are messages to subjects that begin with
//! `$JS.API`; a message to a subject of a stream is answered when the stream has stored it.

use std::time::Duration;

use lanner_plugin::Turn;
use lanner_plugin::deadline::Deadline;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::frames::{Message, shortened};
use super::{Client, ClientError, PIECE};
use crate::Settings;

/// What JetStream answers if there is no such stream.
const STREAM_NOT_FOUND: u64 = 10_059;

/// The status of the server's own answer when no client receives messages to a subject ("no responders").
const NO_RESPONDERS: u16 = 503;

/// The stream did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot find or make the stream: {0}")]
    Stream(String),
    #[error(
        "cannot find or make the stream: the server has no JetStream, or does not let this user use it"
    )]
    NoJetStream,
    #[error("no stream takes alerts with the subject {0}")]
    NoStream(String),
    #[error("the stream did not store the alert: {0}")]
    NotStored(String),
    #[error("cannot understand what JetStream answered")]
    Answer(#[source] serde_json::Error),
    #[error("the alert has {size} bytes, and the server takes at most {most} (`max_payload`)")]
    TooLarge { size: u64, most: u64 },
}

/// An error as JetStream reports it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reported {
    err_code: u64,
    description: String,
}

/// What JetStream answers about a stream, and about a message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    error: Option<Reported>,
    /// The name of the stream that has stored a message.
    stream: String,
    /// Whether it had the message before.
    duplicate: bool,
}

impl Answer {
    fn read(message: &Message) -> Result<Self, StreamError> {
        serde_json::from_slice(&message.content).map_err(StreamError::Answer)
    }
}

/// A message to be published.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    subject: String,
    /// The `Nats-Msg-Id`. It depends on the alert alone, so that it stays the same after a restart.
    id: String,
    json: &'a str,
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(subject: String, json: &'a str) -> Self {
        let sum = Sha256::digest(json.as_bytes());
        let id = sum
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self { subject, id, json }
    }

    fn headers(&self) -> String {
        format!("NATS/1.0\r\nNats-Msg-Id: {}\r\n\r\n", self.id)
    }
}

/// What became of messages.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// How many the stream acknowledged, counted from the front.
    pub(crate) acknowledged: usize,
    /// How many of those the stream had before.
    pub(crate) duplicates: u64,
    /// Why it did not acknowledge the next one. None: all are acknowledged, or it is time to go on with the rest later.
    pub(crate) failed: Option<StreamError>,
}

impl Client {
    /// Makes the stream of the settings, if it is not there.
    pub(crate) fn make_stream(
        &mut self,
        settings: &Settings,
        deadline: Deadline,
    ) -> Result<(), StreamError> {
        let name = &settings.stream;
        let found = self.question(&format!("$JS.API.STREAM.INFO.{name}"), "", deadline)?;
        match found.error {
            None => return Ok(()),
            Some(error) if error.err_code == STREAM_NOT_FOUND => {}
            Some(error) => return Err(StreamError::Stream(shortened(&error.description))),
        }
        let max_age = Duration::from_secs(settings.max_age_hours.saturating_mul(3600));
        let max_bytes = match settings.max_mb {
            0 => -1,
            mb => i64::from(mb) << 20,
        };
        let config = json!({
            "name": name,
            "subjects": [settings.wildcard_subject()],
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "num_replicas": settings.replicas,
            "max_age": u64::try_from(max_age.as_nanos()).unwrap_or(0),
            "max_bytes": max_bytes,
            "max_msgs": -1,
            "max_consumers": -1,
            "max_msg_size": -1,
        });
        let made = self.question(
            &format!("$JS.API.STREAM.CREATE.{name}"),
            &config.to_string(),
            deadline,
        )?;
        match made.error {
            None => Ok(()),
            Some(error) => Err(StreamError::Stream(shortened(&error.description))),
        }
    }

    fn question(
        &mut self,
        subject: &str,
        content: &str,
        deadline: Deadline,
    ) -> Result<Answer, StreamError> {
        let (reply, number) = self.ask();
        let length = content.len();
        let text = format!("PUB {subject} {reply} {length}\r\n{content}\r\n");
        self.send(text.as_bytes(), deadline)?;
        loop {
            let (answered, message) = self.answer(deadline)?;
            if answered != number {
                continue;
            }
            if message.status == Some(NO_RESPONDERS) {
                return Err(StreamError::NoJetStream);
            }
            return Answer::read(&message);
        }
    }

    /// Publishes messages for about a second, at least one, then waits until the stream has stored them. Sending and waiting may
    /// take `timeout` each.
    pub(crate) fn publish(&mut self, outgoing: &[Outgoing<'_>], timeout: Duration) -> Published {
        let mut published = Published::default();
        let first = self.asked + 1;
        let sent = self.send_for_a_turn(outgoing, Deadline::after(timeout));
        let count = match sent {
            Ok((count, refused)) => {
                published.failed = refused;
                count
            }
            Err(error) => {
                published.failed = Some(error.into());
                return published;
            }
        };
        let answers = self.acknowledgements(&outgoing[..count], first, Deadline::after(timeout));
        published.count(answers);
        published
    }

    /// Sends messages. Returns how many, and why it does not send the next one if the server would refuse it.
    fn send_for_a_turn(
        &mut self,
        outgoing: &[Outgoing<'_>],
        deadline: Deadline,
    ) -> Result<(usize, Option<StreamError>), ClientError> {
        let turn = Turn::begin();
        let (mut bytes, mut count, mut refused) = (Vec::new(), 0, None);
        for message in outgoing {
            let headers = message.headers();
            let size = headers.len() + message.json.len();
            let most = self.max_payload();
            if size as u64 > most {
                let size = size as u64;
                refused = Some(StreamError::TooLarge { size, most });
                break;
            }
            let (subject, (reply, _)) = (&message.subject, self.ask());
            let begin = format!("HPUB {subject} {reply} {} {size}\r\n", headers.len());
            for part in [&begin, &headers, message.json, "\r\n"] {
                bytes.extend_from_slice(part.as_bytes());
            }
            count += 1;
            if bytes.len() >= PIECE {
                self.send(&bytes, deadline)?;
                bytes.clear();
                if turn.is_over() {
                    break;
                }
            }
        }
        self.send(&bytes, deadline)?;
        Ok((count, refused))
    }

    /// Waits for the answer to each message; the first has the number `first`. For a message without an answer, there is the
    /// reason, and nothing for those after it.
    fn acknowledgements(
        &mut self,
        outgoing: &[Outgoing<'_>],
        first: u64,
        deadline: Deadline,
    ) -> Vec<Result<bool, StreamError>> {
        let mut answers: Vec<Option<Result<bool, StreamError>>> = Vec::new();
        answers.resize_with(outgoing.len(), || None);
        let mut missing = outgoing.len();
        while missing > 0 {
            let (number, message) = match self.answer(deadline) {
                Ok(answer) => answer,
                // those at the front that have answers are stored
                Err(error) => {
                    let mut known: Vec<_> = answers.into_iter().map_while(|one| one).collect();
                    known.push(Err(error.into()));
                    return known;
                }
            };
            let at = number
                .checked_sub(first)
                .and_then(|at| usize::try_from(at).ok());
            // the answer to a message of an earlier call has no place
            let place = at.and_then(|at| Some((answers.get_mut(at)?, &outgoing[at])));
            if let Some((place @ None, message_of)) = place {
                *place = Some(acknowledgement(&message, message_of));
                missing -= 1;
            }
        }
        answers.into_iter().flatten().collect()
    }
}

/// Whether the stream had a message before, or why it has not stored it.
fn acknowledgement(answer: &Message, message: &Outgoing<'_>) -> Result<bool, StreamError> {
    if answer.status == Some(NO_RESPONDERS) {
        return Err(StreamError::NoStream(message.subject.clone()));
    }
    let read = Answer::read(answer)?;
    match read.error {
        Some(error) => Err(StreamError::NotStored(shortened(&error.description))),
        None if read.stream.is_empty() => {
            let said = String::from_utf8_lossy(&answer.content);
            Err(StreamError::NotStored(shortened(&said)))
        }
        None => Ok(read.duplicate),
    }
}

impl Published {
    /// Counts answers up to the first failure.
    fn count(&mut self, answers: Vec<Result<bool, StreamError>>) {
        for answer in answers {
            match answer {
                Ok(duplicate) => {
                    self.acknowledged += 1;
                    self.duplicates += u64::from(duplicate);
                }
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
            }
        }
    }

    /// Nothing was published.
    pub(crate) fn failed(error: StreamError) -> Self {
        Self {
            failed: Some(error),
            ..Self::default()
        }
    }
}

impl StreamError {
    /// Whether the server will never take the message.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }

    /// Whether the connection can still be used, and the stream be there.
    pub(crate) fn keeps_connection(&self) -> bool {
        match self {
            Self::TooLarge { .. } | Self::NotStored(_) => true,
            Self::Client(_)
            | Self::Stream(_)
            | Self::NoJetStream
            | Self::NoStream(_)
            | Self::Answer(_) => false,
        }
    }
}
