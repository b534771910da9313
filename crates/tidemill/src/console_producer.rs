//! `kafka-console-producer`: lines of stdin become records (Kafka: `kafka.tools.ConsoleProducer`).
//!
//! Always true: every line that was read has its result before the tool ends, and a line that was lost is told and makes the exit code 1.
//!
//! # Layout
//! - [`options`]: the command line, 0.8's, 3.9's and 4.2's
//! - [`line_reader`]: a line's headers, key and value

mod line_reader;
mod options;

use std::io::{BufRead, IsTerminal as _, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use client::kafka::{ClientError, Cluster, Delivery, EXAMPLE_SERVERS, Producer};
use protocol::api::ApiKey;
use protocol::error::ErrorCode;
use runtime::Clock;
use runtime::machine::without_number;
use tokio::sync::mpsc;

use self::line_reader::{BadLine, LineReader};
use self::options::Options;
use crate::connect::{self, NoContact};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::tools;

/// Lines read and not yet given to the producer; stdin is read no further then.
const LINES_WAITING_MAX: usize = 1024;
/// Deliveries whose results nobody has looked at; their bytes are bounded by `buffer.memory`.
const DELIVERIES_WAITING_MAX: usize = 100_000;
/// Longest line. A longer one cannot be a record of any Kafka broker.
const LINE_BYTES_MAX: usize = 1 << 30;
/// Lost lines that are told one by one; the rest are counted.
const ERRORS_TOLD_MAX: u64 = 20;
/// Wait for the brokers before the first line; without an answer the lines are taken all the same.
const LOOK_MAX: Duration = Duration::from_secs(3);
/// Time for a topic that was made a moment ago to reach the broker that is asked, and the pause between two looks.
const SETTLE_MAX: Duration = Duration::from_secs(1);
const SETTLE_PAUSE: Duration = Duration::from_millis(100);
/// Wait for the last deliveries at the end: a batch lives no longer than `delivery.timeout.ms`.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options = options::read(words)?;
    connect::block_on_two_threads(produce(options))
}

/// A line of stdin, or why there is none.
enum Line {
    Text(Bytes),
    TooLong,
    Failed(std::io::Error),
}

async fn produce(options: Options) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let cluster = Cluster::new(options.producer.client.clone(), Clock::real());
    let topic: Arc<str> = Arc::from(options.topic.as_str());
    let servers: Vec<String> = options.producer.client.bootstrap_servers.iter().map(ToString::to_string).collect();
    let servers = servers.join(",");
    let sight = tokio::select! {
        biased;
        signal = interrupt.next() => return Err(signal.as_failure()),
        sight = FirstSight::of(&cluster, &topic) => sight,
    };
    let mut first = sight?;
    let producer = Producer::new(cluster, options.producer.clone())?;
    let losses =
        Arc::new(Losses { topic: topic.clone(), servers, count: AtomicU64::new(0), undelivered: AtomicU64::new(0) });
    let waiting = losses.clone();
    let mut stop = interrupt.watch(move || waiting.undelivered());
    let (delivered, results) = mpsc::channel(DELIVERIES_WAITING_MAX);
    let reporter = runtime::spawn(report(results, losses.clone()));

    let mut lines = read_lines()?;
    let mut reader = LineReader::new(topic, &options);
    let mut interrupted = None;
    let mut refused = None;
    loop {
        let line = tokio::select! {
            biased;
            line = lines.recv() => line,
            // What was typed before the signal is sent; nothing more is read.
            _ = stop.changed(), if interrupted.is_none() => {
                interrupted = *stop.borrow();
                lines.close();
                continue;
            }
        };
        let Some(line) = line else { break };
        let record = match line {
            Line::Text(text) => reader.read(&text),
            Line::TooLong => Err(BadLine(format!("line longer than {LINE_BYTES_MAX} bytes"))),
            Line::Failed(error) => {
                refused = Some(Failure::new("cannot read stdin").cause(error));
                break;
            }
        };
        let record = match record {
            Ok(record) => record,
            Err(BadLine(why)) => {
                // Kafka's tool ends with the first line it cannot read.
                refused = Some(Failure::verbatim(why));
                break;
            }
        };
        let size = Size::of(&record);
        losses.begun();
        match producer.send(record).await {
            Ok(delivery) => {
                first.sent();
                if options.sync {
                    losses.note(size, &delivery.wait().await);
                } else if delivered.send((size, delivery)).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                losses.note::<()>(size, &Err(error.clone()));
                // Without a terminal nobody can react: each line more would wait as long for the same end.
                if error.is_retriable() && !std::io::stdin().is_terminal() {
                    refused = Some(Failure::silent(1));
                    break;
                }
            }
        }
    }
    let closed = producer.close(options.producer.delivery_timeout + CLOSE_GRACE).await;
    drop(delivered);
    // It ends once the last delivery is told; a panic in it has been told already.
    let _ = reporter.await;
    let lost = losses.count.load(Ordering::Relaxed);
    if let Some(refused) = refused {
        return Err(refused);
    }
    if lost > 0 || closed.is_err() {
        return Err(Failure::new(format!("{lost} line(s) could not be sent")));
    }
    match *stop.borrow() {
        Some(signal) => Err(signal.as_failure()),
        None => Ok(()),
    }
}

