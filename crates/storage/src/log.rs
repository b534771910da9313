//! The log of one partition: segments in order, and the offsets that bound it.
//!
//! Always true: `log_start_offset <= log_end_offset`, `durable_offset <= log_end_offset`, segments do not overlap and the last one is where
//! appends go. One mutex orders appends, rolls and cuts; reads take it never, only the segment list for a lookup. Lock order: flush, state,
//! segments.

mod upkeep;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{OnceLock, Weak};

use parking_lot::{Mutex, MutexGuard, RwLock};
use protocol::types::{LeaderEpoch, Offset, TopicPartition, Uuid};
use runtime::Clock;

use crate::bookmarks::Bookmarks;
use crate::checkpoints::{self, PARTITION_METADATA_FILE};
use crate::config::LogConfig;
use crate::error::{Result, StorageError};
use crate::file_cache::FileCache;
use crate::flusher::{FlushWaiters, Flusher};
use crate::leader_epoch::LeaderEpochCache;
use crate::log_dir::{self, PartitionDir};
use crate::preallocation::Preallocation;
use crate::producer_state::{Producer, ProducerStates, snapshot};
use crate::segment::Segment;

pub use upkeep::IDLE_MS;

/// The log of one partition.
#[derive(Debug)]
pub struct Log {
    pub(crate) me: Weak<Log>,
    partition: TopicPartition,
    topic_id: RwLock<Option<Uuid>>,
    /// The topic id is in memory alone, because no record is in the log yet.
    topic_id_unwritten: AtomicBool,
    pub(crate) dir: Arc<PartitionDir>,
    pub(crate) cache: Arc<FileCache>,
    pub(crate) clock: Clock,
    config: RwLock<Arc<LogConfig>>,
    pub(crate) state: Mutex<State>,
    pub(crate) segments: RwLock<BTreeMap<i64, Arc<Segment>>>,
    pub(crate) epochs: RwLock<LeaderEpochCache>,
    pub(crate) log_start: AtomicI64,
    pub(crate) local_log_start: AtomicI64,
    pub(crate) log_end: AtomicI64,
    pub(crate) high_watermark: AtomicI64,
    pub(crate) first_unstable: AtomicI64,
    pub(crate) durable: AtomicI64,
    pub(crate) names_changed: AtomicBool,
    /// Something was written since the log was made or opened in good order: until then there is nothing to sync and nothing to write when it is closed.
    touched: AtomicBool,
    /// How often the end was cut: what was read before may not be put back after.
    pub(crate) cuts: AtomicU64,
    pub(crate) bookmarks: Mutex<Bookmarks>,
    pub(crate) unflushed_since_ms: AtomicI64,
    pub(crate) last_append_ms: AtomicI64,
    idle_work_done: AtomicBool,
    flush_lock: Mutex<()>,
    pub(crate) flush_waiters: FlushWaiters,
    pub(crate) flusher: OnceLock<Flusher>,
    closed: AtomicBool,
    abandoned: AtomicBool,
}

/// What only the holder of the append lock touches.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) producers: ProducerStates,
    pub(crate) preallocation: Preallocation,
    pub(crate) deleted: Vec<DeletedSegment>,
}

/// A segment out of use whose files are still there.
#[derive(Debug)]
pub(crate) struct DeletedSegment {
    pub(crate) segment: Arc<Segment>,
    pub(crate) remove_at_ms: i64,
}

/// What a start found in a partition's directory, to build a [`Log`] from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) segments: BTreeMap<i64, Arc<Segment>>,
    pub(crate) producers: ProducerStates,
    pub(crate) epochs: LeaderEpochCache,
    pub(crate) log_start: i64,
    pub(crate) log_end: i64,
    pub(crate) durable: i64,
    pub(crate) topic_id: Option<Uuid>,
    /// The names in the directory outlast a power cut.
    pub(crate) is_named: bool,
    /// Nothing has to be written or synced before the next record comes.
    pub(crate) is_untouched: bool,
}

