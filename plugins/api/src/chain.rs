//! Errors as one line of text, with their sources.

use std::error::Error;
use std::fmt;

/// Displays an error and all its sources, joined by `: `. Users see errors of plugins in this form. Some libraries
/// display their source themselves: a source that the text already ends with is not repeated.
///
/// ```
/// # use lanner_plugin::Chain;
/// let cause = std::io::Error::other("disk on fire");
/// assert_eq!(Chain(&cause).to_string(), "disk on fire");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut next = self.0.source();
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            next = cause.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1
                .as_deref()
                .map(|source| source as &(dyn Error + 'static))
        }
    }

    #[test]
    fn sources_are_named_once() {
        let inner = Layer("refused", None);
        let repeats = Layer("cannot connect: refused", Some(Box::new(inner)));
        let outer = Layer("server a", Some(Box::new(repeats)));
        assert_eq!(
            Chain(&outer).to_string(),
            "server a: cannot connect: refused"
        );
    }
}
