//! `lanner plugins new`: writes a crate that builds and passes its test as it is. It is the example of its kind under
//! another name. It depends on the SDK by version, or by path if the user has a checkout.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use super::super::{Failure, print};
use command_line::{PluginKind, PluginNewArgs};

/// The SDK as the examples name it, in a checkout.
const SDK_IN_EXAMPLES: &str = "path = \"../../api\"";

/// An example: its name, manifest and source.
struct Example {
    name: &'static str,
    manifest: &'static str,
    source: &'static str,
}

const OUTPUT: Example = Example {
    name: "output-count",
    manifest: include_str!("../../../../plugins/examples/output-count/Cargo.toml"),
    source: include_str!("../../../../plugins/examples/output-count/src/lib.rs"),
};

const RULES: Example = Example {
    name: "rules-root-shell",
    manifest: include_str!("../../../../plugins/examples/rules-root-shell/Cargo.toml"),
    source: include_str!("../../../../plugins/examples/rules-root-shell/src/lib.rs"),
};

pub(super) fn new(args: &PluginNewArgs) -> Result<ExitCode, Failure> {
    let folder = args.folder.join(&args.name);
    let example = match args.kind {
        PluginKind::Output => OUTPUT,
        PluginKind::Rules => RULES,
    };
    let sdk = sdk(args.sdk_path.as_deref()).map_err(|error| {
        let path = args.sdk_path.clone().unwrap_or_default();
        Failure::usage(format!("--sdk-path {}: {error}", path.display()))
    })?;
    write(&folder, &args.name, &example, &sdk)
        .map_err(|error| Failure::usage(format!("{}: {error}", folder.display())))?;
    let library = args.name.replace('-', "_");
    let text = format!(
        "{0} is there. Next:\n  cd {0}\n  cargo test\n  cargo build --release\n  \
         lanner plugins check target/release/lib{library}.so\n",
        folder.display()
    );
    print(text.as_bytes())
}

fn write(folder: &Path, name: &str, example: &Example, sdk: &str) -> io::Result<()> {
    // fails if there is such a folder: it may hold someone's work
    fs::create_dir(folder).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => io::Error::new(
            error.kind(),
            "it is there already; take another NAME, or another folder with --in",
        ),
        _ => error,
    })?;
    fs::create_dir(folder.join("src"))?;
    let file = |path: &str, text: &str| fs::write(folder.join(path), text);
    let manifest = example
        .manifest
        .replace(example.name, name)
        .replace(SDK_IN_EXAMPLES, sdk);
    file("Cargo.toml", &manifest)?;
    file("src/lib.rs", &example.source.replace(example.name, name))?;
    file(".gitignore", "/target\n")
}

/// What the manifest says about where the SDK is.
fn sdk(path: Option<&Path>) -> io::Result<String> {
    let Some(path) = path else {
        return Ok(format!("version = {:?}", env!("CARGO_PKG_VERSION")));
    };
    let path = fs::canonicalize(path)?;
    let text = path
        .to_str()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"))?;
    Ok(format!("path = {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(example: &Example, path: Option<&Path>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("mine");
        write(&folder, "mine", example, &sdk(path).unwrap()).unwrap();
        fs::read_to_string(folder.join("Cargo.toml")).unwrap()
    }

    #[test]
    fn a_new_plugin_depends_on_the_sdk_of_this_version() {
        let wanted = format!(
            "lanner-plugin = {{ version = \"{}\"",
            env!("CARGO_PKG_VERSION")
        );
        for example in [OUTPUT, RULES] {
            let text = manifest(&example, None);
            assert_eq!(text.matches(&wanted).count(), 2, "{text}");
            assert!(!text.contains("path"), "{text}");
        }
    }

    #[test]
    fn a_new_plugin_depends_on_the_sdk_of_a_checkout() {
        let api = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/api"));
        let real = fs::canonicalize(api).unwrap();
        for example in [OUTPUT, RULES] {
            let text = manifest(&example, Some(api));
            assert_eq!(text.matches(real.to_str().unwrap()).count(), 2, "{text}");
        }
    }
}
