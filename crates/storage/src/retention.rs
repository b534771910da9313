//! Cutting a log at its start: retention by time and size, and DeleteRecords.
//!
//! Whole segments go, oldest first, and only below the high watermark: what is not committed is not ours to drop. The log start moves before
//! the files do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::types::Offset;

use crate::error::{ReadError, Result, StorageError};
use crate::log::{Log, State};
use crate::segment::Segment;

impl Log {
    /// Removes segments that `retention.ms`, `retention.bytes` or the log start no longer want. Gives how many went.
    ///
    /// # Errors
    /// What the file system says; after a failed write the directory is offline.
    pub fn run_retention(&self, now_ms: i64) -> Result<usize> {
        let config = self.config();
        let mut state = self.lock_state()?;
        let mut deleted = 0;
        if config.delete && config.retention_ms >= 0 {
            let is_old = |segment: &Segment| now_ms.saturating_sub(segment.largest_timestamp()) > config.retention_ms;
            deleted += self.delete_oldest(&mut state, now_ms, |segment, _| {
                // A damaged time index must not cost records that are not old.
                is_old(segment) && segment.check_times().is_ok() && is_old(segment)
            })?;
        }
        if config.delete && config.retention_bytes >= 0 {
            let mut excess = i64::try_from(self.size()).unwrap_or(i64::MAX).saturating_sub(config.retention_bytes);
            deleted += self.delete_oldest(&mut state, now_ms, |segment, _| {
                let size = i64::try_from(segment.size()).unwrap_or(i64::MAX);
                let goes = excess >= size && excess > 0;
                excess -= size;
                goes
            })?;
        }
        let log_start = self.log_start_offset().0;
        deleted += self.delete_oldest(&mut state, now_ms, |_, next| next.is_some_and(|next| next <= log_start))?;
        Ok(deleted)
    }

    /// Makes `offset` the first one that may be read (DeleteRecords), and removes the segments that lie before it as a whole. Gives the new log
    /// start.
    ///
    /// # Errors
    /// [`ReadError::OffsetOutOfRange`] above the high watermark; [`ReadError::Storage`].
    pub fn delete_records_before(&self, offset: Offset) -> Result<Offset, ReadError> {
        self.check_open()?;
        if offset > self.high_watermark() || offset.0 < 0 {
            return Err(ReadError::OffsetOutOfRange {
                partition: self.partition().clone(),
                offset,
                log_start: self.log_start_offset(),
                log_end: self.log_end_offset(),
            });
        }
        let mut state = self.lock_state()?;
        self.raise_log_start(offset.0)?;
        let log_start = self.log_start_offset().0;
        self.delete_oldest(&mut state, self.clock.now_ms(), |_, next| next.is_some_and(|next| next <= log_start))?;
        Ok(Offset(log_start))
    }

    /// A follower takes over its leader's log start, which may lie beyond its own end of committed records but not beyond its log.
    ///
    /// # Errors
    /// What the file system says.
    pub fn follow_log_start(&self, offset: Offset) -> Result<()> {
        let mut state = self.lock_state()?;
        let bounded = offset.0.min(self.log_end_offset().0);
        self.raise_log_start(bounded)?;
        let log_start = self.log_start_offset().0;
        self.delete_oldest(&mut state, self.clock.now_ms(), |_, next| next.is_some_and(|next| next <= log_start))?;
        Ok(())
    }

    fn raise_log_start(&self, offset: i64) -> Result<()> {
        let before = self.log_start.fetch_max(offset, Ordering::AcqRel);
        if before >= offset {
            return Ok(());
        }
        self.local_log_start.fetch_max(offset, Ordering::AcqRel);
        self.high_watermark.fetch_max(offset, Ordering::AcqRel);
        match self.epochs.write().truncate_from_start(offset) {
            // Epochs of records that are gone do no harm, and room is what retention is to make.
            Err(StorageError::NoSpace { .. }) => Ok(()),
            result => result,
        }
    }

    /// Removes segments from the oldest on while `goes` says so of a segment and the first offset of the one after it.
    fn delete_oldest(
        &self,
        state: &mut State,
        now_ms: i64,
        mut goes: impl FnMut(&Segment, Option<i64>) -> bool,
    ) -> Result<usize> {
        let segments = self.segments();
        let mut doomed: Vec<Arc<Segment>> = Vec::new();
        for (at, segment) in segments.iter().enumerate() {
            let next = segments.get(at + 1).map(|next| next.base_offset());
            let upper = next.unwrap_or(self.log_end_offset().0);
            let last_and_empty = next.is_none() && segment.size() == 0;
            if upper > self.high_watermark().0 || last_and_empty || !goes(segment, next) {
                break;
            }
            doomed.push(segment.clone());
        }
        if doomed.is_empty() {
            return Ok(0);
        }
        if doomed.len() == segments.len() {
            match self.roll(state, self.log_end_offset().0, now_ms) {
                // On a full disk there may be no room for an empty segment; then the last one stays.
                Err(StorageError::NoSpace { .. }) if doomed.len() > 1 => doomed.truncate(doomed.len() - 1),
                rolled => drop(rolled?),
            }
        }
        let first_kept = segments.get(doomed.len()).map_or(self.log_end_offset().0, |kept| kept.base_offset());
        self.raise_log_start(first_kept)?;
        for segment in &doomed {
            self.take_out(state, segment, now_ms)?;
            tracing::info!(
                partition = %self.partition(),
                base_offset = segment.base_offset(),
                bytes = segment.size(),
                log_start_offset = self.log_start_offset().0,
                "deleted a segment"
            );
        }
        self.remove_snapshots(None)?;
        Ok(doomed.len())
    }
}
