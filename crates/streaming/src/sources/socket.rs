//! Lines from a TCP server.
//!
//! A thread of its own reads what the server sends; each batch takes what has come since the one before. When too much waits it stops
//! reading, and the server's own sending stalls. A connection that cannot be made, or ends, is made anew after two seconds.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use runtime::net::Stream;
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, watch};

use crate::context::StreamingContext;
use crate::dstream::{DStream, Generated};
use crate::error::TaskError;
use crate::rdd::Rdd;
use crate::scheduler::SparkContext;
use crate::sources::{Input, InputSource, ReceiverState, SourceEvents};
use crate::text::{LineCutter, Text, TextBlocks};
use crate::time::Time;

/// Bytes of text that may wait for a batch.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// Time between two attempts to connect (Spark's receiver restart delay).
const RECONNECT_DELAY: Duration = Duration::from_secs(2);

/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Lines for which another partition is worth its task.
const PARTITION_LINES: usize = 1000;

struct SocketSource(Arc<Shared>);

struct Shared {
    host: String,
    port: u16,
    waiting: Mutex<Waiting>,
    /// Told when a batch has taken what waited.
    taken: Notify,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<Text>,
    bytes: usize,
}

impl StreamingContext {
    /// The lines that a TCP server sends. Bytes that are not UTF-8 are replaced.
    pub fn socket_text_stream(&self, host: &str, port: u16) -> DStream<Text> {
        self.input_stream(SocketSource(Arc::new(Shared {
            host: host.to_owned(),
            port,
            waiting: Mutex::default(),
            taken: Notify::new(),
            stop: watch::Sender::new(false),
            thread: Mutex::new(None),
        })))
    }
}

impl InputSource<Text> for SocketSource {
    fn name(&self) -> String {
        format!("socket stream from {}:{}", self.0.host, self.0.port)
    }

    fn start(&self, _spark: &SparkContext, events: &SourceEvents, stream_id: usize) -> Result<(), TaskError> {
        let io = runtime::spawn::current_thread()?;
        let shared = self.0.clone();
        let events = events.clone();
        let thread = runtime::thread("socket-receiver", move || {
            let state = events.receiver(stream_id, "SocketReceiver", &shared.host);
            io.block_on(shared.receive(&state));
            state.stopped();
        })?;
        *self.0.thread.lock() = Some(thread);
        Ok(())
    }

    fn stop(&self) {
        self.0.stop.send_replace(true);
        if let Some(thread) = self.0.thread.lock().take() {
            // It only waits for the network and for this signal.
            let _ = thread.join();
        }
    }

    fn has_pending(&self) -> bool {
        !self.0.waiting.lock().lines.is_empty()
    }

    fn compute(&self, spark: &SparkContext, _time: Time, input: &mut Input) -> Generated<Text> {
        let lines = std::mem::take(&mut *self.0.waiting.lock()).lines;
        self.0.taken.notify_one();
        input.num_records = lines.len() as u64;
        Ok(Some(spread(spark, lines)))
    }
}

/// An RDD of as many partitions as are worth their tasks.
fn spread(spark: &SparkContext, lines: Vec<Text>) -> Rdd<Text> {
    if lines.is_empty() {
        return spark.empty_rdd();
    }
    let partitions = lines.len().div_ceil(PARTITION_LINES).min(spark.default_parallelism());
    spark.parallelize(lines, partitions)
}

impl Shared {
    /// Connects and reads until told to stop.
    async fn receive(&self, state: &ReceiverState) {
        let mut stop = self.stop.subscribe();
        loop {
            let why = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                result = self.read_connection() => match result {
                    Ok(()) => "Socket data stream had no more data".to_owned(),
                    Err(error) => format!("Error connecting to {}:{}: {error}", self.host, self.port),
                },
            };
            tracing::warn!("{why}; trying again in {RECONNECT_DELAY:?}");
            state.error(&format!("Restarting receiver with delay {} ms", RECONNECT_DELAY.as_millis()), &why);
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = runtime::Clock::real().sleep(RECONNECT_DELAY) => {}
            }
        }
    }

    /// Reads one connection to its end.
    async fn read_connection(&self) -> std::io::Result<()> {
        let mut stream = Stream::connect(&self.host, self.port, CONNECT_LIMIT).await?;
        let mut cutter = LineCutter::default();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            while self.waiting.lock().bytes >= WAITING_BYTES_MAX {
                self.taken.notified().await;
            }
            let count = stream.read(&mut buffer).await?;
            let mut blocks = TextBlocks::default();
            if count == 0 {
                cutter.end(&mut blocks);
            } else {
                cutter.cut(&buffer[..count], &mut blocks);
            }
            let mut waiting = self.waiting.lock();
            waiting.bytes += count;
            waiting.lines.append(&mut blocks.finish());
            if count == 0 {
                return Ok(());
            }
        }
    }
}
