use super::*;

const LIMIT: usize = 16 * 1024 * 1024;

fn plain(magic: i8, offset: i64, timestamp: i64, key: Option<&str>, value: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let body = MessageBody { codec: Codec::None, timestamp_type: TimestampType::CreateTime, timestamp };
    write_message(&mut out, Offset(offset), magic, &body, key.map(str::as_bytes), value.map(str::as_bytes)).unwrap();
    out
}

fn wrapper(magic: i8, offset: i64, codec: Codec, timestamp_type: TimestampType, set: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    compression::compress(codec, magic, None, set, &mut packed).unwrap();
    let mut out = Vec::new();
    let body = MessageBody { codec, timestamp_type, timestamp: 900 };
    write_message(&mut out, Offset(offset), magic, &body, None, Some(&packed)).unwrap();
    out
}

/// Offset, timestamp and value of all records of batches v2.
fn seen(batches: impl IntoIterator<Item = Result<RecordBatch, RecordsError>>) -> Vec<(i64, i64, Option<String>)> {
    let mut seen = Vec::new();
    for batch in batches {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        for record in batch.records(LIMIT).unwrap() {
            let record = record.unwrap();
            let value = record.value.map(|value| String::from_utf8(value.to_vec()).unwrap());
            seen.push((record.offset.0, record.timestamp, value));
        }
    }
    seen
}

fn row(offset: i64, timestamp: i64, value: &str) -> (i64, i64, Option<String>) {
    (offset, timestamp, Some(value.to_owned()))
}

#[test]
fn a_message_is_laid_out_as_kafka_08_did() {
    // Offset 5, 19 bytes, CRC-32, magic 0, no codec, no key, "hello".
    let bytes = plain(0, 5, 0, None, Some("hello"));
    let mut expected = vec![0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 19];
    let body = [&[0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 5][..], b"hello"].concat();
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &body) as u32;
    expected.extend(crc.to_be_bytes());
    expected.extend(&body);
    assert_eq!(bytes, expected);
    let v1 = plain(1, 7, 1_000, Some("k"), None);
    let message = MessageSetIter::new(Bytes::from(v1)).next().unwrap().unwrap();
    assert_eq!((message.offset, message.timestamp, message.value), (Offset(7), 1_000, None));
    assert_eq!(message.key.as_deref(), Some(&b"k"[..]));
}

#[test]
fn producers_sets_become_one_batch_numbered_from_zero() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
        for magic in [0, 1] {
            let inner = [plain(magic, 0, 5, None, Some("b")), plain(magic, 1, 6, None, Some("c"))].concat();
            let mut set = plain(magic, 77, 4, Some("k"), Some("a"));
            set.extend(wrapper(magic, 1, codec, TimestampType::CreateTime, &inner));
            let whole = set.len();
            set.extend(plain(magic, 0, 0, None, Some("cut")));
            set.truncate(whole + 20);
            let batch = RecordBatch::parse(&Bytes::from(up_convert(Bytes::from(set), LIMIT).unwrap())).unwrap();
            assert_eq!(batch.header.codec(), codec);
            batch.header.check_from_producer().unwrap();
            let times = if magic == 0 { [-1, -1, -1] } else { [4, 5, 6] };
            assert_eq!(seen([Ok(batch)]), [row(0, times[0], "a"), row(1, times[1], "b"), row(2, times[2], "c")]);
        }
    }
    assert_eq!(up_convert(Bytes::new(), LIMIT), Ok(Vec::new()));
    let cut = plain(0, 0, 0, None, Some("cut"));
    assert_eq!(up_convert(Bytes::copy_from_slice(&cut[..cut.len() - 1]), LIMIT), Ok(Vec::new()));
}

#[test]
fn producers_may_not_claim_an_append_time() {
    let inner = plain(1, 0, 5, None, Some("b"));
    let set = wrapper(1, 0, Codec::Gzip, TimestampType::LogAppendTime, &inner);
    assert!(matches!(up_convert(Bytes::from(set), LIMIT), Err(RecordsError::InvalidTimestamp(_))));
}

#[test]
fn old_logs_are_read_at_their_offsets() {
    // v0: absolute inner offsets. v1: relative ones, even after compaction left holes.
    let v0_inner = [plain(0, 10, 0, None, Some("a")), plain(0, 12, 0, None, Some("b"))].concat();
    let v1_inner = [plain(1, 0, 21, None, Some("c")), plain(1, 3, 22, None, Some("d"))].concat();
    let mut log = plain(0, 8, 0, None, Some("first"));
    log.extend(plain(0, 9, 0, Some("k"), None));
    log.extend(wrapper(0, 12, Codec::Gzip, TimestampType::CreateTime, &v0_inner));
    log.extend(wrapper(1, 23, Codec::Snappy, TimestampType::CreateTime, &v1_inner));
    log.extend(wrapper(1, 33, Codec::Lz4, TimestampType::LogAppendTime, &v1_inner));
    log.extend(plain(1, 40, 41, None, Some("e")));
    let mut builder = BatchBuilder::new(BatchOptions { base_offset: Offset(50), ..BatchOptions::default() });
    builder.append(51, None, Some(b"new"), None).unwrap();
    log.extend(builder.build_vec().unwrap());
    let mut iter = AnyBatchIter::new(Bytes::from(log), LIMIT);
    let expected = [
        row(8, -1, "first"),
        (9, -1, None),
        row(10, -1, "a"),
        row(12, -1, "b"),
        row(20, 21, "c"),
        row(23, 22, "d"),
        row(30, 900, "c"),
        row(33, 900, "d"),
        row(40, 41, "e"),
        row(50, 51, "new"),
    ];
    assert_eq!(seen(iter.by_ref()), expected);
    assert!(iter.rest().is_empty());
}

