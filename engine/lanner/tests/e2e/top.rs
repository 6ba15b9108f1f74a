//! `lanner top` in a real terminal: keys are sent through tmux(1), and its screens are compared.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use test_support::{skipped, wait_until};

use crate::lanner::{BIN, modes, run, stderr, usable};

/// A terminal. Dropping it ends what runs in it.
struct Tmux {
    socket: String,
}

impl Tmux {
    /// Runs a shell command in a new terminal of this size. None: there is no tmux.
    fn start(width: u16, height: u16, command: &str) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let is_there = Command::new("tmux")
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if is_there.is_err() {
            skipped("there is no tmux (tools/setup test installs it)");
            return None;
        }
        let number = COUNT.fetch_add(1, Relaxed);
        let tmux = Self {
            socket: format!("lanner-{}-{number}", std::process::id()),
        };
        let (width, height) = (width.to_string(), height.to_string());
        let output = tmux.tell([
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            &height,
            // the terminal stays when the command has ended
            &format!("{command}; echo \"ended: $?\"; exec cat"),
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
        Some(tmux)
    }

    fn tell<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        Command::new("tmux")
            .args(["-L", &self.socket])
            .args(args)
            .env("LANG", "C.UTF-8")
            .env_remove("TMUX")
            .env_remove("NO_COLOR")
            .output()
            .expect("tmux can be started")
    }

