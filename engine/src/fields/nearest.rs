//! Which known name was probably meant.

/// The name that takes the fewest changes of single letters, if they are few.
pub(crate) fn nearest<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (wanted.len() / 3).max(if wanted.len() < 4 { 1 } else { 2 });
    let scored = known
        .into_iter()
        .map(|name| (distance(wanted.as_bytes(), name.as_bytes()), name));
    scored
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name)
}

/// `; did you mean ...?`, or nothing.
pub(crate) fn did_you_mean<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wanted, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Levenshtein's distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_pen_is_found_and_nonsense_is_not() {
        let names = ["proc.name", "proc.pname", "fd.name"];
        assert_eq!(nearest("proc.nmae", names), Some("proc.name"));
        assert_eq!(nearest("proc.pnam", names), Some("proc.pname"));
        assert_eq!(nearest("container.image", names), None);
        assert_eq!(nearest("", names), None);
    }
}
