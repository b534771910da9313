//! The end of a run: when everything has come together again, and what must be true of it then.

use bytes::Bytes;
use protocol::records::batch::BatchIter;
use protocol::types::{LeaderEpoch, Offset};
use storage::ReadLimit;

use super::clients::{self, TOPIC};
use super::history::{Partition, Violation, broken};
use super::programs::Kind;
use super::world::World;

/// What a log is read by.
const READ_BYTES: usize = 1 << 20;

/// What is still missing before the run may end; nothing once all has come together (I12, I13) and brokers believe what the tree says (I18).
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
    for program in &world.programs {
        let ends = matches!(program.kind, Kind::Produce | Kind::Operate);
        if !program.is_running() || (ends && !program.is_done) {
            return Some(format!("program {} ({:?}) is not done", program.number, program.kind));
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
            let image = world.servers[broker].state()?.metadata.image();
            let shown =
                image.topic(TOPIC).and_then(|topic| topic.partition(partition)).and_then(|one| one.state.clone());
            if shown.as_ref() != Some(&state) {
                return Some(format!(
                    "broker {broker} sees {shown:?} of partition {partition}, and the tree says {state:?}"
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
        let readers = world.programs.iter().filter(|program| program.kind == Kind::Read);
        for reader in readers.map(|program| program.number) {
            let at = world.progress.get(&(reader, partition)).copied().unwrap_or(0);
            if at < end.0 {
                return Some(format!("program {reader} has read partition {partition} up to {at} of {end}"));
            }
        }
        if world.plan.members > 0 {
            if let Some(unread) = world.group.first_unread(partition, end.0) {
                return Some(format!("the group has not read {unread} of partition {partition}, which ends at {end}"));
            }
            let committed = world.group.committed_up_to(partition);
            if world.plan.clients.commits && committed != end.0 {
                return Some(format!("the group has committed partition {partition} up to {committed} of {end}"));
            }
        }
    }
    None
}

/// Where everybody stands, for whoever looks for what went wrong.
#[must_use]
pub fn describe(world: &World) -> String {
    let mut text = String::new();
    for partition in 0..world.plan.partitions as i32 {
        text += &format!("\n  partition {partition}: the tree says {:?}", world.state_of(partition));
        for broker in 0..world.plan.brokers {
            let Some(hosted) = world.hosted(broker, partition) else { continue };
            text += &format!(
                "\n    broker {broker}: leader and epoch {:?}, log end {}, high watermark {}, durable {}",
                hosted.leader_and_epoch(),
                hosted.log().log_end_offset(),
                hosted.high_watermark(),
                hosted.log().durable_offset()
            );
            let ends = (0..=hosted.leader_and_epoch().1).filter_map(|epoch| {
                let (found, end) = hosted.log().end_offset_for_epoch(LeaderEpoch(epoch))?;
                (found.0 == epoch).then(|| format!("{epoch} to {end}"))
            });
            text += &format!(", epochs {}", ends.collect::<Vec<_>>().join(", "));
        }
    }
    for server in &world.servers {
        let Some((state, process)) = server.state().zip(server.process.as_ref()) else { continue };
        text += &format!("\n  broker {}: directories {:?}", server.number, state.replicas.logs().status());
        for fetcher in state.replicas.fetchers().all() {
            let following = fetcher.following();
            text += &format!(
                "\n    from {}: {} followed, {} paused, due {}, {:?}",
                fetcher.leader(),
                following.len(),
                following.paused(),
                following.due().is_some(),
                process.fetches.get(&fetcher.leader().0)
            );
        }
    }
    text
}

/// Holds the logs against each other (I10) and against what was seen (I1, I3 to I5).
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
                    world.say(|| format!("broker 0: {}\nbroker {broker}: {}", batches(first), batches(&bytes)));
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
    }
    Ok(())
}

fn decode(bytes: Bytes) -> Vec<(i64, u64)> {
    clients::values(bytes).unwrap_or_default()
}

/// Batches of a log: base offset, epoch, producer sequence and size.
fn batches(log: &Bytes) -> String {
    let headers = BatchIter::new(log.clone()).flatten().map(|batch| {
        let header = batch.header;
        format!(
            "{}..{} of epoch {} (sequence {})",
            header.base_offset,
            header.last_offset(),
            header.partition_leader_epoch.0,
            header.base_sequence
        )
    });
    headers.collect::<Vec<_>>().join(", ")
}

/// A whole log as a broker has it on its disk.
fn log_of(world: &World, broker: usize, partition: Partition) -> Result<Bytes, Violation> {
    let failed =
        |what: String| Violation { invariant: "I17", what: format!("broker {broker}, partition {partition}: {what}") };
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
