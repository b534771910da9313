//! Requests to the controller (`/admin/...`), notices to it (`/isr_change_notification`, `/log_dir_event_notification`), and the producer ids it
//! gives out. `/admin/delete_topics/T` holds nothing: its name says all.

use bytes::Bytes;
use serde_json::{Value, json};

use super::topic::partition_entry;
use super::{Object, bad, int, ints, object, to_bytes};
use crate::zookeeper::ZkError;

/// `/admin/reassign_partitions`: the replicas these partitions shall have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reassignment {
    /// Topic, partition, replicas.
    pub partitions: Vec<(String, i32, Vec<i32>)>,
}

impl Reassignment {
    /// Reads it; also the file `kafka-reassign-partitions.sh` takes.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<Reassignment, ZkError> {
        let partitions = Object::parse(path, data)?.need("partitions", |value| {
            let read = |entry: &Value| {
                let (topic, partition) = partition_entry(entry)?;
                Some((topic, partition, ints(entry.get("replicas")?)?))
            };
            value.as_array()?.iter().map(read).collect()
        })?;
        Ok(Reassignment { partitions })
    }

    /// Version 1.
    pub fn to_json(&self) -> Bytes {
        let entry = |(topic, partition, replicas): &(String, i32, Vec<i32>)| json!({ "topic": topic, "partition": partition, "replicas": replicas });
        let partitions: Vec<Value> = self.partitions.iter().map(entry).collect();
        to_bytes(object(json!({ "version": 1, "partitions": partitions })))
    }
}

/// `/admin/preferred_replica_election`: partitions their first replica shall lead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionElection {
    /// Topic and partition.
    pub partitions: Vec<(String, i32)>,
}

impl PartitionElection {
    /// Reads it.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<PartitionElection, ZkError> {
        Ok(PartitionElection { partitions: parse_partitions(path, data)? })
    }

    /// Version 1.
    pub fn to_json(&self) -> Bytes {
        partitions_json(&self.partitions)
    }
}

/// A notice below `/isr_change_notification`: the in-sync replicas of these partitions changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IsrChange {
    /// Topic and partition.
    pub partitions: Vec<(String, i32)>,
}

impl IsrChange {
    /// Reads it.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<IsrChange, ZkError> {
        Ok(IsrChange { partitions: parse_partitions(path, data)? })
    }

    /// Version 1.
    pub fn to_json(&self) -> Bytes {
        partitions_json(&self.partitions)
    }
}

fn parse_partitions(path: &str, data: &[u8]) -> Result<Vec<(String, i32)>, ZkError> {
    Object::parse(path, data)?.need("partitions", |value| value.as_array()?.iter().map(partition_entry).collect())
}

fn partitions_json(partitions: &[(String, i32)]) -> Bytes {
    let entry = |(topic, partition): &(String, i32)| json!({ "topic": topic, "partition": partition });
    let partitions: Vec<Value> = partitions.iter().map(entry).collect();
    to_bytes(object(json!({ "version": 1, "partitions": partitions })))
}

/// A notice below `/log_dir_event_notification`: a log directory of this broker failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogDirEvent {
    /// The broker.
    pub broker: i32,
}

impl LogDirEvent {
    /// Reads it.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<LogDirEvent, ZkError> {
        Ok(LogDirEvent { broker: Object::parse(path, data)?.need("broker", int)? })
    }

    /// Version 1; event 1 is the only one there is.
    pub fn to_json(self) -> Bytes {
        to_bytes(object(json!({ "version": 1, "broker": self.broker, "event": 1 })))
    }
}

/// `/latest_producer_id_block`: the producer ids given to a broker last. The next block begins behind it, by compare-and-set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// Who got them.
    pub broker: i32,
    /// First id.
    pub first: i64,
    /// Last id, inclusive.
    pub last: i64,
}

impl ProducerIdBlock {
    /// Ids in one block (`ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
    pub const SIZE: i64 = 1_000;

    /// The block behind this one, for `broker`; nothing where the ids are used up.
    pub fn next(previous: Option<ProducerIdBlock>, broker: i32) -> Option<ProducerIdBlock> {
        let first = match previous {
            None => 0,
            Some(block) => block.last.checked_add(1)?,
        };
        Some(ProducerIdBlock { broker, first, last: first.checked_add(Self::SIZE - 1)? })
    }

    /// Reads it; nothing where no block was ever given.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<Option<ProducerIdBlock>, ZkError> {
        if data.is_empty() {
            return Ok(None);
        }
        let mut node = Object::parse(path, data)?;
        let broker = node.need("broker", int)?;
        let (first, last) = (node.need("block_start", int)?, node.need("block_end", int)?);
        if first < 0 || last < first {
            return Err(bad(path, format!("block {first} to {last} is none")));
        }
        Ok(Some(ProducerIdBlock { broker, first, last }))
    }

    /// Version 1, the ids as texts.
    pub fn to_json(self) -> Bytes {
        let (start, end) = (self.first.to_string(), self.last.to_string());
        to_bytes(object(json!({ "version": 1, "broker": self.broker, "block_start": start, "block_end": end })))
    }
}
