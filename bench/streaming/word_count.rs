//! The word count of `word_count.py` as a Rust job: the same sources, the same events written to the same log.
//!
//! ```text
//! word_count queue CORPUS  [--lines-per-batch N] [--batches N]
//! word_count kafka ZOOKEEPER TOPIC GROUP
//!     [--threads N] [--interval-ms N] [--seconds N] [--lines N] [--log FILE] [--print]
//! ```
//!
//! It ends after `--seconds`, or once `--lines` lines have been counted. With `--print` each batch is printed as the tutorial prints it,
//! else it is collected and its totals go into the log.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use runtime::Clock;
use tidemill_streaming::listener::BatchInfo;
use tidemill_streaming::{DStream, RddQueue, SparkContext, StreamingContext, StreamingListener, Text, kafka};

struct Options {
    source: Vec<String>,
    threads: usize,
    interval: Duration,
    seconds: u64,
    lines: u64,
    lines_per_batch: usize,
    batches: usize,
    log: String,
    print: bool,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        source: Vec::new(),
        threads: 2,
        interval: Duration::from_secs(1),
        seconds: 3600,
        lines: u64::MAX,
        lines_per_batch: 100_000,
        batches: 10,
        log: "/dev/stderr".to_owned(),
        print: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--threads" => options.threads = value()?.parse()?,
            "--interval-ms" => options.interval = Duration::from_millis(value()?.parse()?),
            "--seconds" => options.seconds = value()?.parse()?,
            "--lines" => options.lines = value()?.parse()?,
            "--lines-per-batch" => options.lines_per_batch = value()?.parse()?,
            "--batches" => options.batches = value()?.parse()?,
            "--log" => options.log = value()?,
            "--print" => options.print = true,
            other if other.starts_with("--") => return Err(format!("unknown option {other}").into()),
            _ => options.source.push(argument),
        }
    }
    Ok(options)
}

/// The log that the report reads: one JSON object a line.
struct Log(Mutex<File>);

impl Log {
    fn event(&self, name: &str, fields: &str) {
        let now = Clock::real().now_ms() as f64 / 1000.0;
        let comma = if fields.is_empty() { "" } else { ", " };
        // A full disk shows in the report, as events that are not there.
        let _ = writeln!(self.0.lock(), "{{\"ev\": \"{name}\", \"t\": {now:.3}{comma}{fields}}}");
    }
}

struct Batches {
    log: Arc<Log>,
    lines: AtomicU64,
}

impl StreamingListener for Batches {
    fn on_batch_completed(&self, batch: &BatchInfo) {
        let delay = |delay: Option<i64>| delay.unwrap_or(-1);
        self.log.event(
            "batch",
            &format!(
                "\"bt\": {}, \"n\": {}, \"sched\": {}, \"proc\": {}",
                batch.batch_time.ms(),
                batch.num_records(),
                delay(batch.scheduling_delay()),
                delay(batch.processing_delay())
            ),
        );
        self.lines.fetch_add(batch.num_records(), Ordering::SeqCst);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let log = Arc::new(Log(Mutex::new(File::create(&options.log)?)));
    log.event("main", "");
    let sc = SparkContext::new(&format!("local[{}]", options.threads), "word count")?;
    let ssc = StreamingContext::new(&sc, options.interval)?;
    let batches = Arc::new(Batches { log: log.clone(), lines: AtomicU64::new(0) });
    ssc.add_streaming_listener(batches.clone());

    let source: Vec<&str> = options.source.iter().map(String::as_str).collect();
    let lines: DStream<Text> = match source[..] {
        ["queue", corpus] => ssc.queue_stream(queue(&sc, Path::new(corpus), &options, &log)?, true, None),
        ["kafka", zookeeper, topic, group] => {
            let reset = ("auto.offset.reset".to_owned(), "smallest".to_owned());
            kafka::create_stream(&ssc, zookeeper, group, &[(topic.to_owned(), 1)], &[reset])?.text()
        }
        _ => {
            eprintln!("Usage: word_count queue <corpus> | word_count kafka <zookeeper> <topic> <group>");
            exit(2);
        }
    };
    let counts = lines.flat_map(|line| line.split(' ')).map(|word| (word, 1u64)).reduce_by_key(|a, b| a + b);
    if options.print {
        counts.print();
    } else {
        let log = log.clone();
        counts.foreach_rdd(move |rdd, time| {
            let counts = rdd.collect()?;
            let words: u64 = counts.iter().map(|(_, count)| count).sum();
            log.event("out", &format!("\"bt\": {}, \"keys\": {}, \"words\": {words}", time.ms(), counts.len()));
            Ok(())
        });
    }

    ssc.start()?;
    log.event("started", "");
    for _ in 0..options.seconds * 20 {
        if batches.lines.load(Ordering::SeqCst) >= options.lines
            || ssc.await_termination_or_timeout(Duration::from_millis(50))?
        {
            break;
        }
    }
    log.event("stopping", "");
    ssc.stop(false);
    log.event("stopped", "");
    Ok(())
}

/// Batches of the corpus' lines, each in two partitions, made beforehand. A queue's records are told to no listener, so the log has them.
fn queue(sc: &SparkContext, corpus: &Path, options: &Options, log: &Log) -> Result<RddQueue<Text>, Box<dyn Error>> {
    let text = fs::read_to_string(corpus)?;
    let lines: Vec<Text> = text.lines().map(Text::from).collect();
    let batch = |number: usize| {
        let lines = lines.iter().cycle().skip(number * options.lines_per_batch % lines.len());
        sc.parallelize(lines.take(options.lines_per_batch).cloned().collect(), 2)
    };
    let queue = RddQueue::new((0..options.batches).map(batch).collect());
    log.event("queued", &format!("\"batches\": {}, \"lines\": {}", options.batches, options.lines_per_batch));
    Ok(queue)
}
