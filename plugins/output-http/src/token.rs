//! The token of `bearer_token_file` (RFC 6750).

use std::path::PathBuf;

use lanner_plugin::InvalidSetting;
use lanner_plugin::files::{self, FileError};

use crate::Settings;

/// The largest file that is read, in bytes.
const MAX_TOKEN: u64 = 1 << 16;

/// There is no token for these settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} has no token: one word of printable ASCII characters", file.display())]
    NoToken { file: PathBuf },
}

const SCHEME: &str = "Bearer ";

/// A text without the token of an `Authorization` header.
pub(crate) fn hide(text: &str, authorization: &str) -> String {
    let token = authorization.strip_prefix(SCHEME);
    text.replace(token.unwrap_or(authorization), "***")
}

/// The value of the `Authorization` header, if the settings name a file with a token.
pub(crate) fn authorization(settings: &Settings) -> Result<Option<String>, TokenError> {
    let Some(file) = settings.bearer_token_file.clone() else {
        return Ok(None);
    };
    let mut headers = settings.headers.keys();
    if headers.any(|name| name.eq_ignore_ascii_case("authorization")) {
        let reason = "`headers` has `Authorization`, too; remove one of them";
        return Err(InvalidSetting::new("bearer_token_file", reason).into());
    }
    let token = files::read_text(&file, MAX_TOKEN)?.trim().to_owned();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::NoToken { file });
    }
    Ok(Some(format!("{SCHEME}{token}")))
}
