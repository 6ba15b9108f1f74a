//! Messages of sendmsg(2), recvmsg(2) and their relatives, in the parts that drivers capture.

use std::fmt::Write as _;

use driver_api::event::{Attachment, Event, Flags, Part, Status};
use driver_api::table::{Len, LenFrom, Syscall};

use super::buffer::{Bytes, is_cut, quote};
use super::control;
use super::forms::{Forms, Style, and_more, list};
use super::json::{self, Members};
use super::netlink;
use super::sockaddr::SockAddr;
use super::symbols;
use super::variant;

/// The captured parts of a `struct msghdr`.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `msg_name`.
    pub name: Option<SockAddr<'a>>,
    /// The gathered bytes of `msg_iov`.
    pub data: Option<Attachment<'a>>,
    /// `msg_control`.
    pub control: Option<Attachment<'a>>,
    /// Its control messages have 32-bit lengths.
    pub narrow: bool,
    /// Its data are messages of this protocol of netlink.
    netlink: Option<u16>,
    /// Index of its structures' layouts.
    layout: usize,
}

/// The messages of an array of `struct mmsghdr`.
#[derive(Debug, Clone, Copy)]
pub struct Messages<'a> {
    event: Event<'a>,
    register: usize,
    /// The kernel wrote them.
    received: bool,
    /// Their data are messages of this protocol of netlink.
    netlink: Option<u16>,
    /// How many messages were sent or received, or should have been if the call has failed or not returned.
    pub count: u64,
}

impl<'a> Message<'a> {
    /// The message behind a register; none if the event has no part of it. `received`: the kernel wrote the name.
    pub(super) fn of(event: &Event<'a>, register: usize, received: bool) -> Option<Self> {
        event.parts(register).next()?;
        Some(Self::at(event, register, 0, received))
    }

    /// The same, with data that are messages of a protocol of netlink.
    pub(super) fn of_netlink(self, protocol: u16) -> Self {
        let netlink = Some(protocol);
        Self { netlink, ..self }
    }

    /// Message `index` behind a register. It may have no part at all: a datagram without data, to the connected end.
    fn at(event: &Event<'a>, register: usize, index: u8, received: bool) -> Self {
        let part = |part| {
            event
                .parts(register)
                .find(|a| a.index == index && a.part == part)
        };
        let (name, data, control) = (part(Part::Name), part(Part::Data), part(Part::Control));
        Self {
            name: name.and_then(|name| {
                if received {
                    SockAddr::of_kernel(event, &name)
                } else {
                    SockAddr::parse(name.bytes)
                }
            }),
            data,
            control,
            narrow: variant::is_narrow(event),
            netlink: None,
            layout: variant::layout(event),
        }
    }
}

impl<'a> Messages<'a> {
    /// The messages behind a register; none if the event has no part of any.
    pub(super) fn of(
        event: &Event<'a>,
        call: &Syscall,
        register: usize,
        len: Len,
        received: bool,
    ) -> Option<Self> {
        event.parts(register).next()?;
        let asked = match len.from {
            LenFrom::Arg(of) => variant::raw(event, call, usize::from(of)) & 0xffff_ffff,
            LenFrom::Const(_) | LenFrom::At(_) | LenFrom::Ret => 0,
        };
        let done = u64::try_from(event.header().ret).ok();
        let done = done.filter(|_| !event.has(Flags::NO_RESULT));
        Some(Self {
            event: *event,
            register,
            received,
            netlink: None,
            count: done.unwrap_or(asked),
        })
    }

    /// The same, with data that are messages of a protocol of netlink.
    pub(super) fn of_netlink(self, protocol: u16) -> Self {
        let netlink = Some(protocol);
        Self { netlink, ..self }
    }

    /// The messages that were captured, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Message<'a>> + use<'a> {
        let (event, register, received) = (self.event, self.register, self.received);
        let netlink = self.netlink;
        let last = event.parts(register).map(|part| part.index).max();
        let captured = 0..last.map_or(0, |last| last + 1);
        captured.map(move |index| Message {
            netlink,
            ..Message::at(&event, register, index, received)
        })
    }

    /// The gathered bytes of the first one.
    pub fn data(&self) -> Option<Attachment<'a>> {
        self.iter().next()?.data
    }
}

