//! The library on events that are made up: no driver, no plugin.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use driver_api::event::{Fact, Flags};
use driver_api::table;
use inspect::testing::{Ev, deliver, isolated};
use session::Consumer;

use super::*;

fn request(form: Form) -> Request {
    Request {
        events: Vec::new(),
        condition: None,
        form,
        times: false,
        rules_plugin: "rules-falco".to_owned(),
        plugin_dirs: Vec::new(),
    }
}

/// Text that the test reads later.
struct Shared(Rc<RefCell<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that has gone.
struct Gone;

impl io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written about these events.
fn written(request: &Request, events: &[Ev]) -> String {
    let plan = Plan::new(request).unwrap();
    let text = Rc::new(RefCell::new(Vec::new()));
    let sink: Sink = Box::new(Shared(Rc::clone(&text)));
    let mut trace = plan.with_state(isolated(), false, sink);
    deliver(events, |event| {
        trace.event(event);
    });
    trace.end().unwrap();
    String::from_utf8(text.take()).unwrap()
}

/// A path that a program opens, and the descriptor.
fn open(path: &str, fd: i64) -> Ev {
    Ev::call(7, "openat", &[-100, 1, 0], fd).said(1, path.as_bytes())
}

fn read(fd: i64, bytes: i64) -> Ev {
    Ev::call(7, "read", &[fd, 1, 4096], bytes)
}

fn lines(options: LineOptions) -> Form {
    Form::Lines(options)
}

fn reports(what: Aggregation, top: usize) -> Form {
    Form::Aggregate {
        what,
        top,
        interval: None,
        json: false,
    }
}

#[test]
fn events_are_selected_by_name_class_and_exception() {
    let set = |values: &[&str]| {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        EventSet::parse(&values).map(|set| {
            let names = ["openat", "read", "connect", "execve", "kill"];
            let has =
                |name: &&str| table::by_name(name).is_some_and(|call| set.calls.contains(call));
            names.into_iter().filter(has).collect::<Vec<_>>().join(" ")
        })
    };
    assert_eq!(set(&[]).unwrap(), "openat read connect execve kill");
    assert_eq!(set(&["openat,read"]).unwrap(), "openat read");
    assert_eq!(set(&["openat", "read"]).unwrap(), "openat read");
    assert_eq!(set(&["trace=%file"]).unwrap(), "openat execve");
    assert_eq!(set(&["t=%process,connect"]).unwrap(), "connect execve kill");
    assert_eq!(set(&["trace=!%desc,%process"]).unwrap(), "connect");
    assert_eq!(set(&["!openat"]).unwrap(), "read connect execve kill");
    assert_eq!(set(&["%file", "!execve"]).unwrap(), "openat");
    assert_eq!(
        set(&["all", "!read"]).unwrap(),
        "openat connect execve kill"
    );
    // as strace took them before it had `%`, also where a call has the same name
    assert_eq!(set(&["trace=file"]).unwrap(), "openat execve");
    assert_eq!(set(&["network", "!connect"]).unwrap(), "");
    assert_eq!(set(&["signal"]).unwrap(), set(&["%signal"]).unwrap());
    for name in ["ipc", "signal"] {
        let own = EventSet::parse(&[name.to_owned()]).unwrap();
        let call = table::by_name(name).expect("a call");
        assert!(own.calls.contains(call), "{name}");
    }
    assert_eq!(set(&["none"]).unwrap(), "");
    assert_eq!(set(&["?nosuch,read"]).unwrap(), "read");
    let wrong = |value: &str| set(&[value]).unwrap_err().to_string();
    assert!(
        wrong("opnat").contains("did you mean"),
        "{}",
        wrong("opnat")
    );
    assert!(wrong("%fil").contains("`%fil`") && wrong("%fil").contains("%creds"));
    assert!(
        wrong("signal=SIGINT").contains("--where"),
        "{}",
        wrong("signal=SIGINT")
    );
    assert!(wrong("").contains("no event"));
}

#[test]
fn lines_name_what_is_behind_descriptors() {
    let behind = LineOptions {
        behind: true,
        ..LineOptions::default()
    };
    let close = Ev::call(7, "close", &[3], 0);
    let events = [open("/etc/hosts", 3), read(3, 0), close, read(3, -9)];
    let text = written(&request(lines(behind)), &events);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].ends_with("\", O_RDONLY) = 3</etc/hosts>"),
        "{text}"
    );
    assert!(lines[1].contains("read(3</etc/hosts>, "), "{text}");
    assert!(lines[2].contains("close(3</etc/hosts>)"), "{text}");
    assert!(lines[3].contains("read(3, "), "{text}");
    let plain = written(&request(lines_plain()), &events);
    assert!(!plain.contains('<'), "{plain}");
}

