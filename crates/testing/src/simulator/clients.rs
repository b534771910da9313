//! The clients of a run: idempotent producers that retry for ever, and consumers that read up to the high watermark. They speak the protocol in the words of
//! `crates/protocol`, as the production client does; that one is played by the second tier.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use protocol::error::ErrorCode;
use protocol::messages::Request;
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::init_producer_id::InitProducerIdRequest;
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use protocol::records::batch::BatchIter;
use protocol::records::{BatchBuilder, BatchOptions};
use protocol::types::Uuid;
use protocol::wire::Str;

use super::chance::Chance;
use super::history::Partition;
use super::topics::Topics;

/// The topic that stands from the beginning of a run to its end.
pub const TOPIC: &str = "t";
/// Its id.
pub const TOPIC_ID: Uuid = Uuid([7; 16]);

/// Longest record batch that is unpacked.
const UNPACKED_BYTES_MAX: usize = 1 << 20;
/// What a produce request allows a broker.
const PRODUCE_TIMEOUT_MS: i32 = 1_000;
/// How long a consumer's fetch may wait.
const CONSUMER_WAIT_MS: i32 = 150;
/// What a consumer takes of one partition.
const CONSUMER_BYTES_MAX: i32 = 1 << 16;

/// Versions of the requests that are sent.
pub const PRODUCE: i16 = 11;
/// As above.
pub const FETCH: i16 = 17;
/// As above.
pub const METADATA: i16 = 12;
/// As above.
pub const INIT_PRODUCER_ID: i16 = 4;

/// What a client's call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A producer asks for its id.
    ProducerId,
    /// Who leads?
    Metadata,
    /// A batch for a partition.
    Produce(Partition),
    /// Records of a partition.
    Consume(Partition),
}

/// Who leads, as a client believes.
#[derive(Debug, Default)]
pub struct Leaders {
    known: BTreeMap<Partition, (i32, i32)>,
    /// A question about it is under way.
    pub asking: bool,
}

impl Leaders {
    /// Leader and epoch.
    #[must_use]
    pub fn of(&self, partition: Partition) -> Option<(i32, i32)> {
        self.known.get(&partition).copied().filter(|(leader, _)| *leader >= 0)
    }

    /// Was told that a leader is none, or not at all. The epoch stays known: an older one is no news (KIP-320).
    pub fn forget(&mut self, partition: Partition) {
        if let Some((leader, _)) = self.known.get_mut(&partition) {
            *leader = -1;
        }
    }

    /// Takes an answer in. What is older than what is known is left out (KIP-320).
    pub fn learn(&mut self, response: &MetadataResponse, topics: &Topics) {
        let told = response.topics.iter().flat_map(|topic| topic.partitions.iter().map(|told| (topic.topic_id, told)));
        for (topic_id, told) in told {
            // Of a topic that has gone, or of another of its name, nothing is to be learned.
            let Some(partition) = topics.find(topic_id, told.partition_index) else { continue };
            let newest = self.known.get(&partition).map_or(-1, |(_, epoch)| *epoch);
            if told.leader_epoch >= newest && told.error_code == 0 {
                self.known.insert(partition, (told.leader_id, told.leader_epoch));
            }
        }
    }
}

/// An idempotent producer with acks=all.
#[derive(Debug)]
pub struct Producer {
    /// Its number, in the upper half of each value.
    pub number: u64,
    /// Its id, once it has one.
    pub id: Option<(i64, i16)>,
    /// Who leads.
    pub leaders: Leaders,
    /// One for each partition.
    pub lanes: Vec<Lane>,
    next_value: u64,
}

/// What a producer sends to one partition: one batch at a time, in order.
#[derive(Debug, Default)]
pub struct Lane {
    /// Sequence of the batch's first value.
    pub sequence: i32,
    /// The values of the batch that is not acknowledged yet.
    pub batch: Vec<u64>,
    /// A call with it is under way.
    pub in_flight: bool,
    /// When its batch was made.
    pub since: Duration,
    /// How often in a row it was told that its sequence is not the next one.
    pub refused: u32,
}

impl Producer {
    /// A producer that has sent nothing.
    #[must_use]
    pub fn new(number: u64, partitions: usize) -> Producer {
        let lanes = (0..partitions).map(|_| Lane::default()).collect();
        Producer { number, id: None, leaders: Leaders::default(), lanes, next_value: 0 }
    }

    /// There are so many partitions now.
    pub fn grow(&mut self, partitions: usize) {
        self.lanes.resize_with(self.lanes.len().max(partitions), Lane::default);
    }

    /// Gives up what it wanted to send to a partition, whose topic is to be deleted.
    pub fn forget(&mut self, partition: Partition) {
        if let Some(lane) = self.lanes.get_mut(partition as usize) {
            lane.batch.clear();
        }
    }

