//! Reading from every broker, round after round, and what is said of it.
//!
//! A round takes some of the partitions, reads each from all of its replicas at the same offset, and compares. A partition goes on where all of its replicas agree; one of
//! whose replicas cannot be read waits for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};
use std::time::Duration;

use client::kafka::admin::{Admin, ConfigResource, ReplicaBytes};
use client::kafka::{ClientError, Cluster, EXAMPLE_SERVERS, IsolationLevel, OffsetSpec};
use protocol::error::ErrorCode;
use protocol::types::{BrokerId, Offset, TopicPartition};
use regex::Regex;
use runtime::Clock;

use super::compare::{self, Copy, Damaged, Difference};
use crate::failure::Failure;
use crate::java_format::DateFormat;

/// Bytes that one broker may be asked for at once; more partitions take turns.
const ROUND_BYTES_MAX: usize = 32 << 20;
/// With `--once`: how long nothing may move before what is missing counts as a failure.
const PATIENCE: Duration = Duration::from_secs(15);
/// Differences told of one partition; the others are counted.
const TOLD_MAX: usize = 10;
/// Pause after a round that brought nothing although there is something to come.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Topic that brokers too old to tell configurations compact.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// What is to be done.
pub struct Wish {
    /// Which topics.
    pub topics: Regex,
    /// The same as it was typed.
    pub pattern: String,
    /// Where to begin.
    pub from: OffsetSpec,
    /// Bytes of a partition at a time.
    pub bytes_max: i32,
    /// Longest wait for new records.
    pub wait: Duration,
    /// How often the largest lag is told.
    pub report_every: Duration,
    /// Whether to end.
    pub once: bool,
}

/// A partition on its way.
struct Watched {
    partition: TopicPartition,
    replicas: Vec<BrokerId>,
    /// Each broker compacts it at its own time.
    compacted: bool,
    /// Everything before it is compared.
    at: Offset,
    /// Largest high watermark seen.
    high_watermark: Offset,
    /// With `--once`: where it is done.
    until: Option<Offset>,
    differences: usize,
    /// Nothing behind a difference of offsets can be compared.
    parted: bool,
    /// Why it did not go on, the last time it did not.
    obstacle: Option<String>,
}

impl Watched {
    fn name(&self) -> String {
        format!("[{},{}]", self.partition.topic, self.partition.partition)
    }

    fn is_done(&self) -> bool {
        self.parted || self.until.is_some_and(|until| self.at >= until)
    }
}

/// Compares until the end, or until Ctrl-C where none is asked for.
pub async fn run(cluster: Cluster, wish: &Wish) -> Result<(), Failure> {
    let clock = cluster.clock();
    let admin = Admin::new(cluster);
    let mut out = Report { dates: DateFormat::parse("yyyy-MM-dd HH:mm:ss,SSS")?, clock, out: io::stdout() };
    let mut watched = watch(&admin, wish).await?;
    out.line("verification process is started.")?;
    let (mut reported, mut moved) = (clock.now(), clock.now());
    let mut turn = 0;
    loop {
        let open: Vec<usize> = (0..watched.len()).filter(|index| !watched[*index].is_done()).collect();
        if open.is_empty() && wish.once {
            break;
        }
        let at_once = (ROUND_BYTES_MAX / usize::try_from(wish.bytes_max).unwrap_or(1)).max(1);
        let chosen: Vec<usize> = open.iter().cycle().skip(turn).take(at_once.min(open.len())).copied().collect();
        turn = if open.is_empty() { 0 } else { (turn + chosen.len()) % open.len() };
        let goes_round = chosen.len() < open.len();
        let has_moved = round(&admin, wish, &mut watched, &chosen, goes_round, &mut out).await?;
        let now = clock.now();
        if has_moved {
            moved = now;
        } else if wish.once && now - moved > PATIENCE {
            return Err(stuck(&watched));
        } else {
            clock.sleep(RETRY_PAUSE).await;
        }
        if now - reported >= wish.report_every {
            out.lag(&watched)?;
            reported = now;
        }
    }
    out.lag(&watched)?;
    verdict(&watched)
}

