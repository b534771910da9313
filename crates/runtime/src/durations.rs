//! How long things took, counted in buckets: what a server keeps of millions of requests so that somebody can ask for the 99th percentile.
//!
//! Always true: adding is a few relaxed additions, without a lock or an allocation; counts never decrease. Four buckets to each power of two keep a
//! quantile within an eighth of the truth, from a microsecond to some twenty minutes; what takes longer counts in the last bucket.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets to each power of two.
const STEPS: usize = 4;
/// Powers of two that are told apart: up to 2^30 microseconds, 18 minutes.
const POWERS: usize = 30;
/// Buckets in all.
const BUCKETS: usize = POWERS * STEPS;

/// Durations as they are counted.
#[derive(Debug)]
pub struct Durations {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// Durations counted up to some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurationsSnapshot {
    buckets: [u64; BUCKETS],
    sum_us: u64,
}

impl Default for Durations {
    fn default() -> Durations {
        Durations { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum_us: AtomicU64::new(0) }
    }
}

impl Default for DurationsSnapshot {
    fn default() -> DurationsSnapshot {
        DurationsSnapshot { buckets: [0; BUCKETS], sum_us: 0 }
    }
}

impl Durations {
    /// Counts one.
    pub fn add(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What was counted so far. Counters are read one by one, so what is added meanwhile may be in one and not yet in another.
    #[must_use]
    pub fn snapshot(&self) -> DurationsSnapshot {
        let mut snapshot = DurationsSnapshot { sum_us: self.sum_us.load(Ordering::Relaxed), ..Default::default() };
        for (to, from) in snapshot.buckets.iter_mut().zip(&self.buckets) {
            *to = from.load(Ordering::Relaxed);
        }
        snapshot
    }
}

impl DurationsSnapshot {
    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// What was counted after `earlier`, a snapshot of the same durations.
    #[must_use]
    pub fn since(&self, earlier: &DurationsSnapshot) -> DurationsSnapshot {
        let mut since = DurationsSnapshot { sum_us: self.sum_us.saturating_sub(earlier.sum_us), ..Default::default() };
        for ((to, now), then) in since.buckets.iter_mut().zip(&self.buckets).zip(&earlier.buckets) {
            *to = now.saturating_sub(*then);
        }
        since
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &DurationsSnapshot) {
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        for (to, from) in self.buckets.iter_mut().zip(&other.buckets) {
            *to = to.saturating_add(*from);
        }
    }

    /// The duration that the part `quantile` (0 to 1) of all did not exceed; none where nothing was counted.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = (quantile.clamp(0.0, 1.0) * count as f64).max(1.0);
        let mut below = 0;
        for (at, in_bucket) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            let upto = below + in_bucket;
            if upto as f64 >= rank {
                let (low, high) = (lower_us(at) as f64, lower_us(at + 1) as f64);
                let us = low + (high - low) * (rank - below as f64) / *in_bucket as f64;
                return Some(Duration::from_secs_f64(us / 1e6));
            }
            below = upto;
        }
        None
    }
}

/// The bucket of a duration: below four microseconds one for each, then four to each power of two.
fn bucket(us: u64) -> usize {
    if us < STEPS as u64 {
        return us as usize;
    }
    let power = us.ilog2() as usize;
    let step = (us >> (power - 2)) as usize & (STEPS - 1);
    ((power - 1) * STEPS + step).min(BUCKETS - 1)
}

/// The shortest duration of a bucket, in microseconds.
fn lower_us(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let (power, step) = (bucket / STEPS + 1, bucket % STEPS);
    ((STEPS + step) as u64) << (power - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for us in (0..5_000).chain([65_535, 65_536, 1_000_000, (1 << 30) - 1]) {
            let at = bucket(us);
            assert!(lower_us(at) <= us && us < lower_us(at + 1), "{us} us in bucket {at}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_near_the_truth() {
        let durations = Durations::default();
        for us in 1..=10_000 {
            durations.add(Duration::from_micros(us));
        }
        let counted = durations.snapshot();
        assert_eq!((counted.count(), counted.sum()), (10_000, Duration::from_micros(50_005_000)));
        for (quantile, truth_us) in [(0.5, 5_000.0), (0.95, 9_500.0), (0.99, 9_900.0), (1.0, 10_000.0)] {
            let us = counted.quantile(quantile).unwrap().as_secs_f64() * 1e6;
            assert!((us - truth_us).abs() <= truth_us / 8.0, "{quantile}: {us} us, not {truth_us}");
        }
        assert_eq!(DurationsSnapshot::default().quantile(0.5), None);
    }

    #[test]
    fn what_came_since_is_told_apart() {
        let durations = Durations::default();
        durations.add(Duration::from_millis(500));
        let earlier = durations.snapshot();
        durations.add(Duration::from_micros(3));
        let since = durations.snapshot().since(&earlier);
        assert_eq!((since.count(), since.sum()), (1, Duration::from_micros(3)));
        assert!(since.quantile(0.99).unwrap() <= Duration::from_micros(4));
        let mut both = since.clone();
        both.merge(&earlier);
        assert_eq!(both, durations.snapshot());
    }
}
