//! Output plugin: alerts as lines on standard output, Falco's text or, with `{"json": true}`,
//! Falco's JSON. The last thing on the way of an event.
//!
//! A batch is one write(2), so that lines of several writers do not mix. Nothing is held back
//! but the rest of a line that standard output took only in part.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use lanner_plugin::{Alerts, Delivery, Error, Host, OutputPlugin};
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
    /// The rest of a line of which the beginning was written.
    rest: Vec<u8>,
}

impl OutputPlugin for Console {
    type Settings = Settings;

    fn open(_host: Host, settings: Settings) -> Result<Self, Error> {
        // A descriptor of our own: `io::stdout` would buffer, and panic in some hands.
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        let stdout = stdout.map_err(|error| format!("standard output: {error}"))?;
        Ok(Self::new(File::from(stdout), settings))
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        let json = self.json;
        self.lines(alerts.iter().map(|alert| match json {
            true => alert.json(),
            false => alert.text(),
        }))
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut rest = std::mem::take(&mut self.rest);
        let (written, error) = self.write(&rest);
        self.rest = rest.split_off(written);
        match error {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

/// So many bytes a pipe takes whole or not at all (pipe(7)).
const PIPE_BUF: usize = 4096;

impl<W: Write> Console<W> {
    fn new(to: W, settings: Settings) -> Self {
        Self {
            to,
            json: settings.json,
            rest: Vec::new(),
        }
    }

    fn lines<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> Delivery {
        let mut batch = std::mem::take(&mut self.rest);
        // Where each line begins, and where the last one ends.
        let mut bounds = vec![batch.len()];
        for line in lines {
            batch.extend_from_slice(line.as_bytes());
            batch.push(b'\n');
            bounds.push(batch.len());
        }
        let (written, error) = self.write(&batch);
        let Some(error) = error else {
            return Delivery::Delivered;
        };
        // A line that has begun counts as delivered: its rest goes first next time.
        let lines = bounds.len() - 1;
        let delivered = bounds[..lines]
            .iter()
            .filter(|start| **start < written)
            .count();
        batch.truncate(bounds[delivered]);
        self.rest = batch.split_off(written);
        let reason = format!("standard output: {error}");
        if error.kind() == ErrorKind::WouldBlock {
            return Delivery::TryAgain { delivered, reason };
        }
        Delivery::GiveUp { delivered, reason }
    }

    /// Writes as much as possible: how much that was, and why not all. The watched command may write into the same pipe:
    /// so whole lines are written, as many at once as a pipe takes without letting others in between.
    fn write(&mut self, mut bytes: &[u8]) -> (usize, Option<io::Error>) {
        let all = bytes.len();
        while !bytes.is_empty() {
            let fits = bytes.len().min(PIPE_BUF);
            let lines = bytes[..fits].iter().rposition(|byte| *byte == b'\n');
            match self.to.write(&bytes[..lines.map_or(fits, |end| end + 1)]) {
                Ok(0) => return (all - bytes.len(), Some(ErrorKind::WriteZero.into())),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (all - bytes.len(), Some(error)),
            }
        }
        (all, None)
    }
}

lanner_plugin::export_plugin! {
    name: "output-console",
    description: "Alerts as text or JSON lines on standard output.",
    output: Console,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at each call; 0: would block, none: broken pipe.
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
        match console.lines(lines.iter().copied()) {
            Delivery::Delivered => (lines.len(), "delivered"),
            Delivery::TryAgain { delivered, .. } => (delivered, "try again"),
            Delivery::GiveUp { delivered, .. } => (delivered, "give up"),
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
    fn many_lines_are_written_in_pieces_that_nobody_can_tear() {
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
            while !console.rest.is_empty() {
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
}
