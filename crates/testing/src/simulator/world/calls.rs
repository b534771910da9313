//! What clients do in a world, and how requests and answers get from one to the other.

use std::time::Duration;

use bytes::Bytes;
use protocol::error::ErrorCode;
use protocol::messages::fetch::FetchRequest;
use protocol::messages::init_producer_id::InitProducerIdRequest;
use protocol::messages::metadata::MetadataRequest;
use protocol::messages::produce::ProduceRequest;

use super::super::clients::{self, Purpose};
use super::super::history::{Violation, broken};
use super::super::network::Node;
use super::super::plan::Mischief;
use super::{CALL_WAIT, Call, Caller, Event, World};

/// A producer that is refused more often in a row is refused for good.
const REFUSALS_MAX: u32 = 20;

/// Calls.
impl World {
    pub(super) fn call(&mut self, from: Caller, node: Node, to: usize, frame: Bytes, wait: Duration) -> u64 {
        self.next_call += 1;
        let call = self.next_call;
        self.calls.insert(call, Call { from, to });
        let mut fates = self.network.fates(&mut self.chance, node, to);
        if matches!(from, Caller::Admin) {
            // It says each thing once, and what it says is not to be done again when it has said something else since.
            fates.truncate(1);
        }
        for delay in fates {
            self.after(delay, Event::Request { call, to, frame: frame.clone() });
        }
        self.after(wait, Event::GiveUp(call));
        call
    }

    pub(super) fn requested(&mut self, call: u64, to: usize, frame: Bytes) -> Result<(), Violation> {
        match self.servers.get_mut(to).and_then(|server| server.process.as_mut()) {
            Some(process) => {
                process.request(call, frame);
                self.run(to)
            }
            None => {
                self.answer(to, call, None);
                Ok(())
            }
        }
    }

    pub(super) fn answer(&mut self, broker: usize, call: u64, frame: Option<Bytes>) {
        let Some(made) = self.calls.get(&call) else { return };
        let node = match made.from {
            Caller::Fetcher { broker, .. } | Caller::Broker { broker, .. } => broker,
            Caller::Producer(producer, _) => self.producer_node(producer),
            Caller::Consumer(consumer, _) => self.consumer_node(consumer),
            Caller::Admin => self.admin_node(),
        };
        for delay in self.network.fates(&mut self.chance, broker, node) {
            self.after(delay, Event::Answer { call, frame: frame.clone() });
        }
    }

    pub(super) fn answered(&mut self, call: Call, frame: Option<Bytes>) -> Result<(), Violation> {
        match call.from {
            Caller::Fetcher { broker, life, leader } => self.fetched(broker, life, leader, frame),
            Caller::Broker { broker, call } => {
                if let Some(answer) = self.asking.remove(&call) {
                    // Who asked may be gone.
                    let _ = answer.send(frame.map(|frame| frame.to_vec()));
                }
                self.run(broker)
            }
            Caller::Producer(producer, purpose) => self.producer_answered(producer, purpose, call.to, frame),
            Caller::Consumer(consumer, purpose) => self.consumer_answered(consumer, purpose, frame),
            Caller::Admin => self.administered(call.to, frame),
        }
    }
}

/// Clients.
impl World {
    pub(super) fn produce(&mut self, producer: usize) {
        let node = self.producer_node(producer);
        if self.producers[producer].id.is_none() {
            if !self.producers[producer].leaders.asking {
                self.producers[producer].leaders.asking = true;
                let to = self.chance.below(self.plan.brokers as u64) as usize;
                let frame = clients::frame(&clients::producer_id(), clients::INIT_PRODUCER_ID);
                self.call(Caller::Producer(producer, Purpose::ProducerId), node, to, frame, CALL_WAIT);
            }
            return;
        }
        let now = self.now();
        self.producers[producer].grow(self.catalogue.len());
        for partition in self.catalogue.partitions() {
            let lane = &self.producers[producer].lanes[partition as usize];
            if lane.in_flight {
                continue;
            }
            if lane.batch.is_empty() {
                if !self.is_busy {
                    continue;
                }
                let values = self.producers[producer].fill(partition, &mut self.chance, now).to_vec();
                values.into_iter().for_each(|value| self.history.sent_to(partition, value));
            }
            let Some((leader, _)) = self.producers[producer].leaders.of(partition) else {
                if !std::mem::replace(&mut self.producers[producer].leaders.asking, true) {
                    self.ask_who_leads(Caller::Producer(producer, Purpose::Metadata), node);
                }
                continue;
            };
            let acks = if self.plan.mischief == Mischief::AcknowledgeBeforeIsr { 1 } else { -1 };
            let now_ms = self.clock(0).now_ms();
            let request = self.producers[producer].request(partition, &self.catalogue, now_ms, acks);
            self.producers[producer].lanes[partition as usize].in_flight = true;
            let frame = clients::frame(&request, clients::PRODUCE);
            let caller = Caller::Producer(producer, Purpose::Produce(partition));
            self.call(caller, node, leader as usize, frame, CALL_WAIT);
        }
    }

    pub(super) fn ask_who_leads(&mut self, caller: Caller, node: Node) {
        let to = self.chance.below(self.plan.brokers as u64) as usize;
        let frame = clients::frame(&clients::metadata(&self.catalogue), clients::METADATA);
        self.call(caller, node, to, frame, CALL_WAIT);
    }

