//! [`FetchedBlock`]: what one fetch brought of one partition, as it came: the bytes are a slice of the response and records are slices of them.

use std::collections::{BinaryHeap, HashSet};

use bytes::Bytes;
use protocol::messages::fetch::AbortedTransaction;
use protocol::records::batch::{self, BatchHeader, ControlMarker};
use protocol::records::{
    AnyBatchIter, MAX_DECOMPRESSED_BYTES, Record, RecordBatch, RecordRef, Records, RecordsError, TimestampType,
};
use protocol::types::{Offset, TopicPartition};

use super::super::error::{ClientError, Result};

/// Records of one partition from [`FetchedBlock::fetch_offset`] up to [`FetchedBlock::next_offset`].
///
/// Always true: `next_offset` is beyond `fetch_offset` unless nothing came, and every record handed out lies between the two. A block keeps the
/// whole response alive, and so does every record of it that was not compressed; copy what must live long.
#[derive(Debug, Clone)]
pub struct FetchedBlock {
    /// Where it comes from.
    pub topic_partition: TopicPartition,
    /// The offset that was asked for. The first batch may begin before it; those records are left out.
    pub fetch_offset: Offset,
    /// Where to fetch on.
    pub next_offset: Offset,
    /// End of what consumers may see, as the broker said with this fetch.
    pub high_watermark: Offset,
    /// End of what `read_committed` consumers may see; the high watermark where the broker is too old to say.
    pub last_stable_offset: Offset,
    /// First offset of the log; -1 where the broker is too old to say.
    pub log_start_offset: Offset,
    /// The batches, in any of Kafka's formats; the last one may be cut.
    bytes: Bytes,
    /// Transactions to leave out (`read_committed` only).
    aborted: Vec<AbortedTransaction>,
    check_crcs: bool,
    /// The offset at which to stop, where the caller wants less than came.
    until: Option<Offset>,
}

/// What a block is made of.
pub(super) struct BlockParts {
    pub(super) topic_partition: TopicPartition,
    pub(super) fetch_offset: Offset,
    pub(super) high_watermark: Offset,
    pub(super) last_stable_offset: Offset,
    pub(super) log_start_offset: Offset,
    pub(super) bytes: Bytes,
    pub(super) aborted: Vec<AbortedTransaction>,
    pub(super) check_crcs: bool,
}

impl FetchedBlock {
    /// Looks over the batches' headers; nothing is unpacked.
    ///
    /// # Errors
    /// Where a header is damaged.
    pub(super) fn new(parts: BlockParts) -> Result<FetchedBlock, RecordsError> {
        let next_offset = end_of(&parts.bytes)?.unwrap_or(parts.fetch_offset).max(parts.fetch_offset);
        Ok(FetchedBlock {
            topic_partition: parts.topic_partition,
            fetch_offset: parts.fetch_offset,
            next_offset,
            high_watermark: parts.high_watermark,
            last_stable_offset: parts.last_stable_offset,
            log_start_offset: parts.log_start_offset,
            bytes: parts.bytes,
            aborted: parts.aborted,
            check_crcs: parts.check_crcs,
            until: None,
        })
    }

    /// Whether no whole batch came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next_offset == self.fetch_offset
    }

    /// Whether a batch came that does not fit into what was asked for: brokers before Fetch v3 cut it.
    pub(super) fn is_cut(&self) -> bool {
        self.is_empty() && !self.bytes.is_empty()
    }

    /// Records behind this block that consumers may see already.
    #[must_use]
    pub fn lag(&self) -> i64 {
        (self.high_watermark.0 - self.next_offset.0).max(0)
    }

    /// Size of the batches in bytes, as they came.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Leaves out what lies at `until` and behind it.
    pub fn end_at(&mut self, until: Offset) {
        if until < self.next_offset {
            self.next_offset = until.max(self.fetch_offset);
        }
        self.until = Some(self.until.map_or(until, |before| before.min(until)));
    }

    /// The records, in order. Control records, aborted transactions and offsets that were not asked for are left out.
    #[must_use]
    pub fn records(&self) -> BlockRecords {
        let mut aborted: Vec<_> = self.aborted.iter().map(|aborted| Aborted(aborted.clone())).collect();
        aborted.retain(|aborted| aborted.0.producer_id >= 0);
        BlockRecords {
            partition: self.topic_partition.clone(),
            batches: AnyBatchIter::new(self.bytes.clone(), MAX_DECOMPRESSED_BYTES),
            records: None,
            from: self.fetch_offset,
            until: self.until.unwrap_or(Offset(i64::MAX)),
            to_come: aborted.into(),
            aborted_producers: HashSet::new(),
            check_crcs: self.check_crcs,
            failed: false,
        }
    }

    /// Shows `visit` the records, in order and without a reference count touched, until it fails: the outer error is of the records, the
    /// inner one its own.
    ///
    /// # Errors
    /// [`ClientError::Malformed`].
    pub fn visit<E>(&self, mut visit: impl FnMut(&RecordRef<'_>) -> Result<(), E>) -> Result<Result<(), E>> {
        self.records().visit_some(usize::MAX, &mut visit).map(|visited| visited.map(|_more| ()))
    }
}

