//! The heartbeat of a lanner that captures the host: it is missing when another process changes the maps of lanner's programs.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use test_support::{skipped, wait_until};

use crate::session::{Folder, Lanner, get};

/// A BPF map of another process.
struct Map {
    fd: i64,
    value: usize,
    entries: u32,
}

/// bpf(2). The attributes are given as words of 64 bits.
fn bpf(command: u32, words: &[u64]) -> i64 {
    // SAFETY: the kernel reads this number of bytes; addresses in them are of buffers that live through the call.
    unsafe { libc::syscall(libc::SYS_bpf, command, words.as_ptr(), size_of_val(words)) }
}

impl Map {
    const LOOK_UP: u32 = 1;
    const UPDATE: u32 = 2;

    /// The map of a process whose name has one of these words in it.
    fn find(pid: u32, words: &[&str]) -> Self {
        const GET_FD_BY_ID: u32 = 14;
        const GET_INFO: u32 = 15;
        let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it runs");
        for info in infos.flatten() {
            let text = fs::read_to_string(info.path()).unwrap_or_default();
            let id = text.lines().find_map(|line| line.strip_prefix("map_id:"));
            let Some(id) = id.and_then(|id| id.trim().parse::<u64>().ok()) else {
                continue;
            };
            let fd = bpf(GET_FD_BY_ID, &[id, 0]);
            assert!(fd >= 0, "map {id}: {}", std::io::Error::last_os_error());
            // type, id, sizes of keys and values, entries, flags, name
            let mut found = [0_u32; 20];
            let words_of_info = [
                fd.cast_unsigned() | (size_of_val(&found) as u64) << 32,
                found.as_mut_ptr() as u64,
            ];
            assert_eq!(bpf(GET_INFO, &words_of_info), 0);
            let name: Vec<u8> = found[6..10].iter().flat_map(|w| w.to_ne_bytes()).collect();
            let name = String::from_utf8_lossy(&name).into_owned();
            if words.iter().any(|word| name.contains(word)) {
                let (value, entries) = (found[3] as usize, found[4]);
                return Self { fd, value, entries };
            }
            // SAFETY: nothing else owns the descriptor.
            unsafe { libc::close(fd as i32) };
        }
        unreachable!("process {pid} has no map {words:?}")
    }

    fn element(&self, command: u32, key: u32, value: &mut [u8]) {
        let words = [
            self.fd.cast_unsigned(),
            (&raw const key) as u64,
            value.as_mut_ptr() as u64,
            0,
        ];
        assert_eq!(bpf(command, &words), 0, "entry {key}");
    }

    /// Sets every entry to zeros, and returns what was there.
    fn clear(&self) -> Vec<Vec<u8>> {
        let mut kept = Vec::new();
        for key in 0..self.entries {
            let mut value = vec![0; self.value];
            self.element(Self::LOOK_UP, key, &mut value);
            kept.push(value);
            self.element(Self::UPDATE, key, &mut vec![0; self.value]);
        }
        kept
    }

