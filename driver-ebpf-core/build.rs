//! Compiles the BPF programs of the core driver.

use std::process;

use driver_ebpf::compile;

fn main() {
    let flags = ["-g", "-mcpu=v3"];
    let built = compile::object("core", &flags).and_then(|()| {
        compile::variant("core", "core-goto", &[&flags[..], &["-DMAY_GOTO"]].concat())?;
        compile::variant(
            "core",
            "core-old",
            &[&flags[..], &["-DSINGLE_RUN"]].concat(),
        )?;
        // for kernels without types of their own
        compile::variant(
            "core",
            "core-untyped",
            &[&flags[..], &["-DNO_TYPES"]].concat(),
        )?;
        compile::variant(
            "core",
            "core-untyped-old",
            &[&flags[..], &["-DNO_TYPES", "-DSINGLE_RUN"]].concat(),
        )?;
        // for a test: one of the programs is such that the kernel refuses it
        compile::variant(
            "core",
            "core-refused",
            &[&flags[..], &["-DREFUSE_FORK"]].concat(),
        )
    });
    if let Err(error) = built {
        println!("cargo::error={error}");
        process::exit(1);
    }
}
