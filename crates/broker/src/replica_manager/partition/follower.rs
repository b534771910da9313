//! A partition as a follower: where it fetches from, and what it does with what came.
//!
//! Always true: bytes of a leader reach the log only while this replica follows that leader in that epoch; a change of role waits for what is under way. A follower cuts its
//! log by epochs and never to the high watermark (KIP-101, KIP-279).

use std::sync::Arc;

use protocol::types::{LeaderEpoch, Offset};
use replication::epochs::truncation;
use replication::{EpochEnd, Role};
use storage::{AppendError, StorageError};
use tracing::{info, warn};

use super::HostedPartition;

/// Where a follower's next fetch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPosition {
    /// Its log end.
    pub offset: Offset,
    /// Epoch of its last record, or the latest it led in; -1 for an empty log.
    pub last_epoch: LeaderEpoch,
    /// Its log start.
    pub log_start: Offset,
}

/// What a leader sent for one partition.
#[derive(Debug, Clone, Copy)]
pub struct Fetched<'a> {
    /// Epoch the fetch was made in.
    pub leader_epoch: LeaderEpoch,
    /// Offset it asked for.
    pub offset: Offset,
    /// Batches, the last one perhaps cut.
    pub records: &'a [u8],
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// The leader's log start.
    pub log_start: Offset,
}

/// Why nothing came of what a leader sent.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The replica leads by now, or follows another leader or in another epoch.
    #[error("the replica no longer follows in this epoch")]
    NotFollowing,
    /// The log takes the batches not.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl HostedPartition {
    /// Where the next fetch begins.
    #[must_use]
    pub fn fetch_position(&self) -> FetchPosition {
        FetchPosition {
            offset: self.log.log_end_offset(),
            last_epoch: self.log.latest_epoch().unwrap_or(LeaderEpoch::NONE),
            log_start: self.log.log_start_offset(),
        }
    }

    /// Whether the next fetch must wait for the disk, because it will be taken for "this is safe with me" (`log.flush.before.ack=always`).
    #[must_use]
    pub fn must_flush_before_fetch(&self) -> bool {
        let durable = self.log.durable_offset();
        let mut replica = self.replica.lock();
        // A follower has nobody to tell of it.
        let _ = replica.on_flushed(durable);
        replica.must_flush_before_fetch()
    }

    /// Whether what is fetched of it counts among the throttled bytes (KIP-73).
    #[must_use]
    pub fn is_throttled_follower(&self) -> bool {
        self.config.read().follower_throttled.contains(self.partition.partition, self.rules.id)
    }

    /// Appends what the leader sent and takes its high watermark and log start over. Gives the bytes that were appended.
    ///
    /// # Errors
    /// [`FollowError`]; the log is as it was then, except where the disk failed.
    pub fn take_fetched(self: &Arc<Self>, fetched: &Fetched<'_>) -> Result<usize, FollowError> {
        let (bytes, effects) = {
            let _lasts = self.leadership.read();
            self.check_follows(fetched.leader_epoch)?;
            let before = self.log.log_end_offset();
            if before != fetched.offset {
                // Cut or filled since by an answer that came late: the next fetch asks from where the log ends now.
                return Ok(0);
            }
            let appended = match fetched.records {
                [] => None,
                records => self.log.append_as_follower(records, self.rules.clock.now_ms())?,
            };
            let mut replica = self.replica.lock();
            let grown = match appended {
                Some(_) => replica.on_append(self.log.log_end_offset(), self.lag_now_ms()),
                None => replication::Effects::NONE,
            };
            debug_assert!(grown.is_empty(), "an append asks nothing of a follower");
            let risen = replica.on_leader_high_watermark(fetched.leader_epoch, fetched.high_watermark);
            drop(replica);
            if fetched.log_start > self.log.log_start_offset() {
                self.log.follow_log_start(fetched.log_start)?;
                let raised = self.replica.lock().on_log_start(self.log.log_start_offset());
                self.carry_out(raised);
            }
            (appended.map_or(0, |_| fetched.records.len()), risen)
        };
        self.counters.replication_bytes_in.add(bytes as u64);
        self.carry_out(effects);
        Ok(bytes)
    }

    /// Cuts the log where it parts from the leader's, as the leader's answer about this log's latest epoch tells. More than one cut may be needed: the next fetch names the
    /// epoch that is the latest then.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn truncate_to_leader(self: &Arc<Self>, epoch: LeaderEpoch, leader: EpochEnd) -> Result<(), FollowError> {
        let _lasts = self.leadership.read();
        self.check_follows(epoch)?;
        let own =
            |asked| self.log.end_offset_for_epoch(asked).map(|(epoch, end_offset)| EpochEnd { epoch, end_offset });
        let log_end = self.log.log_end_offset();
        let cut = truncation(own, log_end, self.high_watermark(), leader);
        info!(
            partition = %self.partition, %log_end, leader_epoch = leader.epoch.0, leader_end = %leader.end_offset, offset = %cut.offset,
            "this log parts from its leader's"
        );
        self.log.truncate_to(cut.offset)?;
        self.note_truncation();
        Ok(())
    }

    /// Empties the log and begins at the leader's log start, which lies beyond this log's end: what is between the two is nowhere any more.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn begin_anew_at(self: &Arc<Self>, epoch: LeaderEpoch, log_start: Offset) -> Result<(), FollowError> {
        let _lasts = self.leadership.read();
        self.check_follows(epoch)?;
        if log_start <= self.log.log_end_offset() {
            return Ok(());
        }
        info!(partition = %self.partition, log_end = %self.log.log_end_offset(), %log_start, "the leader's log begins beyond this one's end");
        self.log.truncate_fully_and_start_at(log_start)?;
        let mut replica = self.replica.lock();
        let _ = replica.on_append(log_start, self.lag_now_ms());
        let raised = replica.on_log_start(log_start);
        drop(replica);
        self.carry_out(raised);
        Ok(())
    }

    fn note_truncation(&self) {
        if self.replica.lock().on_truncate(self.log.log_end_offset()) {
            warn!(partition = %self.partition, log_end = %self.log.log_end_offset(), "records below the high watermark were cut off: the leader was elected unclean");
        }
    }

    fn check_follows(&self, epoch: LeaderEpoch) -> Result<(), FollowError> {
        let replica = self.replica.lock();
        match replica.role() {
            Role::Follower { .. } if replica.leader_epoch() == epoch => Ok(()),
            _ => Err(FollowError::NotFollowing),
        }
    }
}
