use super::super::{BatchBuilder, BatchOptions, MAX_DECOMPRESSED_BYTES, NO_SEQUENCE};
use super::header::{
    ATTRIBUTES_AT, CONTROL_BIT, DELETE_HORIZON_BIT, LOG_APPEND_TIME_BIT, TRANSACTIONAL_BIT, write_crc,
};
use super::*;
use crate::types::{LeaderEpoch, Offset};

fn batch(base_offset: i64, values: &[&str], codec: Codec) -> Vec<u8> {
    let options = BatchOptions { codec, base_offset: Offset(base_offset), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    for (i, value) in values.iter().enumerate() {
        builder.append(1_000 + i as i64, Some(b"k"), Some(value.as_bytes()), None).unwrap();
    }
    builder.build_vec().unwrap()
}

#[test]
fn a_header_says_what_the_bytes_say() {
    // Written by hand from the layout at the top of the module: one record "hello" at offset 3.
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&3i64.to_be_bytes());
    bytes.extend_from_slice(&61i32.to_be_bytes());
    bytes.extend_from_slice(&9i32.to_be_bytes());
    bytes.push(2);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&0i16.to_be_bytes());
    bytes.extend_from_slice(&0i32.to_be_bytes());
    bytes.extend_from_slice(&1_000i64.to_be_bytes());
    bytes.extend_from_slice(&1_000i64.to_be_bytes());
    bytes.extend_from_slice(&(-1i64).to_be_bytes());
    bytes.extend_from_slice(&(-1i16).to_be_bytes());
    bytes.extend_from_slice(&(-1i32).to_be_bytes());
    bytes.extend_from_slice(&1i32.to_be_bytes());
    bytes.extend_from_slice(&[22, 0, 0, 0, 1, 10, b'h', b'e', b'l', b'l', b'o', 0]);
    assert!(matches!(verify_crc(&bytes), Err(RecordsError::CrcMismatch { stored: 0, .. })));
    write_crc(&mut bytes);

    let parsed = RecordBatch::parse(&Bytes::from(bytes)).unwrap();
    parsed.verify_crc().unwrap();
    let header = parsed.header;
    assert_eq!((header.base_offset, header.last_offset(), header.size()), (Offset(3), Offset(3), 73));
    assert_eq!((header.partition_leader_epoch, header.records_count), (LeaderEpoch(9), 1));
    assert_eq!((header.has_producer_id(), header.last_sequence()), (false, NO_SEQUENCE));
    let records: Vec<_> = parsed.records(0).unwrap().map(Result::unwrap).collect();
    let expected = Record {
        offset: Offset(3),
        timestamp: 1_000,
        key: None,
        value: Some(Bytes::from_static(b"hello")),
        headers: Headers::default(),
    };
    assert_eq!(records, [expected]);
}

#[test]
fn the_builder_writes_the_same_bytes_as_the_layout() {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(3),
        partition_leader_epoch: LeaderEpoch(9),
        ..BatchOptions::default()
    });
    builder.append(1_000, None, Some(b"hello"), None).unwrap();
    let bytes = builder.build().unwrap();
    assert_eq!(bytes[HEADER_LEN..], [22, 0, 0, 0, 1, 10, b'h', b'e', b'l', b'l', b'o', 0]);
    assert_eq!(bytes.len(), 73);
}

