//! What clients and brokers were seen to do, and what must be true of it whatever happens (the invariants of the reliability plan, by their numbers).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A partition of the topic of a run.
pub type Partition = i32;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct History {
    /// What stands at an offset, once anybody was told that it is committed.
    committed: BTreeMap<(Partition, i64), u64>,
    /// Values that a producer was told are safe, and where.
    acknowledged: BTreeMap<(Partition, i64), u64>,
    /// Values that a producer was told are safe, without a word on where.
    somewhere: BTreeSet<(Partition, u64)>,
    /// Values that were sent.
    sent: BTreeSet<u64>,
    /// To which partition they were sent, where that is known.
    meant_for: BTreeMap<u64, Partition>,
    /// Values that a producer was told were not sent.
    refused: BTreeSet<u64>,
    /// The highest high watermark told in a leader epoch, by partition and epoch.
    watermarks: BTreeMap<(Partition, i32), i64>,
    /// Who acknowledged in a leader epoch.
    acknowledgers: BTreeMap<(Partition, i32), usize>,
    /// The newest epoch that the tree showed.
    epochs: BTreeMap<Partition, i32>,
    /// Whom the tree showed as leader in an epoch. A leader may give up without a new one; then nobody leads for the rest of its epoch.
    elected: BTreeMap<(Partition, i32), i32>,
    /// A running sum over all that happened.
    digest: u64,
    events: u64,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Number of the invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} broken: {}", self.invariant, self.what)
    }
}

/// Makes a violation.
pub fn broken<T>(invariant: &'static str, what: String) -> Result<T, Violation> {
    Err(Violation { invariant, what })
}

impl History {
    /// Notes something that happened, so that two runs can be compared.
    pub fn note(&mut self, what: &[u64]) {
        self.events += 1;
        for part in what {
            self.digest = (self.digest ^ part).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
        }
    }

    /// The running sum, and how many events went into it.
    #[must_use]
    pub fn digest(&self) -> (u64, u64) {
        (self.digest, self.events)
    }

