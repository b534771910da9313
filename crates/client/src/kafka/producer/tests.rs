use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::api::ApiKey;
use protocol::error::ErrorCode;
use protocol::messages::init_producer_id::InitProducerIdResponse;
use protocol::messages::produce::{PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse};
use protocol::records::{AnyBatchIter, BatchHeader, MAX_DECOMPRESSED_BYTES};
use protocol::types::Offset;
use runtime::Clock;

use super::super::config::Acks;
use super::super::fake_broker::{Answer, Asked, FakeBroker};
use super::*;

const APIS: &[ApiKey] = &[ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::Produce, ApiKey::InitProducerId];

/// What a broker's log has become, checked as a broker checks sequences.
#[derive(Default)]
struct Log {
    values: Vec<String>,
    epoch: i16,
    next_sequence: i32,
    /// Last batches by sequence, with their offsets.
    known: BTreeMap<i32, i64>,
    produces: usize,
    versions: Vec<i16>,
}

impl Log {
    /// Appends like a leader: duplicates are recognised, gaps refused.
    fn append(&mut self, asked: &Asked) -> (ErrorCode, i64) {
        let request: ProduceRequest = asked.read();
        self.versions.push(asked.version);
        let records = request.topic_data[0].partition_data[0].records.clone().unwrap();
        let header = BatchHeader::parse(&records).ok();
        if let Some(header) = header.filter(BatchHeader::has_producer_id) {
            if header.producer_epoch > self.epoch {
                (self.epoch, self.next_sequence) = (header.producer_epoch, 0);
                self.known.clear();
            }
            if let Some(offset) = self.known.get(&header.base_sequence) {
                return (ErrorCode::NONE, *offset);
            }
            if header.base_sequence != self.next_sequence {
                return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
            }
            self.known.insert(header.base_sequence, self.values.len() as i64);
            self.next_sequence += header.records_count;
        }
        let base = self.values.len() as i64;
        for batch in AnyBatchIter::new(records, MAX_DECOMPRESSED_BYTES) {
            for record in batch.unwrap().records(MAX_DECOMPRESSED_BYTES).unwrap() {
                self.values.push(String::from_utf8_lossy(&record.unwrap().value.unwrap()).into_owned());
            }
        }
        (ErrorCode::NONE, base)
    }
}

fn produced(code: ErrorCode, base_offset: i64) -> ProduceResponse {
    let partition = PartitionProduceResponse { error_code: code.0, base_offset, ..Default::default() };
    let topic = TopicProduceResponse { name: "t".into(), partition_responses: vec![partition] };
    ProduceResponse { responses: vec![topic], ..Default::default() }
}

/// A leader of `t-0`. `meddle` is told the number of each Produce, from 0, and may answer in its stead, before or after the log has it.
fn leader(
    meddle: impl Fn(usize, &Asked, &mut Log) -> Option<Answer> + Send + 'static,
) -> (FakeBroker, Arc<Mutex<Log>>) {
    let log = Arc::new(Mutex::new(Log::default()));
    let shared = log.clone();
    let broker = FakeBroker::start(move |asked, address| match asked.api {
        ApiKey::ApiVersions => asked.versions_of(APIS),
        ApiKey::Metadata => asked.metadata_of(address, &[("t", 1)]),
        ApiKey::InitProducerId => asked.answer(&InitProducerIdResponse { producer_id: 9, ..Default::default() }),
        _ => {
            let mut log = shared.lock();
            log.produces += 1;
            let number = log.produces - 1;
            if let Some(answer) = meddle(number, asked, &mut log) {
                return answer;
            }
            let (code, base) = log.append(asked);
            asked.answer(&produced(code, base))
        }
    });
    (broker, log)
}

fn producer(broker: &FakeBroker, change: impl FnOnce(&mut ProducerConfig)) -> Producer {
    let mut config = ProducerConfig::new(broker.config());
    change(&mut config);
    Producer::new(Cluster::new(config.client.clone(), Clock::real()), config).unwrap()
}