    pub(super) fn producer_answered(
        &mut self,
        producer: usize,
        purpose: Purpose,
        broker: usize,
        frame: Option<Bytes>,
    ) -> Result<(), Violation> {
        let one = &mut self.producers[producer];
        match purpose {
            Purpose::ProducerId => {
                one.leaders.asking = false;
                let answer =
                    frame.and_then(|frame| clients::answer::<InitProducerIdRequest>(frame, clients::INIT_PRODUCER_ID));
                if let Some(answer) = answer.filter(|answer| answer.error_code == 0) {
                    one.id = Some((answer.producer_id, answer.producer_epoch));
                }
            }
            Purpose::Metadata | Purpose::Consume(_) => {
                one.leaders.asking = false;
                if let Some(answer) =
                    frame.and_then(|frame| clients::answer::<MetadataRequest>(frame, clients::METADATA))
                {
                    one.leaders.learn(&answer, &self.catalogue);
                }
            }
            Purpose::Produce(partition) => {
                let lane = &mut one.lanes[partition as usize];
                lane.in_flight = false;
                if !self.catalogue.is_standing(partition) {
                    return Ok(());
                }
                let answer = frame.and_then(|frame| clients::answer::<ProduceRequest>(frame, clients::PRODUCE));
                let Some(told) = answer
                    .and_then(|answer| answer.responses.into_iter().next())
                    .and_then(|topic| topic.partition_responses.into_iter().next())
                else {
                    one.leaders.forget(partition);
                    return Ok(());
                };
                match ErrorCode(told.error_code) {
                    ErrorCode::NONE => {
                        let values = one.acknowledged(partition);
                        let base = told.base_offset;
                        self.say(|| {
                            format!("producer {producer}: broker {broker} has {partition}-{base}.. {values:x?}")
                        });
                        self.history.acknowledge(partition, base, &values)?;
                    }
                    code if clients::is_retriable(code) => one.leaders.forget(partition),
                    // A leader that does not know yet that it was given up may lack what its successor has acknowledged.
                    _ if lane.refused < REFUSALS_MAX => {
                        lane.refused += 1;
                        one.leaders.forget(partition);
                    }
                    code => {
                        let (sequence, first) = (lane.sequence, lane.batch.first().copied().unwrap_or_default());
                        return broken(
                            "I5",
                            format!(
                                "broker {broker}, partition {partition}: error {code} again and again for producer {producer}, which sends sequence {sequence} \
                                 ({first:x}) after all before it were acknowledged"
                            ),
                        );
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn consume(&mut self, consumer: usize) {
        let node = self.consumer_node(consumer);
        for partition in self.catalogue.partitions() {
            let position = self.consumers[consumer].positions.entry(partition).or_default();
            if position.in_flight {
                continue;
            }
            let offset = position.offset;
            let Some((leader, epoch)) = self.consumers[consumer].leaders.of(partition) else {
                if !std::mem::replace(&mut self.consumers[consumer].leaders.asking, true) {
                    self.ask_who_leads(Caller::Consumer(consumer, Purpose::Metadata), node);
                }
                continue;
            };
            if let Some(position) = self.consumers[consumer].positions.get_mut(&partition) {
                position.in_flight = true;
            }
            let frame = clients::frame(&clients::consume(partition, &self.catalogue, offset, epoch), clients::FETCH);
            let caller = Caller::Consumer(consumer, Purpose::Consume(partition));
            self.call(caller, node, leader as usize, frame, CALL_WAIT);
        }
    }

    pub(super) fn consumer_answered(
        &mut self,
        consumer: usize,
        purpose: Purpose,
        frame: Option<Bytes>,
    ) -> Result<(), Violation> {
        let one = &mut self.consumers[consumer];
        let Purpose::Consume(partition) = purpose else {
            one.leaders.asking = false;
            if let Some(answer) = frame.and_then(|frame| clients::answer::<MetadataRequest>(frame, clients::METADATA)) {
                one.leaders.learn(&answer, &self.catalogue);
            }
            return Ok(());
        };
        let position = one.positions.entry(partition).or_default();
        position.in_flight = false;
        if !self.catalogue.is_standing(partition) {
            return Ok(());
        }
        let answer = frame.and_then(|frame| clients::answer::<FetchRequest>(frame, clients::FETCH));
        let told = answer
            .filter(|answer| answer.error_code == 0)
            .and_then(|answer| answer.responses.into_iter().next())
            .and_then(|topic| topic.partitions.into_iter().next());
        let Some(told) = told else {
            one.leaders.forget(partition);
            return Ok(());
        };
        match ErrorCode(told.error_code) {
            ErrorCode::NONE => {}
            ErrorCode::OFFSET_OUT_OF_RANGE if self.plan.committed_survives() => {
                return broken(
                    "I6",
                    format!("partition {partition}: a reader at {} is beyond its leader's log", position.offset),
                );
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                position.offset = 0;
                return Ok(());
            }
            _ => {
                one.leaders.forget(partition);
                return Ok(());
            }
        }
        let records = told.records.into_bytes();
        let values = clients::values(records).map_err(|what| Violation { invariant: "I17", what })?;
        let from = position.offset;
        for (offset, value) in values.into_iter().filter(|(offset, _)| *offset >= from) {
            if offset >= told.high_watermark {
                return broken(
                    "I6",
                    format!(
                        "partition {partition}: offset {offset} was given with a high watermark of {}",
                        told.high_watermark
                    ),
                );
            }
            position.offset = offset + 1;
            if self.plan.committed_survives() {
                self.history.read(partition, offset, value)?;
            }
        }
        Ok(())
    }
}