/// Reads stdin on a thread of its own: a terminal's read cannot be waited for otherwise.
fn read_lines() -> Result<mpsc::Receiver<Line>, Failure> {
    let (sender, lines) = mpsc::channel(LINES_WAITING_MAX);
    runtime::thread("stdin", move || {
        let prompts = std::io::stdin().is_terminal();
        let mut stdin = std::io::stdin().lock();
        loop {
            if prompts {
                let mut out = std::io::stdout();
                // Without a reader of the prompt there may still be one of the records.
                let _ = out.write_all(b">").and_then(|()| out.flush());
            }
            let line = match read_line(&mut stdin) {
                Ok(None) => return,
                Ok(Some(line)) => line,
                Err(error) => Line::Failed(error),
            };
            let last = !matches!(line, Line::Text(_));
            if sender.blocking_send(line).is_err() || last {
                return;
            }
        }
    })?;
    Ok(lines)
}

/// The next line without its end (`\n` or `\r\n`); `None` at the end of the input.
fn read_line(input: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    let mut line = Vec::new();
    input.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if line.len() >= LINE_BYTES_MAX {
        return Ok(Some(Line::TooLong));
    }
    Ok(Some(Line::Text(line.into())))
}

/// Looks at every delivery in the order of the lines.
async fn report(mut results: mpsc::Receiver<(Size, Delivery)>, losses: Arc<Losses>) {
    while let Some((size, delivery)) = results.recv().await {
        losses.note(size, &delivery.wait().await);
    }
}

/// What Kafka's error line says of a record.
#[derive(Debug, Clone, Copy)]
struct Size {
    key: Option<usize>,
    value: Option<usize>,
}

impl Size {
    fn of(record: &client::kafka::ProducerRecord) -> Size {
        Size { key: record.key.as_ref().map(Bytes::len), value: record.value.as_ref().map(Bytes::len) }
    }
}

/// Lines that were lost.
struct Losses {
    topic: Arc<str>,
    /// Where the brokers are, for help lines.
    servers: String,
    count: AtomicU64,
    /// Lines of which it is not known yet.
    undelivered: AtomicU64,
}

impl Losses {
    /// A line is on its way.
    fn begun(&self) {
        self.undelivered.fetch_add(1, Ordering::Relaxed);
    }

    /// Lines of which it is not known yet, in words.
    fn undelivered(&self) -> Option<String> {
        let count = self.undelivered.load(Ordering::Relaxed);
        (count > 0).then(|| format!("{count} line(s) that no broker has acknowledged"))
    }

    /// Counts and tells one, where it is one.
    fn note<T>(&self, size: Size, result: &Result<T, ClientError>) {
        self.undelivered.fetch_sub(1, Ordering::Relaxed);
        let Err(error) = result else { return };
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        if number > ERRORS_TOLD_MAX {
            return;
        }
        if number == ERRORS_TOLD_MAX {
            eprintln!("note: further lines that are lost are only counted");
            return;
        }
        let bytes = |size: Option<usize>| size.map_or("null".to_owned(), |size| format!("{size} bytes"));
        eprintln!(
            "Error when sending message to topic {} with key: {}, value: {} with error:\n{error}",
            self.topic,
            bytes(size.key),
            bytes(size.value)
        );
        if let Some(cause) = error.cause() {
            eprintln!("cause: {}", without_number(&cause));
        }
        if let Some(help) = self.help(error).filter(|_| number == 0) {
            eprintln!("help: {help}");
        }
    }
}

