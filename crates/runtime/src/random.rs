//! Randomness: session passwords, member ids, backoff jitter, shuffled host lists.

use crate::sim_time::SimRandom;

/// Source of random values. Cheap to clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Random {
    /// The kernel's generator.
    Real,
    /// What a seed decides.
    Sim(SimRandom),
}

impl Random {
    /// The kernel's generator.
    #[must_use]
    pub fn real() -> Random {
        Random::Real
    }

    /// `N` random bytes, fit for passwords.
    ///
    /// # Panics
    /// Where the kernel has no generator: nothing that follows could be trusted.
    #[must_use]
    pub fn bytes<const N: usize>(self) -> [u8; N] {
        let mut bytes = [0; N];
        match self {
            Random::Real => getrandom::fill(&mut bytes).expect("the kernel gives random bytes"),
            Random::Sim(random) => random.fill(&mut bytes),
        }
        bytes
    }

    /// A random number.
    #[must_use]
    pub fn u64(self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// A number in `0..below`; 0 where `below` is 0.
    #[must_use]
    pub fn below(self, below: u64) -> u64 {
        if below == 0 { 0 } else { self.u64() % below }
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::real().shuffle(&mut items);
        let in_place = items.iter().enumerate().filter(|(i, item)| *i as u32 == **item).count();
        assert!(in_place < 100, "100 items all in place is no shuffle");
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<u32>>());
    }
}
