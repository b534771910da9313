//! The command line of the console producer: every option of 0.8.2, 0.9, 3.9 and 4.2.

use clap::Parser;
use client::kafka::{EXAMPLE_SERVERS, ProducerConfig};

use super::line_reader::LineFormat;
use crate::failure::Failure;
use crate::properties::{self, Pairs};
use crate::{connect, options};

/// Send lines of stdin as records.
#[derive(Debug, Parser)]
struct Words {
    /// The topic
    #[arg(long)]
    topic: Option<String>,
    /// The brokers to ask: host:port[,host:port]
    #[arg(long, value_name = "HOSTS")]
    bootstrap_server: Option<String>,
    /// The same, by its old name
    #[arg(long, value_name = "HOSTS")]
    broker_list: Option<String>,
    /// Wait for each line's acknowledgement before the next is sent
    #[arg(long)]
    sync: bool,
    /// Codec of the batches: none, gzip, snappy, lz4 or zstd; gzip where none is named
    #[arg(long, num_args = 0..=1, default_missing_value = "gzip", value_name = "CODEC")]
    compression_codec: Option<String>,
    /// Bytes of a batch that is sent at once (with --broker-list: accepted)
    #[arg(long)]
    batch_size: Option<String>,
    /// Attempts to send a line again
    #[arg(long)]
    message_send_max_retries: Option<String>,
    /// Pause before another attempt, in milliseconds
    #[arg(long)]
    retry_backoff_ms: Option<String>,
    /// How long a line waits for others to fill a batch, in milliseconds
    #[arg(long)]
    timeout: Option<String>,
    /// When a line counts as sent: 0, 1 or all
    #[arg(long, visible_alias = "acks", allow_hyphen_values = true)]
    request_required_acks: Option<String>,
    /// Longest wait for a broker's answer, in milliseconds
    #[arg(long)]
    request_timeout_ms: Option<String>,
    /// Age at which metadata is asked for again, in milliseconds
    #[arg(long)]
    metadata_expiry_ms: Option<String>,
    /// Longest wait for metadata and for room in the buffer, in milliseconds
    #[arg(long, alias = "metadata-fetch-timeout-ms")]
    max_block_ms: Option<String>,
    /// Bytes of lines not yet acknowledged
    #[arg(long)]
    max_memory_bytes: Option<String>,
    /// Bytes of a batch that is sent at once
    #[arg(long)]
    max_partition_memory_bytes: Option<String>,
    /// How lines are read: parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator, null.marker,
    /// ignore.error
    #[arg(long, visible_alias = "reader-property", value_name = "NAME=VALUE")]
    property: Vec<String>,
    /// The same in a file
    #[arg(long, value_name = "FILE")]
    reader_config: Option<String>,
    /// A setting of the producer
    #[arg(long, visible_alias = "command-property", value_name = "NAME=VALUE")]
    producer_property: Vec<String>,
    /// Settings of the producer in a file
    #[arg(long = "producer.config", visible_alias = "command-config", alias = "producer-config", value_name = "FILE")]
    producer_config: Option<String>,
    /// Accepted: lines are read by one reader
    #[arg(long)]
    line_reader: Option<String>,
    /// Accepted: bytes are sent as they are
    #[arg(long)]
    key_serializer: Option<String>,
    /// Accepted: bytes are sent as they are
    #[arg(long)]
    value_serializer: Option<String>,
    /// Accepted: there is one queue, of --max-memory-bytes
    #[arg(long)]
    queue_size: Option<String>,
    /// Accepted: as --max-block-ms
    #[arg(long, alias = "queue-enqueue-timeout-ms", allow_hyphen_values = true)]
    queue_enqueuetimeout_ms: Option<String>,
    /// Accepted: the kernel sizes its buffers
    #[arg(long)]
    socket_buffer_size: Option<String>,
    /// Accepted: there is one producer
    #[arg(long)]
    new_producer: bool,
    /// Accepted: there is one producer
    #[arg(long)]
    old_producer: bool,
}

/// What the words come to.
#[derive(Debug)]
pub struct Options {
    /// Where the lines go.
    pub topic: String,
    /// How they are read.
    pub lines: LineFormat,
    /// How they are sent.
    pub producer: ProducerConfig,
    /// One at a time.
    pub sync: bool,
    /// `--broker-list`: complaints in 0.9's words.
    pub old_words: bool,
}

