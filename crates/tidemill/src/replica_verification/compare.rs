//! Copies of one part of a log, side by side. Plain functions of the bytes that the replicas sent, which may be anything.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::records::batch::{self, BatchHeader};
use protocol::records::{AnyBatchIter, MAX_DECOMPRESSED_BYTES, Record, RecordsError};
use protocol::types::Offset;

/// Bytes before the length field has said how many follow: offset and length.
const LOG_OVERHEAD: usize = 12;

/// What one replica sent.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Who.
    pub replica: i32,
    /// Its own high watermark: nothing from there on counts.
    pub high_watermark: Offset,
    /// Whole batches, the last one perhaps cut.
    pub bytes: Bytes,
}

/// Something that two replicas do not have alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Where one has a batch, another has one that begins elsewhere. What follows cannot be compared.
    Offsets { first: (i32, i64), other: (i32, i64) },
    /// The checksums of a batch differ, and so its records.
    Checksums { offset: i64, first: (i32, u32), other: (i32, u32) },
    /// Its checksums agree and its bytes do not: what no checksum covers (offset, leader epoch), or damage.
    Bytes { offset: i64, first: i32, other: i32 },
    /// A record of a compacted topic that both have, and not alike.
    Records { offset: i64, first: i32, other: i32 },
}

/// What came of a comparison.
#[derive(Debug, PartialEq, Eq)]
pub struct Compared {
    /// Where to go on; where it began if somebody has nothing yet.
    pub next: Offset,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// A replica whose bytes make no sense.
#[derive(Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Whose.
    pub replica: i32,
    /// What is wrong with them.
    pub why: RecordsError,
}

/// One batch of a log, or one message of before 0.11.
struct Entry {
    base: i64,
    last: i64,
    crc: u32,
    bytes: Bytes,
}

/// Compares the copies batch by batch, each byte of them, as far as all of them go.
pub fn same_bytes(from: Offset, copies: &[Copy]) -> Result<Compared, Damaged> {
    let mut compared = Compared { next: from, differences: Vec::new() };
    let mut rests: Vec<Bytes> = copies.iter().map(|copy| copy.bytes.clone()).collect();
    loop {
        let mut entries = Vec::with_capacity(copies.len());
        for (copy, rest) in copies.iter().zip(&mut rests) {
            let entry = next_entry(rest).map_err(|why| Damaged { replica: copy.replica, why })?;
            match entry.filter(|entry| entry.last < copy.high_watermark.0) {
                Some(entry) => entries.push((copy.replica, entry)),
                None => return Ok(compared),
            }
        }
        let Some(((first, one), others)) = entries.split_first() else { return Ok(compared) };
        for (other, two) in others {
            if (one.base, one.last) != (two.base, two.last) {
                let differing = |entry: &Entry, with: &Entry| {
                    if entry.base == with.base { entry.last } else { entry.base }
                };
                let (first, other) = ((*first, differing(one, two)), (*other, differing(two, one)));
                compared.differences.push(Difference::Offsets { first, other });
                return Ok(compared);
            }
            let offset = one.base;
            if one.crc != two.crc {
                let (first, other) = ((*first, one.crc), (*other, two.crc));
                compared.differences.push(Difference::Checksums { offset, first, other });
            } else if one.bytes != two.bytes {
                compared.differences.push(Difference::Bytes { offset, first: *first, other: *other });
            }
        }
        compared.next = Offset(one.last.saturating_add(1)).max(compared.next);
    }
}

