//! The output template of a rule: are its fields known?

use crate::ast::FieldRef;
use crate::parse::split_argument;
use crate::source::Problem;
use crate::yaml::Scalar;

/// A field that Falco keeps in templates, but that stands for nothing any more.
const EMPTY_FIELD: &str = "%container.info";

/// The template without what stands for nothing.
pub(crate) fn clean(parts: &[Scalar]) -> String {
    let parts: Vec<_> = parts.iter().map(|part| part.text.trim()).collect();
    parts.join(" ").replace(EMPTY_FIELD, "").trim().to_owned()
}

/// The fields of a template, in the order in which they stand.
pub(crate) fn fields(part: &Scalar) -> Result<Vec<FieldRef>, Problem> {
    let text = &part.text;
    let mut fields = Vec::new();
    for (at, _) in text.match_indices('%') {
        let rest = &text[at + 1..];
        if text[at..].starts_with(EMPTY_FIELD) {
            continue;
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        // A full stop after a field ends the sentence.
        let name = rest[..end].trim_end_matches('.');
        if rest[end..].starts_with('(') && !name.contains('.') && !name.is_empty() {
            let message = format!("`%{name}(...)` is not supported yet");
            return Err(Problem::new(&part.place_of(at), message));
        }
        if !name.contains('.') {
            continue;
        }
        let (base, mut arg) = split_argument(name);
        if name.len() == end
            && let Some(inner) = rest[end..].strip_prefix('[')
        {
            let Some(close) = inner.find(']') else {
                let message = "this field's argument has no `]`";
                return Err(Problem::new(&part.place_of(at), message));
            };
            arg = Some(&inner[..close]);
        }
        fields.push(FieldRef {
            name: base.to_owned(),
            arg: arg.map(str::to_owned),
            place: part.place_of(at),
        });
    }
    Ok(fields)
}
