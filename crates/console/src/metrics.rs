//! Which figure goes by which names.
//!
//! A broker's figures come under two families of names that dashboards already know: those of Prometheus' JMX exporter with its rule file for Kafka, and those of
//! kafka_exporter; a keeper's under the names of ZooKeeper's own Prometheus provider; a streaming job's under those of Spark's Prometheus servlet; the process' under Prometheus' usual ones. What none of them knows begins with `tidemill_`.
//!
//! # Layout
//! - [`jmx`]: `kafka_server_...`, `kafka_network_...`, `kafka_log_...`, `kafka_controller_...`, `kafka_coordinator_...`
//! - [`exporter`]: `kafka_topic_partition_...`, `kafka_consumergroup_...`
//! - [`keeper`]: `znode_count`, `avg_latency`, ...
//! - [`streaming`]: a job's `metrics_..._StreamingMetrics_streaming_...`
//! - [`process`]: `process_...`, `tidemill_build_info`

#[cfg(feature = "broker")]
pub mod exporter;
#[cfg(feature = "broker")]
pub mod jmx;
#[cfg(feature = "keeper")]
pub mod keeper;
pub mod process;
#[cfg(feature = "streaming")]
pub mod streaming;

use crate::board::Board;
use crate::exposition::Exposition;
use crate::readiness;

/// All metrics of the process, as Prometheus reads them.
#[must_use]
pub fn text(board: &Board) -> String {
    let mut out = Exposition::default();
    process::write(&mut out, &board.process);
    let ready = readiness::reasons(board).is_empty();
    process::write_ready(&mut out, ready);
    #[cfg(feature = "keeper")]
    if let Some(status) = board.keeper.as_ref().and_then(|place| place.monitor()?.status()) {
        keeper::write(&mut out, board, &status);
    }
    #[cfg(feature = "broker")]
    if let Some(monitor) = &board.broker {
        jmx::write_phase(&mut out, monitor);
        if let Some(figures) = monitor.figures() {
            jmx::write(&mut out, board, &figures);
            exporter::write(&mut out, &figures);
        }
    }
    out.finish()
}
