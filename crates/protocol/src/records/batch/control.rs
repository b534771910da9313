//! Control batches: the markers that end transactions.

use super::super::RecordsError;
use super::header::at;
use super::record::RecordRef;

/// What the single record of a control batch says (Kafka `ControlRecordType`, `EndTransactionMarker`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlMarker {
    /// The producer's open transaction is void.
    Abort {
        /// Epoch of the transaction coordinator that wrote it.
        coordinator_epoch: i32,
    },
    /// The producer's open transaction stands.
    Commit {
        /// Epoch of the transaction coordinator that wrote it.
        coordinator_epoch: i32,
    },
    /// A marker of KRaft or of a later version, which readers of partitions skip.
    Other {
        /// Its type number.
        kind: i16,
    },
}

impl ControlMarker {
    /// Reads a control record.
    ///
    /// # Errors
    /// [`RecordsError::Corrupt`] when key or value are too short for their version.
    pub fn parse(record: &RecordRef<'_>) -> Result<ControlMarker, RecordsError> {
        let Some([version @ .., kind_high, kind_low]) = record.key.and_then(|key| key.first_chunk::<4>()) else {
            return Err(RecordsError::Corrupt("the key of a control record is too short"));
        };
        if i16::from_be_bytes(*version) < 0 {
            return Err(RecordsError::Corrupt("the version of a control record is negative"));
        }
        let kind = i16::from_be_bytes([*kind_high, *kind_low]);
        if !matches!(kind, 0 | 1) {
            return Ok(ControlMarker::Other { kind });
        }
        let Some(value) = record.value.and_then(|value| value.first_chunk::<6>()) else {
            return Err(RecordsError::Corrupt("the value of a transaction marker is too short"));
        };
        let coordinator_epoch = i32::from_be_bytes(at(value, 2));
        Ok(if kind == 0 {
            ControlMarker::Abort { coordinator_epoch }
        } else {
            ControlMarker::Commit { coordinator_epoch }
        })
    }

    /// Key and value of the record, version 0.
    #[must_use]
    pub fn encode(self) -> ([u8; 4], [u8; 6]) {
        let (kind, epoch) = match self {
            ControlMarker::Abort { coordinator_epoch } => (0i16, coordinator_epoch),
            ControlMarker::Commit { coordinator_epoch } => (1, coordinator_epoch),
            ControlMarker::Other { kind } => (kind, 0),
        };
        let mut key = [0; 4];
        key[2..].copy_from_slice(&kind.to_be_bytes());
        let mut value = [0; 6];
        value[2..].copy_from_slice(&epoch.to_be_bytes());
        (key, value)
    }
}
