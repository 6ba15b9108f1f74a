//! Descriptors of a process that stands still while its event is inspected. Nobody told when they were closed,
//! so that what is known of them may be about a file of old; but /proc has them as the call found them.

use std::sync::Arc;

use driver_api::event::Header;

use super::Inspector;
use super::descriptor::{Descriptor, DescriptorKind};
use super::fill::{self, O_CLOEXEC};
use super::follow::fd_in;
use super::process::ProcessKey;
use super::sockets;

impl Inspector {
    /// Compares the descriptors among a call's arguments, whose bits are set, with /proc.
    pub(super) fn compare(&mut self, header: &Header, key: ProcessKey, arguments: u8) {
        for (at, argument) in header.args.into_iter().enumerate() {
            let fd = fd_in(argument);
            if arguments & (1 << at) != 0 && fd >= 0 {
                self.compare_one(header.tid, key, fd);
            }
        }
    }

    fn compare_one(&mut self, tid: u32, key: ProcessKey, fd: i32) {
        let Some(files) = self.files_of(key) else {
            return;
        };
        let Some(proc_fs) = self.proc_fs.clone() else {
            return;
        };
        let Some(link) = proc_fs.link(tid, &format!("fd/{fd}")) else {
            self.files.remove(files, fd);
            return;
        };
        let known = self.files.get(files, fd);
        if known.is_some_and(|entry| is_behind(&entry.descriptor, &link)) {
            return;
        }
        let flags = proc_fs.descriptor_flags(tid, fd);
        let descriptor = match fill::socket_inode(&link) {
            None => fill::from_link(&link, flags),
            Some(inode) => sockets::net_table(&proc_fs, tid)
                .remove(&inode)
                .unwrap_or_else(|| Descriptor::bare(DescriptorKind::Other)),
        };
        let close_on_exec = flags & O_CLOEXEC != 0;
        self.files
            .insert(files, fd, Arc::new(descriptor), close_on_exec);
    }
}

/// Whether a link of /proc may be the one to this descriptor. Sockets cannot be told apart by it.
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
        kind => fill::from_link(link, 0).kind == kind,
    }
}

fn undeleted(path: &[u8]) -> &[u8] {
    path.strip_suffix(b" (deleted)").unwrap_or(path)
}
