use std::collections::BTreeMap;

use protocol::records::message_set::{MessageSetIter, down_convert};
use protocol::types::{LeaderEpoch, Offset};
use runtime::Random;

use super::*;

const NOW_MS: i64 = 50_000;
const RETENTION_MS: i64 = 1000;
const BASE: i64 = 10;

/// Last offsets of keys; the map reaches up to offset 99.
fn map(keys: &[(&str, i64)]) -> OffsetMap {
    let mut map = OffsetMap::new(100, 1 << 20, 0.9, Random::real());
    for (key, offset) in keys {
        map.put(key.as_bytes(), *offset).unwrap();
    }
    map.advance_to(99);
    map
}

fn batch(options: BatchOptions, records: &[(Option<&str>, Option<&str>)]) -> Bytes {
    let options = BatchOptions { base_offset: Offset(BASE), partition_leader_epoch: LeaderEpoch(3), ..options };
    let mut builder = BatchBuilder::new(options);
    for (at, (key, value)) in records.iter().enumerate() {
        builder.append(2000 + at as i64, key.map(str::as_bytes), value.map(str::as_bytes), None).unwrap();
    }
    builder.build().unwrap()
}

struct Setting {
    map: OffsetMap,
    producers: HashMap<i64, LastOfProducer>,
    end: i64,
    now_ms: i64,
    transactions: Transactions,
}

impl Setting {
    fn new(keys: &[(&str, i64)]) -> Setting {
        Setting {
            map: map(keys),
            producers: HashMap::new(),
            end: 100,
            now_ms: NOW_MS,
            transactions: Transactions::default(),
        }
    }

    fn filter(&mut self, bytes: &Bytes) -> Filtered {
        let rules = Rules {
            map: &self.map,
            now_ms: self.now_ms,
            delete_retention_ms: RETENTION_MS,
            producers: &self.producers,
            end: self.end,
        };
        let entry = Entry::parse(bytes, 0, bytes.len() as u64).unwrap();
        filter(&entry, bytes.clone(), &rules, &mut self.transactions).unwrap().filtered
    }

    /// The batch that stays.
    fn kept(&mut self, bytes: &Bytes) -> Option<RecordBatch> {
        let kept = match self.filter(bytes) {
            Filtered::Unchanged => bytes.clone(),
            Filtered::Changed(bytes) => Bytes::from(bytes),
            Filtered::Gone => return None,
        };
        let batch = RecordBatch::parse(&kept).unwrap();
        assert_eq!(batch.bytes.len(), kept.len());
        batch.verify_crc().unwrap();
        Some(batch)
    }
}

fn offsets(batch: &RecordBatch) -> Vec<i64> {
    batch.records(1 << 20).unwrap().map(|record| record.unwrap().offset.0).collect()
}

#[test]
fn the_last_record_of_a_key_stays_where_it_is() {
    let three: &[(Option<&str>, Option<&str>)] =
        &[(Some("a"), Some("1")), (Some("b"), Some("2")), (Some("a"), Some("3"))];
    let check = |keys: &[(&str, i64)], expected: &[i64]| {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let bytes = batch(BatchOptions { codec, ..BatchOptions::default() }, three);
            let kept = Setting::new(keys).kept(&bytes);
            let Some(kept) = kept else {
                assert!(expected.is_empty(), "{keys:?}");
                continue;
            };
            assert_eq!(offsets(&kept), expected, "{keys:?}");
            assert_eq!((kept.header.base_offset.0, kept.header.last_offset().0), (BASE, BASE + 2));
            assert_eq!((kept.header.codec(), kept.header.partition_leader_epoch), (codec, LeaderEpoch(3)));
            for record in kept.records(1 << 20).unwrap() {
                let record = record.unwrap();
                assert_eq!(record.timestamp, 2000 + record.offset.0 - BASE);
            }
        }
    };
    check(&[("a", 12), ("b", 11)], &[11, 12]);
    check(&[("a", 12), ("b", 20)], &[12]);
    check(&[("a", 20), ("b", 11)], &[11]);
    check(&[("a", 20), ("b", 20)], &[]);
    // Keys that the dirty part does not have.
    check(&[], &[10, 11, 12]);
}

