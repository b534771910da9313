//! Streaming jobs on our keeper and broker: the tutorial's word count as a group member, and the direct stream with its offset ranges.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::kafka::{Producer, ProducerRecord};
use client::zookeeper::{Session, paths};
use runtime::Clock;
use streaming::kafka::{self, OffsetRange, RateLimits, TopicPartition};
use streaming::{BatchClock, DStream, ManualClock, Rdd, SparkContext, StreamingContext, TaskError};
use tidemill_testing::servers::{PATIENCE, Servers, create_topic};

const BATCH: Duration = Duration::from_secs(1);

/// Servers and the runtime they live on: streaming jobs block, so tests here are ordinary threads.
struct Peers {
    io: tokio::runtime::Runtime,
    servers: Servers,
    session: Session,
    producer: Producer,
}

impl Peers {
    fn start() -> Peers {
        let io = runtime::spawn::multi_thread("servers", 2, 8).unwrap();
        let (servers, session, producer) = io.block_on(async {
            let servers = Servers::start(&[]).await;
            let (session, producer) = (servers.session().await, servers.producer());
            (servers, session, producer)
        });
        Peers { io, servers, session, producer }
    }

    fn zookeeper(&self) -> String {
        self.servers.connect()
    }

    fn create_topic(&self, topic: &str, partitions: i32) {
        self.io.block_on(create_topic(&self.session, topic, partitions));
    }

    /// Sends the lines to the partitions in turn and waits until all are acknowledged.
    fn produce(&self, topic: &str, partitions: i32, lines: &[&str]) {
        self.io.block_on(async {
            for (number, line) in lines.iter().enumerate() {
                let record = ProducerRecord::new(topic, line.to_string()).with_partition(number as i32 % partitions);
                self.producer.send(record).await.unwrap().await.unwrap();
            }
        });
    }

    fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let path = paths::consumer_offset(group, topic, partition);
        let data = self.io.block_on(self.session.try_get_data(&path)).unwrap();
        data.map(|(data, _)| std::str::from_utf8(&data).unwrap().parse().unwrap())
    }

    fn params(&self) -> Vec<(String, String)> {
        [("metadata.broker.list", self.servers.address().to_string()), ("auto.offset.reset", "smallest".into())]
            .map(|(name, value)| (name.to_string(), value))
            .to_vec()
    }

    fn stop(self) {
        let Peers { io, servers, session, .. } = self;
        io.block_on(async {
            session.close().await;
            servers.stop().await;
        });
    }
}

/// A streaming program on a manual clock.
struct Program {
    ssc: StreamingContext,
    clock: ManualClock,
    batches: u64,
}

impl Program {
    fn new() -> Program {
        let sc = SparkContext::new("local[2]", "test").unwrap();
        let clock = ManualClock::new();
        let ssc = StreamingContext::with_clock(&sc, BATCH, BatchClock::Manual(clock.clone())).unwrap();
        Program { ssc, clock, batches: 0 }
    }

    fn run_batch(&mut self) {
        self.clock.advance(BATCH);
        self.batches += 1;
        assert!(self.ssc.await_batches(self.batches, PATIENCE), "batch {} did not end", self.batches);
    }

    /// Runs batches until `done`.
    fn run_until(&mut self, done: impl Fn() -> bool) {
        let deadline = Clock::real().now() + PATIENCE;
        while !done() {
            assert!(Clock::real().now() < deadline, "it did not come about");
            self.run_batch();
        }
    }
}

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

/// Adds up the words of all batches. Lines with the word "poison" fail their batch before anything is counted.
fn count_words(stream: &DStream<kafka::Record>) -> Counts {
    let counts = Counts::default();
    let into = counts.clone();
    let words = stream.text().flat_map(|line| line.split(' ')).map(|word| (word, 1u64));
    words.reduce_by_key(|a, b| a + b).foreach_rdd(move |rdd, _| {
        let batch = rdd.collect()?;
        if batch.iter().any(|(word, _)| word == "poison") {
            return Err(TaskError::message("poison"));
        }
        for (word, count) in batch {
            *into.lock().unwrap().entry(word.to_string()).or_default() += count;
        }
        Ok(())
    });
    counts
}

fn counted(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(word, count)| ((*word).to_string(), *count)).collect()
}

