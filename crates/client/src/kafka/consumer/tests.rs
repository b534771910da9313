use std::time::Duration;

use bytes::Bytes;
use protocol::api::ApiKey;
use protocol::error::ErrorCode;
use protocol::messages::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use protocol::records::{BatchBuilder, BatchOptions, MAX_DECOMPRESSED_BYTES, down_convert};
use protocol::wire::Records;
use runtime::Clock;

use super::super::fake_broker::{Answer, Asked, FakeBroker};
use super::*;

const APIS: &[ApiKey] = &[ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::Fetch, ApiKey::ListOffsets];
const WAIT: Duration = Duration::from_secs(5);

/// A batch of records whose values are their offsets.
fn batch(base: i64, count: i64) -> Vec<u8> {
    let options = BatchOptions { base_offset: Offset(base), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    for offset in base..base + count {
        builder.append(0, None, Some(offset.to_string().as_bytes()), None).unwrap();
    }
    builder.build_vec().unwrap()
}

/// A log that begins at 10, of batches of ten records, and ends at 50.
const START: i64 = 10;
const END: i64 = 50;

/// One batch from `offset` on.
fn records_at(offset: i64) -> Bytes {
    if offset >= END { Bytes::new() } else { batch(offset - offset % 10, 10).into() }
}

fn list_offsets_answer(asked: &Asked) -> Answer {
    let request: ListOffsetsRequest = asked.read();
    let partition = |wanted: &protocol::messages::list_offsets::ListOffsetsPartition| {
        let offset = if wanted.timestamp == -2 { START } else { END };
        let mut partition =
            ListOffsetsPartitionResponse { partition_index: wanted.partition_index, ..Default::default() };
        if asked.version == 0 {
            partition.old_style_offsets = vec![offset];
        } else {
            partition.offset = offset;
        }
        partition
    };
    let topic = |topic: &protocol::messages::list_offsets::ListOffsetsTopic| ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(partition).collect(),
    };
    asked.answer(&ListOffsetsResponse { topics: request.topics.iter().map(topic).collect(), ..Default::default() })
}

/// Answers a Fetch with what `serve` has for each partition: records or a code.
fn fetch_answer(asked: &Asked, serve: &mut impl FnMut(i32, i64, i32) -> Result<Bytes, ErrorCode>) -> Answer {
    let request: FetchRequest = asked.read();
    let mut nothing = true;
    let mut topics = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for wanted in &topic.partitions {
            let mut data = PartitionData {
                partition_index: wanted.partition,
                high_watermark: END,
                last_stable_offset: if asked.version >= 4 { END } else { -1 },
                ..Default::default()
            };
            match serve(wanted.partition, wanted.fetch_offset, wanted.partition_max_bytes) {
                Ok(records) => {
                    nothing &= records.is_empty();
                    data.records = Records::Bytes(records);
                }
                Err(code) => {
                    nothing = false;
                    (data.error_code, data.high_watermark) = (code.0, -1);
                }
            }
            partitions.push(data);
        }
        topics.push(FetchableTopicResponse { topic: topic.topic.clone(), partitions, ..Default::default() });
    }
    let frame = asked.frame(&FetchResponse { responses: topics, ..Default::default() });
    // A long poll, if a short one.
    if nothing { Answer::Later(Duration::from_millis(20), frame) } else { Answer::Bytes(frame) }
}

/// A leader of `t-0` and `t-1`.
fn leader(mut serve: impl FnMut(i32, i64, i32) -> Result<Bytes, ErrorCode> + Send + 'static) -> FakeBroker {
    FakeBroker::start(move |asked, address| match asked.api {
        ApiKey::ApiVersions => asked.versions_of(APIS),
        ApiKey::Metadata => asked.metadata_of(address, &[("t", 2)]),
        ApiKey::ListOffsets => list_offsets_answer(asked),
        _ => fetch_answer(asked, &mut serve),
    })
}

