use super::*;
use driver_api::predicate::Shown;
use driver_api::table::by_name;

fn test(field: &str, relation: TestRelation, constants: &[&str]) -> FieldTest {
    FieldTest {
        field: field.to_owned(),
        relation,
        constants: constants.iter().map(|text| (*text).to_owned()).collect(),
        negated: false,
    }
}

fn shown(name: &str, needs: &[&[FieldTest]]) -> String {
    let of = |tests: &&[FieldTest]| EventNeed {
        event_type: name.to_owned(),
        tests: tests.to_vec(),
    };
    let needs: Vec<EventNeed> = needs.iter().map(of).collect();
    let call = by_name(name).unwrap();
    Shown(&Needs::new(&needs).predicate(call), call).to_string()
}

fn negated(test: &FieldTest) -> FieldTest {
    FieldTest {
        negated: true,
        ..test.clone()
    }
}

use TestRelation::{Equal, Exists, Greater, GreaterOrEqual, Less, Unequal};

#[test]
fn tests_of_the_result_say_how_a_call_ended() {
    let cases = [
        (
            test("evt.failed", Equal, &["false"]),
            "no error",
            "an error",
        ),
        (
            test("evt.failed", Unequal, &["false"]),
            "an error",
            "no error",
        ),
        (test("evt.res", Equal, &["SUCCESS"]), "no error", "an error"),
        (
            test("evt.res", Equal, &["ENOENT", "EPERM"]),
            "ENOENT or EPERM or EACCES or EROFS",
            "no error or EPERM or EACCES or EROFS or EINPROGRESS or another error",
        ),
        (
            test("evt.res", Equal, &["ENOENT", "SUCCESS"]),
            "no error or ENOENT",
            "EPERM or EACCES or EROFS or EINPROGRESS or another error",
        ),
        (
            test("evt.res", Equal, &["EPERM", "EACCES", "EROFS"]),
            "EPERM or EACCES or EROFS",
            "no error or ENOENT or EINPROGRESS or another error",
        ),
        (
            test("evt.res", Equal, &["EBADF"]),
            "another error",
            "always",
        ),
        (test("evt.res", Exists, &[]), "always", "no result"),
        (test("evt.failed", Exists, &[]), "always", "no result"),
        (test("evt.rawres", Exists, &[]), "always", "no result"),
        (test("fd.num", Exists, &[]), "always", "always"),
        (
            test("evt.res", Unequal, &["SUCCESS"]),
            "an error",
            "no error",
        ),
        (
            test("evt.res", Unequal, &["ENOENT"]),
            "no error or EPERM or EACCES or EROFS or EINPROGRESS or another error",
            "ENOENT",
        ),
        (
            test("evt.rawres", GreaterOrEqual, &["0"]),
            "no error",
            "always",
        ),
        (test("evt.rawres", Less, &["0"]), "always", "no error"),
        (
            test("evt.rawres", Equal, &["-2", "-13"]),
            "ENOENT or EPERM or EACCES or EROFS",
            "no error or EPERM or EACCES or EROFS or EINPROGRESS or another error",
        ),
        (
            test("evt.rawres", Greater, &["-13"]),
            "no error or ENOENT or EPERM or EACCES or EROFS or another error",
            // a result below -4095 is no error
            "no error or EPERM or EACCES or EROFS or EINPROGRESS or another error",
        ),
        (
            test("evt.rawres", Equal, &["0", "-115"]),
            "no error or EINPROGRESS",
            "no error or ENOENT or EPERM or EACCES or EROFS or another error",
        ),
        (
            test("evt.rawres", GreaterOrEqual, &["0.5"]),
            "always",
            "always",
        ),
        (test("fd.num", GreaterOrEqual, &["0"]), "no error", "always"),
        (test("fd.num", Greater, &["3"]), "no error", "always"),
        (test("fd.num", Equal, &["-1"]), "always", "no error"),
        (test("proc.name", Equal, &["x"]), "always", "always"),
    ];
    for (test, expected, opposite) in cases {
        assert_eq!(
            shown("openat", &[std::slice::from_ref(&test)]),
            expected,
            "{test:?}"
        );
        assert_eq!(
            shown("openat", &[&[negated(&test)]]),
            opposite,
            "not {test:?}"
        );
    }
    // -1 of other calls means that they have no descriptor
    let numbered = test("fd.num", GreaterOrEqual, &["0"]);
    assert_eq!(shown("read", &[&[numbered]]), "always");
}

