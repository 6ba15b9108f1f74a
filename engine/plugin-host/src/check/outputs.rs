//! An output plugin: open, emit, flush, reopen, close, with alerts of all sorts.

use std::net::{IpAddr, Ipv6Addr};

use super::{End, Run, Verdict, refused};
use crate::border::NO_REASON;
use crate::{Alert, Delivery, OutputHost, OwnedValue, Plugin, PluginError, Priority};

/// How many alerts a check delivers, all steps together.
pub(super) const ALERTS: usize = 1 + MANY + STRANGE + 1;
/// In one call.
const MANY: usize = 1000;
/// Unusual ones: three, and one of each priority.
const STRANGE: usize = 3 + Priority::ALL.len();

const HINT: &str = "--settings has the settings for this check";
const NO_CHECK: &str = "it has none: `lanner config check` cannot find what only `open` finds";

/// A step, with the opened plugin.
type Step = fn(&mut OutputHost) -> Verdict;

/// What happens to an opened output, in order.
const STEPS: [(&str, Step); 9] = [
    ("output: emit nothing", |host| emit(host, &[])),
    ("output: emit one alert", |host| emit(host, &[alert(0)])),
    ("output: emit 1000 alerts at once", |host| {
        emit(host, &(0..MANY as u64).map(alert).collect::<Vec<_>>())
    }),
    ("output: emit alerts with strange contents", |host| {
        emit(host, &strange())
    }),
    ("output: flush", |host| plain(host.flush())),
    ("output: flush once more", |host| plain(host.flush())),
    ("output: reopen", |host| plain(host.reopen())),
    ("output: emit after that", |host| emit(host, &[alert(1)])),
    ("output: flush before the end", |host| plain(host.flush())),
];

pub(super) fn check(run: &mut Run<'_>) -> Result<(), End> {
    run.schema(Plugin::output_schema)?;
    offer_settings(run)?;
    let settings = run.request.settings.clone();
    let open = move |plugin: &Plugin| match OutputHost::open(plugin, &settings) {
        Ok(host) => (Verdict::Good, Some(host)),
        Err(error @ PluginError::Panicked { .. }) => (Verdict::Bad(error.to_string()), None),
        Err(error) => (Verdict::Bad(format!("{error}; {HINT}")), None),
    };
    let Some(mut host) = run.step("output: open", open.clone())? else {
        return Ok(());
    };
    let second = open.clone();
    let second = run.step(
        "output: open a second one beside it",
        move |plugin| match second(plugin) {
            (Verdict::Bad(reason), _) => (Verdict::Note(reason), None),
            opened => opened,
        },
    )?;
    for (name, step) in STEPS {
        // each step on a thread of its own: states move between threads
        let back = run.step(name, move |_| {
            let verdict = step(&mut host);
            let off = host.off().is_some();
            (verdict, Some((host, off)))
        })?;
        let Some((back, off)) = back else {
            return Ok(());
        };
        host = back;
        if off {
            break;
        }
    }
    run.step("output: close", move |_| {
        drop((host, second));
        (Verdict::Good, Some(()))
    })?;
    if let Some(again) = run.step("output: open anew", open)? {
        run.step("output: close that", move |_| {
            drop(again);
            (Verdict::Good, Some(()))
        })?;
    }
    Ok(())
}

/// Settings that a plugin should refuse: what they are, the settings, and what is wrong with a plugin that accepts them.
const NONSENSE: [(&str, &str, &str); 2] = [
    (
        "settings that are no JSON",
        "[",
        "it accepted them: it should refuse what it cannot read",
    ),
    (
        "unknown settings",
        r#"{"no such setting":1}"#,
        "it accepted them: a misspelt setting will stay unnoticed",
    ),
];

/// Offers settings to the plugin: those that it should refuse, and those of the request.
fn offer_settings(run: &mut Run<'_>) -> Result<(), End> {
    for (what, settings, otherwise) in NONSENSE {
        run.step(&format!("output: open with {what}"), move |plugin| {
            let answer = OutputHost::open_checked(plugin, settings);
            (refused(answer, otherwise), Some(()))
        })?;
    }
    for (what, settings, otherwise) in NONSENSE {
        run.step(&format!("output: check {what}"), move |plugin| {
            let verdict = match OutputHost::ask(plugin, settings) {
                Some(answer) => refused(answer, otherwise),
                None => Verdict::Note(NO_CHECK.to_owned()),
            };
            (verdict, Some(()))
        })?;
    }
    let settings = run.request.settings.clone();
    run.step("output: check its settings", move |plugin| {
        let verdict = match OutputHost::check(plugin, &settings) {
            Ok(()) => Verdict::Good,
            Err(error) => Verdict::Bad(format!("{error}; {HINT}")),
        };
        (verdict, Some(()))
    })?;
    Ok(())
}