    /// Puts new values into the batch of a partition that has none.
    pub fn fill(&mut self, partition: Partition, chance: &mut Chance, now: Duration) -> &[u64] {
        let lane = &mut self.lanes[partition as usize];
        for _ in 0..chance.between(1, 3) {
            lane.batch.push((self.number + 1) << 32 | self.next_value);
            self.next_value += 1;
        }
        lane.since = now;
        &lane.batch
    }

    /// The request for the batch of a partition.
    ///
    /// # Panics
    /// Where there is no batch, or no producer id.
    #[must_use]
    pub fn request(&self, partition: Partition, topics: &Topics, now_ms: i64, acks: i16) -> ProduceRequest {
        let lane = &self.lanes[partition as usize];
        let (producer_id, producer_epoch) = self.id.expect("a producer that sends has an id");
        let options =
            BatchOptions { producer_id, producer_epoch, base_sequence: lane.sequence, ..BatchOptions::default() };
        let mut batch = BatchBuilder::new(options);
        for value in &lane.batch {
            batch.append(now_ms, None, Some(&value.to_be_bytes()), None).expect("a small batch");
        }
        let records = Some(batch.build().expect("a small batch"));
        let (topic, index) = topics.of(partition);
        let partition_data = vec![PartitionProduceData { index, records }];
        ProduceRequest {
            acks,
            timeout_ms: PRODUCE_TIMEOUT_MS,
            topic_data: vec![TopicProduceData { name: Str::from(topic.plan.name), partition_data }],
            ..Default::default()
        }
    }

    /// The batch of a partition is safe; gives its values.
    pub fn acknowledged(&mut self, partition: Partition) -> Vec<u64> {
        let lane = &mut self.lanes[partition as usize];
        let values = std::mem::take(&mut lane.batch);
        lane.sequence += values.len() as i32;
        lane.refused = 0;
        values
    }

    /// Nothing is waiting to be acknowledged.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.lanes.iter().all(|lane| lane.batch.is_empty())
    }
}

/// A consumer of all partitions.
#[derive(Debug, Default)]
pub struct Consumer {
    /// Who leads.
    pub leaders: Leaders,
    /// Where it goes on reading, by partition.
    pub positions: BTreeMap<Partition, Position>,
}

/// How far a consumer is.
#[derive(Debug, Default)]
pub struct Position {
    /// The next offset.
    pub offset: i64,
    /// A fetch is under way.
    pub in_flight: bool,
}

/// A consumer's fetch.
#[must_use]
pub fn consume(partition: Partition, topics: &Topics, offset: i64, epoch: i32) -> FetchRequest {
    let (topic, number) = topics.of(partition);
    let partitions = vec![FetchPartition {
        partition: number,
        current_leader_epoch: epoch,
        fetch_offset: offset,
        partition_max_bytes: CONSUMER_BYTES_MAX,
        ..Default::default()
    }];
    FetchRequest {
        max_wait_ms: CONSUMER_WAIT_MS,
        min_bytes: 1,
        topics: vec![FetchTopic { topic_id: topic.id, partitions, ..Default::default() }],
        ..Default::default()
    }
}

/// The question who leads.
#[must_use]
pub fn metadata(topics: &Topics) -> MetadataRequest {
    let names = topics.standing().into_iter().map(|place| Str::from(topics.at(place).plan.name));
    let asked = names.map(|name| MetadataRequestTopic { name: Some(name), ..Default::default() });
    MetadataRequest { topics: Some(asked.collect()), allow_auto_topic_creation: false, ..Default::default() }
}

/// The question for a producer id.
#[must_use]
pub fn producer_id() -> InitProducerIdRequest {
    InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 60_000, ..Default::default() }
}

/// A request's frame, without its size.
///
/// # Panics
/// When the request cannot be said in this version.
pub fn frame<R: Request>(request: &R, version: i16) -> Bytes {
    let framed = protocol::frame::encode_request(request, version, 0, None).expect("a request that can be said");
    framed.slice(4..)
}

/// Reads an answer's frame, size included.
#[must_use]
pub fn answer<R: Request>(frame: Bytes, version: i16) -> Option<R::Response> {
    protocol::frame::decode_response::<R>(frame.slice(4..), version).ok().map(|(_, response)| response)
}

/// Offsets and values of whole batches; what is cut at the end is left out.
///
/// # Errors
/// What is wrong with a batch.
pub fn values(records: Bytes) -> Result<Vec<(i64, u64)>, String> {
    let mut values = Vec::new();
    for batch in BatchIter::new(records) {
        let batch = batch.map_err(|error| error.to_string())?;
        batch.verify_crc().map_err(|error| error.to_string())?;
        for record in batch.records(UNPACKED_BYTES_MAX).map_err(|error| error.to_string())? {
            let record = record.map_err(|error| error.to_string())?;
            let value = record.value.as_deref().and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
            values.push((record.offset.0, value.ok_or("a value of another length")?));
        }
    }
    Ok(values)
}

/// Errors after which a producer sends the same batch again.
#[must_use]
pub fn is_retriable(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::UNKNOWN_TOPIC_ID
    )
}