/// Reads the command line and the files it names.
pub fn read(words: &[String]) -> Result<Options, Failure> {
    let words: Words = options::parse("kafka-console-producer", words)?;
    let topic = words.topic.clone().filter(|topic| !topic.is_empty());
    let Some(servers) = words.bootstrap_server.as_ref().or(words.broker_list.as_ref()) else {
        return Err(missing("bootstrap-server", topic.as_deref()));
    };
    let Some(topic) = topic else {
        return Err(missing("topic", None));
    };
    let mut client = connect::client_config(servers, None)?;
    client.client_id = "console-producer".to_owned();
    let mut producer = ProducerConfig::new(client);
    let settings = settings(&words)?;
    let files = [words.producer_config.as_deref()];
    properties::apply(&settings, &files, |name, value| Ok(producer.set(name, value)?))?;
    if properties::last(&settings, "delivery.timeout.ms").is_none() {
        // Kafka's rule for its default: never shorter than the two waits inside it.
        producer.delivery_timeout = producer.delivery_timeout.max(producer.linger + producer.client.request_timeout);
    }
    producer.validate()?;
    let mut reading = words.reader_config.as_deref().map_or(Ok(Pairs::new()), properties::file)?;
    reading.extend(properties::words(&words.property)?);
    Ok(Options {
        // A property may name another topic, as in Kafka.
        topic: properties::last(&reading, "topic").map_or(topic, str::to_owned),
        lines: LineFormat::new(&reading)?,
        producer,
        sync: words.sync,
        old_words: words.bootstrap_server.is_none(),
    })
}

/// The producer's settings: the file, then the options, then the properties, the later the stronger (Kafka: `ConsoleProducer.producerProps`).
fn settings(words: &Words) -> Result<Pairs, Failure> {
    let mut settings = words.producer_config.as_deref().map_or(Ok(Pairs::new()), properties::file)?;
    // Where the brokers are was said on the command line.
    settings.retain(|(name, _)| name != "bootstrap.servers" && name != "metadata.broker.list");
    let batch_size = words.batch_size.as_ref().filter(|_| words.bootstrap_server.is_some());
    let options = [
        ("compression.type", words.compression_codec.as_ref()),
        ("batch.size", words.max_partition_memory_bytes.as_ref()),
        ("batch.size", batch_size),
        ("retries", words.message_send_max_retries.as_ref()),
        ("retry.backoff.ms", words.retry_backoff_ms.as_ref()),
        ("linger.ms", words.timeout.as_ref()),
        ("acks", words.request_required_acks.as_ref()),
        ("request.timeout.ms", words.request_timeout_ms.as_ref()),
        ("metadata.max.age.ms", words.metadata_expiry_ms.as_ref()),
        ("max.block.ms", words.max_block_ms.as_ref()),
        ("buffer.memory", words.max_memory_bytes.as_ref()),
    ];
    settings.extend(options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.clone()))));
    settings.extend(properties::words(&words.producer_property)?);
    let retries = properties::last(&settings, "retries");
    if retries.is_some_and(|retries| retries.trim() == "0")
        && properties::last(&settings, "enable.idempotence").is_none()
    {
        // No repetition needs no protection from repetition; Kafka switches its default off in the same way.
        settings.push(("enable.idempotence".to_owned(), "false".to_owned()));
    }
    Ok(settings)
}

fn missing(option: &str, topic: Option<&str>) -> Failure {
    let topic = topic.unwrap_or("wordsendertest");
    Failure::misuse(format!("Missing required argument \"[{option}]\""))
        .help(format!("bin/kafka-console-producer.sh --broker-list {EXAMPLE_SERVERS} --topic {topic}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use client::kafka::Acks;

    use super::*;

    fn options(line: &str) -> Options {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        read(&words).unwrap()
    }

    #[test]
    fn the_options_of_all_times_are_taken() {
        for line in [
            "--broker-list h:1 --topic t",
            "--bootstrap-server h:1 --topic t --sync",
            "--broker-list h:1 --topic t --compression-codec --batch-size 200 --message-send-max-retries 3 --queue-size 10000 --new-producer",
            "--broker-list h:1 --topic t --queue-enqueuetimeout-ms -1 --key-serializer a.B --value-serializer a.B --line-reader a.B",
            "--bootstrap-server=h:1 --topic=t --producer-property acks=1 --reader-property parse.key=true",
            "--bootstrap-server h:1 --topic t --command-property linger.ms=5 --property key.separator=:",
            "--bootst h:1 --topic t --request-required-acks -1",
        ] {
            assert_eq!(options(line).topic, "t", "{line}");
        }
    }

    #[test]
    fn nothing_is_lost_by_default_and_a_line_leaves_at_once() {
        let producer = options("--broker-list h:1 --topic t").producer;
        assert_eq!((producer.acks, producer.linger), (Acks::All, Duration::ZERO));
        assert!(producer.enable_idempotence);
    }

    #[test]
    fn properties_are_stronger_than_options() {
        let producer =
            options("--bootstrap-server h:1 --topic t --timeout 1000 --producer-property linger.ms=7").producer;
        assert_eq!(producer.linger, Duration::from_millis(7));
    }
}
