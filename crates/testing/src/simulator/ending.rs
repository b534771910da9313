//! The end of a run: when everything has come together again, and what must be true of it then.

use bytes::Bytes;
use protocol::records::batch::BatchIter;
use protocol::types::{LeaderEpoch, Offset};
use storage::ReadLimit;

use super::clients;
use super::history::{Partition, Violation, broken};
use super::plan::Tier;
use super::programs::Kind;
use super::server::Server;
use super::topics::Fate;
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
    if let Some(op) = &world.admin.op {
        return Some(format!("nobody knows what came of {op:?}"));
    }
    if let Some(topics) = missing_of_topics(world) {
        return Some(topics);
    }
    for partition in world.catalogue.partitions() {
        let Some(state) = world.state_of(partition) else {
            return Some(format!("partition {partition} has no state"));
        };
        let replicas = replicas_of(world, partition);
        let (leader, epoch) = (state.leader, state.leader_epoch);
        if leader < 0 {
            return Some(format!("partition {partition} has no leader"));
        }
        if state.isr.len() < replicas.len() {
            return Some(format!("partition {partition} has the ISR {:?}", state.isr));
        }
        let Some(led) = world.hosted(leader as usize, partition) else {
            return Some(format!("broker {leader} does not hold partition {partition}"));
        };
        let end = led.log().log_end_offset();
        for broker in replicas {
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
        let (topic, number) = world.catalogue.of(partition);
        for server in &world.servers {
            let image = server.state()?.metadata.image();
            let shown = image.topic(topic.plan.name).filter(|shown| shown.id == topic.id);
            let shown = shown.and_then(|shown| shown.partition(number)).and_then(|one| one.state.clone());
            if shown.as_ref() != Some(&state) {
                return Some(format!(
                    "broker {} sees {shown:?} of partition {partition}, and the tree says {state:?}",
                    server.number
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
            if let Some(unread) = world.group.first_unread(partition, end.0, world.plan.committed_survives()) {
                return Some(format!("the group has not read {unread} of partition {partition}, which ends at {end}"));
            }
            let committed = world.group.committed_up_to(partition);
            if world.plan.clients.commits && committed < end.0 {
                return Some(format!("the group has committed partition {partition} up to {committed} of {end}"));
            }
        }
    }
    None
}

/// What is still missing before the tree has the topics that were told to stand and no others, no replica moves any more, and brokers hold what the tree gives them and nothing else.
fn missing_of_topics(world: &World) -> Option<String> {
    if world.plan.tier == Tier::Streams {
        // Its programs make topics of their own.
        return None;
    }
    for place in world.catalogue.standing() {
        let topic = world.catalogue.at(place);
        let name = topic.plan.name;
        match world.assignment_of(name) {
            Some(found) if found.topic_id == Some(topic.id) => {
                if !found.adding_replicas.is_empty() || !found.removing_replicas.is_empty() {
                    return Some(format!("topic {name} still moves: {found:?}"));
                }
            }
            other => return Some(format!("topic {name} was told to stand, and the tree has {other:?}")),
        }
    }
    let stands = |name: &str| world.catalogue.all().iter().any(|one| one.plan.name == name && one.fate == Fate::Stands);
    let gone = world.catalogue.all().iter().filter(|topic| topic.fate == Fate::Gone && !stands(topic.plan.name));
    for name in gone.map(|topic| topic.plan.name) {
        if world.assignment_of(name).is_some() {
            return Some(format!("topic {name} was told to be gone, and the tree has it"));
        }
        let sees = |server: &&Server| server.state().is_some_and(|state| state.metadata.image().topic(name).is_some());
        if let Some(server) = world.servers.iter().find(sees) {
            return Some(format!("topic {name} was told to be gone, and broker {} sees it", server.number));
        }
    }
    for server in &world.servers {
        for hosted in server.state()?.replicas.all() {
            let partition = world.catalogue.find(hosted.topic_id(), hosted.partition().partition);
            if partition.is_none_or(|partition| !replicas_of(world, partition).contains(&server.number)) {
                return Some(format!("broker {} holds {}, which is not its own", server.number, hosted.partition()));
            }
        }
    }
    None
}

/// The brokers to which the tree gives a partition.
fn replicas_of(world: &World, partition: Partition) -> Vec<usize> {
    let (topic, number) = world.catalogue.of(partition);
    let replicas = world.assignment_of(topic.plan.name).and_then(|mut found| found.partitions.remove(&number));
    replicas.unwrap_or_default().into_iter().map(|broker| broker as usize).collect()
}

/// Where everybody stands, for whoever looks for what went wrong.
#[must_use]
pub fn describe(world: &World) -> String {
    let mut text = String::new();
    for place in world.catalogue.standing() {
        let topic = world.catalogue.at(place);
        text += &format!(
            "\n  topic {}, from {} on: {:?}",
            topic.plan.name,
            topic.row.start,
            world.assignment_of(topic.plan.name)
        );
    }
    for partition in world.catalogue.partitions() {
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
    for partition in world.catalogue.partitions() {
        let replicas = replicas_of(world, partition);
        let (topic, number) = world.catalogue.of(partition);
        let told = &topic.replicas[number as usize];
        if world.plan.tier == Tier::Messages
            && !told
                .iter()
                .any(|told| replicas.iter().eq(told.iter().map(|id| *id as usize).collect::<Vec<_>>().iter()))
        {
            return broken(
                "I18",
                format!("partition {partition} is on {replicas:?}, and was told to be on one of {told:?}"),
            );
        }
        let one_of_them = replicas.first().copied().unwrap_or_default();
        let mut first: Option<Bytes> = None;
        for broker in replicas {
            let bytes = log_of(world, broker, partition)?;
            match &first {
                None => first = Some(bytes),
                Some(first) if *first == bytes => {}
                Some(first) => {
                    world.say(|| {
                        format!("broker {one_of_them}: {}\nbroker {broker}: {}", batches(first), batches(&bytes))
                    });
                    let (one, other) = (decode(first.clone()), decode(bytes));
                    let at = one.iter().zip(&other).position(|(one, other)| one != other);
                    return broken(
                        "I10",
                        format!(
                            "partition {partition}: brokers {one_of_them} and {broker} differ from record {at:?} on: {:x?} and {:x?}",
                            at.map(|at| one[at]),
                            at.map(|at| other[at])
                        ),
                    );
                }
            }
        }
        let first = first.unwrap_or_default();
        let log = decode(first.clone());
        let (end, committed) = (log.last().map_or(0, |(offset, _)| offset + 1), world.group.committed_up_to(partition));
        if committed > end {
            return broken("I9", format!("partition {partition}: {committed} is committed, and it ends at {end}"));
        }
        let held = world.history.compare(partition, &log, world.plan.committed_survives());
        held.inspect_err(|_| world.say(|| format!("partition {partition}: {}", batches(&first))))?;
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
            "{}..{} of epoch {} (producer {} of epoch {}, sequence {})",
            header.base_offset,
            header.last_offset(),
            header.partition_leader_epoch.0,
            header.producer_id,
            header.producer_epoch,
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
