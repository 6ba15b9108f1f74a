//! Compiles the BPF programs of the legacy driver: instructions of the first generation, no BTF.

use std::process;

fn main() {
    for source in ["legacy", "peek"] {
        if let Err(error) = driver_ebpf::compile::object(source, &["-mcpu=v1"]) {
            println!("cargo::error={error}");
            process::exit(1);
        }
    }
}
