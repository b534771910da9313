//! `tidemill demo`: the whole tutorial in one process. Keeper, broker, a topic, somebody who types, and the word count printing every second.
//!
//! Nothing is left behind: the data lie in a temporary directory unless `--data-dir` names one, and Ctrl-C ends everything in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use client::kafka::admin::NewTopic;
use client::kafka::{Admin, ClientConfig, Cluster, Producer, ProducerConfig, ProducerRecord};
use console::Console;
use runtime::{Clock, Random};
use streaming::{SparkContext, StreamingContext, StreamingError, kafka};

use crate::failure::Failure;
use crate::options;
use crate::server::logging::{self, Log};
use crate::server::signals::StopSignals;
use crate::server::standalone::Servers;
use crate::server::{broker as broker_process, http};

/// The command, for help lines.
const START: &str = "bin/tidemill demo";
const TOPIC: &str = "wordsendertest";
const GROUP: &str = "demo";
const BATCH: Duration = Duration::from_secs(1);
/// Longest pause between two lines, in milliseconds.
const PAUSE_MS_MAX: u64 = 600;
/// What is typed: the tutorial's two lines, and what a tide mill might say.
const LINES: [&str; 8] = [
    "hello hadoop",
    "hello spark",
    "the tide comes in and the tide goes out",
    "the mill stores the tide behind a gate",
    "and grinds it batch by batch",
    "hello kafka hello tidemill",
    "count the words and count them again",
    "what the log keeps the wheel can grind",
];

/// The whole tutorial in one process; Ctrl-C ends it.
#[derive(Debug, Parser)]
struct Options {
    /// Keep the data in this folder instead of a temporary one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// End by itself after so many seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

/// Runs the demo.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options: Options = options::parse("tidemill demo", words)?;
    let log = logging::start("error")?;
    match &options.data_dir {
        Some(folder) => demonstrate(&log, &options, folder),
        None => {
            let folder = tempfile::Builder::new().prefix("tidemill-demo-").tempdir();
            let folder = folder.map_err(|error| Failure::new("cannot make a temporary directory").cause(error))?;
            let done = demonstrate(&log, &options, folder.path());
            folder.close().map_err(|error| Failure::new("cannot remove the temporary directory").cause(error))?;
            done
        }
    }
}

fn demonstrate(log: &Arc<Log>, options: &Options, folder: &Path) -> Result<(), Failure> {
    broker_process::run(async {
        let mut signals = StopSignals::listen(log)?;
        let settings = [(http::KEY.to_owned(), free_or_any(8080).to_string())];
        let servers = tokio::select! {
            biased;
            () = signals.first() => return Ok(()),
            servers = Servers::start(log, folder, free_or_any(2181), free_or_any(9092), &settings) => servers?,
        };
        let broker = servers.broker.addresses().first().map(|(_, address)| address.port()).unwrap_or_default();
        let keeper = servers.keeper.local_addr();
        let client = ClientConfig::parse(&format!("localhost:{broker}"))?;
        let cluster = Cluster::connect(client.clone(), Clock::real()).await?;
        match Admin::new(cluster.clone()).create_topic(&NewTopic::new(TOPIC, Some(1), Some(1))).await {
            Err(error) if error.code() != Some(protocol::error::ErrorCode::TOPIC_ALREADY_EXISTS) => {
                return Err(error.into());
            }
            _ => {}
        }
        let typing = runtime::spawn(type_lines(Producer::new(cluster, ProducerConfig::new(client))?));
        let job = start_job(keeper.to_string()).await?;
        introduce(broker, keeper.port(), servers.console.as_ref());

        let seconds = options.seconds.map(Duration::from_secs);
        let done = tokio::select! {
            biased;
            () = signals.first() => Ok(()),
            () = at_most(seconds) => Ok(()),
            () = servers.ended() => Ok(()),
            failed = servers.broker.failed() => Err(Failure::of_broker(&failed, START)),
        };
        signals.stopping();
        eprintln!("stopping");
        typing.abort();
        let stopped = runtime::spawn_blocking(move || job.stop(false)).await;
        let closed = servers.shutdown().await;
        // What ended the broker comes before what its end met.
        done.and(closed)?;
        stopped.map_err(|error| Failure::new("the job did not stop").cause(error))
    })
}

/// The tutorial's program, in Rust: see `examples/kafka_word_count.rs`.
async fn start_job(keeper: String) -> Result<StreamingContext, Failure> {
    let started = runtime::spawn_blocking(move || {
        let sc = SparkContext::new("local[*]", "demo")?;
        let ssc = StreamingContext::new(&sc, BATCH)?;
        let params = [("auto.offset.reset".to_owned(), "smallest".to_owned())];
        let messages = kafka::create_stream(&ssc, &keeper, GROUP, &[(TOPIC.to_owned(), 1)], &params)?;
        let words = messages.text().flat_map(|line| line.split(' '));
        words.map(|word| (word, 1)).reduce_by_key(|a, b| a + b).print();
        ssc.start()?;
        Ok::<_, StreamingError>(ssc)
    });
    started.await.map_err(|error| Failure::new("cannot start the job").cause(error))?.map_err(Failure::new)
}

/// Types a line now and then.
async fn type_lines(producer: Producer) {
    let (clock, random) = (Clock::real(), Random::real());
    for line in LINES.iter().cycle() {
        if let Err(error) = producer.send(ProducerRecord::new(TOPIC, *line)).await {
            eprintln!("cannot send a line: {error}");
        }
        clock.sleep(Duration::from_millis(random.below(PAUSE_MS_MAX))).await;
    }
}

fn introduce(broker: u16, keeper: u16, console: Option<&Console>) {
    eprintln!(
        "Keeper on localhost:{keeper}, broker on localhost:{broker}, a line typed into topic {TOPIC} now and then,"
    );
    eprintln!("and the words of each second counted below. Ctrl-C ends it. In another terminal, try:");
    eprintln!("  bin/kafka-console-producer.sh --broker-list localhost:{broker} --topic {TOPIC}");
    eprintln!("  bin/kafka-console-consumer.sh --zookeeper localhost:{keeper} --topic {TOPIC} --from-beginning");
    eprintln!("  bin/zookeeper-shell.sh localhost:{keeper} ls -R /consumers");
    if let Some(console) = console {
        eprintln!("  curl http://{}/metrics", console.address());
    }
}

/// The usual port where it is free, else 0: any.
fn free_or_any(port: u16) -> u16 {
    match std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => port,
        Err(_) => 0,
    }
}

async fn at_most(limit: Option<Duration>) {
    match limit {
        Some(limit) => Clock::real().sleep(limit).await,
        None => std::future::pending().await,
    }
}
