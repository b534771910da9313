//! The end of a run: when everything has come together again, and what must be true of it then.

use bytes::Bytes;
use protocol::types::Offset;
use storage::ReadLimit;

use super::clients::{self, TOPIC};
use super::history::{Partition, Violation, broken};
use super::world::World;

/// What a log is read by.
const READ_BYTES: usize = 1 << 20;

/// What is still missing before the run may end; nothing once all has come together (I12, I13).
#[must_use]
pub fn missing(world: &World) -> Option<String> {
    for server in &world.servers {
        if !server.is_serving() {
            return Some(format!("broker {} does not serve", server.number));
        }
    }
    for producer in &world.producers {
        if !producer.is_done() {
            return Some(format!("producer {} has batches that are not acknowledged", producer.number));
        }
    }
    for partition in 0..world.plan.partitions as i32 {
        let Some(state) = world.state_of(partition) else {
            return Some(format!("partition {partition} has no state"));
        };
        let (leader, epoch) = (state.leader, state.leader_epoch);
        if leader < 0 {
            return Some(format!("partition {partition} has no leader"));
        }
        if state.isr.len() < world.plan.brokers {
            return Some(format!("partition {partition} has the ISR {:?}", state.isr));
        }
        let Some(led) = world.hosted(leader as usize, partition) else {
            return Some(format!("broker {leader} does not hold partition {partition}"));
        };
        let end = led.log().log_end_offset();
        for broker in 0..world.plan.brokers {
            let Some(hosted) = world.hosted(broker, partition) else {
                return Some(format!("broker {broker} does not hold partition {partition}"));
            };
            if hosted.leader_and_epoch() != (leader, epoch) {
                return Some(format!(
                    "broker {broker} takes {:?} for leader and epoch of partition {partition}, and the tree says {:?}",
                    hosted.leader_and_epoch(),
                    (leader, epoch)
                ));
            }
            let (own, high_watermark) = (hosted.log().log_end_offset(), hosted.high_watermark());
            if own != end || high_watermark != end {
                return Some(format!(
                    "broker {broker} has partition {partition} up to {own}, {high_watermark} committed, and its leader up to {end}"
                ));
            }
        }
        for (number, consumer) in world.consumers.iter().enumerate() {
            let at = consumer.positions.get(&partition).map_or(0, |position| position.offset);
            if at < end.0 {
                return Some(format!("consumer {number} has read partition {partition} up to {at} of {end}"));
            }
        }
    }
    None
}

/// Holds the logs against each other (I10) and against what was seen (I1, I3 to I5), and what brokers believe against the tree (I18).
///
/// # Errors
/// The first broken promise.
pub fn compare(world: &World) -> Result<(), Violation> {
    for partition in 0..world.plan.partitions as i32 {
        let mut first: Option<Bytes> = None;
        for broker in 0..world.plan.brokers {
            let bytes = log_of(world, broker, partition)?;
            match &first {
                None => first = Some(bytes),
                Some(first) if *first == bytes => {}
                Some(first) => {
                    let (one, other) = (decode(first.clone()), decode(bytes));
                    let at = one.iter().zip(&other).position(|(one, other)| one != other);
                    return broken(
                        "I10",
                        format!(
                            "partition {partition}: brokers 0 and {broker} differ from record {at:?} on: {:x?} and {:x?}",
                            at.map(|at| one[at]),
                            at.map(|at| other[at])
                        ),
                    );
                }
            }
        }
        let log = decode(first.unwrap_or_default());
        world.history.compare(partition, &log, world.plan.committed_survives())?;
        for broker in 0..world.plan.brokers {
            let Some(state) = world.servers[broker].state() else { continue };
            let image = state.metadata.image();
            let shown = image.topic(TOPIC).and_then(|topic| topic.partition(partition)).and_then(|one| one.state.clone());
            let tree = world.state_of(partition);
            if shown != tree {
                return broken("I18", format!("broker {broker}, partition {partition}: it sees {shown:?}, the tree says {tree:?}"));
            }
        }
    }
    Ok(())
}

fn decode(bytes: Bytes) -> Vec<(i64, u64)> {
    clients::values(bytes).unwrap_or_default()
}

/// A whole log as a broker has it on its disk.
fn log_of(world: &World, broker: usize, partition: Partition) -> Result<Bytes, Violation> {
    let failed = |what: String| Violation { invariant: "I17", what: format!("broker {broker}, partition {partition}: {what}") };
    let hosted = world.hosted(broker, partition).ok_or_else(|| failed("it is not held".to_owned()))?;
    let log = hosted.log();
    let mut whole = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let read = log.read(next, READ_BYTES, ReadLimit::LogEnd, true).map_err(|error| failed(format!("{error:?}")))?;
        let Some(slice) = read.slice else { break };
        let bytes = slice.read().map_err(|error| failed(error.to_string()))?;
        let values = clients::values(bytes.clone()).map_err(failed)?;
        let last = values.last().map_or(next.0, |(offset, _)| *offset);
        whole.extend_from_slice(&bytes);
        next = Offset(last + 1);
    }
    Ok(Bytes::from(whole))
}