/// Compares the records that all of the copies have, for a topic that each broker compacts at its own time.
pub fn same_records(from: Offset, copies: &[Copy]) -> Result<Compared, Damaged> {
    let mut compared = Compared { next: from, differences: Vec::new() };
    let mut end = i64::MAX;
    let mut read = Vec::with_capacity(copies.len());
    for copy in copies {
        let damaged = |why| Damaged { replica: copy.replica, why };
        let (mut records, mut covered) = (BTreeMap::new(), from.0);
        for batch in AnyBatchIter::new(copy.bytes.clone(), MAX_DECOMPRESSED_BYTES) {
            let batch = batch.map_err(damaged)?;
            for record in batch.records(MAX_DECOMPRESSED_BYTES).map_err(damaged)? {
                let record = record.map_err(damaged)?;
                records.insert(record.offset.0, record);
            }
            covered = batch.header.next_offset().0;
        }
        end = end.min(covered).min(copy.high_watermark.0);
        read.push((copy.replica, records));
    }
    if end <= from.0 || end == i64::MAX {
        return Ok(compared);
    }
    let offsets: BTreeSet<i64> =
        read.iter().flat_map(|(_, records)| records.range(from.0..end)).map(|(o, _)| *o).collect();
    for offset in offsets {
        let mut holders = read.iter().filter_map(|(replica, records)| Some((*replica, records.get(&offset)?)));
        let Some((first, one)): Option<(i32, &Record)> = holders.next() else { continue };
        for (other, _) in holders.filter(|(_, two)| *two != one) {
            compared.differences.push(Difference::Records { offset, first, other });
        }
    }
    compared.next = Offset(end);
    Ok(compared)
}

/// The next whole batch; `None` at the end or at one that is cut.
fn next_entry(rest: &mut Bytes) -> Result<Option<Entry>, RecordsError> {
    let size = match batch::peek_size(rest)? {
        Some(size) if size <= rest.len() => size,
        _ => return Ok(None),
    };
    let bytes = rest.split_to(size);
    if batch::peek_magic(&bytes) == Some(batch::MAGIC_V2) {
        let header = BatchHeader::parse(&bytes)?;
        return Ok(Some(Entry { base: header.base_offset.0, last: header.last_offset().0, crc: header.crc, bytes }));
    }
    // Messages v0 and v1 say one offset, and their checksum stands behind the length.
    let cut = || RecordsError::Corrupt("a message is cut short");
    let offset = i64::from_be_bytes(*bytes.first_chunk::<8>().ok_or_else(cut)?);
    let crc = bytes.get(LOG_OVERHEAD..).and_then(<[u8]>::first_chunk::<4>).ok_or_else(cut)?;
    Ok(Some(Entry { base: offset, last: offset, crc: u32::from_be_bytes(*crc), bytes }))
}

#[cfg(test)]
mod tests {
    use protocol::records::{BatchBuilder, BatchOptions};
    use protocol::types::LeaderEpoch;

    use super::*;

    fn batch(base: i64, epoch: i32, values: &[&str]) -> Vec<u8> {
        let options = BatchOptions {
            base_offset: Offset(base),
            partition_leader_epoch: LeaderEpoch(epoch),
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options);
        for value in values {
            builder.append(7, None, Some(value.as_bytes()), None).unwrap();
        }
        builder.build_vec().unwrap()
    }

