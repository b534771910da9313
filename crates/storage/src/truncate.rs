//! Cutting a log at its end: a follower that diverged gives up what its leader never had (KIP-101).
//!
//! The recovery point on disk is lowered before a byte goes, so a crash in the middle is never taken for lost data. The cut itself is on disk
//! before anything is appended behind it: else a power cut could bring old records back under the epoch of those that took their place. A cut that stops half way,
//! for whatever reason, takes the directory offline: what memory says of the log is no longer what its files hold, and an append would go behind records that were
//! to go.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::types::Offset;

use crate::error::{Result, StorageError};
use crate::log::{DeletedSegment, Log, State};
use crate::recovery::{self, LoadOptions};
use crate::segment::Segment;

impl Log {
    /// Removes the record at `offset` and all after it; a batch that holds it goes as a whole. Gives whether anything went.
    ///
    /// # Errors
    /// What the file system says; once the cut has begun, the directory is offline then.
    pub fn truncate_to(&self, offset: Offset) -> Result<bool> {
        self.check_open()?;
        if offset >= self.log_end_offset() {
            // An epoch that this replica began as leader and wrote nothing in goes all the same: the new leader never had it, and would find
            // the logs to part at every fetch (Kafka `UnifiedLog.truncateTo`).
            let _state = self.lock_state()?;
            self.epochs.write().truncate_from_end(offset.0);
            return Ok(false);
        }
        let first_base = self.segments.read().first_key_value().map_or(0, |(base, _)| *base);
        if offset.0 < first_base {
            self.truncate_fully_and_start_at(offset)?;
            return Ok(true);
        }
        let _flush = self.lock_flushes();
        let mut state = self.lock_state()?;
        self.touch();
        let durable = self.durable_offset().0;
        self.lower_promises(self.end_after_cut_min(offset.0), offset.0)?;
        self.whole_or_offline(self.cut(&mut state, offset, durable))?;
        Ok(true)
    }

    fn cut(&self, state: &mut State, offset: Offset, durable: i64) -> Result<()> {
        self.cuts.fetch_add(1, Ordering::AcqRel);
        let now_ms = self.clock.now_ms();
        let active = self.active();
        state.preallocation.release(&active)?;
        // The end moves first: nobody reads what is about to go.
        self.lower_offsets(offset.0);
        let above: Vec<_> =
            self.segments.read().range(offset.0.saturating_add(1)..).map(|(_, segment)| segment.clone()).collect();
        for segment in above.iter().rev() {
            self.take_out(state, segment, now_ms)?;
        }
        let active = self.active();
        active.truncate_to(offset.0)?;
        active.sync()?;
        self.sync_names()?;
        let log_end = active.end().next_offset.min(offset.0).max(active.base_offset());
        self.lower_offsets(log_end);
        self.log_end.store(log_end, Ordering::Release);
        self.durable.fetch_max(durable.min(log_end), Ordering::AcqRel);
        let log_dir = self.dir.log_dir();
        match log_dir.recovery_points.raise(log_dir, self.partition(), self.durable_offset().0) {
            // A full disk takes nothing back: the next checkpoint says it.
            Ok(()) | Err(StorageError::NoSpace { .. }) => {}
            Err(error) => return Err(error),
        }
        self.epochs.write().truncate_from_end(log_end);
        self.reload_producers(state, log_end, now_ms)?;
        tracing::info!(partition = %self.partition(), offset = log_end, "truncated the log");
        Ok(())
    }

    fn whole_or_offline(&self, cut: Result<()>) -> Result<()> {
        if let Err(error) = &cut {
            self.dir.log_dir().take_offline(error);
        }
        cut
    }

    /// Empties the log; the next record gets `offset`. A follower does so when its leader's log begins beyond its own end.
    ///
    /// # Errors
    /// What the file system says; once the cut has begun, the directory is offline then.
    pub fn truncate_fully_and_start_at(&self, offset: Offset) -> Result<()> {
        self.check_open()?;
        let _flush = self.lock_flushes();
        let mut state = self.lock_state()?;
        self.touch();
        self.lower_promises(0, offset.0)?;
        self.whole_or_offline(self.empty(&mut state, offset))
    }

