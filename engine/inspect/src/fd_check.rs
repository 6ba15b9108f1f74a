//! Compares descriptors with /proc while the driver keeps the thread of an event stopped. Closing is not captured then,
//! so the state may still have a file that was closed; but /proc has the descriptors as the call found them.
//!
//! A driver that reports calls when they are entered, and not how they end, does not say what descriptors become. So
//! they are compared as well: a number cannot get another meaning before the next event, apart from being closed.

use std::borrow::Cow;
use std::sync::Arc;

use driver_api::event::Header;

use super::Inspector;
use super::descriptor::{Descriptor, DescriptorKind, LookedUp};
use super::fd_passing::LOOKUPS_PER_S;
use super::fill::{self, O_CLOEXEC};
use super::follow::fd_in;
use super::net_table;
use super::proc_fs::ProcFs;
use super::process_table::ProcessKey;

impl Inspector {
    /// Compares the arguments that are descriptors with /proc. `arguments` has one bit for each.
    pub(super) fn compare_descriptors(&mut self, header: &Header, key: ProcessKey, arguments: u8) {
        for (at, argument) in header.args.into_iter().enumerate() {
            let fd = fd_in(argument);
            if arguments & (1 << at) != 0 && fd >= 0 {
                self.compare_descriptor(header, key, fd);
            }
        }
    }

    /// Compares one descriptor with /proc. If it is unknown or another one, it is taken from there.
    pub(super) fn compare_descriptor(&mut self, header: &Header, key: ProcessKey, fd: i32) {
        let tid = header.tid;
        let Some(files) = self.files_of(key, tid) else {
            return;
        };
        let Some(proc_fs) = self.proc_fs.clone() else {
            return;
        };
        let Some(link) = proc_fs.link(tid, &format!("fd/{fd}")) else {
            self.files.remove(files, fd);
            return;
        };
        let known = self.files.get(files, fd).map(|entry| &entry.descriptor);
        // the state has not seen which sockets were made and closed, unless the driver stops threads
        let socket = fill::socket_inode(&link).filter(|_| !self.held);
        let descriptor = match (socket, known.cloned()) {
            (Some(inode), known) => match self.socket_behind(header, fd, inode, known.as_deref()) {
                Some(socket) => socket,
                None => return,
            },
            (None, Some(known)) if is_behind(&known, &link) => return,
            (None, _) => found(&proc_fs, tid, fd, &link),
        };
        let close_on_exec = proc_fs.descriptor_flags(tid, fd) & O_CLOEXEC != 0;
        self.files
            .insert(files, fd, Arc::new(descriptor), close_on_exec);
    }

    /// The socket with this inode, behind a descriptor. None: it is the known one, and still the same.
    ///
    /// Its ends are looked up a limited number of times per second of event time. Beyond that, what /proc said before is
    /// kept unless a call that changes the ends of sockets has been entered since; a socket without that has its kind alone.
    fn socket_behind(
        &mut self,
        header: &Header,
        fd: i32,
        inode: u64,
        known: Option<&Descriptor>,
    ) -> Option<Descriptor> {
        let proc_fs = self.proc_fs.clone()?;
        let now_ns = header.time_ns;
        let known = known.and_then(|known| {
            let looked_up = known.looked_up?;
            (looked_up.inode == inode && looked_up.time_ns > self.sockets_changed_ns)
                .then_some((known, looked_up))
        });
        let is_fresh = |(known, looked_up): (&Descriptor, LookedUp)| {
            has_ends(known) && now_ns.saturating_sub(looked_up.time_ns) < FRESH_NS
        };
        if known.is_some_and(is_fresh) {
            return None;
        }
        let mut socket = if self.lookups.take(now_ns, LOOKUPS_PER_S) {
            net_table::one(&proc_fs, header.tid, fd, inode)
        } else if known.is_some() {
            return None;
        } else {
            net_table::unlisted(&proc_fs, header.tid, fd)
        };
        socket.looked_up = Some(LookedUp {
            inode,
            time_ns: now_ns,
        });
        Some(socket)
    }
}

/// How long the ends of a socket count as known, in nanoseconds of event time. A call that changes them takes effect a
/// little after its entry.
const FRESH_NS: u64 = 1_000_000_000;

/// Whether the ends of a socket are known that only another call can change.
fn has_ends(descriptor: &Descriptor) -> bool {
    match descriptor.kind {
        DescriptorKind::Netlink => descriptor.netlink.is_some(),
        DescriptorKind::Unix => !descriptor.name.is_empty(),
        _ => descriptor
            .socket
            .is_some_and(|socket| socket.remote.is_some()),
    }
}

