//! Compiles the BPF programs of the legacy driver: instructions of the first generation, no BTF.

mod objects;

use driver_ebpf::compile::{finish, object};

fn main() {
    println!("cargo::rerun-if-changed=objects.rs");
    for source in objects::SOURCES {
        finish(object(source, objects::FLAGS));
    }
}
