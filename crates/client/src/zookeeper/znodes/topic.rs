//! Topics: `/brokers/topics/T` says who should hold each partition, `.../partitions/P/state` who leads and who is in sync.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::types::Uuid;
use serde_json::{Map, Value, json};

use super::{Object, bad, int, ints, object, text, to_bytes};
use crate::zookeeper::ZkError;

/// `/brokers/topics/T`, versions 1 to 3.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicAssignment {
    /// Replicas of each partition, the preferred leader first.
    pub partitions: BTreeMap<i32, Vec<i32>>,
    /// Replicas a move is adding (2.4).
    pub adding_replicas: BTreeMap<i32, Vec<i32>>,
    /// Replicas a move will remove (2.4).
    pub removing_replicas: BTreeMap<i32, Vec<i32>>,
    /// Id of the topic (2.8); tools before that write none, and the controller adds it.
    pub topic_id: Option<Uuid>,
    /// Keys this version does not know.
    pub extra: Map<String, Value>,
}

impl TopicAssignment {
    /// Reads any version.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<TopicAssignment, ZkError> {
        let mut node = Object::parse(path, data)?;
        let _version: Option<i32> = node.optional("version", int)?;
        let partitions = node.need("partitions", replicas)?;
        if let Some(negative) = partitions.keys().find(|partition| **partition < 0) {
            return Err(bad(path, format!("partition {negative} is negative")));
        }
        Ok(TopicAssignment {
            partitions,
            adding_replicas: node.optional("adding_replicas", replicas)?.unwrap_or_default(),
            removing_replicas: node.optional("removing_replicas", replicas)?.unwrap_or_default(),
            topic_id: node.optional("topic_id", |value| Uuid::parse(value.as_str()?))?,
            extra: node.rest(),
        })
    }

    /// Version 3 where there is a topic id, 2 where replicas move, else the version 1 that every broker reads.
    pub fn to_json(&self) -> Bytes {
        let partitions = replicas_object(&self.partitions);
        let moves = !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty();
        let mut node = match self.topic_id {
            None if !moves => object(json!({ "version": 1, "partitions": partitions })),
            id => object(json!({
                "version": if id.is_some() { 3 } else { 2 },
                "partitions": partitions,
                "adding_replicas": replicas_object(&self.adding_replicas),
                "removing_replicas": replicas_object(&self.removing_replicas),
            })),
        };
        if let Some(id) = self.topic_id {
            node.insert("topic_id".to_owned(), Value::from(id.to_string()));
        }
        node.extend(self.extra.clone());
        to_bytes(node)
    }
}

fn replicas(value: &Value) -> Option<BTreeMap<i32, Vec<i32>>> {
    value.as_object()?.iter().map(|(partition, ids)| Some((partition.parse().ok()?, ints(ids)?))).collect()
}

fn replicas_object(replicas: &BTreeMap<i32, Vec<i32>>) -> Value {
    Value::Object(
        replicas.iter().map(|(partition, ids)| (partition.to_string(), Value::from(ids.as_slice()))).collect(),
    )
}

/// `/brokers/topics/T/partitions/P/state`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionState {
    /// The controller that wrote it, by its epoch.
    pub controller_epoch: i32,
    /// Broker that leads, -1 for none.
    pub leader: i32,
    /// Rises with every election.
    pub leader_epoch: i32,
    /// Replicas that have all that is committed.
    pub isr: Vec<i32>,
    /// 1 where the leader was elected uncleanly and has not recovered yet (3.2).
    pub leader_recovery_state: Option<i32>,
    /// Replicas out of the ISR that still have all that is committed (KIP-966).
    pub elr: Vec<i32>,
    /// Who was last in either set, where nobody is left.
    pub last_known_elr: Vec<i32>,
    /// Keys this version does not know.
    pub extra: Map<String, Value>,
}

impl PartitionState {
    /// Reads it.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<PartitionState, ZkError> {
        let mut node = Object::parse(path, data)?;
        let _version: Option<i32> = node.optional("version", int)?;
        Ok(PartitionState {
            controller_epoch: node.need("controller_epoch", int)?,
            leader: node.need("leader", int)?,
            leader_epoch: node.need("leader_epoch", int)?,
            isr: node.need("isr", ints)?,
            leader_recovery_state: node.optional("leader_recovery_state", int)?,
            elr: node.optional("elr", ints)?.unwrap_or_default(),
            last_known_elr: node.optional("last_known_elr", ints)?.unwrap_or_default(),
            extra: node.rest(),
        })
    }

    /// Version 1, with Kafka's keys in Kafka's order and those of ours that are in use behind them.
    pub fn to_json(&self) -> Bytes {
        let mut node = object(json!({
            "controller_epoch": self.controller_epoch,
            "leader": self.leader,
            "version": 1,
            "leader_epoch": self.leader_epoch,
            "isr": self.isr,
        }));
        if let Some(state) = self.leader_recovery_state {
            node.insert("leader_recovery_state".to_owned(), Value::from(state));
        }
        for (key, ids) in [("elr", &self.elr), ("last_known_elr", &self.last_known_elr)] {
            if !ids.is_empty() {
                node.insert(key.to_owned(), Value::from(ids.as_slice()));
            }
        }
        node.extend(self.extra.clone());
        to_bytes(node)
    }
}

/// A topic and a partition, as several notices list them.
pub(super) fn partition_entry(value: &Value) -> Option<(String, i32)> {
    Some((text(value.get("topic")?)?, int(value.get("partition")?)?))
}
