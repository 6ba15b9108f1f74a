//! BPF objects, which the program contains in compressed form. Each has about a megabyte, and a capture loads one of them.

use std::io::{self, Read};

use flate2::read::DeflateDecoder;

/// An object that `compile` has made, compressed.
#[derive(Debug, Clone, Copy)]
pub struct Packed(&'static [u8]);

impl Packed {
    /// Takes the bytes of a file `NAME.o.z`.
    #[must_use]
    pub const fn new(bytes: &'static [u8]) -> Self {
        Self(bytes)
    }

    /// The object, as clang has made it.
    ///
    /// # Errors
    ///
    /// The bytes are not those of such a file: the build is broken.
    pub fn unpack(self) -> io::Result<Vec<u8>> {
        let mut object = Vec::new();
        DeflateDecoder::new(self.0).read_to_end(&mut object)?;
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_packed_object_are_an_error() {
        assert!(Packed::new(b"\x7fELF").unpack().is_err());
    }
}
