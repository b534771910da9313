//! Our record formats against those of the `kafka-protocol` crate: each reads what the other wrote.
//!
//! Three things the oracle cannot do in this version are kept out of its way: timestamp deltas beyond 32 bits, absent header values (it reads -1 as a length),
//! and offsets in message sets (it writes 0).

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as oracle;
use proptest::prelude::*;
use tidemill_protocol::records::batch::{TimestampType, peek_size};
use tidemill_protocol::records::{
    AnyBatchIter, BatchBuilder, BatchIter, BatchOptions, Codec, Headers, MAX_DECOMPRESSED_BYTES, Record, compression,
    down_convert,
};
use tidemill_protocol::types::{LeaderEpoch, Offset};

#[derive(Debug, Clone)]
struct Entry {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn bytes(max: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..max))
}

fn entry() -> impl Strategy<Value = Entry> {
    let header_value = prop::collection::vec(any::<u8>(), 0..6).prop_map(Some);
    let headers = prop::collection::btree_map("[a-z]{0,4}", header_value, 0..3);
    (1_700_000_000_000i64..1_702_000_000_000, bytes(20), bytes(200), headers).prop_map(
        |(timestamp, key, value, headers)| Entry { timestamp, key, value, headers: headers.into_iter().collect() },
    )
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(&Codec::ALL[..])
}

fn our_codec(codec: oracle::Compression) -> Codec {
    Codec::from_attributes(codec as i16).unwrap()
}

fn their_codec(codec: Codec) -> oracle::Compression {
    match codec {
        Codec::None => oracle::Compression::None,
        Codec::Gzip => oracle::Compression::Gzip,
        Codec::Snappy => oracle::Compression::Snappy,
        Codec::Lz4 => oracle::Compression::Lz4,
        Codec::Zstd => oracle::Compression::Zstd,
    }
}

fn decode(batch: &Bytes) -> Vec<oracle::Record> {
    oracle::RecordBatchDecoder::decode_with_custom_compression(
        &mut batch.clone(),
        Some(|packed: &mut Bytes, codec| {
            let unpacked = compression::decompress(our_codec(codec), 2, packed, MAX_DECOMPRESSED_BYTES)?;
            Ok(Bytes::from(unpacked))
        }),
    )
    .unwrap()
    .records
}

fn encode(records: &[oracle::Record], codec: Codec, version: i8) -> Bytes {
    let options = oracle::RecordEncodeOptions { version, compression: their_codec(codec) };
    let mut out = BytesMut::new();
    oracle::RecordBatchEncoder::encode_with_custom_compression(
        &mut out,
        records,
        &options,
        Some(|plain: &mut BytesMut, out: &mut BytesMut, codec| {
            let mut packed = Vec::new();
            compression::compress(our_codec(codec), version, None, plain, &mut packed)?;
            out.extend_from_slice(&packed);
            Ok(())
        }),
    )
    .unwrap();
    out.freeze()
}

fn theirs(entries: &[Entry], options: &BatchOptions) -> Vec<oracle::Record> {
    let record = |(i, entry): (usize, &Entry)| oracle::Record {
        transactional: options.is_transactional,
        control: false,
        partition_leader_epoch: options.partition_leader_epoch.0,
        producer_id: options.producer_id,
        producer_epoch: options.producer_epoch,
        timestamp_type: oracle::TimestampType::Creation,
        offset: options.base_offset.0 + i as i64,
        sequence: options.base_sequence + i as i32,
        timestamp: entry.timestamp,
        key: entry.key.clone().map(Bytes::from),
        value: entry.value.clone().map(Bytes::from),
        headers: entry
            .headers
            .iter()
            .map(|(key, value)| (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from)))
            .collect(),
    };
    entries.iter().enumerate().map(record).collect()
}

