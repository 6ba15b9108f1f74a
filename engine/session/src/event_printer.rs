//! [`EventPrinter`]: writes events, one line each.

use std::fmt::Write as _;
use std::io::{self, Write};

use driver_api::driver::Flow;
use driver_api::event::Event;
use driver_api::request::{Omit, SyscallSet};
use driver_api::table;
use inspect::Inspector;

use crate::event_selection::EventSelection;
use crate::source::OpenedSource;
use crate::watch::Consumer;

/// How many bytes of output are held back at most.
const HELD_BACK: usize = 1 << 16;

/// The consumer behind `lanner trace`.
pub struct EventPrinter {
    wanted: EventSelection,
    json: bool,
    inspector: Inspector,
    /// Lines that are held back.
    lines: String,
    to: Box<dyn Write>,
    /// Why nothing can be written any more.
    failed: Option<io::Error>,
}

impl EventPrinter {
    /// What a source has to capture for these events, and what it may omit.
    #[must_use]
    pub fn needs(wanted: &EventSelection, json: bool) -> (SyscallSet, Omit) {
        // prctl sets the names of threads.
        let names: SyscallSet = table::by_name("prctl").into_iter().collect();
        let omit = Omit {
            // A line of text does not show it.
            facts: !json,
            ..Omit::NOTHING
        };
        (names.union(wanted.calls()), omit)
    }

    /// Prints events of a source as text, or as JSON, to a writer.
    #[must_use]
    pub fn new(
        wanted: EventSelection,
        json: bool,
        source: &OpenedSource,
        to: Box<dyn Write>,
    ) -> Self {
        let mut inspector = Inspector::new(&inspect::Options {
            programs: false,
            ..source.inspect_options()
        });
        source.scan(&mut inspector);
        Self {
            wanted,
            json,
            inspector,
            lines: String::with_capacity(2 * HELD_BACK),
            to,
            failed: None,
        }
    }

    /// Writes what is held back.
    ///
    /// # Errors
    ///
    /// Not all lines could be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.idle();
        self.failed.map_or(Ok(()), Err)
    }
}

impl Consumer for EventPrinter {
    fn event(&mut self, event: &Event<'_>) -> Flow {
        let seen = self.inspector.update(event);
        if self.wanted.contains(event) {
            let process = seen.process.and_then(|key| self.inspector.process(key));
            let name = process.map_or(&[][..], |process| process.thread_name(seen.tid));
            let ppid = process.map(|process| process.ppid);
            let header = event.header();
            if self.json {
                let epoch_ns = seen.time_ns.cast_signed() - header.time_ns.cast_signed();
                let context = decode::json::Context {
                    epoch_ns,
                    ppid,
                    comm: name,
                };
                decode::json::event(&mut self.lines, event, &context);
            } else {
                let (pid, tid) = (header.tgid, header.tid);
                // Writing to a string cannot fail.
                let _ = write!(self.lines, "{pid}/{tid} {}\t", name.escape_ascii());
                decode::text::line(&mut self.lines, event);
            }
            self.lines.push('\n');
        }
        if self.lines.len() >= HELD_BACK {
            self.idle()
        } else {
            Flow::Continue
        }
    }

    fn idle(&mut self) -> Flow {
        if !self.lines.is_empty() && self.failed.is_none() {
            let written = self.to.write_all(self.lines.as_bytes());
            self.failed = written.and_then(|()| self.to.flush()).err();
            self.lines.clear();
        }
        match self.failed {
            Some(_) => Flow::Stop,
            None => Flow::Continue,
        }
    }
}

/// Passes whole lines on.
///
/// Another program may write into the same pipe. So each write has whole lines, as many as a pipe takes in one piece
/// (`PIPE_BUF`, pipe(7)). A longer line can be interleaved with other output.
#[derive(Debug)]
pub struct WholeLines<W>(pub W);

impl<W: Write> Write for WholeLines<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let fits = text.len().min(libc::PIPE_BUF);
        let lines = text[..fits].iter().rposition(|byte| *byte == b'\n');
        self.0.write(&text[..lines.map_or(fits, |at| at + 1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl std::fmt::Debug for EventPrinter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventPrinter")
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most this many bytes of each write.
    struct Pipe(usize, Vec<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.1.push(bytes[..taken].to_vec());
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn writes_end_with_a_line_unless_it_is_longer_than_a_pipe_takes() {
        let (line, long) = ("x".repeat(1499) + "\n", "y".repeat(5000) + "\n");
        let text = [&*line, &line, &line, &long, "z\n"].concat();
        let mut lines = WholeLines(Pipe(usize::MAX, Vec::new()));
        lines.write_all(text.as_bytes()).unwrap();
        let sizes: Vec<usize> = lines.0.1.iter().map(Vec::len).collect();
        assert_eq!(sizes, [3000, 1500, 4096, 907]);
        assert_eq!(lines.0.1.concat(), text.as_bytes());
        let mut slow = WholeLines(Pipe(7, Vec::new()));
        slow.write_all(text.as_bytes()).unwrap();
        assert_eq!(slow.0.1.concat(), text.as_bytes());
    }
}
