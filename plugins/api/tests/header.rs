//! The C header is generated from the Rust structs (`src/abi`) and up to date. C and Rust agree on every size,
//! offset and constant. The header compiles without a warning as C11 and as C++17.
//!
//! `make header` writes the header: it runs this test with `LANNER_WRITE_HEADER` set.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed"
)]

use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use lanner_plugin::abi::*;

/// The files of `src/abi`, in the order in which the header has their structs.
const SOURCES: [&str; 9] = [
    "mod", "status", "host", "value", "resolver", "rules", "reports", "output", "plugin",
];

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

/// The introduction of the header.
const PREAMBLE: &str = r"/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanner_plugin.h - the interface between lanner and its plugins. Generated from plugins/api/src/abi by `make header`.
 *
 * A plugin is a shared library that exports one function, lanner_plugin(). This header is all that you need to write
 * one in C, C++, or any language that can call C.
 *
 * Rules that hold everywhere:
 *
 *  1. Versions. The host refuses a plugin whose abi_major differs from its own. abi_minor may differ: structs that
 *     begin with `size` may be longer or shorter than in this header. Set `size` to sizeof the struct when you fill
 *     one in. Before you read a field that came with a later minor version than 0 (`Since 1.1`), check that the struct
 *     has it: LANNER_HAS(batch, refused). Structs without `size` never change.
 *  2. Ownership. Whoever creates a text, an array or a struct keeps it and frees it. The other side may read it until
 *     the call that passed it returns, and copies what it wants to keep. Neither side frees memory of the other.
 *  3. Texts are a pointer and a length. They have no terminating NUL and may contain NUL. Names and messages are
 *     UTF-8. Field values are the kernel's bytes.
 *  4. Nothing unwinds, longjmps or throws across this interface, in either direction. A plugin that catches such a
 *     thing returns LANNER_PANIC. The host then closes the state, and calls nothing else with it.
 *  5. Threads. One thread at a time uses a state. A state may move between threads from call to call. Several threads
 *     use different states at the same time.
 *  6. Pointers to sinks (LannerText, LannerRuleSink, LannerMatches, ...) are valid until the call that passed them
 *     returns, on the thread of that call. They are never NULL.
 *  7. Blocking. Each function says whether it may block. A function that says nothing must not block.
 *  8. The host never unloads the library.
 *  9. Settings. Without settings in the configuration, the text is empty (len 0), not `null` or `{}`. Treat it as `{}`.
 *     Otherwise it is one JSON value, usually an object, that fits the schema if the plugin has one.
 * 10. Time. on_event runs for every event, often a million times a second: it should take less than a microsecond.
 *     emit runs for up to 256 alerts, and should return after about a second (LANNER_GO_ON). The host calls flush when
 *     no more alerts wait, and before close: what emit buffers must be written out there.
 * 11. Threads of your own. A plugin may start threads, which may use the host's table (log, metrics) at any time. Block
 *     all signals in them: the signals of the process are lanner's. Do not change signal handlers, the signal mask of
 *     the thread that calls you, the working directory, the umask or the environment. End your threads in close: the
 *     state is gone afterwards.
 * 12. Processes. lanner has many threads, so a child may only call functions that are safe after fork() until it calls
 *     exec: use posix_spawn() or vfork(). Open descriptors with O_CLOEXEC. Wait for your own children alone, by pid.
 *     Never call exit() or abort(), nor pthread_exit() on a thread of lanner's: they end lanner.
 * 13. Crashes. A plugin that crashes ends lanner. lanner prints the plugin's name before that, if the crash is in the
 *     plugin's code or in a call of the plugin.
 *
 * Priorities are those of syslog: 0 Emergency, 1 Alert, 2 Critical, 3 Error, 4 Warning, 5 Notice, 6 Informational,
 * 7 Debug.
 */

#ifndef LANNER_PLUGIN_H
#define LANNER_PLUGIN_H
";

