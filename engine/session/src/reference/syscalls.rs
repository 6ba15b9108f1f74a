//! The system calls: the table as text, JSON and a page of docs/.

use std::fmt::Write as _;

use driver_api::event::Abi;
use driver_api::table::{Param, SYSCALLS, Syscall, Written};
use serde_json::{Value, json};

use super::Form;

/// The system calls, with their numbers and parameters.
#[must_use]
pub fn syscalls(form: Form) -> String {
    if form == Form::Json {
        let rows: Vec<Value> = SYSCALLS.iter().map(syscall_json).collect();
        return format!("{:#}\n", Value::from(rows));
    }
    let mut text = String::new();
    if form == Form::Markdown {
        text.push_str("# System calls\n\nMade by `make docs` from `driver-api/syscalls.tbl`. Names in parentheses are aliases.\n\n");
        text.push_str("| call | x86_64 | i386 | aarch64 | arm | category | parameters |\n|---|---|---|---|---|---|---|\n");
    }
    for call in SYSCALLS.iter().filter(|call| !call.is_operation()) {
        let number = |abi| {
            call.number(abi)
                .map_or_else(|| "-".to_owned(), |number| number.to_string())
        };
        let numbers = [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm].map(number);
        let params: Vec<String> = call.params.iter().map(param_text).collect();
        let params = params.join(", ");
        let _ = if form == Form::Markdown {
            writeln!(
                text,
                "| {} | {} | {} | {params} |",
                call.name,
                numbers.join(" | "),
                call.category
            )
        } else {
            writeln!(
                text,
                "{:<18} {:>4} {:>4} {:>4} {:>4}  {:<9} {params}",
                call.name, numbers[0], numbers[1], numbers[2], numbers[3], call.category
            )
        };
    }
    operations(&mut text, form);
    text
}

/// Appends the operations of io_uring, each with its code.
fn operations(text: &mut String, form: Form) {
    if form == Form::Markdown {
        text.push_str(
            "\n## Operations of io_uring\n\nMade from `driver-api/io_uring.tbl`. A program submits them to a ring instead of \
             making system calls. Each is an event of this name. It does what the system call beside it does, and has the \
             same parameters.\n\n| operation | code | system call | category | parameters |\n|---|---|---|---|---|\n",
        );
    } else {
        text.push_str("\noperations of io_uring, with their codes:\n");
    }
    for call in SYSCALLS {
        let Some(code) = call.number(Abi::IoUring) else {
            continue;
        };
        let acts_as = if call.acts_as == call.name {
            "-"
        } else {
            call.acts_as
        };
        let params: Vec<String> = call.params.iter().map(param_text).collect();
        let params = params.join(", ");
        let (name, category) = (call.name, call.category);
        let _ = if form == Form::Markdown {
            writeln!(
                text,
                "| {name} | {code} | {acts_as} | {category} | {params} |"
            )
        } else {
            writeln!(
                text,
                "{name:<25} {code:>4}  {acts_as:<15}  {category:<9} {params}"
            )
        };
    }
}

fn param_text(param: &Param) -> String {
    let alias = if param.aliases.is_empty() {
        String::new()
    } else {
        format!(" ({})", param.aliases.join(", "))
    };
    format!("{}{alias}: {}", param.name, param.kind)
}

fn syscall_json(call: &Syscall) -> Value {
    let params: Vec<Value> = call
        .params
        .iter()
        .map(|param| json!({"name": param.name, "aliases": param.aliases, "kind": param.kind.to_string(), "output": param.written != Written::Always}))
        .collect();
    let facts: Vec<&str> = call.facts.iter().map(|fact| fact.fact.name()).collect();
    json!({
        "name": call.name,
        "numbers": {"x86_64": call.number(Abi::X86_64), "i386": call.number(Abi::I386), "x32": call.number(Abi::X32), "aarch64": call.number(Abi::Aarch64), "arm": call.number(Abi::Arm), "io_uring": call.number(Abi::IoUring)},
        "acts_as": call.acts_as,
        "category": call.category.word(),
        "params": params,
        "returns": call.returns.word(),
        "facts": facts,
    })
}
