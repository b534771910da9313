//! `kafka-consumer-perf-test`: reads records as fast as they come and says how that went (Kafka: `kafka.tools.ConsumerPerformance`, later
//! `org.apache.kafka.tools.ConsumerPerformance`).
//!
//! With `--zookeeper` it is 0.9's default, a member of a group in ZooKeeper; with `--new-consumer --broker-list` 0.9's other form; with
//! `--bootstrap-server` or `--broker-list` alone it is today's tool, whose lines have four columns more.
//!
//! # Layout
//! - [`options`]: the command line of all three
//! - [`report`]: what was counted, and Kafka's lines about it

mod options;
mod report;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::kafka::consumer::RebalanceListener;
use client::kafka::consumer::group::BoxFuture;
use client::kafka::{Cluster, ConsumerConfig, GroupConsumer};
use client::zookeeper_consumer::{ConsumerError, Subscription, ZookeeperConsumer, ZookeeperConsumerConfig, group};
use protocol::types::TopicPartition;
use runtime::Clock;

use self::options::{Options, Source, Topics};
use self::report::{Meter, print};
use crate::connect;
use crate::failure::Failure;
use crate::interrupt::{Interrupt, Interrupted};

/// One wait for records, as in Kafka's tool.
const POLL: Duration = Duration::from_millis(100);

/// 0.9's wait for the first assignment of a group.
const JOIN_MAX: Duration = Duration::from_secs(10);

/// Longest time to commit and to leave the group at the end.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options = options::read(words)?;
    connect::block_on_two_threads(perform(options))
}

async fn perform(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    if !options.hide_header {
        print(report::header(options.style, options.show_detailed_stats))?;
    }
    let ended = match &options.source {
        Source::Zookeeper(config) => read_by_zookeeper(&options, config, &mut interrupt).await,
        Source::Brokers(config) => read_by_brokers(&options, config, &mut interrupt).await,
    };
    match ended? {
        Some(signal) => Err(signal.as_failure()),
        None => Ok(()),
    }
}

/// 0.9's default: streams of a group in ZooKeeper. A group whose name was made up leaves nothing behind.
async fn read_by_zookeeper(
    options: &Options,
    config: &ZookeeperConsumerConfig,
    interrupt: &mut Interrupt,
) -> Result<Option<Interrupted>, Failure> {
    let Topics::Named(topic) = &options.topics else {
        return Err(Failure::usage("--include needs --bootstrap-server"));
    };
    let subscription = Subscription::Topics(vec![(topic.clone(), options.threads)]);
    let started = tokio::select! {
        signal = interrupt.next() => return Ok(Some(signal)),
        started = ZookeeperConsumer::start(config.clone(), subscription) => started,
    };
    let consumer = match started {
        Ok(consumer) => consumer,
        Err(ConsumerError::Zookeeper(error)) => {
            return Err(connect::unreachable_zookeeper(&config.zookeeper_connect, error).await);
        }
        Err(error) => return Err(error.into()),
    };
    let mut meter = Meter::new(options, Clock::real());
    let ended = loop {
        if meter.is_done() {
            break Ok(None);
        }
        let polled = tokio::select! {
            biased;
            signal = interrupt.next() => break Ok(Some(signal)),
            polled = consumer.poll(POLL) => polled,
        };
        let blocks = match polled {
            Ok(polled) => polled.blocks,
            Err(ConsumerError::ConsumerTimeout { .. }) => Vec::new(),
            // The member goes on by itself; the next poll tells whether that helped.
            Err(ConsumerError::Kafka(error)) if error.is_retriable() => Vec::new(),
            Err(error) => break Err(error.into()),
        };
        if let Err(failure) = meter.count(&blocks, 0) {
            break Err(failure);
        }
    };
    meter.stop();
    let ended = ended.and_then(|ended| meter.print_end(0, ended.is_some()).map(|()| ended));
    let closed = consumer.close().await.map_err(Failure::from);
    if options.group_is_generated {
        // Whoever made the name up takes it away; that it was not reached is no reason to fail what was measured.
        if let Ok(session) = connect::zookeeper(&config.zookeeper_connect).await {
            if let Err(error) = group::delete(&session, &config.group_id).await {
                eprintln!("note: the group {} remains in ZooKeeper: {error}", config.group_id);
            }
            session.close().await;
        }
    }
    ended.and_then(|ended| closed.map(|()| ended))
}