fn check_same(ours: &Record, theirs: &oracle::Record) {
    assert_eq!((ours.offset.0, ours.timestamp), (theirs.offset, theirs.timestamp));
    assert_eq!((&ours.key, &ours.value), (&theirs.key, &theirs.value));
    let ours: Vec<_> = ours.headers.iter().map(|header| (header.key, header.value)).collect();
    let theirs: Vec<_> = theirs.headers.iter().map(|(key, value)| (key.clone().into_bytes(), value.clone())).collect();
    assert_eq!(ours, theirs);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_read_alike_both_ways(
        entries in prop::collection::vec(entry(), 1..20),
        codec in codec(),
        base_offset in 0i64..1_000_000_000_000,
        producer_id in 0i64..100,
        base_sequence in 0i32..1_000_000,
        is_transactional: bool,
    ) {
        let options = BatchOptions {
            codec,
            base_offset: Offset(base_offset),
            partition_leader_epoch: LeaderEpoch(7),
            producer_id,
            producer_epoch: 3,
            base_sequence,
            is_transactional,
            ..BatchOptions::default()
        };
        let expected = theirs(&entries, &options);

        let mut builder = BatchBuilder::new(options);
        for entry in &entries {
            let headers = entry.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref()));
            let headers = Headers::encode(headers).unwrap();
            builder.append(entry.timestamp, entry.key.as_deref(), entry.value.as_deref(), Some(headers.as_ref())).unwrap();
        }
        prop_assert_eq!(decode(&builder.build().unwrap()), expected.clone());

        let mut seen = 0;
        for batch in BatchIter::new(encode(&expected, codec, 2)) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            prop_assert_eq!(batch.header.codec(), codec);
            prop_assert_eq!(batch.header.timestamp_type(), TimestampType::CreateTime);
            prop_assert_eq!((batch.header.producer_id, batch.header.is_transactional()), (producer_id, is_transactional));
            for record in batch.records(MAX_DECOMPRESSED_BYTES).unwrap() {
                check_same(&record.unwrap(), &expected[seen]);
                seen += 1;
            }
        }
        prop_assert_eq!(seen, expected.len());
    }

    #[test]
    fn message_sets_read_alike_both_ways(
        mut entries in prop::collection::vec(entry(), 1..20),
        magic in 0i8..2,
        base_offset in 0i64..1_000_000_000_000,
    ) {
        for entry in &mut entries {
            entry.headers.clear();
            if magic == 0 {
                entry.timestamp = -1;
            }
        }
        let mut builder = BatchBuilder::new(BatchOptions { base_offset: Offset(base_offset), ..BatchOptions::default() });
        for entry in &entries {
            builder.append(entry.timestamp, entry.key.as_deref(), entry.value.as_deref(), None).unwrap();
        }
        let batch = builder.build().unwrap();
        let ours = Bytes::from(down_convert(batch, magic, Offset(base_offset), MAX_DECOMPRESSED_BYTES).unwrap());

        let plain = BatchOptions { base_offset: Offset(base_offset), ..BatchOptions::default() };
        let expected = theirs(&entries, &plain);
        let mut rest = &encode(&expected, Codec::None, magic)[..];
        let mut left = &ours[..];
        while let Some(size) = peek_size(left).unwrap() {
            let (mine, after) = left.split_at(size);
            prop_assert_eq!(&rest[8..size], &mine[8..]);
            (left, rest) = (after, &rest[size..]);
        }
        prop_assert!(left.is_empty() && rest.is_empty());

        let read = oracle::RecordBatchDecoder::decode_all(&mut ours.clone()).unwrap();
        let read: Vec<_> = read.into_iter().flat_map(|set| set.records).collect();
        prop_assert_eq!(read.len(), expected.len());
        let mut seen = 0;
        for batch in AnyBatchIter::new(ours, MAX_DECOMPRESSED_BYTES) {
            for record in batch.unwrap().records(0).unwrap() {
                let record = record.unwrap();
                check_same(&record, &expected[seen]);
                prop_assert_eq!((&record.key, &record.value), (&read[seen].key, &read[seen].value));
                prop_assert_eq!(record.offset.0, read[seen].offset);
                seen += 1;
            }
        }
        prop_assert_eq!(seen, expected.len());
    }
}