/// The partitions, where they begin and, with `--once`, where they end.
async fn watch(admin: &Admin, wish: &Wish) -> Result<Vec<Watched>, Failure> {
    let topics = admin.list_topics().await?;
    let topics: Vec<_> = topics.iter().filter(|topic| wish.topics.is_match(&topic.name)).collect();
    let partitions = topics.iter().flat_map(|topic| {
        let name = |number| TopicPartition { topic: topic.name.clone(), partition: number };
        topic.partitions.iter().map(move |partition| (name(partition.partition), partition.replicas.clone()))
    });
    let partitions: Vec<(TopicPartition, Vec<BrokerId>)> = partitions.collect();
    if partitions.is_empty() {
        return Err(Failure::new("there is no topic to verify")
            .cause(format!("none is named like {}", wish.pattern))
            .help(format!("bin/kafka-topics.sh --list --bootstrap-server {EXAMPLE_SERVERS}")));
    }
    let mut compacted = BTreeSet::new();
    for topic in &topics {
        if is_compacted(admin, &topic.name).await? {
            compacted.insert(topic.name.clone());
        }
    }
    let ends = offsets(admin, &partitions, OffsetSpec::Latest).await?;
    let starts = match wish.from {
        OffsetSpec::Latest => HashMap::new(),
        from => offsets(admin, &partitions, from).await?,
    };
    let watched = partitions.into_iter().map(|(partition, replicas)| {
        let end = ends.get(&partition).copied().unwrap_or(Offset::ZERO);
        Watched {
            at: starts.get(&partition).copied().unwrap_or(end),
            high_watermark: end,
            until: wish.once.then_some(end),
            compacted: compacted.contains(&partition.topic),
            replicas,
            partition,
            differences: 0,
            parted: false,
            obstacle: None,
        }
    });
    Ok(watched.collect())
}

async fn is_compacted(admin: &Admin, topic: &str) -> Result<bool, Failure> {
    match admin.describe_configs(&ConfigResource::Topic(topic.to_owned()), Some(&["cleanup.policy"])).await {
        Ok(entries) => {
            Ok(entries.iter().filter_map(|entry| entry.value.as_deref()).any(|value| value.contains("compact")))
        }
        Err(ClientError::UnsupportedVersion { .. }) => Ok(topic == OFFSETS_TOPIC),
        Err(error) => Err(error.into()),
    }
}

/// What the leaders say; partitions in which no record is of such a time are left out.
async fn offsets(
    admin: &Admin,
    partitions: &[(TopicPartition, Vec<BrokerId>)],
    spec: OffsetSpec,
) -> Result<HashMap<TopicPartition, Offset>, Failure> {
    let wanted: Vec<_> = partitions.iter().map(|(partition, _)| (partition.clone(), spec)).collect();
    let mut offsets = HashMap::new();
    for (partition, listed) in admin.list_offsets(&wanted, IsolationLevel::ReadUncommitted).await {
        let listed = listed.map_err(|error| {
            Failure::new(format!("cannot find where {partition} begins and ends")).cause(&error).help(format!(
                "bin/kafka-topics.sh --describe --unavailable-partitions --bootstrap-server {EXAMPLE_SERVERS}"
            ))
        })?;
        if let Some(listed) = listed {
            offsets.insert(partition, listed.offset);
        }
    }
    Ok(offsets)
}

/// Reads the chosen partitions from all of their replicas and compares them. Says whether any of them went on.
async fn round(
    admin: &Admin,
    wish: &Wish,
    watched: &mut [Watched],
    chosen: &[usize],
    goes_round: bool,
    out: &mut Report,
) -> Result<bool, Failure> {
    let mut by_broker: BTreeMap<BrokerId, Vec<(TopicPartition, Offset)>> = BTreeMap::new();
    for index in chosen {
        let Watched { partition, replicas, at, .. } = &watched[*index];
        for replica in replicas {
            by_broker.entry(*replica).or_default().push((partition.clone(), *at));
        }
    }
    // Somebody who waits for one partition keeps the others waiting; and what is behind is there already.
    let is_behind = chosen.iter().any(|index| watched[*index].at < watched[*index].high_watermark);
    let wait = if goes_round || is_behind { Duration::ZERO } else { wish.wait };
    let asked: Vec<_> = by_broker
        .into_iter()
        .map(|(broker, wanted)| {
            let (admin, bytes_max) = (admin.clone(), wish.bytes_max);
            let task = runtime::spawn(async move { admin.read_replicas(broker, &wanted, bytes_max, wait).await });
            (broker, task)
        })
        .collect();
    let mut found: HashMap<(BrokerId, TopicPartition), Result<ReplicaBytes, ErrorCode>> = HashMap::new();
    let mut unreachable: BTreeMap<BrokerId, String> = BTreeMap::new();
    for (broker, task) in asked {
        match task.await {
            Ok(Ok(read)) => found.extend(read.into_iter().map(|(partition, read)| ((broker, partition), read))),
            Ok(Err(error)) => drop(unreachable.insert(broker, error.to_string())),
            Err(failed) => drop(unreachable.insert(broker, failed.to_string())),
        }
    }
    if !unreachable.is_empty() {
        // It may have come back elsewhere.
        let _ = admin.cluster().refresh_brokers().await;
    }
    let mut has_moved = false;
    let mut past = Vec::new();
    for index in chosen {
        let one = &mut watched[*index];
        let mut copies = Vec::new();
        one.obstacle = None;
        for replica in &one.replicas {
            match found.remove(&(*replica, one.partition.clone())) {
                Some(Ok(read)) => {
                    one.high_watermark = one.high_watermark.max(read.high_watermark);
                    copies.push(Copy { replica: replica.0, high_watermark: read.high_watermark, bytes: read.bytes });
                }
                Some(Err(code)) => {
                    if code == ErrorCode::OFFSET_OUT_OF_RANGE {
                        past.push(*index);
                    }
                    one.obstacle = Some(format!("replica {replica} says {code}"));
                }
                None => {
                    let why = unreachable.get(replica).map_or("it left the partition out", String::as_str);
                    one.obstacle = Some(format!("replica {replica}: {why}"));
                }
            }
        }
        if copies.len() == one.replicas.len() {
            has_moved |= compare_copies(one, &copies, wish.once, out)?;
        }
    }
    follow_retention(admin, watched, &past).await?;
    Ok(has_moved)
}

