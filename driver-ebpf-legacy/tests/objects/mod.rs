//! The compiled programs: those of the driver, and the same for the other architecture.

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use driver_ebpf::compile;

#[path = "../../objects.rs"]
mod compiled;

/// The driver's own objects, in the order of [`compiled::SOURCES`].
const OWN: [&[u8]; compiled::SOURCES.len()] = [
    include_bytes!(concat!(env!("OUT_DIR"), "/legacy.o")),
    include_bytes!(concat!(env!("OUT_DIR"), "/peek.o")),
];

/// The architectures that the programs are written for.
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// The objects of all architectures, each with a name.
pub(crate) fn objects() -> &'static [(String, Vec<u8>)] {
    static OBJECTS: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    OBJECTS.get_or_init(|| {
        let all = ARCHITECTURES.iter().flat_map(|&architecture| {
            let sources = compiled::SOURCES.into_iter().zip(OWN);
            sources.map(move |(source, own)| {
                let bytes = if architecture == ARCH {
                    own.to_vec()
                } else {
                    compile_for(architecture, source)
                };
                (format!("{architecture} {source}.o"), bytes)
            })
        });
        all.collect()
    })
}

fn compile_for(architecture: &str, source: &str) -> Vec<u8> {
    // each test program has files of its own, because several may run at once
    let name = format!("{}-{architecture}-{source}.o", env!("CARGO_CRATE_NAME"));
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let crate_dir = env!("CARGO_MANIFEST_DIR");
    compile::compile(crate_dir, source, &output, architecture, compiled::FLAGS)
        .expect("clang compiles the programs");
    fs::read(&output).expect("clang has written the object")
}
