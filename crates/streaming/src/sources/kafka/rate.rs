//! How much a batch may read: fixed limits, and the controller that follows what past batches managed (Spark's `PIDRateEstimator`).

use crate::listener::BatchInfo;
use crate::time::Millis;

/// What limits the size of batches. The default limits nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RateLimits {
    /// `spark.streaming.kafka.maxRatePerPartition`: records per second of one partition.
    pub max_rate_per_partition: Option<u64>,
    /// `spark.streaming.backpressure.enabled`: follow what past batches managed.
    pub backpressure: Option<Pid>,
}

/// The controller's parameters, under `spark.streaming.backpressure.pid.*`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pid {
    /// Weight of the error (`proportional`).
    pub proportional: f64,
    /// Weight of the error that has accumulated as waiting batches (`integral`).
    pub integral: f64,
    /// Weight of the error's change (`derived`).
    pub derivative: f64,
    /// Lowest rate, in records per second (`minRate`).
    pub min_rate: f64,
    /// Rate before the first batch has ended, in records per second (`spark.streaming.backpressure.initialRate`).
    pub initial_rate: Option<f64>,
}

impl Default for Pid {
    fn default() -> Pid {
        Pid { proportional: 1.0, integral: 0.2, derivative: 0.0, min_rate: 100.0, initial_rate: None }
    }
}

/// Follows completed batches.
#[derive(Debug)]
pub(crate) struct RateEstimator {
    pid: Pid,
    batch: Millis,
    latest: Option<Latest>,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    time_ms: i64,
    rate: f64,
    error: f64,
}

impl RateEstimator {
    pub(crate) fn new(pid: Pid, batch: Millis) -> RateEstimator {
        RateEstimator { pid, batch, latest: None }
    }

    /// The rate for the next batches, from a completed one; `None` where it tells nothing new. The first batch only gives the rate to start
    /// from.
    pub(crate) fn on_batch(&mut self, info: &BatchInfo, records: u64) -> Option<f64> {
        let (ended, processing) = (info.processing_end_time?, info.processing_delay()?);
        self.compute(ended, records, processing, info.scheduling_delay()?)
    }

    fn compute(&mut self, time_ms: i64, records: u64, processing_ms: i64, scheduling_ms: i64) -> Option<f64> {
        if records == 0 || processing_ms <= 0 || self.latest.is_some_and(|latest| time_ms <= latest.time_ms) {
            return None;
        }
        let managed = records as f64 / processing_ms as f64 * 1000.0;
        let Some(latest) = self.latest else {
            self.latest = Some(Latest { time_ms, rate: managed, error: 0.0 });
            return None;
        };
        let since_seconds = (time_ms - latest.time_ms) as f64 / 1000.0;
        let error = latest.rate - managed;
        // Records that wait because of past errors, as a rate over one batch.
        let accumulated = scheduling_ms as f64 * managed / self.batch.get() as f64;
        let change = (error - latest.error) / since_seconds;
        let Pid { proportional, integral, derivative, min_rate, .. } = self.pid;
        let rate = (latest.rate - proportional * error - integral * accumulated - derivative * change).max(min_rate);
        self.latest = Some(Latest { time_ms, rate, error });
        Some(rate)
    }
}

/// Records that a batch may read of each partition, given how many wait in each: the controller's rate is shared by lag, and no partition
/// gets more than its own limit. `None` where nothing limits.
pub(crate) fn allowance(
    lags: &[i64],
    rate: Option<f64>,
    max_rate_per_partition: Option<u64>,
    batch: Millis,
) -> Option<Vec<i64>> {
    let seconds = batch.get() as f64 / 1000.0;
    let most = max_rate_per_partition.map(|rate| rate as f64);
    let rates: Vec<f64> = match rate.filter(|rate| *rate > 0.0) {
        None => vec![most?; lags.len()],
        Some(rate) => {
            let total: i64 = lags.iter().sum();
            let share = |lag: &i64| if total == 0 { 0.0 } else { *lag as f64 / total as f64 * rate };
            lags.iter().map(|lag| most.map_or(share(lag), |most| share(lag).min(most))).collect()
        }
    };
    // One record at least, or a partition with a small share would never be read.
    Some(rates.iter().map(|rate| ((rate * seconds) as i64).max(1)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Millis = Millis::new(1000);

    fn estimator(proportional: f64, integral: f64, derivative: f64) -> RateEstimator {
        let pid = Pid { proportional, integral, derivative, min_rate: 10.0, initial_rate: None };
        RateEstimator::new(pid, Millis::new(20))
    }

    #[test]
    fn the_first_batch_gives_the_rate_to_start_from() {
        let mut estimator = estimator(1.0, 1.0, 0.0);
        assert_eq!(estimator.compute(0, 0, 10, 0), None, "no records tell nothing");
        assert_eq!(estimator.compute(10, 10, 0, 0), None, "no time tells nothing");
        assert_eq!(estimator.compute(10, 10, 10, 0), None);
        assert_eq!(estimator.compute(10, 10, 10, 0), None, "the same time again");
        assert_eq!(estimator.compute(20, 10, 10, 0), Some(1000.0), "as fast as before");
    }

    #[test]
    fn the_rate_follows_what_batches_manage() {
        let check = |weights: (f64, f64, f64), processing: i64, scheduling: i64, expected: f64| {
            let mut estimator = estimator(weights.0, weights.1, weights.2);
            estimator.compute(1000, 1000, 1000, 0);
            let rate = estimator.compute(2000, 1000, processing, scheduling).unwrap();
            assert!((rate - expected).abs() < 1e-6, "{weights:?} {processing} {scheduling}: {rate}");
        };
        check((1.0, 0.0, 0.0), 2000, 0, 500.0);
        check((1.0, 0.0, 0.0), 500, 0, 2000.0);
        check((0.5, 0.0, 0.0), 2000, 0, 750.0);
        // Waiting batches slow it down, but never below the lowest rate.
        check((1.0, 0.2, 0.0), 1000, 40, 1000.0 - 0.2 * 2000.0);
        check((1.0, 1.0, 0.0), 1000, 1000, 10.0);
        check((0.0, 0.0, 1.0), 2000, 0, 500.0);
    }

    #[test]
    fn the_rate_is_shared_by_lag() {
        let check = |lags: &[i64], rate: Option<f64>, most: Option<u64>, expected: Option<&[i64]>| {
            assert_eq!(allowance(lags, rate, most, SECOND).as_deref(), expected, "{lags:?} {rate:?} {most:?}");
        };
        check(&[5, 5], None, None, None);
        check(&[5, 5], None, Some(100), Some(&[100, 100]));
        check(&[300, 100], Some(40.0), None, Some(&[30, 10]));
        check(&[300, 100], Some(40.0), Some(20), Some(&[20, 10]));
        check(&[1_000_000, 1], Some(40.0), None, Some(&[39, 1]));
        check(&[0, 0], Some(40.0), None, Some(&[1, 1]));
        assert_eq!(allowance(&[5], None, Some(100), Millis::new(500)), Some(vec![50]));
    }
}
