//! Compiles the empty BPF program that is the benchmark's floor.

use std::env;

use driver_ebpf::compile;

fn main() {
    println!("cargo::rerun-if-changed=bpf/floor.bpf.c");
    if env::var_os("CARGO_FEATURE_CORE").is_none() {
        return;
    }
    compile::finish(compile::object("floor", &["-g", "-mcpu=v3"]));
}