    /// How many values were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len() + self.somewhere.len()
    }

    /// A producer sends a value for the first time.
    pub fn sent(&mut self, value: u64) {
        self.sent.insert(value);
    }

    /// A producer sends a value to a partition for the first time.
    pub fn sent_to(&mut self, partition: Partition, value: u64) {
        self.sent.insert(value);
        self.meant_for.insert(value, partition);
    }

    /// A producer was told that a value it wanted to send was not sent.
    pub fn refused(&mut self, value: u64) {
        self.refused.insert(value);
    }

    /// A producer was told that a value is safe, and not where: its leader recognised a repetition whose place it has forgotten.
    pub fn acknowledge_somewhere(&mut self, partition: Partition, value: u64) {
        self.somewhere.insert((partition, value));
    }

    /// A producer was told that its values are safe from `base` on.
    ///
    /// # Errors
    /// I3: another value was told to be committed at one of these offsets.
    pub fn acknowledge(&mut self, partition: Partition, base: i64, values: &[u64]) -> Result<(), Violation> {
        for (value, offset) in values.iter().zip(base..) {
            self.commit(partition, offset, *value)?;
            self.acknowledged.insert((partition, offset), *value);
        }
        Ok(())
    }

    /// A consumer read a value below the high watermark.
    ///
    /// # Errors
    /// I3: two values at one offset. I2: a value that was refused. I4: a value that nobody sent.
    pub fn read(&mut self, partition: Partition, offset: i64, value: u64) -> Result<(), Violation> {
        if self.refused.contains(&value) {
            return broken("I2", format!("partition {partition}, offset {offset}: value {value:x} was refused"));
        }
        if !self.sent.contains(&value) {
            return broken("I4", format!("partition {partition}, offset {offset}: value {value:x} was never sent"));
        }
        self.is_meant_for(partition, offset, value)?;
        self.commit(partition, offset, value)
    }

    fn is_meant_for(&self, partition: Partition, offset: i64, value: u64) -> Result<(), Violation> {
        match self.meant_for.get(&value) {
            Some(meant) if *meant != partition => broken(
                "I4",
                format!("partition {partition}, offset {offset}: value {value:x} was sent to partition {meant}"),
            ),
            _ => Ok(()),
        }
    }

    fn commit(&mut self, partition: Partition, offset: i64, value: u64) -> Result<(), Violation> {
        let known = *self.committed.entry((partition, offset)).or_insert(value);
        if known == value {
            return Ok(());
        }
        broken("I3", format!("partition {partition}, offset {offset}: {known:x} was committed, and now {value:x} is"))
    }

    /// A leader told its high watermark in an epoch.
    ///
    /// # Errors
    /// I6: it fell.
    pub fn watermark(&mut self, partition: Partition, epoch: i32, told: i64) -> Result<(), Violation> {
        let highest = self.watermarks.entry((partition, epoch)).or_insert(told);
        if told < *highest {
            return broken(
                "I6",
                format!("partition {partition}, epoch {epoch}: the high watermark fell from {highest} to {told}"),
            );
        }
        *highest = told;
        Ok(())
    }

    /// A broker acknowledged something in a leader epoch.
    ///
    /// # Errors
    /// I11: another broker did so in the same epoch.
    pub fn acknowledger(&mut self, partition: Partition, epoch: i32, broker: usize) -> Result<(), Violation> {
        let first = *self.acknowledgers.entry((partition, epoch)).or_insert(broker);
        if first == broker {
            return Ok(());
        }
        broken("I11", format!("partition {partition}, epoch {epoch}: brokers {first} and {broker} both acknowledge"))
    }

    /// The tree shows a leader and its epoch.
    ///
    /// # Errors
    /// I11: the epoch fell, or changed its leader.
    pub fn elected(&mut self, partition: Partition, leader: i32, epoch: i32) -> Result<(), Violation> {
        let before = self.epochs.insert(partition, epoch).unwrap_or(epoch);
        if epoch < before {
            return broken("I11", format!("partition {partition}: the leader epoch fell from {before} to {epoch}"));
        }
        if leader < 0 {
            return Ok(());
        }
        let first = *self.elected.entry((partition, epoch)).or_insert(leader);
        if first != leader {
            return broken("I11", format!("partition {partition}: {first} and {leader} are leaders of epoch {epoch}"));
        }
        Ok(())
    }

    /// Holds a whole log against everything that was seen: what a partition is at the end.
    ///
    /// # Errors
    /// I1: an acknowledged value is not there. I3: another value was read at its offset. I4: one producer's values are out of order. I5: a value is there twice.
    pub fn compare(&self, partition: Partition, log: &[(i64, u64)], committed_count: bool) -> Result<(), Violation> {
        let at: BTreeMap<i64, u64> = log.iter().copied().collect();
        let whole = (partition, i64::MIN)..=(partition, i64::MAX);
        for ((_, offset), value) in self.acknowledged.range(whole.clone()) {
            if at.get(offset) != Some(value) {
                let found = at.get(offset).map_or("nothing".to_owned(), |found| format!("{found:x}"));
                return broken(
                    "I1",
                    format!("partition {partition}, offset {offset}: {value:x} was acknowledged, and {found} is there"),
                );
            }
        }
        if committed_count {
            for ((_, offset), value) in self.committed.range(whole) {
                if at.get(offset) != Some(value) {
                    return broken(
                        "I3",
                        format!(
                            "partition {partition}, offset {offset}: {value:x} was read, and {:x?} is there",
                            at.get(offset)
                        ),
                    );
                }
            }
        }
        let there: BTreeSet<u64> = log.iter().map(|(_, value)| *value).collect();
        let lost = self.somewhere.iter().find(|(of, value)| *of == partition && !there.contains(value));
        if let Some((_, value)) = lost {
            return broken("I1", format!("partition {partition}: {value:x} was acknowledged, and is nowhere"));
        }
        if let Some(value) = there.intersection(&self.refused).next() {
            return broken("I2", format!("partition {partition}: {value:x} was refused, and is there"));
        }
        let mut seen = BTreeMap::new();
        let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
        for (offset, value) in log {
            self.is_meant_for(partition, *offset, *value)?;
            if let Some(first) = seen.insert(*value, *offset) {
                return broken("I5", format!("partition {partition}: {value:x} stands at {first} and at {offset}"));
            }
            let producer = value >> 32;
            if newest.insert(producer, *value).is_some_and(|before| before > *value) {
                return broken(
                    "I4",
                    format!("partition {partition}, offset {offset}: {value:x} stands behind a later one"),
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_a_promise_is_named() {
        let mut history = History::default();
        (1..=4).for_each(|value| history.sent(value));
        history.acknowledge(0, 10, &[1, 2]).unwrap();
        let check = |log: &[(i64, u64)]| history.compare(0, log, true).map_err(|violation| violation.invariant);
        assert_eq!(check(&[(10, 1), (11, 2), (12, 3)]), Ok(()));
        assert_eq!(check(&[(10, 1)]), Err("I1"));
        assert_eq!(check(&[(10, 1), (11, 3), (12, 2)]), Err("I1"));
        assert_eq!(check(&[(10, 1), (11, 2), (12, 2)]), Err("I5"));
        assert_eq!(check(&[(10, 1), (11, 2), (12, 4), (13, 3)]), Err("I4"));
        assert_eq!(history.read(0, 11, 3).unwrap_err().invariant, "I3");
        assert_eq!(history.read(0, 12, 9).unwrap_err().invariant, "I4");
        history.read(0, 12, 3).unwrap();
        assert_eq!(history.compare(0, &[(10, 1), (11, 2)], true).unwrap_err().invariant, "I3");
        history.refused(4);
        assert_eq!(history.read(0, 13, 4).unwrap_err().invariant, "I2");
        assert_eq!(history.compare(0, &[(10, 1), (11, 2), (12, 3), (13, 4)], true).unwrap_err().invariant, "I2");
        history.sent_to(1, 5);
        assert_eq!(history.read(0, 14, 5).unwrap_err().invariant, "I4");
        history.acknowledge_somewhere(0, 7);
        assert_eq!(history.compare(0, &[(10, 1), (11, 2), (12, 3)], true).unwrap_err().invariant, "I1");
        history.watermark(0, 1, 5).unwrap();
        history.watermark(0, 2, 4).unwrap();
        assert_eq!(history.watermark(0, 1, 4).unwrap_err().invariant, "I6");
        history.acknowledger(0, 1, 0).unwrap();
        assert_eq!(history.acknowledger(0, 1, 2).unwrap_err().invariant, "I11");
        history.elected(0, 1, 3).unwrap();
        history.elected(0, -1, 3).unwrap();
        assert_eq!(history.elected(0, 2, 3).unwrap_err().invariant, "I11");
        history.elected(0, 2, 4).unwrap();
        assert_eq!(history.elected(0, -1, 3).unwrap_err().invariant, "I11");
    }
}
