//! What consumers tell each other through the group coordinator: the bytes of JoinGroup's `metadata` and SyncGroup's `assignment`
//! in groups of protocol type `consumer`.
//!
//! Each is its version as INT16, then the message of that version. The coordinator looks inside only to describe a group or to delete offsets.
//! A version newer than the tables is read as the newest one: later versions only add fields at the end (KIP-429).

use bytes::Bytes;

use super::Message;
use super::table::{NEVER, messages};
use crate::wire::{Reader, Str, WireError, Writer};

/// Newest version of both messages.
pub const VERSION_MAX: i16 = 3;

messages! {
    embedded, versions 0..=VERSION_MAX, flexible NEVER..;

    /// What a member subscribes to, sent with JoinGroup.
    struct ConsumerProtocolSubscription {
        topics: Vec<Str>, versions 0..;
        /// Whatever the member's assignor wants to tell the leader's.
        user_data: Option<Bytes> = None, versions 0..;
        /// Partitions the member holds at the moment, for cooperative rebalancing (KIP-429).
        owned_partitions: Vec<TopicPartitions>, ignorable 1..;
        /// Generation in which it got them; -1 is none.
        generation_id: i32 = -1, ignorable 2..;
        rack_id: Option<Str> = None, ignorable 3..;
    }

    /// What the leader gives a member, received with SyncGroup.
    struct ConsumerProtocolAssignment {
        assigned_partitions: Vec<TopicPartitions>, versions 0..;
        /// Whatever the leader's assignor wants to tell the member's.
        user_data: Option<Bytes> = None, versions 0..;
    }

    /// Partitions of one topic. (Kafka's schema calls it TopicPartition, which here is the name of a single one.)
    struct TopicPartitions {
        topic: Str, versions 0..;
        partitions: Vec<i32>, versions 0..;
    }
}

/// Reads the version and the message after it.
///
/// # Errors
/// [`WireError::UnsupportedVersion`] for a negative version, or damaged bytes.
pub fn decode<M: Message>(bytes: Bytes) -> Result<(i16, M), WireError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    let message = M::decode(&mut reader, version.min(VERSION_MAX))?;
    Ok((version, message))
}

/// Writes the version and the message.
///
/// # Errors
/// See [`Message::encode`].
pub fn encode<M: Message>(message: &M, version: i16) -> Result<Bytes, WireError> {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version)?;
    writer.into_bytes()
}
