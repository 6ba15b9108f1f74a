//! [`WholeLines`]: a writer for lines that others write, too.

use std::io::{self, Write};

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
