//! The floor: an empty program at the return of every system call. No tracer in the kernel can cost less.

use libbpf_rs::{Link, Object, ObjectBuilder};

use crate::{Error, Result};

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/floor.o"));

/// The attached program. Dropping it detaches it.
pub(crate) struct Floor {
    _links: Vec<Link>,
    _object: Object,
}

impl Floor {
    /// Loads and attaches the program.
    pub(crate) fn new() -> Result<Self> {
        let failed = |error: libbpf_rs::Error| Error::failed("attach the empty BPF program")(error);
        let object = ObjectBuilder::default()
            .open_memory(OBJECT)
            .map_err(failed)?
            .load()
            .map_err(failed)?;
        let links = object
            .progs_mut()
            .map(|program| program.attach().map_err(failed))
            .collect::<Result<_>>()?;
        Ok(Self {
            _links: links,
            _object: object,
        })
    }
}
