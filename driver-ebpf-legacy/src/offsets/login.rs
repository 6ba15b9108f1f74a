//! Finds the login id in a task_struct.

use std::path::Path;

use super::offset;
use super::peek::{is_pointer, offsets_of, u32_at, u64_at};
use super::tasks::Family;
use crate::layout::{Offsets, have};

/// Whether the kernel keeps login ids at all. Without CONFIG_AUDIT no process has any, and nothing is missing.
pub(super) fn are_kept() -> bool {
    Path::new("/proc/self/loginuid").exists()
}

/// Finds `loginuid` and `sessionid`.
pub(super) fn loginuid(off: &mut Offsets, task: &[u8], family: &Family) -> Option<()> {
    let number = |path| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u32>()
            .ok()
    };
    let ids = [
        number("/proc/self/loginuid")?,
        number("/proc/self/sessionid")?,
    ];
    let at = login_ids_at([task, &family.bytes], off.task_signal as usize, ids)?;
    off.task_loginuid = offset(at);
    off.have |= have::LOGINUID;
    Some(())
}

/// Finds the login id and the session, which follow each other, in two tasks with the same ones. They are between two
/// pointers, `audit_context` and those of `seccomp`, a little after `signal` (0: not known). Both are -1 in a process
/// without a login, and so are other numbers: the place that fits must be the only one.
fn login_ids_at(tasks: [&[u8]; 2], signal: usize, [loginuid, session]: [u32; 2]) -> Option<usize> {
    const NEAR: usize = 256;
    let fits = |bytes: &[u8], at: usize| {
        let context = u64_at(bytes, at - 8)?;
        let mode = u32_at(bytes, at + 8)?;
        let ids = u32_at(bytes, at)? == loginuid && u32_at(bytes, at + 4)? == session;
        Some(ids && (context == 0 || is_pointer(context)) && mode <= 2)
    };
    let mut found = offsets_of(tasks[0], loginuid).filter(|&at| {
        at > 8
            && at.is_multiple_of(8)
            && (signal == 0 || (signal..signal + NEAR).contains(&at))
            && tasks.iter().all(|bytes| fits(bytes, at) == Some(true))
    });
    let at = found.next()?;
    found.next().is_none().then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task_struct of zeros with numbers at some offsets.
    fn task(numbers: &[(usize, u32)]) -> Vec<u8> {
        let mut bytes = vec![0; 2048];
        for &(at, number) in numbers {
            bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }

    const NONE: [u32; 2] = [u32::MAX; 2];

    #[test]
    fn the_login_id_is_behind_a_pointer_and_not_behind_a_counter() {
        // Linux 4.19 without hung-task detection: cpuset_mem_spread_rotor and its neighbour are near, and are -1, too
        let rotors = [(1596, u32::MAX), (1600, u32::MAX)];
        let ids = [(1448, u32::MAX), (1452, u32::MAX)];
        let both = task(&[ids, rotors].concat());
        assert_eq!(login_ids_at([&both, &both], 1344, NONE), Some(1448));
        let rotors = task(&rotors);
        assert_eq!(login_ids_at([&rotors, &rotors], 1344, NONE), None);
    }

    #[test]
    fn two_places_that_fit_are_none() {
        let two = task(&[1448, 1452, 1464, 1468].map(|at| (at, u32::MAX)));
        let one = task(&[1448, 1452].map(|at| (at, u32::MAX)));
        assert_eq!(login_ids_at([&two, &two], 1344, NONE), None);
        assert_eq!(login_ids_at([&two, &one], 1344, NONE), Some(1448));
        assert_eq!(
            login_ids_at([&one, &one], 1100, NONE),
            None,
            "too far from signal"
        );
    }

    #[test]
    fn ids_of_a_login_are_found_between_their_neighbours() {
        let ids = [(1448, 1000), (1452, 7)];
        let other = task(&[ids.as_slice(), &[(1440, 1)]].concat());
        let (right, after) = (task(&ids), task(&[ids.as_slice(), &[(1456, 3)]].concat()));
        assert_eq!(login_ids_at([&right, &right], 0, [1000, 7]), Some(1448));
        assert_eq!(
            login_ids_at([&right, &other], 0, [1000, 7]),
            None,
            "no pointer before them"
        );
        assert_eq!(
            login_ids_at([&after, &after], 0, [1000, 7]),
            None,
            "no mode of seccomp behind them"
        );
    }
}
