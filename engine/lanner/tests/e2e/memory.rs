//! lanner in a cgroup with little memory.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use test_support::{is_root, skipped};

use crate::lanner::{BIN, stderr, usable};

/// A memory cgroup of one's own, with a limit.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str, limit: u64) -> Option<Self> {
        let roots = [
            ("/sys/fs/cgroup", "memory.max"),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ];
        for (root, file) in roots {
            let folder = PathBuf::from(format!("{root}/lanner-test-{}-{name}", std::process::id()));
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Self(folder);
            // Without the controller of memory there is no such file.
            if group.0.join(file).exists()
                && fs::write(group.0.join(file), limit.to_string()).is_ok()
            {
                return Some(group);
            }
        }
        None
    }

    fn run(&self, args: &[&str]) -> Output {
        let script = format!(
            "echo $$ > {}/cgroup.procs && exec {BIN} \"$@\"",
            self.0.display()
        );
        let output = Command::new("sh")
            .args(["-c", &script, "sh"])
            .args(args)
            .output();
        output.expect("a shell")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn little_memory_is_enough() {
    if !is_root() {
        skipped("only root can make a cgroup");
        return;
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    for driver in usable().into_iter().filter(|driver| *driver != "ptrace") {
        // ebpf-core's larger programs, and tables of the kernel that are there for each CPU
        let programs = if driver == "ebpf-core" { 2 } else { 0 };
        let limit = (30 + programs + cpus.saturating_sub(2) * 4) << 20;
        // the kernel frees maps some time after their owner has ended, so each run has a cgroup of its own
        let made =
            ["fitting", "chosen"].map(|name| Cgroup::new(&format!("{driver}-{name}"), limit));
        let [Some(fitting), Some(chosen)] = made else {
            skipped("this host has no cgroup of memory that root can make");
            return;
        };
        let args = ["run", "--driver", driver, "--duration", "1s"];
        let output = fitting.run(&args);
        let said = stderr(&output);
        assert!(output.status.success(), "{driver}: {said}");
        assert!(
            said.contains("more memory: buffers have ")
                && said.contains(" KiB for each CPU instead of 8192 KiB"),
            "{driver}: {said}"
        );
        let args = [&args[..], &["--buffer", "256K"]].concat();
        let output = chosen.run(&args);
        let said = stderr(&output);
        assert!(output.status.success(), "{driver}: {said}");
        assert!(!said.contains("buffers have"), "{driver}: {said}");
    }
}
