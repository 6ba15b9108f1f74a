//! Measures the memory that the state takes: a million short-lived processes, then a process that opens a hundred
//! thousand files, then ten children of it. docs/state.md has the figures, which come from
//! `cargo run --release -p inspect --example state-memory`.

use std::time::Instant;

use driver_api::event::{
    Abi, Encoding, Event, EventBuilder, EventKind, Fact, Header, Ids, Part, Status,
};
use driver_api::table;
use inspect::{Inspector, Options};
use zerocopy::IntoBytes;

struct Feed {
    inspector: Inspector,
    builder: EventBuilder,
    time_ns: u64,
    events: u64,
}

impl Feed {
    fn event(
        &mut self,
        kind: EventKind,
        pid: u32,
        fill: impl FnOnce(&mut Header),
        attached: &[(u8, Encoding, &[u8])],
    ) {
        self.time_ns += 1000;
        let mut header = Header {
            kind: kind as u8,
            abi: Abi::NATIVE as u8,
            tgid: pid,
            tid: pid,
            time_ns: self.time_ns,
            ..Header::default()
        };
        fill(&mut header);
        self.builder.begin(&header);
        for (what, encoding, bytes) in attached {
            self.builder.attach(
                *what,
                Part::None,
                Status::Whole,
                *encoding,
                bytes.len() as u64,
                bytes,
            );
        }
        if let Ok(event) = self.builder.finish() {
            let event: Event<'_> = event;
            self.inspector.update(&event);
            self.events += 1;
        }
    }

    fn exec(&mut self, pid: u32, name: &str) {
        let Some(nr) = number("execve") else { return };
        let ids = Ids {
            ppid: 1,
            loginuid: u32::MAX,
            ..Ids::default()
        };
        let args = format!("{name}\0--option=value\0/some/argument/of/it\0");
        let env = "HOME=/root\0PATH=/usr/bin:/bin\0LANG=C.UTF-8\0".repeat(8);
        self.event(
            EventKind::Exec,
            pid,
            |header| header.nr = nr,
            &[
                (
                    Fact::Exe as u8,
                    Encoding::Raw,
                    format!("/usr/bin/{name}").as_bytes(),
                ),
                (Fact::Argv as u8, Encoding::Strings, args.as_bytes()),
                (Fact::Env as u8, Encoding::Strings, env.as_bytes()),
                (Fact::Ids as u8, Encoding::Raw, ids.as_bytes()),
                (Fact::Comm as u8, Encoding::Raw, name.as_bytes()),
            ],
        );
    }

    fn fork(&mut self, parent: u32, child: u32) {
        self.event(
            EventKind::Fork,
            parent,
            |header| header.args[..2].copy_from_slice(&[child.into(), child.into()]),
            &[],
        );
    }

    fn open(&mut self, pid: u32, path: &str, fd: u32) {
        let Some(nr) = number("openat") else { return };
        self.event(
            EventKind::Syscall,
            pid,
            |header| {
                header.nr = nr;
                header.ret = fd.into();
            },
            &[
                (1, Encoding::Raw, path.as_bytes()),
                (Fact::Path as u8, Encoding::Raw, path.as_bytes()),
            ],
        );
    }

    fn report(&self, what: &str, began: Instant) {
        let stats = self.inspector.stats();
        println!(
            "{what}: {} events in {:.2} s, resident {} KiB; {} processes, {} tables, {} descriptors",
            self.events,
            began.elapsed().as_secs_f64(),
            resident_kib(),
            stats.processes,
            stats.file_tables,
            stats.descriptors
        );
    }
}

fn number(call: &str) -> Option<u32> {
    table::by_name(call)?.number(Abi::NATIVE)
}

fn resident_kib() -> u64 {
    let status = proc_pid::Status::of_self().ok();
    status
        .and_then(|status| status.memory("VmRSS"))
        .unwrap_or(0)
        / 1024
}

fn main() {
    let inspector = Inspector::new(&Options {
        proc_root: None,
        containers: None,
        ..Options::default()
    });
    let mut feed = Feed {
        inspector,
        builder: EventBuilder::new(),
        time_ns: 1,
        events: 0,
    };
    let began = Instant::now();
    feed.exec(1, "init");
    feed.report("at the start", began);
    for round in 0..10 {
        for at in 0..100_000 {
            let pid = 2 + round * 100_000 + at;
            feed.fork(1, pid);
            feed.exec(pid, "short-lived");
            feed.open(pid, "/etc/ld.so.cache", 3);
            feed.event(EventKind::Exit, pid, |_| {}, &[]);
        }
        if matches!(round, 0 | 9) {
            feed.report(
                &format!("{} processes have ended", (round + 1) * 100_000),
                began,
            );
        }
    }
    for fd in 0..100_000 {
        feed.open(1, &format!("/var/lib/some/directory/file-{fd}"), fd);
    }
    feed.report("100000 descriptors", began);
    for child in 2_000_000..2_000_010 {
        feed.fork(1, child);
    }
    feed.report("ten children with the same descriptors", began);
}
