//! Groups, their members and their offsets.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::consumer_protocol::{self, ConsumerProtocolAssignment};
use protocol::messages::delete_groups::DeleteGroupsRequest;
use protocol::messages::describe_groups::{DescribeGroupsRequest, DescribedGroup, DescribedGroupMember};
use protocol::messages::list_groups::ListGroupsRequest;
use protocol::messages::offset_delete::{OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use protocol::types::{BrokerId, TopicPartition};
use protocol::wire::Str;

use super::super::consumer::commit::{CommittedOffset, GroupCoordinator, Member, OffsetToCommit};
use super::super::error::{ClientError, Result, check_code};
use super::topics::by_topic;
use super::{Admin, Kind, PerName, To};

/// A group as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// `group.id`.
    pub group: String,
    /// `consumer` for consumers; empty where only offsets were ever committed.
    pub protocol_type: String,
    /// `Stable`, `Empty`, ...; empty from brokers before 2.6.
    pub state: String,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// `group.id`.
    pub group: String,
    /// `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance`, or `Dead` for one that does not exist.
    pub state: String,
    /// `consumer` for consumers.
    pub protocol_type: String,
    /// The assignor in use; empty while there is none.
    pub protocol: String,
    /// The coordinating broker.
    pub coordinator: BrokerId,
    /// Its members.
    pub members: Vec<GroupMemberDescription>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMemberDescription {
    /// Its id.
    pub member_id: String,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Where it connects from, as the broker shows it: `/127.0.0.1`.
    pub host: String,
    /// What it reads; nothing where the group is not one of consumers.
    pub assignment: Vec<TopicPartition>,
}

impl Admin {
    /// The groups of all brokers, sorted by name.
    ///
    /// # Errors
    /// Where a broker does not answer.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        let mut groups = BTreeMap::new();
        for broker in self.brokers("listGroups").await? {
            let response = self
                .call("listGroups", To::Broker(broker), Kind::Question, async |connection| {
                    let response = connection.send(&ListGroupsRequest::default()).await?;
                    check_code(response.error_code, || format!("broker {broker}"))?;
                    Ok(response)
                })
                .await?;
            for group in response.groups {
                let listing = GroupListing {
                    group: group.group_id.to_string(),
                    protocol_type: group.protocol_type.to_string(),
                    state: group.group_state.to_string(),
                };
                groups.insert(listing.group.clone(), listing);
            }
        }
        Ok(groups.into_values().collect())
    }

    /// Describes groups. One that does not exist is `Dead` and has no members.
    ///
    /// # Errors
    /// Per group: [`ClientError::Timeout`] where no coordinator is found, the coordinator's code.
    pub async fn describe_groups(&self, groups: &[&str]) -> Result<PerName<GroupDescription>> {
        let mut described = PerName::new();
        for group in groups {
            described.push(((*group).to_string(), self.describe_group(group).await));
        }
        Ok(described)
    }

    /// Describes one group.
    ///
    /// # Errors
    /// As [`Admin::describe_groups`].
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        let coordinator = GroupCoordinator::new(self.cluster.clone(), group);
        let deadline = self.cluster.default_deadline();
        coordinator
            .with("describing the group", deadline, async |connection| {
                let request = DescribeGroupsRequest { groups: vec![Str::from(group)], ..Default::default() };
                let response = connection.send(&request).await?;
                let described = response.groups.first().ok_or_else(|| ClientError::Malformed {
                    what: "DescribeGroups response".to_string(),
                    broker: connection.address().to_string(),
                    cause: "it has no group".to_string(),
                })?;
                check_code(described.error_code, || format!("group {group}"))?;
                Ok(describe(described, BrokerId(connection.node())))
            })
            .await
    }

    /// Deletes groups without members, with their offsets.
    ///
    /// # Errors
    /// Per group: NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND.
    pub async fn delete_groups(&self, groups: &[&str]) -> Result<PerName<()>> {
        let mut deleted = PerName::new();
        for group in groups {
            let coordinator = GroupCoordinator::new(self.cluster.clone(), *group);
            let result = coordinator
                .with("deleting the group", self.cluster.default_deadline(), async |connection| {
                    let request = DeleteGroupsRequest { groups_names: vec![Str::from(*group)] };
                    let response = connection.send(&request).await?;
                    let code = response.results.first().map_or(ErrorCode::NONE.0, |result| result.error_code);
                    check_code(code, || format!("group {group}"))
                })
                .await;
            deleted.push(((*group).to_string(), result));
        }
        Ok(deleted)
    }

    /// Offsets a group has committed; `None` for all of them.
    ///
    /// # Errors
    /// As [`GroupCoordinator::committed`].
    pub async fn list_group_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<HashMap<TopicPartition, CommittedOffset>> {
        let coordinator = GroupCoordinator::new(self.cluster.clone(), group);
        coordinator.committed(partitions, self.cluster.default_deadline()).await
    }

    /// Sets offsets of a group without members.
    ///
    /// # Errors
    /// [`ClientError::CommitFailed`] where it has members.
    pub async fn alter_group_offsets(&self, group: &str, offsets: &[OffsetToCommit]) -> Result<()> {
        let coordinator = GroupCoordinator::new(self.cluster.clone(), group);
        coordinator.commit(&Member::none(), offsets, self.cluster.default_deadline()).await
    }

    /// Forgets offsets of a group.
    ///
    /// # Errors
    /// Of the call as a whole, such as GROUP_ID_NOT_FOUND; per partition (`topic-number`) GROUP_SUBSCRIBED_TO_TOPIC where members read it.
    pub async fn delete_group_offsets(&self, group: &str, partitions: &[TopicPartition]) -> Result<PerName<()>> {
        let topic = |(name, numbers): (&str, Vec<i32>)| OffsetDeleteRequestTopic {
            name: Str::from(name),
            partitions: numbers
                .into_iter()
                .map(|partition_index| OffsetDeleteRequestPartition { partition_index })
                .collect(),
        };
        let request = OffsetDeleteRequest {
            group_id: Str::from(group),
            topics: by_topic(partitions).into_iter().map(topic).collect(),
        };
        let coordinator = GroupCoordinator::new(self.cluster.clone(), group);
        coordinator
            .with("deleting offsets", self.cluster.default_deadline(), async |connection| {
                let response = connection.send(&request).await?;
                check_code(response.error_code, || format!("group {group}"))?;
                let mut results = PerName::new();
                for topic in &response.topics {
                    for partition in &topic.partitions {
                        let name = format!("{}-{}", topic.name, partition.partition_index);
                        let result = check_code(partition.error_code, || name.clone());
                        results.push((name, result));
                    }
                }
                Ok(results)
            })
            .await
    }
}

fn describe(group: &DescribedGroup, coordinator: BrokerId) -> GroupDescription {
    GroupDescription {
        group: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        protocol: group.protocol_data.to_string(),
        coordinator,
        members: group.members.iter().map(|member| describe_member(member, &group.protocol_type)).collect(),
    }
}

fn describe_member(member: &DescribedGroupMember, protocol_type: &str) -> GroupMemberDescription {
    let mut assignment = Vec::new();
    if protocol_type == "consumer" && !member.member_assignment.is_empty() {
        // Whatever a member wrote there, its description goes on without it.
        match consumer_protocol::decode::<ConsumerProtocolAssignment>(member.member_assignment.clone()) {
            Ok((_, decoded)) => {
                for topic in &decoded.assigned_partitions {
                    let name: Arc<str> = Arc::from(&*topic.topic);
                    let numbers = topic.partitions.iter();
                    assignment.extend(numbers.map(|number| TopicPartition::new(name.clone(), *number)));
                }
            }
            Err(error) => tracing::debug!(member = &*member.member_id, %error, "assignment cannot be read"),
        }
    }
    assignment.sort();
    GroupMemberDescription {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_deref().map(str::to_string),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assignment,
    }
}