fn compare_copies(one: &mut Watched, copies: &[Copy], once: bool, out: &mut Report) -> Result<bool, Failure> {
    let compared = match one.compacted {
        true => compare::same_records(one.at, copies),
        false => compare::same_bytes(one.at, copies),
    };
    let compared = match compared {
        Ok(compared) => compared,
        Err(Damaged { replica, why }) => {
            let (name, at) = (one.name(), one.at.0);
            let what = format!("Error in processing replica {replica} in partition {name} at offset {at}.");
            return Err(Failure::new(what).cause(why).help(describe(&one.partition)));
        }
    };
    for difference in &compared.differences {
        one.differences += 1;
        one.parted |= matches!(difference, Difference::Offsets { .. });
        if one.differences <= TOLD_MAX {
            out.line(&told(&one.name(), difference))?;
        }
        // As Kafka's: who compares on and on stops here. Who compares once looks at the other partitions too.
        if one.parted && !once {
            return Err(differ(&[&*one]));
        }
    }
    let has_moved = compared.next > one.at || !compared.differences.is_empty();
    if !has_moved && one.at < one.high_watermark {
        let behind = copies.iter().min_by_key(|copy| (copy.high_watermark, copy.bytes.len()));
        one.obstacle = behind.map(|copy| {
            format!("replica {} has nothing new below its high watermark {}", copy.replica, copy.high_watermark.0)
        });
    }
    one.at = compared.next;
    Ok(has_moved)
}

/// Partitions whose offset has been deleted since go on where the leader begins.
async fn follow_retention(admin: &Admin, watched: &mut [Watched], past: &[usize]) -> Result<(), Failure> {
    if past.is_empty() {
        return Ok(());
    }
    let partitions: Vec<_> = past.iter().map(|index| (watched[*index].partition.clone(), Vec::new())).collect();
    let starts = offsets(admin, &partitions, OffsetSpec::Earliest).await?;
    for index in past {
        let one = &mut watched[*index];
        if let Some(start) = starts.get(&one.partition) {
            one.at = one.at.max(*start);
        }
    }
    Ok(())
}

/// Kafka's line where it has one.
fn told(name: &str, difference: &Difference) -> String {
    match difference {
        Difference::Offsets { first, other } => format!(
            "partition {name}: replica {}'s offset {} doesn't match replica {}'s offset {}",
            first.0, first.1, other.0, other.1
        ),
        Difference::Checksums { offset, first, other } => format!(
            "partition {name} has unmatched checksum at offset {offset}; replica {}'s checksum {}; replica {}'s checksum {}",
            first.0, first.1, other.0, other.1
        ),
        Difference::Bytes { offset, first, other } => format!(
            "partition {name} has unmatched bytes at offset {offset}; replica {first}'s and replica {other}'s batches have the same checksum"
        ),
        Difference::Records { offset, first, other } => {
            format!("partition {name} has unmatched records at offset {offset}; replica {first} and replica {other}")
        }
    }
}

