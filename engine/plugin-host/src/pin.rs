//! SHA-256 sums that plugin files must have. `load` checks who can write a plugin's file; the sum checks that the file is
//! the one that the user reviewed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;

use lanner_plugin::files::{self, FileError};
use sha2::{Digest, Sha256};

use super::error::PluginError;

/// The sums, by file name (`liboutput_http.so`). Where there are any, a file that is not named is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins(BTreeMap<String, String>);

/// A text is no SHA-256 sum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {sum:?} is no SHA-256 sum, which has 64 hexadecimal digits")]
pub struct InvalidSum {
    /// The name of the file that it is for.
    file: String,
    /// The text.
    sum: String,
}

impl Pins {
    /// Takes sums as `sha256sum` prints them: 64 hexadecimal digits, by file name.
    ///
    /// # Errors
    ///
    /// A sum is not 64 hexadecimal digits.
    pub fn new(sums: impl IntoIterator<Item = (String, String)>) -> Result<Self, InvalidSum> {
        let check = |(file, sum): (String, String)| {
            let sum = sum.trim().to_ascii_lowercase();
            if sum.len() != 64 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(InvalidSum { file, sum });
            }
            Ok((file, sum))
        };
        let sums = sums.into_iter().map(check);
        Ok(Self(sums.collect::<Result<_, _>>()?))
    }

    /// Checks an open file before anything of it runs.
    pub(super) fn check(&self, path: &Path, file: &File) -> Result<(), PluginError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(expected) = self.0.get(&*name) else {
            return Err(PluginError::NotPinned {
                path: path.to_owned(),
            });
        };
        let found = sum_of_file(path, file)?;
        if found != *expected {
            return Err(PluginError::WrongSum {
                path: path.to_owned(),
                found,
                expected: expected.clone(),
            });
        }
        Ok(())
    }
}

/// The SHA-256 sum of a file, in hexadecimal digits.
///
/// # Errors
///
/// The file cannot be read.
pub fn sum(path: &Path) -> Result<String, PluginError> {
    sum_of_file(path, &files::open_untrusted(path)?)
}

fn sum_of_file(path: &Path, mut file: &File) -> Result<String, PluginError> {
    let mut sum = Sha256::new();
    let hashed = file
        .rewind()
        .and_then(|()| io::copy(&mut file, &mut Hasher(&mut sum)));
    hashed.map_err(|source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    Ok(digits(&sum.finalize()))
}

/// The SHA-256 sum of bytes, in hexadecimal digits.
#[must_use]
pub fn sum_of_bytes(bytes: &[u8]) -> String {
    digits(&Sha256::digest(bytes))
}

fn digits(sum: &[u8]) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Adds everything that is written to a sum.
struct Hasher<'a>(&'a mut Sha256);

impl io::Write for Hasher<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_must_be_the_one_that_was_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libx.so");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::sum(&path).unwrap(), sum);
        let pin = |file: &str, sum: &str| Pins::new([(file.to_owned(), sum.to_owned())]);
        let file = File::open(&path).unwrap();
        Pins::default().check(&path, &file).unwrap();
        pin("libx.so", sum).unwrap().check(&path, &file).unwrap();
        pin("libx.so", &sum.to_uppercase())
            .unwrap()
            .check(&path, &file)
            .unwrap();
        let other = pin("liby.so", sum).unwrap().check(&path, &file);
        assert!(matches!(other, Err(PluginError::NotPinned { .. })));
        std::fs::write(&path, "abd").unwrap();
        let changed = pin("libx.so", sum)
            .unwrap()
            .check(&path, &file)
            .unwrap_err();
        assert!(changed.to_string().contains(sum), "{changed}");
        let invalid = pin("libx.so", "abc").unwrap_err().to_string();
        assert!(invalid.contains("libx.so"), "{invalid}");
    }
}
