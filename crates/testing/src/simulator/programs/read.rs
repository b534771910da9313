//! A reader of all partitions from their beginning.

use std::time::Duration;

use client::kafka::consumer::Consumer;
use client::kafka::{ConsumerConfig, FetchedBlock, OffsetReset};
use protocol::types::TopicPartition;

use super::super::clients::TOPIC;
use super::{REQUEST, Seat, Seen};

/// How long a reader waits for records.
pub(super) const POLL: Duration = Duration::from_millis(300);

pub(super) async fn run(seat: Seat) {
    let config = ConsumerConfig { auto_offset_reset: OffsetReset::Earliest, ..consumer(&seat) };
    let consumer = match Consumer::new(seat.cluster(), config) {
        Ok(consumer) => consumer,
        Err(error) => return seat.failed("a reader", &error),
    };
    consumer.assign((0..seat.plan.partitions as i32).map(|partition| TopicPartition::new(TOPIC, partition)));
    loop {
        match seat.call("poll", POLL + REQUEST, consumer.poll(POLL)).await {
            Ok(blocks) => tell(&seat, &blocks),
            Err(error) => {
                seat.failed("poll", &error);
                seat.pause(10, 50).await;
            }
        }
        seat.pause(1, 20).await;
    }
}

/// What every consumer of a run is told.
pub(super) fn consumer(seat: &Seat) -> ConsumerConfig {
    ConsumerConfig {
        fetch_max_wait: Duration::from_millis(150),
        fetch_max_bytes: 1 << 20,
        max_partition_fetch_bytes: 1 << 14,
        ..ConsumerConfig::new(seat.config())
    }
}

/// Tells what was read.
pub(super) fn tell(seat: &Seat, blocks: &[FetchedBlock]) {
    for block in blocks {
        let partition = block.topic_partition.partition;
        for record in block.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => return seat.failed("a record", &error),
            };
            let value = record.value.as_deref().and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
            match value {
                Some(value) => seat.say(Seen::Read(partition, record.offset.0, value, block.high_watermark.0)),
                None => seat.say(Seen::Broken("a record", format!("a value of another length at {}", record.offset))),
            }
        }
    }
}