impl Log {
    pub(crate) fn assemble(
        partition: TopicPartition,
        dir: Arc<PartitionDir>,
        cache: Arc<FileCache>,
        clock: Clock,
        config: LogConfig,
        loaded: Loaded,
    ) -> Arc<Log> {
        let first_unstable = loaded.producers.first_unstable_offset().unwrap_or(i64::MAX);
        let active_bytes = loaded.segments.last_key_value().map_or(0, |(_, segment)| segment.size());
        let preallocation = Preallocation::new(dir.log_dir().clone(), active_bytes);
        Arc::new_cyclic(|me| Log {
            me: me.clone(),
            partition,
            topic_id: RwLock::new(loaded.topic_id),
            topic_id_unwritten: AtomicBool::new(false),
            dir,
            cache,
            clock,
            config: RwLock::new(Arc::new(config)),
            state: Mutex::new(State { producers: loaded.producers, preallocation, deleted: Vec::new() }),
            segments: RwLock::new(loaded.segments),
            epochs: RwLock::new(loaded.epochs),
            log_start: AtomicI64::new(loaded.log_start),
            local_log_start: AtomicI64::new(loaded.log_start),
            log_end: AtomicI64::new(loaded.log_end),
            high_watermark: AtomicI64::new(loaded.log_start),
            first_unstable: AtomicI64::new(first_unstable),
            durable: AtomicI64::new(loaded.durable),
            names_changed: AtomicBool::new(!loaded.is_named),
            touched: AtomicBool::new(!loaded.is_untouched),
            cuts: AtomicU64::new(0),
            bookmarks: Mutex::new(Bookmarks::default()),
            unflushed_since_ms: AtomicI64::new(clock.now_ms()),
            last_append_ms: AtomicI64::new(clock.now_ms()),
            idle_work_done: AtomicBool::new(false),
            flush_lock: Mutex::new(()),
            flush_waiters: FlushWaiters::default(),
            flusher: OnceLock::new(),
            closed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        })
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Arc<PartitionDir> {
        &self.dir
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> Arc<LogConfig> {
        self.config.read().clone()
    }

    /// Changes the settings; the next append goes by them.
    pub fn update_config(&self, config: LogConfig) {
        *self.config.write() = Arc::new(config);
    }

    /// Topic id: that of `partition.metadata`, or the one that will be written there before the first record.
    #[must_use]
    pub fn topic_id(&self) -> Option<Uuid> {
        *self.topic_id.read()
    }

    /// Notes the topic id where none is known yet. It is in `partition.metadata` before any record is in the log (as with Kafka's `maybeFlushMetadataFile`): a log without
    /// records can be of any topic of its name.
    ///
    /// # Errors
    /// [`StorageError::TopicIdMismatch`] where another is known; or the write failed.
    pub fn assign_topic_id(&self, id: Uuid) -> Result<()> {
        let mut known = self.topic_id();
        if known.is_none() {
            let _state = self.lock_state()?;
            known = self.topic_id();
            if known.is_none() {
                if self.size() > 0 {
                    self.write_topic_id(id)?;
                } else {
                    self.topic_id_unwritten.store(true, Ordering::Release);
                }
                *self.topic_id.write() = Some(id);
                return Ok(());
            }
        }
        match known {
            Some(stored) if stored != id => Err(StorageError::TopicIdMismatch {
                partition: self.partition.clone(),
                dir: self.dir.path(),
                stored,
                expected: id,
            }),
            _ => Ok(()),
        }
    }

    fn write_topic_id(&self, id: Uuid) -> Result<()> {
        let path = self.dir.file(PARTITION_METADATA_FILE);
        checkpoints::write_topic_id(self.dir.disk(), &path, id)
            .map_err(|error| log_dir::judge(self.dir.log_dir(), &path, error))
    }

    /// Brings to disk what must be there before a record is: whose log it is, and which epochs began where. The caller holds the append lock.
    pub(crate) fn write_what_records_need(&self) -> Result<()> {
        if self.topic_id_unwritten.load(Ordering::Acquire) {
            if let Some(id) = self.topic_id() {
                self.write_topic_id(id)?;
            }
            self.topic_id_unwritten.store(false, Ordering::Release);
        }
        if self.epochs.read().is_unwritten() {
            self.epochs.write().write_out()?;
        }
        Ok(())
    }

    /// First offset that may be read: moved by retention and DeleteRecords.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        Offset(self.log_start.load(Ordering::Acquire))
    }

    /// First offset kept on this disk. Equal to the log start offset until older segments are kept elsewhere.
    #[must_use]
    pub fn local_log_start_offset(&self) -> Offset {
        Offset(self.local_log_start.load(Ordering::Acquire))
    }

    /// Offset that the next record gets.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        Offset(self.log_end.load(Ordering::Acquire))
    }

