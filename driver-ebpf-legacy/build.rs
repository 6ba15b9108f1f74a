//! Compiles the BPF programs of the legacy driver: instructions of the first generation, no BTF.

use driver_ebpf::compile::{finish, object};

fn main() {
    for source in ["legacy", "peek"] {
        finish(object(source, &["-mcpu=v1"]));
    }
}
