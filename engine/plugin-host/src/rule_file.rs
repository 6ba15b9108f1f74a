//! Rule files: texts that a rule plugin compiles.

use std::path::Path;

use lanner_plugin::files;

use super::error::PluginError;

/// The largest rule file that is read, in bytes.
const MAX_RULE_FILE: u64 = 64 << 20;

/// A rule file.
#[derive(Debug, Clone)]
pub struct RuleFile {
    /// Its name, for messages.
    pub name: String,
    /// Its contents.
    pub text: Vec<u8>,
}

impl RuleFile {
    /// Reads a file, whoever owns it: to check it, or to list its rules.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not a regular file, or is larger than 64 MiB.
    pub fn read(path: &Path) -> Result<Self, PluginError> {
        let file = files::open_untrusted(path)?;
        Ok(Self::named(
            path,
            files::read_opened(file, path, MAX_RULE_FILE)?,
        ))
    }

    /// Reads a file whose rules decide what lanner sees.
    ///
    /// # Errors
    ///
    /// As for [`RuleFile::read`]; or another user can change the file.
    pub fn read_trusted(path: &Path) -> Result<Self, PluginError> {
        Ok(Self::named(path, files::read(path, MAX_RULE_FILE)?))
    }

    fn named(path: &Path, text: Vec<u8>) -> Self {
        Self {
            name: path.display().to_string(),
            text,
        }
    }
}
