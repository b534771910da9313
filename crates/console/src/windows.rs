//! Quantiles of the last minute or two, out of counts that only rise: what was counted when the window began is remembered and taken off.

use std::collections::HashMap;
use std::time::Duration;

use runtime::DurationsSnapshot;
use runtime::clock::Instant;

/// A window begins anew after so long; quantiles are of one to two of them.
const WINDOW: Duration = Duration::from_secs(60);
/// Durations told apart: the APIs and a few more.
const KEYS_MAX: usize = 256;

/// What was counted when the windows began.
#[derive(Debug, Default)]
pub struct Windows(HashMap<String, Window>);

#[derive(Debug)]
struct Window {
    /// What is taken off.
    begin: DurationsSnapshot,
    /// What will be taken off after the next turn.
    next: DurationsSnapshot,
    next_at: Instant,
}

impl Windows {
    /// What was counted in the last minute or two under this key, of which `counted` is everything so far. The first time that is everything.
    pub fn recent(&mut self, key: &str, counted: &DurationsSnapshot, now: Instant) -> DurationsSnapshot {
        if !self.0.contains_key(key) && self.0.len() < KEYS_MAX {
            let nothing = DurationsSnapshot::default();
            self.0.insert(key.to_owned(), Window { begin: nothing.clone(), next: nothing, next_at: now });
        }
        let Some(window) = self.0.get_mut(key) else { return counted.clone() };
        if now.saturating_duration_since(window.next_at) >= WINDOW {
            window.begin = std::mem::replace(&mut window.next, counted.clone());
            window.next_at = now;
        }
        counted.since(&window.begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::{Clock, Durations};

    #[test]
    fn what_is_older_than_two_windows_is_forgotten() {
        let (mut windows, durations, start) = (Windows::default(), Durations::default(), Clock::real().now());
        let mut recent = |added_ms: u64, at_s: u64| {
            durations.add(Duration::from_millis(added_ms));
            windows.recent("Produce", &durations.snapshot(), start + Duration::from_secs(at_s)).count()
        };
        assert_eq!(recent(1, 0), 1, "the first look sees everything");
        assert_eq!(recent(1, 59), 2);
        assert_eq!(recent(1, 60), 3, "a window is over, the one before it still counts");
        assert_eq!(recent(1, 119), 4);
        assert_eq!(recent(1, 120), 2, "what came before second 60 is forgotten");
        assert_eq!(recent(1, 500), 1, "after a long silence: what came since the last look");
    }
}
