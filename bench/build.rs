//! Compiles the empty BPF program that is the benchmark's floor.

use driver_ebpf::compile;

fn main() {
    println!("cargo::rerun-if-changed=bpf/floor.bpf.c");
    compile::finish(compile::object("floor", &["-g", "-mcpu=v3"]));
}
