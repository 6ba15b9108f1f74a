//! Processes that are attached to while they run, and left unharmed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use driver_api::event::EventKind;
use driver_api::request::Target;

use crate::stage::*;

/// A process that counts in a file. It is killed when this is dropped.
struct Running {
    child: Child,
    count: PathBuf,
}

impl Running {
    fn begin(scene: &str) -> Self {
        let thread = format!("{:?}", std::thread::current().id());
        let count = std::env::temp_dir().join(format!(
            "lanner-{scene}-{}-{}",
            std::process::id(),
            thread.trim_matches(|c: char| !c.is_ascii_digit())
        ));
        let _ = std::fs::remove_file(&count);
        let child = Command::new(actor_path())
            .arg(scene)
            .arg(&count)
            .spawn()
            .expect("runs");
        let running = Self { child, count };
        running.goes_on();
        running
    }

    fn counted(&self) -> u64 {
        let bytes = std::fs::read(&self.count).unwrap_or_default();
        bytes
            .first_chunk()
            .map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }

    /// Waits until it has counted on.
    fn goes_on(&self) {
        let (before, begin) = (self.counted(), Instant::now());
        while self.counted() < before + 20 {
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "it makes no progress"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Checks that this thread traces all threads of it.
    fn is_ours(&self) {
        // SAFETY: gettid(2) has no effect.
        let me = unsafe { libc::gettid() }.to_string();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it lives");
        for task in tasks.flatten().map(|entry| entry.path()) {
            let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.map(|text| text.trim().to_owned()).unwrap_or_default()
            };
            // a thread that has ended meanwhile needs no tracer
            let over = matches!(field("State:").chars().next(), None | Some('Z' | 'X'));
            assert!(
                over || field("TracerPid:") == me,
                "{} is not traced: {status}",
                task.display()
            );
        }
    }

    /// Checks that no thread of it or of a child has a tracer.
    fn is_free(&self) {
        let me = std::process::id();
        let tasks = |pid: &str| {
            std::fs::read_dir(format!("/proc/{pid}/task"))
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect::<Vec<PathBuf>>()
        };
        let traced = |task: &Path| {
            let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
            let field = |name: &str| {
                status
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(|text| text.trim().to_owned())
                    .unwrap_or_default()
            };
            let descends = field("PPid:") == self.child.id().to_string();
            (descends || field("Tgid:") == self.child.id().to_string())
                && !matches!(field("TracerPid:").as_str(), "0" | "")
        };
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.bytes().all(|byte| byte.is_ascii_digit()) && name != me.to_string() {
                for task in tasks(&name) {
                    assert!(!traced(&task), "{} is traced", task.display());
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.count);
    }
}

fn attach_and_leave_often(scene: &str, rounds: u32) {
    let running = Running::begin(scene);
    for round in 0..rounds {
        let mut capture = open(Target::Pids(vec![running.child.id()]), &["pwrite64"])
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        running.is_ours();
        let (mut forks, mut writes) = (0, 0);
        let (events, end) = until(capture.as_mut(), |event| {
            forks += u32::from(event.kind() == EventKind::Fork);
            writes += u32::from(event.name() == "pwrite64");
            forks > 20 && writes > 5
        })
        .expect("the capture goes on");
        assert_eq!(end, None);
        assert!(
            events
                .iter()
                .all(|event| event.kind() != EventKind::Syscall || event.name() == "pwrite64")
        );
        let begin = Instant::now();
        drop(capture);
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "leaving takes {:?}",
            begin.elapsed()
        );
        running.is_free();
        running.goes_on();
    }
}

#[test]
fn a_process_that_forks_is_attached_to_and_left() {
    attach_and_leave_often("forks", 30);
}

#[test]
fn a_process_whose_threads_come_and_go_is_attached_to_and_left() {
    attach_and_leave_often("spawns", 30);
}

#[test]
fn an_attached_process_that_is_killed_ends_the_capture() {
    let mut running = Running::begin("spawns");
    let mut capture = open(Target::Pids(vec![running.child.id()]), &["pwrite64"]).expect("opens");
    let mut seen = 0;
    until(capture.as_mut(), |_| {
        seen += 1;
        seen > 50
    })
    .expect("the capture goes on");
    running.child.kill().expect("killed");
    let (_, end) = until(capture.as_mut(), |_| false).expect("the capture goes on");
    assert_eq!(end, Some(None));
}
