//! The `--zookeeper` form: a member of a group in ZooKeeper, as 0.9.0.1's tool is one.
//!
//! A group whose name was made up leaves nothing behind: its znodes are deleted at the end.

use client::kafka::FetchedBlock;
use client::zookeeper_consumer::{ConsumerError, Subscription, ZookeeperConsumer, ZookeeperConsumerConfig, group};

use super::advice::{self, Advice};
use super::options::{Options, Source};
use super::{End, Patience, Printed, Printer};
use crate::connect;
use crate::failure::{EXAMPLE_ZOOKEEPER, Failure};
use crate::interrupt::{Interrupt, Interrupted};

/// Reads until an end comes.
pub async fn run(options: &Options) -> Result<(), Failure> {
    let Source::Zookeeper(config) = &options.source else { return Ok(()) };
    let mut interrupt = Interrupt::listen()?;
    let subscription = Subscription::Filter { filter: options.topics.filter()?, threads: 1 };
    tokio::select! {
        biased;
        signal = interrupt.next() => return End::Interrupted(signal).outcome(),
        prepared = prepare(options, config) => prepared?,
    }
    let mut printer = Printer::new(options);
    let started = tokio::select! {
        signal = interrupt.next() => Err(signal),
        started = ZookeeperConsumer::start((**config).clone(), subscription) => Ok(started),
    };
    let end = match started {
        Err(signal) => Ok(End::Interrupted(signal)),
        Ok(Err(error)) => Err(explain(config, error).await),
        Ok(Ok(consumer)) => {
            let end = read(&consumer, options, &mut printer, &mut interrupt).await;
            interrupt.second_ends_at_once();
            let closed = consumer.close().await.map_err(Failure::from);
            end.and_then(|end| closed.map(|()| end))
        }
    };
    if options.group_is_generated {
        // Whoever made the name up takes it away; that it was not reached is no reason to fail what was read.
        if let Ok(session) = connect::zookeeper(&config.zookeeper_connect).await {
            if let Err(error) = group::delete(&session, &config.group_id).await {
                eprintln!("note: the group {} remains in ZooKeeper: {error}", config.group_id);
            }
            session.close().await;
        }
    }
    printer.report();
    end.and_then(End::outcome)
}

/// Looks at what the group has left behind before it is joined.
async fn prepare(options: &Options, config: &ZookeeperConsumerConfig) -> Result<(), Failure> {
    let session = connect::zookeeper(&config.zookeeper_connect).await?;
    let done = async {
        let group = &config.group_id;
        if options.delete_consumer_offsets {
            group::delete(&session, group).await?;
        } else if options.from_beginning && group::has_offsets(&session, group).await? {
            return Err(Failure::verbatim(format!(
                "Found previous offset information for this group {group}. Please use --delete-consumer-offsets to delete previous offsets metadata"
            ))
            .cause("a group that has read before goes on where it was")
            .help(format!("bin/kafka-consumer-offset-checker.sh --zookeeper {EXAMPLE_ZOOKEEPER} --group {group}")));
        }
        Ok(())
    };
    let done = done.await;
    session.close().await;
    done
}

async fn read(
    consumer: &ZookeeperConsumer,
    options: &Options,
    printer: &mut Printer,
    interrupt: &mut Interrupt,
) -> Result<End, Failure> {
    let (mut advice, mut patience) = (Advice::new(), Patience::new(options.timeout));
    loop {
        if printer.is_done() {
            return Ok(End::Enough);
        }
        let polled = tokio::select! {
            biased;
            signal = interrupt.next() => return Ok(End::Interrupted(signal)),
            polled = consumer.poll(patience.wait_max()) => polled,
        };
        let blocks = match polled {
            Ok(polled) => polled.blocks,
            Err(ConsumerError::ConsumerTimeout { .. }) => return Ok(End::Timeout),
            // The member goes on by itself; the next poll tells whether that helped.
            Err(ConsumerError::Kafka(error)) if error.is_retriable() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        if let Some(end) = print(consumer, printer, &blocks)? {
            return Ok(end);
        }
        if blocks.iter().any(|block| !block.is_empty()) {
            advice.record_came();
            patience.record_came();
        } else if patience.is_over() {
            return Ok(End::Timeout);
        } else if advice.is_due()
            && let Some(signal) = advise(consumer, options, interrupt).await
        {
            return Ok(End::Interrupted(signal));
        }
    }
}

async fn advise(consumer: &ZookeeperConsumer, options: &Options, interrupt: &mut Interrupt) -> Option<Interrupted> {
    let Some(reader) = consumer.reader() else {
        eprintln!("note: 0 brokers registered under /brokers/ids; waiting for one");
        return None;
    };
    tokio::select! {
        signal = interrupt.next() => Some(signal),
        () = advice::give(reader.cluster(), options) => None,
    }
}

/// Prints blocks, and says how far they are done.
fn print(consumer: &ZookeeperConsumer, printer: &mut Printer, blocks: &[FetchedBlock]) -> Result<Option<End>, Failure> {
    let mut ended = None;
    for block in blocks {
        if ended.is_some() {
            consumer.mark_consumed(&block.topic_partition, block.fetch_offset);
            continue;
        }
        match printer.print(block) {
            Ok(Printed::All) => {}
            Ok(Printed::Stopped(end, next)) => {
                consumer.mark_consumed(&block.topic_partition, next);
                ended = Some(end);
            }
            Err(failure) => {
                consumer.mark_consumed(&block.topic_partition, block.fetch_offset);
                return Err(failure);
            }
        }
    }
    if !printer.flush()? {
        blocks.iter().for_each(|block| consumer.mark_consumed(&block.topic_partition, block.fetch_offset));
        return Ok(Some(End::NoReader));
    }
    Ok(ended)
}

async fn explain(config: &ZookeeperConsumerConfig, error: ConsumerError) -> Failure {
    match error {
        ConsumerError::Zookeeper(error) => connect::unreachable_zookeeper(&config.zookeeper_connect, error).await,
        other => other.into(),
    }
}
