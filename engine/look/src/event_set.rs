//! Events by name and class, as strace(1) selects them with `-e trace=`.

use driver_api::event::{Event, EventKind, Flags};
use driver_api::request::SyscallSet;
use driver_api::table::{self, SYSCALLS};
use suggest::did_you_mean;

use super::class::Class;
use super::error::LookError;

/// Names of events that are not system calls.
const START: &str = "procstart";
const EXIT: &str = "procexit";

/// Words that strace takes before an `=` in `-e`, and that lanner does not have.
const QUALIFIERS: [&str; 15] = [
    "abbrev", "a", "verbose", "v", "raw", "x", "signal", "signals", "s", "status", "read", "reads",
    "write", "fault", "inject",
];

/// A set of events.
#[derive(Debug, Clone, Copy)]
pub struct EventSet {
    /// The calls.
    pub calls: SyscallSet,
    /// Calls that were taken out by name or class.
    hidden: SyscallSet,
    starts: bool,
    exits: bool,
}

impl EventSet {
    /// Every event.
    #[must_use]
    pub fn all() -> Self {
        Self {
            calls: SyscallSet::all(),
            hidden: SyscallSet::empty(),
            starts: true,
            exits: true,
        }
    }

    fn nothing() -> Self {
        Self {
            calls: SyscallSet::empty(),
            hidden: SyscallSet::empty(),
            starts: false,
            exits: false,
        }
    }

    /// Reads the values of all `-e`: `NAME,%CLASS,...`, with `trace=` or without. `!` at the beginning takes events out.
    /// Several values add up; what is taken out is never in the set. `?NAME` may be unknown. Without values, or with
    /// values that only take out, everything else is in the set.
    ///
    /// # Errors
    ///
    /// A name or class that does not exist.
    pub fn parse(values: &[String]) -> Result<Self, LookError> {
        let mut with: Option<Self> = None;
        let mut out = Self::nothing();
        for value in values {
            let mut value = value.trim();
            if let Some((word, rest)) = value.split_once('=') {
                match word {
                    "trace" | "t" => value = rest,
                    word if QUALIFIERS.contains(&word) => {
                        return Err(LookError::Qualifier {
                            word: word.to_owned(),
                        });
                    }
                    _ => {}
                }
            }
            let set = match value.strip_prefix('!') {
                Some(rest) => {
                    value = rest;
                    &mut out
                }
                None => with.get_or_insert(Self::nothing()),
            };
            for word in value.split(',') {
                set.add(word.trim())?;
            }
        }
        let with = with.unwrap_or_else(Self::all);
        Ok(Self {
            calls: with.calls.without(&out.calls),
            hidden: out.calls,
            starts: with.starts && !out.starts,
            exits: with.exits && !out.exits,
        })
    }

    fn add(&mut self, word: &str) -> Result<(), LookError> {
        let (word, may_lack) = match word.strip_prefix('?') {
            Some(rest) => (rest, true),
            None => (word, false),
        };
        if let Some(name) = word.strip_prefix('%') {
            let class = Class::by_name(name);
            if class.is_none() && may_lack {
                return Ok(());
            }
            let names = Class::ALL.map(Class::name);
            let class = class.ok_or_else(|| LookError::Class {
                name: name.to_owned(),
                hint: did_you_mean(name, names),
                classes: names.map(|name| format!("%{name}")).join(", "),
            })?;
            self.add_class(class);
            return Ok(());
        }
        // strace(1) takes the older classes without `%`, too, before calls of such a name
        if let Some(class) = Class::by_name(word).filter(|class| class.is_old()) {
            self.add_class(class);
            return Ok(());
        }
        match word {
            "all" => {
                *self = Self {
                    hidden: self.hidden,
                    ..Self::all()
                }
            }
            "none" => {}
            START => self.starts = true,
            EXIT => self.exits = true,
            name if table::by_name(name).is_some() => {
                table::of_type(name).for_each(|call| self.calls.insert(call));
            }
            _ if may_lack => {}
            name => {
                let known = SYSCALLS.iter().map(|call| call.name).chain([START, EXIT]);
                return Err(LookError::Event {
                    name: name.to_owned(),
                    hint: did_you_mean(name, known),
                    others: format!("{START} and {EXIT}"),
                });
            }
        }
        Ok(())
    }

    fn add_class(&mut self, class: Class) {
        let calls = SYSCALLS.iter().filter(|call| class.has(call));
        self.calls = self.calls.union(&calls.collect());
        // the life of a process is more than its calls
        self.starts |= class == Class::Process;
        self.exits |= class == Class::Process;
    }

    /// Only those of its events that are also of these calls, or no calls.
    #[must_use]
    pub fn within(self, calls: &SyscallSet) -> Self {
        let outside = self.calls.without(calls);
        Self {
            calls: self.calls.without(&outside),
            ..self
        }
    }

    /// Whether an event is to be shown. Programs that begin, signals and losses are shown whatever was selected, as
    /// everything after them depends on them; an exec that was taken out by name is not shown.
    #[must_use]
    pub fn shows(&self, event: &Event<'_>) -> bool {
        match event.kind() {
            EventKind::Exec => {
                let call = table::of_number(event.abi(), event.header().nr);
                !event.has(Flags::UNSELECTED) && !self.hidden.contains(call)
            }
            EventKind::Lost | EventKind::Signal => !event.has(Flags::UNSELECTED),
            EventKind::Syscall | EventKind::Fork | EventKind::Exit => self.has(event),
        }
    }

    /// Whether an event is in the set.
    #[must_use]
    pub fn has(&self, event: &Event<'_>) -> bool {
        if event.has(Flags::UNSELECTED) {
            return false;
        }
        match event.kind() {
            EventKind::Fork => self.starts,
            EventKind::Exit => self.exits,
            EventKind::Lost | EventKind::Signal => false,
            EventKind::Exec | EventKind::Syscall => {
                let call = table::of_number(event.abi(), event.header().nr);
                self.calls.contains(call)
            }
        }
    }
}
