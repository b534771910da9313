//! Topics, partitions, replicas and leaders.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use protocol::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use protocol::messages::list_partition_reassignments::ListPartitionReassignmentsRequest;
use protocol::types::{BrokerId, TopicPartition, Uuid};
use protocol::wire::Str;

use super::super::cluster::{Node, TopicMetadata};
use super::super::error::{ClientError, Result, check_code, check_code_with};
use super::{Admin, Kind, PerName, To, named, only};

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; `None` is the broker's default (brokers since 2.4).
    pub partitions: Option<i32>,
    /// Replicas of each partition; `None` is the broker's default (brokers since 2.4).
    pub replication_factor: Option<i16>,
    /// Replicas by partition, instead of the two numbers.
    pub assignments: BTreeMap<i32, Vec<BrokerId>>,
    /// Configurations that differ from the broker's.
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic of so many partitions and replicas.
    pub fn new(name: impl Into<String>, partitions: Option<i32>, replication_factor: Option<i16>) -> NewTopic {
        let (assignments, configs) = (BTreeMap::new(), BTreeMap::new());
        NewTopic { name: name.into(), partitions, replication_factor, assignments, configs }
    }
}

/// What has been created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id; [`Uuid::ZERO`] from brokers before 2.8.
    pub id: Uuid,
    /// Its number of partitions; `None` from brokers before 2.4.
    pub partitions: Option<i32>,
    /// Replicas of each; `None` from brokers before 2.4.
    pub replication_factor: Option<i16>,
}

/// The cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: Option<String>,
    /// The controller.
    pub controller: Option<BrokerId>,
    /// The live brokers.
    pub nodes: Vec<Node>,
}

/// Which leader an election looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectionType {
    /// The first of the assigned replicas.
    Preferred,
    /// Any live replica, even one that has lost records.
    Unclean,
}

/// Replicas of a partition that is being moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    /// The partition.
    pub partition: TopicPartition,
    /// All replicas, old and new.
    pub replicas: Vec<BrokerId>,
    /// Those that come.
    pub adding: Vec<BrokerId>,
    /// Those that go.
    pub removing: Vec<BrokerId>,
}

impl Admin {
    /// Creates topics, or with `validate_only` says whether it would.
    ///
    /// # Errors
    /// Of the call as a whole. Per topic: TOPIC_ALREADY_EXISTS, INVALID_REPLICATION_FACTOR, INVALID_PARTITIONS, INVALID_TOPIC_EXCEPTION,
    /// INVALID_CONFIG, with the broker's sentence.
    pub async fn create_topics(&self, topics: &[NewTopic], validate_only: bool) -> Result<PerName<CreatedTopic>> {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        self.call("createTopics", To::Controller, Kind::Change, async |connection| {
            let response = connection.send(&request).await?;
            check_controller(response.topics.iter().map(|topic| topic.error_code))?;
            let result = |topic: &protocol::messages::create_topics::CreatableTopicResult| {
                check_code_with(topic.error_code, topic.error_message.as_deref(), || topic.name.to_string())?;
                Ok(CreatedTopic {
                    id: topic.topic_id,
                    partitions: (topic.num_partitions >= 0).then_some(topic.num_partitions),
                    replication_factor: (topic.replication_factor >= 0).then_some(topic.replication_factor),
                })
            };
            Ok(response.topics.iter().map(|topic| (topic.name.to_string(), result(topic))).collect())
        })
        .await
    }

    /// Creates one topic.
    ///
    /// # Errors
    /// As [`Admin::create_topics`].
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<CreatedTopic> {
        only(self.create_topics(std::slice::from_ref(topic), false).await?, "CreateTopics")
    }

