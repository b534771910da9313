//! Bytes that kafka-python 3.0.12 wrote with `MemoryRecordsBuilder`, one file per format and codec: 20 records, the same in each.

use bytes::Bytes;
use tidemill_protocol::records::{AnyBatchIter, Codec, MAX_DECOMPRESSED_BYTES, up_convert};
use tidemill_protocol::types::Offset;

fn read(magic: i8, codec: Codec) -> Bytes {
    let path = format!("{}/testdata/kafka-python/v{magic}_{codec}.bin", env!("CARGO_MANIFEST_DIR"));
    Bytes::from(std::fs::read(&path).unwrap_or_else(|error| panic!("read {path}: {error}")))
}

fn check(magic: i8, set: Bytes, expected_codec: Option<Codec>) {
    let mut next = 0;
    let mut iter = AnyBatchIter::new(set, MAX_DECOMPRESSED_BYTES);
    for batch in iter.by_ref() {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        batch.header.check_from_producer().unwrap();
        if let Some(codec) = expected_codec {
            assert_eq!(batch.header.codec(), codec);
        }
        for record in batch.records(MAX_DECOMPRESSED_BYTES).unwrap() {
            let record = record.unwrap();
            let i = next;
            assert_eq!(record.offset, Offset(i));
            assert_eq!(record.timestamp, if magic == 0 { -1 } else { 1_700_000_000_000 + i });
            let key = (i % 3 != 0).then(|| format!("key {i}"));
            let value = (i % 5 != 0).then(|| "hello hadoop ".repeat(i as usize));
            assert_eq!(record.key.as_deref(), key.as_deref().map(str::as_bytes));
            assert_eq!(record.value.as_deref(), value.as_deref().map(str::as_bytes));
            let headers: Vec<_> = record.headers.iter().map(|header| (header.key, header.value)).collect();
            if magic == 2 && i % 7 == 0 {
                assert_eq!(headers, [(Bytes::from("h"), Some(Bytes::from("v"))), (Bytes::from("n"), None)]);
            } else {
                assert_eq!(headers, []);
            }
            next += 1;
        }
    }
    assert_eq!((next, iter.rest().len()), (20, 0));
}

#[test]
fn batches_of_kafka_python_are_read() {
    for codec in Codec::ALL {
        check(2, read(2, codec), Some(codec));
    }
}

#[test]
fn message_sets_of_kafka_python_are_read_and_converted() {
    for magic in [0, 1] {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let set = read(magic, codec);
            if magic == 0 || codec == Codec::None {
                // A producer's wrapper v1 has offset 0, so its inner messages have no place in a log until a broker numbers them.
                check(magic, set.clone(), None);
            }
            let batch = up_convert(set, MAX_DECOMPRESSED_BYTES).unwrap();
            check(magic, Bytes::from(batch), Some(codec));
        }
    }
}