/// An aborted transaction, the first one greatest.
#[derive(Debug, Clone)]
struct Aborted(AbortedTransaction);

impl PartialEq for Aborted {
    fn eq(&self, other: &Aborted) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Aborted {}

impl PartialOrd for Aborted {
    fn partial_cmp(&self, other: &Aborted) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Aborted {
    fn cmp(&self, other: &Aborted) -> std::cmp::Ordering {
        other.0.first_offset.cmp(&self.0.first_offset)
    }
}

/// Iterator over the records of a block. It ends with the first error.
#[derive(Debug, Clone)]
pub struct BlockRecords {
    partition: TopicPartition,
    batches: AnyBatchIter,
    records: Option<Records>,
    from: Offset,
    until: Offset,
    /// Aborted transactions whose first record has not been met.
    to_come: BinaryHeap<Aborted>,
    /// Producers inside an aborted transaction.
    aborted_producers: HashSet<i64>,
    check_crcs: bool,
    failed: bool,
}

impl BlockRecords {
    /// What the timestamps of the batch of the last record mean.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        self.records.as_ref().map_or(TimestampType::CreateTime, |records| records.header().timestamp_type())
    }

    /// Opens the next batch that holds anything to hand out.
    fn next_batch(&mut self) -> Result<Option<Records>, RecordsError> {
        while let Some(batch) = self.batches.next() {
            let batch = batch?;
            if batch.header.base_offset >= self.until {
                return Ok(None);
            }
            if batch.header.last_offset() < self.from {
                continue;
            }
            if self.check_crcs {
                batch.verify_crc()?;
            }
            if self.is_left_out(&batch)? {
                continue;
            }
            return batch.records(MAX_DECOMPRESSED_BYTES).map(Some);
        }
        Ok(None)
    }

    /// Kafka's rule for `read_committed` (`Fetcher.nextFetchedRecord`): a producer is in an aborted transaction from the first offset the broker
    /// names until its abort marker.
    fn is_left_out(&mut self, batch: &RecordBatch) -> Result<bool, RecordsError> {
        let header = &batch.header;
        while self.to_come.peek().is_some_and(|aborted| aborted.0.first_offset <= header.last_offset().0) {
            if let Some(Aborted(aborted)) = self.to_come.pop() {
                self.aborted_producers.insert(aborted.producer_id);
            }
        }
        if header.is_control() {
            if let Some(ControlMarker::Abort { .. }) = batch.control_marker()? {
                self.aborted_producers.remove(&header.producer_id);
            }
            return Ok(true);
        }
        Ok(header.is_transactional() && self.aborted_producers.contains(&header.producer_id))
    }

