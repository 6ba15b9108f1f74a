//! `lanner plugins new`: a crate that builds as it is and passes its test. It is the example of its kind under another
//! name, with a copy of the SDK, so that nothing else of lanner is needed.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use super::super::args::{PluginKind, PluginNewArgs};
use super::super::{Failure, print};

/// The files of the SDK: name, contents.
macro_rules! sdk {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../../../plugins/api/", $file)))),*]
    };
}

const SDK: &[(&str, &str)] = sdk![
    "include/lanner_plugin.h",
    "src/abi/host.rs",
    "src/abi/mod.rs",
    "src/abi/output.rs",
    "src/abi/plugin.rs",
    "src/abi/reports.rs",
    "src/abi/resolver.rs",
    "src/abi/rules.rs",
    "src/abi/status.rs",
    "src/abi/value.rs",
    "src/border.rs",
    "src/cache.rs",
    "src/chain.rs",
    "src/export.rs",
    "src/field.rs",
    "src/host.rs",
    "src/lib.rs",
    "src/lines.rs",
    "src/output.rs",
    "src/output_border.rs",
    "src/priority.rs",
    "src/report.rs",
    "src/request.rs",
    "src/rule.rs",
    "src/rule_border.rs",
    "src/settings.rs",
    "src/testing.rs",
    "src/testing_outputs.rs",
    "src/transform/base64.rs",
    "src/transform/getopt.rs",
    "src/transform/mod.rs",
    "src/transform/term.rs",
    "src/transform/tests.rs",
    "src/value.rs",
];

/// The SDK's manifest, without the workspace that it is built in here.
const SDK_MANIFEST: &str = concat!(
    r#"[package]
name = "lanner-plugin"
description = "The plugin ABI and the Rust SDK for plugin authors."
version = ""#,
    env!("CARGO_PKG_VERSION"),
    r#""
edition = "2024"
license = "Apache-2.0"

[features]
testing = []

[dependencies]
schemars = "1.2"
serde = { version = "1", features = ["derive"] }
serde_json = "1"
thiserror = "2"
"#
);

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
    write(&folder, &args.name, &example)
        .map_err(|error| Failure::usage(format!("{}: {error}", folder.display())))?;
    let library = args.name.replace('-', "_");
    let text = format!(
        "{0} is there. Next:\n  cd {0}\n  cargo test\n  cargo build --release\n  \
         lanner plugins check target/release/lib{library}.so\n",
        folder.display()
    );
    print(text.as_bytes())
}

fn write(folder: &Path, name: &str, example: &Example) -> io::Result<()> {
    // An old folder of that name is left alone.
    fs::create_dir(folder)?;
    let file = |path: &str, text: &str| {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)
    };
    let manifest = example
        .manifest
        .replace(example.name, name)
        .replace("../../api", "lanner-plugin");
    file("Cargo.toml", &manifest)?;
    file("src/lib.rs", &example.source.replace(example.name, name))?;
    file(".gitignore", "/target\n")?;
    file("lanner-plugin/Cargo.toml", SDK_MANIFEST)?;
    for (path, text) in SDK {
        file(&format!("lanner-plugin/{path}"), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_of_the_sdk_is_whole() {
        let api = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/api"));
        let mut there = Vec::new();
        let mut folders = vec!["include".to_owned(), "src".to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(api.join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{folder}/{}", entry.file_name().display());
                let list = if entry.path().is_dir() {
                    &mut folders
                } else {
                    &mut there
                };
                list.push(name);
            }
        }
        there.sort();
        let copied: Vec<&str> = SDK.iter().map(|(name, _)| *name).collect();
        assert_eq!(copied, there);
        // and needs what the SDK needs
        let manifest = fs::read_to_string(api.join("Cargo.toml")).unwrap();
        let needed = manifest.split("[dependencies]\n").nth(1).unwrap();
        for line in needed.lines().take_while(|line| !line.is_empty()) {
            let name = line.split('.').next().unwrap();
            assert!(SDK_MANIFEST.contains(&format!("\n{name} = ")), "{name}");
        }
    }
}