#[test]
fn gathering_stops_at_damage_and_then_reports_it() {
    let mut log = [plain(1, 0, 5, None, Some("a")), plain(1, 1, 5, None, Some("b"))].concat();
    let whole = log.len();
    log.extend(plain(1, 2, 5, None, Some("c")));
    log[whole + 20] ^= 1;
    let mut iter = AnyBatchIter::new(Bytes::from(log), LIMIT);
    assert_eq!(iter.next().unwrap().unwrap().header.records_count, 2);
    assert!(matches!(iter.next(), Some(Err(RecordsError::CrcMismatch { .. }))));
    assert!(iter.next().is_none());
}

fn check_refused(set: Vec<u8>, message: &str) {
    for result in [
        up_convert(Bytes::from(set.clone()), 1024 * 1024).map(drop),
        AnyBatchIter::new(Bytes::from(set), 1024 * 1024).try_for_each(|batch| batch.map(drop)),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn damaged_sets_are_refused() {
    let gzip = |inner: &[u8]| wrapper(1, 9, Codec::Gzip, TimestampType::CreateTime, inner);
    let inner = plain(1, 0, 0, None, Some("a"));
    check_refused(gzip(&gzip(&inner)), "holds a compressed message set");
    check_refused(gzip(&gzip(&gzip(&gzip(&inner)))), "holds a compressed message set");
    check_refused(gzip(b""), "is empty");
    check_refused(gzip(&inner[..inner.len() - 1]), "cut short");
    check_refused(gzip(&plain(0, 0, 0, None, Some("a"))), "another format");
    check_refused(gzip(&plain(1, 0, 0, None, Some(&"x".repeat(2 * 1024 * 1024)))), "unpacks to more");
    let mut bad = plain(0, 0, 0, None, Some("a"));
    bad[20] ^= 1;
    check_refused(bad, "crc");
    let mut negative = plain(0, 0, 0, None, Some("a"));
    negative[8] = 0xff;
    check_refused(negative, "negative");
    let mut short = plain(0, 0, 0, None, Some("a"));
    short[8..12].copy_from_slice(&13i32.to_be_bytes());
    check_refused(short, "smaller than its fixed part");
}

fn v2(codec: Codec, base_offset: i64, log_append_time: Option<i64>) -> Vec<u8> {
    let headers = super::super::Headers::encode([(&b"h"[..], None)]).unwrap();
    let options = BatchOptions { codec, base_offset: Offset(base_offset), log_append_time, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    for (i, value) in ["a", "b", "c"].into_iter().enumerate() {
        let timestamp = 100 + i as i64;
        builder.append_at(2 * i as i32, timestamp, Some(b"k"), Some(value.as_bytes()), Some(headers.as_ref())).unwrap();
    }
    builder.build_vec().unwrap()
}

#[test]
fn old_fetchers_get_the_same_records_without_headers() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
        for magic in [0, 1] {
            let mut log = v2(codec, 10, None);
            log.extend(v2(codec, 20, Some(7)));
            let whole = log.len();
            log.extend(v2(codec, 30, None));
            log.truncate(whole + 50);
            let set = Bytes::from(down_convert(Bytes::from(log), magic, Offset(12), LIMIT).unwrap());
            let shallow = MessageSetIter::new(set.clone()).map(|message| message.unwrap()).collect::<Vec<_>>();
            assert!(shallow.iter().all(|message| message.magic == magic && message.codec == codec));
            let times = if magic == 0 { [-1; 6] } else { [100, 101, 102, 7, 7, 7] };
            let values = ["a", "b", "c", "a", "b", "c"];
            let offsets = [10, 12, 14, 20, 22, 24];
            let mut expected: Vec<_> = (0..6).map(|i| row(offsets[i], times[i], values[i])).collect();
            if codec == Codec::None {
                // What lies before the offset asked for is left out only where that needs no repacking.
                expected.remove(0);
            }
            assert_eq!(seen(AnyBatchIter::new(set, LIMIT)), expected, "{codec} magic {magic}");
        }
    }
}

#[test]
fn markers_never_reach_old_fetchers_and_zstd_is_refused() {
    let mut builder = BatchBuilder::new(BatchOptions { is_control: true, ..BatchOptions::default() });
    builder.append_marker(0, batch::ControlMarker::Commit { coordinator_epoch: 1 }).unwrap();
    let marker = Bytes::from(builder.build_vec().unwrap());
    assert_eq!(down_convert(marker, 1, Offset(0), LIMIT), Ok(Vec::new()));
    let zstd = Bytes::from(v2(Codec::Zstd, 0, None));
    let refused = RecordsError::NotRepresentable { magic: 0, what: "zstd" };
    assert_eq!(down_convert(zstd, 0, Offset(0), LIMIT), Err(refused));
}

#[test]
fn old_batches_pass_to_old_fetchers_as_they_are() {
    let inner = [plain(1, 0, 21, None, Some("c")), plain(1, 3, 22, None, Some("d"))].concat();
    let log =
        [plain(1, 8, 5, None, Some("a")), wrapper(1, 20, Codec::Gzip, TimestampType::CreateTime, &inner)].concat();
    assert_eq!(down_convert(Bytes::from(log.clone()), 1, Offset(0), LIMIT).unwrap(), log);
    let v0 = Bytes::from(down_convert(Bytes::from(log), 0, Offset(0), LIMIT).unwrap());
    assert!(MessageSetIter::new(v0.clone()).all(|message| message.unwrap().magic == 0));
    assert_eq!(seen(AnyBatchIter::new(v0, LIMIT)), [row(8, -1, "a"), row(17, -1, "c"), row(20, -1, "d")]);
}
