//! Writes records to a topic, reads them back partition by partition, and then as a group of two, against any Kafka broker from 0.9 on.
//!
//! ```text
//! cargo run -p tidemill-client --example kafka_round_trip -- localhost:9092 words 1000 [name=value ...]
//! ```
//!
//! `name=value` sets a configuration under Kafka's name. It exits with 1 where a record is missing, doubled or out of order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::kafka::{
    ClientConfig, Cluster, Consumer, ConsumerConfig, FetchedBlock, GroupConsumer, OffsetReset, OffsetSpec, Producer,
    ProducerConfig, ProducerRecord, Result,
};
use protocol::types::TopicPartition;
use runtime::{Clock, Random};
use tidemill_client as client;

const PATIENCE: Duration = Duration::from_secs(60);

/// Records seen, by partition: offset and value of each.
type Seen = BTreeMap<i32, Vec<(i64, String)>>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [servers, topic, count, settings @ ..] = arguments.as_slice() else {
        eprintln!("usage: kafka_round_trip <servers> <topic> <records> [name=value ...]");
        std::process::exit(2);
    };
    let outcome =
        runtime::spawn::multi_thread("example", 2, 4).map_err(|error| error.to_string()).and_then(|runtime| {
            let count = count.parse().map_err(|_| format!("not a number: {count}"))?;
            runtime.block_on(round_trip(servers, topic, count, settings)).map_err(|error| {
                let line =
                    |name: &str, text: Option<String>| text.map_or(String::new(), |text| format!("\n{name}: {text}"));
                format!("{error}{}{}", line("cause", error.cause()), line("help", error.help()))
            })
        });
    if let Err(text) = outcome {
        eprintln!("error: {text}");
        std::process::exit(1);
    }
}

async fn round_trip(servers: &str, topic: &str, count: usize, settings: &[String]) -> Result<()> {
    let clock = Clock::real();
    let mut producing = ProducerConfig::new(ClientConfig::parse(servers)?);
    let mut consuming = ConsumerConfig::new(ClientConfig::parse(servers)?);
    for setting in settings {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        let known = producing.set(name, value)? | consuming.set(name, value)?;
        if !known {
            eprintln!("The configuration '{name}' was supplied but isn't a known config.");
        }
    }
    consuming.auto_offset_reset = OffsetReset::Earliest;
    let cluster = Cluster::connect(producing.client.clone(), clock).await?;

    let producer = Producer::new(cluster.clone(), producing)?;
    let partitions: Vec<TopicPartition> = {
        let topic = producer.partitions_for(topic).await?;
        topic.partitions.iter().map(|partition| TopicPartition::new(topic.name.clone(), partition.partition)).collect()
    };
    let consumer = Consumer::new(cluster.clone(), consuming.clone())?;
    let ends = consumer.list_offsets(&with(&partitions, OffsetSpec::Latest)).await;
    consumer.assign(partitions.iter().cloned());
    for (partition, end) in ends {
        if let Some(end) = end? {
            consumer.seek(&partition, end.offset)?;
        }
    }

    let run = Random::real().u64();
    let started = clock.now();
    let mut deliveries = Vec::with_capacity(count);
    for number in 0..count {
        let record = ProducerRecord::new(topic, format!("{run:016x} {number}")).with_key(format!("key {number}"));
        deliveries.push(producer.send(record).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    println!("sent {count} records in {:?}", clock.now() - started);

    let started = clock.now();
    let mut seen = Seen::new();
    while total(&seen) < count && clock.now() - started < PATIENCE {
        take(&consumer.poll(Duration::from_secs(1)).await?, run, &mut seen)?;
    }
    println!("read them from {} partitions in {:?}", partitions.len(), clock.now() - started);
    check("the consumer", &seen, count);

    let started = clock.now();
    consuming.group_id = Some(format!("round-trip-{run:016x}"));
    let members = [consuming.clone(), consuming].map(|config| GroupConsumer::new(cluster.clone(), config));
    let mut group = Vec::new();
    for member in members {
        let member = Arc::new(member?);
        member.subscribe([topic]);
        group.push(member);
    }
    let mut seen = Seen::new();
    while total(&seen) < count && clock.now() - started < PATIENCE {
        let wait = Duration::from_millis(500);
        let (one, two) = tokio::join!(group[0].poll(wait), group[1].poll(wait));
        take(&one?, run, &mut seen)?;
        take(&two?, run, &mut seen)?;
    }
    let shares: Vec<String> = group.iter().map(|member| member.assignment().len().to_string()).collect();
    println!("read them as a group in {:?}, partitions: {}", clock.now() - started, shares.join(" + "));
    // A rebalance between two polls may repeat records; it may not lose any.
    for records in seen.values_mut() {
        records.sort();
        records.dedup();
    }
    check("the group", &seen, count);
    for member in &group {
        member.close(PATIENCE).await?;
    }
    let committed = group[0].committed(&partitions).await?;
    let committed: i64 = committed.values().map(|committed| committed.offset.0).sum();
    println!("committed offsets add up to {committed}");
    producer.close(PATIENCE).await
}

fn with(partitions: &[TopicPartition], spec: OffsetSpec) -> Vec<(TopicPartition, OffsetSpec)> {
    partitions.iter().map(|partition| (partition.clone(), spec)).collect()
}

/// Keeps the records of this run; the topic may hold others.
fn take(blocks: &[FetchedBlock], run: u64, seen: &mut Seen) -> Result<()> {
    let mark = format!("{run:016x} ");
    for block in blocks {
        for record in block.records() {
            let record = record?;
            let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
            if let Some(number) = value.strip_prefix(&mark) {
                let records = seen.entry(block.topic_partition.partition).or_default();
                records.push((record.offset.0, number.to_string()));
            }
        }
    }
    Ok(())
}

fn total(seen: &Seen) -> usize {
    let distinct = |records: &Vec<(i64, String)>| {
        let offsets: std::collections::BTreeSet<i64> = records.iter().map(|(offset, _)| *offset).collect();
        offsets.len()
    };
    seen.values().map(distinct).sum()
}

/// Every record once, and in each partition in the order in which they were sent.
fn check(who: &str, seen: &Seen, count: usize) {
    let mut numbers: Vec<usize> = Vec::new();
    for (partition, records) in seen {
        let sent: Vec<usize> = records.iter().filter_map(|(_, number)| number.parse().ok()).collect();
        if !sent.is_sorted() {
            eprintln!("error: {who} got the records of partition {partition} out of order");
            std::process::exit(1);
        }
        numbers.extend(sent);
    }
    numbers.sort_unstable();
    if numbers != (0..count).collect::<Vec<_>>() {
        eprintln!("error: {who} got {} records of {count}, or some of them twice", numbers.len());
        std::process::exit(1);
    }
}
