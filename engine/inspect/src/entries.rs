//! Calls that are reported when they are entered, while no event says how they end (ptrace's notify mode). The thread waits
//! at the entry, so /proc has its state of that moment. What a call may change is asked for at the next event.

use driver_api::event::Header;

use super::effects::{Effect, OpenFlags};
use super::follow::{Call, MSG_FASTOPEN, O_ACCMODE, fd_in, flags_of_open};
use super::process_table::ProcessKey;
use super::{Inspector, Seen};

const CLONE_NEWUSER: u64 = 0x1000_0000;

impl Inspector {
    /// A thread enters a call. Takes from /proc what earlier calls may have changed.
    pub(super) fn take_entry(&mut self, header: &Header, key: ProcessKey) {
        let Some(proc_fs) = self.proc_fs.clone() else {
            return;
        };
        let cwd = proc_fs.link(header.tid, "cwd").unwrap_or_default();
        let cwd = cwd.strip_suffix(b" (deleted)").unwrap_or(&cwd);
        let process = self.processes.get(key);
        if process.is_some_and(|process| self.cwd(process, header.tid) != cwd) {
            self.set_cwd(key, header.tid, cwd);
        }
        if let Some(process) = self.processes.get_mut(key)
            && process.groups_stale
            && let Some((pgid, sid)) = proc_fs.groups(header.tgid)
        {
            process.groups_stale = false;
            (process.pgid, process.sid) = (pgid, sid);
            process.vpgid = None;
        }
    }

    /// A call is entered, and no event will report its result. Forgets what the call may make wrong: no value is better
    /// than a former one.
    pub(super) fn forget(&mut self, effect: Effect, call: &Call<'_, '_>, seen: &mut Seen) {
        let changed = match effect {
            Effect::DupTo(_) if call.fd(0) != call.fd(1) => call.args[1],
            Effect::Close => call.args[0],
            Effect::Connect | Effect::Bind | Effect::Listen => {
                self.sockets_changed_ns = call.event.header().time_ns;
                call.args[0]
            }
            Effect::Send { flags, .. } if call.args[usize::from(flags)] & MSG_FASTOPEN != 0 => {
                self.sockets_changed_ns = call.event.header().time_ns;
                call.args[0]
            }
            Effect::Open { path, dirfd, flags } => {
                return self.enter_open(call, path, dirfd, flags);
            }
            Effect::SetUid(_) | Effect::SetGid(_) | Effect::Capset => {
                return self.forget_credentials(call);
            }
            Effect::Namespaces { flags, joins } => {
                let flags = call.int(flags.into());
                if flags & CLONE_NEWUSER != 0 || joins {
                    self.forget_credentials(call);
                }
                return;
            }
            Effect::SetSid | Effect::SetPgid => return self.forget_groups(call, effect),
            Effect::Chdir | Effect::Fchdir => {
                // otherwise the next event takes it from there
                if self.proc_fs.is_none() {
                    self.set_cwd(call.key, call.tid(), &[]);
                }
                return;
            }
            Effect::DupTo(_)
            | Effect::Send { .. }
            | Effect::None
            | Effect::Anonymous(..)
            | Effect::Memfd
            | Effect::CloseRange
            | Effect::Dup
            | Effect::Fcntl
            | Effect::Pipe(_)
            | Effect::Socketpair
            | Effect::Socket
            | Effect::Accept(_)
            | Effect::ReceiveFrom(_)
            | Effect::Prctl
            | Effect::Root
            | Effect::Bpf
            | Effect::Pidfd
            | Effect::PidfdGetfd
            | Effect::Receive
            | Effect::Ioctl => return,
        };
        if let Some(files) = self.files_of(call.key, call.tid())
            && let Some(entry) = self.files.remove(files, fd_in(changed))
            && !matches!(effect, Effect::DupTo(_))
        {
            seen.kept.get_or_insert(entry.descriptor);
        }
    }

    /// A file is about to be opened. It may be one by which threads can be renamed.
    fn enter_open(
        &mut self,
        call: &Call<'_, '_>,
        path_at: Option<u8>,
        dirfd: Option<u8>,
        flags: OpenFlags,
    ) {
        let writes = flags_of_open(call.event, flags).is_some_and(|flags| flags & O_ACCMODE != 0);
        let said = path_at.and_then(|at| call.text(at.into()));
        if let Some(said) = said.filter(|_| writes) {
            let mut name = std::mem::take(&mut self.scratch);
            name.clear();
            self.resolve_path(call, dirfd, &said, &mut name);
            self.open_comm(call, &name);
            self.open_login(call, &name);
            self.scratch = name;
        }
    }

    fn forget_credentials(&mut self, call: &Call<'_, '_>) {
        if let Some(process) = self.processes.get_mut(call.key) {
            process.change_credentials(call.tid(), |own| own.stale = true);
        }
    }

    fn forget_groups(&mut self, call: &Call<'_, '_>, effect: Effect) {
        let target = match effect {
            Effect::SetPgid => self.process_as_named(call.key, call.args[0]),
            _ => Some(call.key),
        };
        if let Some(process) = target.and_then(|target| self.processes.get_mut(target)) {
            process.groups_stale = true;
        }
    }
}
