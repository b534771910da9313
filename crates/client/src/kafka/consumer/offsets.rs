//! ListOffsets: where logs begin and end, and where a point in time lies in them.

use std::collections::BTreeMap;

use protocol::error::ErrorCode;
use protocol::messages::Request;
use protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
};
use protocol::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use protocol::wire::Str;
use runtime::clock::Instant;

use super::super::cluster::{Cluster, Lane};
use super::super::config::IsolationLevel;
use super::super::error::{ClientError, Result};

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OffsetSpec {
    /// The first one there is.
    Earliest,
    /// The one after the last that may be seen.
    Latest,
    /// The first record of this time (milliseconds since 1970) or later. Brokers before 0.10.1 answer by segment, from files' times.
    Timestamp(i64),
    /// The record with the greatest timestamp (KIP-734).
    MaxTimestamp,
    /// The first one on the broker's own disk (KIP-405).
    EarliestLocal,
    /// The last one in tiered storage (KIP-1005).
    LatestTiered,
}

impl OffsetSpec {
    /// The number in the request.
    #[must_use]
    pub fn wire(self) -> i64 {
        match self {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::EarliestLocal => -4,
            OffsetSpec::LatestTiered => -5,
            OffsetSpec::Timestamp(timestamp) => timestamp,
        }
    }

    /// First version of ListOffsets that has it.
    fn version_min(self) -> i16 {
        match self {
            OffsetSpec::Latest | OffsetSpec::Earliest | OffsetSpec::Timestamp(_) => 0,
            OffsetSpec::MaxTimestamp => 7,
            OffsetSpec::EarliestLocal => 8,
            OffsetSpec::LatestTiered => 9,
        }
    }
}

/// An offset that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset.
    pub offset: Offset,
    /// Time of the record there; -1 for the ends of the log and from old brokers.
    pub timestamp: i64,
    /// Leadership in which it was written; [`LeaderEpoch::NONE`] from old brokers.
    pub leader_epoch: LeaderEpoch,
}

/// What was found for each partition: `None` where no record fits (a time after the last record).
pub type ListedOffsets = BTreeMap<TopicPartition, Result<Option<ListedOffset>>>;

/// Asks the leaders. Partitions whose leadership is unsettled are asked for again until `deadline`; each has its own result.
pub async fn list_offsets(
    cluster: &Cluster,
    wanted: &[(TopicPartition, OffsetSpec)],
    isolation_level: IsolationLevel,
    deadline: Instant,
) -> ListedOffsets {
    let mut found = ListedOffsets::new();
    let mut open: Vec<(TopicPartition, OffsetSpec)> = wanted.to_vec();
    let mut backoff = cluster.backoff();
    loop {
        found.extend(ask_leaders(cluster, &open, isolation_level, deadline).await);
        open.retain(|(partition, _)| matches!(found.get(partition), Some(Err(error)) if error.is_retriable()));
        if open.is_empty() {
            return found;
        }
        for (partition, _) in &open {
            cluster.forget_topic(&partition.topic);
        }
        if !cluster.pause(&mut backoff, deadline).await {
            return found;
        }
    }
}

/// Asks each leader once, all at the same time.
async fn ask_leaders(
    cluster: &Cluster,
    wanted: &[(TopicPartition, OffsetSpec)],
    isolation_level: IsolationLevel,
    deadline: Instant,
) -> ListedOffsets {
    let mut found = ListedOffsets::new();
    let unknown: std::collections::BTreeSet<&str> = wanted
        .iter()
        .filter(|(partition, _)| cluster.leader(partition).is_none())
        .map(|(partition, _)| &*partition.topic)
        .collect();
    if !unknown.is_empty() {
        let names: Vec<&str> = unknown.into_iter().collect();
        if let Err(error) = cluster.refresh_topics(&names, deadline).await {
            return wanted.iter().map(|(partition, _)| (partition.clone(), Err(error.clone()))).collect();
        }
    }
    let metadata = cluster.metadata();
    let mut by_leader: BTreeMap<BrokerId, Vec<(TopicPartition, OffsetSpec)>> = BTreeMap::new();
    for (partition, spec) in wanted {
        match metadata.leader(partition) {
            Some((leader, _)) => by_leader.entry(leader).or_default().push((partition.clone(), *spec)),
            None => {
                let code = match metadata.topic(&partition.topic) {
                    Some(topic) if !topic.error.is_none() => topic.error,
                    Some(_) if metadata.partition(partition).is_some() => ErrorCode::LEADER_NOT_AVAILABLE,
                    _ => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                };
                found.insert(partition.clone(), Err(ClientError::broker(code, partition.to_string())));
            }
        }
    }
    let asked: Vec<_> = by_leader
        .into_iter()
        .map(|(leader, wanted)| {
            let cluster = cluster.clone();
            runtime::spawn(async move { ask(&cluster, leader, wanted, isolation_level, deadline).await })
        })
        .collect();
    for answer in asked {
        // A task of ours that panicked has shown its message already; its partitions then count as not answered.
        if let Ok(answer) = answer.await {
            found.extend(answer);
        }
    }
    found
}

