//! Is a file a whole shared library for this machine? The messages of the dynamic linker leave a user guessing, and a file
//! that is shorter than its headers say kills the process that maps it (SIGBUS). The layout is that of elf(5).

use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use lanner_plugin::files::{self, FileError};

use super::error::PluginError;

const TYPE_SHARED: u16 = 3;
/// `e_ident[EI_CLASS]`: 64 bits.
const CLASS_64: u8 = 2;
/// `e_ident[EI_DATA]`: the byte order.
const BIG_ENDIAN: u8 = 2;

/// Checks that a file is a whole shared library for the machine that the running executable is for.
///
/// # Errors
///
/// The file cannot be read, is not a shared library, is cut off, or is for another machine.
pub fn check(path: &Path) -> Result<(), PluginError> {
    check_open(path, &files::open_untrusted(path)?)
}

/// The same for a file that is open.
pub(super) fn check_open(path: &Path, file: &File) -> Result<(), PluginError> {
    let unreadable = |source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let header = Header::read(file).map_err(unreadable)?;
    // Without /proc there is nothing to compare with. Then the linker decides.
    let own = File::open("/proc/self/exe").and_then(|own| Header::read(&own));
    compare(path, header.as_ref(), own.ok().flatten().as_ref())?;
    let Some(header) = header else {
        return Ok(());
    };
    let mut end = file;
    let size = end.seek(io::SeekFrom::End(0)).map_err(unreadable)?;
    let needed = header.needed(file, size).map_err(unreadable)?;
    if needed > size {
        return Err(PluginError::CutOff {
            path: path.to_owned(),
            size,
            needed,
        });
    }
    if header.ends_in_zeros(file).map_err(unreadable)? {
        return Err(PluginError::Unfinished {
            path: path.to_owned(),
        });
    }
    Ok(())
}