impl Inspector {
    /// What a descriptor of a thread refers to now. The state may have a descriptor that was closed without an event, if
    /// the driver stops the thread; then /proc is asked.
    #[must_use]
    pub fn current_descriptor(
        &self,
        key: ProcessKey,
        tid: u32,
        fd: i32,
    ) -> Option<Cow<'_, Descriptor>> {
        let known = self.descriptor_of(key, tid, fd);
        let Some(proc_fs) = self.asks_proc(key, tid) else {
            return known.map(Cow::Borrowed);
        };
        let link = proc_fs.link(tid, &format!("fd/{fd}"))?;
        if let Some(known) = known.filter(|known| is_behind(known, &link)) {
            return Some(Cow::Borrowed(known));
        }
        Some(Cow::Owned(found(proc_fs, tid, fd, &link)))
    }

    /// The descriptors that a thread has open now, and their kinds; see [`current_descriptor`](Self::current_descriptor).
    #[must_use]
    pub fn current_descriptors(&self, key: ProcessKey, tid: u32) -> Vec<(i32, DescriptorKind)> {
        let known = || self.descriptors(key, tid).map(|(fd, open)| (fd, open.kind));
        let Some(proc_fs) = self.asks_proc(key, tid) else {
            return known().collect();
        };
        let kind = |fd, link: &[u8]| match self.descriptor_of(key, tid, fd) {
            Some(known) if is_behind(known, link) => known.kind,
            _ => found(proc_fs, tid, fd, link).kind,
        };
        let links = proc_fs.descriptor_links(tid, self.max_descriptors);
        links.map(|(fd, link)| (fd, kind(fd, &link))).collect()
    }

    /// /proc, if it says more about the descriptors of a thread than the state does.
    fn asks_proc(&self, key: ProcessKey, tid: u32) -> Option<&ProcFs> {
        self.files_of(key, tid)?;
        let asks = self.held || self.reports_entries;
        let proc_fs = self.proc_fs.as_ref().filter(|_| asks)?;
        proc_fs.exists(tid).then_some(proc_fs)
    }
}

/// The descriptor behind a link in `/proc/PID/fd`.
fn found(proc_fs: &ProcFs, tid: u32, fd: i32, link: &[u8]) -> Descriptor {
    match fill::socket_inode(link) {
        None => {
            let flags = proc_fs.descriptor_flags(tid, fd);
            fill::from_proc(proc_fs, tid, fd, link, flags)
        }
        Some(inode) => net_table::one(proc_fs, tid, fd, inode),
    }
}

/// Whether a link in `/proc/PID/fd` may belong to this descriptor. Links do not distinguish sockets.
fn is_behind(known: &Descriptor, link: &[u8]) -> bool {
    let socket = link.starts_with(b"socket:");
    match known.kind {
        DescriptorKind::File | DescriptorKind::Directory | DescriptorKind::Memfd => {
            undeleted(link) == undeleted(&known.name)
        }
        DescriptorKind::Ipv4
        | DescriptorKind::Ipv6
        | DescriptorKind::Unix
        | DescriptorKind::Netlink => socket,
        DescriptorKind::Other => socket || !link.starts_with(b"/"),
        kind @ (DescriptorKind::Pipe
        | DescriptorKind::Event
        | DescriptorKind::Signal
        | DescriptorKind::Epoll
        | DescriptorKind::Inotify
        | DescriptorKind::Timer
        | DescriptorKind::Bpf
        | DescriptorKind::Userfault
        | DescriptorKind::IoUring
        | DescriptorKind::Pidfd) => fill::from_link(link, 0).kind == kind,
    }
}

