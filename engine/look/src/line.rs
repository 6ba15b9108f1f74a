//! Events as lines: who, when, and the event as strace(1) writes it.

use std::fmt::Write as _;

use decode::text::Around;
use driver_api::event::{Event, EventKind};
use fields::{escape, time};
use inspect::{AT_FDCWD, Descriptor, DescriptorKind, Inspector, Seen};

/// How lines look.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineOptions {
    /// When the event happened.
    pub stamp: Stamp,
    /// How long after the line before it happened.
    pub relative: bool,
    /// Paths and addresses behind descriptors.
    pub behind: bool,
    /// No lines about ends of threads.
    pub without_ends: bool,
    /// How long calls took, behind their results.
    pub took: bool,
}

/// How the time of an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stamp {
    /// Not at all.
    #[default]
    None,
    /// `HH:MM:SS`, local time.
    Seconds,
    /// `HH:MM:SS.uuuuuu`, local time.
    Micros,
    /// Seconds since the epoch, with microseconds.
    Epoch,
}

/// Writes lines.
#[derive(Debug)]
pub(crate) struct Lines {
    options: LineOptions,
    /// Whether data of netlink sockets are shown as messages.
    messages: bool,
    /// When the event of the last line happened, in nanoseconds since the epoch.
    last_ns: Option<u64>,
}

impl Lines {
    pub(crate) fn new(options: LineOptions, messages: bool) -> Self {
        Self {
            options,
            messages,
            last_ns: None,
        }
    }

    pub(crate) fn append(
        &mut self,
        out: &mut String,
        event: &Event<'_>,
        seen: &Seen,
        inspector: &Inspector,
    ) {
        if self.options.without_ends && event.kind() == EventKind::Exit {
            return;
        }
        let process = seen.process.and_then(|key| inspector.process(key));
        let name = process.map_or(&[][..], |process| process.thread_name(seen.tid));
        let header = event.header();
        let _ = write!(
            out,
            "{}/{} {}\t",
            header.tgid,
            header.tid,
            name.escape_ascii()
        );
        let ns = seen.time_ns;
        if self.options.relative {
            let since = ns.saturating_sub(self.last_ns.unwrap_or(ns));
            self.last_ns = Some(ns);
            let _ = write!(
                out,
                "{:>6}.{:06} ",
                since / 1_000_000_000,
                since / 1000 % 1_000_000
            );
        }
        let micros = ns / 1000 % 1_000_000;
        match self.options.stamp {
            Stamp::None => {}
            Stamp::Seconds => {
                time::clock_s(out, ns);
                out.push(' ');
            }
            Stamp::Micros => {
                time::clock_s(out, ns);
                let _ = write!(out, ".{micros:06} ");
            }
            Stamp::Epoch => {
                let _ = write!(out, "{}.{micros:06} ", ns / 1_000_000_000);
            }
        }
        let shows_behind = self.options.behind;
        let behind = &mut |out: &mut String, fd| {
            if shows_behind {
                behind(out, fd, seen, inspector);
            }
        };
        let descriptor = self.messages.then(|| inspector.descriptor(seen)).flatten();
        let netlink = descriptor.and_then(|of| of.netlink);
        decode::text::line_with(out, event, &mut Around { behind, netlink });
        if self.options.took
            && let Some(took) = event.took_ns()
        {
            let _ = write!(
                out,
                " <{}.{:06}>",
                took / 1_000_000_000,
                took / 1000 % 1_000_000
            );
        }
        out.push('\n');
    }
}

/// Appends what a descriptor refers to, in `<>`; nothing if that is not known.
fn behind(out: &mut String, fd: i32, seen: &Seen, inspector: &Inspector) {
    let Some(key) = seen.process else { return };
    if fd == AT_FDCWD {
        let process = inspector.process(key);
        let path = process.map_or(&[][..], |process| inspector.cwd(process, seen.tid));
        if !path.is_empty() {
            out.push('<');
            plain(out, path);
            out.push('>');
        }
        return;
    }
    let of_event = (seen.fd == Some(fd))
        .then(|| inspector.descriptor(seen))
        .flatten();
    let Some(descriptor) = of_event.or_else(|| inspector.descriptor_of(key, seen.tid, fd)) else {
        return;
    };
    out.push('<');
    match prefix(descriptor) {
        Some(prefix) if descriptor.name.is_empty() => out.push_str(prefix),
        Some(prefix) => {
            let _ = write!(out, "{prefix}:[");
            plain(out, &descriptor.name);
            out.push(']');
        }
        None if descriptor.name.is_empty() => {
            let _ = write!(out, "[{}]", descriptor.kind.name());
        }
        None => plain(out, &descriptor.name),
    }
    out.push('>');
}

/// What comes before the name of a socket.
fn prefix(descriptor: &Descriptor) -> Option<&'static str> {
    match descriptor.kind {
        DescriptorKind::Ipv4 | DescriptorKind::Ipv6 => {
            let protocol = descriptor
                .socket
                .map_or(0, |socket| i32::from(socket.protocol));
            let six = descriptor.kind == DescriptorKind::Ipv6;
            Some(match (protocol, six) {
                (libc::IPPROTO_TCP, false) => "TCP",
                (libc::IPPROTO_TCP, true) => "TCPv6",
                (libc::IPPROTO_UDP, false) => "UDP",
                (libc::IPPROTO_UDP, true) => "UDPv6",
                (_, false) => "INET",
                (_, true) => "INET6",
            })
        }
        DescriptorKind::Unix => Some("UNIX"),
        DescriptorKind::Netlink => Some("NETLINK"),
        DescriptorKind::File
        | DescriptorKind::Directory
        | DescriptorKind::Pipe
        | DescriptorKind::Event
        | DescriptorKind::Signal
        | DescriptorKind::Epoll
        | DescriptorKind::Inotify
        | DescriptorKind::Timer
        | DescriptorKind::Memfd
        | DescriptorKind::Bpf
        | DescriptorKind::Userfault
        | DescriptorKind::IoUring
        | DescriptorKind::Pidfd
        | DescriptorKind::Other => None,
    }
}

/// Appends a name without control characters and without `<` and `>`, which a program could put into it to deceive.
fn plain(out: &mut String, name: &[u8]) {
    for part in name.split_inclusive(|byte| matches!(byte, b'<' | b'>')) {
        match part.split_last() {
            Some((byte @ (b'<' | b'>'), before)) => {
                escape(out, before);
                let _ = write!(out, "\\x{byte:02x}");
            }
            _ => escape(out, part),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_cannot_pretend_to_end() {
        let mut out = String::new();
        super::plain(&mut out, b"/tmp/a> = 0</etc\n");
        assert_eq!(out, "/tmp/a\\x3e = 0\\x3c/etc\\x0a");
    }
}
