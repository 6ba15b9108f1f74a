//! Links plugins into `lanner`: the object files that `LANNER_BUILT_IN` names, separated by colons. `NAME.o` exports
//! `lanner_plugin_NAME`, which is the plugin's `lanner_plugin`. `tools/built-in` makes such files. `LANNER_MEMORY` names a static
//! library whose functions take the place of those of the C library (`tools/static/memory.c`).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

const VARIABLE: &str = "LANNER_BUILT_IN";
const MEMORY: &str = "LANNER_MEMORY";

/// Why the plugins cannot be linked in.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{VARIABLE} has {}, which is not the path of an object file NAME.o with a NAME of letters, digits and _", .0.display())]
    Name(PathBuf),
    #[error("{VARIABLE} has {}, which cannot be found", path.display())]
    Missing { path: PathBuf, source: io::Error },
    #[error("{MEMORY} is {}, which is not the path of a static library libNAME.a", .0.display())]
    Library(PathBuf),
    #[error("OUT_DIR is not set: only cargo runs this")]
    NoFolder(#[source] env::VarError),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

fn main() {
    if let Err(error) = link().and_then(|()| link_memory()) {
        println!("cargo::error={error}");
        process::exit(1);
    }
}

fn link() -> Result<(), LinkError> {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let objects = env::var_os(VARIABLE).unwrap_or_default();
    let objects = env::split_paths(&objects).filter(|path| !path.as_os_str().is_empty());
    let (mut functions, mut list) = (String::new(), String::new());
    let mut count = 0;
    for path in objects {
        let name = name(&path).ok_or_else(|| LinkError::Name(path.clone()))?;
        let path = fs::canonicalize(&path).map_err(|source| LinkError::Missing { path, source })?;
        println!("cargo::rerun-if-changed={}", path.display());
        println!("cargo::rustc-link-arg-bins={}", path.display());
        let function = format!("lanner_plugin_{name}");
        // Writing to a string cannot fail.
        let _ = writeln!(
            functions,
            "    fn {function}() -> *const plugin_host::LannerPlugin;"
        );
        let _ = writeln!(list, "    Linked {{ name: {name:?}, entry: {function} }},");
        count += 1;
    }
    if count > 0 && env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|name| name == "musl") {
        // The linker takes from a static library only what it has missed so far, and these files come after it.
        println!("cargo::rustc-link-arg-bins=-lunwind");
        println!("cargo::rustc-link-arg-bins=-lc");
    }
    if count > 0 {
        functions = format!("unsafe extern \"C\" {{\n{functions}}}\n");
    }
    let folder = env::var("OUT_DIR").map_err(LinkError::NoFolder)?;
    let path = Path::new(&folder).join("built_in.rs");
    let text = format!("{functions}static PLUGINS: [Linked; {count}] = [\n{list}];\n");
    fs::write(&path, text).map_err(|source| LinkError::Write { path, source })
}

/// A static library of this package's own comes before those of other crates, so that the linker finds its functions first.
fn link_memory() -> Result<(), LinkError> {
    println!("cargo::rerun-if-env-changed={MEMORY}");
    let Some(path) = env::var_os(MEMORY).filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let path = PathBuf::from(path);
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.and_then(|name| name.strip_prefix("lib")?.strip_suffix(".a"));
    let (Some(folder), Some(name), true) = (path.parent(), name, path.is_file()) else {
        return Err(LinkError::Library(path));
    };
    println!("cargo::rerun-if-changed={}", path.display());
    println!("cargo::rustc-link-search=native={}", folder.display());
    println!("cargo::rustc-link-lib=static:+whole-archive={name}");
    Ok(())
}

/// The name of an object file, if it can be a part of a function's name.
fn name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(".o")?;
    let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    (!name.is_empty() && name.chars().all(good)).then(|| name.to_owned())
}
