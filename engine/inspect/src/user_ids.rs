//! Changes of user ids, and what they do to capabilities (capabilities(7), "Effect of user ID changes on capabilities").

use driver_api::table::Syscall;

use super::Inspector;
use super::attributes::UNCHANGED;
use super::follow::{Call, u32_in};
use super::process::Credentials;
use super::program::Capabilities;

/// `CAP_SETUID`, as a bit.
const SETUID: u64 = 1 << 7;

/// The user ids of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UserIds {
    real: u32,
    effective: u32,
    /// None: not known.
    saved: Option<u32>,
}

impl UserIds {
    fn of(credentials: &Credentials) -> Self {
        Self {
            real: credentials.uid,
            effective: credentials.euid,
            saved: credentials.saved_uid,
        }
    }

    /// Whether one of them is root's. None: the saved one may be.
    fn has_root(self) -> Option<bool> {
        if self.real == 0 || self.effective == 0 {
            return Some(true);
        }
        self.saved.map(|saved| saved == 0)
    }
}

/// The capabilities that a thread has after its user ids have changed. None: not known.
fn capabilities_after(old: UserIds, new: UserIds, had: Capabilities) -> Option<Capabilities> {
    let mut has = had;
    let has_any = had.permitted | had.effective != 0;
    match (old.has_root(), new.has_root()) {
        (Some(true), Some(false)) => (has.permitted, has.effective) = (0, 0),
        (Some(false), _) | (_, Some(true)) => {}
        (None, _) | (_, None) if has_any => return None,
        (None, _) | (_, None) => {}
    }
    match (old.effective, new.effective) {
        (0, 0) => {}
        (0, _) => has.effective = 0,
        (_, 0) => has.effective = has.permitted,
        (_, _) => {}
    }
    Some(has)
}

/// The saved user id after setuid(2), setreuid(2) or setresuid(2). None: not known.
fn saved_after(call: &Call<'_, '_>, of: &Syscall, old: &Credentials, new: UserIds) -> Option<u32> {
    let argument = |name| {
        let (at, _) = of.param(name)?;
        call.args.get(at).map(|arg| u32_in(*arg))
    };
    match (argument("suid"), argument("ruid"), argument("euid")) {
        (Some(UNCHANGED), ..) => old.saved_uid,
        (Some(saved), ..) => Some(saved),
        (None, Some(ruid), Some(euid)) => {
            let follows = ruid != UNCHANGED || (euid != UNCHANGED && euid != old.uid);
            if follows {
                Some(new.effective)
            } else {
                old.saved_uid
            }
        }
        // setuid(2): a privileged thread changes all three
        (None, _, _) => match old.capabilities {
            Some(had) if had.effective & SETUID == 0 => old.saved_uid,
            Some(_) => Some(new.effective),
            None if new.real != old.uid => Some(new.effective),
            None => old.saved_uid.filter(|saved| *saved == new.effective),
        },
    }
}

impl Inspector {
    /// A call has set the effective user id to the one in its parameter `at`.
    pub(super) fn set_user(&mut self, call: &Call<'_, '_>, of: &Syscall, at: u8) {
        let real = call.event.header().uid;
        let Some(process) = self.processes.get_mut(call.key).filter(|_| !call.applied) else {
            return;
        };
        let id = u32_in(call.args[usize::from(at)]);
        if process.in_other_user_ns {
            // the ids are those of that namespace, whose root is another user; the event and /proc have those of the host
            let found = (self.proc_fs.as_ref())
                .and_then(|proc_fs| proc_fs.credentials(process.pid, call.tid()));
            process.change_credentials(call.tid(), |own| match found {
                Some(found) => own.read_again(found),
                None => {
                    own.capabilities = None;
                    own.saved_uid = None;
                    if id != UNCHANGED {
                        own.euid = real;
                    }
                }
            });
            return;
        }
        process.change_credentials(call.tid(), |own| {
            let old = UserIds::of(own);
            let mut new = UserIds {
                real,
                effective: if id == UNCHANGED { own.euid } else { id },
                saved: None,
            };
            new.saved = saved_after(call, of, own, new);
            let keeps_rule = !own.keeps_capabilities || old == new;
            own.capabilities = (own.capabilities.filter(|_| keeps_rule))
                .and_then(|had| capabilities_after(old, new, had));
            own.uid = new.real;
            own.euid = new.effective;
            own.saved_uid = new.saved;
        });
    }
}

