//! What is said to someone whose job runs while ZooKeeper or its broker do not answer: that it waits, once, and once that it goes on.
//!
//! It goes to stderr and changes nothing: the consumer comes back by itself.

use std::time::Duration;

use client::zookeeper_consumer::ZookeeperConsumer;
use runtime::Clock;
use tokio::time::Instant;

use crate::notes::Notes;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// An outage shorter than this is not worth a line: a broker that is restarted, a leader that moves.
const PATIENCE: Duration = Duration::from_secs(3);

/// One of the servers, as it was seen from look to look.
#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
    told: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Tell {
    Waiting,
    Back,
}

impl Outage {
    /// What is to be told after a look that found the server answering or not.
    fn look(&mut self, answers: bool, now: Instant) -> Option<Tell> {
        if answers {
            self.since = None;
            return std::mem::take(&mut self.told).then_some(Tell::Back);
        }
        let since = *self.since.get_or_insert(now);
        if self.told || now.saturating_duration_since(since) < PATIENCE {
            return None;
        }
        self.told = true;
        Some(Tell::Waiting)
    }
}

/// Watches the servers of a consumer that reads below the ZooKeeper at `location`, until it is dropped.
pub(super) async fn note_outages(consumer: &ZookeeperConsumer, location: &str, user: &Notes) {
    let clock = Clock::real();
    let (mut zookeeper, mut broker) = (Outage::default(), Outage::default());
    loop {
        clock.sleep(LOOK).await;
        let trouble = consumer.zookeeper_trouble();
        tell(user, zookeeper.look(trouble.is_none(), clock.now()), &format!("ZooKeeper {location}"), trouble);
        // As long as no broker is registered nobody can be asked: one that never was is told of with what is missing at the start, and one
        // that is gone is back when there is a reader again.
        if let Some(reader) = consumer.reader() {
            let trouble = reader.trouble();
            tell(user, broker.look(trouble.is_none(), clock.now()), "broker", trouble);
        }
    }
}

fn tell(user: &Notes, what: Option<Tell>, server: &str, trouble: Option<String>) {
    match what {
        Some(Tell::Waiting) => {
            let why = trouble.filter(|why| !why.is_empty()).map(|why| format!(" ({why})")).unwrap_or_default();
            user.say(&format!("warn: {server} does not answer{why}; the job waits and goes on once it is back"));
        }
        Some(Tell::Back) => user.say(&format!("note: {server} answers again")),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_when_it_lasts_and_once_when_it_is_over() {
        let begun = Clock::real().now();
        let check = |looks: &[(u64, bool, Option<Tell>)]| {
            let mut outage = Outage::default();
            for (second, answers, expected) in looks {
                assert_eq!(outage.look(*answers, begun + Duration::from_secs(*second)), *expected, "{looks:?}");
            }
        };
        check(&[(0, true, None), (1, false, None), (2, false, None), (3, true, None), (5, false, None)]);
        check(&[
            (1, false, None),
            (4, false, Some(Tell::Waiting)),
            (9, false, None),
            (10, true, Some(Tell::Back)),
            (11, true, None),
            (12, false, None),
            (20, false, Some(Tell::Waiting)),
        ]);
    }
}
