//! The kernel's types, without those that the programs do not read.
//!
//! For each struct that programs read, libbpf goes through all types of the kernel: a hundred thousand types for some thirty
//! structs, which took as long as all that the verifier does. So it gets a copy in which every other type is empty, and
//! which ends with the last one that counts. Types keep their numbers, because programs pass these to the kernel.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::btf::{Sort, Types, section, word};
use crate::mapping::Mapping;

const KERNEL: &str = "/sys/kernel/btf/vmlinux";

/// An empty type: `const void`.
const EMPTY: [u32; 3] = [0, 10 << 24, 0];
/// Magic number, version, and the length of the header.
const BEGINNING: [u32; 2] = [0x1_eb9f, 24];

/// The kernel's types in memory.
enum Kernel {
    Mapped(Mapping, usize),
    Read(Vec<u8>),
}

/// A file in memory with types, which libbpf can read as long as this exists.
#[derive(Debug)]
pub(crate) struct Thin {
    file: File,
    lacking: Vec<&'static str>,
}

/// What the programs of an object read of the kernel's types, and which of these tracepoints the kernel does not have.
/// `None`: the kernel lacks one of the types, which may then be in a module; something is not understood; or no file can
/// be made.
pub(crate) fn of_kernel(object: &[u8], tracepoints: &[&'static str]) -> Option<Thin> {
    let kernel = Kernel::read().ok()?;
    let (bytes, lacking) = thin(kernel.bytes(), object, tracepoints)?;
    let file = memfd_create(c"lanner-types", MFdFlags::MFD_CLOEXEC).ok()?;
    let mut file = File::from(file);
    file.write_all(&bytes).ok()?;
    Some(Thin { file, lacking })
}

impl Thin {
    /// The path of the file.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// Whether this is one of the tracepoints that the kernel does not have.
    pub(crate) fn lacks(&self, tracepoint: &str) -> bool {
        self.lacking.contains(&tracepoint)
    }
}

impl Kernel {
    fn read() -> io::Result<Self> {
        let mut file = File::open(KERNEL)?;
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        // since Linux 6.16; a read returns no more than a page
        if let Ok(mapping) = Mapping::private(file.as_fd(), len) {
            return Ok(Self::Mapped(mapping, len));
        }
        let mut bytes = Vec::with_capacity(len);
        file.read_to_end(&mut bytes)?;
        Ok(Self::Read(bytes))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            // SAFETY: nothing writes the kernel's types.
            Self::Mapped(mapping, len) => unsafe { mapping.slice(0, *len) }.unwrap_or_default(),
            Self::Read(bytes) => bytes,
        }
    }
}

/// Types, and the tracepoints that the kernel does not have.
fn thin(
    kernel: &[u8],
    object: &[u8],
    tracepoints: &[&'static str],
) -> Option<(Vec<u8>, Vec<&'static str>)> {
    let kernel = Types::read(kernel)?;
    let local = Types::read(elf_section(object, b".BTF\0")?)?;
    let wanted = relocated(&local, elf_section(object, b".BTF.ext\0")?)?;
    let mut lacking = tracepoints.to_vec();
    let mut found = HashSet::new();
    let mut open = Vec::new();
    for id in 1..kernel.len() {
        let of = kernel.get(id)?;
        match of.sort {
            Sort::Struct | Sort::Enum => {
                if let Some(name) = wanted.get(kernel.name(&of)) {
                    found.insert(*name);
                    open.push(id);
                }
            }
            // include/trace/bpf_probe.h
            Sort::Name => {
                if let Some(name) = kernel.string(of.name).strip_prefix(b"btf_trace_") {
                    lacking.retain(|tracepoint| tracepoint.as_bytes() != name);
                }
            }
            Sort::Pointer | Sort::Qualified | Sort::Array | Sort::Rest => {}
        }
    }
    if found.len() != wanted.len() {
        return None;
    }
    let types = written(&kernel, &held(&kernel, open)?)?;
    Some((types, lacking))
}

/// The names of the types whose fields the programs read, from the relocations in the object's section `.BTF.ext`
/// (`struct btf_ext_header`, `struct bpf_core_relo`).
fn relocated<'a>(local: &Types<'a>, ext: &[u8]) -> Option<HashSet<&'a [u8]>> {
    let relocations = section(ext, word(ext, 4)? as usize, 24, 28)?;
    let size = word(relocations, 0)? as usize;
    if size < 8 {
        return None;
    }
    let mut rest = relocations.get(4..)?;
    let mut names = HashSet::new();
    while !rest.is_empty() {
        // by section: its name, and how many there are
        let len = (word(rest, 4)? as usize).checked_mul(size)?;
        let (of_section, others) = rest.get(8..)?.split_at_checked(len)?;
        for relocation in of_section.chunks_exact(size) {
            let mut of = local.get(word(relocation, 4)? as usize)?;
            while matches!(of.sort, Sort::Name | Sort::Qualified) {
                of = local.get(of.of as usize)?;
            }
            names.insert(local.name(&of));
        }
        rest = others;
    }
    Some(names)
}

