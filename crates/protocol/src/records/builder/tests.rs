use super::super::{Headers, RecordBatch};
use super::*;

fn parse(bytes: Bytes) -> RecordBatch {
    let batch = RecordBatch::parse(&bytes).unwrap();
    assert_eq!(batch.bytes.len(), bytes.len());
    batch.verify_crc().unwrap();
    batch
}

const LIMIT: usize = 1024 * 1024;

#[test]
fn records_come_back_with_every_codec() {
    let headers = Headers::encode([(&b"trace"[..], Some(&b"1"[..])), (b"trace", None), (b"", Some(b""))]).unwrap();
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
        for i in 0..100i64 {
            let key = (i % 3 != 0).then(|| format!("key {i}"));
            let value = (i % 5 != 0).then(|| "hello hadoop ".repeat(i as usize));
            let headers = (i % 7 == 0).then(|| headers.as_ref());
            let delta = builder
                .append(5_000 - i, key.as_deref().map(str::as_bytes), value.as_deref().map(str::as_bytes), headers)
                .unwrap();
            assert_eq!(i64::from(delta), i);
        }
        let upper_bound = builder.uncompressed_size();
        let batch = parse(builder.build().unwrap());
        assert!(batch.bytes.len() <= upper_bound);
        assert_eq!(batch.header.check_from_producer(), Ok(()));
        assert_eq!(batch.header.codec(), codec);
        assert_eq!((batch.header.base_timestamp, batch.header.max_timestamp), (5_000, 5_000));
        let records: Vec<_> = batch.records(LIMIT).unwrap().map(Result::unwrap).collect();
        assert_eq!(records.len(), 100);
        for (i, record) in records.iter().enumerate() {
            assert_eq!((record.offset, record.timestamp), (Offset(i as i64), 5_000 - i as i64));
            assert_eq!(record.key.is_some(), i % 3 != 0);
            assert_eq!(record.value.as_ref().map(Bytes::len), (i % 5 != 0).then_some(13 * i));
            assert_eq!(record.headers.len(), if i % 7 == 0 { 3 } else { 0 });
        }
        let second = records[7].headers.iter().nth(1).unwrap();
        assert_eq!((&second.key[..], second.value), (&b"trace"[..], None));
        assert_eq!(records[7].headers.last("trace").unwrap().value, None);
    }
}

#[test]
fn offsets_may_have_gaps_but_never_fall() {
    let mut builder = BatchBuilder::new(BatchOptions { base_offset: Offset(100), ..BatchOptions::default() });
    builder.append_at(3, 0, None, Some(b"a"), None).unwrap();
    builder.append_at(9, 0, None, Some(b"b"), None).unwrap();
    assert!(builder.append_at(9, 0, None, Some(b"c"), None).is_err());
    builder.set_last_offset_delta(12);
    let batch = parse(builder.build().unwrap());
    assert_eq!((batch.header.last_offset(), batch.header.next_offset()), (Offset(112), Offset(113)));
    assert!(batch.header.check_from_producer().is_err());
    let offsets: Vec<_> = batch.records(LIMIT).unwrap().map(|record| record.unwrap().offset.0).collect();
    assert_eq!(offsets, [103, 109]);
}

#[test]
fn a_batch_can_lose_all_its_records() {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec: Codec::Gzip,
        base_offset: Offset(7),
        producer_id: 9,
        producer_epoch: 1,
        base_sequence: 40,
        ..BatchOptions::default()
    });
    builder.set_last_offset_delta(4);
    let batch = parse(builder.build().unwrap());
    assert_eq!((batch.header.last_offset(), batch.header.last_sequence()), (Offset(11), 44));
    assert_eq!(batch.records(LIMIT).unwrap().count(), 0);
}

#[test]
fn the_append_time_is_the_time_of_all_records() {
    let mut builder = BatchBuilder::new(BatchOptions { log_append_time: Some(77), ..BatchOptions::default() });
    builder.append(1, None, None, None).unwrap();
    builder.append(2, None, None, None).unwrap();
    let batch = parse(builder.build().unwrap());
    assert_eq!(batch.header.timestamp_type(), TimestampType::LogAppendTime);
    let times: Vec<_> = batch.records(LIMIT).unwrap().map(|record| record.unwrap().timestamp).collect();
    assert_eq!(times, [77, 77]);
}

#[test]
fn timestamps_count_from_the_delete_horizon() {
    let options = BatchOptions { delete_horizon_ms: Some(1_000), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options.clone());
    builder.append(400, Some(b"k"), None, None).unwrap();
    let batch = parse(builder.build().unwrap());
    assert_eq!(batch.header.delete_horizon_ms(), Some(1_000));
    assert_eq!(batch.records(LIMIT).unwrap().next().unwrap().unwrap().timestamp, 400);
    assert_eq!(BatchOptions::like(&batch.header), options);
}

#[test]
fn markers_are_control_records() {
    for marker in [ControlMarker::Commit { coordinator_epoch: 7 }, ControlMarker::Abort { coordinator_epoch: 0 }] {
        let mut builder = BatchBuilder::new(BatchOptions {
            is_control: true,
            is_transactional: true,
            producer_id: 5,
            producer_epoch: 0,
            ..BatchOptions::default()
        });
        builder.append_marker(1, marker).unwrap();
        let batch = parse(builder.build().unwrap());
        assert_eq!(batch.control_marker(), Ok(Some(marker)));
        assert!(batch.header.check_from_producer().is_err());
    }
}

#[test]
fn sizes_are_bounded_before_a_record_is_written() {
    let value = vec![b'x'; 300];
    let bound = BatchBuilder::record_size_upper_bound(None, Some(&value), None);
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let before = builder.uncompressed_size();
    builder.append(i64::MIN, None, Some(&value), None).unwrap();
    builder.append(i64::MAX, None, Some(&value), None).unwrap();
    assert!(builder.uncompressed_size() - before <= 2 * bound);
    let batch = parse(builder.build().unwrap());
    let times: Vec<_> = batch.records(LIMIT).unwrap().map(|record| record.unwrap().timestamp).collect();
    assert_eq!(times, [i64::MIN, i64::MAX]);
}