#[test]
fn events_without_a_result_count_for_themselves() {
    let made = test("evt.rawres", GreaterOrEqual, &["0"]);
    let unfinished = negated(&test("evt.rawres", Exists, &[]));
    let both = |one: &FieldTest, other: &FieldTest| [one.clone(), other.clone()];
    let ways = [
        std::slice::from_ref(&made),
        std::slice::from_ref(&unfinished),
    ];
    assert_eq!(shown("openat", &ways), "no error");
    // with a flag: an event without a result needs it, too
    let writes = test("evt.is_open_write", Equal, &["true"]);
    assert_eq!(
        shown(
            "openat",
            &[&both(&writes, &made), &both(&writes, &unfinished)]
        ),
        "no error and flags & 0x3 != 0x0"
    );
    let reads = test("evt.is_open_read", Equal, &["true"]);
    assert_eq!(
        shown(
            "openat",
            &[&both(&writes, &made), &both(&reads, &unfinished)]
        ),
        "no result and flags & 0x1 == 0x0, or no error and flags & 0x3 != 0x0"
    );
    // both cannot hold, so nothing follows
    assert_eq!(shown("openat", &[&both(&made, &unfinished)]), "always");
    let creates = test("evt.is_open_create", Equal, &["true"]);
    assert!(shown("openat", &[&both(&creates, &unfinished)]).starts_with("no result and"));
    // a call that does not return has none
    assert_eq!(shown("exit_group", &[&[unfinished]]), "always");
}

#[test]
fn tests_of_the_flags_of_an_open_become_tests_of_bits() {
    let yes = |field| test(field, Equal, &["true"]);
    let (reads, writes) = (yes("evt.is_open_read"), yes("evt.is_open_write"));
    assert_eq!(
        shown("openat", &[std::slice::from_ref(&reads)]),
        "flags & 0x1 == 0x0"
    );
    assert_eq!(
        shown("open", &[std::slice::from_ref(&writes)]),
        "flags & 0x3 != 0x0"
    );
    assert_eq!(shown("openat", &[&[negated(&writes)]]), "always");
    let opened = test("fd.num", GreaterOrEqual, &["0"]);
    assert_eq!(
        shown("openat", &[&[writes.clone(), opened.clone()]]),
        "no error and flags & 0x3 != 0x0"
    );
    assert_eq!(
        shown(
            "openat",
            &[&[writes.clone(), opened.clone()], &[reads, opened]]
        ),
        "no error and flags & 0x1 == 0x0, or no error and flags & 0x3 != 0x0"
    );
    // the flags are in memory
    assert_eq!(shown("openat2", &[&[writes]]), "always");
    assert_eq!(
        shown("openat", &[&[yes("evt.is_open_create")]]),
        "no error and flags & 0x2000040 != 0x0"
            .replace("0x2000040", &format!("{:#x}", O_CREAT | O_TMPFILE))
    );
    assert_eq!(
        shown("openat", &[&[yes("evt.is_open_exec")]]),
        format!(
            "flags & {:#x} != 0x0 and mode & 0x49 != 0x0",
            O_CREAT | O_TMPFILE
        )
    );
}

#[test]
fn tests_of_arguments_compare_what_fits_them() {
    let flags = |relation, constants: &[&str]| test("evt.rawarg.flags", relation, constants);
    assert_eq!(
        shown("openat", &[&[flags(Equal, &["2"])]]),
        "flags & 0xffffffff == 0x2"
    );
    assert_eq!(
        shown("openat", &[&[test("evt.rawarg[flags]", Equal, &["2"])]]),
        "flags & 0xffffffff == 0x2"
    );
    assert_eq!(
        shown("openat", &[&[flags(Unequal, &["2"])]]),
        "flags & 0xffffffff != 0x2"
    );
    assert_eq!(
        shown("openat", &[&[flags(Unequal, &["99999999999"])]]),
        "always"
    );
    assert_eq!(shown("openat", &[&[flags(Equal, &["x"])]]), "always");
    assert_eq!(shown("read", &[&[flags(Equal, &["2"])]]), "always");
}
