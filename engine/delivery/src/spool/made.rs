//! Whether a file that is there was made as a spool. Any other one is left alone.

use std::io::{Error, Read};
use std::path::Path;

use plugin_host::files;

use super::SpoolError;

/// The start of a file of redb's, and the page size that comes behind it (docs/design.md of redb).
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";
const PAGE_SIZE_AT: usize = 12;
const PAGE_SIZE: [u8; 4] = 4096_u32.to_le_bytes();
/// How many bytes of a file are looked at.
const HEAD: u64 = 4096;

/// Checks, without changing anything, that a file which is there was made as a spool.
///
/// # Errors
///
/// It holds something else, or cannot be read.
pub fn check_spool(path: &Path) -> Result<(), SpoolError> {
    let failed = |source| SpoolError::Open {
        path: path.to_owned(),
        source,
    };
    if !path.try_exists().map_err(failed)? {
        return Ok(());
    }
    let opened = files::open(path).map_err(|error| failed(Error::other(error)))?;
    let mut start = Vec::new();
    (opened.take(HEAD).read_to_end(&mut start)).map_err(failed)?;
    // redb writes the magic number last: a file without it was being made when lanner or the host ended
    let unfinished = start.iter().all(|byte| *byte == 0)
        || (start[..MAGIC.len().min(start.len())]
            .iter()
            .all(|byte| *byte == 0)
            && start.get(PAGE_SIZE_AT..PAGE_SIZE_AT + 4) == Some(&PAGE_SIZE[..]));
    if unfinished || start.starts_with(&MAGIC) {
        return Ok(());
    }
    Err(SpoolError::NotASpool {
        path: path.to_owned(),
    })
}