fn consumer(broker: &FakeBroker, reset: OffsetReset) -> Consumer {
    let mut config = ConsumerConfig::new(broker.config());
    config.auto_offset_reset = reset;
    config.fetch_max_wait = Duration::from_millis(20);
    Consumer::new(Cluster::new(config.client.clone(), Clock::real()), config).unwrap()
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("t", number)
}

/// Offsets read from `t-0` until `count` are there, each checked against its value.
async fn read(consumer: &Consumer, count: usize) -> Vec<i64> {
    let deadline = Clock::real().now() + WAIT;
    let mut offsets = Vec::new();
    while offsets.len() < count {
        assert!(Clock::real().now() < deadline, "only {offsets:?} came");
        for block in consumer.poll(Duration::from_millis(200)).await.unwrap() {
            for record in block.records() {
                let record = record.unwrap();
                assert_eq!(record.value.unwrap(), record.offset.to_string().as_bytes());
                if block.topic_partition.partition == 0 {
                    offsets.push(record.offset.0);
                }
            }
        }
    }
    offsets
}

#[tokio::test]
async fn a_policy_decides_where_reading_begins() {
    let broker = leader(|_, offset, _| Ok(records_at(offset)));
    let earliest = consumer(&broker, OffsetReset::Earliest);
    earliest.assign([partition(0)]);
    assert_eq!(read(&earliest, 40).await, (START..END).collect::<Vec<_>>());
    assert_eq!(earliest.position(&partition(0)), Some(Offset(END)));
    assert_eq!((earliest.high_watermark(&partition(0)), earliest.lag(&partition(0))), (Some(Offset(END)), Some(0)));

    let latest = consumer(&broker, OffsetReset::Latest);
    latest.assign([partition(0)]);
    assert_eq!(latest.wait_for_position(&partition(0), WAIT).await.unwrap(), Offset(END));
    assert!(latest.poll(Duration::from_millis(50)).await.unwrap().is_empty());
}

#[tokio::test]
async fn without_policy_the_missing_position_is_told_once() {
    let broker = leader(|_, offset, _| Ok(records_at(offset)));
    let consumer = consumer(&broker, OffsetReset::None);
    consumer.assign([partition(0), partition(1)]);
    consumer.seek(&partition(0), Offset(45)).unwrap();
    let mut told = Vec::new();
    let mut offsets = Vec::new();
    for _ in 0..20 {
        match consumer.poll(Duration::from_millis(20)).await {
            Ok(blocks) => offsets.extend(blocks.iter().flat_map(FetchedBlock::records).map(|it| it.unwrap().offset.0)),
            Err(error) => told.push(error.to_string()),
        }
    }
    assert_eq!(told, ["Undefined offset with no reset policy for partitions: [t-1]"]);
    assert_eq!(offsets, [45, 46, 47, 48, 49], "the other partition goes on");
}

#[tokio::test]
async fn a_seek_throws_away_what_was_fetched_before() {
    let broker = leader(|_, offset, _| Ok(records_at(offset)));
    let consumer = consumer(&broker, OffsetReset::Earliest);
    consumer.assign([partition(0)]);
    assert_eq!(read(&consumer, 10).await[0], START);
    // The next batch is on its way or here by now.
    consumer.seek(&partition(0), Offset(33)).unwrap();
    assert_eq!(read(&consumer, 17).await, (33..END).collect::<Vec<_>>());
    assert!(consumer.seek(&partition(7), Offset(0)).is_err());
}

