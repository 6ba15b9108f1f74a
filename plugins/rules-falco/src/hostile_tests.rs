//! Hostile and malformed rule files: each gives errors or rules, never a panic, a stack overflow or an endless wait.

use super::tests::{error, load_bytes, load_text, rule, rules, run, s, warnings};
use super::*;

fn survives(text: &[u8]) {
    let loaded = load_bytes(text, Settings::default());
    if let Err(RulesRefused { errors }) = loaded.result {
        assert!(errors.starts_with("r.yaml"), "{errors}");
    }
}

#[test]
fn deep_yaml_is_refused() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
    ] {
        let error = error(&text);
        assert!(
            error.contains("nested") || error.contains("not YAML"),
            "{error}"
        );
    }
}

#[test]
fn deep_conditions_are_refused() {
    for (open, close) in [
        ("(", ")"),
        ("not (", ")"),
        ("tolower(", ")"),
        ("proc.name = tolower(", ")"),
    ] {
        let condition = format!("{}proc.name=x{}", open.repeat(50_000), close.repeat(50_000));
        let error = error(&rule("r", &condition));
        assert!(
            error.contains("nested") || error.contains("expected"),
            "{open}: {error}"
        );
    }
}

#[test]
fn long_flat_conditions_are_no_trouble() {
    for word in ["or", "and", "or not", "and not"] {
        let terms: Vec<String> = (0..20_000).map(|n| format!("proc.pid = {n}")).collect();
        let condition = format!("evt.type = open and ({})", terms.join(&format!(" {word} ")));
        assert!(
            load_text(&rule("r", &condition), Settings::default())
                .result
                .is_ok(),
            "{word}"
        );
    }
}

#[test]
fn huge_lists_are_no_trouble() {
    let words: Vec<String> = (0..100_000).map(|n| format!("word{n}")).collect();
    let list = format!("- list: l\n  items: [{}]\n", words.join(", "));
    let named = rule("r", "evt.type = open and proc.name in (l, l)");
    assert!(
        load_text(&(list + &named), Settings::default())
            .result
            .is_ok()
    );
    let inline = format!("evt.type = open and proc.name in ({})", words.join(", "));
    assert!(
        load_text(&rule("r", &inline), Settings::default())
            .result
            .is_ok()
    );
}

#[test]
fn lists_in_lists_have_a_limit_and_double_for_free() {
    let mut text = "- list: l0\n  items: [x]\n".to_owned();
    for n in 1..300 {
        text += &format!("- list: l{n}\n  items: [l{0}, l{0}]\n", n - 1);
    }
    let loaded = load_text(
        &(text + &rule("r", "evt.type=open and proc.name in (l299)")),
        Settings::default(),
    );
    assert!(loaded.result.is_ok());
    let mut text = "- list: l0\n  items: [x]\n".to_owned();
    for n in 1..5000 {
        text += &format!("- list: l{n}\n  items: [l{}]\n", n - 1);
    }
    let deep = text + &rule("r", "evt.type=open and proc.name in (l4999)");
    let mut deep = rules(&deep);
    assert_eq!(run(&mut deep, "open", &[("proc.name", s("x"))]).0, [0]);
    // Defined the other way around, they double in Falco, too, which has no limit.
    let mut text = String::new();
    for n in 0..100 {
        text += &format!("- list: l{n}\n  items: [l{0}, l{0}]\n", n + 1);
    }
    let error = error(&(text + &rule("r", "evt.type=open and proc.name in (l0)")));
    assert!(error.contains("longer than 32 MiB"), "{error}");
}

#[test]
fn macros_that_grow_are_shared_and_explained_in_part() {
    let mut text = "- macro: m0\n  condition: proc.name = x\n".to_owned();
    for n in 1..60 {
        let before = n - 1;
        text += &format!(
            "- macro: m{n}\n  condition: (m{before} and proc.pid = {n}) or (m{before} and proc.pid = 1{n})\n"
        );
    }
    let loaded = load_text(
        &(text + &rule("r", "evt.type = open and m59")),
        Settings::default(),
    );
    let rules = loaded.result.unwrap();
    let parts = explain::parts(&rules.items, &rules.items.rules[0]);
    assert!(parts.condition.contains("..."), "{}", parts.condition.len());
    assert!(parts.condition.len() < 200_000);
    assert_eq!(parts.names.len(), 60);
}

