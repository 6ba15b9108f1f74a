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
        ("Zm9=", None),
        ("Zh", None),
        ("=", None),
        ("Zg===", None),
        ("__--", None),
    ] {
        let expected = expected.map_or(OwnedValue::None, s);
        assert_eq!(
            run(Transformer::Base64, vec![text(encoded)], None),
            expected,
            "{encoded}"
        );
    }
}

/// The result of `getopt` as texts; one text if there is an option.
fn getopt(words: Term<u32>, known: &str, option: Option<&str>) -> Vec<String> {
    let text = |value: &OwnedValue| match value {
        OwnedValue::String(text) => String::from_utf8(text.clone()).unwrap(),
        other => panic!("{other:?}"),
    };
    match run(Transformer::Getopt, vec![words, self::text(known)], option) {
        OwnedValue::List(list) => list
            .iter()
            .map(|value| value.scalar().as_str().unwrap().to_owned())
            .collect(),
        OwnedValue::None => Vec::new(),
        value => vec![text(&value)],
    }
}

fn words(words: &[&str]) -> Term<u32> {
    Term::List(words.iter().map(|word| text(word)).collect())
}

#[test]
fn getopt_finds_options_and_their_values_as_falco_does() {
    let found = |words: Term<u32>, known: &str| getopt(words, known, None).join(" ");
    assert_eq!(found(text("-n -t 5 file -x"), "nt:x"), "n t 5");
    assert_eq!(found(text("-nt5"), "nt:"), "n t 5");
    assert_eq!(found(text("-q -n"), "n"), "? n");
    assert_eq!(found(text("-n -- -t 5"), "nt:"), "n");
    assert_eq!(found(text("--exec -n"), "n"), "n");
    assert_eq!(found(text(""), "n"), "");
    assert_eq!(found(words(&["-t", "a b", "-n"]), "nt:"), "t a b n");
    assert_eq!(found(words(&["-n", "", "-n"]), "n"), "n");
    assert_eq!(getopt(text("-t"), "nt:", None), [""]);
    let value = |words: Term<u32>, option: &str| getopt(words, "nt:", Some(option)).join(" ");
    assert_eq!(value(text("-n -t 5"), "t"), "5");
    assert_eq!(value(text("-nt5 -t6"), "t"), "6");
    assert_eq!(value(text("-n"), "n"), "n");
    assert_eq!(getopt(text("-n"), "nt:", Some("t")), Vec::<String>::new());
    assert_eq!(getopt(text("-t"), "nt:", Some("t")), [""]);
    let many = "-n ".repeat(500) + "-t 1";
    assert_eq!(value(text(&many), "t"), "1");
}

#[test]
fn each_text_of_a_list_is_decoded_or_none() {
    let decoded = |texts: &[&str]| {
        let list = Term::List(texts.iter().map(|word| text(word)).collect());
        run(Transformer::Base64, vec![list], None)
    };
    let both = OwnedValue::List(vec![s("foo"), s("f")]);
    assert_eq!(decoded(&["Zm9v", "Zg=="]), both);
    assert_eq!(decoded(&["Zm9v", "!"]), OwnedValue::None);
}

#[test]
fn a_list_may_be_written() {
    let list = |elements: Vec<Term<u32>>| Term::List(elements.into());
    let both = list(vec![Term::Field(1), text("x"), Term::Field(3)]);
    let join = |first, second| run(Transformer::Join, vec![first, second], None);
    assert_eq!(join(text("-"), both.clone()), s("/usr/bin/Cat-x-443"));
    assert_eq!(join(both.clone(), text("-")), s("/usr/bin/Cat-x-443"));
    assert_eq!(join(text("-"), list(vec![])), s(""));
    assert_eq!(
        join(text("-"), list(vec![Term::Field(9)])),
        OwnedValue::None
    );
    assert_eq!(run(Transformer::Len, vec![both], None), OwnedValue::U64(3));
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
    assert_eq!(Base64.result(&[string.list()], false), Ok(string.list()));
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
