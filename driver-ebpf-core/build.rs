//! Compiles the BPF programs of the core driver.

use std::process;

use driver_ebpf::compile;

fn main() {
    let flags = ["-g", "-mcpu=v3"];
    let built = compile::object("core", &flags).and_then(|()| {
        compile::variant(
            "core",
            "core-old",
            &[&flags[..], &["-DSINGLE_RUN"]].concat(),
        )
    });
    if let Err(error) = built {
        println!("cargo::error={error}");
        process::exit(1);
    }
}
