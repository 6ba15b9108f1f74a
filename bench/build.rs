//! Compiles the empty BPF program that is the benchmark's floor.

use std::process;

fn main() {
    println!("cargo::rerun-if-changed=bpf/floor.bpf.c");
    if let Err(error) = driver_ebpf::compile::object("floor", &["-g", "-mcpu=v3"]) {
        println!("cargo::error={error}");
        process::exit(1);
    }
}
