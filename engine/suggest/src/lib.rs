//! Which known name a user probably meant: for the messages about names that do not exist.

/// The known name with the smallest edit distance to `wanted`, if the distance is small: at most a third of the length,
/// and one or two letters for short names.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wanted.len() / 3).max(if wanted.len() < 4 { 1 } else { 2 });
    let scored = known
        .into_iter()
        .map(|name| (strsim::levenshtein(wanted, name), name));
    scored
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `; did you mean ...?` for the end of a message, or nothing.
pub fn did_you_mean<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wanted, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
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
