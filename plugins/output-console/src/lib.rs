//! Output plugin: alerts as lines on standard output, as Falco's text or, with `{"json": true}`, as Falco's JSON.
//!
//! The plugin writes several whole lines with one write(2), so that the lines of several writers do not mix. If
//! standard output takes only a part of a line, the plugin keeps the rest of that line and nothing else.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use lanner_plugin::{Alerts, Delivery, Error, Host, LineWriter, OutputPlugin};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a user can set for this plugin.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// JSON lines instead of text lines.
    pub json: bool,
}

/// The output: lines to a writer.
#[derive(Debug)]
pub struct Console<W = File> {
    to: W,
    json: bool,
    lines: LineWriter,
}

/// Standard output cannot be used.
#[derive(Debug, thiserror::Error)]
enum ConsoleError {
    #[error("cannot duplicate standard output")]
    Open(#[source] io::Error),
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
}

impl OutputPlugin for Console {
    type Settings = Settings;

    fn open(_host: Host, settings: Settings) -> Result<Self, Error> {
        // A descriptor of our own: `io::stdout` buffers, and `println!` panics when a write fails.
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        let stdout = stdout.map_err(ConsoleError::Open)?;
        Ok(Self::new(File::from(stdout), settings))
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        let json = self.json;
        self.deliver(alerts.iter().map(|alert| alert.line(json)))
    }

    fn flush(&mut self) -> Result<(), Error> {
        let (_, failed) = self.lines.write([], |bytes| write(&mut self.to, bytes));
        failed.map_or(Ok(()), |error| Err(ConsoleError::Write(error).into()))
    }
}

impl<W: Write> Console<W> {
    fn new(to: W, settings: Settings) -> Self {
        Self {
            to,
            json: settings.json,
            lines: LineWriter::default(),
        }
    }

    fn deliver<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> Delivery {
        let (delivered, failed) = self.lines.write(lines, |bytes| write(&mut self.to, bytes));
        let Some(error) = failed else {
            return Delivery::Delivered;
        };
        let passes = error.kind() == ErrorKind::WouldBlock;
        let error = ConsoleError::Write(error);
        if passes {
            Delivery::try_again(delivered, &error)
        } else {
            Delivery::give_up(delivered, &error)
        }
    }
}

/// The number of bytes that a pipe takes whole or not at all (pipe(7)).
const PIPE_BUF: usize = 4096;

/// Writes as much as possible. Returns how many bytes were written and, if not all, why. The watched command may write
/// to the same pipe. So each write(2) has whole lines, as many as fit into [`PIPE_BUF`], and the pipe cannot mix them
/// with those of others. A longer line is written in pieces.
fn write(to: &mut impl Write, mut bytes: &[u8]) -> (usize, Option<io::Error>) {
    let all = bytes.len();
    while !bytes.is_empty() {
        let fits = bytes.len().min(PIPE_BUF);
        let last_break = bytes[..fits].iter().rposition(|byte| *byte == b'\n');
        match to.write(&bytes[..last_break.map_or(fits, |end| end + 1)]) {
            Ok(0) => return (all - bytes.len(), Some(ErrorKind::WriteZero.into())),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (all - bytes.len(), Some(error)),
        }
    }
    (all, None)
}

lanner_plugin::export_plugin! {
    name: "output-console",
    description: "Alerts as text or JSON lines on standard output.",
    output: Console,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the given number of bytes at each call, then all. `Some(0)` would block, `None` is a broken pipe.
    struct Pipe {
        takes: Vec<Option<usize>>,
        calls: Vec<usize>,
        got: Vec<u8>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls.push(bytes.len());
            let take = match self.takes.pop() {
                Some(None) => return Err(ErrorKind::BrokenPipe.into()),
                Some(Some(0)) => return Err(ErrorKind::WouldBlock.into()),
                Some(Some(take)) => take.min(bytes.len()),
                None => bytes.len(),
            };
            self.got.extend_from_slice(&bytes[..take]);
            Ok(take)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn console(mut takes: Vec<Option<usize>>) -> Console<Pipe> {
        takes.reverse();
        let pipe = Pipe {
            takes,
            calls: Vec::new(),
            got: Vec::new(),
        };
        Console::new(pipe, Settings::default())
    }

    fn emit(console: &mut Console<Pipe>, lines: &[&str]) -> (usize, &'static str) {
        match console.deliver(lines.iter().copied()) {
            Delivery::Delivered => (lines.len(), "delivered"),
            Delivery::TryAgain { delivered, .. } => (delivered, "try again"),
            Delivery::GiveUp { delivered, .. } => (delivered, "give up"),
            Delivery::GoOn { delivered, .. } => (delivered, "go on"),
        }
    }

    #[test]
    fn a_batch_is_one_write_of_whole_lines() {
        let mut console = console(vec![]);
        assert_eq!(emit(&mut console, &["one", "two"]), (2, "delivered"));
        assert_eq!(console.to.calls, [8]);
        assert_eq!(console.to.got, b"one\ntwo\n");
    }

    #[test]
    fn many_lines_are_written_in_pieces_that_other_writers_cannot_tear() {
        let mut console = console(vec![]);
        let (line, long) = ("x".repeat(1499), "y".repeat(5000));
        let lines = [&*line, &line, &line, &long, "z"];
        assert_eq!(emit(&mut console, &lines), (5, "delivered"));
        assert_eq!(console.to.calls, [3000, 1500, 4096, 907]);
        assert_eq!(console.to.got.len(), 3 * 1500 + 5001 + 2);
    }

    #[test]
    fn an_empty_batch_writes_nothing() {
        let mut console = console(vec![None]);
        assert_eq!(emit(&mut console, &[]), (0, "delivered"));
        assert!(console.to.calls.is_empty());
    }

    #[test]
    fn a_line_written_in_part_is_finished_first_next_time() {
        let mut console = console(vec![Some(6), Some(0)]);
        assert_eq!(
            emit(&mut console, &["one", "two", "three"]),
            (2, "try again")
        );
        assert_eq!(emit(&mut console, &["three", "four"]), (2, "delivered"));
        assert_eq!(console.to.got, b"one\ntwo\nthree\nfour\n");
    }

    #[test]
    fn nothing_is_lost_however_the_pipe_stutters() {
        for take in 1..12 {
            let mut console = console(vec![Some(take), Some(0), Some(0), Some(1), Some(0)]);
            let all = ["one", "two", "three"];
            let mut left = &all[..];
            while !left.is_empty() {
                left = &left[emit(&mut console, left).0..];
            }
            while console.lines.has_rest() {
                emit(&mut console, &[]);
            }
            assert_eq!(console.to.got, b"one\ntwo\nthree\n", "take {take}");
        }
    }

    #[test]
    fn a_full_pipe_is_tried_again_and_a_broken_one_given_up() {
        let mut full = console(vec![Some(0)]);
        assert_eq!(emit(&mut full, &["one"]), (0, "try again"));
        let mut broken = console(vec![Some(4), None]);
        assert_eq!(emit(&mut broken, &["one", "two"]), (1, "give up"));
    }

    #[test]
    fn the_page_describes_the_settings() {
        let schema = schemars::schema_for!(Settings);
        test_support::assert_documented("output-console", schema.as_value());
    }
}