impl Losses {
    /// The one command that helps, with the brokers and the topic at hand.
    fn help(&self, error: &ClientError) -> Option<String> {
        if let ClientError::RecordTooLarge { bytes, config, .. } = error {
            return Some(format!(
                "bin/kafka-console-producer.sh --broker-list {} --topic {} --producer-property {config}={}   (the topic's max.message.bytes must allow it, too)",
                self.servers,
                self.topic,
                bytes.next_power_of_two()
            ));
        }
        Some(error.help()?.replace(EXAMPLE_SERVERS, &self.servers))
    }
}

/// What was seen of brokers and topic before the first line. A broker before Metadata v4 makes a topic because it is asked about it.
struct FirstSight {
    topic: Arc<str>,
    /// The topic was not there: the first record that finds a place tells that it was made.
    was_missing: bool,
}

impl FirstSight {
    /// Looks, and says once what is wrong: a broker that is not there, a topic that is not there.
    ///
    /// # Errors
    /// Where something answers that is no broker.
    async fn of(cluster: &Cluster, topic: &Arc<str>) -> Result<FirstSight, Failure> {
        let mut sight = FirstSight { topic: topic.clone(), was_missing: false };
        match connect::contact(cluster).await {
            Ok(()) => {}
            Err(NoContact::Wrong(failure)) => return Err(failure),
            // Brokers may be about to start: the lines are taken all the same.
            Err(NoContact::Failed(error)) => {
                Failure::from(error).warn();
                return Ok(sight);
            }
        }
        let Ok(connection) = cluster.any_connection().await else { return Ok(sight) };
        let asking_creates = connection.versions().highest(ApiKey::Metadata).is_ok_and(|version| version < 4);
        match sight.look(cluster, asking_creates).await {
            Some(ErrorCode::LEADER_NOT_AVAILABLE) => {
                eprintln!("WARN Error while fetching metadata : {{{topic}=LEADER_NOT_AVAILABLE}}");
                sight.was_missing = asking_creates;
            }
            Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
                let hint = match cluster.refresh_all().await {
                    Ok(all) => tools::did_you_mean(topic, all.topics.keys().map(AsRef::as_ref)),
                    Err(_) => String::new(),
                };
                eprintln!("note: topic \"{topic}\" does not exist; the first line may create it{hint}");
                sight.was_missing = true;
            }
            _ => {}
        }
        Ok(sight)
    }

    /// What the brokers say of the topic. One that was made a moment ago may not have reached the broker that is asked: it is given the time to.
    async fn look(&self, cluster: &Cluster, asking_creates: bool) -> Option<ErrorCode> {
        let clock = cluster.clock();
        let (settled, deadline) = (clock.now() + SETTLE_MAX, clock.now() + LOOK_MAX);
        loop {
            let metadata = cluster.refresh_topics(&[&self.topic], deadline).await.ok()?;
            let code = metadata.topic(&self.topic).map(|found| found.error);
            let is_open = matches!(code, Some(ErrorCode::LEADER_NOT_AVAILABLE | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
            if asking_creates || !is_open || clock.now() >= settled {
                return code;
            }
            clock.sleep(SETTLE_PAUSE).await;
        }
    }

    /// A record has found its partition.
    fn sent(&mut self) {
        if std::mem::take(&mut self.was_missing) {
            eprintln!("note: topic \"{}\" was created automatically (auto.create.topics.enable=true)", self.topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_java_ends_them() {
        fn check(input: &str, expected: &[&str]) {
            let mut rest = input.as_bytes();
            let mut lines = Vec::new();
            while let Some(Line::Text(line)) = read_line(&mut rest).unwrap() {
                lines.push(String::from_utf8(line.to_vec()).unwrap());
            }
            assert_eq!(lines, expected, "{input:?}");
        }
        check("", &[]);
        check("a\nb", &["a", "b"]);
        check("a\r\n\nb\n", &["a", "", "b"]);
        check("\n", &[""]);
    }
}