#[test]
fn odd_yaml_gives_a_clear_error() {
    for (text, expected) in [
        ("- rule: x\n\tdesc: d\n", "not YAML"),
        ("- rule: [a]\n", "`rule` must be a text, not a list"),
        ("- rule: {a: b}\n", "`rule` must be a text, not a map"),
        ("- [a, b]\n", "an item is a map of keys, not a list"),
        ("- text\n", "an item is a map of keys, not a text"),
        ("- rule:\n", "`rule` has no value"),
        (
            "- list: a\n  items: x\n",
            "`items` must be a list, not a text",
        ),
        (
            "- list: a\n  items: [[x]]\n",
            "`items` must be a text, not a list",
        ),
        (
            "- macro: a\n  condition: [x]\n",
            "`condition` must be a text",
        ),
        ("- ? [a]\n  : b\n", "a key must be a text"),
        ("- rule: a\n  tags: x\n", "a rule needs `condition`"),
        (
            "- rule: a\n  tags: x\n  desc: d\n  condition: c\n  output: o\n  priority: INFO\n",
            "`tags` must be a list",
        ),
        (
            "- rule: a\n  enabled: maybe\n",
            "`enabled` must be true or false",
        ),
        (
            "- rule: a\n  desc: d\n  exceptions: x\n",
            "`exceptions` must be a list",
        ),
        (
            "- rule: a\n  exceptions: [{name: x, fields: [proc.name], values: [y]}]\n  condition: evt.type=open\n  output: o\n  desc: d\n  priority: INFO\n",
            "a row of values is a list",
        ),
        ("- required_engine_version: [1]\n", "must be a text"),
        ("- required_engine_version: x\n", "`x` is not a version"),
        (
            "- required_engine_version: 0.64.0\n",
            "needs version 0.64.0 of the rules language",
        ),
        ("- required_plugin_versions: x\n", "must be a list"),
        (
            "- required_plugin_versions: [{name: x}]\n",
            "a plugin needs a `version`",
        ),
        ("a: &x\n  b: *x\n", "alias"),
        ("- *nothing\n", "YAML"),
        ("%YAML 9.9\n---\n- list: a", "YAML"),
        (
            "- list: a\n  items: [x]\n  override: [append]\n",
            "`override` is a map",
        ),
        (
            "- list: a\n  items: [x]\n  override: {items: [a]}\n",
            "`override` must be a text",
        ),
        ("- list: 'unfinished\n", "not YAML"),
    ] {
        let error = match load_text(text, Settings::default()).result {
            Err(refused) => refused.errors,
            Ok(_) => panic!("accepted: {text}"),
        };
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn what_is_not_utf8_names_file_and_line() {
    let loaded = load_bytes(b"- list: a\n  items: [\xff]\n", Settings::default());
    let error = loaded.result.unwrap_err().errors;
    assert_eq!(error, "r.yaml: line 2 is not UTF-8");
}

#[test]
fn anchors_and_several_documents_are_understood() {
    let text = "- list: a\n  items: &some [x, y]\n- list: b\n  items: *some\n---\n---\n---\n"
        .to_owned()
        + &rule("r", "evt.type = open and proc.name in (b)");
    let loaded = load_text(&text, Settings::default());
    assert_eq!(warnings(&loaded), [] as [&str; 0]);
    assert_eq!(loaded.result.unwrap().rules.len(), 1);
}

#[test]
fn anchors_that_multiply_are_not_followed_for_ever() {
    let mut text = "- &a0 {rule: x}\n".to_owned();
    for n in 1..40 {
        text += &format!("- &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1);
    }
    survives(text.as_bytes());
}

#[test]
fn a_thousand_faults_are_not_all_told() {
    let text: String = (0..3000)
        .map(|n| rule(&format!("r{n}"), &format!("m{n}")))
        .collect();
    let loaded = load_text(&text, Settings::default());
    assert_eq!(loaded.diagnostics.len(), MAX_DIAGNOSTICS);
    assert!(
        loaded
            .result
            .unwrap_err()
            .errors
            .ends_with("... and 980 more")
    );
}

#[test]
fn a_thousand_warnings_do_not_hide_an_error() {
    let keys: String = (0..3000).map(|n| format!("  key{n}: x\n")).collect();
    let text = rule("a", "evt.type = open") + &keys + &rule("b", "nosuch");
    let loaded = load_text(&text, Settings::default());
    assert_eq!(loaded.diagnostics.len(), MAX_DIAGNOSTICS);
    assert!(
        loaded
            .result
            .unwrap_err()
            .errors
            .contains("no macro `nosuch`")
    );
}

#[test]
fn pieces_of_rule_files_in_any_order_do_no_harm() {
    let pieces: &[&str] = &[
        "- rule: a\n",
        "- macro: a\n",
        "- list: a\n",
        "  condition: ",
        "  output: ",
        "  desc: d\n",
        "  priority: INFO\n",
        "  items: [a, ",
        "]\n",
        "proc.name",
        " = ",
        " in (",
        ")",
        "(",
        " and ",
        " or ",
        "not ",
        "\"",
        "'",
        "\\",
        "\\x",
        "tolower(",
        "val(",
        "concat(",
        "[",
        "evt.type",
        "open",
        "*",
        "&a ",
        "*a ",
        "? ",
        ": ",
        "| ",
        ">\n",
        "\n",
        "\t",
        "---\n",
        "#",
        "{",
        "}",
        ",",
        "%",
        "%tolower(",
        "%proc.name",
        "\u{e9}",
        "\u{0}",
        "\u{feff}",
        "regex ",
        "glob ",
        "pmatch (",
        "anyof (",
        "exists",
        "override: {",
        "append: true\n",
        "exceptions: ",
        "0x",
        "-1",
        "1e999",
        "10.0.0.0/8",
        "!!int ",
        "<<: ",
        "- ",
        "a",
        "  enabled: false\n",
    ];
    let mut noise: u64 = 0x2545_f491_4f6c_dd1d;
    let mut below = |limit: usize| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        usize::try_from(noise >> 33).unwrap() % limit
    };
    for _ in 0..6000 {
        let length = below(30);
        let text: String = (0..length).map(|_| pieces[below(pieces.len())]).collect();
        survives(text.as_bytes());
        let condition: String = (0..length).map(|_| pieces[9 + below(22)]).collect();
        survives(rule("r", &condition.replace('\n', " ")).as_bytes());
    }
}
