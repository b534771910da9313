//! A plain look at a running keeper, without asking the owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::sync::watch;

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
    /// Shortest time from request to reply, in milliseconds.
    pub latency_ms_min: u64,
    /// Mean time from request to reply, in microseconds.
    pub latency_us_mean: u64,
    /// Longest time from request to reply, in milliseconds.
    pub latency_ms_max: u64,
    /// The disk of the transaction log is full: writes are refused until there is room.
    pub disk_full: bool,
}

/// A look at a keeper from outside, also after its end. Cheap to clone; it keeps nothing alive.
#[derive(Debug, Clone)]
pub struct KeeperMonitor {
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) ended: watch::Receiver<bool>,
}

impl KeeperMonitor {
    /// How it is doing, as of its last turn; none once it has ended.
    #[must_use]
    pub fn status(&self) -> Option<KeeperStatus> {
        (!*self.ended.borrow()).then(|| self.gauges.read())
    }
}

/// Where the owner leaves the numbers after each turn. They are read one by one, so a reader may see two turns at once.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    zxid: AtomicI64,
    counts: [AtomicU64; 13],
}

impl Gauges {
    pub(crate) fn set(&self, processor: &Processor, outstanding: usize) {
        self.zxid.store(processor.zxid, Ordering::Relaxed);
        let (latency_ms_min, latency_ms_mean, latency_ms_max) = processor.stats.latency_ms();
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
            (latency_ms_mean * 1000.0) as u64,
            latency_ms_min,
            latency_ms_max,
            u64::from(processor.room.full),
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
            latency_ms_min: count(10),
            latency_ms_max: count(11),
            disk_full: count(12) != 0,
        }
    }
}