    fn restore(&self, kept: Vec<Vec<u8>>) {
        for (key, mut value) in (0..).zip(kept) {
            self.element(Self::UPDATE, key, &mut value);
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: nothing else owns the descriptor.
        unsafe { libc::close(self.fd as i32) };
    }
}

pub(crate) fn health(socket: &Path) -> String {
    get(socket, "/healthz").map_or_else(String::new, |(head, body)| format!("{head} {body}"))
}

/// The latest beat that came back.
pub(crate) fn beats(socket: &Path) -> u64 {
    number(socket, "lanner_heartbeat_number{at=\"back\"} ")
}

/// The latest beat that was asked for.
pub(crate) fn asked(socket: &Path) -> u64 {
    number(socket, "lanner_heartbeat_number{at=\"asked\"} ")
}

fn number(socket: &Path, sample: &str) -> u64 {
    let page = metrics(socket);
    let number = page.lines().find_map(|line| line.strip_prefix(sample));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

pub(crate) fn metrics(socket: &Path) -> String {
    get(socket, "/metrics").map_or_else(String::new, |(_, body)| body)
}

/// A lanner that captures the host, and the socket of its web server.
pub(crate) fn start(
    folder: &Folder,
    driver: &str,
    heartbeat: &str,
    options: &[&str],
) -> (Lanner, std::path::PathBuf) {
    let socket = folder.path("web");
    let config = folder.put(
        "lanner.yaml",
        &format!(
            "rules_files: [{}]\nwebserver: {{enabled: true, unix_socket: {}}}\nheartbeat: {heartbeat}\n",
            folder.rule("A", "").display(),
            socket.display(),
        ),
    );
    let config = config.to_str().expect("a text");
    let lanner = Lanner::start(&[&["--driver", driver, "-c", config], options].concat());
    wait_until(&format!("it answers {:?}", lanner.err), || {
        health(&socket).contains(" 200 ")
    });
    (lanner, socket)
}

#[test]
fn a_lanner_whose_maps_another_process_clears_says_so_until_they_are_restored() {
    if !nix::unistd::geteuid().is_root() {
        skipped("bpf(2) needs privilege");
        return;
    }
    for driver in ["ebpf-core", "ebpf-legacy"] {
        let folder = Folder::new();
        let (lanner, socket) = start(&folder, driver, "{interval: 200ms}", &[]);
        wait_until(&format!("beats come back {:?}", lanner.err), || {
            beats(&socket) > 2
        });
        let pid = lanner.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("its children");
        let map = Map::find(pid, &["gate", "interest"]);
        let kept = map.clear();
        let missing = "Critical lanner internal: heartbeat. Lanner's own call did not come back";
        wait_until(&format!("it is missed {:?}", lanner.out), || {
            lanner.alerts(missing) > 0
        });
        wait_until("health is red", || {
            health(&socket).contains(" 503 ")
                && health(&socket).contains("lanner's own call does not come back")
        });
        map.restore(kept);
        wait_until(&format!("it is back {:?}", lanner.out), || {
            lanner.alerts("Notice lanner internal: heartbeat") > 0
        });
        wait_until("health is green", || health(&socket).contains(" 200 "));
        lanner.signal(Signal::SIGTERM);
        let (out, err, status) = lanner.end_with_status();
        assert!(status.success(), "{driver}: {err:?}");
        let of_maps = |line: &String| line.contains(missing) && line.contains("CAP_BPF");
        assert!(out.iter().any(of_maps), "{driver}: {out:?}");
        for child in children.split_whitespace() {
            let left = Path::new("/proc").join(child).exists();
            assert!(!left, "{driver}: process {child} outlives lanner");
        }
    }
}

#[test]
fn rules_see_no_heartbeat_and_a_reload_does_not_end_it() {
    const ASK: &str = "import os; os.sched_get_priority_max(os.SCHED_FIFO)";
    if !nix::unistd::geteuid().is_root() {
        skipped("capturing the host needs privilege");
        return;
    }
    for driver in ["ebpf-core", "ebpf-legacy"] {
        let folder = Folder::new();
        let (lanner, socket) = start(&folder, driver, "{interval: 100ms}", &[]);
        wait_until("beats come back", || beats(&socket) > 2);
        // other programs make such calls, too: only a rule that asks for them sees these
        let ask = || {
            let mut python = std::process::Command::new("python3");
            let asked = python.args(["-c", ASK]).status().expect("python3");
            assert!(asked.success());
        };
        ask();
        folder.put(
            "rules.yaml",
            "- rule: B\n  desc: d\n  condition: evt.type = sched_get_priority_max\n  \
             output: B of %proc.name below %proc.ppid;\n  priority: NOTICE\n",
        );
        wait_until("the rules are loaded", || {
            metrics(&socket).contains("lanner_reloads_total{outcome=\"ok\"} 1")
        });
        let before = beats(&socket);
        wait_until("beats still come back", || beats(&socket) > before + 5);
        wait_until("the rule sees others' calls", || {
            ask();
            lanner.alerts("B of python3") > 0
        });
        // another lanner of this host has a heartbeat, too
        let own = format!("below {};", lanner.child.id());
        lanner.signal(Signal::SIGTERM);
        let (out, _) = lanner.end();
        assert!(!out.iter().any(|line| line.contains(&own)), "{out:?}");
    }
}

#[test]
fn a_heartbeat_can_be_switched_off() {
    if !nix::unistd::geteuid().is_root() {
        skipped("capturing the host needs privilege");
        return;
    }
    let folder = Folder::new();
    let (lanner, socket) = start(&folder, "ebpf-core", "{enabled: false}", &[]);
    let page = metrics(&socket);
    assert!(!page.contains("lanner_heartbeat"), "{page}");
    lanner.signal(Signal::SIGTERM);
    lanner.end();
}
