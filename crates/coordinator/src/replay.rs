//! The groups that a partition's records describe, gathered record by record from its beginning.
//!
//! The last record of a key counts; offsets of a transaction count once its marker says commit. What cannot be read is reported to the caller, who decides whether to go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::config::OPEN_TRANSACTIONS_MAX;
use crate::event::Now;
use crate::group::Group;
use crate::offsets::{OffsetStore, Stored};
use crate::record::{GroupValue, Key, OffsetValue, RecordError};

/// What was read so far.
#[derive(Debug, Default)]
pub struct Replay {
    groups: BTreeMap<Arc<str>, GroupValue>,
    offsets: BTreeMap<Arc<str>, OffsetStore>,
    open_transactions: BTreeSet<i64>,
}

impl Replay {
    /// The next record. `log_offset` is its own offset, `producer_id` that of its transaction.
    ///
    /// # Errors
    /// [`RecordError`] for a record that cannot be read; it is skipped then.
    pub fn record(
        &mut self,
        log_offset: i64,
        key: Bytes,
        value: Option<Bytes>,
        producer_id: Option<i64>,
    ) -> Result<(), RecordError> {
        match Key::decode(key)? {
            Key::Offset { group, partition } => {
                let value = value.map(OffsetValue::decode).transpose()?;
                if let Some(producer_id) = producer_id
                    && self.open_transactions.insert(producer_id)
                    && self.open_transactions.len() > OPEN_TRANSACTIONS_MAX
                {
                    self.open_transactions.remove(&producer_id);
                    return Err(RecordError::TooManyTransactions { limit: OPEN_TRANSACTIONS_MAX });
                }
                let store = self.offsets.entry(group).or_default();
                let (topic, number) = (&*partition.topic, partition.partition);
                match (value, producer_id) {
                    (Some(value), None) => store.insert(topic, number, Stored { log_offset, value }),
                    (None, None) => drop(store.remove(topic, number, log_offset)),
                    (Some(value), Some(producer_id)) => {
                        store.insert_transactional(producer_id, topic, number, Stored { log_offset, value });
                    }
                    (None, Some(producer_id)) => store.remove_transactional(producer_id, topic, number),
                }
            }
            Key::Group { group } => match value {
                Some(value) => {
                    let value = GroupValue::decode(value)?;
                    self.groups.insert(group, value);
                }
                None => drop(self.groups.remove(&group)),
            },
            // Of a group protocol that is not served here; Kafka skips what it does not know, too (KIP-915).
            Key::Unknown(_) => {}
        }
        Ok(())
    }

    /// The marker at the end of a transaction.
    pub fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        if self.open_transactions.remove(&producer_id) {
            for store in self.offsets.values_mut() {
                store.end_transaction(producer_id, commit);
            }
        }
    }

    /// The groups at the end of the log.
    pub(crate) fn into_groups(self, now: Now) -> BTreeMap<Arc<str>, Group> {
        let mut groups: BTreeMap<Arc<str>, Group> =
            self.groups.into_iter().map(|(id, value)| (id.clone(), Group::from_value(id, value))).collect();
        for (id, store) in self.offsets {
            if store.is_empty() {
                continue;
            }
            // A group that only keeps offsets has no record of its own.
            groups.entry(id.clone()).or_insert_with(|| Group::new(id, now)).offsets = store;
        }
        groups
    }
}

#[cfg(test)]
mod tests;