    /// Offset up to which records are known to be on stable storage.
    #[must_use]
    pub fn durable_offset(&self) -> Offset {
        Offset(self.durable.load(Ordering::Acquire))
    }

    /// The high watermark last told by [`Log::set_high_watermark`]; at a start, the one of the checkpoint.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// Tells the log its high watermark: retention keeps to it and the checkpoint repeats it. It is brought between start and end of the log.
    pub fn set_high_watermark(&self, offset: Offset) {
        let bounded = offset.0.min(self.log_end_offset().0).max(self.log_start_offset().0);
        self.high_watermark.store(bounded, Ordering::Release);
    }

    /// Offset below which no transaction is open, at most the high watermark given.
    #[must_use]
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        Offset(self.first_unstable.load(Ordering::Acquire).min(high_watermark.0))
    }

    /// Latest leader epoch in the log.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.read().latest()
    }

    /// Epoch in which the record at `offset` was written.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.read().epoch_of(offset.0)
    }

    /// Where the records of `epoch`, or of the nearest earlier one, end (OffsetForLeaderEpoch). `None` where the log knows no epoch so late.
    #[must_use]
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.read().end_offset_for(epoch, self.log_end_offset())
    }

    /// Notes that this broker leads from `epoch` on, which begins at the end of the log, before anything is appended in it. It is on disk before the first record of it.
    ///
    /// # Errors
    /// The log is closed or its directory offline.
    pub fn assign_epoch(&self, epoch: LeaderEpoch) -> Result<()> {
        let _state = self.lock_state()?;
        self.epochs.write().assign(epoch.0, self.log_end_offset().0);
        Ok(())
    }

    /// The segments, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().values().cloned().collect()
    }

    /// Bytes of all segments (DescribeLogDirs).
    #[must_use]
    pub fn size(&self) -> u64 {
        self.segments.read().values().map(|segment| segment.size()).sum()
    }

    /// The producers the log knows (DescribeProducers).
    #[must_use]
    pub fn producers(&self) -> Vec<(i64, Producer)> {
        self.state.lock().producers.all()
    }

    /// Fails where the log was closed or deleted, or its directory is offline.
    ///
    /// # Errors
    /// [`StorageError::Closed`], [`StorageError::DirOffline`].
    pub fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed { partition: self.partition.clone() });
        }
        self.dir.log_dir().check()
    }

    /// Fails as [`Log::check_open`] does, and where the directory is full.
    ///
    /// # Errors
    /// What [`Log::check_open`] says, or that there is no room.
    pub fn check_appends(&self) -> Result<()> {
        self.check_open()?;
        self.dir.log_dir().check_appends()
    }

    /// How often the end of the log was cut.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }

    /// The append lock, of a log that is open.
    pub(crate) fn lock_state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        self.check_open()?;
        Ok(state)
    }

    /// Brings everything appended so far to stable storage and gives the offset it reaches. Blocks; see [`Flusher`] for one sync for many.
    ///
    /// # Errors
    /// The log's directory is offline, now or already; nothing since the last success may be trusted.
    pub fn flush(&self) -> Result<Offset> {
        let _flush = self.flush_lock.lock();
        self.dir.log_dir().check()?;
        if self.abandoned.load(Ordering::Acquire) {
            return Err(StorageError::Closed { partition: self.partition.clone() });
        }
        let up_to = self.log_end_offset();
        let from = self.durable_offset();
        if from == up_to && !self.is_touched() {
            return Ok(up_to);
        }
        let names_changed = self.names_changed.swap(false, Ordering::AcqRel);
        if from == up_to && !names_changed {
            return Ok(up_to);
        }
        self.unflushed_since_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        let unsynced = self.segments_from(from.0);
        for segment in &unsynced {
            segment.sync()?;
        }
        if names_changed {
            self.sync_names()?;
        }
        for segment in unsynced.iter().rev().skip(1) {
            segment.sync_indexes()?;
            segment.log_file().unpin();
        }
        self.durable.fetch_max(up_to.0, Ordering::AcqRel);
        if unsynced.len() > 1 {
            // A closed segment is below the recovery point from here on: damage in it is never taken for a torn write.
            let log_dir = self.dir.log_dir();
            match log_dir.recovery_points.raise(log_dir, &self.partition, up_to.0) {
                // A full disk takes nothing back: the next checkpoint says it.
                Ok(()) | Err(StorageError::NoSpace { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(up_to)
    }

    /// Brings new, changed and removed names of files to stable storage.
    pub(crate) fn sync_names(&self) -> Result<()> {
        self.dir.sync_names()
    }

    /// Whether anything was written since the log was made or opened in good order.
    pub(crate) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Acquire)
    }

    /// Notes that something is about to be written.
    pub(crate) fn touch(&self) {
        self.touched.store(true, Ordering::Release);
    }

    /// The segment that holds `offset` and all after it.
    pub(crate) fn segments_from(&self, offset: i64) -> Vec<Arc<Segment>> {
        let segments = self.segments.read();
        let floor = segments.range(..=offset).next_back().map_or(i64::MIN, |(base, _)| *base);
        segments.range(floor..).map(|(_, segment)| segment.clone()).collect()
    }

    pub(crate) fn active(&self) -> Arc<Segment> {
        let segments = self.segments.read();
        let (_, active) = segments.last_key_value().expect("a log has at least one segment");
        active.clone()
    }

    /// Stops flushes while the log is cut below its durable offset.
    pub(crate) fn lock_flushes(&self) -> MutexGuard<'_, ()> {
        self.flush_lock.lock()
    }

    /// Closes the active segment and begins one at `base_offset`. The caller holds the append lock.
    pub(crate) fn roll(&self, state: &mut State, base_offset: i64, now_ms: i64) -> Result<Arc<Segment>> {
        let active = self.active();
        if active.size() == 0 && active.base_offset() == base_offset {
            return Ok(active);
        }
        self.touch();
        active.write_out_indexes()?;
        state.preallocation.release(&active)?;
        self.write_snapshot(state, base_offset, false)?;
        let next = Arc::new(Segment::create(&self.dir, base_offset, &self.cache, now_ms)?);
        active.set_next_offset(base_offset);
        self.names_changed.store(true, Ordering::Release);
        self.segments.write().insert(base_offset, next.clone());
        if active.size() == 0 {
            // It was empty and its name cannot carry what comes: its place is taken by the new one.
            self.take_out(state, &active, now_ms)?;
        }
        tracing::debug!(partition = %self.partition, base_offset, "rolled a segment");
        // Closed segments are synced soon, so that a crash finds damage only where a log grows.
        if let (Some(flusher), Some(me)) = (self.flusher.get(), self.me.upgrade()) {
            flusher.request(&me, Offset(base_offset), Box::new(|_| {}));
        }
        Ok(next)
    }

    /// Takes a segment out of the list and marks its files; they are removed later.
    pub(crate) fn take_out(&self, state: &mut State, segment: &Arc<Segment>, now_ms: i64) -> Result<()> {
        self.touch();
        {
            let mut segments = self.segments.write();
            if segments.get(&segment.base_offset()).is_some_and(|held| Arc::ptr_eq(held, segment)) {
                segments.remove(&segment.base_offset());
            }
        }
        segment.mark_deleted()?;
        self.names_changed.store(true, Ordering::Release);
        self.delete_later(state, std::slice::from_ref(segment), now_ms);
        Ok(())
    }

    /// Has the files of segments that are out of use removed after `file.delete.delay.ms`.
    pub(crate) fn delete_later(&self, state: &mut State, segments: &[Arc<Segment>], now_ms: i64) {
        let remove_at_ms = now_ms.saturating_add(self.config().file_delete_delay_ms);
        state.deleted.extend(segments.iter().map(|segment| DeletedSegment { segment: segment.clone(), remove_at_ms }));
    }

    pub(crate) fn write_snapshot(&self, state: &State, offset: i64, synced: bool) -> Result<()> {
        let path = self.dir.file(&snapshot::file_name(offset));
        snapshot::write(self.dir.disk(), &path, &state.producers.all(), synced)
            .map_err(|error| self.dir.log_dir().write_failed("write", &path, error))
    }

    pub(crate) fn publish_first_unstable(&self, state: &State) {
        self.first_unstable.store(state.producers.first_unstable_offset().unwrap_or(i64::MAX), Ordering::Release);
    }

    pub(crate) fn note_append(&self, now_ms: i64) {
        self.last_append_ms.store(now_ms, Ordering::Relaxed);
        self.idle_work_done.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod model_tests;
