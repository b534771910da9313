//! What time and the end ask of a log: delayed removals, syncs that are due, letting go when idle, closing.

use std::sync::atomic::Ordering;

use crate::error::{Result, StorageError};
use crate::log::{Log, State};
use crate::producer_state::snapshot;

/// Time without an append after which a log lets go of all that it holds for speed: reserved space, index entries in memory, the open file.
pub const IDLE_MS: i64 = 30_000;

impl Log {
    /// The work of time: removes files whose delay is over, forgets silent producers, asks for syncs that `flush.ms` wants, and lets go of
    /// everything held for speed when the log is idle.
    ///
    /// # Errors
    /// What the file system says.
    pub fn run_maintenance(&self, now_ms: i64) -> Result<()> {
        self.check_open()?;
        let config = self.config();
        {
            let mut state = self.lock_state()?;
            state.producers.expire(now_ms, config.producer_id_expiration_ms);
            self.remove_deleted(&mut state, now_ms)?;
        }
        if self.dir.has_wrong_index.swap(false, Ordering::AcqRel) {
            for closed in self.segments().iter().rev().skip(1) {
                self.touch();
                closed.mend_indexes(&config)?;
            }
        }
        let unsynced = self.durable_offset() < self.log_end_offset();
        if unsynced
            && config.flush_ms != i64::MAX
            && now_ms.saturating_sub(self.unflushed_since_ms.load(Ordering::Relaxed)) >= config.flush_ms
        {
            self.request_flush();
        }
        let idle = now_ms.saturating_sub(self.last_append_ms.load(Ordering::Relaxed)) >= IDLE_MS;
        if idle && !self.idle_work_done.swap(true, Ordering::Relaxed) {
            // Long written, so nearly free; and it bounds what a power cut can take from a log that nobody writes to.
            self.flush()?;
            let mut state = self.lock_state()?;
            let active = self.active();
            state.preallocation.release(&active)?;
            active.write_out_indexes()?;
            if self.durable_offset() == self.log_end_offset() {
                active.log_file().unpin();
            }
        }
        Ok(())
    }

    /// Has the flusher sync all there is, without waiting for it.
    pub fn request_flush(&self) {
        if let (Some(flusher), Some(me)) = (self.flusher.get(), self.me.upgrade()) {
            flusher.request(&me, self.log_end_offset(), Box::new(|_| {}));
        }
    }

    pub(crate) fn remove_deleted(&self, state: &mut State, now_ms: i64) -> Result<()> {
        let mut kept = Vec::new();
        for deleted in state.deleted.drain(..) {
            if now_ms < deleted.remove_at_ms {
                kept.push(deleted);
            } else {
                deleted.segment.remove()?;
            }
        }
        state.deleted = kept;
        Ok(())
    }

    /// Syncs everything, writes what makes the next start quick, and refuses further use. A log that nothing was written to since it was opened in good order is only closed.
    ///
    /// # Errors
    /// What the file system says; the next start must check the log then.
    pub fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        {
            // An append that passed the check before is finished when the lock is ours.
            let mut state = self.state.lock();
            if !self.is_touched() {
                drop(state);
                self.segments().iter().for_each(|segment| segment.close());
                return Ok(());
            }
            let active = self.active();
            self.epochs.write().write_out()?;
            state.preallocation.release(&active)?;
            active.write_out_indexes()?;
            active.sync_indexes()?;
            self.remove_deleted(&mut state, i64::MAX)?;
            self.write_snapshot(&state, self.log_end_offset().0, true)?;
            self.remove_snapshots(Some(self.log_end_offset().0))?;
        }
        self.flush()?;
        self.segments().iter().for_each(|segment| segment.close());
        Ok(())
    }

    /// Refuses further use without writing anything: the directory is about to go.
    pub(crate) fn abandon(&self) {
        // With both locks held nobody is at work on the files, and whoever comes later finds the log closed.
        let _flush = self.flush_lock.lock();
        self.closed.store(true, Ordering::Release);
        self.abandoned.store(true, Ordering::Release);
        let mut state = self.state.lock();
        state.preallocation.abandon();
        state.deleted.clear();
    }

    /// Removes snapshots that belong to no segment, `extra` excepted.
    pub(crate) fn remove_snapshots(&self, extra: Option<i64>) -> Result<()> {
        let path = self.dir.path();
        let bases: Vec<i64> = self.segments.read().keys().copied().collect();
        let entries = self.dir.disk().read_dir(&path).map_err(|error| StorageError::io("list", &path, error))?;
        for entry in entries {
            let Some(offset) = entry.name.to_str().and_then(snapshot::offset_of) else { continue };
            if Some(offset) != extra && bases.binary_search(&offset).is_err() {
                self.dir
                    .disk()
                    .remove_file(&entry.path)
                    .map_err(|error| StorageError::io("remove", &entry.path, error))?;
            }
        }
        Ok(())
    }
}
