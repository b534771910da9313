//! DeleteTopics: removes topics; from v6 on also by topic id.

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::Str;

messages! {
    api DeleteTopics: DeleteTopicsRequest => DeleteTopicsResponse, versions 0..=6, flexible 4..;

    /// What is asked.
    struct DeleteTopicsRequest {
        /// From v6.
        topics: Vec<DeleteTopicState>, versions 6..;
        /// Up to v5.
        topic_names: Vec<Str>, ignorable 0..=5;
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32, versions 0..;
    }

    /// A topic to remove, by name or by id.
    struct DeleteTopicState {
        /// None if the id says it.
        name: Option<Str>, versions 6..;
        topic_id: Uuid, versions 6..;
    }

    /// What is answered.
    struct DeleteTopicsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 1..;
        responses: Vec<DeletableTopicResult>, versions 0..;
    }

    /// Outcome for one topic.
    struct DeletableTopicResult {
        /// None only for an id nobody knows.
        name: Option<Str> = Some(Default::default()), versions 0.., nullable 6..;
        topic_id: Uuid, ignorable 6..;
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str>, ignorable 5..;
    }
}
