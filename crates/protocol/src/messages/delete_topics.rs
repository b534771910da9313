//! DeleteTopics, all versions.

use crate::messages::table::messages;
use crate::types::Uuid;
use crate::wire::Str;

messages! {
    api DeleteTopics: DeleteTopicsRequest => DeleteTopicsResponse, versions 0..=6, flexible 4..;

    struct DeleteTopicsRequest {
        topics: Vec<DeleteTopicState>, versions 6..;
        topic_names: Vec<Str>, ignorable 0..=5;
        timeout_ms: i32, versions 0..;
    }

    struct DeleteTopicState {
        name: Option<Str>, versions 6..;
        topic_id: Uuid, versions 6..;
    }

    struct DeleteTopicsResponse {
        throttle_time_ms: i32, ignorable 1..;
        responses: Vec<DeletableTopicResult>, versions 0..;
    }

    struct DeletableTopicResult {
        name: Option<Str> = Some(Default::default()), versions 0.., nullable 6..;
        topic_id: Uuid, ignorable 6..;
        error_code: i16, versions 0..;
        error_message: Option<Str>, ignorable 5..;
    }
}
