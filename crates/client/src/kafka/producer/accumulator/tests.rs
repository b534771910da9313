use std::time::Duration;

use runtime::Clock;
use tokio::sync::Semaphore;

use super::*;

const FIRST: Identity = Identity { id: 7, epoch: 0 };
const SECOND: Identity = Identity { id: 7, epoch: 1 };

const STORED: Acked = Acked { base_offset: None, log_append_time: None };

/// An accumulator, and a clock that is turned by hand.
struct Desk {
    accumulator: Accumulator,
    memory: Arc<Semaphore>,
    now: Instant,
}

fn desk(change: impl FnOnce(&mut Limits)) -> Desk {
    let mut limits = Limits {
        batch_size: 200,
        linger: Duration::from_millis(10),
        delivery_timeout: Duration::from_secs(120),
        keeps_order: false,
        codec: Codec::None,
    };
    change(&mut limits);
    let memory = Arc::new(Semaphore::new(1 << 20));
    Desk { accumulator: Accumulator::new(limits), memory, now: Clock::real().now() }
}

fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

impl Desk {
    /// Appends a record of `bytes`; says whether the sender is woken.
    fn append(&self, bytes: usize) -> (Delivery, bool) {
        let record = ProducerRecord::new("t", vec![0; bytes]);
        let mut memory = None;
        loop {
            match self.accumulator.append(&partition(), &record, 0, self.now, memory.take()).unwrap() {
                Appended::Done { delivery, wake } => return (delivery, wake),
                Appended::NeedsMemory(bytes) => {
                    memory = Some(self.memory.clone().try_acquire_many_owned(bytes as u32).unwrap());
                }
            }
        }
    }

    fn readiness(&self, hurry: bool, idempotent: bool) -> Readiness {
        self.accumulator.readiness(&self.accumulator.queue(&partition()), self.now, hurry, idempotent)
    }

    fn drain(&self, numbering: Numbering) -> Option<Batch> {
        match self.accumulator.drain(&self.accumulator.queue(&partition()), numbering, usize::MAX) {
            Drained::Batch(batch) => Some(*batch),
            Drained::Nothing => None,
            Drained::NeedsNewEpoch => panic!("a new epoch is needed"),
        }
    }

    fn retry(&self, mut batch: Batch) {
        batch.retry_at = Some(self.now);
        self.accumulator.put_back(batch, false);
    }

    fn needs_new_epoch(&self, identity: Identity) -> bool {
        let drained =
            self.accumulator.drain(&self.accumulator.queue(&partition()), Numbering::On(identity), usize::MAX);
        matches!(drained, Drained::NeedsNewEpoch)
    }
}

fn sequence(batch: &Batch) -> (i16, i32) {
    let (identity, sequence) = batch.sequence.unwrap();
    (identity.epoch, sequence)
}

#[test]
fn a_batch_waits_for_linger_or_until_it_is_full() {
    let mut desk = desk(|_| {});
    assert_eq!(desk.readiness(false, false), Readiness::Empty);
    let (_, wake) = desk.append(50);
    assert!(wake, "the sender must learn of the deadline");
    let due = desk.now + Duration::from_millis(10);
    assert_eq!(desk.readiness(false, false), Readiness::At(due));
    assert_eq!(desk.readiness(true, false), Readiness::Now);
    let (_, wake) = desk.append(10);
    assert!(!wake, "nothing is new to the sender");
    desk.append(100);
    assert_eq!(desk.readiness(false, false), Readiness::Now);
    assert_eq!(desk.drain(Numbering::Off).unwrap().count(), 2);
    assert_eq!(desk.readiness(false, false), Readiness::At(due));
    desk.now = due;
    assert_eq!(desk.readiness(false, false), Readiness::Now);
}

