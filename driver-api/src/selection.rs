//! Which calls are captured, and which of their events.

use crate::event::{Event, EventKind};
use crate::plan::in_the_kernel;
use crate::predicate::{Made, Predicate};
use crate::request::SyscallSet;
use crate::table::{self, Syscall};

/// A set of calls, each with the [`Predicate`] that its events fulfil.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    calls: SyscallSet,
    /// The calls whose events are not always wanted, by their indices, in ascending order.
    predicates: Vec<(usize, Predicate)>,
    /// Events say how long their calls took.
    times: bool,
}

impl From<SyscallSet> for Selection {
    /// All events of these calls.
    fn from(calls: SyscallSet) -> Self {
        Self {
            calls,
            predicates: Vec::new(),
            times: false,
        }
    }
}

impl Selection {
    /// The calls.
    #[must_use]
    pub fn calls(&self) -> &SyscallSet {
        &self.calls
    }

    /// Whether events say how long their calls took (contract, clause 24). Without [`with_times`](Self::with_times), they do
    /// not.
    #[must_use]
    pub fn times(&self) -> bool {
        self.times
    }

    /// The selection, whose events say how long their calls took, or do not.
    #[must_use]
    pub fn with_times(self, times: bool) -> Self {
        Self { times, ..self }
    }

    /// Whether a call is selected.
    #[must_use]
    pub fn contains(&self, call: &Syscall) -> bool {
        self.calls.contains(call)
    }

    /// Adds events of a call to those that are selected.
    pub fn add(&mut self, call: &'static Syscall, predicate: &Predicate) {
        let before = self.contains(call).then(|| self.predicate(call));
        self.calls.insert(call);
        self.set(
            call,
            before.map_or(*predicate, |before| before.or(predicate, call)),
        );
    }

    fn set(&mut self, call: &Syscall, predicate: Predicate) {
        let index = call.index();
        match self.predicates.binary_search_by_key(&index, |(at, _)| *at) {
            Ok(at) if predicate.is_always() => drop(self.predicates.remove(at)),
            Ok(at) => self.predicates[at].1 = predicate,
            Err(_) if predicate.is_always() => {}
            Err(at) => self.predicates.insert(at, (index, predicate)),
        }
    }

    /// What must hold for an event of a selected call.
    #[must_use]
    pub fn predicate(&self, call: &Syscall) -> Predicate {
        self.predicates
            .binary_search_by_key(&call.index(), |(at, _)| *at)
            .map_or(Predicate::ALWAYS, |at| self.predicates[at].1)
    }

    /// The selected calls whose events are not always wanted.
    pub fn predicates(&self) -> impl Iterator<Item = (&'static Syscall, &Predicate)> {
        let found = self.predicates.iter();
        found.filter_map(|(at, predicate)| Some((table::SYSCALLS.get(*at)?, predicate)))
    }

    /// All events of these calls, with times if this selection has them.
    fn all_of(&self, calls: SyscallSet) -> Self {
        Self::from(calls).with_times(self.times)
    }

    /// The events of both selections, with times if one of them has them.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.all_of(self.calls.union(&other.calls));
        all.times |= other.times;
        let limited = self.predicates().chain(other.predicates());
        for (call, predicate) in limited {
            let of = |one: &Self| one.contains(call).then(|| one.predicate(call));
            let both = match (of(self), of(other)) {
                (Some(one), Some(two)) => one.or(&two, call),
                (Some(_), None) | (None, Some(_)) | (None, None) => *predicate,
            };
            all.set(call, both);
        }
        all
    }

    /// The selection without these calls.
    #[must_use]
    pub fn without(&self, calls: &SyscallSet) -> Self {
        let kept = self.calls.without(calls);
        let mut all = self.all_of(kept);
        for (call, predicate) in self.predicates().filter(|(call, _)| kept.contains(call)) {
            all.set(call, *predicate);
        }
        all
    }

    /// The selection, and all events of these calls.
    #[must_use]
    pub fn with_all_of(&self, calls: &SyscallSet) -> Self {
        let mut all = self.without(calls);
        all.calls = all.calls.union(calls);
        all
    }

    /// The selection, and the calls through which programs make selected calls: a driver captures these to see those.
    /// They have no predicates of their own.
    #[must_use]
    pub fn with_multiplexers(&self) -> Self {
        Self {
            calls: self.calls.with_multiplexers(),
            predicates: self.predicates.clone(),
            times: self.times,
        }
    }

    /// What of it can be tested before calls are made ([`Predicate::at_entry`]).
    #[must_use]
    pub fn at_entry(&self) -> Self {
        let mut all = self.all_of(self.calls);
        for (call, predicate) in self.predicates() {
            all.set(call, predicate.at_entry(call));
        }
        all
    }

    /// Whether all events of the other selection are in this one, as far as it can be seen from the predicates. If not,
    /// they may be all the same.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let both = self.union(other);
        both.calls == self.calls && both.predicates == self.predicates
    }

    /// Whether a call that was made is selected, as far as it is known: before it has returned, whether it may be.
    #[must_use]
    pub fn wants(&self, call: &Syscall, made: &Made<'_>) -> bool {
        self.contains(call) && self.predicate(call).holds(call, made)
    }

    /// Whether an event of a selected call fulfils the call's predicate. Other events do.
    #[must_use]
    pub fn allows(&self, event: &Event<'_>) -> bool {
        if self.predicates.is_empty() || event.kind() != EventKind::Syscall {
            return true;
        }
        let call = table::of_number(event.abi(), event.header().nr);
        self.predicate(call).holds_for(call, event)
    }

    /// Whether the plans let through events that no predicate wants, because they may be the end of an interrupted call. The
    /// reader of the events leaves them out.
    #[must_use]
    pub fn is_for_the_reader(&self) -> bool {
        let mut clauses = self
            .predicates
            .iter()
            .flat_map(|(_, predicate)| predicate.clauses());
        clauses.any(|clause| !clause.outcome.covers(in_the_kernel(clause.outcome)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predicate::{Clause, Outcome};

    #[test]
    fn selections_are_united_call_by_call() {
        let call = |name: &str| table::by_name(name).unwrap();
        let of = |name: &str, outcome| {
            let mut selection = Selection::default();
            let clauses = [Clause::of(outcome)];
            let predicate = Predicate::of(call(name), &clauses).unwrap();
            selection.add(call(name), &predicate);
            selection
        };
        let ok = of("openat", Outcome::OK);
        let failed = of("openat", Outcome::FAILED);
        let close = of("close", Outcome::OK);
        let both = ok.union(&close);
        assert_eq!(both.predicates().count(), 2);
        assert_eq!(both, close.union(&ok));
        assert!(ok.union(&failed).predicate(call("openat")).is_always());
        assert!(failed.is_for_the_reader() && !both.is_for_the_reader());
        let refused = of("openat", Outcome::REFUSED);
        assert!(!ok.union(&refused).is_for_the_reader());
        let all = Selection::from([call("openat")].into_iter().collect::<SyscallSet>());
        assert_eq!(ok.union(&all), all);
        assert_eq!(both.with_all_of(all.calls()).predicates().count(), 1);
        assert_eq!(both.without(all.calls()), close);
        let times = both.clone().with_times(true);
        for changed in [
            times.without(all.calls()),
            times.with_all_of(all.calls()),
            times.with_multiplexers(),
            times.at_entry(),
            close.union(&times),
        ] {
            assert!(changed.times(), "{changed:?}");
        }
        assert!(both.covers(&times) && both != times);
        let mut added = ok.clone();
        added.add(call("openat"), &Predicate::ALWAYS);
        assert_eq!(added, all);
    }
}
