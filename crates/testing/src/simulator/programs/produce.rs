//! A producer: values in rising order, each for one partition.

use std::time::Duration;

use bytes::Bytes;
use client::kafka::{Acks, Producer, ProducerConfig, ProducerRecord};

use super::super::clients::TOPIC;
use super::super::plan::Mischief;
use super::{API, REQUEST, Seat, Seen};

/// `max.block.ms`.
const BLOCK: Duration = API;
/// Lives of one program that are told apart: whoever starts anew is another producer.
const LIVES_MAX: u64 = 1 << 12;

pub(super) async fn run(seat: Seat) {
    let clients = &seat.plan.clients;
    let delivery = Duration::from_millis(clients.delivery_ms);
    let careless = seat.plan.mischief == Mischief::NoIdempotence;
    let early = seat.plan.mischief == Mischief::AcknowledgeBeforeIsr;
    let config = ProducerConfig {
        acks: if early { Acks::Leader } else { Acks::All },
        enable_idempotence: !early && !careless,
        batch_size: clients.batch_bytes,
        linger: Duration::from_millis(clients.linger_ms),
        max_block: BLOCK,
        // Without sequences the order is kept by one request at a time.
        max_in_flight: if early || careless { 1 } else { clients.in_flight },
        delivery_timeout: delivery.max(REQUEST + Duration::from_millis(clients.linger_ms)),
        buffer_memory: 64 << 10,
        ..ProducerConfig::new(seat.config())
    };
    let limit = config.delivery_timeout + 2 * REQUEST;
    let producer = match Producer::new(seat.cluster(), config) {
        Ok(producer) => producer,
        Err(error) => return seat.failed("a producer", &error),
    };
    let mut next = ((seat.number as u64 + 1) * LIVES_MAX + seat.life) << 32;
    while seat.is_busy() {
        for partition in 0..seat.plan.partitions as i32 {
            for _ in 0..seat.random.below(4) {
                send(&seat, &producer, partition, next, limit).await;
                next += 1;
            }
        }
        seat.pause(seat.plan.produce_ms.0, seat.plan.produce_ms.1).await;
    }
    if seat.is_closing() {
        let closed = seat.call("closing a producer", API + REQUEST, producer.close(API)).await;
        if let Err(error) = closed {
            seat.say(Seen::Failed("closing a producer", error.to_string()));
        }
    } else {
        seat.call("flush", limit, producer.flush()).await;
    }
    seat.say(Seen::Done);
    std::future::pending().await
}

async fn send(seat: &Seat, producer: &Producer, partition: i32, value: u64, limit: Duration) {
    seat.say(Seen::Sent(value));
    let record = ProducerRecord::new(TOPIC, Bytes::copy_from_slice(&value.to_be_bytes())).with_partition(partition);
    match seat.call("send", BLOCK + REQUEST, producer.send(record)).await {
        Ok(delivery) => {
            let (seat, number) = (seat.clone(), seat.called("a delivery", limit));
            delivery.on_complete(move |result| {
                seat.say(Seen::Returned(number));
                match result {
                    Ok(stored) => {
                        let offset = stored.offset.map(|offset| offset.0);
                        seat.say(Seen::Acknowledged(partition, offset, value));
                    }
                    Err(error) => {
                        seat.say(Seen::GivenUp(partition, value));
                        seat.say(Seen::Failed("a delivery", error.to_string()));
                    }
                }
            });
        }
        Err(error) => {
            seat.say(Seen::Refused(value));
            seat.failed("send", &error);
        }
    }
}
