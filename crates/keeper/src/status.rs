//! A plain look at a running keeper, without asking the owner.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::processor::Processor;

/// How a keeper is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeeperStatus {
    /// Newest transaction.
    pub zxid: i64,
    /// Nodes in the tree.
    pub node_count: u64,
    /// Nodes that go with their sessions.
    pub ephemeral_count: u64,
    /// Bytes of all paths and data.
    pub data_bytes: u64,
    /// Sessions, connected or not.
    pub session_count: u64,
    /// Open connections.
    pub connection_count: u64,
    /// Watches, counted once for each connection and path.
    pub watch_count: u64,
    /// Turns that wait for the log.
    pub outstanding_count: u64,
    /// Requests received since the start.
    pub received_count: u64,
    /// Replies and events sent since the start.
    pub sent_count: u64,
    /// Mean time from request to reply, in microseconds.
    pub latency_us_mean: u64,
}

/// Where the owner leaves the numbers after each turn. They are read one by one, so a reader may see two turns at once.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    zxid: AtomicI64,
    counts: [AtomicU64; 10],
}

impl Gauges {
    pub(crate) fn set(&self, processor: &Processor, outstanding: usize) {
        self.zxid.store(processor.zxid, Ordering::Relaxed);
        let counts = [
            processor.tree.node_count() as u64,
            processor.tree.ephemeral_count() as u64,
            processor.tree.data_bytes() as u64,
            processor.sessions.len() as u64,
            processor.connections.len() as u64,
            processor.watches.count() as u64,
            outstanding as u64,
            processor.stats.received,
            processor.stats.sent,
            (processor.stats.latency_ms().1 * 1000.0) as u64,
        ];
        self.counts.iter().zip(counts).for_each(|(gauge, count)| gauge.store(count, Ordering::Relaxed));
    }

    pub(crate) fn read(&self) -> KeeperStatus {
        let count = |index: usize| self.counts[index].load(Ordering::Relaxed);
        KeeperStatus {
            zxid: self.zxid.load(Ordering::Relaxed),
            node_count: count(0),
            ephemeral_count: count(1),
            data_bytes: count(2),
            session_count: count(3),
            connection_count: count(4),
            watch_count: count(5),
            outstanding_count: count(6),
            received_count: count(7),
            sent_count: count(8),
            latency_us_mean: count(9),
        }
    }
}
