//! Descriptors that were closed, kept with their room for those that are opened next: most calls that open a file are
//! followed by one that closes it, and so neither allocates.

use std::sync::Arc;

use super::descriptor::{Descriptor, DescriptorKind, Socket};

/// So many of a sort are kept.
const KEPT: usize = 512;
/// One with a longer name gives its room back.
const LONGEST: usize = 1024;

/// Most names have no more bytes: so much room each gets at least.
const USUAL: usize = 64;

/// Puts bytes in place of others.
fn fill(room: &mut Vec<u8>, bytes: &[u8]) {
    room.clear();
    if bytes.len() > room.capacity() {
        room.reserve_exact(bytes.len().next_power_of_two().max(USUAL));
    }
    room.extend_from_slice(bytes);
}

/// Room for descriptors.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// With room for a name.
    named: Vec<Arc<Descriptor>>,
    /// Without.
    bare: Vec<Arc<Descriptor>>,
    /// Closed with the last event, which may still be looked at.
    closed: Option<Arc<Descriptor>>,
}

impl Pool {
    /// A descriptor was closed; when the next event comes, nobody looks at it any more.
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

    /// A descriptor that nobody looks at is closed.
    pub(super) fn keep(&mut self, mut descriptor: Arc<Descriptor>) {
        let Some(inner) = Arc::get_mut(&mut descriptor) else {
            return;
        };
        let room = inner.name.capacity().max(inner.raw.capacity());
        let free = if room == 0 {
            &mut self.bare
        } else {
            &mut self.named
        };
        if free.len() < KEPT && room <= LONGEST {
            free.push(descriptor);
        }
    }

    /// A file or directory; `said` is its path as the program had it.
    pub(super) fn file(
        &mut self,
        kind: DescriptorKind,
        name: &[u8],
        said: Option<&[u8]>,
    ) -> Arc<Descriptor> {
        self.named(|descriptor| {
            descriptor.kind = kind;
            fill(&mut descriptor.name, name);
            let said = said.filter(|said| *said != name);
            fill(&mut descriptor.raw, said.unwrap_or_default());
            descriptor.socket = None;
        })
    }

    /// An internet socket.
    pub(super) fn socket(&mut self, kind: DescriptorKind, socket: Socket) -> Arc<Descriptor> {
        self.named(|descriptor| descriptor.become_socket(kind, socket))
    }

    /// Any descriptor.
    pub(super) fn place(&mut self, what: Descriptor) -> Arc<Descriptor> {
        let free = self.bare.pop().or_else(|| self.named.pop());
        filled(free, |descriptor| {
            if what.name.is_empty() && what.raw.is_empty() {
                descriptor.kind = what.kind;
                descriptor.name.clear();
                descriptor.raw.clear();
                descriptor.socket = what.socket;
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
    // nobody else has one that is free
    if let Some(inner) = Arc::get_mut(&mut descriptor) {
        fill(inner);
    }
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // a duplicate of it is still open
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
