//! Fills in values from outside: `${NAME}` from the environment, `${NAME:-default}`, and `${file:/path}` from a file. `$$`
//! becomes `$`.

use std::path::Path;

use lanner_plugin::files;
use plugin_host::secrets;

use super::error::{ExpandError, shown};

/// The largest file that `${file:...}` reads, in bytes.
const MAX_SECRET: u64 = 1 << 20;

/// A text with everything filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// Something from outside was filled in. Messages must not show it.
    pub(super) secret: bool,
}

/// Fills in all values of a text.
pub(super) fn expand(text: &str) -> Result<Expanded, ExpandError> {
    let mut expanded = Expanded {
        text: String::with_capacity(text.len()),
        secret: false,
    };
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.text.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        if let Some(behind) = behind.strip_prefix('$') {
            expanded.text.push('$');
            rest = behind;
        } else if let Some(behind) = behind.strip_prefix('{') {
            let (name, behind) = behind.split_once('}').ok_or(ExpandError::Unclosed)?;
            let (value, secret) = look_up(name)?;
            if secret {
                secrets::keep(&value);
            }
            expanded.text.push_str(&value);
            expanded.secret |= secret;
            rest = behind;
        } else {
            expanded.text.push('$');
            rest = behind;
        }
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

/// What is filled in, and whether it is a secret. A default is no secret, since the configuration itself shows it.
fn look_up(name: &str) -> Result<(String, bool), ExpandError> {
    if let Some(path) = name.strip_prefix("file:") {
        return files::read_text(Path::new(path), MAX_SECRET)
            .map(|text| (text.trim_end_matches(['\n', '\r']).to_owned(), true))
            .map_err(|source| ExpandError::File {
                name: shown(name),
                source,
            });
    }
    if files::is_secure() {
        return Err(ExpandError::NotTrusted(shown(name)));
    }
    let (name, default) = match name.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (name, None),
    };
    match (std::env::var(name), default) {
        (Ok(value), _) => Ok((value, true)),
        (Err(_), Some(default)) => Ok((default.to_owned(), false)),
        (Err(std::env::VarError::NotPresent), None) => Err(ExpandError::NotSet(shown(name))),
        (Err(source @ std::env::VarError::NotUnicode(_)), None) => Err(ExpandError::Variable {
            name: shown(name),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn text(text: &str) -> String {
        expand(text).unwrap().text
    }

    #[test]
    fn the_environment_and_files_are_filled_in() {
        let path = std::env::var("PATH").unwrap();
        assert_eq!(text("a ${PATH} b"), format!("a {path} b"));
        assert_eq!(text("${LANNER_NO_SUCH:-none}"), "none");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "secret\n").unwrap();
        let expanded = expand(&format!("x${{file:{}}}", file.path().display())).unwrap();
        assert_eq!(expanded.text, "xsecret");
        assert!(expanded.secret);
    }

    #[test]
    fn a_dollar_can_stand_for_itself() {
        assert_eq!(text("$$ $${PATH} 5$ $x"), "$ ${PATH} 5$ $x");
        assert!(!expand("$$x").unwrap().secret);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert!(
            expand("${LANNER_NO_SUCH}")
                .unwrap_err()
                .to_string()
                .contains("LANNER_NO_SUCH")
        );
        assert!(expand("${PATH").unwrap_err().to_string().contains("no `}`"));
        assert!(
            expand("${file:/no/such}")
                .unwrap_err()
                .to_string()
                .contains("/no/such")
        );
    }
}
