use protocol::records::{BatchOptions, NO_PRODUCER_ID};

use super::*;
use crate::testing::batch_of;

fn header(producer_id: i64, producer_epoch: i16, base_sequence: i32, records: usize, base_offset: i64) -> BatchHeader {
    let options = BatchOptions { producer_id, producer_epoch, base_sequence, ..BatchOptions::default() };
    let mut header = BatchHeader::parse(&batch_of(options, &vec!["x"; records], 1000)).unwrap();
    header.base_offset = Offset(base_offset);
    header
}

fn states() -> ProducerStates {
    ProducerStates::new(TopicPartition::new("t", 0), 0)
}

/// Offset of the duplicate, or the code of the error, or 0 where the batch is to be appended.
fn judge(states: &ProducerStates, batches: &[BatchHeader]) -> (Option<i64>, i16) {
    match states.check_from_producer(batches.iter()) {
        Ok(duplicate) => (duplicate.map(|batch| batch.first_offset()), 0),
        Err(error) => (None, error.code()),
    }
}

#[test]
fn sequences_follow_each_other_and_epochs_rise() {
    let mut known = states();
    known.note(&header(1, 3, 0, 10, 100), None);
    known.note(&header(1, 3, 10, 5, 200), None);
    let check = |epoch: i16, sequence: i32, records: usize, expected: (Option<i64>, i16)| {
        let found = judge(&known, &[header(1, epoch, sequence, records, 300)]);
        assert_eq!(found, expected, "epoch {epoch}, sequence {sequence}, {records} records");
    };
    check(3, 15, 1, (None, 0));
    check(3, 16, 1, (None, 45));
    check(3, 14, 1, (None, 45));
    check(3, 0, 10, (Some(100), 0));
    check(3, 10, 5, (Some(200), 0));
    check(3, 10, 4, (None, 45));
    check(2, 15, 1, (None, 47));
    check(2, 0, 10, (None, 47));
    check(4, 0, 1, (None, 0));
    check(4, 15, 1, (None, 45));
    assert_eq!(judge(&known, &[header(NO_PRODUCER_ID, -1, -1, 1, 300)]), (None, 0));
}

/// A request that overtakes an earlier one of the same new producer, as when a broker becomes the leader between the two, must not be taken: the earlier one could
/// never be, and its client would count it as stored.
#[test]
fn a_stranger_begins_at_zero_where_nobody_was_forgotten() {
    let check = |known: &ProducerStates, sequence: i32, expected: i16| {
        assert_eq!(judge(known, &[header(2, 0, sequence, 1, 300)]), (None, expected), "sequence {sequence}");
    };
    let mut known = states();
    known.note(&header(1, 0, 0, 10, 100), None);
    check(&known, 0, 0);
    check(&known, 77, 45);
    // Whoever was forgotten goes on where he was.
    let last = known.get(1).unwrap().last_timestamp;
    known.expire(last + 10, 100);
    check(&known, 77, 45);
    known.expire(last + 100, 100);
    assert!(known.is_empty());
    check(&known, 77, 0);
    // A log that does not reach back to its beginning may have had anybody, and so may one before a snapshot.
    check(&ProducerStates::new(TopicPartition::new("t", 0), 5), 77, 0);
    let mut restored = states();
    restored.restore(Vec::new(), 5, 0, 100);
    check(&restored, 77, 0);
    restored.set_all_known(true);
    check(&restored, 77, 45);
}

#[test]
fn batches_of_one_request_are_judged_in_turn() {
    let mut known = states();
    known.set_all_known(false);
    let check = |sequences: &[i32], expected: i16| {
        let batches: Vec<_> = sequences.iter().map(|sequence| header(1, 0, *sequence, 2, 0)).collect();
        assert_eq!(judge(&known, &batches).1, expected, "{sequences:?}");
    };
    check(&[0, 2, 4], 0);
    check(&[0, 2, 5], 45);
    check(&[8, 10], 0);
}

