//! Chance, as a seed decides it.

use std::time::Duration;

use runtime::sim_disk::Seeded;

/// The numbers of a seed.
#[derive(Debug, Clone)]
pub struct Chance(Seeded);

impl Chance {
    /// From the first number of a seed on.
    #[must_use]
    pub fn new(seed: u64) -> Chance {
        Chance(Seeded::new(seed))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    /// A number from `start` to `end`, both included.
    pub fn between(&mut self, start: u64, end: u64) -> u64 {
        start + self.below(end - start + 1)
    }

    /// One of these.
    ///
    /// # Panics
    /// When there are none.
    pub fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// True so many times in a thousand.
    pub fn permille(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// A time between two numbers of milliseconds.
    pub fn ms(&mut self, start: u64, end: u64) -> Duration {
        Duration::from_micros(self.between(start * 1000, end * 1000))
    }

    /// The whole next number.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}
