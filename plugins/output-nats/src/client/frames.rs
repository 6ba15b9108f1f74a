//! What a server says, one operation at a time (NATS, "Client Protocol"). A server is not trusted: a line and a message have a
//! limit, and nothing is kept beyond one operation.

use std::io::{self, Read};

use serde::Deserialize;

/// The longest line. The longest real one is `INFO`, which names all servers of a cluster.
const MAX_LINE: usize = 64 << 10;

/// The largest message, in bytes. Servers answer with some hundred, or a few thousand for a description of a stream.
const MAX_MESSAGE: usize = 256 << 10;

/// How much is read at once, in bytes.
const PIECE: usize = 16 << 10;

/// What a server said is not the protocol, or the connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the connection failed")]
    Read(#[source] io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("the server's line is longer than {MAX_LINE} bytes")]
    LongLine,
    #[error("the server's message has {0} bytes; the most are {MAX_MESSAGE}")]
    LargeMessage(u64),
    #[error("the server says something else than the protocol of NATS: {0:?}")]
    Unknown(String),
    #[error("cannot understand what the server says about itself")]
    Info(#[source] serde_json::Error),
}

/// What a server says about itself. What it leaves out is not so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Info {
    /// The largest message that it takes, in bytes. 0: it does not say.
    pub(crate) max_payload: u64,
    pub(crate) tls_required: bool,
    pub(crate) headers: bool,
    /// What a client with a key must sign.
    pub(crate) nonce: String,
    /// It will end soon, and its clients should go to other servers.
    #[serde(rename = "ldm")]
    pub(crate) ends: bool,
}

/// An operation of a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Info(Info),
    Ping,
    Pong,
    Ok,
    Error(String),
    Message(Message),
}

/// A message that a server delivers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) subject: String,
    /// The status, if the server itself wrote the message: 503, if the request has no receiver.
    pub(crate) status: Option<u16>,
    pub(crate) content: Vec<u8>,
}

/// The operations of a connection.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    read: Vec<u8>,
    /// How many bytes of `read` are done.
    done: usize,
    /// How many of the bytes after `done` were searched for the end of a line, without finding one.
    searched: usize,
}

impl Frames {
    /// Whether there are bytes that no operation has taken yet.
    pub(crate) fn has_more(&self) -> bool {
        self.done < self.read.len()
    }

    /// The next operation. Reads as much as it needs. After an error of the stream, it can go on.
    pub(crate) fn next(&mut self, stream: &mut impl Read) -> Result<Operation, FrameError> {
        let line = loop {
            if let Some(end) = self.end_of_line()? {
                break end;
            }
            self.more(stream)?;
        };
        let text = String::from_utf8_lossy(&self.read[self.done..line]).into_owned();
        let next = line + 2;
        let (word, rest) = text.split_once([' ', '\t']).unwrap_or((&text, ""));
        let rest = rest.trim();
        let operation = match word.to_ascii_uppercase().as_str() {
            "INFO" => Operation::Info(serde_json::from_str(rest).map_err(FrameError::Info)?),
            "PING" => Operation::Ping,
            "PONG" => Operation::Pong,
            "+OK" => Operation::Ok,
            "-ERR" => Operation::Error(shortened(rest.trim_matches('\''))),
            "MSG" => return self.message(stream, next, rest, false),
            "HMSG" => return self.message(stream, next, rest, true),
            _ => return Err(FrameError::Unknown(shortened(&text))),
        };
        self.take(next);
        Ok(operation)
    }

    /// Where the next line ends, if that has been read.
    fn end_of_line(&mut self) -> Result<Option<usize>, FrameError> {
        let rest = &self.read[self.done..];
        // one byte back, as the last one can be the first half of `\r\n`
        let from = self.searched.saturating_sub(1).min(rest.len());
        let found = rest[from..].windows(2).position(|two| two == b"\r\n");
        let length = found.map_or(rest.len(), |at| from + at);
        if length > MAX_LINE {
            return Err(FrameError::LongLine);
        }
        self.searched = length;
        Ok(found.map(|_| self.done + length))
    }

    /// `MSG SUBJECT ID [REPLY-TO] BYTES`, or `HMSG SUBJECT ID [REPLY-TO] BYTES-OF-HEADERS BYTES`, whose content begins at `from`.
    fn message(
        &mut self,
        stream: &mut impl Read,
        from: usize,
        words: &str,
        has_headers: bool,
    ) -> Result<Operation, FrameError> {
        let unknown = || FrameError::Unknown(shortened(words));
        let words: Vec<&str> = words.split_ascii_whitespace().collect();
        let sizes = if has_headers { 2 } else { 1 };
        if !(2 + sizes..=3 + sizes).contains(&words.len()) {
            return Err(unknown());
        }
        let size = |back: usize| {
            words[words.len() - back]
                .parse::<u64>()
                .map_err(|_| unknown())
        };
        let all = size(1)?;
        let of_headers = if has_headers { size(2)? } else { 0 };
        let length = usize::try_from(all)
            .ok()
            .filter(|all| *all <= MAX_MESSAGE)
            .ok_or(FrameError::LargeMessage(all))?;
        let headers = usize::try_from(of_headers)
            .ok()
            .filter(|headers| *headers <= length)
            .ok_or_else(unknown)?;
        let subject = words[0].to_owned();
        while self.read.len() < from + length + 2 {
            // what is before stays where it is
            self.more_at_end(stream)?;
        }
        let content = &self.read[from..from + length];
        if &self.read[from + length..from + length + 2] != b"\r\n" {
            return Err(unknown());
        }
        let message = Message {
            subject,
            status: status(&content[..headers]),
            content: content[headers..].to_vec(),
        };
        self.take(from + length + 2);
        Ok(Operation::Message(message))
    }