    /// Deletes topics.
    ///
    /// # Errors
    /// Of the call as a whole. Per topic: UNKNOWN_TOPIC_OR_PARTITION, TOPIC_DELETION_DISABLED.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<PerName<()>> {
        let by_name = |name: &&str| DeleteTopicState { name: Some(Str::from(*name)), ..DeleteTopicState::default() };
        self.call("deleteTopics", To::Controller, Kind::Change, async |connection| {
            let version = connection.version_of::<DeleteTopicsRequest>()?;
            let mut request = DeleteTopicsRequest { timeout_ms: self.timeout_ms(), ..DeleteTopicsRequest::default() };
            if version >= 6 {
                request.topics = names.iter().map(by_name).collect();
            } else {
                request.topic_names = names.iter().map(|name| Str::from(*name)).collect();
            }
            let response = connection.send_version(&request, version).await?;
            check_controller(response.responses.iter().map(|topic| topic.error_code))?;
            let results = response.responses.iter().map(|topic| {
                let name = topic.name.as_deref().unwrap_or_default().to_string();
                let result = check_code_with(topic.error_code, topic.error_message.as_deref(), || name.clone());
                (name, result)
            });
            Ok(results.collect())
        })
        .await
        .inspect(|_| names.iter().for_each(|name| self.cluster.forget_topic(name)))
    }

    /// Deletes one topic.
    ///
    /// # Errors
    /// As [`Admin::delete_topics`].
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        only(self.delete_topics(&[name]).await?, "DeleteTopics")
    }

    /// Raises a topic's number of partitions to `count`; `assignments` names the replicas of each new one.
    ///
    /// # Errors
    /// INVALID_PARTITIONS where it has so many already, UNKNOWN_TOPIC_OR_PARTITION.
    pub async fn create_partitions(
        &self,
        topic: &str,
        count: i32,
        assignments: Option<&[Vec<BrokerId>]>,
    ) -> Result<()> {
        let assignment = |replicas: &Vec<BrokerId>| CreatePartitionsAssignment { broker_ids: ids(replicas) };
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: Str::from(topic),
                count,
                assignments: assignments.map(|assignments| assignments.iter().map(assignment).collect()),
            }],
            timeout_ms: self.timeout_ms(),
            validate_only: false,
        };
        let results = self
            .call("createPartitions", To::Controller, Kind::Change, async |connection| {
                let response = connection.send(&request).await?;
                check_controller(response.results.iter().map(|result| result.error_code))?;
                let results = response.results.iter().map(|result| {
                    let name = result.name.to_string();
                    let code = check_code_with(result.error_code, result.error_message.as_deref(), || name.clone());
                    (name, code)
                });
                Ok(results.collect::<PerName<()>>())
            })
            .await?;
        self.cluster.forget_topic(topic);
        only(results, "CreatePartitions")
    }

    /// All topics, sorted by name, Kafka's internal ones included.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`].
    pub async fn list_topics(&self) -> Result<Vec<Arc<TopicMetadata>>> {
        let metadata = self.cluster.refresh_all().await.map_err(|error| named(error, "listTopics"))?;
        let mut topics: Vec<Arc<TopicMetadata>> = metadata.topics.values().cloned().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// Partitions, leaders and replicas of topics. None is created by asking, except by brokers before 0.11 that are configured to.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`]. Per topic: UNKNOWN_TOPIC_OR_PARTITION.
    pub async fn describe_topics(&self, names: &[&str]) -> Result<PerName<Arc<TopicMetadata>>> {
        let deadline = self.cluster.default_deadline();
        let metadata = self.cluster.refresh_topics(names, deadline).await;
        let metadata = metadata.map_err(|error| named(error, "describeTopics"))?;
        let describe = |name: &str| {
            let unknown = || ClientError::broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, name);
            let topic = metadata.topic(name).ok_or_else(unknown)?;
            // A topic whose partitions have no leaders is described all the same.
            match topic.error {
                ErrorCode::NONE | ErrorCode::LEADER_NOT_AVAILABLE if !topic.partitions.is_empty() => Ok(topic.clone()),
                code => Err(ClientError::broker(code, name)),
            }
        };
        Ok(names.iter().map(|name| ((*name).to_string(), describe(name))).collect())
    }

    /// Brokers, controller and id of the cluster.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`].
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let metadata = self.cluster.refresh_brokers().await.map_err(|error| named(error, "listNodes"))?;
        Ok(ClusterDescription {
            cluster_id: metadata.cluster_id.clone(),
            controller: metadata.controller,
            nodes: metadata.brokers.values().cloned().collect(),
        })
    }

    /// Elects leaders; `None` for all partitions. Partitions that have the right leader already are left out or say ELECTION_NOT_NEEDED.
    ///
    /// # Errors
    /// Of the call as a whole; per partition (`topic-number`) the broker's code.
    pub async fn elect_leaders(
        &self,
        election: ElectionType,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<PerName<()>> {
        let topic_partitions = partitions.map(|partitions| {
            let topics = by_topic(partitions).into_iter();
            topics.map(|(topic, partitions)| TopicPartitions { topic: Str::from(topic), partitions }).collect()
        });
        let election_type = match election {
            ElectionType::Preferred => 0,
            ElectionType::Unclean => 1,
        };
        let request = ElectLeadersRequest { election_type, topic_partitions, timeout_ms: self.timeout_ms() };
        self.call("electLeaders", To::Controller, Kind::Change, async |connection| {
            let response = connection.send(&request).await?;
            check_code(response.error_code, || "electLeaders".to_string())?;
            let mut results = PerName::new();
            for topic in &response.replica_election_results {
                for partition in &topic.partition_result {
                    let name = format!("{}-{}", topic.topic, partition.partition_id);
                    let message = partition.error_message.as_deref();
                    let result = check_code_with(partition.error_code, message, || name.clone());
                    results.push((name, result));
                }
            }
            Ok(results)
        })
        .await
    }

    /// Moves partitions to other replicas; `None` cancels a move under way.
    ///
    /// # Errors
    /// Of the call as a whole; per partition (`topic-number`) the broker's code.
    pub async fn alter_partition_reassignments(
        &self,
        moves: &BTreeMap<TopicPartition, Option<Vec<BrokerId>>>,
    ) -> Result<PerName<()>> {
        let mut topics: BTreeMap<&str, Vec<ReassignablePartition>> = BTreeMap::new();
        for (partition, replicas) in moves {
            let replicas = replicas.as_ref().map(|replicas| ids(replicas));
            let partition_index = partition.partition;
            topics.entry(&partition.topic).or_default().push(ReassignablePartition { partition_index, replicas });
        }
        let topic = |(name, partitions)| ReassignableTopic { name: Str::from(name), partitions };
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            topics: topics.into_iter().map(topic).collect(),
        };
        self.call("alterPartitionReassignments", To::Controller, Kind::Change, async |connection| {
            let response = connection.send(&request).await?;
            let about = || "alterPartitionReassignments".to_string();
            check_code_with(response.error_code, response.error_message.as_deref(), about)?;
            let mut results = PerName::new();
            for topic in &response.responses {
                for partition in &topic.partitions {
                    let name = format!("{}-{}", topic.name, partition.partition_index);
                    let message = partition.error_message.as_deref();
                    let result = check_code_with(partition.error_code, message, || name.clone());
                    results.push((name, result));
                }
            }
            Ok(results)
        })
        .await
    }

    /// Moves under way.
    ///
    /// # Errors
    /// Of the call.
    pub async fn list_partition_reassignments(&self) -> Result<Vec<Reassignment>> {
        let request = ListPartitionReassignmentsRequest { timeout_ms: self.timeout_ms(), topics: None };
        self.call("listPartitionReassignments", To::Controller, Kind::Question, async |connection| {
            let response = connection.send(&request).await?;
            let about = || "listPartitionReassignments".to_string();
            check_code_with(response.error_code, response.error_message.as_deref(), about)?;
            let brokers = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect();
            let mut moves = Vec::new();
            for topic in &response.topics {
                for partition in &topic.partitions {
                    moves.push(Reassignment {
                        partition: TopicPartition::new(&*topic.name, partition.partition_index),
                        replicas: brokers(&partition.replicas),
                        adding: brokers(&partition.adding_replicas),
                        removing: brokers(&partition.removing_replicas),
                    });
                }
            }
            Ok(moves)
        })
        .await
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let config = |(name, value): (&String, &String)| CreatableTopicConfig {
        name: Str::from(name.as_str()),
        value: Some(Str::from(value.as_str())),
    };
    let assignment = |(partition, replicas): (&i32, &Vec<BrokerId>)| CreatableReplicaAssignment {
        partition_index: *partition,
        broker_ids: ids(replicas),
    };
    CreatableTopic {
        name: Str::from(topic.name.as_str()),
        // -1 stands for "see the assignments" and, since KIP-464, for the broker's default.
        num_partitions: topic.partitions.unwrap_or(-1),
        replication_factor: topic.replication_factor.unwrap_or(-1),
        assignments: topic.assignments.iter().map(assignment).collect(),
        configs: topic.configs.iter().map(config).collect(),
    }
}

fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|broker| broker.0).collect()
}

/// Partitions by topic, as most requests want them.
pub(super) fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    topics
}

/// NOT_CONTROLLER stands with every name; one is enough to know that nothing was done.
fn check_controller(mut codes: impl Iterator<Item = i16>) -> Result<()> {
    match codes.find(|code| *code == ErrorCode::NOT_CONTROLLER.0) {
        Some(code) => check_code(code, || "controller".to_string()),
        None => Ok(()),
    }
}