fn compare(path: &Path, header: Option<&Header>, own: Option<&Header>) -> Result<(), PluginError> {
    let not_a_library = |reason: &str| PluginError::NotALibrary {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let header = header.ok_or_else(|| not_a_library("it is too short"))?;
    if !header.0.starts_with(b"\x7fELF") {
        return Err(not_a_library("it is not an ELF file"));
    }
    if let Some(own) = own
        && header.machine() != own.machine()
    {
        return Err(PluginError::WrongArchitecture {
            path: path.to_owned(),
            found: header.machine(),
            expected: own.machine(),
        });
    }
    if header.number(16, 2) != u64::from(TYPE_SHARED) {
        return Err(not_a_library(
            "it is an ELF file of another type (object file, executable)",
        ));
    }
    Ok(())
}

/// The header of an ELF file (`Elf64_Ehdr`; `Elf32_Ehdr` is shorter).
struct Header([u8; 64]);

/// A table that the header describes: where it begins, and the size and number of its entries.
struct Table {
    offset: u64,
    entry: u64,
    count: u64,
}

impl Table {
    fn end(&self) -> u64 {
        self.offset
            .saturating_add(self.entry.saturating_mul(self.count))
    }
}

impl Header {
    fn read(file: &File) -> io::Result<Option<Self>> {
        let mut header = [0; 64];
        match file.read_exact_at(&mut header, 0) {
            Ok(()) => Ok(Some(Self(header))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_64(&self) -> bool {
        self.0[4] == CLASS_64
    }

    fn number(&self, at: usize, len: usize) -> u64 {
        number(&self.0, at, len, self.0[5] == BIG_ENDIAN)
    }

    /// The table whose offset and entries are at these places, for 64 and for 32 bits.
    fn table(&self, at_64: (usize, usize), at_32: (usize, usize)) -> Table {
        let ((offset, entry), width) = if self.is_64() { (at_64, 8) } else { (at_32, 4) };
        Table {
            offset: self.number(offset, width),
            entry: self.number(entry, 2),
            count: self.number(entry + 2, 2),
        }
    }

    fn sections(&self) -> Table {
        self.table((40, 58), (32, 46))
    }

    /// Whether the last section header, with which linkers end a file, is nothing but zeros: a program that copies may first
    /// give the copy its size. The dynamic linker would follow zeros, and crash.
    fn ends_in_zeros(&self, file: &File) -> io::Result<bool> {
        let sections = self.sections();
        // the first header is all zeros (elf(5))
        if sections.count < 2 || sections.entry == 0 {
            return Ok(false);
        }
        let mut last = vec![0; usize::try_from(sections.entry).unwrap_or(0)];
        file.read_exact_at(&mut last, sections.end() - sections.entry)?;
        Ok(last.iter().all(|byte| *byte == 0))
    }

    /// The bytes that the file must have, as its headers say. At most one program header more than `size` has is read.
    fn needed(&self, file: &File, size: u64) -> io::Result<u64> {
        let segments = self.table((32, 54), (28, 42));
        let sections = self.sections();
        let mut needed = segments.end().max(sections.end());
        if segments.end() > size {
            return Ok(needed);
        }
        // `p_offset`, `p_filesz` and the size of an entry
        let (offset, bytes, width, entry) = if self.is_64() {
            (8, 32, 8, 56)
        } else {
            (4, 16, 4, 32)
        };
        let mut segment = [0; 56];
        for at in 0..segments.count {
            let place = segments.offset + at * segments.entry;
            if place + entry as u64 > size {
                return Ok(needed.max(place + entry as u64));
            }
            file.read_exact_at(&mut segment[..entry], place)?;
            let big_endian = self.0[5] == BIG_ENDIAN;
            let from = number(&segment, offset, width, big_endian);
            let len = number(&segment, bytes, width, big_endian);
            needed = needed.max(from.saturating_add(len));
        }
        Ok(needed)
    }

    /// The machine's name, with the word size where it can differ.
    fn machine(&self) -> String {
        let bits = if self.0[4] == 1 { 32 } else { 64 };
        let order = if self.0[5] == BIG_ENDIAN {
            ", big-endian"
        } else {
            ""
        };
        match (self.number(18, 2), bits) {
            (3, _) => "i386".to_owned(),
            (62, 64) => "x86_64".to_owned(),
            (62, _) => "x32".to_owned(),
            (183, _) => format!("aarch64{order}"),
            (40, _) => format!("arm{order}"),
            (243, bits) => format!("riscv{bits}"),
            (21, _) => format!("powerpc64{order}"),
            (22, bits) => format!("s390 ({bits} bits)"),
            (other, bits) => format!("machine number {other} ({bits} bits{order})"),
        }
    }
}

/// A number of at most 8 bytes. There is none behind the end.
fn number(bytes: &[u8], at: usize, len: usize, big_endian: bool) -> u64 {
    let bytes = bytes.get(at..at + len).unwrap_or_default();
    let join = |all: u64, byte: &u8| all << 8 | u64::from(*byte);
    if big_endian {
        bytes.iter().fold(0, join)
    } else {
        bytes.iter().rev().fold(0, join)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(class: u8, kind: u8, machine: u8) -> Header {
        let mut header = [0; 64];
        header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1, 1]);
        header[16] = kind;
        header[18] = machine;
        Header(header)
    }

    fn message(found: Option<&Header>) -> Option<String> {
        let own = header(2, 3, 62);
        let result = compare(Path::new("/p.so"), found, Some(&own));
        result.err().map(|error| error.to_string())
    }

    #[test]
    fn a_library_for_this_machine_is_taken() {
        assert_eq!(message(Some(&header(2, 3, 62))), None);
    }

    #[test]
    fn anything_else_is_named() {
        let found = message(Some(&header(2, 3, 183))).unwrap();
        assert!(
            found.contains("built for aarch64, and this is x86_64"),
            "{found}"
        );
        let found = message(Some(&header(1, 3, 3))).unwrap();
        assert!(found.contains("built for i386"), "{found}");
        let found = message(Some(&header(2, 1, 62))).unwrap();
        assert!(found.contains("another type"), "{found}");
        let none = message(Some(&Header([0; 64]))).unwrap();
        assert!(none.contains("not an ELF file"), "{none}");
        assert!(message(None).unwrap().contains("too short"));
    }

    /// A real library, cut at many places: the C library that this test runs with.
    #[test]
    fn a_library_that_was_copied_in_part_is_named() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let library = maps.lines().find_map(|line| {
            let path = line.split_whitespace().nth(5)?;
            path.contains("libc.so").then(|| path.to_owned())
        });
        let whole = std::fs::read(library.expect("the C library is mapped")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libx.so");
        std::fs::write(&path, &whole).unwrap();
        check(&path).unwrap();
        for eighth in 0..8 {
            let cut = whole.len() * eighth / 8;
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = check(&path).unwrap_err().to_string();
            assert!(
                error.contains("too short") || error.contains("is cut off"),
                "{cut}: {error}"
            );
        }
        // a copy that has its size, but not yet all of its bytes
        for eighth in 1..8 {
            let mut sparse = whole.clone();
            sparse[whole.len() * eighth / 8..].fill(0);
            std::fs::write(&path, &sparse).unwrap();
            let error = check(&path).unwrap_err().to_string();
            assert!(error.contains("its end is missing"), "{eighth}: {error}");
        }
        // headers that lie do no harm either
        let mut lies = whole;
        for at in (24..64).chain(64..64 + 56) {
            let before = std::mem::replace(&mut lies[at], 0xff);
            std::fs::write(&path, &lies).unwrap();
            drop(check(&path));
            lies[at] = before;
        }
    }
}