    fn empty(&self, state: &mut State, offset: Offset) -> Result<()> {
        self.cuts.fetch_add(1, Ordering::AcqRel);
        let now_ms = self.clock.now_ms();
        let active = self.active();
        state.preallocation.release(&active)?;
        for segment in self.segments().into_iter().rev() {
            // The last one to go leaves the list only when its successor is in it: a log is never without a segment.
            if self.segments.read().len() > 1 {
                self.take_out(state, &segment, now_ms)?;
            }
        }
        let last = self.active();
        last.mark_deleted()?;
        let fresh = Arc::new(Segment::create(&self.dir, offset.0, &self.cache, now_ms)?);
        {
            let mut segments = self.segments.write();
            segments.clear();
            segments.insert(offset.0, fresh);
        }
        state.deleted.push(DeletedSegment {
            segment: last,
            remove_at_ms: now_ms.saturating_add(self.config().file_delete_delay_ms),
        });
        self.sync_names()?;
        self.log_start.store(offset.0, Ordering::Release);
        self.local_log_start.store(offset.0, Ordering::Release);
        self.log_end.store(offset.0, Ordering::Release);
        self.high_watermark.store(offset.0, Ordering::Release);
        self.durable.store(offset.0, Ordering::Release);
        self.epochs.write().clear()?;
        self.reload_producers(state, offset.0, now_ms)?;
        tracing::info!(partition = %self.partition(), offset = offset.0, "emptied the log");
        Ok(())
    }

    /// Lowers what the log and its checkpoints promise: how far it was synced, and where it starts. In memory first, so that no checkpoint
    /// written meanwhile takes it back.
    fn lower_promises(&self, synced_to: i64, start: i64) -> Result<()> {
        self.durable.fetch_min(synced_to, Ordering::AcqRel);
        let log_dir = self.dir.log_dir();
        log_dir.recovery_points.lower(log_dir, self.partition(), synced_to)?;
        log_dir.cleaned.lower(log_dir, self.partition(), synced_to)?;
        log_dir.log_starts.lower(log_dir, self.partition(), synced_to.min(start))
    }

    /// Where the log ends at the lowest once it is cut at `offset`: a batch that holds the offset goes as a whole, and of a compacted log the
    /// records before it may be gone already.
    fn end_after_cut_min(&self, offset: i64) -> i64 {
        self.segments_from(offset).first().map_or(0, |segment| segment.base_offset().min(offset))
    }

    fn lower_offsets(&self, log_end: i64) {
        self.log_end.fetch_min(log_end, Ordering::AcqRel);
        self.durable.fetch_min(log_end, Ordering::AcqRel);
        self.high_watermark.fetch_min(log_end, Ordering::AcqRel);
        self.log_start.fetch_min(log_end, Ordering::AcqRel);
        self.local_log_start.fetch_min(log_end, Ordering::AcqRel);
    }

    /// Builds the producer state anew from the latest snapshot that the cut left standing, and the records after it.
    fn reload_producers(&self, state: &mut State, log_end: i64, now_ms: i64) -> Result<()> {
        let names = recovery::list(&self.dir)?;
        recovery::remove_snapshots_above(self.dir.disk(), &names, log_end)?;
        let segments = self.segments.read().clone();
        let log_start = self.log_start_offset().0;
        let options = LoadOptions {
            clean: false,
            recovery_point: 0,
            recovery_point_is_exact: false,
            log_start,
            was_cleaned: false,
            now_ms,
        };
        state.producers = recovery::load_producers(
            &self.dir,
            self.partition(),
            &names,
            &segments,
            log_start,
            log_end,
            options,
            &self.config(),
        )?;
        self.publish_first_unstable(state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use protocol::types::BrokerId;
    use runtime::sim_disk::{Fault, Operation, SimDisk};
    use runtime::{Clock, Disk};

    use super::*;
    use crate::config::{LogConfig, LogManagerConfig};
    use crate::log_manager::LogManager;
    use crate::testing::{append, partition, records_from, values};

    /// Found by the simulator (seed 23): the end moved, the file was not cut, and the next records went behind those that were to go.
    #[test]
    fn a_cut_that_cannot_read_its_segment_leaves_no_log_to_append_to() {
        let sim = SimDisk::new();
        let mut config = LogManagerConfig::new(vec![PathBuf::from("/logs")], BrokerId(1));
        config.flusher_threads = 0;
        let (manager, _) = LogManager::open(config.clone(), Disk::Sim(sim), Clock::real()).unwrap();
        let log = manager.get_or_create(&partition(), None, LogConfig::default()).unwrap();
        for value in ["a", "b", "c"] {
            append(&log, &[value]);
        }
        sim.add_fault(Fault::always(Operation::Read, ".log"));
        log.truncate_to(Offset(1)).unwrap_err();
        sim.clear_faults();
        assert!(log.check_open().is_err(), "what the files hold is not known");
        manager.abandon();
        let (manager, _) = LogManager::open(config, Disk::Sim(sim), Clock::real()).unwrap();
        let log = manager.get(&partition()).unwrap();
        assert_eq!(values(&records_from(&log, 0)), ["a", "b", "c"]);
        assert!(log.truncate_to(Offset(1)).unwrap());
        append(&log, &["d"]);
        assert_eq!(values(&records_from(&log, 0)), ["a", "d"]);
    }
}