fn lines_plain() -> Form {
    lines(LineOptions::default())
}

#[test]
fn lines_have_the_times_that_were_asked_for() {
    let events = [read(3, 0), read(3, 1)];
    let with = |stamp, relative| {
        let options = LineOptions {
            stamp,
            relative,
            ..LineOptions::default()
        };
        let text = written(&request(lines(options)), &events);
        let line = text.lines().next_back().unwrap();
        let (_, line) = line.split_once('\t').unwrap();
        line.split_once("read(").unwrap().0.to_owned()
    };
    assert_eq!(with(Stamp::None, false), "");
    let shape = |text: &str| -> String {
        let digit = |c: char| if c.is_ascii_digit() { '9' } else { c };
        text.chars().map(digit).collect()
    };
    assert_eq!(shape(&with(Stamp::Seconds, false)), "99:99:99 ");
    assert_eq!(shape(&with(Stamp::Micros, false)), "99:99:99.999999 ");
    let epoch = with(Stamp::Epoch, false);
    assert!(epoch.trim().parse::<f64>().is_ok(), "{epoch}");
    assert_eq!(shape(&with(Stamp::None, true)), "     9.999999 ");
}

#[test]
fn a_template_makes_a_line_of_each_event() {
    let mut request = request(Form::Template(
        "%evt.type\\t%fd.name %evt.rawres".to_owned(),
    ));
    request.events = vec!["read".to_owned()];
    let text = written(&request, &[open("/etc/hosts", 3), read(3, 12)]);
    assert_eq!(text, "read\t/etc/hosts 12\n");
    request.form = Form::Template("%proc.nam".to_owned());
    let error = Plan::new(&request).unwrap_err();
    assert!(matches!(error, LookError::Template(_)));
}

#[test]
fn events_are_counted_by_fields() {
    let by = "evt.type,fd.name".to_owned();
    let mut events = vec![open("/a\tb", 3), read(3, 1), read(3, 2)];
    events.extend([open("/c", 4), read(4, 1)]);
    let text = written(
        &request(reports(Aggregation::Count { by: by.clone() }, 2)),
        &events,
    );
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["COUNT", "evt.type", "fd.name"]);
    assert_eq!(rows[1], ["2", "read", "/a\\x09b"]);
    assert_eq!(rows[2], ["1", "openat", "/a\\x09b"]);
    assert_eq!(rows[3].join(" "), "2 events in 2 other keys");
    let mut json = request(reports(Aggregation::Count { by }, 1));
    if let Form::Aggregate { json, .. } = &mut json.form {
        *json = true;
    }
    let report: serde_json::Value = serde_json::from_str(&written(&json, &events)).unwrap();
    assert_eq!(
        report["rows"][0]["key"],
        serde_json::json!(["read", "/a\\x09b"])
    );
    assert_eq!(report["rows"][0]["count"], 2);
    assert_eq!(report["others"]["count"], 3);
}

#[test]
fn numbers_are_measured_by_fields() {
    let stats = Aggregation::Stats {
        field: "evt.rawres".to_owned(),
        by: Some("evt.type".to_owned()),
    };
    let events = [open("/a", 3), read(3, 10), read(3, -4), read(3, 6)];
    let text = written(&request(reports(stats, 20)), &events);
    let rows: Vec<String> = (text.lines())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(rows[0], "COUNT MIN AVERAGE MAX TOTAL evt.type");
    assert_eq!(rows[1], "3 -4 4.0 10 12 read");
    let hist = Aggregation::Hist {
        field: "evt.rawres".to_owned(),
        by: Some("evt.type".to_owned()),
    };
    let text = written(&request(reports(hist, 1)), &events);
    assert!(
        text.starts_with("evt.rawres  evt.type=read:\n(..., 0)"),
        "{text}"
    );
    assert!(text.ends_with("1 events in 1 other key\n"), "{text}");
}

#[test]
fn a_summary_has_calls_and_errors() {
    let events = [open("/a", 3), open("/b", -2), open("/c", -2), read(3, 1)];
    let text = written(&request(reports(Aggregation::Calls, 20)), &events);
    let rows: Vec<String> = (text.lines())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(rows[0], "% calls calls errors syscall");
    assert_eq!(rows[2], "75.00 3 2 openat");
    assert_eq!(rows[3], "25.00 1 read");
    assert_eq!(rows[5], "100.00 4 2 total");

    let text = written(&request(reports(Aggregation::Calls, 1)), &events);
    let rows: Vec<String> = (text.lines())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(rows[2], "75.00 3 2 openat");
    assert_eq!(rows[3], "25.00 1 (1 more)");
    assert_eq!(rows[5], "100.00 4 2 total");
}