/// Sends values one batch each and waits for all of them.
async fn send_all(producer: &Producer, count: usize) -> Vec<Result<RecordMetadata>> {
    let mut deliveries = Vec::new();
    for number in 0..count {
        deliveries.push(producer.send(ProducerRecord::new("t", number.to_string())).await.unwrap());
    }
    let mut results = Vec::new();
    for delivery in deliveries {
        results.push(delivery.await);
    }
    results
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn records_come_back_with_their_offsets() {
    let (broker, log) = leader(|_, _, _| None);
    let producer = producer(&broker, |_| {});
    let results = send_all(&producer, 100).await;
    let offsets: Vec<Offset> = results.into_iter().map(|result| result.unwrap().offset.unwrap()).collect();
    assert_eq!(offsets, (0..100).map(Offset).collect::<Vec<_>>());
    assert_eq!(log.lock().values, numbers(100));
    producer.close(Duration::from_secs(5)).await.unwrap();
    let refused = producer.send(ProducerRecord::new("t", "late")).await;
    assert!(matches!(refused.err(), Some(ClientError::ProducerClosed)));
}

#[tokio::test]
async fn what_lingers_shares_a_batch_and_a_flush_does_not_wait_for_it() {
    let (broker, log) = leader(|_, _, _| None);
    let producer = producer(&broker, |config| config.linger = Duration::from_secs(60));
    let mut deliveries = Vec::new();
    for number in 0..50 {
        deliveries.push(producer.send(ProducerRecord::new("t", number.to_string())).await.unwrap());
    }
    tokio::time::timeout(Duration::from_secs(5), producer.flush()).await.expect("the flush does not linger");
    assert!(deliveries.iter().all(|delivery| matches!(delivery.try_get(), Some(Ok(_)))));
    assert_eq!(log.lock().produces, 1);
}

#[tokio::test]
async fn a_callback_is_called_once_with_the_result() {
    let (broker, _) = leader(|_, _, _| None);
    let producer = producer(&broker, |_| {});
    let (told, mut results) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..3 {
        let told = told.clone();
        let delivery = producer.send(ProducerRecord::new("t", number.to_string())).await.unwrap();
        delivery.on_complete(move |result| told.send(result.unwrap().offset.unwrap().0).unwrap());
    }
    drop(told);
    let mut offsets = Vec::new();
    while let Some(offset) = results.recv().await {
        offsets.push(offset);
    }
    assert_eq!(offsets, [0, 1, 2]);
}

/// Every trouble that a retry cures, in the middle of a stream of batches: nothing is lost, doubled or out of order.
async fn check_retries(meddle: impl Fn(usize, &Asked, &mut Log) -> Option<Answer> + Send + 'static) {
    let (broker, log) = leader(meddle);
    let producer = producer(&broker, |config| {
        config.batch_size = 0;
        config.client.request_timeout = Duration::from_millis(300);
    });
    let results = send_all(&producer, 40).await;
    for result in results {
        result.unwrap();
    }
    assert_eq!(log.lock().values, numbers(40));
}

#[tokio::test]
async fn a_leader_that_has_moved_is_asked_for_again() {
    check_retries(|number, asked, _| {
        let code = match number {
            3 => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            7 => ErrorCode::LEADER_NOT_AVAILABLE,
            9 => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            11 => ErrorCode::NOT_ENOUGH_REPLICAS,
            _ => return None,
        };
        Some(asked.answer(&produced(code, -1)))
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_was_lost_does_not_double_the_record() {
    check_retries(|number, asked, log| {
        (number == 5 || number == 17).then(|| {
            log.append(asked);
            Answer::Close
        })
    })
    .await;
}

#[tokio::test]
async fn a_request_that_was_lost_is_sent_again() {
    check_retries(|number, _, _| (number == 5 || number == 6).then_some(Answer::Close)).await;
}

#[tokio::test]
async fn silence_is_cured_by_a_new_connection() {
    check_retries(|number, asked, log| {
        (number == 5).then(|| {
            log.append(asked);
            Answer::Nothing
        })
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_lost_the_sequence_gets_a_new_epoch() {
    check_retries(|number, _, log| {
        if number == 10 {
            // As after an unclean election: the log is there, what is known of its producers is not, and never will be.
            log.known.clear();
            log.next_sequence = 1_000_000;
        }
        None
    })
    .await;
}

#[tokio::test]
async fn a_batch_given_up_fails_alone_and_the_rest_goes_on_in_order() {
    let (broker, log) =
        leader(|number, asked, _| (number == 4).then(|| asked.answer(&produced(ErrorCode::MESSAGE_TOO_LARGE, -1))));
    let producer = producer(&broker, |config| config.batch_size = 0);
    let results = send_all(&producer, 20).await;
    let failed: Vec<usize> = (0..20).filter(|index| results[*index].is_err()).collect();
    assert_eq!(failed, [4]);
    assert_eq!(results[4].as_ref().unwrap_err().code(), Some(ErrorCode::MESSAGE_TOO_LARGE));
    let expected: Vec<String> = numbers(20).into_iter().filter(|value| value != "4").collect();
    assert_eq!(log.lock().values, expected);
}

#[tokio::test]
async fn a_leader_that_never_takes_it_ends_in_a_delivery_timeout() {
    let (broker, _) = leader(|_, asked, _| Some(asked.answer(&produced(ErrorCode::NOT_ENOUGH_REPLICAS, -1))));
    let producer = producer(&broker, |config| {
        config.client.request_timeout = Duration::from_millis(100);
        config.delivery_timeout = Duration::from_millis(200);
    });
    let results = send_all(&producer, 2).await;
    let error = results.into_iter().next().unwrap().unwrap_err();
    assert!(error.to_string().starts_with("Expiring "), "{error}");
    assert!(error.to_string().contains(" record(s) for t-0:"), "{error}");
    assert!(error.cause().unwrap().contains("NOT_ENOUGH_REPLICAS"), "{:?}", error.cause());
}

#[tokio::test]
async fn records_that_no_request_may_carry_are_refused_at_once() {
    let (broker, _) = leader(|_, _, _| None);
    let producer = producer(&broker, |_| {});
    let error = producer.send(ProducerRecord::new("t", vec![0; 1_100_000])).await.err().unwrap();
    let text = error.to_string();
    assert!(text.contains("bytes when serialized which is larger than 1048576"), "{text}");
    assert!(text.contains("max.request.size"), "{text}");
}

#[tokio::test]
async fn a_full_buffer_makes_the_caller_wait_and_then_says_so() {
    let (broker, _) = leader(|_, _, _| Some(Answer::Nothing));
    let producer = producer(&broker, |config| {
        config.buffer_memory = 40_000;
        config.max_block = Duration::from_millis(100);
    });
    let mut refused = None;
    for _ in 0..10 {
        if let Err(error) = producer.send(ProducerRecord::new("t", vec![0; 15_000])).await {
            refused = Some(error);
            break;
        }
    }
    let text = refused.expect("the buffer is full").to_string();
    assert!(text.contains("within the configured max blocking time 100 ms"), "{text}");
    let closed = producer.close(Duration::from_millis(50)).await;
    assert!(matches!(closed, Err(ClientError::Timeout { .. })));
}

#[tokio::test]
async fn without_acks_nothing_is_waited_for() {
    let (broker, log) = leader(|_, asked, log| {
        log.append(asked);
        Some(Answer::Nothing)
    });
    let producer = producer(&broker, |config| {
        config.acks = Acks::None;
        config.enable_idempotence = false;
    });
    for result in send_all(&producer, 10).await {
        assert_eq!(result.unwrap().offset, None);
    }
    producer.close(Duration::from_secs(5)).await.unwrap();
    let start = Clock::real().now();
    while log.lock().values.len() < 10 && Clock::real().now() - start < Duration::from_secs(5) {
        Clock::real().sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(log.lock().values, numbers(10));
}

#[tokio::test]
async fn an_old_broker_gets_message_sets_and_no_sequences() {
    let log = Arc::new(Mutex::new(Log::default()));
    let shared = log.clone();
    let broker = FakeBroker::start(move |asked, address| match asked.api {
        ApiKey::ApiVersions => Answer::Close,
        ApiKey::Metadata => asked.metadata_of(address, &[("t", 1)]),
        _ => {
            let mut log = shared.lock();
            let records = asked.read::<ProduceRequest>().topic_data[0].partition_data[0].records.clone().unwrap();
            assert_eq!(records[16], 0, "magic of the first message");
            let (code, base) = log.append(asked);
            asked.answer(&produced(code, base))
        }
    });
    let producer = producer(&broker, |config| config.compression = protocol::records::Codec::Gzip);
    for result in send_all(&producer, 20).await {
        result.unwrap();
    }
    let log = log.lock();
    assert_eq!(log.values, numbers(20));
    assert!(log.versions.iter().all(|version| *version == 1), "{:?}", log.versions);
}

#[tokio::test]
async fn headers_cannot_reach_an_old_broker() {
    let broker = FakeBroker::start(move |asked, address| match asked.api {
        ApiKey::ApiVersions => Answer::Close,
        _ => asked.metadata_of(address, &[("t", 1)]),
    });
    let producer = producer(&broker, |_| {});
    let headers = [(&b"name"[..], Some(&b"value"[..]))];
    let record = ProducerRecord::new("t", "v").with_headers(headers).unwrap();
    let error = producer.send(record).await.unwrap().await.unwrap_err();
    assert!(matches!(error, ClientError::UnsupportedVersion { api: "Produce", .. }), "{error:?}");
    assert_eq!(broker.count(ApiKey::Produce), 0);
}

#[tokio::test]
async fn a_dropped_producer_still_delivers() {
    let (broker, log) = leader(|_, _, _| None);
    let producer = producer(&broker, |config| config.linger = Duration::from_secs(60));
    let delivery = producer.send(ProducerRecord::new("t", "0")).await.unwrap();
    drop(producer);
    tokio::time::timeout(Duration::from_secs(5), delivery.wait()).await.expect("it is sent").unwrap();
    assert_eq!(log.lock().values, ["0"]);
}