#[test]
fn memory_is_held_until_the_batch_is_done_with() {
    let desk = desk(|_| {});
    desk.append(50);
    assert_eq!(desk.memory.available_permits(), (1 << 20) - 200);
    let batch = desk.drain(Numbering::Off).unwrap();
    assert_eq!(desk.memory.available_permits(), (1 << 20) - 200);
    desk.accumulator.settle(batch, Ok(STORED));
    assert!(desk.accumulator.outstanding().is_empty());
    assert_eq!(desk.memory.available_permits(), 1 << 20);
}

#[test]
fn a_record_larger_than_a_batch_has_one_of_its_own() {
    let desk = desk(|_| {});
    desk.append(10);
    desk.append(1000);
    desk.append(10);
    let counts: Vec<i32> = std::iter::from_fn(|| desk.drain(Numbering::Off)).map(|batch| batch.count()).collect();
    assert_eq!(counts, [1, 1, 1]);
}

#[test]
fn sequences_follow_each_other_and_stay_with_their_batch() {
    let desk = desk(|_| {});
    for _ in 0..3 {
        desk.append(60);
        desk.append(60);
    }
    let first = desk.drain(Numbering::On(FIRST)).unwrap();
    let second = desk.drain(Numbering::On(FIRST)).unwrap();
    assert_eq!((sequence(&first), sequence(&second)), ((0, 0), (0, 1)));
    // The first comes back, and must go out again before anything that was not sent yet, under its old number.
    desk.retry(first);
    let again = desk.drain(Numbering::On(FIRST)).unwrap();
    assert_eq!(sequence(&again), (0, 0));
    // The second comes back while the first is under way again: it has to wait for it.
    desk.retry(second);
    assert_eq!(desk.readiness(false, true), Readiness::Blocked);
    assert!(desk.drain(Numbering::On(FIRST)).is_none());
    desk.accumulator.settle(again, Ok(STORED));
    assert_eq!(sequence(&desk.drain(Numbering::On(FIRST)).unwrap()), (0, 1));
}

#[test]
fn no_more_batches_are_under_way_than_a_broker_remembers() {
    let desk = desk(|_| {});
    for _ in 0..8 {
        desk.append(150);
    }
    let under_way: Vec<Batch> = std::iter::from_fn(|| desk.drain(Numbering::On(FIRST))).collect();
    assert_eq!(under_way.len(), 5);
    assert_eq!(desk.readiness(false, true), Readiness::Blocked);
}

#[test]
fn without_sequences_order_is_kept_by_one_batch_at_a_time() {
    let desk = desk(|limits| limits.keeps_order = true);
    desk.append(150);
    desk.append(150);
    let first = desk.drain(Numbering::Off).unwrap();
    assert!(desk.drain(Numbering::Off).is_none());
    desk.retry(first);
    assert_eq!(desk.drain(Numbering::Off).unwrap().attempts, 2);
}

#[test]
fn a_gap_in_the_sequence_is_closed_by_a_new_epoch() {
    let desk = desk(|_| {});
    for _ in 0..3 {
        desk.append(150);
    }
    let first = desk.drain(Numbering::On(FIRST)).unwrap();
    let second = desk.drain(Numbering::On(FIRST)).unwrap();
    // The first is given up although it had a number; the second comes back as out of order.
    desk.accumulator.settle(first, Err(ClientError::ProducerClosed));
    assert!(desk.drain(Numbering::On(FIRST)).is_none(), "not while one of the old epoch is under way");
    desk.accumulator.put_back(second, true);
    assert!(desk.needs_new_epoch(FIRST));
    let second = desk.drain(Numbering::On(SECOND)).unwrap();
    let third = desk.drain(Numbering::On(SECOND)).unwrap();
    assert_eq!((sequence(&second), sequence(&third)), ((1, 0), (1, 1)));
}