#[tokio::test]
async fn a_paused_partition_is_not_read_and_loses_nothing() {
    let broker = leader(|_, offset, _| Ok(records_at(offset)));
    let consumer = consumer(&broker, OffsetReset::Earliest);
    consumer.assign([partition(0)]);
    assert_eq!(read(&consumer, 10).await, (10..20).collect::<Vec<_>>());
    consumer.pause(&partition(0)).unwrap();
    for _ in 0..5 {
        assert!(consumer.poll(Duration::from_millis(10)).await.unwrap().is_empty());
    }
    consumer.resume(&partition(0)).unwrap();
    assert_eq!(read(&consumer, 30).await, (20..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_position_outside_the_log_goes_by_the_policy() {
    let serve =
        |_, offset, _| if offset < START { Err(ErrorCode::OFFSET_OUT_OF_RANGE) } else { Ok(records_at(offset)) };
    let broker = leader(serve);
    let resetting = consumer(&broker, OffsetReset::Earliest);
    resetting.assign([partition(0)]);
    resetting.seek(&partition(0), Offset(3)).unwrap();
    assert_eq!(read(&resetting, 40).await, (START..END).collect::<Vec<_>>());

    let strict = consumer(&broker, OffsetReset::None);
    strict.assign([partition(0)]);
    strict.seek(&partition(0), Offset(3)).unwrap();
    let error = strict.poll(WAIT).await.unwrap_err();
    assert_eq!(error.to_string(), "Fetch position 3 is out of range for partition t-0");
}

#[tokio::test]
async fn troubles_with_leaders_pass_without_a_gap() {
    let mut fetches = 0;
    let broker = leader(move |_, offset, _| {
        fetches += 1;
        match fetches {
            2 => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            4 => Err(ErrorCode::FENCED_LEADER_EPOCH),
            5 => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            _ => Ok(records_at(offset)),
        }
    });
    let consumer = consumer(&broker, OffsetReset::Earliest);
    consumer.assign([partition(0)]);
    assert_eq!(read(&consumer, 40).await, (START..END).collect::<Vec<_>>());
    assert!(broker.count(ApiKey::Metadata) >= 4, "each time the leader was asked for");
}

#[tokio::test]
async fn what_no_retry_cures_is_told() {
    let broker = leader(|_, _, _| Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let consumer = consumer(&broker, OffsetReset::Earliest);
    consumer.assign([partition(0)]);
    let error = consumer.poll(WAIT).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
}

#[tokio::test]
async fn an_old_broker_cuts_a_batch_and_is_asked_for_more() {
    let broker = FakeBroker::start(|asked, address| match asked.api {
        ApiKey::ApiVersions => Answer::Close,
        ApiKey::Metadata => asked.metadata_of(address, &[("t", 2)]),
        ApiKey::ListOffsets => list_offsets_answer(asked),
        _ => fetch_answer(asked, &mut |_, offset, bytes_max| {
            let set = down_convert(records_at(offset), 0, Offset(offset), MAX_DECOMPRESSED_BYTES).unwrap();
            let length = set.len().min(bytes_max as usize);
            Ok(Bytes::from(set).slice(..length))
        }),
    });
    let mut config = ConsumerConfig::new(broker.config());
    config.auto_offset_reset = OffsetReset::Earliest;
    config.max_partition_fetch_bytes = 5;
    let consumer = Consumer::new(Cluster::new(config.client.clone(), Clock::real()), config).unwrap();
    consumer.assign([partition(0)]);
    assert_eq!(read(&consumer, 40).await, (START..END).collect::<Vec<_>>());
    assert!(broker.seen.lock().iter().all(|(_, api, version)| *api != ApiKey::Fetch || *version == 1));
}

#[tokio::test]
async fn a_range_is_read_exactly() {
    let mut fetches = 0;
    let broker = leader(move |_, offset, _| {
        fetches += 1;
        if fetches == 2 { Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) } else { Ok(records_at(offset)) }
    });
    let mut config = ConsumerConfig::new(broker.config());
    config.fetch_max_wait = Duration::from_millis(20);
    let cluster = Cluster::new(config.client.clone(), Clock::real());
    let deadline = Clock::real().now() + WAIT;
    let mut range = RangeReader::new(cluster.clone(), &config, partition(1), Offset(17), Offset(32));
    let mut offsets = Vec::new();
    while let Some(block) = range.next(deadline).await.unwrap() {
        offsets.extend(block.records().map(|record| record.unwrap().offset.0));
    }
    assert_eq!(offsets, (17..32).collect::<Vec<_>>());

    let soon = Clock::real().now() + Duration::from_millis(100);
    let mut beyond = RangeReader::new(cluster, &config, partition(1), Offset(END), Offset(END + 1));
    assert!(matches!(beyond.next(soon).await, Err(ClientError::Timeout { .. })));
}
