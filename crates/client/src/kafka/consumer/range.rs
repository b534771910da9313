//! [`RangeReader`]: the records of one partition between two offsets that were fixed beforehand.

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::types::{Offset, TopicPartition};
use runtime::clock::Instant;

use super::super::cluster::{Cluster, Lane, whole_ms};
use super::super::config::ConsumerConfig;
use super::super::error::{ClientError, Result};
use super::block::FetchedBlock;
use super::fetch::{self, FetchOptions, FetchWish};

/// Reads one partition from `from` up to `until` (not included), as a streaming job does with a range it fixed before.
pub struct RangeReader {
    cluster: Cluster,
    options: FetchOptions,
    partition: TopicPartition,
    next: Offset,
    until: Offset,
    bytes_max: i32,
    bytes_limit: i32,
}

impl RangeReader {
    /// A reader of the records in `from..until`.
    #[must_use]
    pub fn new(
        cluster: Cluster,
        config: &ConsumerConfig,
        partition: TopicPartition,
        from: Offset,
        until: Offset,
    ) -> RangeReader {
        let bytes_limit = i32::try_from(config.client.response_bytes_max / 2).unwrap_or(i32::MAX);
        RangeReader {
            cluster,
            options: FetchOptions::from(config),
            partition,
            next: from,
            until,
            bytes_max: config.max_partition_fetch_bytes.min(bytes_limit),
            bytes_limit,
        }
    }

    /// The next records of the range, retried over leader changes until `deadline`. `None` at its end.
    ///
    /// # Errors
    /// [`ClientError::OffsetOutOfRange`] where the range is not in the log (any more); [`ClientError::Timeout`] at `deadline`; what cannot be
    /// cured by waiting.
    pub async fn next(&mut self, deadline: Instant) -> Result<Option<FetchedBlock>> {
        let clock = self.cluster.clock();
        let started = clock.now();
        let mut backoff = self.cluster.backoff();
        let mut last = None;
        while self.next < self.until {
            let trouble = match clock.timeout_at(deadline, self.fetch_once(deadline)).await {
                Ok(Ok(block)) if block.is_empty() => {
                    if block.is_cut() {
                        if self.bytes_max >= self.bytes_limit {
                            let (bytes, limit) = (block.size(), self.bytes_limit as usize);
                            let config = "max.partition.fetch.bytes";
                            return Err(ClientError::RecordTooLarge { bytes, limit, config });
                        }
                        self.bytes_max = self.bytes_max.saturating_mul(2).min(self.bytes_limit);
                    }
                    if block.high_watermark >= self.until || block.is_cut() {
                        continue;
                    }
                    // The range ends beyond what consumers may see now: a follower became leader, and catches up.
                    None
                }
                Ok(Ok(mut block)) => {
                    block.end_at(self.until);
                    self.next = block.next_offset;
                    return Ok(Some(block));
                }
                Ok(Err(error)) if !error.is_retriable() => return Err(error),
                Ok(Err(error)) => {
                    self.cluster.forget_topic(&self.partition.topic);
                    Some(error)
                }
                Err(_elapsed) => None,
            };
            last = trouble.or(last);
            if !self.cluster.pause(&mut backoff, deadline).await {
                let waited_ms = whole_ms(clock.now().saturating_duration_since(started));
                let doing = format!("fetching {} from offset {}", self.partition, self.next);
                return Err(ClientError::Timeout { doing, waited_ms, last: last.map(Arc::new) });
            }
        }
        Ok(None)
    }

    async fn fetch_once(&self, deadline: Instant) -> Result<FetchedBlock> {
        let topic = self.cluster.topic(&self.partition.topic, false, deadline).await?;
        let leader = topic.partitions.iter().find(|candidate| candidate.partition == self.partition.partition);
        let Some(leader) = leader else {
            let (partition, count) = (self.partition.partition, topic.partitions.len());
            return Err(ClientError::InvalidPartition { partition, count });
        };
        let no_leader = || fetch::fatal(ErrorCode::LEADER_NOT_AVAILABLE, &self.partition);
        let broker = leader.leader.ok_or_else(no_leader)?;
        let wish = FetchWish {
            topic_partition: self.partition.clone(),
            offset: self.next,
            leader_epoch: leader.leader_epoch,
            bytes_max: self.bytes_max,
        };
        let connection = self.cluster.connection(broker, Lane::Fetch).await?;
        let fetched = fetch::fetch(&connection, vec![wish], &self.options).await?;
        match fetched.into_iter().next().map(|fetch| fetch.outcome) {
            Some(Ok(block)) => Ok(block),
            Some(Err(ErrorCode::OFFSET_OUT_OF_RANGE)) => {
                Err(ClientError::OffsetOutOfRange { partition: self.partition.clone(), offset: self.next.0 })
            }
            Some(Err(code)) => Err(fetch::fatal(code, &self.partition)),
            None => Err(no_leader()),
        }
    }
}
