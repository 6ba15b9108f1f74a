//! The events that rules need: what is left out, no rule matches.

use std::path::Path;
use std::time::Duration;

use driver_api::driver::{Capture, Flow};
use driver_api::event::{Fact, Flags};
use driver_api::predicate::Shown;
use driver_api::scripted::Scripted;
use driver_api::selection::Selection;
use driver_api::table::{self, Kind, Syscall};
use fields::{FieldRegistry, Scratch, View};
use inspect::testing::{Ev, isolated};
use plugin_host::{RuleFile, RuleHost};

use super::first_party;
use crate::rule_loader::events_for;

const PID: u32 = 5_000_001;

/// Pseudo-random numbers, the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// An event of a call, with paths and programs that rules ask for.
    fn event(&mut self, call: &Syscall) -> Ev {
        let numbers = [
            0,
            1,
            2,
            3,
            0o100,
            0o101,
            0o1101,
            0o20_000_000,
            0o755,
            0o644,
            -1,
            0o2_000_000,
        ];
        let args: [i64; 6] = std::array::from_fn(|_| self.of(&numbers));
        let ret = self.of(&[0, 3, 7, -1, -2, -4, -13, -20, -30, -115, 4096]);
        let mut event = Ev::call(PID, call.name, &args, ret);
        if self.below(8) == 0 {
            event.header.flags |= Flags::ENTRY;
        }
        let paths = [
            "/etc/shadow",
            "/etc/passwd",
            "/root/.ssh/id_rsa",
            "/bin/sh",
            "/usr/bin/x",
            "/dev/shm/x",
            "/tmp/x",
            "/var/log/auth.log",
            "/proc/1/environ",
            "/etc/ld.so.preload",
        ];
        let path = self.of(&paths);
        for (at, param) in call.params.iter().enumerate() {
            if matches!(param.kind, Kind::Path(_) | Kind::Str) {
                event.header.args[at] = 0x1000;
                event = event.said(at as u8, path.as_bytes());
            }
        }
        if call.facts.iter().any(|fact| fact.fact == Fact::Path) && ret >= 0 {
            event = event.fact(Fact::Path, path.as_bytes());
        }
        event
    }
}

fn check(path: &Path) -> Selection {
    let library = first_party().join("librules_falco.so");
    let plugin = plugin_host::load(&library).unwrap();
    let registry = FieldRegistry::new("here");
    let file = RuleFile {
        name: "rules".to_owned(),
        text: std::fs::read(path).unwrap(),
    };
    let settings = r#"{"rule_matching":"all"}"#;
    let mut rules = RuleHost::open(&plugin, &registry, &[file], settings).unwrap();
    let selection = events_for([&rules].into_iter());
    let fields = registry.fields();
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let (mut left_out, mut matched) = (0, 0);
    let wanted: Vec<&Syscall> = selection
        .calls()
        .iter()
        .filter(|call| call.number(driver_api::event::Abi::X86_64).is_some())
        .collect();
    let mut inspector = isolated();
    let mut found = Vec::new();
    for _ in 0..300 {
        for call in &wanted {
            let mut capture = Scripted::new([noise.event(call).bytes()], None);
            let _ = capture.poll(Duration::ZERO, &mut |event| {
                let seen = inspector.update(&event);
                let scratch = Scratch::default();
                let view = View::new(&fields, &inspector, &event, &seen, &scratch);
                rules.on_event(&view, &mut found);
                let allowed = selection.allows(&event);
                left_out += usize::from(!allowed);
                matched += found.len();
                assert!(
                    allowed || found.is_empty(),
                    "{}: {:?} matches {found:?}, but {:?} leaves it out",
                    call.name,
                    event.header(),
                    selection.predicate(table::by_name(call.name).unwrap()),
                );
                Flow::Continue
            });
        }
    }
    assert!(
        left_out > 1000 && matched > 50,
        "{left_out} left out, {matched} matches"
    );
    selection
}

#[test]
fn no_default_rule_matches_an_event_that_is_left_out() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules/lanner_rules.yaml");
    let selection = check(Path::new(rules));
    // most files that programs try to open are not there
    let shown = |name: &str| {
        let call = table::by_name(name).unwrap();
        Shown(&selection.predicate(call), call).to_string()
    };
    for name in ["open", "openat", "openat2", "creat"] {
        assert_eq!(shown(name), "no error or EPERM or EACCES or EROFS");
    }
    for name in ["unlinkat", "renameat2", "symlinkat", "fchmodat"] {
        assert_eq!(shown(name), "no error", "{name}");
    }
    assert_eq!(shown("connect"), "no error or EINPROGRESS");
}

#[test]
fn no_rule_of_falco_matches_an_event_that_is_left_out() {
    let shared = std::env::var_os("LANNER_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        Into::into,
    );
    let rules = shared.join("reference/falco/falco_rules.yaml");
    if rules.exists() {
        check(&rules);
    } else {
        test_support::absent(&rules);
    }
}
