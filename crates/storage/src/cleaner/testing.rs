//! Shared by the tests of the cleaner: records with keys, and a log read to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use protocol::records::message_set::AnyBatchIter;
use protocol::records::{BatchBuilder, BatchHeader, BatchOptions};
use protocol::types::LeaderEpoch;
use runtime::{Clock, Random};

use crate::append::AppendOptions;
use crate::cleaner::pass::{self, Limits, PassError, Report};
use crate::cleaner::throttle::Throttle;
use crate::config::LogConfig;
use crate::log::Log;
use crate::read::ReadLimit;

/// Offset, key and value.
pub(crate) type Keyed = (i64, Option<String>, Option<String>);

/// Segments of a few batches each, compacted whenever anything is dirty.
pub(crate) fn compacted() -> LogConfig {
    LogConfig {
        compact: true,
        delete: false,
        segment_bytes: 400,
        index_interval_bytes: 100,
        min_cleanable_ratio: 0.0,
        delete_retention_ms: 1000,
        file_delete_delay_ms: 0,
        // The tests have a time of their own.
        producer_id_expiration_ms: i64::MAX,
        ..LogConfig::default()
    }
}

/// A batch of these keys and values.
pub(crate) fn keyed(options: BatchOptions, timestamp: i64, records: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (key, value) in records {
        builder.append(timestamp, Some(key.as_bytes()), value.map(str::as_bytes), None).unwrap();
    }
    builder.build_vec().unwrap()
}

/// Appends a batch and commits all there is.
pub(crate) fn append_keyed(log: &Log, records: &[(&str, Option<&str>)]) {
    append_batch(log, keyed(BatchOptions::default(), 1000, records));
}

pub(crate) fn append_batch(log: &Log, mut batch: Vec<u8>) {
    log.append_as_leader(&mut batch, LeaderEpoch(0), AppendOptions::client(Clock::real().now_ms())).unwrap();
    log.set_high_watermark(log.log_end_offset());
}

/// Makes everything before the end cleanable.
pub(crate) fn roll(log: &Log) {
    let mut state = log.lock_state().unwrap();
    log.roll(&mut state, log.log_end_offset().0, Clock::real().now_ms()).unwrap();
}

pub(crate) fn clean(log: &Log, now_ms: i64) -> Report {
    clean_within(log, now_ms, 1 << 20).unwrap()
}

/// Cleans with a map of so many bytes.
pub(crate) fn clean_within(log: &Log, now_ms: i64, map_bytes: u64) -> Result<Report, PassError> {
    let throttle = Throttle::new(f64::MAX, Clock::real());
    let limits = Limits {
        map_bytes,
        load_factor: 0.9,
        buffer_bytes: 300,
        throttle: &throttle,
        stop: &AtomicBool::new(false),
        random: Random::real(),
    };
    pass::clean(log, now_ms, &limits)
}

/// Every batch header and every record from `from` on, as a consumer that begins there gets them.
pub(crate) fn read_all(log: &Log, from: i64) -> (Vec<BatchHeader>, Vec<Keyed>) {
    let text = |bytes: Option<Bytes>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    let (mut headers, mut records) = (Vec::new(), Vec::new());
    let mut at = protocol::types::Offset(from);
    while at < log.log_end_offset() {
        let Some(slice) = log.read(at, 300, ReadLimit::LogEnd, true).unwrap().slice else { break };
        for batch in AnyBatchIter::new(slice.read().unwrap(), 1 << 20) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            assert!(batch.header.next_offset() > at, "the read at {at} does not get on: {:?}", batch.header);
            for record in batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                if record.offset >= at && !batch.header.is_control() {
                    records.push((record.offset.0, text(record.key), text(record.value)));
                }
            }
            at = batch.header.next_offset();
            headers.push(batch.header);
        }
    }
    (headers, records)
}

/// The records of a log.
pub(crate) fn records(log: &Log) -> Vec<Keyed> {
    read_all(log, log.log_start_offset().0).1
}

/// What someone who reads a compacted log from its beginning holds in the end.
pub(crate) fn table(records: &[Keyed]) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for (_, key, value) in records {
        match (key, value) {
            (Some(key), Some(value)) => {
                table.insert(key.clone(), value.clone());
            }
            (Some(key), None) => {
                table.remove(key);
            }
            (None, _) => {}
        }
    }
    table
}

/// Names of the files of a log, by their suffix.
pub(crate) fn files_with(log: &Arc<Log>, suffix: &str) -> Vec<String> {
    let entries = log.dir().disk().read_dir(&log.dir().path()).unwrap();
    entries
        .into_iter()
        .filter_map(|entry| entry.name.into_string().ok())
        .filter(|name| name.ends_with(suffix))
        .collect()
}
