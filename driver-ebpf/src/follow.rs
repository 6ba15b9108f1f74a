//! The table of the threads that are followed. The programs keep it, at births and ends of threads. Where the kernel
//! skipped one of their runs ([`missed`](crate::missed)), /proc shows what is missing.

use std::collections::BTreeSet;
use std::fs;

use crate::life::gone;

/// The kernel's table of threads.
pub trait Followed {
    /// The thread ids in the table.
    fn tids(&self) -> Vec<u32>;

    /// Follows a thread from now on, unless it is in the table already.
    fn add(&mut self, tid: u32);

    /// Removes a thread.
    fn remove(&mut self, tid: u32);
}

/// Whether any thread is still followed. Removes those that have ended.
pub fn anyone(table: &mut dyn Followed) -> bool {
    let (ended, alive): (Vec<u32>, Vec<u32>) = table.tids().into_iter().partition(|tid| gone(*tid));
    for tid in ended {
        table.remove(tid);
    }
    !alive.is_empty()
}

/// Follows the threads and children of followed threads whose births the programs have missed. Returns how many there
/// were.
pub fn adopt(table: &mut dyn Followed) -> usize {
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

/// The child processes of a thread (proc_pid_task(5)); none on a kernel without `CONFIG_PROC_CHILDREN`.
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
            assert!(self.0.insert(tid), "{tid} is in the table already");
        }

        fn remove(&mut self, tid: u32) {
            self.0.remove(&tid);
        }
    }

    #[test]
    fn a_grandchild_is_adopted_when_its_birth_and_its_parent_s_were_missed() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        let grandchild: u32 = line.trim().parse().unwrap();
        // whichever of our threads has started the child, /proc lists it under our process
        let mut table = Table(BTreeSet::from([std::process::id()]));
        let adopted = adopt(&mut table);
        assert!(table.0.contains(&child.id()) && table.0.contains(&grandchild));
        assert_eq!(adopted, table.0.len() - 1);
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
