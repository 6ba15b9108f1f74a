//! The floor: an empty program at the end of every system call. No tracer in the kernel can cost less.

use libbpf_rs::{Link, Object, ObjectBuilder};

use crate::Result;

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/floor.o"));

/// The attached program; dropped, it is detached.
pub(crate) struct Floor {
    _links: Vec<Link>,
    _object: Object,
}

impl Floor {
    /// Loads and attaches it.
    pub(crate) fn new() -> Result<Self> {
        let failed = |error| format!("cannot attach the empty BPF program: {error:#}");
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