/// The exported function. cbindgen cannot see it, because the plugin defines it.
const TRAILER: &str = r##"/* Whether the struct that `pointer` points to has a field: its `size` covers the whole of it. */
#define LANNER_HAS(pointer, field) \
    ((pointer)->size >= (size_t)((const char *)(&(pointer)->field + 1) - (const char *)(pointer)))

#if defined(__GNUC__)
#define LANNER_EXPORT __attribute__((visibility("default")))
#else
#define LANNER_EXPORT
#endif

/* The one function that a plugin exports. Called from any thread, possibly several times; must not block. */
#ifdef __cplusplus
extern "C"
#endif
LANNER_EXPORT const LannerPlugin *lanner_plugin(void);

#endif /* LANNER_PLUGIN_H */
"##;

/// Moves the opening and closing marks of comments onto the first and last line of their text.
fn compact(header: &str) -> String {
    let mut out = String::new();
    let mut open: Option<(&str, Vec<&str>)> = None;
    for line in header.lines() {
        let (indent, text) = line.split_at(line.len() - line.trim_start().len());
        match (&mut open, text) {
            (None, "/*") => open = Some((indent, Vec::new())),
            (None, _) => out.extend([line, "\n"]),
            (Some((indent, lines)), "*/") => {
                let text = lines
                    .join(&format!("\n{indent} * "))
                    .replace(" * \n", " *\n");
                out.push_str(&format!("{indent}/* {text} */\n"));
                open = None;
            }
            (Some((_, lines)), text) => lines.push(text),
        }
    }
    out
}

/// The header that the Rust structs give.
fn generate() -> String {
    let sources = SOURCES.map(|name| file_in_crate(&format!("src/abi/{name}.rs")));
    let texts = sources
        .iter()
        .map(|source| std::fs::read_to_string(source).unwrap());
    let text: String = texts.collect();
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        header: Some(PREAMBLE.trim_end().to_owned()),
        trailer: Some(TRAILER.trim_end().to_owned()),
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        cpp_compat: true,
        usize_is_size_t: true,
        line_length: 100,
        tab_width: 4,
        documentation_style: cbindgen::DocumentationStyle::C,
        style: cbindgen::Style::Both,
        ..cbindgen::Config::default()
    };
    for line in text.lines() {
        let words: Vec<&str> = line.split([' ', '<', ':', '(']).collect();
        match words[..] {
            ["pub", "struct" | "union" | "type", name, ..] => {
                config.export.include.push(name.to_owned());
            }
            // TAG_BOOL becomes LANNER_BOOL, STATUS_OK becomes LANNER_OK, all others get the prefix LANNER_.
            ["pub", "const", name, ..] => {
                let short = ["TAG_", "STATUS_"]
                    .iter()
                    .find_map(|prefix| name.strip_prefix(prefix));
                let renamed = format!("LANNER_{}", short.unwrap_or(name));
                config.export.rename.insert(name.to_owned(), renamed);
            }
            _ => {}
        }
    }
    let mut header = Vec::new();
    let builder = cbindgen::Builder::new().with_config(config);
    sources
        .into_iter()
        .fold(builder, cbindgen::Builder::with_src)
        .generate()
        .unwrap()
        .write(&mut header);
    let header = String::from_utf8(header).unwrap();
    let (preamble, rest) = header.split_at(PREAMBLE.len());
    format!("{preamble}{}", compact(rest))
}

#[test]
fn the_header_is_current() {
    let path = Path::new(INCLUDE).join("lanner_plugin.h");
    let wanted = generate();
    if std::env::var_os("LANNER_WRITE_HEADER").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(found == wanted, "run `make header` and commit the result");
}

