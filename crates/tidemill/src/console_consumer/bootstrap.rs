//! The `--bootstrap-server` form: a member of a group of the brokers', or the reader of one partition.

use std::time::Duration;

use client::kafka::{ClientError, Cluster, Consumer, FetchedBlock, GroupConsumer};
use protocol::types::{Offset, TopicPartition};
use runtime::Clock;

use super::advice::{self, Advice};
use super::options::{Bootstrap, Options, Source, Start, Topics};
use super::{End, Patience, Printed, Printer};
use crate::connect::{self, NoContact};
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// Longest time to commit and to leave the group at the end.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// What reads.
enum Reader {
    /// A group's share.
    Group(Box<GroupConsumer>),
    /// One partition.
    Partition(Consumer),
}

impl Reader {
    fn new(cluster: Cluster, bootstrap: &Bootstrap, options: &Options) -> Result<Reader, Failure> {
        if let (Some((partition, start)), Topics::Named(topic)) = (bootstrap.partition, &options.topics) {
            let consumer = Consumer::new(cluster, bootstrap.config.clone())?;
            let partition = TopicPartition::new(topic.as_str(), partition);
            consumer.assign([partition.clone()]);
            match start {
                Start::At(offset) => consumer.seek(&partition, offset)?,
                Start::End(client::kafka::OffsetSpec::Earliest) => consumer.seek_to_beginning(&partition)?,
                Start::End(_) => consumer.seek_to_end(&partition)?,
            }
            return Ok(Reader::Partition(consumer));
        }
        let consumer = GroupConsumer::new(cluster, bootstrap.config.clone())?;
        match &options.topics {
            Topics::Named(topic) => consumer.subscribe([topic]),
            Topics::Include(_) | Topics::Exclude(_) => {
                let filter = options.topics.filter()?;
                consumer.subscribe_matching(move |topic| filter.allows(topic, true));
            }
        }
        Ok(Reader::Group(Box::new(consumer)))
    }

    async fn poll(&self, limit: Duration) -> Result<Vec<FetchedBlock>, ClientError> {
        match self {
            Reader::Group(consumer) => consumer.poll(limit).await,
            Reader::Partition(consumer) => consumer.poll(limit).await,
        }
    }

    /// Takes back what was handed out and not printed, so that it is not committed.
    fn seek(&self, partition: &TopicPartition, next: Offset) {
        let consumer = match self {
            Reader::Group(consumer) => consumer.consumer(),
            Reader::Partition(consumer) => consumer,
        };
        // A partition that went to another member is its business now.
        let _ = consumer.seek(partition, next);
    }

    async fn close(&self) {
        match self {
            Reader::Group(consumer) => {
                if let Err(error) = consumer.close(CLOSE_MAX).await {
                    Failure::from(error).warn();
                }
            }
            Reader::Partition(consumer) => consumer.close(),
        }
    }
}

/// Reads until an end comes.
pub async fn run(options: &Options) -> Result<(), Failure> {
    let Source::Bootstrap(bootstrap) = &options.source else { return Ok(()) };
    let mut interrupt = Interrupt::listen()?;
    let cluster = Cluster::new(bootstrap.config.client.clone(), Clock::real());
    let met = tokio::select! {
        biased;
        signal = interrupt.next() => return End::Interrupted(signal).outcome(),
        met = connect::contact(&cluster) => met,
    };
    match met {
        Ok(()) => {}
        Err(NoContact::Wrong(failure)) => return Err(failure),
        // Brokers may be about to start: it goes on trying, as Kafka's tool does.
        Err(NoContact::Failed(error)) => Failure::from(error).warn(),
    }
    let mut printer = Printer::new(options);
    let reader = Reader::new(cluster.clone(), bootstrap, options)?;
    let (mut advice, mut patience) = (Advice::new(), Patience::new(options.timeout));
    let end = loop {
        if printer.is_done() {
            break Ok(End::Enough);
        }
        let blocks = tokio::select! {
            biased;
            signal = interrupt.next() => break Ok(End::Interrupted(signal)),
            blocks = reader.poll(patience.wait_max()) => blocks,
        };
        let blocks = match blocks {
            Ok(blocks) => blocks,
            Err(error) if error.is_retriable() => Vec::new(),
            Err(error) => break Err(error.into()),
        };
        match print(&mut printer, &reader, &blocks) {
            Ok(None) => {}
            Ok(Some(end)) => break Ok(end),
            Err(failure) => break Err(failure),
        }
        if blocks.iter().any(|block| !block.is_empty()) {
            advice.record_came();
            patience.record_came();
        } else if patience.is_over() {
            break Ok(End::Timeout);
        } else if advice.is_due() {
            // Beside the reading: finding out may take longer than the next record.
            tokio::select! {
                signal = interrupt.next() => break Ok(End::Interrupted(signal)),
                () = advice::give(&cluster, options) => {}
            }
        }
    };
    interrupt.second_ends_at_once();
    reader.close().await;
    printer.report();
    end.and_then(End::outcome)
}

/// Prints blocks; where the run ends in the middle, what is left of them is taken back.
fn print(printer: &mut Printer, reader: &Reader, blocks: &[FetchedBlock]) -> Result<Option<End>, Failure> {
    let mut ended = None;
    for block in blocks {
        if ended.is_some() {
            reader.seek(&block.topic_partition, block.fetch_offset);
            continue;
        }
        match printer.print(block) {
            Ok(Printed::All) => {}
            Ok(Printed::Stopped(end, next)) => {
                reader.seek(&block.topic_partition, next);
                ended = Some(end);
            }
            Err(failure) => {
                reader.seek(&block.topic_partition, block.fetch_offset);
                return Err(failure);
            }
        }
    }
    if !printer.flush()? {
        // Nobody has seen them: the next reader of the group is to.
        blocks.iter().for_each(|block| reader.seek(&block.topic_partition, block.fetch_offset));
        return Ok(Some(End::NoReader));
    }
    Ok(ended)
}