/// Changes one field of a good batch of two records and expects a refusal.
fn check_refused(at: usize, field: &[u8], message: &str) {
    let mut bytes = batch(0, &["a", "b"], Codec::None);
    bytes[at..at + field.len()].copy_from_slice(field);
    let error = BatchHeader::parse(&bytes).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    check_refused(8, &48i32.to_be_bytes(), "smaller than a batch header");
    check_refused(8, &(-1i32).to_be_bytes(), "smaller than a batch header");
    check_refused(16, &[1], "magic 1");
    check_refused(16, &[0xff], "magic -1");
    check_refused(21, &5i16.to_be_bytes(), "unknown compression type 5");
    check_refused(23, &(-1i32).to_be_bytes(), "last offset delta is negative");
    check_refused(57, &(-1i32).to_be_bytes(), "record count is negative");
    check_refused(57, &3i32.to_be_bytes(), "more records than offsets");
    check_refused(0, &i64::MAX.to_be_bytes(), "beyond 2^63");
    let mut bytes = batch(0, &["a"], Codec::None);
    bytes[23..27].copy_from_slice(&i32::MAX.to_be_bytes());
    bytes[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(matches!(BatchHeader::parse(&bytes), Err(RecordsError::Corrupt(_))));
    assert!(matches!(BatchHeader::parse(&bytes[..60]), Err(RecordsError::Truncated { needed: 61, .. })));
}

#[test]
fn producers_must_fill_every_offset_and_name_their_sequence() {
    let check = |patch: &dyn Fn(&mut BatchHeader), message: &str| {
        let mut header = BatchHeader::parse(&batch(0, &["a", "b"], Codec::None)).unwrap();
        header.check_from_producer().unwrap();
        patch(&mut header);
        let error = header.check_from_producer().unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    };
    check(&|header| header.records_count = 1, "offset range");
    check(&|header| header.records_count = 0, "without records");
    check(&|header| header.attributes |= CONTROL_BIT, "control records");
    check(&|header| header.attributes |= LOG_APPEND_TIME_BIT, "LogAppendTime");
    check(&|header| header.attributes |= DELETE_HORIZON_BIT, "delete horizon");
    check(&|header| header.producer_id = 1, "sequence");
    check(&|header| header.attributes |= TRANSACTIONAL_BIT, "producer id");
}

#[test]
fn patches_keep_the_crc_right() {
    let mut bytes = batch(0, &["a", "b"], Codec::Lz4);
    set_base_offset(&mut bytes, Offset(500));
    set_partition_leader_epoch(&mut bytes, LeaderEpoch(4));
    verify_crc(&bytes).unwrap();
    set_append_time(&mut bytes, 9_999);
    set_producer_state(&mut bytes, 12, 3, 70);
    verify_crc(&bytes).unwrap();
    let parsed = RecordBatch::parse(&Bytes::from(bytes.clone())).unwrap();
    assert_eq!((parsed.header.base_offset, parsed.header.partition_leader_epoch), (Offset(500), LeaderEpoch(4)));
    assert_eq!((parsed.header.timestamp_type(), parsed.header.max_timestamp), (TimestampType::LogAppendTime, 9_999));
    assert_eq!((parsed.header.producer_id, parsed.header.producer_epoch, parsed.header.last_sequence()), (12, 3, 71));
    let seen: Vec<_> = parsed.records(1_000).unwrap().map(Result::unwrap).map(|r| (r.offset.0, r.timestamp)).collect();
    assert_eq!(seen, [(500, 9_999), (501, 9_999)]);
    set_max_timestamp(&mut bytes, TimestampType::CreateTime, 1_001);
    verify_crc(&bytes).unwrap();
    assert_eq!(BatchHeader::parse(&bytes).unwrap().timestamp_type(), TimestampType::CreateTime);
}

#[test]
fn any_flipped_bit_behind_the_crc_is_noticed() {
    let good = batch(0, &["hello storm"], Codec::None);
    for at in ATTRIBUTES_AT..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(verify_crc(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn iteration_stops_before_a_cut_batch() {
    let mut bytes = batch(0, &["a", "b"], Codec::None);
    bytes.extend(batch(2, &["c"], Codec::Zstd));
    let whole = bytes.len();
    bytes.extend(batch(3, &["d"], Codec::None));
    for cut in [whole, whole + 1, whole + 11, whole + 12, whole + 40, bytes.len() - 1] {
        let mut iter = BatchIter::new(Bytes::copy_from_slice(&bytes[..cut]));
        let offsets: Vec<_> = iter.by_ref().map(|batch| batch.unwrap().header.last_offset().0).collect();
        assert_eq!(offsets, [1, 2]);
        assert_eq!(iter.rest().len(), cut - whole);
    }
    assert_eq!(BatchIter::new(Bytes::from(bytes)).count(), 3);
}

#[test]
fn iteration_ends_with_the_first_error() {
    let mut bytes = batch(0, &["a"], Codec::None);
    bytes[8..12].copy_from_slice(&20i32.to_be_bytes());
    let mut iter = BatchIter::new(Bytes::from(bytes));
    assert!(matches!(iter.next(), Some(Err(RecordsError::Corrupt(_)))));
    assert!(iter.next().is_none());
}

#[test]
fn damaged_records_are_errors() {
    let check = |at: usize, byte: u8| {
        let mut bytes = batch(0, &["a", "b"], Codec::None);
        bytes[HEADER_LEN + at] = byte;
        let parsed = RecordBatch::parse(&Bytes::from(bytes)).unwrap();
        let results: Vec<_> = parsed.records(1_000).unwrap().collect();
        assert!(results.last().unwrap().is_err(), "byte {at} = {byte}: {results:?}");
        assert!(results[..results.len() - 1].iter().all(Result::is_ok));
    };
    check(0, 1); // a negative length
    check(0, 0x7e); // longer than the batch
    check(0, 20); // takes bytes of its neighbour
    check(3, 2); // first offset delta 1: the second does not rise
    check(3, 4); // beyond the batch's range
    check(4, 0x7e); // a key longer than the record
    check(8, 2); // a header count without headers
    // A count that does not reach the end.
    let mut bytes = batch(0, &["a", "b"], Codec::None);
    bytes[57..61].copy_from_slice(&1i32.to_be_bytes());
    let last = RecordBatch::parse(&Bytes::from(bytes)).unwrap().records(1_000).unwrap().last();
    assert_eq!(last, Some(Err(RecordsError::Corrupt("bytes follow the last record of a batch"))));
}

#[test]
fn a_bomb_stops_at_the_callers_limit() {
    let mut builder = BatchBuilder::new(BatchOptions { codec: Codec::Zstd, ..BatchOptions::default() });
    builder.append(0, None, Some(&vec![0; 32 * 1024 * 1024]), None).unwrap();
    let parsed = RecordBatch::parse(&builder.build().unwrap()).unwrap();
    assert!(parsed.bytes.len() < 10_000);
    let limit = 1024 * 1024;
    assert_eq!(parsed.records(limit).err(), Some(RecordsError::TooLarge { codec: Codec::Zstd, limit }));
    assert_eq!(parsed.records(MAX_DECOMPRESSED_BYTES).unwrap().count(), 1);
}

#[test]
fn sequences_wrap_to_zero() {
    assert_eq!(increment_sequence(i32::MAX, 1), 0);
    assert_eq!(increment_sequence(i32::MAX - 1, 3), 1);
    assert_eq!(increment_sequence(5, 3), 8);
}
