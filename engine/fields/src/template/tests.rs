use super::*;
use crate::{Scratch, View};
use inspect::testing::{Ev, Noise, deliver, isolated};

fn render(text: &str, event: Ev) -> String {
    let registry = FieldRegistry::new("host");
    let template = Template::compile(text, &registry).unwrap();
    let fields = registry.fields();
    let mut inspector = isolated();
    let scratch = Scratch::default();
    let mut out = String::new();
    deliver(&[event], |event| {
        let seen = inspector.update(event);
        template.render(
            &View::new(&fields, &inspector, event, &seen, &scratch),
            &mut out,
        );
    });
    out
}

fn open() -> Ev {
    Ev::call(7, "openat", &[-100, 1, 0x80000], 3).said(1, b"/etc/a\nb\xff")
}

#[test]
fn fields_are_filled_in() {
    let cases = [
        ("plain", "plain"),
        ("", ""),
        ("*%evt.type", "openat"),
        ("%evt.type on %fd.name.", "openat on /etc/a\\x0ab\\xff."),
        (
            "%evt.arg.path|%evt.arg[path]|%evt.arg[2]",
            "/etc/a\\x0ab\\xff|/etc/a\\x0ab\\xff|/etc/a\\x0ab\\xff",
        ),
        ("(%proc.aname[2])", "(<NA>)"),
        ("pid=%proc.pid name=%proc.name", "pid=7 name=<NA>"),
        ("100% of %evt.type%", "100% of openat%"),
        ("%%evt.type %nofield", "%openat %nofield"),
        ("a %container.info b", "a  b"),
        ("\u{e9}%evt.type\u{e9}", "\u{e9}openat\u{e9}"),
        ("%fd.types", "(file)"),
        ("%toupper(evt.type)!", "OPENAT!"),
        ("%len( evt.type )", "6"),
        ("%concat(evt.type, \"(\", evt.rawres, ')')", "openat(3)"),
        (
            "%join(fd.types, \"+\") %toupper(basename(evt.type))",
            "file OPENAT",
        ),
        ("%tolower(proc.pname)", "<NA>"),
        ("100%(evt.type)", "100%(evt.type)"),
        ("%10evt.type|%3evt.type|%0evt.type", "openat    |ope|openat"),
        ("%8evt.arg.path|", "/etc/a\\x|"),
        ("%evt.typeand %evt.type[0]", "openatand openat[0]"),
        ("%proc.aname[x] %proc.aname[", "<NA>[x] <NA>["),
        ("%join(\"+\", (evt.type, 7, 'x'))", "openat+7+x"),
        ("%getopt((\"-n\", \"a\"), \"n:\")", "(n,a)"),
        ("%evt.rawarg.flags", "80000"),
    ];
    for (template, expected) in cases {
        assert_eq!(render(template, open()), expected, "{template}");
    }
}

#[test]
fn errors_say_where_and_what_was_perhaps_meant() {
    let registry = FieldRegistry::new("host");
    let cases = [
        ("x %proc.nmae", 2, "did you mean `proc.name`"),
        ("%thread.cgroup[1", 0, "needs an argument"),
        ("%touper(proc.name)", 0, "did you mean `toupper`"),
        ("x %toupper(proc.nmae)", 2, "did you mean `proc.name`"),
        ("%toupper(proc.pid)", 0, "needs a text"),
        ("%toupper(proc.name", 0, "no `)`"),
        ("%toupper(\"x", 0, "has no end"),
        ("%toupper()", 0, "needs a field"),
        ("%evt.arg.nonsense_param", 0, "no call has a parameter"),
    ];
    for (template, at, reason) in cases {
        let error = Template::compile(template, &registry).unwrap_err();
        assert_eq!(error.at, at, "{template}");
        assert!(error.reason.contains(reason), "{error}");
    }
}

#[test]
fn no_template_panics() {
    let mut noise = Noise(42);
    let words = [
        "%",
        "proc.name",
        "[",
        "]",
        "(",
        ".",
        "evt.arg",
        "2",
        "*",
        "\u{e9}",
        " ",
        "fd.name",
        "tolower(",
        "concat(",
        ")",
        ",",
        "\"",
        "getopt(",
    ];
    for _ in 0..20_000 {
        let text: String = (0..noise.below(8))
            .map(|_| words[usize::try_from(noise.below(18)).unwrap()])
            .collect();
        let _ = Template::compile(&text, &FieldRegistry::default());
    }
}

#[test]
fn fields_within_transformers_are_told_as_well() {
    let registry = FieldRegistry::new("host");
    let text = "%tolower(proc.name) %concat(proc.name, evt.arg.flags) %fd.name";
    let template = Template::compile(text, &registry).unwrap();
    let names: Vec<&str> = template.fields().map(|field| &*field.name).collect();
    let expected = [
        "tolower(proc.name)",
        "concat(proc.name, evt.arg.flags)",
        "fd.name",
        "proc.name",
        "evt.arg.flags",
    ];
    assert_eq!(names, expected);
}
