//! Faults in the tables stop the build: the message names the line and what is expected.
#![expect(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "the build script uses the rest"
)]

use std::error::Error as _;

#[path = "../src/table/parse/mod.rs"]
mod parse;
#[path = "../src/table/words/mod.rs"]
mod words;

use parse::TableError;

/// The error with its source, as the build script prints it.
fn text<T>(read: Result<T, TableError>) -> String {
    let Err(error) = read else {
        return "no fault".to_owned();
    };
    let source = error.source().map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

fn call(line: &str) -> String {
    text(parse::syscalls(&format!("# a comment\n{line}\n")))
}

#[test]
fn a_line_of_calls_says_what_is_expected() {
    assert_eq!(
        call("read 0 3"),
        "syscalls.tbl:2: the line ends, expected a number on aarch64"
    );
    assert_eq!(
        call("read 0 x 63 3 io_read size"),
        "syscalls.tbl:2: expected a number, found \"x\""
    );
    assert!(
        call("read 0 3 63 3 reading size").starts_with(
            "syscalls.tbl:2: \"reading\" is no category, expected one of: aio fd file "
        )
    );
    assert_eq!(
        call("read 0 3 63 3 io_read size\n!unfailing read raed"),
        "syscalls.tbl:3: there is no call \"raed\" in syscalls.tbl"
    );
    assert_eq!(
        call("read 0 3 63 3 io_read size fd:fd buf:>bytes[len] size:size"),
        "syscalls.tbl:2: there is no parameter \"len\" in this call"
    );
    assert!(
        call("read 0 3 63 3 io_read size fd:descriptor")
            .starts_with("syscalls.tbl:2: \"descriptor\" is no kind, expected one of: fd dirfd ")
    );
    assert_eq!(
        call("read 0 3 63 3 io_read size fd:fd buf:>bytes size:size"),
        "syscalls.tbl:2: expected a length in brackets, found \"bytes\""
    );
}

#[test]
fn the_other_tables_do_so_too() {
    assert_eq!(
        text(parse::symbols(parse::SYMBOLS, "    A 1\n")),
        "symbols.tbl:1: expected `set NAME [UNKNOWN]` before this line"
    );
    assert_eq!(
        text(parse::symbols(parse::SYMBOLS, "set a\n    arm A 1\n")),
        "symbols.tbl:2: there is no symbol \"A\" in the lines of set a above"
    );
    assert_eq!(
        text(parse::structs("struct a\n    b:i32\n    c:struct(d)\n")),
        "structs.tbl:3: there is no structure \"d\" in the lines above"
    );
    assert_eq!(
        text(parse::structs("struct a\nstruct a\n")),
        "structs.tbl:2: structure \"a\" is defined a second time"
    );
    assert_eq!(
        text(parse::variants("variant v\n    1 : fd\n    1 : i32\n", &[])),
        "variants.tbl:3: value \"1\" is defined a second time"
    );
    assert_eq!(
        text(parse::variants("variant v s\n    A : fd\n", &[])),
        "variants.tbl:2: there is no set of symbols \"s\" in symbols.tbl"
    );
}
