//! Batch times. A [`Time`] is a point in milliseconds since 1970 and always a multiple of the batch interval where it names a batch.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use crate::error::StreamingError;

/// Time of a batch, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// The time of these milliseconds since 1970.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Time {
        Time(ms)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// The last multiple of `step` counted from `zero` that is not after this time.
    #[must_use]
    pub fn floor(self, step: Millis, zero: Time) -> Time {
        zero + Millis((self.0 - zero.0).div_euclid(step.0) * step.0)
    }

    /// As people read it: local `YYYY-MM-DD HH:MM:SS`, the form of PySpark's `pprint`.
    #[must_use]
    pub fn to_local(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => timestamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
            Err(_out_of_range) => self.to_string(),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// A span in whole milliseconds: Spark's `Duration`. Intervals are held in it so that multiples are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(i64);

impl Millis {
    /// This many milliseconds.
    #[must_use]
    pub const fn new(ms: i64) -> Millis {
        Millis(ms)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Whether it is a whole number of `unit`.
    #[must_use]
    pub const fn is_multiple_of(self, unit: Millis) -> bool {
        unit.0 > 0 && self.0 % unit.0 == 0
    }

    /// A span of at least one millisecond with no fraction of one.
    ///
    /// # Errors
    /// Names the span where it is neither.
    pub fn from_duration(duration: Duration) -> Result<Millis, StreamingError> {
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        if ms < 1 || ms == i64::MAX || !duration.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(StreamingError::invalid(format!(
                "a duration of {duration:?} is not a whole, positive number of milliseconds"
            )));
        }
        Ok(Millis(ms))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

impl Add<Millis> for Time {
    type Output = Time;
    fn add(self, span: Millis) -> Time {
        Time(self.0 + span.0)
    }
}

impl Sub<Millis> for Time {
    type Output = Time;
    fn sub(self, span: Millis) -> Time {
        Time(self.0 - span.0)
    }
}

impl Sub<Time> for Time {
    type Output = Millis;
    fn sub(self, earlier: Time) -> Millis {
        Millis(self.0 - earlier.0)
    }
}

impl Add for Millis {
    type Output = Millis;
    fn add(self, other: Millis) -> Millis {
        Millis(self.0 + other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_counts_from_zero_time() {
        let check = |ms: i64, step: i64, zero: i64, expected: i64| {
            assert_eq!(Time(ms).floor(Millis(step), Time(zero)), Time(expected), "{ms} by {step} from {zero}");
        };
        check(1000, 1000, 0, 1000);
        check(1999, 1000, 0, 1000);
        check(2400, 1000, 500, 1500);
        check(-1, 1000, 0, -1000);
    }

    #[test]
    fn a_fraction_of_a_millisecond_is_refused() {
        assert!(Millis::from_duration(Duration::from_micros(1500)).is_err());
        assert!(Millis::from_duration(Duration::ZERO).is_err());
        assert_eq!(Millis::from_duration(Duration::from_millis(200)).unwrap(), Millis(200));
    }
}
