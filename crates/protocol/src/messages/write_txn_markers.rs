//! WriteTxnMarkers: the transaction coordinator tells partition leaders how a transaction ended.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api WriteTxnMarkers: WriteTxnMarkersRequest => WriteTxnMarkersResponse, versions 0..=1, flexible 1..;

    /// What is asked.
    struct WriteTxnMarkersRequest {
        markers: Vec<WritableTxnMarker>, versions 0..;
    }

    /// The end of one transaction.
    struct WritableTxnMarker {
        producer_id: i64, versions 0..;
        producer_epoch: i16, versions 0..;
        /// true commits, false aborts.
        transaction_result: bool, versions 0..;
        topics: Vec<WritableTxnMarkerTopic>, versions 0..;
        coordinator_epoch: i32, versions 0..;
    }

    /// Partitions of one topic.
    struct WritableTxnMarkerTopic {
        name: Str, versions 0..;
        partition_indexes: Vec<i32>, versions 0..;
    }

    /// What is answered.
    struct WriteTxnMarkersResponse {
        markers: Vec<WritableTxnMarkerResult>, versions 0..;
    }

    /// Outcome for one transaction.
    struct WritableTxnMarkerResult {
        producer_id: i64, versions 0..;
        topics: Vec<WritableTxnMarkerTopicResult>, versions 0..;
    }

    /// Outcome for one topic.
    struct WritableTxnMarkerTopicResult {
        name: Str, versions 0..;
        partitions: Vec<WritableTxnMarkerPartitionResult>, versions 0..;
    }

    /// Outcome for one partition.
    struct WritableTxnMarkerPartitionResult {
        partition_index: i32, versions 0..;
        error_code: i16, versions 0..;
    }
}