fn plain(answer: Result<(), PluginError>) -> Verdict {
    match answer {
        Ok(()) => Verdict::Good,
        Err(PluginError::Failed { reason, .. }) if !reason.starts_with(NO_REASON) => {
            Verdict::Note(format!("it says why not: {reason}"))
        }
        Err(error) => Verdict::Bad(error.to_string()),
    }
}

fn emit(host: &mut OutputHost, alerts: &[Alert]) -> Verdict {
    let all = alerts.len();
    let answer = host.emit(alerts);
    if let Some(reason) = host.off() {
        return Verdict::Bad(format!("it panicked: {reason}"));
    }
    match answer {
        Delivery::Delivered => Verdict::Good,
        Delivery::TryAgain { reason, .. } | Delivery::GiveUp { reason, .. }
            if reason.starts_with(NO_REASON) =>
        {
            Verdict::Bad(format!("it did not deliver: {reason}"))
        }
        Delivery::GoOn {
            refused: 1..,
            reason,
            ..
        } if reason.is_empty() => {
            Verdict::Bad("it refused alerts, and does not say why".to_owned())
        }
        Delivery::GoOn {
            delivered,
            refused,
            reason,
        } => Verdict::Note(format!(
            "{delivered} of {all} delivered, {refused} refused, then it asks for the rest: {reason}"
        )),
        Delivery::TryAgain { delivered, reason } => Verdict::Note(format!(
            "{delivered} of {all} delivered, then it asks to be tried again: {reason}"
        )),
        Delivery::GiveUp { delivered, reason } => Verdict::Note(format!(
            "{delivered} of {all} delivered, then it gave up: {reason}"
        )),
    }
}

/// An ordinary alert.
pub(super) fn alert(number: u64) -> Alert {
    Alert {
        time_ns: 1_767_225_600_000_000_000 + number,
        rule: "Check of a plugin".to_owned(),
        priority: Priority::Notice,
        source: "syscall".to_owned(),
        hostname: "host".to_owned(),
        tags: vec!["check".to_owned(), "T1059".to_owned()],
        text: format!("00:00:00.000000000: Notice check number {number}"),
        json: format!(
            r#"{{"hostname":"host","output":"check number {number}","output_fields":{{"evt.num":{number}}},"priority":"Notice","rule":"Check of a plugin","source":"syscall","tags":["T1059","check"],"time":"2026-01-01T00:00:00.000000000Z"}}"#
        ),
        fields: vec![
            ("evt.num".to_owned(), OwnedValue::U64(number)),
            ("proc.name".to_owned(), OwnedValue::String(b"cat".to_vec())),
        ],
        context: Vec::new(),
    }
}

/// Unusual alerts that the header allows.
fn strange() -> Vec<Alert> {
    let bytes: Vec<u8> = (0..=255).collect();
    let every = vec![
        OwnedValue::None,
        OwnedValue::Bool(true),
        OwnedValue::I64(i64::MIN),
        OwnedValue::U64(u64::MAX),
        OwnedValue::F64(f64::NAN),
        OwnedValue::String(bytes.clone()),
        OwnedValue::String(Vec::new()),
        OwnedValue::Bytes(bytes),
        OwnedValue::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        OwnedValue::Ip([127, 0, 0, 1].into()),
        OwnedValue::List(Vec::new()),
        OwnedValue::List(vec![OwnedValue::String(b"a".to_vec()), OwnedValue::None]),
    ];
    let fields = every.into_iter().enumerate();
    let fields: Vec<_> = fields
        .map(|(at, value)| (format!("f{at}"), value))
        .collect();
    let empty = Alert {
        time_ns: 0,
        rule: String::new(),
        source: String::new(),
        hostname: String::new(),
        tags: Vec::new(),
        text: String::new(),
        json: "{}".to_owned(),
        fields: Vec::new(),
        ..alert(0)
    };
    let long = Alert {
        time_ns: u64::MAX,
        rule: "r".repeat(10_000),
        text: "t".repeat(1 << 20),
        json: format!("{{\"output\":\"{}\"}}", "t".repeat(1 << 20)),
        tags: vec![String::new(); 1000],
        ..alert(0)
    };
    let odd = Alert {
        rule: "\0 \u{202e} 규칙 \\ \" %s {} $(x)".to_owned(),
        text: "\0\u{1b}[31m \u{202e} %n %s".to_owned(),
        fields,
        ..alert(0)
    };
    let priorities = Priority::ALL.map(|priority| Alert {
        priority,
        ..alert(0)
    });
    let alerts: Vec<Alert> = [empty, long, odd].into_iter().chain(priorities).collect();
    debug_assert_eq!(alerts.len(), STRANGE);
    alerts
}
