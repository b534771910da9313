//! Records of `__consumer_offsets`: keys say what a record is about, values what holds for it now, and no value that it is gone.
//!
//! Read in all versions that Kafka wrote so far, written in those that Kafka 3.9 writes (offsets: key 1, value 3; groups: key 2, value 3), so either program can open the
//! other's directory. Source: the schemas OffsetCommitKey, OffsetCommitValue, GroupMetadataKey and GroupMetadataValue.

use std::sync::Arc;

use bytes::Bytes;
use protocol::types::TopicPartition;
use protocol::wire::{Reader, WireError, Writer};

/// Why bytes are not a record of `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end early, or hold what no version allows.
    #[error("record of __consumer_offsets is damaged: {0}")]
    Damaged(#[from] WireError),
    /// The value is of a version that this program does not know; a newer Kafka wrote it.
    #[error("{what} of version {version} in __consumer_offsets is not known")]
    UnknownVersion {
        /// Kind of value.
        what: &'static str,
        /// The version.
        version: i16,
    },
    /// More open transactions than can be kept.
    #[error("more than {limit} transactions with offset commits are open in __consumer_offsets")]
    TooManyTransactions {
        /// What can be kept.
        limit: usize,
    },
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// An offset of a group.
    Offset {
        /// The group.
        group: Arc<str>,
        /// Where the offset points into.
        partition: TopicPartition,
    },
    /// A group's members and assignments.
    Group {
        /// The group.
        group: Arc<str>,
    },
    /// Something newer, by its version: 3 to 8 belong to KIP-848 groups, later ones to share and streams groups.
    Unknown(i16),
}

impl Key {
    /// Reads a key.
    ///
    /// # Errors
    /// [`RecordError::Damaged`].
    pub fn decode(bytes: Bytes) -> Result<Key, RecordError> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.i16()? {
            0 | 1 => Key::Offset {
                group: reader.string(false)?.into(),
                partition: TopicPartition::new(reader.string(false)?, reader.i32()?),
            },
            2 => Key::Group { group: reader.string(false)?.into() },
            version => Key::Unknown(version),
        })
    }
}

/// The key of a group's offset, version 1.
///
/// # Errors
/// A name longer than the format can hold.
pub fn offset_key(group: &str, topic: &str, partition: i32) -> Result<Bytes, WireError> {
    let mut writer = Writer::new();
    writer.i16(1);
    writer.nullable_string(Some(group), false)?;
    writer.nullable_string(Some(topic), false)?;
    writer.i32(partition);
    writer.into_bytes()
}

/// The key of a group, version 2.
///
/// # Errors
/// A name longer than the format can hold.
pub fn group_key(group: &str) -> Result<Bytes, WireError> {
    let mut writer = Writer::new();
    writer.i16(2);
    writer.nullable_string(Some(group), false)?;
    writer.into_bytes()
}

/// Value of a group's offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetValue {
    /// Next record to be read.
    pub offset: i64,
    /// Leader epoch of the record before it, or -1.
    pub leader_epoch: i32,
    /// The client's own text.
    pub metadata: Arc<str>,
    /// When it was committed, in milliseconds since 1970.
    pub commit_timestamp: i64,
    /// When it is to be forgotten, where the client asked for it (OffsetCommit v2 to v4).
    pub expire_timestamp: Option<i64>,
}

impl OffsetValue {
    /// Reads versions 0 to 4.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: Bytes) -> Result<OffsetValue, RecordError> {
        let mut reader = Reader::new(bytes);
        let version = reader.i16()?;
        if !(0..=4).contains(&version) {
            return Err(RecordError::UnknownVersion { what: "an offset", version });
        }
        let flexible = version >= 4;
        let offset = reader.i64()?;
        let leader_epoch = if version >= 3 { reader.i32()? } else { -1 };
        let metadata = reader.string(flexible)?.into();
        let commit_timestamp = reader.i64()?;
        let expire_timestamp = if version == 1 { reader.i64()? } else { -1 };
        if flexible {
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        let expire_timestamp = Some(expire_timestamp).filter(|timestamp| *timestamp != -1);
        Ok(OffsetValue { offset, leader_epoch, metadata, commit_timestamp, expire_timestamp })
    }

