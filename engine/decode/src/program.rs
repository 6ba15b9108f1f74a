//! What the fact about a program says, and what it leaves open. Drivers know the file and the capabilities; the state of a
//! recording and capture files of other formats may know one of them alone.

use driver_api::event::Program;

/// In a set of capabilities: the set is not known. No capability has this bit.
pub const UNKNOWN_CAPABILITIES: u64 = 1 << 63;

/// Whether the fact knows the program's file. A file has a type, or at least an inode.
#[must_use]
pub fn has_file(program: &Program) -> bool {
    program.mode != 0 || program.inode != 0
}

/// Whether the fact knows the capabilities.
#[must_use]
pub fn has_capabilities(program: &Program) -> bool {
    let sets = [
        program.cap_inheritable,
        program.cap_permitted,
        program.cap_effective,
    ];
    sets.iter().all(|set| set & UNKNOWN_CAPABILITIES == 0)
}
