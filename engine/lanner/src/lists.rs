//! `lanner syscalls` and `lanner fields`: lists, as text, JSON or documentation.

use std::fmt::Write as _;
use std::process::ExitCode;

use driver_api::event::Abi;
use driver_api::table::{Param, SYSCALLS, Syscall, Written};
use serde_json::{Value, json};

use super::args::ListArgs;
use super::{Failure, print};
use fields::{ArgRule, FIELDS, FieldDef, LEFT_OUT};

pub(crate) fn syscalls(args: &ListArgs) -> Result<ExitCode, Failure> {
    if args.json {
        let rows: Vec<Value> = SYSCALLS.iter().map(syscall_json).collect();
        return print(format!("{:#}\n", Value::from(rows)).as_bytes());
    }
    let mut text = String::new();
    if args.markdown {
        text.push_str("# System calls\n\nMade by `make docs` from `driver-api/syscalls.tbl`. Names in parentheses are aliases.\n\n");
        text.push_str("| call | x86_64 | i386 | aarch64 | arm | category | parameters |\n|---|---|---|---|---|---|---|\n");
    }
    for call in SYSCALLS {
        let number = |abi| {
            call.number(abi)
                .map_or_else(|| "-".to_owned(), |number| number.to_string())
        };
        let numbers = [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm].map(number);
        let params: Vec<String> = call.params.iter().map(param_text).collect();
        let params = params.join(", ");
        let _ = if args.markdown {
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
    print(text.as_bytes())
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
        "numbers": {"x86_64": call.number(Abi::X86_64), "i386": call.number(Abi::I386), "x32": call.number(Abi::X32), "aarch64": call.number(Abi::Aarch64), "arm": call.number(Abi::Arm)},
        "category": call.category.word(),
        "params": params,
        "returns": call.returns.word(),
        "facts": facts,
    })
}

pub(crate) fn fields(args: &ListArgs) -> Result<ExitCode, Failure> {
    if args.json {
        let rows: Vec<Value> = FIELDS.iter().map(field_json).collect();
        return print(format!("{:#}\n", Value::from(rows)).as_bytes());
    }
    let mut text = String::new();
    if args.markdown {
        text.push_str("# Fields\n\nMade by `make docs` from the list in `engine/src/fields`.\n\n| field | type | meaning |\n|---|---|---|\n");
    }
    for field in FIELDS {
        let name = format!("{}{}", field.name, argument(field));
        let _ = if args.markdown {
            writeln!(
                text,
                "| `{name}` | {} | {} |",
                field.type_name(),
                field.description
            )
        } else {
            writeln!(
                text,
                "{name:<28} {:<9} {}",
                field.type_name(),
                field.description
            )
        };
    }
    if args.markdown {
        text.push_str("\n## Fields of Falco's that are not there\n\n");
        for (name, why) in LEFT_OUT {
            let _ = writeln!(text, "- `{name}`: {why}");
        }
    }
    print(text.as_bytes())
}

fn argument(field: &FieldDef) -> &'static str {
    if field.arg == ArgRule::None {
        ""
    } else {
        "[...]"
    }
}

fn field_json(field: &FieldDef) -> Value {
    json!({
        "name": field.name,
        "type": field.type_name(),
        "class": field.class(),
        "takes_argument": field.arg != ArgRule::None,
        "deprecated": field.deprecated,
        "description": field.description,
    })
}
