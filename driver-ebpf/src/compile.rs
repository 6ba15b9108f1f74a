//! Compiles BPF C with clang, for build scripts.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Compiles `bpf/SOURCE.bpf.c` of the crate that is being built to `OUT_DIR/SOURCE.o`.
/// Every failure says what to do about it.
pub fn object(source: &str, flags: &[&str]) -> Result<(), String> {
    variant(source, source, flags)
}

/// Compiles the same source under another name, for one of several objects from it: `OUT_DIR/NAME.o`.
pub fn variant(source: &str, name: &str, flags: &[&str]) -> Result<(), String> {
    let var = |name: &str| {
        env::var(name).map_err(|_| format!("{name} is not set: this runs in build scripts only"))
    };
    let (crate_dir, out_dir) = (var("CARGO_MANIFEST_DIR")?, var("OUT_DIR")?);
    let input = Path::new(&crate_dir)
        .join("bpf")
        .join(format!("{source}.bpf.c"));
    let output = Path::new(&out_dir).join(format!("{name}.o"));
    let headers = [
        driver_api::HEADERS,
        super::HEADERS,
        &format!("{crate_dir}/bpf"),
    ]
    .map(str::to_owned);
    for folder in &headers {
        for entry in fs::read_dir(folder)
            .map_err(|error| format!("{folder}: {error}"))?
            .flatten()
        {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
    println!("cargo::rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let target = match var("CARGO_CFG_TARGET_ARCH")?.as_str() {
        "x86_64" => "-D__TARGET_ARCH_x86",
        "aarch64" => "-D__TARGET_ARCH_arm64",
        other => return Err(format!("the BPF programs know no {other}")),
    };
    let mut command = Command::new(&clang);
    command
        .args(["-O2", "-target", "bpf", "-Wall", "-Wextra", "-Werror"])
        .args([
            "-Wno-unused-parameter",
            "-Wno-unused-function",
            "-Wno-unused-const-variable",
            "-Wno-sign-compare",
            "-Wno-missing-field-initializers",
            "-Wno-pass-failed",
            target,
        ]);
    command
        .args(flags)
        .args(headers.iter().map(|folder| format!("-I{folder}")));
    command.arg("-c").arg(&input).arg("-o").arg(&output);
    let status = command.status().map_err(|error| {
        format!("{clang} cannot be run ({error}); it compiles the BPF programs: install it (Debian: clang), or set CLANG")
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{clang} refused {}", input.display()))
    }
}