#[cfg(test)]
mod tests {
    use driver_api::event::{Fact, Ids, Program};
    use zerocopy::IntoBytes as _;

    use super::super::testing::{Ev, feed, isolated};

    const ALL: u64 = 0x1ff_ffff_ffff;

    /// The effective and permitted sets of a process after these calls. `uid` is its user at the beginning.
    fn after(uid: u32, calls: &[Ev]) -> Option<(u64, u64)> {
        let program = Program {
            cap_effective: if uid == 0 { ALL } else { 0 },
            cap_permitted: if uid == 0 { ALL } else { 0 },
            inode: 1,
            ..Program::default()
        };
        let ids = Ids {
            uid,
            euid: uid,
            ..Ids::default()
        };
        let exec = Ev::exec(10, "/bin/a", &["a"], ids).fact(Fact::Program, program.as_bytes());
        let mut inspector = isolated();
        feed(&mut inspector, &[exec]);
        feed(&mut inspector, calls);
        let process = inspector.process_by_pid(10).unwrap();
        let sets = process.credentials(10).capabilities?;
        Some((sets.effective, sets.permitted))
    }

    fn call(name: &str, ids: &[i64], uid: u32) -> Ev {
        Ev::call(10, name, ids, 0).uid(uid)
    }

    #[test]
    fn a_change_to_the_same_user_or_of_a_group_changes_nothing() {
        for same in [
            call("setuid", &[0], 0),
            call("setreuid", &[0, 0], 0),
            call("setresuid", &[-1, 0, -1], 0),
            call("setresuid", &[-1, -1, -1], 0),
            call("setgid", &[5], 0),
            call("setresgid", &[5, 5, 5], 0),
        ] {
            assert_eq!(
                after(0, std::slice::from_ref(&same)),
                Some((ALL, ALL)),
                "{same:?}"
            );
        }
        assert_eq!(after(7, &[call("setuid", &[7], 7)]), Some((0, 0)));
    }

    #[test]
    fn who_leaves_root_for_ever_loses_all() {
        assert_eq!(after(0, &[call("setuid", &[7], 7)]), Some((0, 0)));
        assert_eq!(after(0, &[call("setreuid", &[7, 7], 7)]), Some((0, 0)));
        assert_eq!(after(0, &[call("setresuid", &[7, 7, 7], 7)]), Some((0, 0)));
    }

    #[test]
    fn who_can_come_back_keeps_what_is_permitted() {
        let away = || call("setresuid", &[-1, 7, -1], 0);
        assert_eq!(after(0, &[away()]), Some((0, ALL)));
        let back = call("setresuid", &[-1, 0, -1], 0);
        assert_eq!(after(0, &[away(), back]), Some((ALL, ALL)));
        // the saved id is root's
        let saved = call("setresuid", &[7, 7, 0], 7);
        assert_eq!(after(0, std::slice::from_ref(&saved)), Some((0, ALL)));
        let back = call("setresuid", &[0, 0, 0], 0);
        assert_eq!(after(0, &[saved, back]), Some((ALL, ALL)));
    }

    #[test]
    fn with_another_rule_of_the_kernel_the_sets_are_not_known() {
        let keep = Ev::call(10, "prctl", &[8, 1], 0);
        let bits = Ev::call(10, "prctl", &[28, 4], 0);
        for asked in [keep, bits] {
            assert_eq!(after(0, &[asked.clone(), call("setuid", &[7], 7)]), None);
            assert_eq!(
                after(0, &[asked, call("setuid", &[0], 0)]),
                Some((ALL, ALL))
            );
        }
    }
}
