//! The C header and the Rust structs describe the same memory: both are asked for every size and
//! offset. And the header compiles without a warning as C11 and as C++17.

use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use lanner_plugin::abi::*;

const INCLUDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include");

/// Compiles `source` and returns the program. Needs a C and a C++ compiler.
fn compile(compiler: &str, standard: &str, source: &Path) -> std::io::Result<PathBuf> {
    let program = source.with_extension(standard.replace('+', "p"));
    let output = Command::new(compiler)
        .arg(format!("-std={standard}"))
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", INCLUDE])
        .arg("-o")
        .arg(&program)
        .arg(source)
        .output()?;
    assert!(
        output.status.success(),
        "{compiler} -std={standard}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(program)
}

/// One line for every size and offset: `name value`.
macro_rules! layout {
    ($rust:ident, $c:ident; $($name:ident { $($field:ident),* })*) => {
        let mut $rust = Vec::new();
        let mut $c = String::new();
        $(
            $rust.push(format!("{} {}", stringify!($name), size_of::<$name>()));
            $c.push_str(concat!(
                "printf(\"", stringify!($name), " %zu\\n\", sizeof(", stringify!($name), "));\n"
            ));
            $(
                $rust.push(format!(
                    "{}.{} {}", stringify!($name), stringify!($field), offset_of!($name, $field)
                ));
                $c.push_str(concat!(
                    "printf(\"", stringify!($name), ".", stringify!($field), " %zu\\n\", offsetof(",
                    stringify!($name), ", ", stringify!($field), "));\n"
                ));
            )*
        )*
    };
}

/// One line for every constant.
macro_rules! constants {
    ($rust:ident, $c:ident; $($name:ident = $c_name:ident)*) => {
        $(
            $rust.push(format!("{} {}", stringify!($c_name), $name));
            $c.push_str(concat!(
                "printf(\"", stringify!($c_name), " %d\\n\", (int)", stringify!($c_name), ");\n"
            ));
        )*
    };
}

#[test]
fn c_and_rust_agree_on_every_struct_and_constant() {
    layout! { rust, c;
        LannerStr { ptr, len }
        LannerList { ptr, len }
        LannerValueData { boolean, i64, u64, f64, bytes, ip, list }
        LannerValue { tag, reserved, data }
        LannerText { ctx, put }
        LannerHost { size, abi_major, abi_minor, ctx, log }
        LannerField { id, kind, flags, reserved }
        LannerResolver { size, ctx, field, event_type }
        LannerRuleFile { name, text }
        LannerRuleRequest { size, resolver, files, file_count, settings }
        LannerRule {
            size, name, description, source, output, tags, tag_count, priority, enabled
        }
        LannerRuleSink { ctx, put }
        LannerEvent { size, ctx, get, event_type, reserved }
        LannerMatches { ctx, put }
        LannerDiagnostic {
            size, code, file, message, help, snippet, item, missing, severity, line, column, caret
        }
        LannerDiagnosticSink { ctx, put }
        LannerExplanation {
            size, condition, event_types, event_type_count, fields, field_count, parts, part_count,
            all_event_types, reserved
        }
        LannerExplanationSink { ctx, put }
        LannerRulePlugin { size, open, rules, event_types, on_event, close, check, explain }
        LannerAlertField { name, value }
        LannerAlert {
            size, time_ns, rule, source, hostname, text, json, tags, tag_count, fields,
            field_count, priority, reserved
        }
        LannerBatch { size, alerts, count }
        LannerOutputPlugin { size, open, emit, flush, reopen, close }
        LannerPlugin {
            abi_major, abi_minor, size, name, version, description, rules, output
        }
    }
    constants! { rust, c;
        ABI_MAJOR = LANNER_ABI_MAJOR
        ABI_MINOR = LANNER_ABI_MINOR
        STATUS_OK = LANNER_OK
        STATUS_ERROR = LANNER_ERROR
        STATUS_PANIC = LANNER_PANIC
        STATUS_TRY_AGAIN = LANNER_TRY_AGAIN
        STATUS_GIVE_UP = LANNER_GIVE_UP
        LEVEL_ERROR = LANNER_LEVEL_ERROR
        LEVEL_WARN = LANNER_LEVEL_WARN
        LEVEL_INFO = LANNER_LEVEL_INFO
        LEVEL_DEBUG = LANNER_LEVEL_DEBUG
        LEVEL_TRACE = LANNER_LEVEL_TRACE
        SEVERITY_ERROR = LANNER_SEVERITY_ERROR
        SEVERITY_WARNING = LANNER_SEVERITY_WARNING
        SEVERITY_NOTE = LANNER_SEVERITY_NOTE
        TAG_NONE = LANNER_NONE
        TAG_BOOL = LANNER_BOOL
        TAG_I64 = LANNER_I64
        TAG_U64 = LANNER_U64
        TAG_F64 = LANNER_F64
        TAG_STRING = LANNER_STRING
        TAG_BYTES = LANNER_BYTES
        TAG_IPV4 = LANNER_IPV4
        TAG_IPV6 = LANNER_IPV6
        TAG_LIST = LANNER_LIST
        TAG_ANY = LANNER_ANY
        FIELD_LIST = LANNER_FIELD_LIST
        FIELD_ANY = LANNER_FIELD_ANY
        FIELD_EITHER = LANNER_FIELD_EITHER
    }
    let program = format!(
        "#include \"lanner_plugin.h\"\n#include <stdio.h>\nint main(void) {{\n{c}return 0;\n}}\n"
    );
    let directory = tempfile::tempdir().unwrap();
    for (compiler, standard, name) in [("cc", "c11", "layout.c"), ("c++", "c++17", "layout.cpp")] {
        let source = directory.path().join(name);
        std::fs::write(&source, &program).unwrap();
        let output = Command::new(compile(compiler, standard, &source).expect("run the compiler"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), rust, "{standard}");
    }
}

#[test]
fn every_struct_of_the_header_is_compared() {
    let header = std::fs::read_to_string(format!("{INCLUDE}/lanner_plugin.h")).unwrap();
    let this = std::fs::read_to_string(file_in_crate("tests/header.rs")).unwrap();
    let names: Vec<_> = header
        .lines()
        .filter_map(|line| {
            let rest = line
                .strip_prefix("typedef struct ")
                .or(line.strip_prefix("typedef union "))?;
            rest.strip_suffix(" {")
        })
        .collect();
    assert_eq!(names.len(), 24, "{names:?}");
    for name in names {
        assert!(
            this.contains(&format!("        {name} {{")),
            "{name} is not compared"
        );
    }
}

fn file_in_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_plugin_in_c_of_the_documentation_compiles() {
    let page = std::fs::read_to_string(file_in_crate("../../docs/plugins.md")).unwrap();
    let code = page
        .split("```c\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("plugin.c");
    std::fs::write(
        &source,
        format!("{code}\nint main(void) {{ return !lanner_plugin(); }}\n"),
    )
    .unwrap();
    let program = compile("cc", "c11", &source).expect("run the compiler");
    assert!(Command::new(program).status().unwrap().success());
}
