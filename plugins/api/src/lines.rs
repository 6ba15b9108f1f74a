//! Alerts as lines of text, for outputs that write into a stream.

use crate::output::AlertView;

impl<'a> AlertView<'a> {
    /// The alert as one line without a line break: [`AlertView::json`] or [`AlertView::text`].
    #[must_use]
    pub fn line(&self, json: bool) -> &'a str {
        if json { self.json() } else { self.text() }
    }
}

/// Writes batches of lines into a stream that may take only a part of one.
///
/// A line counts as delivered as soon as the stream has taken its first byte. The rest of that line is kept here, and
/// goes first next time, so that no line is torn.
#[derive(Debug, Default)]
pub struct LineWriter {
    /// The part of the last line that the stream has not taken yet.
    rest: Vec<u8>,
}

impl LineWriter {
    /// Writes the kept rest and then `lines`, each with a line break. `write` writes bytes, and returns how many the
    /// stream took and, if not all, why. Returns how many of `lines` count as delivered, and the reason of `write`.
    pub fn write<'a, E>(
        &mut self,
        lines: impl IntoIterator<Item = &'a str>,
        write: impl FnOnce(&[u8]) -> (usize, Option<E>),
    ) -> (usize, Option<E>) {
        let mut batch = std::mem::take(&mut self.rest);
        // Where each line begins, and at last where the batch ends.
        let mut bounds = vec![batch.len()];
        for line in lines {
            batch.extend_from_slice(line.as_bytes());
            batch.push(b'\n');
            bounds.push(batch.len());
        }
        let (written, failed) = write(&batch);
        let Some(failed) = failed else {
            return (bounds.len() - 1, None);
        };
        let starts = &bounds[..bounds.len() - 1];
        let delivered = starts.iter().filter(|start| **start < written).count();
        batch.truncate(bounds[delivered]);
        self.rest = batch.split_off(written.min(batch.len()));
        (delivered, Some(failed))
    }

    /// Whether the rest of a line is kept.
    #[must_use]
    pub fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Forgets the rest of a line, because the stream is a new one.
    pub fn clear(&mut self) {
        self.rest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes lines into a stream that takes `takes` bytes: how many are delivered, and what the stream got.
    fn write(writer: &mut LineWriter, lines: &[&str], takes: usize) -> (usize, String) {
        let mut got = Vec::new();
        let (delivered, _) = writer.write(lines.iter().copied(), |bytes| {
            let taken = takes.min(bytes.len());
            got.extend_from_slice(&bytes[..taken]);
            (taken, (taken < bytes.len()).then_some(()))
        });
        (delivered, String::from_utf8(got).unwrap())
    }

    #[test]
    fn the_rest_of_a_line_goes_first_next_time() {
        let mut writer = LineWriter::default();
        assert_eq!(
            write(&mut writer, &["one", "two", "three"], 5),
            (2, "one\nt".to_owned())
        );
        assert!(writer.has_rest());
        assert_eq!(write(&mut writer, &["three"], 1), (0, "w".to_owned()));
        assert_eq!(
            write(&mut writer, &["three"], 99),
            (1, "o\nthree\n".to_owned())
        );
        assert!(!writer.has_rest());
    }

    #[test]
    fn a_line_of_which_nothing_was_taken_is_not_delivered() {
        let mut writer = LineWriter::default();
        assert_eq!(
            write(&mut writer, &["one", "two"], 4),
            (1, "one\n".to_owned())
        );
        assert!(!writer.has_rest());
        assert_eq!(write(&mut writer, &["two"], 0), (0, String::new()));
        assert!(!writer.has_rest());
    }
}
