//! Which events a user asks for by name.

use driver_api::event::{Event, Flags, Kind};
use driver_api::request::SyscallSet;
use driver_api::table::{self, SYSCALLS};
use suggest::did_you_mean;

/// Names of events that are not system calls.
const START: &str = "procstart";
const EXIT: &str = "procexit";

/// Events by name: system calls, and the births and ends of processes.
#[derive(Debug, Clone)]
pub struct EventSelection {
    calls: SyscallSet,
    starts: bool,
    exits: bool,
}

/// There is no event of this name.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no event `{name}`{hint} (`lanner syscalls` lists the system calls; the others are {START} and {EXIT})"
)]
pub struct NoSuchEvent {
    name: String,
    /// What was probably meant, if anything.
    hint: String,
}

impl EventSelection {
    /// Events with these names. No names: all events.
    ///
    /// # Errors
    ///
    /// The first name that no event has.
    pub fn named(names: &[String]) -> Result<Self, NoSuchEvent> {
        if names.is_empty() {
            return Ok(Self {
                calls: SyscallSet::all(),
                starts: true,
                exits: true,
            });
        }
        let mut wanted = Self {
            calls: SyscallSet::empty(),
            starts: false,
            exits: false,
        };
        for name in names {
            match name.trim() {
                START => wanted.starts = true,
                EXIT => wanted.exits = true,
                name if table::by_name(name).is_some() => {
                    table::of_type(name).for_each(|call| wanted.calls.insert(call));
                }
                name => {
                    let known = SYSCALLS.iter().map(|call| call.name).chain([START, EXIT]);
                    return Err(NoSuchEvent {
                        name: name.to_owned(),
                        hint: did_you_mean(name, known),
                    });
                }
            }
        }
        Ok(wanted)
    }

    /// The system calls among them.
    #[must_use]
    pub fn calls(&self) -> &SyscallSet {
        &self.calls
    }

    /// Whether the event is one of them. Reports of losses always are.
    #[must_use]
    pub fn contains(&self, event: &Event<'_>) -> bool {
        if event.has(Flags::UNSELECTED) {
            return false;
        }
        match event.kind() {
            Kind::Fork => self.starts,
            Kind::Exit => self.exits,
            Kind::Exec | Kind::Lost | Kind::Signal => true,
            Kind::Syscall => {
                let call = table::of_number(event.abi(), event.header().nr);
                self.calls.contains(call)
            }
        }
    }
}
