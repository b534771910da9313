//! A streaming job under the names of Spark's `StreamingSource`, as Spark's `PrometheusServlet` writes them: every figure is a gauge and comes twice, as
//! `..._Number` and `..._Value`. The names hold the id of the application unless `spark.metrics.namespace` says otherwise.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use streaming::listener::{BatchInfo, ReceiverInfo};
use streaming::{StreamingListener, Time};

use crate::exposition::{Exposition, Kind};

/// What the names of a job's metrics begin with.
#[derive(Debug, Clone)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// Of an application: Dropwizard's `namespace.driver.application.StreamingMetrics.streaming.`, with all but letters and digits as underscores.
    #[must_use]
    pub fn new(namespace: &str, application: &str) -> Names {
        let key = format!("{namespace}.driver.{application}.StreamingMetrics.streaming.");
        let key: String = key.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
        Names { prefix: format!("metrics_{key}") }
    }
}

/// What was seen of a job's batches (Spark's `StreamingJobProgressListener`).
#[derive(Debug, Default)]
pub struct Progress(Mutex<Seen>);

/// What was seen so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    receivers: BTreeSet<usize>,
    completed: u64,
    failed: u64,
    received_records: u64,
    processed_records: u64,
    waiting: BTreeSet<Time>,
    running: BTreeSet<Time>,
    last_completed: Option<BatchInfo>,
    /// The newest one, however far it is.
    last_received: Option<BatchInfo>,
}

impl Progress {
    /// What was seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.0.lock().clone()
    }
}

impl Seen {
    fn note_newest(&mut self, batch: &BatchInfo) {
        if self.last_received.as_ref().is_none_or(|newest| newest.batch_time <= batch.batch_time) {
            self.last_received = Some(batch.clone());
        }
    }

    /// Batches run in the order of their times: whatever is older has ended, though its event may have been dropped on the way.
    fn forget_until(&mut self, time: Time) {
        self.waiting.retain(|other| *other > time);
        self.running.retain(|other| *other > time);
    }
}

impl StreamingListener for Progress {
    fn on_receiver_started(&self, receiver: &ReceiverInfo) {
        self.0.lock().receivers.insert(receiver.stream_id);
    }

    fn on_batch_submitted(&self, batch: &BatchInfo) {
        let mut seen = self.0.lock();
        seen.waiting.insert(batch.batch_time);
        seen.note_newest(batch);
    }

    fn on_batch_started(&self, batch: &BatchInfo) {
        let mut seen = self.0.lock();
        seen.forget_until(batch.batch_time);
        seen.running.insert(batch.batch_time);
        seen.received_records += batch.num_records();
        seen.note_newest(batch);
    }

    fn on_batch_completed(&self, batch: &BatchInfo) {
        let mut seen = self.0.lock();
        seen.forget_until(batch.batch_time);
        seen.completed += 1;
        seen.failed += u64::from(batch.has_failed());
        seen.processed_records += batch.num_records();
        seen.last_completed = Some(batch.clone());
        seen.note_newest(batch);
    }
}

