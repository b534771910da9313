//! Offsets in and out: OffsetCommit from v1, OffsetFetch from v1.

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use protocol::messages::offset_fetch::{
    OffsetFetchRequestTopics, OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use protocol::wire::STRING_BYTES_MAX;

use super::Groups;
use super::writes::{Commit, Pending, offset_error};
use crate::config::OFFSETS_PER_GROUP_MAX;
use crate::event::{Effect, Now, OffsetsRecord, Response, Token};
use crate::group::{Group, State};
use crate::offsets::Stored;
use crate::record::{OffsetValue, offset_key};

impl Groups {
    /// OffsetCommit v1 to v9. The answer comes as [`Response::OffsetCommit`]. `refuse` names partitions that may not be committed for reasons outside the group, such as
    /// a topic that is not there.
    pub fn commit(
        &mut self,
        token: Token,
        request: &OffsetCommitRequest,
        refuse: impl Fn(&str, i32) -> Option<ErrorCode>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let allowed = self.may_commit(request, now, effects);
        let mut offsets: Vec<(Arc<str>, i32, OffsetValue)> = Vec::new();
        let mut response = OffsetCommitResponse::default();
        for topic in &request.topics {
            let name: Arc<str> = Arc::from(&*topic.name);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let checked = match refuse(&name, index) {
                    Some(error) => Err(error),
                    None => allowed.and_then(|()| self.offset_value(request, partition, now)),
                };
                let error_code = match checked {
                    Ok(value) => {
                        offsets.push((name.clone(), index, value));
                        ErrorCode::NONE
                    }
                    Err(error) => error,
                };
                partitions.push(OffsetCommitResponsePartition { partition_index: index, error_code: error_code.0 });
            }
            response.topics.push(OffsetCommitResponseTopic { name: topic.name.clone(), partitions });
        }
        if offsets.is_empty() {
            effects.push(Effect::Reply { token, response: Response::OffsetCommit(response) });
            return;
        }
        let commit = Commit { group: Arc::from(&*request.group_id), token, offsets, response };
        self.write_commit(commit, effects);
    }

    /// Kafka's `validateOffsetCommit`, and what follows it: a group that is not there is made for a client that manages its partitions itself.
    fn may_commit(
        &mut self,
        request: &OffsetCommitRequest,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        let generation = request.generation_id_or_member_epoch;
        if self.writes.is_full() {
            return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        if !self.groups.contains_key(&*request.group_id) {
            if generation >= 0 {
                return Err(ErrorCode::ILLEGAL_GENERATION);
            }
            if !self.create(&request.group_id, now) {
                return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
            }
        }
        self.with(&request.group_id, now, effects, |group, cx| {
            group.check_commit(&request.member_id, request.group_instance_id.as_deref(), generation)?;
            if group.offsets.committed().len() >= OFFSETS_PER_GROUP_MAX {
                return Err(ErrorCode::INVALID_COMMIT_OFFSET_SIZE);
            }
            group.expect_heartbeat(cx, &request.member_id);
            Ok(())
        })
        .unwrap_or(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE))
    }

    fn offset_value(
        &self,
        request: &OffsetCommitRequest,
        partition: &OffsetCommitRequestPartition,
        now: Now,
    ) -> Result<OffsetValue, ErrorCode> {
        let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
        let is_too_long = metadata.len() > STRING_BYTES_MAX
            || (metadata.len() > self.config.offset_metadata_max
                && metadata.encode_utf16().count() > self.config.offset_metadata_max);
        if is_too_long {
            return Err(ErrorCode::OFFSET_METADATA_TOO_LARGE);
        }
        let retention_ms = Some(request.retention_time_ms).filter(|retention_ms| *retention_ms != -1);
        Ok(OffsetValue {
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: Arc::from(metadata),
            commit_timestamp: match partition.commit_timestamp {
                -1 => now.wall_ms,
                timestamp => timestamp,
            },
            expire_timestamp: retention_ms.map(|retention_ms| now.wall_ms.saturating_add(retention_ms)),
        })
    }

    fn write_commit(&mut self, commit: Commit, effects: &mut Vec<Effect>) {
        let mut records = Vec::with_capacity(commit.offsets.len());
        for (topic, partition, value) in &commit.offsets {
            match (offset_key(&commit.group, topic, *partition), value.encode()) {
                (Ok(key), Ok(value)) => records.push(OffsetsRecord { key, value: Some(value) }),
                _ => return finish_commit(commit, Err(ErrorCode::INVALID_COMMIT_OFFSET_SIZE), effects),
            }
        }
        if let Some(group) = self.groups.get_mut(&commit.group) {
            for (topic, partition, _) in &commit.offsets {
                group.offsets.begin(topic, *partition);
            }
        }
        self.writes.begin(records, Pending::Commit(commit), effects);
    }

    /// Offsets were written, or not.
    pub(super) fn on_commit_written(
        &mut self,
        mut commit: Commit,
        result: Result<i64, ErrorCode>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(group) = self.groups.get_mut(&commit.group) {
            for (topic, partition, value) in std::mem::take(&mut commit.offsets) {
                group.offsets.end(&topic, partition);
                if let Ok(log_offset) = result {
                    group.offsets.insert(&topic, partition, Stored { log_offset, value });
                }
            }
        }
        finish_commit(commit, result.map(drop).map_err(offset_error), effects);
    }

    /// The offsets of one group, of the partitions asked for or of all. `require_stable` refuses those that may still change (KIP-447).
    #[must_use]
    pub fn fetch_offsets(
        &self,
        group_id: &str,
        topics: Option<&[OffsetFetchRequestTopics]>,
        require_stable: bool,
    ) -> OffsetFetchResponseGroup {
        let group = self.groups.get(group_id).filter(|group| group.state != State::Dead);
        let topics = match topics {
            Some(asked) => asked
                .iter()
                .map(|topic| OffsetFetchResponseTopics {
                    name: topic.name.clone(),
                    partitions: topic
                        .partition_indexes
                        .iter()
                        .map(|partition| fetch_one(group, &topic.name, *partition, require_stable))
                        .collect(),
                })
                .collect(),
            None => group
                .iter()
                .flat_map(|group| group.offsets.committed().topics())
                .map(|(topic, partitions)| OffsetFetchResponseTopics {
                    name: topic.into(),
                    partitions: partitions
                        .keys()
                        .map(|partition| fetch_one(group, topic, *partition, require_stable))
                        .collect(),
                })
                .collect(),
        };
        OffsetFetchResponseGroup { group_id: group_id.into(), topics, error_code: 0 }
    }
}