#[test]
fn c_and_rust_agree_on_every_struct_and_constant() {
    layout! { rust, c;
        LannerStr { ptr, len }
        LannerList { ptr, len }
        LannerValueData { boolean, i64, u64, f64, bytes, ip, list }
        LannerValue { tag, reserved, data }
        LannerText { ctx, put }
        LannerLabel { name, value }
        LannerMetric { size, name, help, labels, label_count, kind, reserved }
        LannerHost { size, abi_major, abi_minor, ctx, log, metric, metric_add, metric_set }
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
        LannerComparison {
            size, field, transformers, transformer_count, constants, constant_count, relation,
            reserved
        }
        LannerComparisonSink { ctx, put }
        LannerCapture { size, rule, reserved, duration_ms, before_ms, events, bytes }
        LannerCaptureSink { ctx, put }
        LannerTest { field, constants, constant_count, relation, negated }
        LannerNeed { size, event_type, tests, test_count }
        LannerNeedSink { ctx, put }
        LannerRulePlugin {
            size, open, rules, event_types, on_event, close, check, explain, schema, comparisons,
            captures, needs
        }
        LannerAlertField { name, value }
        LannerAlert {
            size, time_ns, rule, source, hostname, text, json, tags, tag_count, fields,
            field_count, priority, reserved
        }
        LannerBatch { size, alerts, count, refused }
        LannerOutputPlugin { size, open, emit, flush, reopen, close, schema, check }
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
        STATUS_GO_ON = LANNER_GO_ON
        LEVEL_ERROR = LANNER_LEVEL_ERROR
        LEVEL_WARN = LANNER_LEVEL_WARN
        LEVEL_INFO = LANNER_LEVEL_INFO
        LEVEL_DEBUG = LANNER_LEVEL_DEBUG
        LEVEL_TRACE = LANNER_LEVEL_TRACE
        METRIC_COUNTER = LANNER_METRIC_COUNTER
        METRIC_GAUGE = LANNER_METRIC_GAUGE
        SEVERITY_ERROR = LANNER_SEVERITY_ERROR
        SEVERITY_WARNING = LANNER_SEVERITY_WARNING
        SEVERITY_NOTE = LANNER_SEVERITY_NOTE
        RELATION_OTHER = LANNER_RELATION_OTHER
        RELATION_EQUAL = LANNER_RELATION_EQUAL
        RELATION_ORDER = LANNER_RELATION_ORDER
        RELATION_PREFIX = LANNER_RELATION_PREFIX
        RELATION_SUFFIX = LANNER_RELATION_SUFFIX
        RELATION_CONTAINS = LANNER_RELATION_CONTAINS
        RELATION_PATTERN = LANNER_RELATION_PATTERN
        TEST_EQUAL = LANNER_TEST_EQUAL
        TEST_UNEQUAL = LANNER_TEST_UNEQUAL
        TEST_LESS = LANNER_TEST_LESS
        TEST_LESS_OR_EQUAL = LANNER_TEST_LESS_OR_EQUAL
        TEST_GREATER = LANNER_TEST_GREATER
        TEST_GREATER_OR_EQUAL = LANNER_TEST_GREATER_OR_EQUAL
        TEST_EXISTS = LANNER_TEST_EXISTS
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
        FIELD_SELECTS = LANNER_FIELD_SELECTS
        FIELD_NEVER = LANNER_FIELD_NEVER
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
    assert_eq!(names.len(), 33, "{names:?}");
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

#[test]
fn the_output_in_rust_of_the_documentation_is_the_example() {
    let page = std::fs::read_to_string(file_in_crate("../../docs/plugins.md")).unwrap();
    let code = page.split("```rust\n").nth(1).unwrap();
    let code = code.split("```").next().unwrap();
    let example = std::fs::read_to_string(file_in_crate("../examples/output-count/src/lib.rs"));
    let example = example.unwrap().replace("output-count", "output-mine");
    let (before_tests, _) = example.split_once("#[cfg(test)]").unwrap();
    assert_eq!(code.trim_end(), before_tests.trim_end());
}
