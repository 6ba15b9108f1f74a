//! Settings that several plugins have, and the errors about settings.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

/// A setting has a value that a plugin cannot use. Names the setting, as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}`: {reason}")]
pub struct InvalidSetting {
    setting: String,
    reason: String,
}

impl InvalidSetting {
    /// An error about `setting`. `reason` says what is wrong with the value and which values are right.
    #[must_use]
    pub fn new(setting: &str, reason: impl fmt::Display) -> Self {
        Self {
            setting: setting.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Checks the lower limit of a number. Lanner checks settings against their schema before it opens a plugin, but other
/// hosts need not.
///
/// # Errors
///
/// `value` is less than `least`.
pub fn at_least<T: Copy + PartialOrd + fmt::Display>(
    setting: &str,
    value: T,
    least: T,
) -> Result<(), InvalidSetting> {
    if value < least {
        let reason = format!("{value} is less than the minimum of {least}");
        return Err(InvalidSetting::new(setting, reason));
    }
    Ok(())
}

/// Permissions of a new file or socket, as octal digits of chmod(1), such as `640`.
#[derive(Debug, Clone, Deserialize, serde::Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Permissions(#[schemars(regex(pattern = r"^0?[0-7]{3}$"))] String);

impl Permissions {
    /// Read and write for the owner alone.
    #[must_use]
    pub fn private() -> Self {
        Self("600".to_owned())
    }

    /// The bits, as open(2) and chmod(2) take them. `setting` is the name for the error.
    ///
    /// # Errors
    ///
    /// The digits are not three octal ones.
    pub fn bits(&self, setting: &str) -> Result<u32, InvalidSetting> {
        u32::from_str_radix(&self.0, 8)
            .ok()
            .filter(|bits| *bits <= 0o777)
            .ok_or_else(|| {
                let reason = format!("{:?} are no permissions; write them as in 640", self.0);
                InvalidSetting::new(setting, reason)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_octal_digits() {
        let bits = |text: &str| Permissions(text.to_owned()).bits("mode");
        assert_eq!(bits("640"), Ok(0o640));
        assert_eq!(bits("0640"), Ok(0o640));
        for wrong in ["", "rw", "1777", "680"] {
            let error = bits(wrong).unwrap_err().to_string();
            assert!(error.starts_with("`mode`: "), "{error}");
        }
    }
}