impl Group {
    fn check_commit(&self, member_id: &str, instance_id: Option<&str>, generation: i32) -> Result<(), ErrorCode> {
        match self.state {
            State::Dead => return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            // From an administrator, or from a consumer that manages its partitions itself.
            State::Empty if generation < 0 => return Ok(()),
            _ => {}
        }
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        match self.state {
            // The member knows the new generation but not its partitions in it: it cannot have read any.
            State::CompletingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            _ => Ok(()),
        }
    }
}

fn fetch_one(
    group: Option<&Group>,
    topic: &str,
    partition: i32,
    require_stable: bool,
) -> OffsetFetchResponsePartitions {
    let none = OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: -1,
        committed_leader_epoch: -1,
        ..Default::default()
    };
    let Some(group) = group else { return none };
    if require_stable && group.offsets.is_unstable(topic, partition) {
        return OffsetFetchResponsePartitions { error_code: ErrorCode::UNSTABLE_OFFSET_COMMIT.0, ..none };
    }
    match group.offsets.get(topic, partition) {
        Some(value) => OffsetFetchResponsePartitions {
            committed_offset: value.offset,
            committed_leader_epoch: value.leader_epoch,
            metadata: Some((&value.metadata).into()),
            ..none
        },
        None => none,
    }
}

/// Answers a commit. Partitions that had an error of their own keep it.
fn finish_commit(mut commit: Commit, result: Result<(), ErrorCode>, effects: &mut Vec<Effect>) {
    if let Err(error) = result {
        for partition in commit.response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            if partition.error_code == ErrorCode::NONE.0 {
                partition.error_code = error.0;
            }
        }
    }
    effects.push(Effect::Reply { token: commit.token, response: Response::OffsetCommit(commit.response) });
}