fn verdict(watched: &[Watched]) -> Result<(), Failure> {
    let different: Vec<&Watched> = watched.iter().filter(|one| one.differences > 0).collect();
    if different.is_empty() { Ok(()) } else { Err(differ(&different)) }
}

fn differ(different: &[&Watched]) -> Failure {
    let names: Vec<String> = different.iter().map(|one| one.name()).collect();
    let count: usize = different.iter().map(|one| one.differences).sum();
    let failure = Failure::new(format!("replicas differ in {}", names.join(", ")));
    let failure = failure.cause(format!("{count} differences below the high watermark, told above"));
    match different.first() {
        Some(first) => failure.help(describe(&first.partition)),
        None => failure,
    }
}

fn stuck(watched: &[Watched]) -> Failure {
    let open: Vec<&Watched> = watched.iter().filter(|one| !one.is_done()).collect();
    let names: Vec<String> = open.iter().take(TOLD_MAX).map(|one| one.name()).collect();
    let what = format!("{} partitions could not be compared to their end: {}", open.len(), names.join(", "));
    let failure = Failure::new(what);
    let failure = match open.iter().find_map(|one| one.obstacle.as_ref().map(|why| (one, why))) {
        Some((one, why)) => failure.cause(format!("{} at offset {}: {why}", one.name(), one.at.0)),
        None => failure,
    };
    failure.help(format!(
        "bin/kafka-topics.sh --describe --under-replicated-partitions --bootstrap-server {EXAMPLE_SERVERS}"
    ))
}

fn describe(partition: &TopicPartition) -> String {
    format!("bin/kafka-topics.sh --describe --topic {} --bootstrap-server {EXAMPLE_SERVERS}", partition.topic)
}

/// Lines with the time before them, as Kafka's tool prints them.
struct Report {
    dates: DateFormat,
    clock: Clock,
    out: io::Stdout,
}

impl Report {
    fn line(&mut self, text: &str) -> Result<(), Failure> {
        let mut out = self.out.lock();
        writeln!(out, "{}: {text}", self.dates.format(self.clock.now_ms()))?;
        Ok(out.flush()?)
    }

    fn lag(&mut self, watched: &[Watched]) -> Result<(), Failure> {
        let lag = |one: &Watched| one.high_watermark.0.saturating_sub(one.at.0);
        let mut worst: Option<&Watched> = None;
        for one in watched {
            if worst.is_none_or(|known| lag(one) > lag(known)) {
                worst = Some(one);
            }
        }
        let Some(worst) = worst else { return Ok(()) };
        let (name, at, count) = (worst.name(), worst.at.0, watched.len());
        self.line(&format!("max lag is {} for partition {name} at offset {at} among {count} partitions", lag(worst)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(differences: usize, obstacle: Option<&str>) -> Watched {
        Watched {
            partition: TopicPartition::new("t", 0),
            replicas: vec![BrokerId(0), BrokerId(1)],
            compacted: false,
            at: Offset(5),
            high_watermark: Offset(9),
            until: Some(Offset(9)),
            differences,
            parted: false,
            obstacle: obstacle.map(str::to_owned),
        }
    }

    #[test]
    fn differences_are_told_in_kafkas_words() {
        let offsets = Difference::Offsets { first: (0, 5), other: (1, 7) };
        assert_eq!(told("[t,0]", &offsets), "partition [t,0]: replica 0's offset 5 doesn't match replica 1's offset 7");
        let checksums = Difference::Checksums { offset: 5, first: (0, 11), other: (1, 12) };
        assert_eq!(
            told("[t,0]", &checksums),
            "partition [t,0] has unmatched checksum at offset 5; replica 0's checksum 11; replica 1's checksum 12"
        );
    }

    #[test]
    fn the_end_says_what_differs_and_what_could_not_be_read() {
        assert!(verdict(&[one(0, None)]).is_ok());
        insta::assert_snapshot!(verdict(&[one(0, None), one(3, None)]).unwrap_err(), @r"
        error: replicas differ in [t,0]
        cause: 3 differences below the high watermark, told above
        help: bin/kafka-topics.sh --describe --topic t --bootstrap-server localhost:9092
        ");
        insta::assert_snapshot!(stuck(&[one(0, Some("replica 1 says so"))]), @r"
        error: 1 partitions could not be compared to their end: [t,0]
        cause: [t,0] at offset 5: replica 1 says so
        help: bin/kafka-topics.sh --describe --under-replicated-partitions --bootstrap-server localhost:9092
        ");
    }
}
