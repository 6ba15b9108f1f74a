//! The threads of a process. A thread is found in a time that does not grow with their number: a program can make as many
//! as the kernel allows, and ends them in any order.

use super::hash::IdMap;
use super::process::Thread;

/// Up to this many threads are searched one by one. More have an index.
const FEW: usize = 16;

/// The threads of a process, in any order.
#[derive(Debug, Clone, Default)]
pub(super) struct ThreadList {
    all: Vec<Thread>,
    /// The place of each thread by its id. Empty: there are few threads.
    places: IdMap<u32, usize>,
}

impl ThreadList {
    /// No threads.
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Thread> {
        self.all.iter()
    }

    /// Hands out the threads to change anything but their ids.
    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Thread> {
        self.all.iter_mut()
    }

    fn place(&self, tid: u32) -> Option<usize> {
        if self.places.is_empty() {
            return self.all.iter().position(|thread| thread.tid == tid);
        }
        self.places.get(&tid).copied()
    }

    pub(super) fn get(&self, tid: u32) -> Option<&Thread> {
        self.all.get(self.place(tid)?)
    }

    pub(super) fn get_mut(&mut self, tid: u32) -> Option<&mut Thread> {
        let place = self.place(tid)?;
        self.all.get_mut(place)
    }

    /// The thread with this id, which is added if the list does not have it.
    pub(super) fn get_or_add(&mut self, tid: u32) -> &mut Thread {
        let place = self.place(tid).unwrap_or_else(|| {
            self.push(Thread::new(tid));
            self.all.len() - 1
        });
        &mut self.all[place]
    }

    /// Adds a thread. The caller knows that the list does not have one with this id.
    pub(super) fn push(&mut self, thread: Thread) {
        let place = self.all.len();
        if !self.places.is_empty() {
            self.places.insert(thread.tid, place);
        }
        self.all.push(thread);
        if self.places.is_empty() && self.all.len() > FEW {
            let places = self.all.iter().map(|thread| thread.tid).zip(0..);
            self.places.extend(places);
        }
    }

    pub(super) fn remove(&mut self, tid: u32) -> Option<Thread> {
        let place = self.place(tid)?;
        let removed = self.all.swap_remove(place);
        if self.all.len() <= FEW {
            self.places.clear();
        } else {
            self.places.remove(&tid);
            if let Some(moved) = self.all.get(place) {
                self.places.insert(moved.tid, place);
            }
        }
        Some(removed)
    }

    /// Takes out all threads. The memory is kept.
    pub(super) fn drain(&mut self) -> std::vec::Drain<'_, Thread> {
        self.places.clear();
        self.all.drain(..)
    }

    /// Gives up the memory of all but a few threads.
    pub(super) fn shrink(&mut self) {
        self.all.shrink_to(FEW);
        self.places.shrink_to(FEW);
    }
}

impl FromIterator<Thread> for ThreadList {
    fn from_iter<I: IntoIterator<Item = Thread>>(threads: I) -> Self {
        let mut list = Self::new();
        threads.into_iter().for_each(|thread| list.push(thread));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_found_in_a_list_of_any_length() {
        let mut list = ThreadList::new();
        let mut expected = Vec::new();
        // grows beyond what is searched one by one, and shrinks again, from both ends
        for tid in 1..=100 {
            list.push(Thread::new(tid));
            expected.push(tid);
        }
        for at in 0..100 {
            let gone = expected.remove(if at % 2 == 0 { 0 } else { expected.len() - 1 });
            assert_eq!(list.remove(gone).map(|thread| thread.tid), Some(gone));
            assert!(list.get(gone).is_none());
            assert!(list.remove(gone).is_none());
            for tid in &expected {
                assert_eq!(list.get(*tid).map(|thread| thread.tid), Some(*tid));
                assert_eq!(list.get_mut(*tid).map(|thread| thread.tid), Some(*tid));
            }
            assert_eq!(list.len(), expected.len());
        }
        assert!(list.is_empty());
    }

    #[test]
    fn a_list_of_many_threads_has_an_index_and_one_of_few_has_none() {
        let mut list: ThreadList = (1..=100).map(Thread::new).collect();
        assert_eq!(list.places.len(), 100);
        for tid in 1..=90 {
            list.remove(tid);
        }
        assert!(list.places.is_empty());
        list.drain();
        list.push(Thread::new(7));
        assert!(list.get(7).is_some() && list.get(99).is_none());
    }
}