    /// [`FetchedBlock::visit`] of the next records, at most `most` of them; whether there may be more.
    ///
    /// # Errors
    /// [`ClientError::Malformed`].
    pub fn visit_some<E>(
        &mut self,
        most: usize,
        mut visit: impl FnMut(&RecordRef<'_>) -> Result<(), E>,
    ) -> Result<Result<bool, E>> {
        self.try_visit_some(most, &mut visit).map_err(|error| malformed(&self.partition, &error))
    }

    fn try_visit_some<E>(
        &mut self,
        most: usize,
        visit: &mut impl FnMut(&RecordRef<'_>) -> Result<(), E>,
    ) -> Result<Result<bool, E>, RecordsError> {
        let mut left = most;
        loop {
            let opened = match self.records.take() {
                Some(records) => Some(records),
                None => self.next_batch()?,
            };
            let Some(mut records) = opened else { return Ok(Ok(false)) };
            loop {
                if left == 0 {
                    self.records = Some(records);
                    return Ok(Ok(true));
                }
                let Some(record) = records.next_ref() else { break };
                let record = record?;
                if record.offset >= self.until {
                    return Ok(Ok(false));
                }
                if record.offset >= self.from {
                    left -= 1;
                    if let Err(error) = visit(&record) {
                        return Ok(Err(error));
                    }
                }
            }
        }
    }

    fn try_next(&mut self) -> Result<Option<Record>, RecordsError> {
        loop {
            if let Some(records) = &mut self.records {
                for record in records.by_ref() {
                    let record = record?;
                    if record.offset >= self.until {
                        return Ok(None);
                    }
                    if record.offset >= self.from {
                        return Ok(Some(record));
                    }
                }
            }
            self.records = self.next_batch()?;
            if self.records.is_none() {
                return Ok(None);
            }
        }
    }
}

impl Iterator for BlockRecords {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        if self.failed {
            return None;
        }
        match self.try_next() {
            Ok(Some(record)) => Some(Ok(record)),
            Ok(None) => {
                self.failed = true;
                None
            }
            Err(error) => {
                self.failed = true;
                Some(Err(malformed(&self.partition, &error)))
            }
        }
    }
}

/// What damaged records are to the caller.
pub(super) fn malformed(partition: &TopicPartition, error: &RecordsError) -> ClientError {
    ClientError::Malformed {
        what: format!("records of {partition}"),
        broker: "its leader".to_string(),
        cause: error.to_string(),
    }
}

/// The offset after the last whole batch or message; `None` where there is no whole one. A wrapper of the old formats bears its last message's offset.
fn end_of(bytes: &Bytes) -> Result<Option<Offset>, RecordsError> {
    let mut rest = &bytes[..];
    let mut end = None;
    while let Some(size) = batch::peek_size(rest)? {
        if size > rest.len() {
            break;
        }
        let next = match batch::peek_magic(rest) {
            Some(0 | 1) => {
                let offset = rest.first_chunk::<8>().map_or(-1, |offset| i64::from_be_bytes(*offset));
                Offset(offset).plus(1)
            }
            _ => BatchHeader::parse(&rest[..size])?.next_offset(),
        };
        end = Some(end.map_or(next, |before: Offset| before.max(next)));
        rest = &rest[size..];
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use protocol::records::{BatchBuilder, BatchOptions, Codec};

    use super::*;

    fn batch(base_offset: i64, values: &[&str], change: impl FnOnce(&mut BatchOptions)) -> Vec<u8> {
        let mut options = BatchOptions { base_offset: Offset(base_offset), ..BatchOptions::default() };
        change(&mut options);
        let mut builder = BatchBuilder::new(options);
        for value in values {
            builder.append(1_700_000_000_000, None, Some(value.as_bytes()), None).unwrap();
        }
        builder.build_vec().unwrap()
    }

    fn abort_marker(offset: i64, producer_id: i64) -> Vec<u8> {
        let options = BatchOptions {
            base_offset: Offset(offset),
            producer_id,
            producer_epoch: 0,
            is_transactional: true,
            is_control: true,
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options);
        builder.append_marker(0, ControlMarker::Abort { coordinator_epoch: 0 }).unwrap();
        builder.build_vec().unwrap()
    }

    fn block(fetch_offset: i64, bytes: Vec<u8>, aborted: Vec<AbortedTransaction>) -> FetchedBlock {
        FetchedBlock::new(BlockParts {
            topic_partition: TopicPartition::new("t", 0),
            fetch_offset: Offset(fetch_offset),
            high_watermark: Offset(100),
            last_stable_offset: Offset(100),
            log_start_offset: Offset(0),
            bytes: bytes.into(),
            aborted,
            check_crcs: true,
        })
        .unwrap()
    }

    /// What the iterator gives, which is what a visitor sees, of all records at once as of some at a time.
    fn values(block: &FetchedBlock) -> Vec<String> {
        let records = block.records().map(|record| {
            let record = record.unwrap();
            format!("{}={}", record.offset, String::from_utf8_lossy(&record.value.unwrap()))
        });
        let records: Vec<String> = records.collect();
        let mut visited = Vec::new();
        let end = block.visit(|record| {
            visited.push(format!("{}={}", record.offset, String::from_utf8_lossy(record.value.unwrap())));
            Ok::<(), ()>(())
        });
        assert_eq!(end.unwrap(), Ok(()));
        assert_eq!(visited, records);
        for most in 1..4 {
            let (mut cursor, mut visited, mut more) = (block.records(), Vec::new(), true);
            while more {
                let before = visited.len();
                let seen = cursor.visit_some(most, |record| {
                    visited.push(format!("{}={}", record.offset, String::from_utf8_lossy(record.value.unwrap())));
                    Ok::<(), ()>(())
                });
                more = seen.unwrap().unwrap();
                assert!(visited.len() - before == most || !more && visited.len() - before < most);
            }
            assert_eq!(visited, records);
        }
        records
    }

    #[test]
    fn a_fetch_into_the_middle_of_a_batch_gives_the_rest_of_it() {
        let bytes =
            [batch(0, &["a", "b", "c"], |_| {}), batch(3, &["d"], |options| options.codec = Codec::Lz4)].concat();
        let block = block(1, bytes, Vec::new());
        assert_eq!(block.next_offset, Offset(4));
        assert_eq!(block.lag(), 96);
        assert_eq!(values(&block), ["1=b", "2=c", "3=d"]);
    }

    #[test]
    fn a_cut_tail_is_left_for_the_next_fetch() {
        let mut bytes = [batch(0, &["a"], |_| {}), batch(1, &["b"], |_| {})].concat();
        bytes.truncate(bytes.len() - 1);
        let whole = block(0, bytes.clone(), Vec::new());
        assert_eq!((whole.next_offset, values(&whole)), (Offset(1), vec!["0=a".to_string()]));
        let cut = block(0, batch(0, &["a"], |_| {})[..30].to_vec(), Vec::new());
        assert!(cut.is_cut());
        assert_eq!(cut.next_offset, Offset(0));
    }

    #[test]
    fn a_range_ends_where_it_was_told_to() {
        let mut block = block(0, batch(0, &["a", "b", "c"], |_| {}), Vec::new());
        block.end_at(Offset(2));
        assert_eq!((block.next_offset, values(&block)), (Offset(2), vec!["0=a".to_string(), "1=b".to_string()]));
    }

    #[test]
    fn aborted_transactions_are_left_out_until_their_marker() {
        let of = |producer_id| {
            move |options: &mut BatchOptions| {
                options.producer_id = producer_id;
                options.producer_epoch = 0;
                options.base_sequence = 0;
                options.is_transactional = true;
            }
        };
        let bytes = [
            batch(0, &["aborted"], of(7)),
            batch(1, &["kept"], of(8)),
            batch(2, &["aborted"], of(7)),
            abort_marker(3, 7),
            batch(4, &["next"], of(7)),
        ]
        .concat();
        let aborted = vec![AbortedTransaction { producer_id: 7, first_offset: 0 }];
        let block = block(0, bytes, aborted);
        assert_eq!(values(&block), ["1=kept", "4=next"]);
        assert_eq!(block.next_offset, Offset(5));
    }

    #[test]
    fn a_damaged_record_ends_the_block_with_an_error() {
        let mut bytes = batch(0, &["a", "b"], |_| {});
        *bytes.last_mut().unwrap() ^= 1;
        let block = block(0, bytes, Vec::new());
        let mut records = block.records();
        assert!(matches!(records.next(), Some(Err(ClientError::Malformed { .. }))));
        assert!(records.next().is_none());
        assert!(matches!(block.visit(|_| Ok::<(), ()>(())), Err(ClientError::Malformed { .. })));
    }

    #[test]
    fn a_visitor_ends_the_visit() {
        let block = block(0, batch(0, &["a", "b", "c"], |_| {}), Vec::new());
        let mut seen = 0;
        let end = block.visit(|record| {
            seen += 1;
            if record.offset == Offset(1) { Err("enough") } else { Ok(()) }
        });
        assert_eq!((end.unwrap(), seen), (Err("enough"), 2));
    }
}
