//! Deleting groups and offsets, and what has expired. All of it is one thing: tombstones are written, and what they name is forgotten once they are.

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use protocol::wire::WireError;

use super::Groups;
use super::writes::{AskedBy, Pending, Removal, offset_error};
use crate::event::{Effect, Now, OffsetsRecord, Response, Token};
use crate::group::{Group, State};
use crate::record::{group_key, offset_key};

impl Groups {
    /// One group of a DeleteGroups. The answer comes as [`Response::DeleteGroup`].
    pub fn delete_group(&mut self, token: Token, group_id: &str, effects: &mut Vec<Effect>) {
        let error = match self.groups.get(group_id).map(|group| group.state) {
            None | Some(State::Dead) => Some(ErrorCode::GROUP_ID_NOT_FOUND),
            Some(State::Empty) => self.writes.is_full().then_some(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            Some(State::PreparingRebalance | State::CompletingRebalance | State::Stable) => {
                Some(ErrorCode::NON_EMPTY_GROUP)
            }
        };
        if let Some(error) = error {
            effects.push(Effect::Reply { token, response: Response::DeleteGroup(error) });
            return;
        }
        self.remove(group_id, |_, _| true, true, Some(AskedBy::DeleteGroup(token)), effects);
    }

    /// OffsetDelete (KIP-496). The answer comes as [`Response::OffsetDelete`].
    pub fn delete_offsets(
        &mut self,
        token: Token,
        request: &OffsetDeleteRequest,
        refuse: impl Fn(&str, i32) -> Option<ErrorCode>,
        effects: &mut Vec<Effect>,
    ) {
        let group = self.groups.get(&*request.group_id);
        let error = match group.map(|group| (group.state, group.is_consumer_group())) {
            _ if request.group_id.is_empty() => ErrorCode::INVALID_GROUP_ID,
            None | Some((State::Dead, _)) => ErrorCode::GROUP_ID_NOT_FOUND,
            Some((State::Empty, _) | (_, true)) if self.writes.is_full() => ErrorCode::COORDINATOR_NOT_AVAILABLE,
            Some((State::Empty, _) | (_, true)) => ErrorCode::NONE,
            Some(_) => ErrorCode::NON_EMPTY_GROUP,
        };
        let (Some(group), ErrorCode::NONE) = (group, error) else {
            let response = OffsetDeleteResponse { error_code: error.0, ..Default::default() };
            effects.push(Effect::Reply { token, response: Response::OffsetDelete(response) });
            return;
        };
        let mut doomed: Vec<(Arc<str>, i32)> = Vec::new();
        let mut response = OffsetDeleteResponse::default();
        for topic in &request.topics {
            let name: Arc<str> = Arc::from(&*topic.name);
            let is_read = group.state != State::Empty && group.is_subscribed_to(&name);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let error = match refuse(&name, index) {
                    Some(error) => error,
                    None if is_read => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
                    None => {
                        doomed.push((name.clone(), index));
                        ErrorCode::NONE
                    }
                };
                partitions.push(OffsetDeleteResponsePartition { partition_index: index, error_code: error.0 });
            }
            response.topics.push(OffsetDeleteResponseTopic { name: topic.name.clone(), partitions });
        }
        doomed.sort();
        doomed.dedup();
        doomed.retain(|(topic, partition)| group.offsets.get(topic, *partition).is_some());
        let asked_by = Some(AskedBy::OffsetDelete(token, response));
        let group = group.id.clone();
        self.write_removal(Removal { group, offsets: doomed, whole_group: false, asked_by }, effects);
    }

