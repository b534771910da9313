//! What people see of a broker that loads its logs: a bar on a terminal, a line with counts now and then in a log. Nothing where it is done in a moment.

use std::sync::Arc;
use std::time::Duration;

use broker::{Monitor, Phase};
use indicatif::{ProgressBar, ProgressStyle};
use runtime::Clock;
use runtime::clock::Instant;

use super::logging::{self, Log};

/// A start that loads its logs within this time shows nothing.
const PATIENCE: Duration = Duration::from_millis(400);
/// How often the bar moves.
const LOOK: Duration = Duration::from_millis(100);
/// How often a line is written.
const LINE: Duration = Duration::from_secs(5);

/// Shows how far the broker is until `start` is done.
pub async fn shown<T>(log: &Arc<Log>, monitor: &Monitor, start: impl Future<Output = T>) -> T {
    let mut start = std::pin::pin!(start);
    let clock = Clock::real();
    let mut shown = Shown { bar: None, next_line: clock.now() + PATIENCE };
    let mut next_look = clock.now() + PATIENCE;
    loop {
        tokio::select! {
            biased;
            done = &mut start => {
                shown.end();
                return done;
            }
            () = clock.sleep_until(next_look) => {}
        }
        next_look = clock.now() + LOOK;
        match monitor.phase() {
            Phase::Recovery if log.is_for_terminal() => shown.draw(monitor),
            Phase::Recovery => shown.write(monitor, clock.now()),
            _ => shown.end(),
        }
    }
}

struct Shown {
    bar: Option<ProgressBar>,
    next_line: Instant,
}

impl Shown {
    fn draw(&mut self, monitor: &Monitor) {
        let recovered = monitor.recovered();
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(recovered.logs as u64);
            let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos} of {len} logs, {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            logging::set_bar(Some(bar.clone()));
            bar
        });
        bar.set_length(recovered.logs as u64);
        bar.set_message(match recovered.unclean {
            true => format!("recovering after an unclean shutdown, {} MiB checked", recovered.bytes_checked >> 20),
            false => "loading logs".to_owned(),
        });
        bar.set_position(recovered.logs_loaded as u64);
    }

    fn write(&mut self, monitor: &Monitor, now: Instant) {
        if now < self.next_line {
            return;
        }
        self.next_line = now + LINE;
        let recovered = monitor.recovered();
        let what = if recovered.unclean { "recovering logs after an unclean shutdown" } else { "loading logs" };
        // Whoever waits for the server wants to know, whatever the levels are.
        logging::announce(&format!("{what}: {} of {} done", recovered.logs_loaded, recovered.logs));
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            logging::set_bar(None);
            bar.finish_and_clear();
        }
    }
}

impl Drop for Shown {
    /// The start may be given up by a signal.
    fn drop(&mut self) {
        self.end();
    }
}
