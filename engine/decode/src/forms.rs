//! The three forms that every decoded value is written in. Each kind of value has its forms in the file that
//! decodes it.

/// How a decoded value is written. Each function appends to the caller's buffer.
pub(crate) trait Forms {
    /// As strace writes it.
    fn text(&self, out: &mut String);

    /// As a JSON value.
    fn json(&self, out: &mut String);

    /// As Falco writes it. False: nothing was appended, because there is nothing to show.
    fn falco(&self, out: &mut String, _style: Style) -> bool {
        self.text(out);
        true
    }
}

/// How much Falco writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `evt.arg`: the meaning, where there is one.
    Short,
    /// `evt.args`: the number, and the meaning in parentheses.
    Long,
}

/// Appends a number and its meaning, as Falco writes them in this style.
pub(crate) fn meaning(
    out: &mut String,
    style: Style,
    number: &dyn std::fmt::Display,
    write: impl FnOnce(&mut String),
) {
    use std::fmt::Write as _;
    match style {
        Style::Short => write(out),
        Style::Long => {
            let _ = write!(out, "{number}(");
            write(out);
            out.push(')');
        }
    }
}

/// Appends items as strace writes an array.
pub(crate) fn list<T>(
    out: &mut String,
    items: impl Iterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        each(out, item);
    }
    out.push(']');
}

/// Adds to a list that more was there than was captured.
pub(crate) fn and_more(out: &mut String) {
    out.pop();
    out.push_str(", ...]");
}
