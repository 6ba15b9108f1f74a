//! Compiles the BPF programs of the core driver.

use std::process;

fn main() {
    if let Err(error) = driver_ebpf::compile::object("core", &["-g", "-mcpu=v3"]) {
        println!("cargo::error={error}");
        process::exit(1);
    }
}