    /// Forgets what is done before it reads more.
    fn more(&mut self, stream: &mut impl Read) -> Result<(), FrameError> {
        self.read.drain(..self.done);
        self.done = 0;
        self.more_at_end(stream)
    }

    fn more_at_end(&mut self, stream: &mut impl Read) -> Result<(), FrameError> {
        let before = self.read.len();
        self.read.resize(before + PIECE, 0);
        let count = stream.read(&mut self.read[before..]);
        self.read
            .truncate(before + count.as_ref().copied().unwrap_or(0));
        match count {
            Ok(0) => Err(FrameError::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(FrameError::Read(error)),
        }
    }

    fn take(&mut self, to: usize) {
        self.done = to;
        self.searched = 0;
    }
}

/// The status in headers that begin with `NATS/1.0 503`.
fn status(headers: &[u8]) -> Option<u16> {
    let headers = std::str::from_utf8(headers).ok()?;
    let first = headers.lines().next()?.strip_prefix("NATS/1.0")?;
    first.split_ascii_whitespace().next()?.parse().ok()
}

/// The beginning of a text that a server sent.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All operations until the end or an error, where at most `piece` bytes come at once.
    fn operations(bytes: &[u8], piece: usize) -> (Vec<Operation>, FrameError) {
        struct Pieces<'a>(&'a [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let most = into.len().min(self.1);
                self.0.read(&mut into[..most])
            }
        }
        let (mut frames, mut stream) = (Frames::default(), Pieces(bytes, piece));
        let mut found = Vec::new();
        loop {
            match frames.next(&mut stream) {
                Ok(operation) => found.push(operation),
                Err(error) => return (found, error),
            }
        }
    }

    #[test]
    fn operations_come_whole_however_the_bytes_come() {
        let said = b"INFO {\"max_payload\":7,\"headers\":true,\"more\":[]} \r\n+OK\r\nPING\r\nmsg _I.1 1 5\r\nab\r\nc\r\n\
            HMSG _I.2 1 reply 16 16\r\nNATS/1.0 503\r\n\r\n\r\nHMSG _I.3 1 12 14\r\nNATS/1.0\r\n\r\nxy\r\n-ERR 'No'\r\nPONG\r\n";
        let message = |subject: &str, status, content: &[u8]| {
            Operation::Message(Message {
                subject: subject.to_owned(),
                status,
                content: content.to_vec(),
            })
        };
        for piece in [1, 2, 3, 7, 1000] {
            let (found, end) = operations(said, piece);
            let info = Info {
                max_payload: 7,
                headers: true,
                ..Info::default()
            };
            let expected = [
                Operation::Info(info),
                Operation::Ok,
                Operation::Ping,
                message("_I.1", None, b"ab\r\nc"),
                message("_I.2", Some(503), b""),
                message("_I.3", None, b"xy"),
                Operation::Error("No".to_owned()),
                Operation::Pong,
            ];
            assert_eq!(found, expected, "{piece}");
            assert!(matches!(end, FrameError::Closed), "{end}");
        }
    }

    #[test]
    fn lines_and_messages_have_a_limit_and_nonsense_is_refused() {
        let endless = vec![b'x'; 10 << 20];
        for (said, expected) in [
            (endless.as_slice(), "longer than"),
            (b"MSG a 1 99999999999999999999\r\n", "something else"),
            (b"MSG a 1 18446744073709551615\r\n", "message has"),
            (b"MSG a 1 262145\r\n", "message has"),
            (b"MSG a 1 -1\r\n", "something else"),
            (b"MSG a\r\n", "something else"),
            (b"MSG a 1 2\r\nabcd", "something else"),
            (b"HMSG a 1 9 2\r\nab\r\n", "something else"),
            (b"HMSG a 1 2\r\n", "something else"),
            (b"INFO {\"max_payload\":\"many\"}\r\n", "about itself"),
            (b"HTTP/1.1 400 Bad Request\r\n", "HTTP/1.1 400"),
            (b"\r\n", "something else"),
            (b"PING", "closed"),
        ] {
            for piece in [1, 1 << 14] {
                let (found, error) = operations(said, piece);
                assert!(found.is_empty(), "{found:?}");
                assert!(error.to_string().contains(expected), "{error}");
            }
        }
    }
}
