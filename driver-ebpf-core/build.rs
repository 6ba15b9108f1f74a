//! Compiles the BPF programs of the core driver: several objects of one source.

use driver_ebpf::compile::{CompileError, finish, object, variant};

fn main() {
    finish(compile());
}

fn compile() -> Result<(), CompileError> {
    const FLAGS: [&str; 2] = ["-g", "-mcpu=v3"];
    let with = |name: &str, flags: &[&str]| variant("core", name, &[&FLAGS, flags].concat());
    object("core", &FLAGS)?;
    with("core-goto", &["-DMAY_GOTO", "-DPARTS"])?;
    with("core-parts", &["-DPARTS"])?;
    with("core-old", &["-DSINGLE_RUN"])?;
    // for kernels without types of their own
    with("core-untyped", &["-DNO_TYPES"])?;
    with("core-untyped-old", &["-DNO_TYPES", "-DSINGLE_RUN"])?;
    // for a test: the kernel refuses one of the programs
    with("core-refused", &["-DREFUSE_FORK"])
}
