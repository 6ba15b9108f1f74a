//! Closed descriptors, kept so that their memory can be used for the next ones. Most files that are opened are soon
//! closed, so following them allocates nothing.

use std::sync::Arc;

use super::descriptor::{Descriptor, DescriptorKind, FileId, Socket};

/// The most descriptors of each list that are kept.
const KEPT: usize = 512;
/// A descriptor with a larger buffer is not kept.
const LARGEST: usize = 1024;

/// The smallest capacity of a name's buffer. Most names are not longer.
const USUAL: usize = 64;

/// Replaces the bytes in a buffer.
fn fill(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.clear();
    if bytes.len() > buffer.capacity() {
        buffer.reserve_exact(bytes.len().next_power_of_two().max(USUAL));
    }
    buffer.extend_from_slice(bytes);
}

/// Descriptors to use again.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Those with a buffer for a name.
    named: Vec<Arc<Descriptor>>,
    /// Those without.
    bare: Vec<Arc<Descriptor>>,
    /// The descriptor that the current event closed. Rules may still look at it.
    closed: Option<Arc<Descriptor>>,
}

impl Pool {
    /// The current event closed a descriptor. It can be used again after the next event.
    pub(super) fn close(&mut self, descriptor: &Arc<Descriptor>) {
        self.closed = Some(Arc::clone(descriptor));
    }

    /// The next event has come.
    #[inline]
    pub(super) fn next(&mut self) {
        if let Some(descriptor) = self.closed.take() {
            self.keep(descriptor);
        }
    }

    /// Keeps a closed descriptor, if it has no other owner.
    pub(super) fn keep(&mut self, mut descriptor: Arc<Descriptor>) {
        let Some(inner) = Arc::get_mut(&mut descriptor) else {
            return;
        };
        let capacity = inner.name.capacity().max(inner.raw.capacity());
        let free = if capacity == 0 {
            &mut self.bare
        } else {
            &mut self.named
        };
        if free.len() < KEPT && capacity <= LARGEST {
            free.push(descriptor);
        }
    }

    /// A file or directory. `said` is the path that the program passed.
    pub(super) fn file(
        &mut self,
        kind: DescriptorKind,
        name: &[u8],
        said: Option<&[u8]>,
    ) -> Arc<Descriptor> {
        self.named(|descriptor| {
            let Descriptor {
                kind: own_kind,
                name: own_name,
                raw,
                socket,
                netlink,
                file,
                terminal,
                looked_up,
            } = descriptor;
            *own_kind = kind;
            fill(own_name, name);
            let said = said.filter(|said| *said != name);
            fill(raw, said.unwrap_or_default());
            (*socket, *netlink, *file) = (None, None, None);
            *looked_up = None;
            *terminal = None;
        })
    }

    /// A file or directory that a call opened, and what the kernel says about it.
    pub(super) fn opened(
        &mut self,
        kind: DescriptorKind,
        name: &[u8],
        said: Option<&[u8]>,
        file: Option<FileId>,
    ) -> Arc<Descriptor> {
        let mut descriptor = self.file(kind, name, said);
        // a new descriptor has no other owner
        if let Some(inner) = Arc::get_mut(&mut descriptor) {
            inner.file = file;
        }
        descriptor
    }

    /// An internet socket.
    pub(super) fn socket(&mut self, kind: DescriptorKind, socket: Socket) -> Arc<Descriptor> {
        self.named(|descriptor| descriptor.become_socket(kind, socket))
    }

    /// Any descriptor.
    pub(super) fn place(&mut self, what: Descriptor) -> Arc<Descriptor> {
        let free = self.bare.pop().or_else(|| self.named.pop());
        filled(free, |descriptor| {
            // its buffers are kept for a later name
            if what.name.is_empty() && what.raw.is_empty() {
                let mut name = std::mem::take(&mut descriptor.name);
                let mut raw = std::mem::take(&mut descriptor.raw);
                name.clear();
                raw.clear();
                *descriptor = Descriptor { name, raw, ..what };
            } else {
                *descriptor = what;
            }
        })
    }

    fn named(&mut self, fill: impl FnOnce(&mut Descriptor)) -> Arc<Descriptor> {
        let free = self.named.pop().or_else(|| self.bare.pop());
        filled(free, fill)
    }
}

fn filled(free: Option<Arc<Descriptor>>, fill: impl FnOnce(&mut Descriptor)) -> Arc<Descriptor> {
    let bare = || Arc::new(Descriptor::bare(DescriptorKind::Other));
    let mut descriptor = free.unwrap_or_else(bare);
    // a free descriptor has no other owner
    if let Some(inner) = Arc::get_mut(&mut descriptor) {
        fill(inner);
    }
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;

    type Make<'a> = dyn Fn(&mut Pool) -> Arc<Descriptor> + 'a;

    #[test]
    fn nothing_of_a_closed_descriptor_remains() {
        let netlink = Descriptor {
            netlink: Some(16),
            file: Some(FileId {
                inode: 7,
                major: 8,
                minor: 9,
            }),
            ..Descriptor::socket(DescriptorKind::Netlink, Socket::default())
        };
        for name in ["", "/a"] {
            let old = Descriptor {
                name: name.into(),
                ..netlink.clone()
            };
            let mut pool = Pool::default();
            let file = Descriptor::named(DescriptorKind::File, b"/b");
            let pipe = Descriptor::bare(DescriptorKind::Pipe);
            let inet = Descriptor::socket(DescriptorKind::Ipv4, Socket::default());
            let makes: [(&Make<'_>, &Descriptor); 5] = [
                (&|pool| pool.file(DescriptorKind::File, b"/b", None), &file),
                (&|pool| pool.place(pipe.clone()), &pipe),
                (&|pool| pool.place(file.clone()), &file),
                (&|pool| pool.place(netlink.clone()), &netlink),
                (
                    &|pool| pool.socket(DescriptorKind::Ipv4, Socket::default()),
                    &inet,
                ),
            ];
            for (make, expected) in makes {
                pool.keep(Arc::new(old.clone()));
                assert_eq!(*make(&mut pool), *expected, "after {name:?}");
            }
        }
    }

    #[test]
    fn what_is_closed_and_not_looked_at_is_used_again() {
        let mut pool = Pool::default();
        let first = pool.file(DescriptorKind::File, b"/a/long/path", Some(b"path"));
        assert_eq!(first.raw_name(), b"path");
        pool.close(&first);
        let at = Arc::as_ptr(&first);
        drop(first);
        pool.next();
        let second = pool.file(DescriptorKind::Directory, b"/b", Some(b"/b"));
        assert_eq!(Arc::as_ptr(&second), at);
        assert_eq!((&*second.name, second.raw_name()), (&b"/b"[..], &b"/b"[..]));
        // a duplicate is still open
        let duplicate = Arc::clone(&second);
        pool.close(&second);
        drop(second);
        pool.next();
        let third = pool.place(Descriptor::bare(DescriptorKind::Pipe));
        assert_ne!(Arc::as_ptr(&third), Arc::as_ptr(&duplicate));
        assert_eq!(&*duplicate.name, b"/b");
        assert_eq!(third.kind, DescriptorKind::Pipe);
    }
}