    /// Forgets the offsets of topics that were deleted.
    pub fn forget_topics(&mut self, is_deleted: impl Fn(&str) -> bool, effects: &mut Vec<Effect>) {
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            self.remove(&id, |_, topic| is_deleted(topic.0), false, None, effects);
        }
    }

    /// Forgets offsets that nobody has used for longer than the retention, and groups that keep nothing. To be called every `offsets.retention.check.interval.ms`.
    pub fn expire(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let retention_ms = self.config.offsets_retention_ms;
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            if self.writes.is_full() {
                // The rest waits for the next round.
                return;
            }
            let has_expired = |group: &Group, (topic, partition): (&str, i32)| {
                group.has_expired(topic, partition, now.wall_ms, retention_ms)
            };
            self.remove(&id, has_expired, false, None, effects);
        }
    }

    /// Removes the offsets that `is_doomed`, and the group if it keeps nothing after that (or in any case for `whole_group`).
    fn remove(
        &mut self,
        group_id: &str,
        is_doomed: impl Fn(&Group, (&str, i32)) -> bool,
        whole_group: bool,
        asked_by: Option<AskedBy>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(group) = self.groups.get_mut(group_id).filter(|group| group.state != State::Dead) else { return };
        let offsets: Vec<(Arc<str>, i32)> = group
            .offsets
            .committed()
            .iter()
            .filter(|(topic, partition, _)| whole_group || !group.offsets.is_pending(topic, *partition))
            .filter(|(topic, partition, _)| is_doomed(group, (topic, *partition)))
            .map(|(topic, partition, _)| (topic.clone(), partition))
            .collect();
        let keeps_nothing =
            group.is_empty() && offsets.len() == group.offsets.committed().len() && !group.offsets.is_busy();
        let whole_group = whole_group || keeps_nothing;
        if whole_group {
            // Nobody may join or commit while it goes.
            group.state = State::Dead;
        } else if offsets.is_empty() {
            return;
        }
        let group = group.id.clone();
        self.write_removal(Removal { group, offsets, whole_group, asked_by }, effects);
    }

    fn write_removal(&mut self, removal: Removal, effects: &mut Vec<Effect>) {
        match self.tombstones(&removal) {
            Ok(records) if records.is_empty() => self.on_removal_written(removal, Ok(i64::MAX), effects),
            Ok(records) => self.writes.begin(records, Pending::Removal(removal), effects),
            Err(_) => self.on_removal_written(removal, Err(ErrorCode::UNKNOWN_SERVER_ERROR), effects),
        }
    }

    fn tombstones(&self, removal: &Removal) -> Result<Vec<OffsetsRecord>, WireError> {
        let mut records = Vec::with_capacity(removal.offsets.len() + 1);
        for (topic, partition) in &removal.offsets {
            records.push(OffsetsRecord { key: offset_key(&removal.group, topic, *partition)?, value: None });
        }
        // A group that never had a generation has no record.
        let has_record = self.groups.get(&removal.group).is_some_and(|group| group.generation > 0);
        if removal.whole_group && has_record {
            records.push(OffsetsRecord { key: group_key(&removal.group)?, value: None });
        }
        Ok(records)
    }

    /// Tombstones were written, or not.
    pub(super) fn on_removal_written(
        &mut self,
        removal: Removal,
        result: Result<i64, ErrorCode>,
        effects: &mut Vec<Effect>,
    ) {
        let result = result.map_err(offset_error);
        if let Some(group) = self.groups.get_mut(&removal.group) {
            match result {
                Ok(_) if removal.whole_group => {
                    let offsets = removal.offsets.len();
                    let text = format!("Group {} was removed with {offsets} offsets", removal.group);
                    effects.push(Effect::Notice(text));
                    self.forget(&removal.group);
                }
                Ok(log_offset) => {
                    for (topic, partition) in &removal.offsets {
                        group.offsets.remove(topic, *partition, log_offset);
                    }
                }
                Err(_) if removal.whole_group => group.state = State::Empty,
                Err(_) => {}
            }
        }
        let error = result.err().unwrap_or(ErrorCode::NONE);
        match removal.asked_by {
            Some(AskedBy::DeleteGroup(token)) => {
                effects.push(Effect::Reply { token, response: Response::DeleteGroup(error) });
            }
            Some(AskedBy::OffsetDelete(token, response)) => {
                let response = match error {
                    ErrorCode::NONE => response,
                    error => OffsetDeleteResponse { error_code: error.0, ..Default::default() },
                };
                effects.push(Effect::Reply { token, response: Response::OffsetDelete(response) });
            }
            None => {}
        }
    }
}

impl Group {
    /// Kafka's `removeExpiredOffsets` (KIP-211): retention counts from when the group became empty; in a stable group of consumers from the last commit, for topics that
    /// no member reads; in a group that never had members from the last commit.
    fn has_expired(&self, topic: &str, partition: i32, now_ms: i64, retention_ms: i64) -> bool {
        let Some(value) = self.offsets.get(topic, partition) else { return false };
        let since_ms = match (&self.protocol_type, self.state) {
            (None, _) => value.commit_timestamp,
            (Some(_), State::Empty) => self.state_since_ms.unwrap_or(value.commit_timestamp),
            (Some(_), State::Stable) if self.is_consumer_group() && self.knows_subscriptions() => {
                if self.is_subscribed_to(topic) {
                    return false;
                }
                value.commit_timestamp
            }
            _ => return false,
        };
        match value.expire_timestamp {
            Some(expire_timestamp) => now_ms >= expire_timestamp,
            None => now_ms.saturating_sub(since_ms) >= retention_ms,
        }
    }
}