/// Whether a type is one of these, or is held by one; what one points to is not.
fn held(kernel: &Types<'_>, mut open: Vec<usize>) -> Option<Vec<bool>> {
    let mut kept = vec![false; kernel.len()];
    while let Some(id) = open.pop() {
        if id == 0 || std::mem::replace(kept.get_mut(id)?, true) {
            continue;
        }
        let of = kernel.get(id)?;
        match of.sort {
            Sort::Name | Sort::Qualified => open.push(of.of as usize),
            Sort::Array => {
                open.extend([word(of.rest, 0)? as usize, word(of.rest, 4)? as usize]);
            }
            Sort::Struct => {
                let members = of.rest.chunks_exact(of.each);
                open.extend(members.filter_map(|member| Some(word(member, 4)? as usize)));
            }
            Sort::Pointer | Sort::Enum | Sort::Rest => {}
        }
    }
    Some(kept)
}

/// BTF with the types that are kept, up to the last one, and empty ones between them.
fn written(from: &Types<'_>, kept: &[bool]) -> Option<Vec<u8>> {
    let last = kept.iter().rposition(|kept| *kept)?;
    let mut types = Vec::new();
    let mut strings = vec![0];
    for (id, kept) in kept.iter().enumerate().take(last + 1).skip(1) {
        if !kept {
            types.extend(EMPTY.iter().flat_map(|word| word.to_ne_bytes()));
            continue;
        }
        let of = from.get(id)?;
        types.extend(copy(&mut strings, from.string(of.name))?.to_ne_bytes());
        types.extend(of.info.to_ne_bytes());
        let target = if of.sort == Sort::Pointer { 0 } else { of.of };
        types.extend(target.to_ne_bytes());
        if matches!(of.sort, Sort::Struct | Sort::Enum) {
            for element in of.rest.chunks_exact(of.each) {
                let name = from.string(word(element, 0)?);
                types.extend(copy(&mut strings, name)?.to_ne_bytes());
                types.extend(element.get(4..)?);
            }
        } else {
            types.extend(of.rest);
        }
    }
    let (of_types, of_strings) = (types.len().try_into().ok()?, strings.len().try_into().ok()?);
    let sections: [u32; 4] = [0, of_types, of_types, of_strings];
    let header = BEGINNING.iter().chain(&sections);
    let header = header.flat_map(|word| word.to_ne_bytes());
    Some(header.chain(types).chain(strings).collect())
}

/// Appends a name, and returns where it is.
fn copy(strings: &mut Vec<u8>, name: &[u8]) -> Option<u32> {
    if name.is_empty() {
        return Some(0);
    }
    let at = strings.len().try_into().ok()?;
    strings.extend(name);
    strings.push(0);
    Some(at)
}

