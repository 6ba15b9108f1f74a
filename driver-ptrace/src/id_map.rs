//! Maps by process or thread id.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use libc::pid_t;

/// A map by id. It is looked up many times for each stop.
pub(crate) type IdMap<T> = HashMap<pid_t, T, BuildHasherDefault<IdHasher>>;

/// Hashes ids fast. The kernel gives them out one after another, so that no program can choose ids that collide.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing: the map takes its bits from both ends
        self.0 = (self.0 ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(20);
    }

    fn write_i32(&mut self, id: i32) {
        self.write_u64(u64::from(id.cast_unsigned()));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
