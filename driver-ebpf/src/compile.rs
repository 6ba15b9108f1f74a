//! Compiles BPF C with clang, for build scripts and for tests of the programs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::{env, fs, io, process};

use driver_api::error::Chain;
use flate2::Compression;
use flate2::write::DeflateEncoder;

/// Why a BPF program cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// cargo has not set a variable.
    #[error(
        "the environment variable {name} cannot be read: compile BPF programs in a build script only"
    )]
    Variable {
        /// The variable.
        name: &'static str,
        /// Why it cannot be read.
        source: env::VarError,
    },
    /// A folder of headers cannot be read.
    #[error("cannot list the C headers in {folder}")]
    Headers {
        /// The folder.
        folder: String,
        /// What the system said.
        source: io::Error,
    },
    /// The programs are not written for this architecture.
    #[error("the BPF programs do not support the architecture {0}: build for x86_64 or aarch64")]
    Architecture(String),
    /// clang cannot be started.
    #[error(
        "cannot run {clang}, which compiles the BPF programs: install it (Debian: clang), or set CLANG"
    )]
    Clang {
        /// The compiler.
        clang: String,
        /// What the system said.
        source: io::Error,
    },
    /// The object cannot be compressed.
    #[error("cannot compress {}", object.display())]
    Pack {
        /// The object.
        object: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// clang has printed errors.
    #[error("{clang} cannot compile {} ({status}): its errors are above", input.display())]
    Refused {
        /// The compiler.
        clang: String,
        /// The source file.
        input: PathBuf,
        /// How the compiler ended.
        status: ExitStatus,
    },
}

/// Ends a build script: reports an error to cargo.
pub fn finish(compiled: Result<(), CompileError>) {
    if let Err(error) = compiled {
        println!("cargo::error={}", Chain(&error));
        process::exit(1);
    }
}

/// Compiles `bpf/SOURCE.bpf.c` of the crate that is being built to `OUT_DIR/SOURCE.o`, and compresses that to `SOURCE.o.z`.
///
/// # Errors
///
/// As [`variant`].
pub fn object(source: &str, flags: &[&str]) -> Result<(), CompileError> {
    variant(source, source, flags)
}

/// Compiles `bpf/SOURCE.bpf.c` with these flags to `OUT_DIR/NAME.o`, one of several objects of the same source, and compresses
/// that to `NAME.o.z`.
///
/// # Errors
///
/// This is not a build script, the architecture is not supported, clang cannot be run or prints errors, or the compressed object
/// cannot be written.
pub fn variant(source: &str, name: &str, flags: &[&str]) -> Result<(), CompileError> {
    let crate_dir = variable("CARGO_MANIFEST_DIR")?;
    let output = Path::new(&variable("OUT_DIR")?).join(format!("{name}.o"));
    for folder in headers(&crate_dir) {
        let entries = fs::read_dir(&folder).map_err(|source| CompileError::Headers {
            folder: folder.clone(),
            source,
        })?;
        for entry in entries.flatten() {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
    println!("cargo::rerun-if-env-changed=CLANG");
    let architecture = variable("CARGO_CFG_TARGET_ARCH")?;
    compile(&crate_dir, source, &output, &architecture, flags)?;
    pack(&output).map_err(|source| CompileError::Pack {
        object: output,
        source,
    })
}

/// Compresses `NAME.o` to `NAME.o.z`, for [`Packed`](crate::packed::Packed).
fn pack(object: &Path) -> io::Result<()> {
    let file = fs::File::create(object.with_extension("o.z"))?;
    let mut encoder = DeflateEncoder::new(file, Compression::default());
    encoder.write_all(&fs::read(object)?)?;
    encoder.finish().map(drop)
}

/// The folders with headers, for programs of a crate.
fn headers(crate_dir: &str) -> [String; 3] {
    let own = format!("{crate_dir}/bpf");
    [driver_api::HEADERS, super::HEADERS, &own].map(str::to_owned)
}

/// Compiles `bpf/SOURCE.bpf.c` of the crate in `crate_dir` to `output`, for kernels on `architecture` (named as in
/// `cfg(target_arch)`). Tests use it for the architecture that they do not run on.
///
/// # Errors
///
/// The architecture is not supported, or clang cannot be run or prints errors.
pub fn compile(
    crate_dir: &str,
    source: &str,
    output: &Path,
    architecture: &str,
    flags: &[&str],
) -> Result<(), CompileError> {
    let input = Path::new(crate_dir)
        .join("bpf")
        .join(format!("{source}.bpf.c"));
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let target = match architecture {
        "x86_64" => "-D__TARGET_ARCH_x86",
        "aarch64" => "-D__TARGET_ARCH_arm64",
        other => return Err(CompileError::Architecture(other.to_owned())),
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
        .args(headers(crate_dir).map(|folder| format!("-I{folder}")));
    command.arg("-c").arg(&input).arg("-o").arg(output);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CompileError::Refused {
            clang,
            input,
            status,
        }),
        Err(source) => Err(CompileError::Clang { clang, source }),
    }
}

fn variable(name: &'static str) -> Result<String, CompileError> {
    env::var(name).map_err(|source| CompileError::Variable { name, source })
}
