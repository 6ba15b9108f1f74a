//! The ways to capture on this kernel: which of the objects, and how entries of calls are seen. They are tried in order.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use driver_ebpf::packed::Packed;
use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::Struct;

use crate::entry::EntryMethod;
use crate::features::Features;
use crate::libbpf;

/// An object, and a way to see entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) object: Packed,
    pub(crate) entry: EntryMethod,
    /// If the kernel refuses one of the programs, the next object may have a form of it that the kernel takes.
    pub(crate) whole: bool,
}

const fn way(object: Packed, entry: EntryMethod) -> Way {
    Way {
        object,
        entry,
        whole: false,
    }
}

const fn whole(object: Packed, entry: EntryMethod) -> Way {
    Way {
        object,
        entry,
        whole: true,
    }
}

/// The programs for Linux 6.9 and later (`bpf/steps.h`).
static MAY_GOTO_OBJECT: Packed =
    Packed::new(include_bytes!(concat!(env!("OUT_DIR"), "/core-goto.o.z")));
/// For Linux 5.13 and later, on arm64 for 6.0 and later (`bpf/parts.h`).
static PARTS_OBJECT: Packed =
    Packed::new(include_bytes!(concat!(env!("OUT_DIR"), "/core-parts.o.z")));
/// For Linux 5.12 and later.
static OBJECT: Packed = Packed::new(include_bytes!(concat!(env!("OUT_DIR"), "/core.o.z")));
/// For earlier kernels. These programs do not bear to be preempted, so they are not attached to functions, where Linux 5.11
/// may preempt them.
static OLD_OBJECT: Packed = Packed::new(include_bytes!(concat!(env!("OUT_DIR"), "/core-old.o.z")));

/// The last two for kernels without types of their own: attached by name, and reading by helper calls alone.
static UNTYPED_OBJECT: Packed = Packed::new(include_bytes!(concat!(
    env!("OUT_DIR"),
    "/core-untyped.o.z"
)));
static OLD_UNTYPED_OBJECT: Packed = Packed::new(include_bytes!(concat!(
    env!("OUT_DIR"),
    "/core-untyped-old.o.z"
)));

/// With the kernel's own types. The first [`MAY_GOTO`] are for kernels that have may_goto.
static TYPED: [Way; 10] = [
    way(MAY_GOTO_OBJECT, EntryMethod::Functions),
    way(MAY_GOTO_OBJECT, EntryMethod::Scheduler),
    way(MAY_GOTO_OBJECT, EntryMethod::Tracepoint),
    whole(PARTS_OBJECT, EntryMethod::Functions),
    whole(PARTS_OBJECT, EntryMethod::Scheduler),
    whole(PARTS_OBJECT, EntryMethod::Tracepoint),
    way(OBJECT, EntryMethod::Functions),
    way(OBJECT, EntryMethod::Scheduler),
    way(OBJECT, EntryMethod::Tracepoint),
    way(OLD_OBJECT, EntryMethod::Tracepoint),
];
const MAY_GOTO: usize = 3;
/// With types from a file.
static UNTYPED: [Way; 2] = [
    way(UNTYPED_OBJECT, EntryMethod::Tracepoint),
    way(OLD_UNTYPED_OBJECT, EntryMethod::Tracepoint),
];

/// The ways that may work. `own_types`: the kernel's own types can be read.
pub(crate) fn ways(own_types: bool, types_file: Option<&Path>) -> Vec<Way> {
    if !own_types && types_file.is_some() {
        return UNTYPED.to_vec();
    }
    let features = Features::of_kernel();
    tracing::debug!("{features:?}");
    let ways = &TYPED[if features.may_goto { 0 } else { MAY_GOTO }..];
    let may_work = |way: &&Way| features.functions || way.entry != EntryMethod::Functions;
    ways.iter().filter(may_work).copied().collect()
}

/// Why a file is not one of a kernel's types.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TypesError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It has another format.
    #[error("{} holds no BTF{REMEDY}", path.display())]
    Format { path: PathBuf },
    /// Its BTF is damaged, or an ELF file has none.
    #[error("{} holds no whole BTF: {reason}{REMEDY}", path.display())]
    Damaged { path: PathBuf, reason: String },
    /// It is larger than a file of types can sensibly be.
    #[error("{} has more than {most} bytes, the most that is read of a file of types{REMEDY}", path.display())]
    TooLarge { path: PathBuf, most: u64 },
    /// They are the types of something else.
    #[error("the types in {} are not those of a kernel: there is no task_struct{REMEDY}", path.display())]
    OfOther { path: PathBuf },
}

const REMEDY: &str = "; name a file of the running kernel, such as one of https://github.com/aquasecurity/btfhub-archive";

/// Checks that a file has a kernel's types: BTF by itself, or in an ELF file (Documentation/bpf/btf.rst).
///
/// # Errors
///
/// The file cannot be read, has another format, or is too large: libbpf reads all of it into memory.
pub(crate) fn check_types(file: &Path) -> Result<(), TypesError> {
    const BTF_MAGIC: u16 = 0xeb9f;
    /// The types of a kernel with everything take about 20 MB.
    const MOST: u64 = 256 << 20;
    /// A kernel with its debug information: libbpf reads the section with types alone.
    const MOST_OF_ELF: u64 = 4 << 30;
    let mut magic = [0; 4];
    let path = file.to_owned();
    // Reading some files of /proc waits for something to happen.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(file);
    let looked = opened.and_then(|mut file| {
        file.read_exact(&mut magic)?;
        Ok(file.metadata()?.len())
    });
    match looked {
        Ok(len) if magic == *b"\x7fELF" || magic[..2] == BTF_MAGIC.to_ne_bytes() => {
            let most = if magic == *b"\x7fELF" {
                MOST_OF_ELF
            } else {
                MOST
            };
            if len > most {
                return Err(TypesError::TooLarge { path, most });
            }
        }
        Ok(_) => return Err(TypesError::Format { path }),
        Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(TypesError::Format { path });
        }
        Err(source) => return Err(TypesError::Read { path, source }),
    }
    libbpf::listen();
    let types = match Btf::from_path(file) {
        Ok(types) => types,
        Err(error) => {
            let reason = format!("{error:#}");
            return Err(TypesError::Damaged { path, reason });
        }
    };
    match types.type_by_name::<Struct<'_>>("task_struct") {
        Some(_) => Ok(()),
        None => Err(TypesError::OfOther { path }),
    }
}