    /// A batch of which compaction has left the records at these offsets.
    fn compacted(base: i64, records: &[(i64, &str)]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions { base_offset: Offset(base), ..BatchOptions::default() });
        for (offset, value) in records {
            let delta = i32::try_from(offset - base).unwrap();
            builder.append_at(delta, 7, None, Some(value.as_bytes()), None).unwrap();
        }
        builder.build_vec().unwrap()
    }

    fn copies(parts: &[(i64, Vec<u8>)]) -> Vec<Copy> {
        let copy = |(replica, (high_watermark, bytes)): (usize, &(i64, Vec<u8>))| Copy {
            replica: replica as i32,
            high_watermark: Offset(*high_watermark),
            bytes: bytes.clone().into(),
        };
        parts.iter().enumerate().map(copy).collect()
    }

    #[track_caller]
    fn check(parts: &[(i64, Vec<u8>)], next: i64, differences: &[Difference]) {
        let expected = Compared { next: Offset(next), differences: differences.to_vec() };
        assert_eq!(same_bytes(Offset(0), &copies(parts)).unwrap(), expected);
    }

    #[test]
    fn copies_are_compared_as_far_as_all_of_them_go() {
        let log = [batch(0, 0, &["a", "b"]), batch(2, 0, &["c"]), batch(3, 1, &["d"])].concat();
        let cut = log[..log.len() - 1].to_vec();
        check(&[(4, log.clone()), (4, log.clone()), (4, log.clone())], 4, &[]);
        check(&[(4, log.clone()), (3, log.clone())], 3, &[]);
        check(&[(4, log.clone()), (4, cut)], 3, &[]);
        check(&[(4, log.clone()), (4, Vec::new())], 0, &[]);
        check(&[(4, log)], 4, &[]);
    }

    #[test]
    fn every_byte_counts() {
        let log = |epoch, last| [batch(0, 0, &["a"]), batch(1, epoch, &[last])].concat();
        check(&[(2, log(0, "b")), (2, log(1, "b"))], 2, &[Difference::Bytes { offset: 1, first: 0, other: 1 }]);
        let crc = |value| BatchHeader::parse(&batch(1, 0, &[value])).unwrap().crc;
        let checksums = Difference::Checksums { offset: 1, first: (0, crc("b")), other: (2, crc("x")) };
        check(&[(2, log(0, "b")), (2, log(0, "b")), (2, log(0, "x"))], 2, &[checksums]);
        let gap = [batch(0, 0, &["a"]), batch(5, 0, &["b"])].concat();
        check(&[(9, log(0, "b")), (9, gap)], 1, &[Difference::Offsets { first: (0, 1), other: (1, 5) }]);
        let longer = [batch(0, 0, &["a"]), batch(1, 0, &["b", "c"])].concat();
        check(&[(9, log(0, "b")), (9, longer)], 1, &[Difference::Offsets { first: (0, 1), other: (1, 2) }]);
    }

    #[test]
    fn above_a_high_watermark_replicas_may_differ() {
        let log = |last| [batch(0, 0, &["a"]), batch(1, 0, &[last])].concat();
        check(&[(1, log("b")), (1, log("x"))], 1, &[]);
    }

    #[test]
    fn compacted_logs_agree_where_both_have_a_record() {
        let whole = compacted(0, &[(0, "a"), (1, "b"), (2, "c"), (3, "d")]);
        let cleaned = compacted(0, &[(2, "c"), (3, "d")]);
        let other = compacted(0, &[(2, "x"), (3, "d")]);
        let check = |parts: &[(i64, Vec<u8>)], next: i64, differences: &[Difference]| {
            let expected = Compared { next: Offset(next), differences: differences.to_vec() };
            assert_eq!(same_records(Offset(0), &copies(parts)).unwrap(), expected);
        };
        check(&[(4, whole.clone()), (4, cleaned.clone())], 4, &[]);
        check(&[(4, whole.clone()), (3, cleaned)], 3, &[]);
        check(&[(4, whole.clone()), (4, other.clone())], 4, &[Difference::Records { offset: 2, first: 0, other: 1 }]);
        check(&[(4, whole.clone()), (2, other)], 2, &[]);
        check(&[(4, whole), (4, Vec::new())], 0, &[]);
    }

    #[test]
    fn damage_is_named_and_nothing_panics() {
        let mut bytes = batch(0, 0, &["a"]);
        bytes[11] = 0;
        let damaged = same_bytes(Offset(0), &copies(&[(1, batch(0, 0, &["a"])), (1, bytes.clone())])).unwrap_err();
        assert_eq!(damaged.replica, 1);
        assert!(same_records(Offset(0), &copies(&[(1, bytes)])).is_err());
        let noise: Vec<u8> = (0..400_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for start in 0..200 {
            let parts = copies(&[(i64::MAX, noise[start..].to_vec())]);
            let _ = same_bytes(Offset(0), &parts);
            let _ = same_records(Offset(0), &parts);
        }
    }
}