    /// Writes version 3, or version 1 where an expiry must be kept, as Kafka does.
    ///
    /// # Errors
    /// Metadata longer than the format can hold.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        let version = if self.expire_timestamp.is_some() { 1 } else { 3 };
        let mut writer = Writer::new();
        writer.i16(version);
        writer.i64(self.offset);
        if version == 3 {
            writer.i32(self.leader_epoch);
        }
        writer.nullable_string(Some(&self.metadata), false)?;
        writer.i64(self.commit_timestamp);
        if let Some(expire_timestamp) = self.expire_timestamp {
            writer.i64(expire_timestamp);
        }
        writer.into_bytes()
    }
}

/// Value of a group: its last generation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupValue {
    /// `consumer` for consumers; empty for a group that never had members.
    pub protocol_type: Arc<str>,
    /// Number of the generation.
    pub generation: i32,
    /// The assignor; none without members.
    pub protocol: Option<Arc<str>>,
    /// Member id of the leader; none without members.
    pub leader: Option<Arc<str>>,
    /// Since when the group is in its state, in milliseconds since 1970.
    pub state_since_ms: Option<i64>,
    /// The members; none for an empty group.
    pub members: Vec<MemberValue>,
}

/// A member in a [`GroupValue`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberValue {
    /// Its id.
    pub member_id: Arc<str>,
    /// Name of a static member.
    pub group_instance_id: Option<Arc<str>>,
    /// Name its client gives itself.
    pub client_id: Arc<str>,
    /// Where it connects from.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it told the leader.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

impl GroupValue {
    /// Reads versions 0 to 4.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: Bytes) -> Result<GroupValue, RecordError> {
        let mut reader = Reader::new(bytes);
        let version = reader.i16()?;
        if !(0..=4).contains(&version) {
            return Err(RecordError::UnknownVersion { what: "a group", version });
        }
        let flexible = version >= 4;
        let protocol_type = reader.string(flexible)?.into();
        let generation = reader.i32()?;
        let protocol = reader.nullable_string(flexible)?.map(Into::into);
        let leader = reader.nullable_string(flexible)?.map(Into::into);
        let state_since_ms = if version >= 2 { Some(reader.i64()?).filter(|since| *since != -1) } else { None };
        let members = reader.nullable_array(flexible, |reader| MemberValue::decode(reader, version))?;
        if flexible {
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        let members = members.unwrap_or_default();
        Ok(GroupValue { protocol_type, generation, protocol, leader, state_since_ms, members })
    }

    /// Writes version 3.
    ///
    /// # Errors
    /// A text longer than the format can hold.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        let mut writer = Writer::new();
        writer.i16(3);
        writer.nullable_string(Some(&self.protocol_type), false)?;
        writer.i32(self.generation);
        writer.nullable_string(self.protocol.as_deref(), false)?;
        writer.nullable_string(self.leader.as_deref(), false)?;
        writer.i64(self.state_since_ms.unwrap_or(-1));
        writer.array_length(Some(self.members.len()), false)?;
        for member in &self.members {
            member.encode(&mut writer)?;
        }
        writer.into_bytes()
    }
}

impl MemberValue {
    fn decode(reader: &mut Reader, version: i16) -> Result<MemberValue, WireError> {
        let flexible = version >= 4;
        let member_id = reader.string(flexible)?.into();
        let group_instance_id = if version >= 3 { reader.nullable_string(flexible)?.map(Into::into) } else { None };
        let client_id = reader.string(flexible)?.into();
        let client_host = reader.string(flexible)?.into();
        let rebalance_timeout_ms = if version >= 1 { Some(reader.i32()?) } else { None };
        let session_timeout_ms = reader.i32()?;
        let member = MemberValue {
            member_id,
            group_instance_id,
            client_id,
            client_host,
            // Before KIP-62 a rebalance waited for as long as a member might be silent.
            rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: reader.bytes(flexible)?,
            assignment: reader.bytes(flexible)?,
        };
        if flexible {
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(member)
    }

    fn encode(&self, writer: &mut Writer) -> Result<(), WireError> {
        writer.nullable_string(Some(&self.member_id), false)?;
        writer.nullable_string(self.group_instance_id.as_deref(), false)?;
        writer.nullable_string(Some(&self.client_id), false)?;
        writer.nullable_string(Some(&self.client_host), false)?;
        writer.i32(self.rebalance_timeout_ms);
        writer.i32(self.session_timeout_ms);
        writer.nullable_bytes(Some(&self.subscription), false)?;
        writer.nullable_bytes(Some(&self.assignment), false)
    }
}

#[cfg(test)]
mod tests;
