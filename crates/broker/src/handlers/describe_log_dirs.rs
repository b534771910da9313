//! DescribeLogDirs: what lies in each log directory (KIP-113).

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use protocol::types::TopicPartition;
use protocol::wire::Str;
use storage::LogDirDescription;

use super::RequestContext;
use crate::state::BrokerState;

/// Looks at the directories, on the pool for calls that block.
pub async fn handle(
    broker: Arc<BrokerState>,
    _context: RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let logs = broker.replicas.logs().clone();
    let Ok(described) = runtime::spawn_blocking(move || logs.describe()).await else {
        return DescribeLogDirsResponse { error_code: ErrorCode::UNKNOWN_SERVER_ERROR.0, ..Default::default() };
    };
    let wanted = |partition: &TopicPartition| {
        request.topics.as_ref().is_none_or(|topics| {
            let mut asked = topics.iter().filter(|asked| *asked.topic == *partition.topic);
            asked.any(|asked| asked.partitions.contains(&partition.partition))
        })
    };
    let results = described.into_iter().map(|dir| describe(&broker, dir, &wanted)).collect();
    DescribeLogDirsResponse { results, ..Default::default() }
}

fn describe(
    broker: &BrokerState,
    dir: LogDirDescription,
    wanted: &impl Fn(&TopicPartition) -> bool,
) -> DescribeLogDirsResult {
    let mut topics: BTreeMap<Arc<str>, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for (partition, size) in dir.logs.into_iter().filter(|(partition, _)| wanted(partition)) {
        let lag = broker.replicas.get(&partition.topic, partition.partition).map_or(0, |hosted| {
            // How far the log has come beyond what is committed here (`Log.getOffsetLag`).
            hosted.high_watermark().0.saturating_sub(hosted.log().log_end_offset().0).max(0)
        });
        topics.entry(partition.topic).or_default().push(DescribeLogDirsPartition {
            partition_index: partition.partition,
            partition_size: i64::try_from(size).unwrap_or(i64::MAX),
            offset_lag: lag,
            is_future_key: false,
        });
    }
    let topics =
        topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name: Str::from(&*name), partitions });
    DescribeLogDirsResult {
        error_code: dir.error.map_or(0, |problem| problem.code()),
        log_dir: Str::from(dir.path.display().to_string()),
        topics: topics.collect(),
        usable_bytes: dir.usable_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        ..Default::default()
    }
}