    /// Sends keys, by tmux's names.
    fn keys(&self, keys: &[&str]) {
        let output = self.tell(["send-keys"].iter().chain(keys));
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// Sends a text.
    fn write(&self, text: &str) {
        let output = self.tell(["send-keys", "-l", text]);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    fn screen(&self) -> String {
        let output = self.tell(["capture-pane", "-p"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The screen with its escape sequences.
    fn styled(&self) -> String {
        let output = self.tell(["capture-pane", "-p", "-e"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until the screen has this text.
    fn shows(&self, text: &str) {
        self.is(text, |screen| screen.contains(text));
    }

    /// Waits until the screen is as it should be.
    fn is(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let last = std::cell::RefCell::new(String::new());
        // what is seen last belongs to the failure
        let report = Report(&last);
        wait_until(what, || {
            let screen = self.screen();
            let holds = holds(&screen);
            last.replace(screen);
            holds
        });
        std::mem::forget(report);
    }
}

/// Prints the last screen if the wait panics.
struct Report<'a>(&'a std::cell::RefCell<String>);

impl Drop for Report<'_> {
    fn drop(&mut self) {
        eprintln!("the screen:\n{}", self.0.borrow());
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.tell(["kill-server"]);
    }
}

const RULES: &str = "
- rule: Hosts read
  desc: somebody reads the names of hosts
  condition: evt.type in (open, openat) and fd.name = /etc/hosts and proc.name = cat
  output: hosts were read by %proc.name
  priority: WARNING
";

/// A folder with rules, and a command that reads a file again and again until `done` is there.
fn stage() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("rules.yaml"), RULES).expect("rules");
    let done = folder.path().join("done");
    let script = format!(
        "echo TE\"\"AR; while [ ! -e {} ]; do cat /etc/hosts > /dev/null; sleep 0.1; done; exit 7",
        done.display()
    );
    (folder, format!("sh -c '{script}'"))
}

fn rules(folder: &Path) -> String {
    folder.join("rules.yaml").display().to_string()
}

#[test]
fn every_driver_shows_a_command_from_its_processes_down_to_an_alert() {
    for mode in modes() {
        let (folder, command) = stage();
        let options = mode.join(" ");
        let rules = rules(folder.path());
        let Some(tmux) = Tmux::start(
            80,
            24,
            &format!("{BIN} top {options} -r {rules} -- {command}"),
        ) else {
            return;
        };
        tmux.is("processes as a tree", |screen| {
            screen.contains(&mode[1])
                && screen.contains("lost 0")
                && screen.contains("lanner itself: CPU")
                && screen.contains("\u{2500} cat /etc/hosts")
        });
        assert!(!tmux.screen().contains("TEAR"), "{}", tmux.screen());
        // the events of the shell
        tmux.keys(&["Home", "Enter"]);
        tmux.shows("Events of ");
        tmux.shows(" sh  ");
        tmux.keys(&["Escape", "4"]);
        tmux.is("files", |screen| {
            screen.contains("FILE") && screen.contains("/etc/hosts")
        });
        tmux.keys(&["3"]);
        tmux.is("calls", |screen| {
            screen.contains("CALLS/S") && screen.contains(" openat")
        });
        tmux.keys(&["8"]);
        tmux.shows("TEAR");
        tmux.keys(&["2"]);
        tmux.shows("Hosts read");
        tmux.keys(&["Enter"]);
        tmux.shows("hosts were read by cat");
        tmux.keys(&["Enter"]);
        tmux.is("the alert's event and fields", |screen| {
            screen.contains("Priority  Warning")
                && screen.contains("openat(")
                && screen.contains("proc.name")
        });
        // the command's status is lanner's
        fs::write(folder.path().join("done"), "").expect("a file");
        tmux.shows("ENDED: exit status 7");
        tmux.keys(&["q"]);
        tmux.shows("ended: 7");
    }
}

#[test]
fn a_whole_host_is_watched() {
    for driver in usable() {
        let report = run(["drivers"]);
        assert!(report.status.success(), "{}", stderr(&report));
        let (folder, command) = stage();
        let rules = rules(folder.path());
        let Some(tmux) = Tmux::start(120, 40, &format!("{BIN} top -d {driver} -r {rules}")) else {
            return;
        };
        tmux.is("the screen, or why not", |screen| {
            screen.contains("lanner itself") || screen.contains("ended: 2")
        });
        if tmux.screen().contains("ended: 2") {
            // this driver watches no host
            assert!(tmux.screen().contains("lanner: "), "{}", tmux.screen());
            continue;
        }
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        tmux.keys(&["2"]);
        tmux.shows("Hosts read");
        tmux.keys(&["7"]);
        tmux.shows("buffer-full");
        fs::write(folder.path().join("done"), "").expect("a file");
        child.wait().expect("the shell ends");
        tmux.keys(&["q"]);
        tmux.shows("ended: 0");
    }
}

#[test]
fn a_filter_is_typed_completed_and_corrected_also_over_a_recording() {
    for driver in usable() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("events");
        let file = file.to_str().expect("a text");
        let script = "cat /etc/hosts; head -c 1 /etc/passwd";
        run([
            "record", "--driver", driver, "-o", file, "--", "/bin/sh", "-c", script,
        ]);
        let Some(tmux) = Tmux::start(80, 24, &format!("{BIN} top --replay {file}")) else {
            return;
        };
        tmux.is("the end of the recording", |screen| {
            screen.contains("ENDED: end of the recording") && screen.contains("head -c 1")
        });
        tmux.keys(&["/"]);
        tmux.write("proc.nam");
        tmux.keys(&["Tab"]);
        tmux.shows("filter: proc.name");
        tmux.keys(&["C-u"]);
        tmux.write("proc.nosuch = cat");
        tmux.keys(&["Enter"]);
        tmux.is("what is wrong", |screen| {
            screen.contains("filter: proc.nosuch = cat")
                && screen.matches("proc.nosuch").count() > 1
        });
        tmux.keys(&["C-u"]);
        tmux.write("proc.name = cat");
        tmux.keys(&["Enter"]);
        tmux.is("events of cat alone", |screen| {
            screen.contains("filter: proc.name = cat")
                && screen.contains("cat /etc/hosts")
                && !screen.contains("head -c 1")
        });
        tmux.keys(&["/"]);
        tmux.keys(&["C-u", "Enter"]);
        tmux.shows("head -c 1");
        tmux.keys(&["q"]);
        tmux.shows("ended: 0");
    }
}

#[test]
fn a_command_is_ended_or_left_running_and_the_terminal_is_as_before() {
    let (_folder, command) = stage();
    for (key, status) in [("e", "ended: 143"), ("l", "ended: 0")] {
        let command = format!("stty -a > /dev/null; {BIN} top -d ptrace --no-rules -- {command}");
        let Some(tmux) = Tmux::start(80, 24, &command) else {
            return;
        };
        tmux.shows("cat /etc/hosts");
        tmux.keys(&["q"]);
        tmux.shows("The command still runs");
        tmux.keys(&["Escape"]);
        tmux.shows("? help");
        tmux.keys(&["q"]);
        tmux.shows("The command still runs");
        tmux.keys(&[key]);
        tmux.shows(status);
        // cat(1) runs now: what is typed is shown once by the terminal, and once by cat
        tmux.write("typed");
        tmux.keys(&["Enter"]);
        tmux.is("typed, twice", |screen| {
            screen.matches("typed").count() == 2
        });
    }
}

#[test]
fn signals_give_the_terminal_back() {
    for signal in ["TERM", "INT", "HUP", "QUIT", "USR1", "SEGV", "ABRT"] {
        let folder = tempfile::tempdir().expect("a folder");
        let pid = folder.path().join("pid");
        let file = folder.path().join("events");
        run([
            OsStr::new("record"),
            OsStr::new("--driver"),
            OsStr::new("ptrace"),
            OsStr::new("-o"),
            file.as_os_str(),
            OsStr::new("--"),
            OsStr::new("/bin/true"),
        ]);
        let command = format!(
            "sh -c 'echo $$ > {}; exec {BIN} top --no-rules --replay {}'",
            pid.display(),
            file.display()
        );
        let Some(tmux) = Tmux::start(80, 24, &command) else {
            return;
        };
        tmux.shows("ENDED");
        let number = fs::read_to_string(&pid).expect("the process id");
        let killed = Command::new("kill")
            .args([&format!("-{signal}"), number.trim()])
            .status();
        assert!(killed.is_ok_and(|status| status.success()));
        tmux.shows("ended: ");
        tmux.write("typed");
        tmux.keys(&["Enter"]);
        tmux.is("typed, twice", |screen| {
            screen.matches("typed").count() == 2
        });
    }
}

/// lanner as a job of an interactive shell, and its process id.
fn started_in_a_shell() -> Option<(Tmux, i32, tempfile::TempDir)> {
    let tmux = Tmux::start(80, 24, "bash --noprofile --norc -i")?;
    let (folder, command) = stage();
    let pid = folder.path().join("pid");
    tmux.write(&format!(
        "sh -c 'echo $$ > {}; exec {BIN} top -d ptrace --no-rules -- {}'",
        pid.display(),
        command.replace('\'', "\"")
    ));
    tmux.keys(&["Enter"]);
    tmux.shows("1Processes");
    let pid: i32 = fs::read_to_string(&pid)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .expect("the process id");
    Some((tmux, pid, folder))
}

/// Sends a signal to one thread of a process (tgkill(2)).
fn signal_thread(pid: i32, thread: i32, signal: i32) {
    // SAFETY: tgkill(2) takes numbers.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, pid, thread, signal) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn lanner_is_suspended_and_comes_back() {
    let Some((tmux, pid, _folder)) = started_in_a_shell() else {
        return;
    };
    let suspended_and_back = |how: &str| {
        // what is typed before the prompt is there can be lost
        tmux.is(&format!("{how}: the shell's screen"), |screen| {
            let has_prompt = screen.trim_end().ends_with(['#', '$']);
            screen.contains("Stopped") && !screen.contains("1Processes") && has_prompt
        });
        tmux.write("clear; echo he''re");
        tmux.keys(&["Enter"]);
        tmux.is(&format!("{how}: the shell answers"), |screen| {
            screen.contains("here") && !screen.contains("Stopped")
        });
        tmux.write("fg");
        tmux.keys(&["Enter"]);
        tmux.is(&format!("{how}: the screen again"), |screen| {
            screen.contains("1Processes") && screen.contains("? help") && !screen.contains("here")
        });
        // and its keys
        tmux.keys(&["?"]);
        tmux.shows("mark another row");
        tmux.keys(&["Escape"]);
        // a key that lanner has not read when it is suspended would be the shell's
        tmux.is(&format!("{how}: the help is closed"), |screen| {
            screen.contains("1Processes") && !screen.contains("mark another row")
        });
    };
    tmux.keys(&["C-z"]);
    suspended_and_back("the key");
    // the kernel may give a signal to any thread
    let threads: Vec<i32> = fs::read_dir(format!("/proc/{pid}/task"))
        .expect("lanner runs")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    assert!(threads.len() > 1, "{threads:?}");
    for thread in threads {
        signal_thread(pid, thread, libc::SIGTSTP);
        suspended_and_back(&format!("thread {thread} of {pid}"));
    }
    tmux.keys(&["q"]);
    tmux.shows("The command still runs");
    tmux.keys(&["e"]);
    tmux.is("the shell again", |screen| !screen.contains("1Processes"));
}

#[test]
fn a_stop_without_notice_leaves_a_screen_that_comes_back() {
    let Some((tmux, pid, _folder)) = started_in_a_shell() else {
        return;
    };
    signal_thread(pid, pid, libc::SIGSTOP);
    tmux.shows("Stopped");
    tmux.write("fg");
    tmux.keys(&["Enter"]);
    tmux.is("the screen again", |screen| {
        screen.contains("1Processes") && screen.contains("? help") && !screen.contains("Stopped")
    });
    tmux.keys(&["q"]);
    tmux.shows("The command still runs");
    tmux.keys(&["e"]);
    tmux.is("the shell again", |screen| !screen.contains("1Processes"));
}

#[test]
fn the_screen_follows_the_terminals_size_and_needs_no_colours() {
    let (folder, command) = stage();
    let command = format!("NO_COLOR=1 {BIN} top -d ptrace --no-rules -- {command}");
    let Some(tmux) = Tmux::start(80, 24, &command) else {
        return;
    };
    tmux.shows("cat /etc/hosts");
    // SGR 30 to 37, 40 to 47 and 90 to 107 are colours
    let styled = tmux.styled();
    let has_colour = |code: &str| {
        code.split(';')
            .filter_map(|part| part.parse::<u32>().ok())
            .any(|part| matches!(part, 30..=38 | 40..=48 | 90..=107))
    };
    let codes = styled
        .split("\x1b[")
        .skip(1)
        .filter_map(|code| code.split_once('m'));
    let coloured: Vec<&str> = codes
        .map(|(code, _)| code)
        .filter(|code| has_colour(code))
        .collect();
    assert!(coloured.is_empty(), "{coloured:?}");
    for (width, height, shown) in [
        ("40", "10", "/etc/hosts"),
        ("200", "60", "Connections"),
        ("10", "4", "too small"),
        ("80", "24", "lanner itself"),
    ] {
        tmux.tell(["resize-window", "-x", width, "-y", height]);
        tmux.shows(shown);
    }
    fs::write(folder.path().join("done"), "").expect("a file");
    tmux.shows("ENDED");
}

#[test]
fn without_a_terminal_the_error_says_what_to_use() {
    let output = run(["top", "--no-rules"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("lanner trace --count"),
        "{}",
        stderr(&output)
    );
    let Some(tmux) = Tmux::start(120, 24, &format!("TERM=dumb {BIN} top --no-rules")) else {
        return;
    };
    tmux.shows("ended: 2");
    assert!(tmux.screen().contains("TERM=dumb"), "{}", tmux.screen());
}

#[test]
fn lanner_ends_when_its_terminal_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid = folder.path().join("pid");
    let (_stage, command) = stage();
    let command = format!(
        "sh -c 'trap \"\" HUP; echo $$ > {}; exec {BIN} top -d ptrace --no-rules -- {}'",
        pid.display(),
        command.replace('\'', "\"")
    );
    let Some(tmux) = Tmux::start(80, 24, &command) else {
        return;
    };
    tmux.shows("cat /etc/hosts");
    let number = fs::read_to_string(&pid).expect("the process id");
    let process = Path::new("/proc").join(number.trim());
    drop(tmux);
    wait_until("lanner ends", || !process.exists());
}
