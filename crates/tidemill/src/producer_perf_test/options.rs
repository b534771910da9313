//! The command line of the producer's measurement: every option of 0.9, 3.9 and 4.2.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use client::kafka::ProducerConfig;
use runtime::clock::Instant;

use super::payload::PayloadSource;
use crate::failure::Failure;
use crate::properties::{self, Pairs};
use crate::{connect, options};

/// Kafka's tool says who it is.
const CLIENT_ID: &str = "perf-producer-client";

/// Measure how fast records are taken.
#[derive(Debug, Parser)]
struct Words {
    /// The topic to produce to
    #[arg(long)]
    topic: Option<String>,
    /// Records to send
    #[arg(long, allow_negative_numbers = true)]
    num_records: Option<i64>,
    /// Bytes of a record: random capital letters
    #[arg(long, allow_negative_numbers = true)]
    record_size: Option<i64>,
    /// Take the records from a text file, by chance
    #[arg(long, value_name = "FILE")]
    payload_file: Option<String>,
    /// What stands between two payloads of the file
    #[arg(long, default_value = "\\n", hide_default_value = true, value_name = "TEXT")]
    payload_delimiter: String,
    /// The records are their own numbers
    #[arg(long)]
    payload_monotonic: bool,
    /// Records a second at most, about; -1 for as many as go
    #[arg(long, allow_negative_numbers = true)]
    throughput: Option<f64>,
    /// Settings of the producer, bootstrap.servers among them
    #[arg(long, num_args = 1.., value_name = "NAME=VALUE", visible_alias = "command-property")]
    producer_props: Vec<String>,
    /// Settings of the producer in a file
    #[arg(long = "producer.config", visible_alias = "command-config", alias = "producer-config", value_name = "FILE")]
    producer_config: Option<String>,
    /// The brokers to ask: host:port[,host:port]
    #[arg(long, value_name = "HOSTS")]
    bootstrap_server: Option<String>,
    /// First records that the steady-state line leaves out
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    warmup_records: i64,
    /// Refused: this client keeps no metrics to print
    #[arg(long)]
    print_metrics: bool,
    /// Refused: there are no transactions yet
    #[arg(long, value_name = "ID")]
    transactional_id: Option<String>,
    /// Refused: there are no transactions yet
    #[arg(long, value_name = "MS")]
    transaction_duration_ms: Option<i64>,
}

/// What the words come to.
#[derive(Debug)]
pub struct Options {
    /// Where records go.
    pub topic: Arc<str>,
    /// How many.
    pub num_records: u64,
    /// What they hold.
    pub payload: PayloadSource,
    /// How they are sent.
    pub producer: ProducerConfig,
    /// How many of the first are left out of the steady state.
    pub warmup_records: u64,
    /// Records a second; `None` for as many as go.
    throughput: Option<f64>,
}

impl Options {
    /// When record `number` is to be sent; `None` where there is no rate.
    pub fn due(&self, started: Instant, number: u64) -> Option<Instant> {
        let per_second = self.throughput?;
        started.checked_add(Duration::try_from_secs_f64(number as f64 / per_second).ok()?)
    }
}

/// Reads the command line and the files it names.
pub fn read(words: &[String]) -> Result<Options, Failure> {
    let words: Words = options::parse("kafka-producer-perf-test", words)?;
    refuse_what_is_not_built(&words)?;
    let topic = words.topic.as_deref().ok_or_else(|| missing("argument --topic is required"))?;
    let num_records = words.num_records.ok_or_else(|| missing("argument --num-records is required"))?;
    let throughput = words.throughput.ok_or_else(|| missing("argument --throughput is required"))?;
    let num_records = positive(num_records, "--num-records should be greater than zero")?;
    let warmup_records = u64::try_from(words.warmup_records).unwrap_or(0);
    if warmup_records >= num_records {
        return Err(refused(
            "The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records.",
        ));
    }
    if throughput == 0.0 || throughput.is_nan() {
        return Err(refused("--throughput 0 would send nothing; -1 sends as much as goes"));
    }
    Ok(Options {
        topic: topic.into(),
        num_records,
        payload: payload(&words)?,
        producer: producer(&words)?,
        warmup_records,
        throughput: Some(throughput).filter(|throughput| *throughput > 0.0),
    })
}

fn refuse_what_is_not_built(words: &Words) -> Result<(), Failure> {
    if words.print_metrics {
        return Err(refused("--print-metrics: this client keeps no metrics of its own")
            .help("leave it out; the broker counts at its own end"));
    }
    if words.transactional_id.is_some() || words.transaction_duration_ms.is_some() {
        return Err(refused("--transactional-id, --transaction-duration-ms: there are no transactions yet")
            .help("leave them out"));
    }
    Ok(())
}

fn payload(words: &Words) -> Result<PayloadSource, Failure> {
    match (words.record_size, &words.payload_file, words.payload_monotonic) {
        (Some(size), None, false) => {
            let size = positive(size, "--record-size should be greater than zero")?;
            let size = usize::try_from(size).map_err(|_| refused("--record-size is larger than memory"))?;
            Ok(PayloadSource::Random { size })
        }
        (None, Some(path), false) => {
            Ok(PayloadSource::File { path: path.clone(), delimiter: words.payload_delimiter.clone() })
        }
        (None, None, true) => Ok(PayloadSource::Number),
        (None, None, false) => {
            Err(missing("one of the arguments --record-size --payload-file --payload-monotonic is required"))
        }
        _ => Err(refused("--record-size, --payload-file and --payload-monotonic exclude each other")),
    }
}

