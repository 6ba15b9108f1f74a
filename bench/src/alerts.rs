//! How many alerts each second go through the queue to a plugin that counts them.

use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, path::Path};

use delivery::{Counts, Outputs, Planned, QueueSettings, SpoolSettings};
use plugin_host::{self, Alert, OutputHost, OwnedValue, Plugin, Priority};

use crate::report::{Table, number};
use crate::{Error, Part, Result, say};

const COUNT: &str = include_str!("../count.c");
const HEADER: &str = include_str!("../../plugins/api/include/lanner_plugin.h");
/// How many alerts are pushed between two checks of the queue.
const STEP: u64 = 512;
/// How long one measurement may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures, and adds the results to the report and the goals.
pub(crate) fn measure(part: Part<'_>) -> Result<()> {
    let Part {
        options,
        report,
        goals,
        ..
    } = part;
    let folder = tempfile::tempdir().map_err(Error::failed("make a folder"))?;
    let plugin = compile(folder.path())?;
    let mut table = Table::new(
        "alerts through the queue to a plugin that counts them, an alert being made for each (copied, 800 bytes)",
        &["", "alerts", "a second", "lost"],
    );
    let many = if options.quick { 400_000 } else { 2_000_000 };
    let rounds = [
        ("in memory", many, None),
        ("spool, fsync: never", many / 8, Some(false)),
        ("spool, fsync: always", many / 16, Some(true)),
    ];
    for (what, alerts, fsync) in rounds {
        say(&format!("alerts, {what}"));
        let spool = fsync.map(|fsync| SpoolSettings {
            path: folder.path().join(format!("{fsync}.redb")),
            size: 1 << 30,
            age: None,
            fsync,
        });
        let (rate, counts) = run(&plugin, spool, alerts)?;
        table.row(vec![
            what.to_owned(),
            number(Some(counts.delivered)),
            number(Some(rate as u64)),
            number(Some(counts.lost())),
        ]);
        if fsync.is_none() {
            goals.at_least(
                "alerts a second through the queue",
                200_000.0,
                Some(rate.floor()),
                "",
            );
        }
    }
    report.table(table);
    Ok(())
}

fn compile(folder: &Path) -> Result<Plugin> {
    let step = "make the counting plugin";
    for (name, text) in [("count.c", COUNT), ("lanner_plugin.h", HEADER)] {
        fs::write(folder.join(name), text).map_err(Error::failed(step))?;
    }
    let library = folder.join("liboutput_count.so");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .args([&library, &folder.join("count.c")])
        .status()
        .map_err(Error::failed(step))?;
    Error::check("cc, which compiles the counting plugin,", status)?;
    plugin_host::load(&library).map_err(Error::failed(step))
}

fn run(plugin: &Plugin, spool: Option<SpoolSettings>, alerts: u64) -> Result<(f64, Counts)> {
    let settings = QueueSettings {
        spool,
        ..QueueSettings::new("count")
    };
    let room = settings.queue as u64;
    let outputs = Outputs::start(vec![Planned {
        host: Some(
            OutputHost::open(plugin, "").map_err(Error::failed("open the counting plugin"))?,
        ),
        settings,
        identity: String::new(),
    }])
    .map_err(Error::failed("start the outputs"))?;
    let counts = || {
        outputs
            .accounts()
            .first()
            .map(|account| account.counts)
            .unwrap_or_default()
    };
    let sample = sample();
    let start = Instant::now();
    for at in 0..alerts {
        if at % STEP == 0 {
            // Alerts that the queue has no room for would be lost. So this waits, which the event path never does.
            while at - counts().delivered + STEP > room {
                if start.elapsed() > PATIENCE {
                    return Err(Error::unexpected("the plugin gets no more alerts"));
                }
                std::thread::yield_now();
            }
        }
        outputs.push(sample.clone());
    }
    while counts().delivered + counts().lost() < alerts {
        if start.elapsed() > PATIENCE {
            return Err(Error::unexpected("the plugin does not get the last alerts"));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok((alerts as f64 / start.elapsed().as_secs_f64(), counts()))
}

/// An alert of usual size.
fn sample() -> Alert {
    let text = |text: &str| OwnedValue::String(text.into());
    Alert {
        time_ns: 1_767_225_605_000_000_000,
        rule: "Read sensitive file untrusted".to_owned(),
        priority: Priority::Warning,
        source: "syscall".to_owned(),
        hostname: "host.example.com".to_owned(),
        tags: ["T1555", "filesystem", "host", "mitre_credential_access"]
            .map(str::to_owned)
            .to_vec(),
        text: format!("00:00:05.000000000: Warning {}", "x".repeat(220)),
        json: format!("{{\"output\":\"{}\"}}", "x".repeat(500)),
        fields: vec![
            (
                "evt.time".to_owned(),
                OwnedValue::U64(1_767_225_605_000_000_000),
            ),
            ("fd.name".to_owned(), text("/etc/shadow")),
            ("proc.name".to_owned(), text("cat")),
            ("proc.cmdline".to_owned(), text("cat /etc/shadow")),
            ("user.uid".to_owned(), OwnedValue::U64(0)),
        ],
        context: Vec::new(),
    }
}