/// Writes a job's figures.
pub fn write(out: &mut Exposition, names: &Names, seen: &Seen) {
    let (completed, received) = (seen.last_completed.as_ref(), seen.last_received.as_ref());
    // -1 stands for what is not known, as in Spark.
    let ms = |of: Option<i64>| of.unwrap_or(-1) as f64;
    let batches = (seen.waiting.len(), seen.running.len());
    let figures = [
        ("receivers", "Receivers that have started.", seen.receivers.len() as f64),
        ("totalCompletedBatches", "Batches completed, well or not.", seen.completed as f64),
        ("totalReceivedRecords", "Records of all batches that have begun.", seen.received_records as f64),
        ("totalProcessedRecords", "Records of all batches completed.", seen.processed_records as f64),
        ("unprocessedBatches", "Batches waiting or running.", (batches.0 + batches.1) as f64),
        ("waitingBatches", "Batches that wait for those before them.", batches.0 as f64),
        ("runningBatches", "Batches under way.", batches.1 as f64),
        (
            "lastCompletedBatch_submissionTime",
            "When the last completed batch was made, in ms since 1970.",
            ms(completed.map(|batch| batch.submission_time)),
        ),
        (
            "lastCompletedBatch_processingStartTime",
            "When its first output operation began, in ms since 1970.",
            ms(completed.and_then(|batch| batch.processing_start_time)),
        ),
        (
            "lastCompletedBatch_processingEndTime",
            "When its last output operation ended, in ms since 1970.",
            ms(completed.and_then(|batch| batch.processing_end_time)),
        ),
        (
            "lastCompletedBatch_processingDelay",
            "How long its output operations took, in ms.",
            ms(completed.and_then(BatchInfo::processing_delay)),
        ),
        (
            "lastCompletedBatch_schedulingDelay",
            "How long it waited for its turn, in ms.",
            ms(completed.and_then(BatchInfo::scheduling_delay)),
        ),
        (
            "lastCompletedBatch_totalDelay",
            "From its making to its end, in ms.",
            ms(completed.and_then(BatchInfo::total_delay)),
        ),
        (
            "lastReceivedBatch_submissionTime",
            "When the newest batch was made, in ms since 1970.",
            ms(received.map(|batch| batch.submission_time)),
        ),
        (
            "lastReceivedBatch_processingStartTime",
            "When its first output operation began, in ms since 1970.",
            ms(received.and_then(|batch| batch.processing_start_time)),
        ),
        (
            "lastReceivedBatch_processingEndTime",
            "When its last output operation ended, in ms since 1970.",
            ms(received.and_then(|batch| batch.processing_end_time)),
        ),
        ("lastReceivedBatch_records", "Its records.", received.map_or(0.0, |batch| batch.num_records() as f64)),
    ];
    for (name, help, value) in figures {
        for ending in ["Number", "Value"] {
            let name = format!("{}{name}_{ending}", names.prefix);
            out.family(&name, Kind::Gauge, help).sample(&[("type", &"gauges")], value);
        }
    }
    out.counter(
        "tidemill_job_failed_batches_total",
        "Batches of which an output operation failed.",
        seen.failed as f64,
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use streaming::listener::StreamInputInfo;

    use super::*;

    /// A batch of so many records, submitted at its time, and begun and ended later.
    fn batch(second: i64, num_records: u64) -> BatchInfo {
        let input = StreamInputInfo { input_stream_id: 0, num_records, description: String::new() };
        BatchInfo {
            batch_time: Time::from_ms(1000 * second),
            stream_id_to_input_info: BTreeMap::from([(0, input)]),
            submission_time: 1000 * second,
            processing_start_time: Some(1000 * second + 30),
            processing_end_time: Some(1000 * second + 230),
            output_operation_infos: BTreeMap::new(),
        }
    }

    fn value(progress: &Progress, name: &str) -> i64 {
        let mut out = Exposition::default();
        write(&mut out, &Names::new("n.s", "Word count"), &progress.seen());
        let text = out.finish();
        let read = |ending: &str| {
            let line =
                format!("metrics_n_s_driver_Word_count_StreamingMetrics_streaming_{name}_{ending}{{type=\"gauges\"}} ");
            text.lines().find_map(|told| told.strip_prefix(&line)).map(|value| value.parse().unwrap())
        };
        assert_eq!(read("Number"), read("Value"));
        read("Value").unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    #[test]
    fn batches_are_followed_from_their_making_to_their_end() {
        let progress = Progress::default();
        let expect = |waiting, running, received, processed, newest| {
            let seen = [
                "waitingBatches",
                "runningBatches",
                "totalReceivedRecords",
                "totalProcessedRecords",
                "lastReceivedBatch_records",
            ];
            assert_eq!(seen.map(|name| value(&progress, name)), [waiting, running, received, processed, newest]);
            assert_eq!(value(&progress, "unprocessedBatches"), waiting + running);
        };
        expect(0, 0, 0, 0, 0);
        assert_eq!(value(&progress, "lastCompletedBatch_totalDelay"), -1);
        progress.on_batch_submitted(&batch(1, 5));
        progress.on_batch_submitted(&batch(2, 7));
        expect(2, 0, 0, 0, 7);
        progress.on_batch_started(&batch(1, 5));
        expect(1, 1, 5, 0, 7);
        progress.on_batch_completed(&batch(1, 5));
        expect(1, 0, 5, 5, 7);
        let delays = ["schedulingDelay", "processingDelay", "totalDelay"];
        assert_eq!(delays.map(|name| value(&progress, &format!("lastCompletedBatch_{name}"))), [30, 200, 230]);
        assert_eq!(value(&progress, "lastReceivedBatch_submissionTime"), 2000);
    }

    #[test]
    fn events_that_were_dropped_leave_no_batch_behind() {
        let progress = Progress::default();
        (1..4).for_each(|second| progress.on_batch_submitted(&batch(second, 1)));
        progress.on_batch_completed(&batch(3, 1));
        assert_eq!(value(&progress, "unprocessedBatches"), 0);
    }
}
