//! Programs of `output-program` and lanner's own end.

use std::fs;

use nix::sys::signal::Signal;
use test_support::wait_until;

use crate::session::{Folder, drivers};

/// Whether a process runs: it is neither gone nor a zombie.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
}

#[test]
fn a_program_that_hangs_ends_with_lanner_however_lanner_ends() {
    let ways = [
        ("SIGKILL", "false", Signal::SIGKILL),
        ("SIGKILL", "true", Signal::SIGKILL),
        ("SIGTERM", "true", Signal::SIGTERM),
    ];
    for driver in drivers() {
        for (name, keep_alive, signal) in ways {
            let folder = Folder::new();
            let pids = folder.path("pids");
            // The program, a child of it, and a child whose parent has gone.
            let program = folder.put(
                "hang",
                &format!(
                    "trap '' TERM HUP INT\nsleep 1000 &\necho $! >> {0}\n\
                     (sleep 1000 & echo $! >> {0})\necho $$ >> {0}\necho whole >> {0}\nsleep 1000\n",
                    pids.display()
                ),
            );
            let config = folder.put(
                "lanner.yaml",
                &format!(
                    "rules_files: [{}]\noutputs:\n- {{plugin: output-program, settings: {{program: \"sh {}\", \
                     keep_alive: {keep_alive}, timeout: 3600}}, deadline: 1h}}\n",
                    folder.rule("A", "").display(),
                    program.display(),
                ),
            );
            let lanner = folder.lanner(driver, &config, "0.01");
            let all = || fs::read_to_string(&pids).unwrap_or_default();
            wait_until(&format!("the program hangs {:?}", lanner.err), || {
                all().contains("whole")
            });
            let hanging: Vec<String> = all().lines().take(3).map(str::to_owned).collect();
            assert!(hanging.iter().all(|pid| runs(pid)), "{hanging:?}");
            lanner.signal(signal);
            wait_until(&format!("{driver}: all end after {name}"), || {
                !hanging.iter().any(|pid| runs(pid))
            });
            folder.stop();
            lanner.end();
        }
    }
}