/// A broker knows the last five batches of a producer again, and no more: one that has no answer yet must be among them (found by seed 341 of the simulator's second tier).
#[test]
fn no_more_is_sent_behind_a_batch_without_an_answer_than_a_broker_remembers() {
    let desk = desk(|_| {});
    for _ in 0..7 {
        desk.append(150);
    }
    let first = desk.drain(Numbering::On(FIRST)).unwrap();
    for _ in 1..ProducerConfig::IDEMPOTENT_IN_FLIGHT_MAX {
        let later = desk.drain(Numbering::On(FIRST)).unwrap();
        desk.accumulator.settle(later, Ok(STORED));
    }
    assert!(desk.drain(Numbering::On(FIRST)).is_none(), "four behind it are stored");
    desk.retry(first);
    let first = desk.drain(Numbering::On(FIRST)).unwrap();
    assert_eq!(sequence(&first), (0, 0));
    desk.accumulator.settle(first, Ok(STORED));
    assert_eq!(sequence(&desk.drain(Numbering::On(FIRST)).unwrap()), (0, 5));
}

/// What is given up may be stored, and with it what came behind: under another number it would be stored twice.
#[test]
fn behind_a_batch_that_was_given_up_a_numbered_one_keeps_its_number() {
    let desk = desk(|_| {});
    for _ in 0..3 {
        desk.append(150);
    }
    let first = desk.drain(Numbering::On(FIRST)).unwrap();
    let second = desk.drain(Numbering::On(FIRST)).unwrap();
    desk.retry(second);
    desk.accumulator.settle(first, Err(ClientError::ProducerClosed));
    let second = desk.drain(Numbering::On(FIRST)).unwrap();
    assert_eq!((sequence(&second), second.attempts), ((0, 1), 2));
    assert!(desk.drain(Numbering::On(FIRST)).is_none(), "what is new waits for what is numbered");
    desk.accumulator.settle(second, Ok(STORED));
    assert!(desk.needs_new_epoch(FIRST));
    assert_eq!(sequence(&desk.drain(Numbering::On(SECOND)).unwrap()), (1, 0));
}

#[test]
fn a_partition_in_order_keeps_its_epoch_until_nothing_is_numbered() {
    let desk = desk(|_| {});
    desk.append(150);
    desk.append(150);
    desk.append(150);
    let first = desk.drain(Numbering::On(FIRST)).unwrap();
    // Another partition needed a new epoch meanwhile: what is numbered here keeps the old one, or a repetition would not be recognised.
    desk.retry(first);
    let first = desk.drain(Numbering::On(SECOND)).unwrap();
    let second = desk.drain(Numbering::On(SECOND)).unwrap();
    assert_eq!((sequence(&first), sequence(&second)), ((0, 0), (0, 1)));
    desk.accumulator.settle(first, Ok(STORED));
    desk.accumulator.settle(second, Ok(STORED));
    assert_eq!(sequence(&desk.drain(Numbering::On(SECOND)).unwrap()), (1, 0));
}

#[test]
fn what_is_too_old_is_given_up_with_kafkas_text() {
    let mut desk = desk(|_| {});
    desk.append(10);
    desk.append(10);
    desk.now += Duration::from_millis(119_999);
    assert!(desk.accumulator.expire(desk.now).is_empty());
    desk.now += Duration::from_millis(1);
    let expired = desk.accumulator.expire(desk.now);
    let [(_, error)] = expired.as_slice() else { panic!("one batch expires") };
    assert_eq!(error.to_string(), "Expiring 2 record(s) for t-0:120000 ms has passed since batch creation");
    assert!(desk.accumulator.outstanding().is_empty());
}

#[test]
fn a_batch_is_outstanding_until_everybody_was_told() {
    let desk = Arc::new(desk(|_| {}));
    let (delivery, _) = desk.append(50);
    let (seen, told) = std::sync::mpsc::channel();
    let watched = desk.clone();
    delivery.on_complete(move |_| seen.send(watched.accumulator.outstanding().len()).unwrap());
    let batch = desk.drain(Numbering::Off).unwrap();
    desk.accumulator.settle(batch, Ok(STORED));
    assert_eq!(told.try_recv(), Ok(1), "a flush waits for the callback too");
    assert!(desk.accumulator.outstanding().is_empty());
}
