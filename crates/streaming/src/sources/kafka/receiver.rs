//! `create_stream`: a member of a consumer group in ZooKeeper.
//!
//! A task takes in what the group's rules give to this member, up to a bound; each batch takes what is in. A batch's offsets are committed
//! once all its outputs have succeeded, so a program that ends badly reads those records again. After a batch that failed nothing is
//! committed any more, for the same reason: a commit would pass over its records.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use client::kafka::{FetchedBlock, OffsetReset, OffsetSpec};
use client::zookeeper_consumer::{ConsumerError, Polled, Subscription, ZookeeperConsumer, ZookeeperConsumerConfig};
use parking_lot::Mutex;
use protocol::types::{Offset, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::context::StreamingContext;
use crate::dstream::{DStream, Generated};
use crate::error::{Step, StreamingError, TaskError};
use crate::listener::BatchInfo;
use crate::notes::Notes;
use crate::rdd::{Rdd, RddOp, Sink};
use crate::scheduler::stages::Dependency;
use crate::scheduler::{SparkContext, TaskContext};
use crate::sources::kafka::fetched::FetchedBlocks;
use crate::sources::kafka::missing::note_missing;
use crate::sources::kafka::outage::note_outages;
use crate::sources::kafka::{Joined, OffsetRange, Record, note_joined};
use crate::sources::{Input, InputSource, ReceiverState, SourceEvents};
use crate::time::Time;

/// Bytes, as they came from the brokers, that may wait for a batch. When they are in, no more is asked for.
const WAITING_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Longest wait of one poll; a stop waits no longer than this.
const POLL_LIMIT: Duration = Duration::from_millis(500);

/// Wait after an error before the next poll.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Longest wait for the last commit and for leaving the group.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// Bytes for which another task is worth its while.
const TASK_BYTES: usize = 256 * 1024;

/// Batches whose offsets wait to be committed; more than can wait for their turn.
const UNCOMMITTED_BATCHES_MAX: usize = 1024;

struct ReceiverSource {
    config: ZookeeperConsumerConfig,
    subscription: Subscription,
    topics: Vec<String>,
    location: String,
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

struct Running {
    io: Handle,
    consumer: Arc<ZookeeperConsumer>,
    receiving: Option<JoinHandle<()>>,
    committing: JoinHandle<()>,
    noting: JoinHandle<()>,
    state: Arc<ReceiverState>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Told when a batch has taken what waited.
    taken: Notify,
    stop: watch::Sender<bool>,
    commits: Mutex<Commits>,
    /// Told when there is something to commit.
    commit_due: Notify,
}

#[derive(Default)]
struct Waiting {
    blocks: Vec<FetchedBlock>,
    bytes: usize,
}

/// Offsets on their way from being read to being committed.
#[derive(Debug, Default)]
struct Commits {
    /// Where each batch that is not completed ends.
    batches: BTreeMap<Time, Ends>,
    /// Of completed batches, not committed yet.
    due: Ends,
    /// A batch has failed: nothing behind it is committed.
    failed: bool,
}

type Ends = BTreeMap<TopicPartition, Offset>;

/// A stream of the records of topics, read as a member of a consumer group in ZooKeeper (Spark's `KafkaUtils.createStream`).
///
/// `zk_quorum` is `host:port[,host:port...][/chroot]`. Each topic comes with a number of threads, which only says how large a share of its
/// partitions this member gets next to others. `params` are those of Kafka 0.8's consumer; `auto.offset.reset` is `largest` unless given.
///
/// # Errors
/// Parameters that cannot be used. Whether ZooKeeper is there shows when the context starts.
pub fn create_stream(
    context: &StreamingContext,
    zk_quorum: &str,
    group_id: &str,
    topics: &[(String, i32)],
    params: &[(String, String)],
) -> Result<DStream<Record>, StreamingError> {
    let bad = |error: ConsumerError| StreamingError::invalid(error.to_string());
    let mut config = ZookeeperConsumerConfig::new(zk_quorum, group_id);
    // Spark's own setting: it waits longer than Kafka for ZooKeeper.
    config.set("zookeeper.connection.timeout.ms", "10000").map_err(bad)?;
    for (name, value) in params {
        if !config.set(name, value).map_err(bad)? {
            tracing::warn!("The configuration '{name}' was supplied but isn't a known config.");
        }
    }
    config.zookeeper_connect = zk_quorum.to_owned();
    config.group_id = group_id.to_owned();
    // Offsets are committed by completed batches and by nothing else; and no record for a while is no error.
    config.auto_commit_enable = false;
    config.consumer_timeout = None;
    config.validate().map_err(bad)?;
    let subscription = Subscription::Topics(topics.to_vec());
    subscription.validate().map_err(bad)?;
    Ok(context.input_stream(ReceiverSource {
        config,
        subscription,
        topics: topics.iter().map(|(topic, _)| topic.clone()).collect(),
        location: zk_quorum.to_owned(),
        shared: Arc::default(),
        running: Mutex::new(None),
    }))
}

impl InputSource<Record> for ReceiverSource {
    fn name(&self) -> String {
        format!("Kafka stream of group {} from {}", self.config.group_id, self.location)
    }

    fn start(&self, spark: &SparkContext, events: &SourceEvents, stream_id: usize) -> Result<(), TaskError> {
        let io = spark.io()?;
        let joining = ZookeeperConsumer::start(self.config.clone(), self.subscription.clone());
        let consumer = Arc::new(io.block_on(joining).map_err(explain)?);
        let state = Arc::new(events.receiver(stream_id, "KafkaReceiver", &self.location));
        let receiver = Receiver {
            shared: self.shared.clone(),
            consumer: consumer.clone(),
            from_latest: self.config.auto_offset_reset == OffsetReset::Latest,
            state: state.clone(),
            user: spark.notes().clone(),
        };
        let committer = Committer { shared: self.shared.clone(), consumer: consumer.clone() };
        let receiving = Some(io.spawn(receiver.run()));
        let committing = io.spawn(committer.run());
        let (reading, location) = (consumer.clone(), self.location.clone());
        let (topics, user) = (self.topics.clone(), spark.notes().clone());
        let noting = io.spawn(async move {
            tokio::join!(note_missing(&reading, &topics, &location, &user), note_outages(&reading, &location, &user));
        });
        *self.running.lock() = Some(Running { io, consumer, receiving, committing, noting, state });
        Ok(())
    }

    fn stop(&self) {
        self.shared.stop.send_replace(true);
        if let Some(Running { io, receiving, state, .. }) = &mut *self.running.lock() {
            if let Some(receiving) = receiving.take() {
                // It looks at the signal after each poll.
                let _ = io.block_on(receiving);
            }
            state.stopped();
        }
    }

    fn has_pending(&self) -> bool {
        !self.shared.waiting.lock().blocks.is_empty()
    }

    fn compute(&self, spark: &SparkContext, time: Time, input: &mut Input) -> Generated<Record> {
        let blocks = std::mem::take(&mut *self.shared.waiting.lock()).blocks;
        self.shared.taken.notify_one();
        self.shared.commits.lock().read(time, &blocks);
        let partitions = spread(blocks, spark.default_parallelism());
        let ranges: Vec<OffsetRange> = partitions.iter().filter_map(|blocks| range_of(blocks)).collect();
        input.num_records = ranges.iter().map(OffsetRange::count).sum();
        Ok(Some(Rdd::of_fetched(spark, BlocksRdd(partitions), ranges.into())))
    }

    fn batch_completed(&self, batch: &BatchInfo, succeeded: bool) {
        if self.shared.commits.lock().completed(batch.batch_time, succeeded) {
            self.shared.commit_due.notify_one();
        }
    }

    fn close(&self) {
        let Some(Running { io, consumer, committing, noting, .. }) = self.running.lock().take() else {
            return;
        };
        committing.abort();
        noting.abort();
        let last = self.shared.commits.lock().take_due();
        let leaving = async {
            if !last.is_empty() {
                commit(&consumer, last).await?;
            }
            consumer.close().await
        };
        match io.block_on(async { tokio::time::timeout(CLOSE_LIMIT, leaving).await }) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("leaving group {}: {error}", self.config.group_id),
            Err(_elapsed) => tracing::warn!("leaving group {} took more than {CLOSE_LIMIT:?}", self.config.group_id),
        }
    }
}

/// The error with its cause, as people need it to find the mistake.
fn explain(error: ConsumerError) -> TaskError {
    match error.cause() {
        Some(cause) => TaskError::message(format!("{error}: {cause}")),
        None => error.into(),
    }
}

/// The task that takes records in.
struct Receiver {
    shared: Arc<Shared>,
    consumer: Arc<ZookeeperConsumer>,
    from_latest: bool,
    state: Arc<ReceiverState>,
    user: Notes,
}

impl Receiver {
    async fn run(self) {
        let mut stop = self.shared.stop.subscribe();
        while !*stop.borrow() {
            if self.shared.waiting.lock().bytes >= WAITING_BYTES_MAX {
                tokio::select! {
                    biased;
                    _ = stop.changed() => {}
                    () = self.shared.taken.notified() => {}
                }
                continue;
            }
            let polled = tokio::select! {
                biased;
                _ = stop.changed() => continue,
                polled = self.consumer.poll(POLL_LIMIT) => polled,
            };
            match polled {
                Ok(polled) => self.take_in(polled).await,
                Err(error) => {
                    tracing::warn!("Kafka receiver: {error}");
                    self.state.error("Error handling message; exiting", &error.to_string());
                    if matches!(error, ConsumerError::Closed) {
                        return;
                    }
                    runtime::Clock::real().sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    async fn take_in(&self, polled: Polled) {
        let Polled { lost, assigned, blocks } = polled;
        {
            let mut waiting = self.shared.waiting.lock();
            if !lost.is_empty() {
                // Their next owner reads them.
                let lost: HashSet<&TopicPartition> = lost.iter().collect();
                waiting.blocks.retain(|block| !lost.contains(&block.topic_partition));
                waiting.bytes = waiting.blocks.iter().map(FetchedBlock::size).sum();
            }
            waiting.bytes += blocks.iter().map(FetchedBlock::size).sum::<usize>();
            waiting.blocks.extend(blocks);
        }
        let begun: Vec<TopicPartition> =
            assigned.into_iter().filter(|(_, offset)| offset.is_none()).map(|(partition, _)| partition).collect();
        if self.from_latest && !begun.is_empty() {
            self.note(&begun).await;
        }
    }

    /// Tells where partitions that nobody has committed are begun. Best effort: it is a note.
    async fn note(&self, partitions: &[TopicPartition]) {
        let Some(reader) = self.consumer.reader() else {
            return;
        };
        let wanted: Vec<_> = partitions.iter().map(|partition| (partition.clone(), OffsetSpec::Earliest)).collect();
        let mut earliest = reader.list_offsets(&wanted).await;
        let mut joined = Vec::new();
        for partition in partitions {
            if let Some(Ok(Some(earliest))) = earliest.remove(partition)
                && let Ok(offset) = reader.wait_for_position(partition, POLL_LIMIT).await
            {
                let older = offset.0 - earliest.offset.0;
                joined.push(Joined { partition: partition.clone(), offset: offset.0, older });
            }
        }
        note_joined(&joined, &self.user);
    }
}

/// The task that commits what completed batches have left to commit; a newer offset replaces one that still waits.
struct Committer {
    shared: Arc<Shared>,
    consumer: Arc<ZookeeperConsumer>,
}

impl Committer {
    async fn run(self) {
        loop {
            self.shared.commit_due.notified().await;
            let due = self.shared.commits.lock().take_due();
            if due.is_empty() {
                continue;
            }
            if let Err(error) = commit(&self.consumer, due.clone()).await {
                tracing::warn!("offsets could not be committed, the next batch tries again: {error}");
                self.shared.commits.lock().put_back(due);
            }
        }
    }
}

async fn commit(consumer: &ZookeeperConsumer, ends: Ends) -> Result<(), ConsumerError> {
    let offsets: Vec<(TopicPartition, Offset)> = ends.into_iter().collect();
    // Partitions that belong to others by now come back: those others read the records again.
    consumer.commit(&offsets).await.map(|_others| ())
}

impl Commits {
    /// A batch took these blocks.
    fn read(&mut self, time: Time, blocks: &[FetchedBlock]) {
        let ends = blocks.iter().map(|block| (block.topic_partition.clone(), block.next_offset));
        self.begin(time, ends.collect());
    }

    fn begin(&mut self, time: Time, ends: Ends) {
        if ends.is_empty() || self.failed {
            return;
        }
        self.batches.insert(time, ends);
        if self.batches.len() > UNCOMMITTED_BATCHES_MAX {
            // Batches that nobody completed, because their RDD was never made into a job. Later offsets stand for theirs.
            self.batches.pop_first();
        }
    }

    /// A batch has ended; whether there is something to commit.
    fn completed(&mut self, time: Time, succeeded: bool) -> bool {
        let Some(ends) = self.batches.remove(&time) else {
            return false;
        };
        if !succeeded && !self.failed {
            self.failed = true;
            tracing::warn!("batch {time} failed: its Kafka offsets and those of later batches are not committed");
        }
        if self.failed {
            return false;
        }
        self.due.extend(ends);
        true
    }

    fn take_due(&mut self) -> Ends {
        std::mem::take(&mut self.due)
    }

    /// Offsets that could not be committed; newer ones that have come meanwhile stay.
    fn put_back(&mut self, ends: Ends) {
        for (partition, offset) in ends {
            self.due.entry(partition).or_insert(offset);
        }
    }
}

/// Blocks that were fetched, a run of blocks of one Kafka partition to each partition. They are kept, so a second action reads them again.
struct BlocksRdd(Vec<Vec<FetchedBlock>>);

impl RddOp<Record> for BlocksRdd {
    fn partitions(&self) -> usize {
        self.0.len()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        Vec::new()
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, Record>) -> Step {
        self.push_records(partition, task, sink)
    }
}

impl FetchedBlocks for BlocksRdd {
    fn push_blocks(&self, partition: usize, task: &TaskContext, sink: &mut dyn FnMut(&FetchedBlock) -> Step) -> Step {
        for block in &self.0[partition] {
            task.check()?;
            sink(block)?;
        }
        Ok(())
    }
}

/// The blocks of each Kafka partition, in order; those of a large one are cut into as many runs as there are threads, so that a topic of one
/// partition keeps all of them busy.
fn spread(blocks: Vec<FetchedBlock>, parallelism: usize) -> Vec<Vec<FetchedBlock>> {
    let mut by_partition: BTreeMap<TopicPartition, Vec<FetchedBlock>> = BTreeMap::new();
    for block in blocks.into_iter().filter(|block| !block.is_empty()) {
        by_partition.entry(block.topic_partition.clone()).or_default().push(block);
    }
    let threads_each = (parallelism / by_partition.len().max(1)).max(1);
    let mut partitions = Vec::new();
    for blocks in by_partition.into_values() {
        let bytes: usize = blocks.iter().map(FetchedBlock::size).sum();
        let runs = (bytes / TASK_BYTES).clamp(1, threads_each).min(blocks.len());
        let mut blocks = blocks.into_iter();
        let count = blocks.len();
        for run in 0..runs {
            partitions.push(blocks.by_ref().take((run + 1) * count / runs - run * count / runs).collect());
        }
    }
    partitions
}

fn range_of(blocks: &[FetchedBlock]) -> Option<OffsetRange> {
    let (first, last) = (blocks.first()?, blocks.last()?);
    Some(OffsetRange {
        topic: first.topic_partition.topic.clone(),
        partition: first.topic_partition.partition,
        from_offset: first.fetch_offset.0,
        until_offset: last.next_offset.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(offset: i64) -> Ends {
        [(TopicPartition::new("t", 0), Offset(offset))].into()
    }

    fn at(time: i64) -> Time {
        Time::from_ms(time)
    }

    #[test]
    fn offsets_are_due_once_their_batch_has_succeeded() {
        let mut commits = Commits::default();
        commits.begin(at(1), ends(5));
        commits.begin(at(2), Ends::new());
        commits.begin(at(3), ends(9));
        assert!(commits.take_due().is_empty());
        assert!(commits.completed(at(1), true));
        assert!(!commits.completed(at(2), true), "nothing was read");
        assert_eq!(commits.take_due(), ends(5));
        assert!(commits.completed(at(3), true));
        assert_eq!(commits.take_due(), ends(9));
    }

    #[test]
    fn nothing_is_due_after_a_batch_that_failed() {
        let mut commits = Commits::default();
        for time in 1..=3 {
            commits.begin(at(time), ends(time));
        }
        assert!(commits.completed(at(1), true));
        assert!(!commits.completed(at(2), false));
        assert!(!commits.completed(at(3), true));
        commits.begin(at(4), ends(4));
        assert!(!commits.completed(at(4), true));
        assert_eq!(commits.take_due(), ends(1), "what succeeded before is still committed");
    }

    #[test]
    fn a_failed_commit_does_not_go_back_behind_a_newer_one() {
        let mut commits = Commits::default();
        commits.begin(at(1), ends(5));
        commits.completed(at(1), true);
        let failed = commits.take_due();
        commits.begin(at(2), ends(9));
        commits.completed(at(2), true);
        commits.put_back(failed);
        assert_eq!(commits.take_due(), ends(9));
    }
}