/// A group of the brokers', in 0.9's style or today's.
async fn read_by_brokers(
    options: &Options,
    config: &ConsumerConfig,
    interrupt: &mut Interrupt,
) -> Result<Option<Interrupted>, Failure> {
    let clock = Clock::real();
    let cluster = Cluster::new(config.client.clone(), clock);
    tokio::select! {
        biased;
        signal = interrupt.next() => return Ok(Some(signal)),
        connected = cluster.any_connection() => connected?,
    };
    let joins = Arc::new(Joins::new(clock));
    let consumer = GroupConsumer::new(cluster, config.clone())?.with_listener(joins.clone());
    match &options.topics {
        Topics::Named(topic) => consumer.subscribe([topic]),
        Topics::Include(filter) => {
            let filter = filter.clone();
            consumer.subscribe_matching(move |topic| filter.allows(topic, true));
        }
    }
    let mut meter = Meter::new(options, clock);
    let ended = measure(options, &consumer, &joins, &mut meter, interrupt).await;
    meter.stop();
    let ended = ended.and_then(|ended| {
        meter.print_end(joins.total_ms.load(Ordering::Relaxed), ended.is_some())?;
        Ok(ended)
    });
    let closed = consumer.close(CLOSE_MAX).await.map_err(Failure::from);
    ended.and_then(|ended| closed.map(|()| ended))
}

async fn measure(
    options: &Options,
    consumer: &GroupConsumer,
    joins: &Joins,
    meter: &mut Meter<'_>,
    interrupt: &mut Interrupt,
) -> Result<Option<Interrupted>, Failure> {
    let clock = Clock::real();
    let joined_by = clock.now() + JOIN_MAX;
    let mut waits_for_join = options.style == report::Style::Old;
    while !meter.is_done() {
        let polled = tokio::select! {
            biased;
            signal = interrupt.next() => return Ok(Some(signal)),
            polled = consumer.poll(POLL) => polled,
        };
        let blocks = match polled {
            Ok(blocks) => blocks,
            Err(error) if error.is_retriable() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        if waits_for_join {
            // 0.9 reads from the beginning whatever the group has committed, and begins to wait for records only now.
            let assigned = consumer.assignment();
            if assigned.is_empty() {
                if clock.now() >= joined_by {
                    return Err(Failure::verbatim("Timed out waiting for initial group join."));
                }
                meter.go_on_waiting();
                continue;
            }
            for partition in assigned {
                consumer.consumer().seek_to_beginning(&partition)?;
            }
            waits_for_join = false;
            meter.go_on_waiting();
            continue;
        }
        meter.count(&blocks, joins.of_this_round.load(Ordering::Relaxed))?;
        if meter.has_reported() {
            joins.of_this_round.store(0, Ordering::Relaxed);
        }
    }
    Ok(None)
}

/// How long the group took to share partitions out (Kafka: `ConsumerPerfRebListener`): from the beginning, or from the loss of the last partition, to
/// the next assignment.
struct Joins {
    clock: Clock,
    state: Mutex<JoinState>,
    total_ms: AtomicI64,
    /// Since the last line that told it.
    of_this_round: AtomicI64,
}

struct JoinState {
    since: runtime::clock::Instant,
    assigned: BTreeSet<TopicPartition>,
}

impl Joins {
    fn new(clock: Clock) -> Joins {
        let state = JoinState { since: clock.now(), assigned: BTreeSet::new() };
        Joins { clock, state: Mutex::new(state), total_ms: AtomicI64::new(0), of_this_round: AtomicI64::new(0) }
    }
}

impl RebalanceListener for Joins {
    fn on_partitions_revoked<'a>(&'a self, _: &'a GroupConsumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.assigned.retain(|partition| !partitions.contains(partition));
        if state.assigned.is_empty() {
            state.since = self.clock.now();
        }
        Box::pin(std::future::ready(()))
    }

    fn on_partitions_assigned<'a>(&'a self, _: &'a GroupConsumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.assigned.is_empty() {
            let elapsed = self.clock.now().saturating_duration_since(state.since);
            let elapsed_ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
            self.total_ms.fetch_add(elapsed_ms, Ordering::Relaxed);
            self.of_this_round.fetch_add(elapsed_ms, Ordering::Relaxed);
        }
        state.assigned.extend(partitions.iter().cloned());
        Box::pin(std::future::ready(()))
    }
}
