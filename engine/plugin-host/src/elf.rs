//! Checks that a file is a shared library for this machine, because the dynamic linker's own messages do not help users.
//! The layout is that of elf(5).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::PluginError;

/// The beginning of an ELF file, up to `e_machine`.
type Header = [u8; 20];

const TYPE_SHARED: u16 = 3;

/// Checks that a file is a shared library for the machine that the running executable is for.
///
/// # Errors
///
/// The file cannot be read, is not a shared library, or is one for another machine.
pub fn check(path: &Path) -> Result<(), PluginError> {
    let header = read(path).map_err(|source| PluginError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    // Without /proc there is nothing to compare with. Then the linker decides.
    let own = read(Path::new("/proc/self/exe")).ok().flatten();
    compare(path, header, own)
}

fn read(path: &Path) -> io::Result<Option<Header>> {
    let mut header = [0; 20];
    match File::open(path)?.read_exact(&mut header) {
        Ok(()) => Ok(Some(header)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn compare(path: &Path, header: Option<Header>, own: Option<Header>) -> Result<(), PluginError> {
    let not_a_library = |reason: &str| PluginError::NotALibrary {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let header = header.ok_or_else(|| not_a_library("it is too short"))?;
    if !header.starts_with(b"\x7fELF") {
        return Err(not_a_library("it is not an ELF file"));
    }
    if let Some(own) = own
        && machine(&header) != machine(&own)
    {
        return Err(PluginError::WrongArchitecture {
            path: path.to_owned(),
            found: machine(&header),
            expected: machine(&own),
        });
    }
    if number(&header, 16) != TYPE_SHARED {
        return Err(not_a_library(
            "it is an ELF file of another type (object file, executable)",
        ));
    }
    Ok(())
}

fn number(header: &Header, at: usize) -> u16 {
    let bytes = [header[at], header[at + 1]];
    if header[5] == 2 {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    }
}

/// The machine's name, with the word size if there are several.
fn machine(header: &Header) -> String {
    let bits = if header[4] == 1 { 32 } else { 64 };
    let order = if header[5] == 2 { ", big-endian" } else { "" };
    match (number(header, 18), bits) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn header(class: u8, kind: u8, machine: u8) -> Header {
        let mut header = [0; 20];
        header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1, 1]);
        header[16] = kind;
        header[18] = machine;
        header
    }

    fn message(found: Option<Header>) -> Option<String> {
        let own = header(2, 3, 62);
        let result = compare(Path::new("/p.so"), found, Some(own));
        result.err().map(|error| error.to_string())
    }

    #[test]
    fn a_library_for_this_machine_is_taken() {
        assert_eq!(message(Some(header(2, 3, 62))), None);
    }

    #[test]
    fn anything_else_is_named() {
        let found = message(Some(header(2, 3, 183))).unwrap();
        assert!(
            found.contains("built for aarch64, and this is x86_64"),
            "{found}"
        );
        let found = message(Some(header(1, 3, 3))).unwrap();
        assert!(found.contains("built for i386"), "{found}");
        let found = message(Some(header(2, 1, 62))).unwrap();
        assert!(found.contains("another type"), "{found}");
        assert!(message(Some([0; 20])).unwrap().contains("not an ELF file"));
        assert!(message(None).unwrap().contains("too short"));
    }
}
