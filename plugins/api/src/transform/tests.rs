//! What each transformer computes, and which arguments it takes.

use super::*;
use crate::value::{List, OwnedValue, RawValue, Value};

fn text(text: &str) -> Term<u32> {
    Term::Text(text.as_bytes().into())
}

fn run(transformer: Transformer, args: Vec<Term<u32>>, option: Option<&str>) -> OwnedValue {
    let term = Term::Call(transformer, args.into(), option.map(Box::from));
    let types = ["ipv4", "file"].map(|name| RawValue::from(Value::String(name.as_bytes())));
    let get = |field: &u32| match field {
        1 => Value::String(b"/usr/bin/Cat"),
        2 => Value::List(List::new(&types)),
        3 => Value::U64(443),
        _ => Value::None,
    };
    let mut out = OwnedValue::None;
    term.value(&Buffers::default(), &get, &mut |value| {
        out = value.to_owned();
    });
    out
}

fn s(text: &str) -> OwnedValue {
    OwnedValue::String(text.as_bytes().to_vec())
}

#[test]
fn each_does_what_it_says() {
    use Transformer::*;
    let field = Term::Field;
    assert_eq!(run(Lower, vec![field(1)], None), s("/usr/bin/cat"));
    assert_eq!(run(Upper, vec![field(1)], None), s("/USR/BIN/CAT"));
    assert_eq!(run(Basename, vec![field(1)], None), s("Cat"));
    assert_eq!(run(Basename, vec![text("/a/b/")], None), s(""));
    assert_eq!(run(Basename, vec![text("x")], None), s("x"));
    assert_eq!(run(Len, vec![field(1)], None), OwnedValue::U64(12));
    assert_eq!(run(Len, vec![field(2)], None), OwnedValue::U64(2));
    assert_eq!(run(Val, vec![field(3)], None), OwnedValue::U64(443));
    assert_eq!(run(Join, vec![field(2), text("; ")], None), s("ipv4; file"));
    let parts = vec![text("a"), field(3), text(":"), field(1)];
    assert_eq!(run(Concat, parts, None), s("a443:/usr/bin/Cat"));
    let upper = Term::Call(Upper, [field(2)].into(), None);
    assert_eq!(run(Join, vec![upper, text("")], None), s("IPV4FILE"));
}

#[test]
fn what_is_missing_stays_missing() {
    use Transformer::*;
    for transformer in [
        Val, Lower, Upper, Base64, Basename, Len, Join, Concat, Getopt,
    ] {
        let args = vec![Term::Field(9), text("a")];
        assert_eq!(
            run(transformer, args, None),
            OwnedValue::None,
            "{transformer:?}"
        );
    }
}

#[test]
fn base64_needs_no_padding_and_refuses_nonsense() {
    for (encoded, expected) in [
        ("Zm9v", Some("foo")),
        ("Zm8=", Some("fo")),
        ("Zm8", Some("fo")),
        ("Zg==", Some("f")),
        ("", Some("")),
        ("Z", None),
        ("Zm9v!", None),
    ] {
        let expected = expected.map_or(OwnedValue::None, s);
        assert_eq!(
            run(Transformer::Base64, vec![text(encoded)], None),
            expected,
            "{encoded}"
        );
    }
}

#[test]
fn getopt_finds_options_as_the_c_library_does() {
    let letters = |line: &str, known: &str| match run(
        Transformer::Getopt,
        vec![text(line), text(known)],
        None,
    ) {
        OwnedValue::List(list) => list
            .iter()
            .map(|v| v.scalar().as_str().unwrap().to_owned())
            .collect::<String>(),
        other => panic!("{other:?}"),
    };
    let argument = |line: &str, known: &str, option: &str| {
        run(
            Transformer::Getopt,
            vec![text(line), text(known)],
            Some(option),
        )
    };
    assert_eq!(letters("-n -t 5 file -x", "nt:x"), "nt");
    assert_eq!(letters("-nt5", "nt:"), "nt");
    assert_eq!(letters("-q -n", "n"), "n");
    assert_eq!(letters("-n -- -t 5", "nt:"), "n");
    assert_eq!(letters("", "n"), "");
    assert_eq!(argument("-n -t 5", "nt:", "t"), s("5"));
    assert_eq!(argument("-nt5", "nt:", "t"), s("5"));
    assert_eq!(argument("-t", "nt:", "t"), OwnedValue::None);
    assert_eq!(argument("-n", "nt:", "t"), OwnedValue::None);
    assert_eq!(argument("-n", "nt:", "n"), s(""));
}

#[test]
fn types_are_checked() {
    use Transformer::*;
    let string = ResolvedField::new(1, FieldKind::String);
    let number = ResolvedField::new(1, FieldKind::U64);
    let bytes = ResolvedField::new(1, FieldKind::Bytes);
    assert_eq!(Lower.result(&[string], false), Ok(string));
    assert!(Lower.result(&[number], false).is_err());
    assert!(Lower.result(&[string.any()], false).is_err());
    assert!(Lower.result(&[string, string], false).is_err());
    assert_eq!(Base64.result(&[bytes], false), Ok(bytes));
    assert_eq!(
        Len.result(&[number.list()], false).map(|f| f.kind),
        Ok(FieldKind::U64)
    );
    assert!(Len.result(&[number], false).is_err());
    assert!(Join.result(&[string, string], false).is_err());
    assert!(Concat.result(&[], false).is_err());
    assert!(
        Getopt
            .result(&[string, string], false)
            .is_ok_and(|f| f.list)
    );
    assert!(
        Getopt
            .result(&[string, string], true)
            .is_ok_and(|f| !f.list)
    );
    assert!(Lower.result(&[string], true).is_err());
}