async fn ask(
    cluster: &Cluster,
    leader: BrokerId,
    wanted: Vec<(TopicPartition, OffsetSpec)>,
    isolation_level: IsolationLevel,
    deadline: Instant,
) -> ListedOffsets {
    let attempt = cluster.clock().timeout_at(deadline, ask_once(cluster, leader, &wanted, isolation_level)).await;
    let failure = match attempt {
        Ok(Ok(found)) => return found,
        Ok(Err(error)) => error,
        Err(_elapsed) => ClientError::Timeout { doing: "fetching offsets".to_string(), waited_ms: 0, last: None },
    };
    wanted.into_iter().map(|(partition, _)| (partition, Err(failure.clone()))).collect()
}

async fn ask_once(
    cluster: &Cluster,
    leader: BrokerId,
    wanted: &[(TopicPartition, OffsetSpec)],
    isolation_level: IsolationLevel,
) -> Result<ListedOffsets> {
    let connection = cluster.connection(leader, Lane::General).await?;
    let lowest = wanted.iter().map(|(_, spec)| spec.version_min()).max().unwrap_or(0);
    let version =
        connection.versions().pick(ListOffsetsRequest::KEY, &(lowest..=*ListOffsetsRequest::VERSIONS.end()))?;
    let metadata = cluster.metadata();
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for (partition, spec) in wanted {
        let epoch = metadata.leader(partition).map_or(LeaderEpoch::NONE, |(_, epoch)| epoch);
        topics.entry(&partition.topic).or_default().push(ListOffsetsPartition {
            partition_index: partition.partition,
            current_leader_epoch: epoch.0,
            timestamp: spec.wire(),
            ..ListOffsetsPartition::default()
        });
    }
    let request = ListOffsetsRequest {
        replica_id: -1,
        // Brokers before version 2 have no transactions to hide.
        isolation_level: i8::from(version >= 2 && isolation_level == IsolationLevel::ReadCommitted),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| ListOffsetsTopic { name: Str::from(name), partitions })
            .collect(),
    };
    let response = connection.send_version(&request, version).await?;
    let mut found = ListedOffsets::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let name = TopicPartition::new(&*topic.name, partition.partition_index);
            let result = read(partition, version, &name);
            found.insert(name, result);
        }
    }
    for (partition, _) in wanted {
        found.entry(partition.clone()).or_insert_with(|| {
            let cause = "the response leaves the partition out".to_string();
            Err(ClientError::Malformed { what: "ListOffsets response".to_string(), broker: leader.to_string(), cause })
        });
    }
    Ok(found)
}

fn read(partition: &ListOffsetsPartitionResponse, version: i16, name: &TopicPartition) -> Result<Option<ListedOffset>> {
    super::super::error::check_code(partition.error_code, || name.to_string())?;
    let offset = if version == 0 { partition.old_style_offsets.first().copied() } else { Some(partition.offset) };
    Ok(offset.filter(|offset| *offset >= 0).map(|offset| ListedOffset {
        offset: Offset(offset),
        timestamp: partition.timestamp,
        leader_epoch: LeaderEpoch(partition.leader_epoch),
    }))
}
