//! Events that recordings have for the sake of one fact that no driver delivers: cgroups, what runtimes say about containers,
//! and the host's users and groups. Readers that do not know the fact see a call that changes nothing.

use driver_api::event::{
    Abi, Encoding, Event, EventBuilder, EventKind, Fact, Flags, Header, Part, Status,
};
use driver_api::table;

/// What such an event says.
#[derive(Debug)]
pub struct Report<'a> {
    /// The fact that it is there for.
    pub fact: Fact,
    /// What it says.
    pub text: &'a [u8],
    /// The process that it is about; 0: none.
    pub pid: u32,
    /// The id that events have for these cgroups; 0: not known.
    pub cgroup: u64,
    /// The time of the event.
    pub time_ns: u64,
}

impl Report<'_> {
    /// The event. `None`: the text is too long for one.
    pub fn event<'b>(&self, builder: &'b mut EventBuilder) -> Option<Event<'b>> {
        let number = table::by_name("getpid").and_then(|call| call.number(Abi::NATIVE));
        builder.begin(&Header {
            kind: EventKind::Syscall as u8,
            abi: Abi::NATIVE as u8,
            flags: Flags::UNSELECTED,
            nr: number?,
            tgid: self.pid,
            // a thread without a process has no state
            tid: self.pid.max(1),
            cgroup: self.cgroup,
            time_ns: self.time_ns,
            ..Header::default()
        });
        builder.attach(
            self.fact as u8,
            Part::None,
            Status::Whole,
            Encoding::Raw,
            self.text.len() as u64,
            self.text,
        );
        builder.finish().ok()
    }
}