/// The producer's settings: the file, then the properties, the later the stronger.
fn producer(words: &Words) -> Result<ProducerConfig, Failure> {
    if words.producer_props.is_empty() && words.producer_config.is_none() && words.bootstrap_server.is_none() {
        return Err(missing("Either --producer-props or --producer.config must be specified."));
    }
    let mut settings = words.producer_config.as_deref().map_or(Ok(Pairs::new()), properties::file)?;
    for word in &words.producer_props {
        match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => settings.push((name.to_owned(), value.to_owned())),
            _ => return Err(refused(format!("Invalid property: {word}"))),
        }
    }
    let servers = words.bootstrap_server.as_deref().or_else(|| properties::last(&settings, "bootstrap.servers"));
    let Some(servers) = servers else {
        return Err(refused("No resolvable bootstrap urls given in bootstrap.servers")
            .help("--producer-props bootstrap.servers=localhost:9092"));
    };
    let mut client = connect::client_config(servers, None)?;
    client.client_id = CLIENT_ID.to_owned();
    settings.retain(|(name, _)| name != "bootstrap.servers");
    let mut producer = ProducerConfig::new(client);
    let files = [words.producer_config.as_deref()];
    properties::apply(&settings, &files, |name, value| Ok(producer.set(name, value)?))?;
    if properties::last(&settings, "delivery.timeout.ms").is_none() {
        // Kafka's rule for its default: never shorter than the two waits inside it.
        producer.delivery_timeout = producer.delivery_timeout.max(producer.linger + producer.client.request_timeout);
    }
    producer.validate()?;
    Ok(producer)
}

fn positive(number: i64, otherwise: &str) -> Result<u64, Failure> {
    u64::try_from(number).ok().filter(|number| *number > 0).ok_or_else(|| refused(otherwise))
}

fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::verbatim(format!("producer-performance: error: {why}"))
}

fn missing(why: &str) -> Failure {
    refused(why).help(
        "kafka-producer-perf-test.sh --topic TOPIC --num-records 1000000 --record-size 100 --throughput -1 --producer-props bootstrap.servers=localhost:9092",
    )
}

#[cfg(test)]
mod tests {
    use client::kafka::Acks;

    use super::*;

    const ALL: &str =
        "--topic t --num-records 10 --record-size 5 --throughput -1 --producer-props bootstrap.servers=h:1";

    fn options(line: &str) -> Result<Options, Failure> {
        read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_options_of_all_times_are_taken() {
        for line in [
            ALL,
            "--topic t --num-records 10 --record-size 5 --throughput 100 --producer-props bootstrap.servers=h:1 acks=1 batch.size=8196",
            "--producer-props acks=1 bootstrap.servers=h:1 --topic t --num-records 10 --record-size 5 --throughput 0.5",
            "--topic t --num-records 10 --payload-file f --payload-delimiter ; --throughput -1 --producer-props bootstrap.servers=h:1",
            "--topic t --num-records 10 --payload-monotonic --throughput -1 --bootstrap-server h:1 --command-property acks=0 --warmup-records 3",
        ] {
            assert_eq!(&*options(line).unwrap().topic, "t", "{line}");
        }
        let options = options(&format!("{ALL} acks=1 buffer.memory=67108864")).unwrap();
        assert_eq!((options.producer.acks, options.producer.buffer_memory), (Acks::Leader, 67_108_864));
        assert_eq!(options.producer.client.client_id, "perf-producer-client");
    }

    #[test]
    fn words_that_make_no_sense_are_refused() {
        for line in [
            "--num-records 10 --record-size 5 --throughput -1 --producer-props bootstrap.servers=h:1",
            "--topic t --num-records 0 --record-size 5 --throughput -1 --producer-props bootstrap.servers=h:1",
            "--topic t --num-records 10 --record-size 0 --throughput -1 --producer-props bootstrap.servers=h:1",
            "--topic t --num-records 10 --throughput -1 --producer-props bootstrap.servers=h:1",
            "--topic t --num-records 10 --record-size 5 --throughput -1",
            "--topic t --num-records 10 --record-size 5 --throughput -1 --producer-props acks=1",
            "--topic t --num-records 10 --record-size 5 --throughput 0 --producer-props bootstrap.servers=h:1",
        ]
        .into_iter()
        .map(str::to_owned)
        .chain(
            ["acks", "--payload-monotonic", "--print-metrics", "--transactional-id x", "--warmup-records 10"]
                .map(|more| format!("{ALL} {more}")),
        ) {
            assert!(options(&line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_rate_says_when_each_record_is_due() {
        let start = runtime::Clock::real().now();
        let due = |throughput: &str, number: u64| {
            options(&ALL.replace("-1", throughput)).unwrap().due(start, number).map(|at| at - start)
        };
        assert_eq!(due("-1", 100), None);
        assert_eq!(due("1000", 500), Some(Duration::from_millis(500)));
        assert_eq!(due("0.5", 1), Some(Duration::from_secs(2)));
    }
}