#[test]
fn an_interval_reports_and_begins_anew() {
    let form = Form::Aggregate {
        what: Aggregation::Count {
            by: "evt.type".to_owned(),
        },
        top: 20,
        interval: Some(std::time::Duration::from_secs(1)),
        json: true,
    };
    let events = [0, 999_999_999, 1_000_000_000, 7_000_000_000].map(|later_ns| {
        let mut event = read(3, 1);
        event.header.time_ns += later_ns;
        event
    });
    let text = written(&request(form), &events);
    let counts: Vec<serde_json::Value> = (text.lines())
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["rows"][0]["count"].clone()
        })
        .collect();
    assert_eq!(counts, [2, 1, 1]);
}

#[test]
fn nothing_is_captured_that_neither_the_request_nor_the_state_needs() {
    let mut plain = request(lines_plain());
    plain.events = vec!["getpid".to_owned()];
    let names = |request: &Request| {
        let (selection, _) = Plan::new(request).unwrap().selection();
        let calls = selection.calls().iter();
        calls.map(|call| call.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&plain), ["getpid", "prctl"]);
    let mut counted = plain.clone();
    counted.form = reports(
        Aggregation::Count {
            by: "proc.name".to_owned(),
        },
        1,
    );
    let calls = names(&counted);
    assert!(calls.contains(&"getpid") && calls.contains(&"openat"));
    assert!(!calls.contains(&"getppid"));
    // what only the state needs is not shown
    let text = written(&counted, &[open("/a", 3)]);
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_reader_that_has_gone_ends_the_trace() {
    let plan = Plan::new(&request(lines_plain())).unwrap();
    let sink: Sink = Box::new(Gone);
    let mut trace = plan.with_state(isolated(), false, sink);
    deliver(&[read(3, 1)], |event| {
        trace.event(event);
    });
    assert_eq!(trace.idle(), driver_api::driver::Flow::Stop);
    assert!(matches!(trace.end(), Err(TraceError::Write(_))));
}

/// A call that took this number of nanoseconds.
fn took(call: Ev, ns: u64) -> Ev {
    call.fact(Fact::Took, &ns.to_ne_bytes())
}

#[test]
fn lines_end_with_the_time_in_the_call_if_it_is_known() {
    let options = LineOptions {
        took: true,
        ..LineOptions::default()
    };
    let asked = request(lines(options));
    let (selection, _) = Plan::new(&asked).unwrap().selection();
    assert!(selection.times());
    let (plain, _) = Plan::new(&request(lines_plain())).unwrap().selection();
    assert!(!plain.times());
    let events = [took(read(3, 1), 2_000_123_999), read(3, 2)];
    let text = written(&asked, &events);
    let ends: Vec<&str> = text
        .lines()
        .map(|line| line.rsplit(") ").next().unwrap())
        .collect();
    assert_eq!(ends, ["= 1 <2.000123>", "= 2"]);
}

#[test]
fn fields_of_latency_make_the_driver_measure_it() {
    let measures = |form| Plan::new(&request(form)).unwrap().selection().0.times();
    let stats = |field: &str| Aggregation::Stats {
        field: field.to_owned(),
        by: None,
    };
    assert!(measures(reports(stats("evt.latency"), 1)));
    assert!(!measures(reports(stats("evt.buflen"), 1)));
    assert!(measures(Form::Template(
        "%evt.type %evt.latency.human".to_owned()
    )));
    assert!(!measures(Form::Template("%evt.type".to_owned())));
    assert!(!measures(Form::Json));
    let mut asked = request(Form::Json);
    asked.times = true;
    assert!(Plan::new(&asked).unwrap().selection().0.times());
}

#[test]
fn the_summary_has_times_where_they_are_known() {
    let end = {
        let mut end = Ev::call(7, "exit_group", &[0], 0);
        end.header.flags = Flags::NORETURN;
        end
    };
    let events = [
        took(open("/a", 3), 1_500_000),
        took(open("/b", -2), 1_500_000),
        took(read(3, 1), 9_000_000),
        end,
    ];
    let summary = request(reports(Aggregation::Calls, 20));
    assert!(Plan::new(&summary).unwrap().selection().0.times());
    assert_eq!(
        written(&summary, &events),
        "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 75.00    0.009000        9000         1           read
 25.00    0.003000        1500         2         1 openat
                                       1           exit_group
------ ----------- ----------- --------- --------- ----------------
100.00    0.012000        4000         4         1 total
"
    );
}