impl Forms for Message<'_> {
    fn text(&self, out: &mut String) {
        out.push_str("{msg_name=");
        match &self.name {
            Some(name) => name.text(out),
            None => out.push_str("NULL"),
        }
        if let Some(data) = self.data {
            out.push_str(", msg_iov=");
            match self.netlink {
                Some(protocol) => {
                    let cut = is_cut(&data);
                    netlink::text(out, protocol, self.layout, data.bytes, cut);
                }
                None => {
                    quote(out, data.bytes);
                    // MSG_TRUNC: the kernel says more bytes than it has written
                    if data.status != Status::Whole {
                        out.push_str("...");
                    }
                }
            }
        }
        if let Some(control) = &self.control {
            out.push_str(", msg_control=");
            controls_text(out, control.bytes, self.narrow);
        }
        out.push('}');
    }

    fn json(&self, out: &mut String) {
        let mut inside = Members::object(out);
        let name = inside.key("name");
        match &self.name {
            Some(of) => of.json(name),
            None => name.push_str("null"),
        }
        let data = inside.key("data");
        match &self.data {
            Some(of) => json::string(data, of.bytes),
            None => data.push_str("null"),
        }
        let control = inside.key("control");
        match &self.control {
            Some(of) => controls_json(control, of.bytes, self.narrow),
            None => control.push_str("null"),
        }
        inside.end();
    }

    fn falco(&self, out: &mut String, style: Style) -> bool {
        self.data.is_some_and(|data| Bytes(data).falco(out, style))
    }
}

impl Forms for Messages<'_> {
    fn text(&self, out: &mut String) {
        let mut count = 0;
        list(out, self.iter(), |out, one| {
            count += 1;
            out.push_str("{msg_hdr=");
            one.text(out);
            let len = one.data.map_or(0, |data| data.full);
            let _ = write!(out, ", msg_len={len}}}");
        });
        if count < self.count {
            and_more(out);
        }
    }

    fn json(&self, out: &mut String) {
        let mut inside = Members::array(out);
        self.iter().for_each(|one| one.json(inside.item()));
        inside.end();
    }

    fn falco(&self, out: &mut String, style: Style) -> bool {
        self.data()
            .is_some_and(|data| Bytes(data).falco(out, style))
    }
}

fn controls_text(out: &mut String, bytes: &[u8], narrow: bool) {
    list(out, control::messages(bytes, narrow), |out, one| {
        let _ = write!(out, "{{cmsg_len={}, cmsg_level=", one.len);
        symbols::named(out, "sockopt_level", u64::from(one.level));
        out.push_str(", cmsg_type=");
        symbols::named(out, symbols::control_types(one.level), u64::from(one.kind));
        out.push_str(", cmsg_data=");
        if let Some(descriptors) = one.descriptors() {
            list(out, descriptors, |out, fd| {
                let _ = write!(out, "{fd}");
            });
        } else if let Some([pid, uid, gid]) = one.credentials() {
            let _ = write!(out, "{{pid={pid}, uid={uid}, gid={gid}}}");
        } else {
            quote(out, one.data);
        }
        out.push('}');
    });
}

fn controls_json(out: &mut String, bytes: &[u8], narrow: bool) {
    let mut all = Members::array(out);
    for one in control::messages(bytes, narrow) {
        let mut inside = Members::object(all.item());
        json::named(inside.key("level"), "sockopt_level", u64::from(one.level));
        json::named(
            inside.key("type"),
            symbols::control_types(one.level),
            u64::from(one.kind),
        );
        if let Some(descriptors) = one.descriptors() {
            let mut fds = Members::array(inside.key("fds"));
            for fd in descriptors {
                let _ = write!(fds.item(), "{fd}");
            }
            fds.end();
        } else if let Some([pid, uid, gid]) = one.credentials() {
            inside.number("pid", pid);
            inside.number("uid", uid);
            inside.number("gid", gid);
        } else {
            json::string(inside.key("data"), one.data);
        }
        inside.end();
    }
    all.end();
}
