//! Tests of the condition parser.

use std::sync::Arc;

use super::*;
use crate::source::SourceFile;
use crate::yaml::{Node, parse as parse_yaml};

fn scalar(text: &str) -> Scalar {
    let source = Arc::new(SourceFile {
        name: "r".to_owned(),
        text: format!("|-\n {text}\n"),
    });
    let documents = parse_yaml(&source, &mut Vec::new()).unwrap();
    match &*documents[0] {
        Node::Scalar(scalar) => scalar.clone(),
        other => panic!("not a text: {other:?}"),
    }
}

/// The tree as a text with all parentheses.
fn show(expr: &Expr) -> String {
    let join = |terms: &[Expr], word: &str| {
        let terms: Vec<_> = terms.iter().map(show).collect();
        format!("({})", terms.join(word))
    };
    match expr {
        Expr::Or(terms) => join(terms, " | "),
        Expr::And(terms) => join(terms, " & "),
        Expr::Not(inner) => format!("!{}", show(inner)),
        Expr::Macro(word) => format!("@{}", word.text),
        Expr::Check(check) => {
            let quantifier = check
                .quantifier
                .map_or(String::new(), |q| format!(" {q:?}"));
            let right = match &check.right {
                Right::Values(words) => {
                    let values: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
                    values.join(";")
                }
                Right::Operand(operand) => operand.to_string(),
            };
            format!("{} {}{quantifier} {right}", check.left, check.op.name())
                .trim_end()
                .to_owned()
        }
    }
}

fn tree(text: &str) -> String {
    show(&condition(&Composed::new(scalar(text)), &mut Vec::new()).unwrap())
}

fn error(text: &str) -> String {
    condition(&Composed::new(scalar(text)), &mut Vec::new())
        .unwrap_err()
        .to_string()
}

#[test]
fn and_binds_tighter_than_or_and_not_tightest() {
    assert_eq!(
        tree("a.b=1 or not c.d=2 and e.f=3 or g"),
        "(a.b = 1 | (!c.d = 2 & e.f = 3) | @g)"
    );
    assert_eq!(tree("not(a.b=1 or c)"), "!(a.b = 1 | @c)");
    assert_eq!(tree("not not a.b exists"), "a.b exists");
    assert_eq!(
        tree("not a.b exists or c.d in (x)"),
        "(!a.b exists | c.d in x)"
    );
}

#[test]
fn fields_have_arguments_in_three_forms() {
    assert_eq!(tree("proc.aname[2]=x"), "proc.aname[2] = x");
    assert_eq!(
        tree("evt.arg.flags contains O_TRUNC"),
        "evt.arg[flags] contains O_TRUNC"
    );
    assert_eq!(tree("evt.arg[0]=x"), "evt.arg[0] = x");
    assert_eq!(tree("proc.env[\"A B\"]=x"), "proc.env[A B] = x");
    assert_eq!(
        tree("container.mount.dest[/proc*]=x"),
        "container.mount.dest[/proc*] = x"
    );
}

#[test]
fn values_are_bare_or_quoted() {
    assert_eq!(tree("a.b startswith /etc/"), "a.b startswith /etc/");
    assert_eq!(tree("a.b != \"it's \\\"x\\\"\""), "a.b != it's \"x\"");
    assert_eq!(tree(r"a.b = 'tab\there'"), "a.b = tab\there");
    assert_eq!(tree(r"a.b = '\x41'"), "a.b = A");
    assert!(error(r"a.b = '\q'").contains("`\\q` in quotes means nothing"));
    assert_eq!(tree("evt.dir=<"), "evt.dir = <");
    assert_eq!(tree("a.b=-1 and c.d>=0"), "(a.b = -1 & c.d >= 0)");
    assert_eq!(
        tree("a.b in (runc:[0:PARENT], \"x, y\",22)"),
        "a.b in runc:[0:PARENT];x, y;22"
    );
    assert_eq!(tree("a.b in ()"), "a.b in");
    assert_eq!(tree("a.b in shells"), "a.b in shells");
    assert_eq!(tree("a.b contains anyof (x, y)"), "a.b contains Any x;y");
    assert_eq!(tree("a.b contains anyof"), "a.b contains anyof");
}

#[test]
fn transformers_stand_on_either_side() {
    for text in [
        "tolower(a.b) = x",
        "toupper(basename(a.b)) = val(c.d[1])",
        "a.b in join(c.d, \", \")",
        "concat(a.b, \":\", c.d) in x;y",
        "getopt(a.b, \"nt:\")[t] = 5",
        "len(a.b) > 100",
        "a.b startswith tolower(c.d)",
    ] {
        let written = text.replace("x;y", "(x, y)");
        assert_eq!(tree(&written), text);
    }
    assert_eq!(tree("tolower( a.b )=x"), "tolower(a.b) = x");
    // Without parentheses they are ordinary words.
    assert_eq!(tree("a.b = val"), "a.b = val");
    assert_eq!(tree("len and a.b = x"), "(@len & a.b = x)");
    let deep = format!("{}a.b{} = x", "tolower(".repeat(201), ")".repeat(201));
    assert!(error(&deep).contains("nested"));
}

#[test]
fn a_word_that_begins_like_a_keyword_is_none() {
    assert_eq!(tree("android or order.x=1"), "(@android | order.x = 1)");
    assert_eq!(tree("a.b = x and notable"), "(a.b = x & @notable)");
}

#[test]
fn errors_point_at_the_fault_and_say_what_would_be_right() {
    for (text, column, message) in [
        ("a.b ~ x", 6, "an operator was expected"),
        ("a.b contians x", 6, "did you mean `contains`"),
        ("a.b = x c.d = y", 10, "`and`, `or` or the end"),
        ("a.b in (x", 9, "no `)`"),
        ("a.b in (x y)", 12, "put quotes around"),
        ("(a.b = x", 10, "the `(` is at r:2:2"),
        ("a.b = x)", 9, "no `(` for this `)`"),
        ("a.b = 'x", 8, "no end"),
        ("a.b =", 7, "`=` needs a value"),
        ("and a.b = x", 2, "was expected here"),
        ("toupprr(a.b) = X", 2, "did you mean `toupper`"),
        ("toupper(a.b = X", 14, "`,` or `)` was expected"),
        ("toupper(x) = X", 10, "`toupper` needs a field"),
        ("a.b = anyof tolower(c.d)", 21, "`and`, `or` or the end"),
        ("proc.aname[ = x", 13, "no end"),
    ] {
        let error = error(text);
        assert!(
            error.starts_with(&format!("r:2:{column}: ")),
            "{text}: {error}"
        );
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn nesting_has_a_limit_instead_of_an_overflow() {
    let deep = |n: usize| format!("{}a.b=1{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(tree(&deep(200)), "a.b = 1");
    assert!(error(&deep(201)).contains("nested"));
    assert_eq!(tree(&format!("{}a.b=1", "not ".repeat(100_000))), "a.b = 1");
}

#[test]
fn appended_text_leads_back_to_its_own_place() {
    let mut text = Composed::new(scalar("a.b = x"));
    text.append(scalar("and c.d ~ y"));
    let error = condition(&text, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with("r:2:10: "), "{error}");
}
