//! The records of one partition that one batch reads.

use std::fmt;
use std::sync::Arc;

/// Records of a partition from one offset up to and without another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OffsetRange {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// First offset within.
    pub from_offset: i64,
    /// First offset after.
    pub until_offset: i64,
}

impl OffsetRange {
    /// Offsets in the range; a compacted partition may hold fewer records.
    #[must_use]
    pub fn count(&self) -> u64 {
        u64::try_from(self.until_offset.saturating_sub(self.from_offset)).unwrap_or(0)
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "OffsetRange(topic: '{}', partition: {}, range: [{} -> {}])",
            self.topic, self.partition, self.from_offset, self.until_offset
        )
    }
}