#[test]
fn the_word_count_reads_as_a_group_member_and_commits_what_it_has_counted() {
    let peers = Peers::start();
    peers.create_topic("words", 2);
    peers.produce("words", 2, &["hello hadoop", "hello spark"]);
    let start = || {
        let program = Program::new();
        let params = [("auto.offset.reset".to_string(), "smallest".to_string())];
        let topics = [("words".to_string(), 1)];
        let stream = kafka::create_stream(&program.ssc, &peers.zookeeper(), "group", &topics, &params).unwrap();
        let counts = count_words(&stream);
        program.ssc.start().unwrap();
        (program, counts)
    };

    let (mut program, counts) = start();
    let expected = counted(&[("hello", 2), ("hadoop", 1), ("spark", 1)]);
    program.run_until(|| *counts.lock().unwrap() == expected);
    peers.produce("words", 2, &["to be", "or not to be"]);
    program.run_until(|| counts.lock().unwrap().get("to") == Some(&2));
    program.ssc.stop(true);
    program.ssc.await_termination().unwrap();
    assert_eq!((peers.committed("group", "words", 0), peers.committed("group", "words", 1)), (Some(2), Some(2)));

    // The next program goes on there. A batch that fails is not committed, nor is any after it.
    peers.produce("words", 1, &["poison"]);
    let (mut program, counts) = start();
    let failed = |program: &Program| program.ssc.await_termination_or_timeout(Duration::ZERO).is_err();
    let ssc = program.ssc.clone();
    program.run_until(|| ssc.await_termination_or_timeout(Duration::ZERO).is_err());
    peers.produce("words", 2, &["late", "later"]);
    program.run_until(|| counts.lock().unwrap().len() == 2);
    assert!(failed(&program));
    program.ssc.stop(true);
    assert_eq!(*counts.lock().unwrap(), counted(&[("late", 1), ("later", 1)]), "nothing is counted twice");
    assert_eq!(peers.committed("group", "words", 0), Some(2), "the batch with the poison is read again");
    peers.stop();
}

/// Ranges, as partition, first offset and first offset after, and lines of a batch.
type Batch<'a> = (&'a [(i32, i64, i64)], &'a [&'a str]);

/// The same of every batch that was seen.
type Batches = Arc<Mutex<Vec<(Vec<(i32, i64, i64)>, Vec<String>)>>>;

fn lines(rdd: &Rdd<kafka::Record>) -> Result<Vec<String>, TaskError> {
    let mut lines: Vec<String> = rdd.text().map(|line| line.to_string()).collect()?;
    lines.sort();
    Ok(lines)
}

#[test]
fn a_direct_stream_reads_the_ranges_it_names() {
    let peers = Peers::start();
    peers.create_topic("numbers", 2);
    peers.produce("numbers", 2, &["a", "b", "c", "d", "e", "f"]);
    let check = |from: &[(TopicPartition, i64)], most: Option<u64>, expected: &[Batch<'_>]| {
        let mut program = Program::new();
        let limits = RateLimits { max_rate_per_partition: most, backpressure: None };
        let topics = ["numbers".to_string()];
        let stream = kafka::create_direct_stream(&program.ssc, &topics, &peers.params(), from, limits).unwrap();
        let batches = Batches::default();
        let into = batches.clone();
        stream.foreach_rdd(move |rdd, _| {
            let ranges = rdd.offset_ranges().expect("a Kafka RDD has ranges");
            assert_eq!(ranges.len(), rdd.num_partitions());
            let ranges = ranges.iter().map(|range| (range.partition, range.from_offset, range.until_offset)).collect();
            into.lock().unwrap().push((ranges, lines(&rdd)?));
            Ok(())
        });
        program.ssc.start().unwrap();
        expected.iter().for_each(|_| program.run_batch());
        program.ssc.stop(true);
        program.ssc.await_termination().unwrap();
        let expected: Vec<_> = expected
            .iter()
            .map(|(ranges, lines)| (ranges.to_vec(), lines.iter().map(ToString::to_string).collect::<Vec<_>>()))
            .collect();
        assert_eq!(*batches.lock().unwrap(), expected);
    };
    check(&[], None, &[(&[(0, 0, 3), (1, 0, 3)], &["a", "b", "c", "d", "e", "f"]), (&[(0, 3, 3), (1, 3, 3)], &[])]);
    check(&[], Some(2), &[(&[(0, 0, 2), (1, 0, 2)], &["a", "b", "c", "d"]), (&[(0, 2, 3), (1, 2, 3)], &["e", "f"])]);
    check(&[(TopicPartition::new("numbers", 1), 1)], None, &[(&[(1, 1, 3)], &["d", "f"])]);
    peers.stop();
}

#[test]
fn an_rdd_of_ranges_is_read_whenever_it_is_asked_for() {
    let peers = Peers::start();
    peers.create_topic("numbers", 1);
    peers.produce("numbers", 1, &["a", "b", "c", "d"]);
    let sc = SparkContext::new("local[2]", "test").unwrap();
    let range =
        |from_offset, until_offset| OffsetRange { topic: "numbers".into(), partition: 0, from_offset, until_offset };
    let rdd = kafka::create_rdd(&sc, &peers.params(), vec![range(0, 2), range(1, 4), range(2, 2)]).unwrap();
    for _ in 0..2 {
        assert_eq!(lines(&rdd).unwrap(), ["a", "b", "b", "c", "d"]);
    }
    assert_eq!(rdd.take(1).unwrap()[0].offset, 0);
    assert!(kafka::create_rdd(&sc, &peers.params(), vec![range(2, 1)]).is_err());
    let beyond = kafka::create_rdd(&sc, &peers.params(), vec![range(100, 101)]).unwrap();
    let error = beyond.collect().unwrap_err().to_string();
    assert!(error.contains("Fetch position 100 is out of range for partition numbers-0"), "{error}");
    peers.stop();
}
