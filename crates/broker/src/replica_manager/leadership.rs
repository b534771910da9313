//! What the leader of a partition knows of its replicas, and how far the high watermark may go.
//!
//! Plain state without I/O. Always true: the high watermark never goes back within a leadership, never passes the log end of a replica in sync, and does not rise while
//! fewer replicas are in sync than `min.insync.replicas` asks for (Kafka 3.7 `Partition.maybeIncrementLeaderHW`).

use std::collections::BTreeMap;

use protocol::types::Offset;

/// A leader's view of its partition.
#[derive(Debug, Clone)]
pub struct Leadership {
    /// This broker.
    pub id: i32,
    /// Epoch of the leadership.
    pub epoch: i32,
    /// Log end when the leadership began.
    pub epoch_start: Offset,
    /// Every replica.
    pub replicas: Vec<i32>,
    /// Replicas in sync, as the tree has it.
    pub isr: Vec<i32>,
    /// Version of the state znode.
    pub zk_version: i32,
    followers: BTreeMap<i32, Follower>,
}

/// What is known of one follower.
#[derive(Debug, Clone, Copy)]
struct Follower {
    /// Its log end, as its last fetch said; nothing before its first.
    end: Option<Offset>,
    /// When it last had everything.
    caught_up_ms: i64,
}

impl Leadership {
    /// A leadership that begins with this log end.
    #[must_use]
    pub fn new(
        id: i32,
        epoch: i32,
        epoch_start: Offset,
        replicas: &[i32],
        isr: &[i32],
        zk_version: i32,
        now_ms: i64,
    ) -> Leadership {
        let followers = replicas.iter().filter(|replica| **replica != id);
        let followers = followers.map(|replica| (*replica, Follower { end: None, caught_up_ms: now_ms })).collect();
        Leadership { id, epoch, epoch_start, replicas: replicas.to_vec(), isr: isr.to_vec(), zk_version, followers }
    }

    /// Takes over replicas and ISR of a newer state of the same epoch.
    pub fn update(&mut self, replicas: &[i32], isr: &[i32], zk_version: i32, now_ms: i64) {
        self.replicas = replicas.to_vec();
        self.isr = isr.to_vec();
        self.zk_version = zk_version;
        self.followers.retain(|replica, _| replicas.contains(replica));
        for replica in replicas.iter().filter(|replica| **replica != self.id) {
            self.followers.entry(*replica).or_insert(Follower { end: None, caught_up_ms: now_ms });
        }
    }

    /// A follower fetched from `end`: it has everything before. False for a broker that is no replica.
    pub fn follower_fetched(&mut self, replica: i32, end: Offset, log_end: Offset, now_ms: i64) -> bool {
        match self.followers.get_mut(&replica) {
            Some(follower) => {
                follower.end = Some(end);
                if end >= log_end {
                    follower.caught_up_ms = now_ms;
                }
                true
            }
            None => false,
        }
    }

    /// The high watermark after the one known, with this log end.
    #[must_use]
    pub fn high_watermark(&self, known: Offset, log_end: Offset, min_insync_replicas: i32) -> Offset {
        if self.is_under_min_isr(min_insync_replicas) {
            return known;
        }
        let in_sync = self.isr.iter().map(|replica| {
            if *replica == self.id {
                log_end
            } else {
                self.followers.get(replica).and_then(|follower| follower.end).unwrap_or(known)
            }
        });
        in_sync.min().unwrap_or(known).max(known)
    }

    /// Whether acks=all must be refused: a topic cannot ask for more replicas in sync than it has (`Partition.effectiveMinIsr`).
    #[must_use]
    pub fn is_under_min_isr(&self, min_insync_replicas: i32) -> bool {
        let needed = usize::try_from(min_insync_replicas).unwrap_or_default().min(self.replicas.len());
        self.isr.len() < needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leadership(replicas: &[i32], isr: &[i32]) -> Leadership {
        Leadership::new(1, 0, Offset(0), replicas, isr, 0, 0)
    }

    #[test]
    fn the_high_watermark_is_the_least_log_end_in_sync() {
        let mut alone = leadership(&[1], &[1]);
        assert_eq!(alone.high_watermark(Offset(3), Offset(10), 1), Offset(10));
        assert_eq!(alone.high_watermark(Offset(3), Offset(10), 2), Offset(10), "one replica cannot be asked for two");
        alone.update(&[1, 2], &[1], 1, 0);
        assert_eq!(alone.high_watermark(Offset(3), Offset(10), 2), Offset(3), "under min.insync.replicas");
        let mut pair = leadership(&[1, 2], &[1, 2]);
        assert_eq!(pair.high_watermark(Offset(3), Offset(10), 1), Offset(3), "the follower has not fetched yet");
        assert!(pair.follower_fetched(2, Offset(7), Offset(10), 5));
        assert_eq!(pair.high_watermark(Offset(3), Offset(10), 1), Offset(7));
        assert_eq!(pair.high_watermark(Offset(8), Offset(10), 1), Offset(8), "it never goes back");
        assert!(!pair.follower_fetched(9, Offset(7), Offset(10), 5));
    }
}
