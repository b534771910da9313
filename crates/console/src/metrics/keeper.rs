//! The keeper, under the names of ZooKeeper's own Prometheus provider (`PrometheusMetricsProvider`), where every figure is a gauge: `srst` sets some of them back.

use keeper::KeeperStatus;

use crate::board::Board;
use crate::exposition::Exposition;

/// Writes a keeper's figures.
pub fn write(out: &mut Exposition, board: &Board, status: &KeeperStatus) {
    let uptime_ms = board.process.clock.now().saturating_duration_since(board.process.started).as_millis();
    let figures = [
        ("znode_count", "Nodes in the tree.", status.node_count as f64),
        ("ephemerals_count", "Nodes that go with their sessions.", status.ephemeral_count as f64),
        ("approximate_data_size", "Bytes of all paths and data.", status.data_bytes as f64),
        ("watch_count", "Watches, once for each connection and path.", status.watch_count as f64),
        ("global_sessions", "Sessions, connected or not.", status.session_count as f64),
        ("num_alive_connections", "Open connections.", status.connection_count as f64),
        ("outstanding_requests", "Requests that wait for the log.", status.outstanding_count as f64),
        ("packets_received", "Requests received.", status.received_count as f64),
        ("packets_sent", "Replies and events sent.", status.sent_count as f64),
        ("min_latency", "Shortest time from request to reply, in milliseconds.", status.latency_ms_min as f64),
        ("avg_latency", "Mean time from request to reply, in milliseconds.", status.latency_us_mean as f64 / 1e3),
        ("max_latency", "Longest time from request to reply, in milliseconds.", status.latency_ms_max as f64),
        ("uptime", "How long the server has been running, in milliseconds.", uptime_ms as f64),
        ("tidemill_keeper_zxid", "Newest transaction.", status.zxid as f64),
        (
            "tidemill_keeper_disk_full",
            "1 while writes are refused because the disk of the log is full.",
            f64::from(u8::from(status.disk_full)),
        ),
    ];
    for (name, help, value) in figures {
        out.gauge(name, help, value);
    }
}
