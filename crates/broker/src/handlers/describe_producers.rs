//! DescribeProducers: the producers whose sequence numbers a partition remembers (KIP-664).

use std::sync::Arc;

use protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use super::RequestContext;
use crate::state::BrokerState;

/// Answers from the logs this broker leads.
pub fn handle(
    broker: &Arc<BrokerState>,
    _context: &RequestContext,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let image = broker.metadata.image();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|partition| {
            let found = broker.replicas.find(&image, &topic.name, *partition);
            let answer = PartitionResponse { partition_index: *partition, ..Default::default() };
            match found.and_then(|hosted| hosted.leader_epoch().map(|_| hosted)) {
                Ok(hosted) => {
                    let producers = hosted.log().producers().into_iter();
                    let active_producers = producers.map(|(producer_id, state)| ProducerState {
                        producer_id,
                        producer_epoch: i32::from(state.epoch),
                        last_sequence: state.batches.back().map_or(-1, |batch| batch.last_sequence),
                        last_timestamp: state.last_timestamp,
                        ..Default::default()
                    });
                    PartitionResponse { active_producers: active_producers.collect(), ..answer }
                }
                Err(code) => PartitionResponse { error_code: code.0, ..answer },
            }
        });
        let partitions = partitions.collect();
        TopicResponse { name: topic.name, partitions }
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
}
