//! `src/generated` is made from `proto/`, and is kept in the repository, so that users who build lanner need no compiler
//! of protocol buffers. `LANNER_WRITE_PROTO=1 cargo test -p output-grpc --test generated` writes it anew.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed"
)]

use std::fs;
use std::path::Path;

/// Generates code from `proto/` into a folder.
fn generate(folder: &Path) {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = protox::compile(
        [
            "falco/outputs.proto",
            "falco/version.proto",
            "lanner/alerts.proto",
        ],
        [proto],
    )
    .unwrap();
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .out_dir(folder)
        .compile_fds(files)
        .unwrap();
}

#[test]
fn the_generated_code_is_current() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated");
    if std::env::var_os("LANNER_WRITE_PROTO").is_some() {
        generate(&kept);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path());
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&kept), names(folder.path()));
    for name in names(&kept) {
        let read = |folder: &Path| fs::read_to_string(folder.join(&name)).unwrap();
        assert!(
            read(&kept) == read(folder.path()),
            "{} is not what proto/ gives; write it anew with LANNER_WRITE_PROTO=1",
            name.display()
        );
    }
}
