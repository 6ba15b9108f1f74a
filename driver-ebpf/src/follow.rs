//! The table of the threads that are followed. The programs keep it, at births and ends; where the kernel skipped one
//! of their runs ([`missed`](crate::missed)), /proc tells what it missed.

use std::collections::BTreeSet;
use std::fs;

use crate::life::gone;

/// The kernel's table of threads.
pub trait Followed {
    /// The ids of those that are in it.
    fn tids(&self) -> Vec<u32>;

    /// Takes one up from now on, unless it is there.
    fn add(&mut self, tid: u32);

    /// Forgets one.
    fn remove(&mut self, tid: u32);
}

/// Whether any thread is followed still; forgets those that are gone.
pub fn anyone(table: &mut dyn Followed) -> bool {
    let (ended, alive): (Vec<u32>, Vec<u32>) = table.tids().into_iter().partition(|tid| gone(*tid));
    for tid in ended {
        table.remove(tid);
    }
    !alive.is_empty()
}

/// Takes up the threads and children of those that are followed, whose births nobody has told; says how many.
pub fn take_up(table: &mut dyn Followed) -> usize {
    let mut known: BTreeSet<u32> = table.tids().into_iter().collect();
    let mut next: Vec<u32> = known.iter().copied().collect();
    let mut count = 0;
    while let Some(tid) = next.pop() {
        for relative in threads(tid).into_iter().chain(children(tid)) {
            if known.insert(relative) && !gone(relative) {
                table.add(relative);
                next.push(relative);
                count += 1;
            }
        }
    }
    count
}

/// The threads of a thread's process.
fn threads(tid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{tid}/task")) else {
        return Vec::new();
    };
    let name = |task: fs::DirEntry| task.file_name().to_str()?.parse().ok();
    tasks.flatten().filter_map(name).collect()
}

/// The processes that a thread has made (proc_pid_task(5); a kernel without `CONFIG_PROC_CHILDREN` tells none).
fn children(tid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{tid}/task/{tid}/children")).unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table(BTreeSet<u32>);

    impl Followed for Table {
        fn tids(&self) -> Vec<u32> {
            self.0.iter().copied().collect()
        }

        fn add(&mut self, tid: u32) {
            assert!(self.0.insert(tid), "{tid} is there already");
        }

        fn remove(&mut self, tid: u32) {
            self.0.remove(&tid);
        }
    }

    #[test]
    fn a_grandchild_whose_birth_and_whose_parent_s_nobody_told_is_taken_up() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        let grandchild: u32 = line.trim().parse().unwrap();
        // whichever of our threads has started it, it is a thread of ours
        let mut table = Table(BTreeSet::from([std::process::id()]));
        let taken = take_up(&mut table);
        assert!(table.0.contains(&child.id()) && table.0.contains(&grandchild));
        assert_eq!(taken, table.0.len() - 1);
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(grandchild.cast_signed()),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        child.wait().unwrap();
        let mut table = Table(BTreeSet::from([child.id()]));
        assert!(!anyone(&mut table));
        assert!(table.0.is_empty());
    }
}