fn undeleted(path: &[u8]) -> &[u8] {
    path.strip_suffix(b" (deleted)").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::symlink;

    use driver_api::event::Fact;

    use super::super::testing::{Ev, feed};
    use super::super::{Inspector, Options};
    use super::*;

    /// An inspector with a /proc in which descriptor 3 of process 42 links to `leads_to`.
    fn inspector(leads_to: &str, held: bool) -> (tempfile::TempDir, Inspector) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("42/fd");
        fs::create_dir_all(&folder).unwrap();
        symlink(leads_to, folder.join("3")).unwrap();
        let inspector = Inspector::new(&Options {
            proc_root: Some(root.path().to_owned()),
            held,
            ..Options::default()
        });
        (root, inspector)
    }

    /// The name of descriptor 3 at an `fchmod`, after `/some/file` was opened as 3.
    fn name(leads_to: &str, held: bool) -> Option<String> {
        let (_root, mut inspector) = inspector(leads_to, held);
        let opened = Ev::call(42, "openat", &[-100, 1, 0, 0], 3)
            .said(1, b"/some/file")
            .fact(Fact::Path, b"/some/file");
        let seen = feed(
            &mut inspector,
            &[opened, Ev::call(42, "fchmod", &[3, 0o644], 0)],
        );
        let descriptor = inspector.descriptor(&seen)?;
        Some(String::from_utf8_lossy(&descriptor.name).into_owned())
    }

    #[test]
    fn a_number_that_means_another_file_by_now_has_that_name() {
        assert_eq!(name("/another/file", true).unwrap(), "/another/file");
        assert_eq!(name("/another/file", false).unwrap(), "/some/file");
    }

    #[test]
    fn a_file_that_was_deleted_keeps_its_name() {
        assert_eq!(name("/some/file (deleted)", true).unwrap(), "/some/file");
    }

    #[test]
    fn a_closed_descriptor_has_no_name() {
        let (_root, mut inspector) = inspector("/some/file", true);
        let opened = Ev::call(42, "openat", &[-100, 1, 0, 0], 4)
            .said(1, b"/other")
            .fact(Fact::Path, b"/other");
        let seen = feed(
            &mut inspector,
            &[opened, Ev::call(42, "fchmod", &[4, 0o644], -9)],
        );
        assert!(inspector.descriptor(&seen).is_none());
    }

    #[test]
    fn a_descriptor_that_was_closed_without_an_event_does_not_count() {
        for (held, count) in [(true, 1), (false, 2)] {
            let (_root, mut inspector) = inspector("/some/file", held);
            let open = |fd, path: &[u8]| {
                Ev::call(42, "openat", &[-100, 1, 0, 0], fd)
                    .said(1, path)
                    .fact(Fact::Path, path)
            };
            let socket = Ev::call(42, "socket", &[2, 1, 0], 4);
            let seen = feed(&mut inspector, &[open(3, b"/some/file"), socket]);
            let key = seen.process.unwrap();
            let all = inspector.current_descriptors(key, 42);
            assert_eq!(all.len(), count);
            assert!(all.contains(&(3, DescriptorKind::File)));
            let socket = inspector.current_descriptor(key, 42, 4);
            assert_eq!(socket.is_some(), !held);
            assert!(inspector.current_descriptor(key, 42, 3).is_some());
        }
    }

    #[test]
    fn descriptors_are_counted_where_calls_are_reported_when_they_are_entered() {
        let (_root, mut inspector) = inspector("/some/file", false);
        let seen = feed(
            &mut inspector,
            &[Ev::call(42, "fchmod", &[3, 0o644], 0).entered()],
        );
        let key = seen.process.unwrap();
        // opening it was not reported, and neither was closing another one
        let all = inspector.current_descriptors(key, 42);
        assert_eq!(all, [(3, DescriptorKind::File)]);
        assert!(inspector.current_descriptor(key, 42, 4).is_none());
    }

    /// What a descriptor of this process is at the last of many calls in the same second.
    fn after_many(calls: &[(&str, i64)]) -> Descriptor {
        let mut inspector = Inspector::new(&Options::default());
        let pid = std::process::id();
        let entered = |&(name, fd): &(&str, i64)| Ev::call(pid, name, &[fd], 0).entered();
        let events: Vec<Ev> = calls.iter().map(entered).collect();
        let seen = feed(&mut inspector, &events);
        inspector.descriptor(&seen).unwrap().clone()
    }

    #[test]
    fn more_messages_than_lookups_keep_the_ends_of_their_socket() {
        let (one, other) = (udp(), udp());
        let address = other.local_addr().unwrap();
        one.connect(address).unwrap();
        let many = vec![("sendto", i64::from(one.as_raw_fd())); 2 * LOOKUPS_PER_S as usize];
        let ends = after_many(&many).socket.unwrap();
        assert_eq!(ends.remote, Some(address));
        assert_eq!(ends.local, Some(one.local_addr().unwrap()));
    }

    #[test]
    fn a_socket_has_its_kind_when_no_lookup_is_left() {
        let (one, other) = (udp(), udp());
        let mut many = vec![("sendto", i64::from(one.as_raw_fd())); 2 * LOOKUPS_PER_S as usize];
        many.push(("sendto", i64::from(other.as_raw_fd())));
        let socket = after_many(&many);
        assert_eq!(socket.kind, DescriptorKind::Ipv4);
        assert_eq!(socket.socket.unwrap().local, None);
    }

    #[test]
    fn ends_that_a_call_may_have_changed_since_are_not_told() {
        let (one, other) = (udp(), udp());
        one.connect(other.local_addr().unwrap()).unwrap();
        let fd = i64::from(one.as_raw_fd());
        let mut many = vec![("sendto", fd), ("connect", fd)];
        many.resize(2 * LOOKUPS_PER_S as usize, ("connect", fd));
        many.push(("sendto", fd));
        assert_eq!(after_many(&many).socket.unwrap().remote, None);
    }

    fn udp() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn what_a_link_says_is_compared_by_kind() {
        let bare = Descriptor::bare;
        assert!(is_behind(&bare(DescriptorKind::Pipe), b"pipe:[12]"));
        assert!(!is_behind(&bare(DescriptorKind::Pipe), b"socket:[12]"));
        assert!(is_behind(&bare(DescriptorKind::Unix), b"socket:[12]"));
        assert!(!is_behind(&bare(DescriptorKind::Ipv4), b"/etc/shadow"));
        assert!(!is_behind(&bare(DescriptorKind::Other), b"/etc/shadow"));
        assert!(is_behind(
            &bare(DescriptorKind::Event),
            b"anon_inode:[eventfd]"
        ));
    }
}