/// A section of an object, by its name with NUL (elf(5), 64 bits).
fn elf_section<'a>(object: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let long = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..at.checked_add(8)?)?;
        usize::try_from(u64::from_ne_bytes(bytes.try_into().ok()?)).ok()
    };
    let short = |at: usize| {
        Some(usize::from(u16::from_ne_bytes(
            object.get(at..at + 2)?.try_into().ok()?,
        )))
    };
    let (headers, size) = (long(object, 40)?, short(58)?);
    let header = |index: usize| object.get(headers.checked_add(size.checked_mul(index)?)?..);
    let contents = |header: &[u8]| {
        let start = long(header, 24)?;
        object.get(start..start.checked_add(long(header, 32)?)?)
    };
    let names = contents(header(short(62)?)?)?;
    (0..short(60)?).find_map(|index| {
        let header = header(index)?;
        let is_it = names.get(word(header, 0)? as usize..)?.starts_with(name);
        is_it.then(|| contents(header)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use driver_ebpf::packed::Packed;
    use libbpf_rs::btf::Btf;
    use test_support::lacking;

    use super::*;

    fn object() -> Vec<u8> {
        let packed = Packed::new(include_bytes!(concat!(env!("OUT_DIR"), "/core.o.z")));
        packed.unpack().expect("this build is whole")
    }

    /// What programs can ask of a type: its name, size and elements.
    fn description(types: &Types<'_>, id: usize) -> Option<(Vec<u8>, u32, u32, Vec<u8>)> {
        let of = types.get(id)?;
        let element = |bytes: &[u8]| {
            let name = types.string(word(bytes, 0)?);
            Some([name, bytes.get(4..)?].concat())
        };
        let elements = match of.sort {
            Sort::Struct | Sort::Enum => of.rest.chunks_exact(of.each).filter_map(element),
            _ => return None,
        };
        let name = types.string(of.name).to_vec();
        Some((name, of.info, of.of, elements.flatten().collect()))
    }

    #[test]
    fn types_that_programs_read_stay_as_they_are() {
        let object = object();
        let Ok(kernel) = Kernel::read() else {
            return lacking("the kernel's types");
        };
        let (thinned, _) = thin(kernel.bytes(), &object, &[]).expect("the kernel has all of them");
        assert!(thinned.len() < kernel.bytes().len() / 2);
        let (before, after) = (Types::read(kernel.bytes()), Types::read(&thinned));
        let (before, after) = (before.expect("types"), after.expect("types"));
        let local = Types::read(elf_section(&object, b".BTF\0").expect("types")).expect("types");
        let ext = elf_section(&object, b".BTF.ext\0").expect("relocations");
        let mut wanted = relocated(&local, ext).expect("relocations");
        assert!(wanted.contains(&b"task_struct"[..]) && wanted.contains(&b"inode"[..]));
        for id in 1..before.len() {
            let of = before.get(id).expect("a type");
            let name = before.name(&of);
            if matches!(of.sort, Sort::Struct | Sort::Enum) && wanted.contains(name) {
                assert_eq!(
                    description(&before, id),
                    description(&after, id),
                    "type {id}"
                );
            }
        }
        for id in 1..after.len() {
            wanted.remove(after.name(&after.get(id).expect("a type")));
        }
        assert!(wanted.is_empty(), "{wanted:?} are missing");
    }

    #[test]
    fn libbpf_reads_the_file_and_lacking_tracepoints_are_named() {
        let Some(thin) = of_kernel(&object(), &["sys_exit", "no_such_tracepoint"]) else {
            return lacking("the kernel's types");
        };
        assert_eq!(thin.lacking, ["no_such_tracepoint"]);
        let types = Btf::from_path(thin.path()).expect("libbpf reads it");
        let task = types.type_by_name::<libbpf_rs::btf::types::Struct<'_>>("task_struct");
        assert!(task.is_some());
    }

    #[test]
    fn without_all_types_or_with_damaged_ones_there_is_nothing() {
        let object = object();
        let own = elf_section(&object, b".BTF\0").expect("types");
        // the object's own types are all there
        assert!(thin(own, &object, &[]).is_some());
        for len in (0..own.len()).step_by(997) {
            assert!(thin(&own[..len], &object, &[]).is_none(), "{len} bytes");
        }
        let mut without = own.to_vec();
        let name = without.windows(6).position(|six| six == b"\0cred\0");
        without[name.expect("a name") + 1] = b'b';
        assert!(thin(&without, &object, &[]).is_none());
        for len in (0..object.len()).step_by(9973) {
            let _ = thin(own, &object[..len], &[]);
        }
    }
}