#[test]
fn sequences_wrap_to_zero() {
    let mut known = states();
    known.note(&header(1, 0, i32::MAX - 1, 2, 0), None);
    assert_eq!(judge(&known, &[header(1, 0, 0, 1, 2)]), (None, 0));
    assert_eq!(judge(&known, &[header(1, 0, i32::MAX - 1, 2, 2)]), (Some(0), 0));
    let mut known = states();
    known.note(&header(1, 0, i32::MAX, 3, 0), None);
    assert_eq!(known.get(1).unwrap().batches[0].last_sequence, 1);
    assert_eq!(known.get(1).unwrap().batches[0].first_sequence(), i32::MAX);
    assert_eq!(judge(&known, &[header(1, 0, 2, 1, 3)]), (None, 0));
}

#[test]
fn five_batches_are_remembered() {
    let mut known = states();
    for n in 0..8 {
        known.note(&header(1, 0, n, 1, i64::from(n)), None);
    }
    for n in 0..8 {
        let expected = if n < 3 { (None, 45) } else { (Some(i64::from(n)), 0) };
        assert_eq!(judge(&known, &[header(1, 0, n, 1, 8)]), expected, "sequence {n}");
    }
}

#[test]
fn silent_producers_are_forgotten_but_not_in_a_transaction() {
    let mut known = states();
    known.note(&header(1, 0, 0, 1, 0), None);
    let mut open = header(2, 0, 0, 1, 1);
    open.attributes |= 0x10;
    known.note(&open, None);
    assert_eq!(known.first_unstable_offset(), Some(1));
    known.expire(1999, 1000);
    assert_eq!(known.len(), 2);
    known.expire(2000, 1000);
    assert!(known.get(1).is_none() && known.get(2).is_some());
    let mut marker = header(2, 0, 0, 1, 2);
    marker.attributes |= 0x30;
    marker.base_sequence = -1;
    known.note(&marker, Some(ControlMarker::Commit { coordinator_epoch: 7 }));
    assert_eq!(known.first_unstable_offset(), None);
    assert_eq!(known.get(2).unwrap().coordinator_epoch, 7);
    known.expire(2000, 1000);
    assert!(known.is_empty());
}

#[test]
fn a_snapshot_is_kafkas_bytes_and_damage_shows() {
    let mut known = states();
    known.note(&header(0x0102, 3, 4, 2, 10), None);
    let bytes = snapshot::encode(&known.all());
    let mut expected: Vec<u8> = vec![0, 1];
    let body: Vec<u8> = [
        vec![0, 0, 0, 1],
        vec![0, 0, 0, 0, 0, 0, 1, 2],
        vec![0, 3],
        vec![0, 0, 0, 5],
        vec![0, 0, 0, 0, 0, 0, 0, 11],
        vec![0, 0, 0, 1],
        vec![0, 0, 0, 0, 0, 0, 3, 0xe8],
        vec![0xff; 4],
        vec![0xff; 8],
    ]
    .concat();
    expected.extend_from_slice(&crc_fast::crc32_iscsi(&body).to_be_bytes());
    expected.extend_from_slice(&body);
    assert_eq!(bytes, expected);
    assert_eq!(snapshot::decode(&bytes).unwrap(), known.all());
    // Earlier batches stand behind what Apache brokers read.
    known.note(&header(0x0102, 3, 6, 2, 12), None);
    known.note(&header(0x0103, 0, 0, 1, 14), None);
    let bytes = snapshot::encode(&known.all());
    assert_eq!(bytes.len(), 10 + 2 * 46 + 8 + 32);
    assert_eq!(snapshot::decode(&bytes).unwrap(), known.all());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(snapshot::decode(&damaged).is_err(), "byte {at}");
        assert!(snapshot::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
    // A count that promises more than is there, under a checksum that is right.
    let mut body = body;
    body[..4].copy_from_slice(&i32::MAX.to_be_bytes());
    let mut hostile = vec![0, 1];
    hostile.extend_from_slice(&crc_fast::crc32_iscsi(&body).to_be_bytes());
    hostile.extend_from_slice(&body);
    assert!(snapshot::decode(&hostile).is_err());
}
