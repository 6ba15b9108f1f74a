//! The threads of running processes, from /proc/PID/task (proc_pid_task(5)).

use std::collections::BTreeSet;
use std::fs;
use std::io;

use crate::error::ThreadsError;

/// The threads that these processes have now.
///
/// # Errors
///
/// A process does not exist, or /proc cannot be read.
pub fn threads(pids: &[u32]) -> Result<BTreeSet<u32>, ThreadsError> {
    let mut threads = BTreeSet::new();
    for &pid in pids {
        let entries =
            fs::read_dir(format!("/proc/{pid}/task")).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => ThreadsError::NoProcess { pid },
                _ => ThreadsError::List { pid, source },
            })?;
        threads.extend(
            entries
                .flatten()
                .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()),
        );
    }
    Ok(threads)
}

/// Calls `follow` with every thread of these processes, until a look at /proc shows no new one.
///
/// Call it when births are already followed, so that none is missed.
///
/// # Errors
///
/// Those of [`threads`] and of `follow`.
pub fn follow_threads<E: From<ThreadsError>>(
    pids: &[u32],
    mut follow: impl FnMut(u32) -> Result<(), E>,
) -> Result<(), E> {
    let mut known = BTreeSet::new();
    loop {
        let now = threads(pids)?;
        let new: Vec<u32> = now.difference(&known).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        for tid in new {
            follow(tid)?;
            known.insert(tid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_is_followed_once() {
        let own = std::process::id();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || ended.recv());
        let mut followed = Vec::new();
        let result: Result<(), ThreadsError> = follow_threads(&[own], |tid| {
            followed.push(tid);
            Ok(())
        });
        drop(end);
        thread.join().unwrap().unwrap_err();
        result.unwrap();
        assert!(
            followed.contains(&own) && followed.len() >= 2,
            "{followed:?}"
        );
        let once: BTreeSet<u32> = followed.iter().copied().collect();
        assert_eq!(once.len(), followed.len(), "{followed:?}");
    }

    #[test]
    fn a_process_that_does_not_exist_is_named() {
        // above the most that kernel.pid_max can be, 2^22
        let error = threads(&[4_194_305]).unwrap_err();
        assert!(matches!(error, ThreadsError::NoProcess { pid: 4_194_305 }));
        assert_eq!(error.to_string(), "there is no process 4194305");
    }
}