#[test]
fn what_need_not_change_stays_byte_for_byte_and_keyless_records_go() {
    let bytes = batch(BatchOptions::default(), &[(Some("a"), Some("1")), (Some("b"), Some("2"))]);
    assert_eq!(Setting::new(&[("a", 10)]).filter(&bytes), Filtered::Unchanged);
    let keyless = batch(BatchOptions::default(), &[(None, Some("1")), (Some("b"), Some("2"))]);
    assert_eq!(offsets(&Setting::new(&[]).kept(&keyless).unwrap()), [11]);
    // What the map does not reach is not judged.
    let mut setting = Setting::new(&[]);
    setting.map = OffsetMap::new(1, 1 << 10, 0.9, Random::real());
    setting.map.advance_to(10);
    assert_eq!(offsets(&setting.kept(&batch(BatchOptions::default(), &[(None, None), (None, None)])).unwrap()), [11]);
}

#[test]
fn a_tombstone_gets_a_horizon_and_goes_when_it_is_past() {
    for log_append_time in [None, Some(7777)] {
        let options = BatchOptions { codec: Codec::Gzip, log_append_time, ..BatchOptions::default() };
        let bytes = batch(options, &[(Some("a"), None), (Some("b"), Some("2"))]);
        let mut setting = Setting::new(&[]);
        let first = setting.kept(&bytes).unwrap();
        assert_eq!(first.header.delete_horizon_ms(), Some(NOW_MS + RETENTION_MS));
        let timestamps: Vec<i64> = first.records(1 << 20).unwrap().map(|record| record.unwrap().timestamp).collect();
        assert_eq!(timestamps, log_append_time.map_or(vec![2000, 2001], |time| vec![time, time]));
        setting.now_ms += RETENTION_MS - 1;
        assert_eq!(setting.filter(&first.bytes), Filtered::Unchanged);
        setting.now_ms += 1;
        let later = setting.kept(&first.bytes).unwrap();
        assert_eq!(offsets(&later), [11]);
        assert_eq!(later.header.delete_horizon_ms(), Some(NOW_MS + RETENTION_MS));
        // A tombstone that was replaced does not wait.
        assert_eq!(Setting::new(&[("a", 50), ("b", 50)]).filter(&bytes), Filtered::Gone);
    }
}

#[test]
fn the_last_batch_of_a_producer_stays_without_its_records() {
    let options = BatchOptions { producer_id: 7, producer_epoch: 2, base_sequence: 40, ..BatchOptions::default() };
    let bytes = batch(options, &[(Some("a"), Some("1")), (Some("a"), Some("2"))]);
    let check = |last: Option<LastOfProducer>, end: i64, stays: bool| {
        let mut setting = Setting::new(&[("a", 50)]);
        setting.producers.extend(last.map(|last| (7, last)));
        setting.end = end;
        let Some(kept) = setting.kept(&bytes) else {
            assert!(!stays, "{last:?} {end}");
            return;
        };
        assert!(stays, "{last:?} {end}");
        let before = RecordBatch::parse(&bytes).unwrap().header;
        assert_eq!(kept.header.records_count, 0);
        assert_eq!(kept.bytes.len(), batch::HEADER_LEN);
        let of = |header: &BatchHeader| {
            let ids = (header.producer_id, header.producer_epoch, header.base_sequence, header.last_sequence());
            (ids, header.base_offset, header.last_offset(), header.max_timestamp, header.partition_leader_epoch)
        };
        assert_eq!(of(&kept.header), of(&before));
        assert_eq!(setting.filter(&kept.bytes), Filtered::Unchanged, "it stays so in the next pass");
    };
    check(None, 100, false);
    check(Some(LastOfProducer::Batch(11)), 100, true);
    check(Some(LastOfProducer::Batch(50)), 100, false);
    check(Some(LastOfProducer::Marker(2)), 100, false);
    // So does the last batch before what is not cleaned.
    check(None, 12, true);
}

#[test]
fn aborted_records_go_and_their_marker_goes_after_them() {
    let options = BatchOptions {
        producer_id: 7,
        producer_epoch: 0,
        base_sequence: 0,
        is_transactional: true,
        ..BatchOptions::default()
    };
    let data = batch(options.clone(), &[(Some("a"), Some("1"))]);
    let marker = |marker: ControlMarker| {
        let options = BatchOptions { base_offset: Offset(20), base_sequence: -1, is_control: true, ..options.clone() };
        let mut builder = BatchBuilder::new(options);
        builder.append_marker(3000, marker).unwrap();
        builder.build().unwrap()
    };
    for (decision, is_aborted) in
        [(ControlMarker::Abort { coordinator_epoch: 1 }, true), (ControlMarker::Commit { coordinator_epoch: 1 }, false)]
    {
        let marker = marker(decision);
        let header = |bytes: &Bytes| RecordBatch::parse(bytes).unwrap().header;
        let mut survey = crate::cleaner::transactions::Survey::default();
        survey.note(&header(&data), None);
        assert_eq!(survey.first_open(), Some(BASE));
        survey.note(&header(&marker), Some(decision));
        assert_eq!(survey.first_open(), None);
        let mut setting = Setting::new(&[("a", 10)]);
        setting.transactions = survey.into_transactions();
        let kept = setting.kept(&data);
        assert_eq!(kept.is_none(), is_aborted);
        assert_eq!(setting.filter(&marker), Filtered::Unchanged, "its records were met in this pass");
        // In the next pass none of its records is left.
        let first = setting.kept(&marker).unwrap();
        assert_eq!(first.header.delete_horizon_ms(), Some(NOW_MS + RETENTION_MS));
        assert_eq!(first.control_marker().unwrap(), Some(decision));
        setting.now_ms += RETENTION_MS;
        assert_eq!(setting.filter(&first.bytes), Filtered::Gone);
    }
}

#[test]
fn old_messages_stay_go_or_become_a_batch() {
    let v2 =
        |codec, records: &[(Option<&str>, Option<&str>)]| batch(BatchOptions { codec, ..Default::default() }, records);
    let old = |codec, magic, records: &[(Option<&str>, Option<&str>)]| {
        Bytes::from(down_convert(v2(codec, records), magic, Offset(0), 1 << 20).unwrap())
    };
    let two: &[(Option<&str>, Option<&str>)] = &[(Some("a"), Some("1")), (Some("b"), Some("2"))];
    for magic in [0, 1] {
        // Messages by themselves.
        let check = |records: &[(Option<&str>, Option<&str>)], keys: &[(&str, i64)], expected: &[bool]| {
            let found: Vec<bool> = MessageSetIter::new(old(Codec::None, magic, records))
                .map(|message| message.unwrap())
                .zip(split(&old(Codec::None, magic, records)))
                .map(|(_, entry)| Setting::new(keys).filter(&entry) == Filtered::Unchanged)
                .collect();
            assert_eq!(found, expected);
        };
        check(two, &[("a", 50)], &[false, true]);
        check(two, &[], &[true, true]);
        check(&[(None, Some("1"))], &[], &[false]);
        // A wrapper.
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let wrapper = old(codec, magic, two);
            assert_eq!(Setting::new(&[]).filter(&wrapper), Filtered::Unchanged);
            assert_eq!(Setting::new(&[("a", 50), ("b", 50)]).filter(&wrapper), Filtered::Gone);
            let kept = Setting::new(&[("a", 50)]).kept(&wrapper).unwrap();
            assert_eq!(offsets(&kept), [11]);
            assert_eq!((kept.header.codec(), kept.header.last_offset().0), (codec, 11));
        }
        // A tombstone becomes a batch, because only that can say when it may go.
        let tombstone = old(Codec::None, magic, &[(Some("a"), None)]);
        let kept = Setting::new(&[("a", 10)]).kept(&tombstone).unwrap();
        assert_eq!(kept.header.delete_horizon_ms(), Some(NOW_MS + RETENTION_MS));
        let timestamp = kept.records(100).unwrap().next().unwrap().unwrap().timestamp;
        assert_eq!(timestamp, if magic == 0 { -1 } else { 2000 });
    }
}

/// The entries of a message set.
fn split(set: &Bytes) -> Vec<Bytes> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at < set.len() {
        let size = batch::peek_size(&set[at..]).unwrap().unwrap();
        entries.push(set.slice(at..at + size));
        at += size;
    }
    entries
}

#[test]
fn every_header_of_what_stays_is_as_it_was() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let headers: BTreeMap<&str, &str> = BTreeMap::from([("trace", "1"), ("span", "2")]);
    let pairs: Vec<(&[u8], Option<&[u8]>)> =
        headers.iter().map(|(key, value)| (key.as_bytes(), Some(value.as_bytes()))).collect();
    let encoded = protocol::records::Headers::encode(pairs).unwrap();
    builder.append(1, Some(b"a"), Some(b"1"), None).unwrap();
    builder.append(2, Some(b"b"), Some(b"2"), Some(encoded.as_ref())).unwrap();
    let kept = Setting::new(&[("a", 50)]).kept(&builder.build().unwrap()).unwrap();
    let record = kept.records(1 << 10).unwrap().next().unwrap().unwrap();
    assert_eq!(record.headers.len(), 2);
    assert_eq!(record.headers.last("span").unwrap().value.unwrap(), "2");
}
