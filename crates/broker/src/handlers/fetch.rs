//! Fetch: slices of log files for consumers and followers, at once or when enough has come.
//!
//! The log is looked at when the request comes, as far as memory holds it; what only the disk has, or what must be checked first, is looked at on the pool for calls
//! that block. Where there is less than `min_bytes`, the request leaves a ticket with each of its partitions and looks again when called, or at the end of its wait. What
//! is sent goes from file to socket without passing through the program, unless the reader needs another format: looking into batches and
//! rewriting them for an old consumer is done on the pool for calls that block, never on the threads that serve everybody.

mod old_readers;
mod replicas;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::error::ErrorCode;
use protocol::messages::Message;
use protocol::messages::fetch::{
    EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use protocol::types::{BrokerId, LeaderEpoch, Offset};
use protocol::wire::{Reader, Records, Str, WireError};
use replication::{BrokerEpoch, FollowerFetch};
use runtime::clock::Instant;
use storage::{Reach, ReadError, ReadLimit, StorageError};

use super::{RequestContext, ready};
use crate::fetch_sessions::{FetchPlan, Wanted};
use crate::metadata::Image;
use crate::network::connection::PendingAnswer;
use crate::network::{Answer, FileSlice, Response};
use crate::replica_manager::HostedPartition;
use crate::replica_manager::purgatory::{News, Ticket};
use crate::state::BrokerState;

/// Longest wait a request may ask for.
const WAIT_MS_MAX: i32 = 10 * 60 * 1000;

/// `isolation_level` of a reader that wants committed transactions only.
const READ_COMMITTED: i8 = 1;

/// First version that names topics by id (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;
/// First version whose first batch always comes whole, however small the limits (KIP-74).
const WHOLE_FIRST_BATCH_FROM: i16 = 3;
/// First version that understands batches v2.
const BATCHES_V2_FROM: i16 = 4;
/// First version that understands zstd (KIP-110).
const ZSTD_FROM: i16 = 10;

/// One fetch, as long as it lasts.
struct Fetch {
    broker: Arc<BrokerState>,
    context: RequestContext,
    plan: FetchPlan,
    /// -1 for a consumer.
    replica_id: i32,
    /// Registration that a follower names (KIP-903).
    replica_epoch: Option<i64>,
    isolation_level: i8,
    /// Where a consumer is; empty for unknown.
    rack: Str,
    min_bytes: usize,
    max_bytes: usize,
}

/// What one look at the logs found.
struct Found {
    partitions: Vec<Answered>,
    bytes: usize,
    /// Whether waiting would help nobody: an error, or a log that parts from the reader's.
    decided: bool,
}

/// One partition's part of the answer. The slice, where there is one, is the data's records.
struct Answered {
    wanted: Wanted,
    data: PartitionData,
    slice: Option<FileSlice>,
    /// None where it is not held here.
    hosted: Option<Arc<HostedPartition>>,
    /// Whether the follower had everything, and was in sync, before the log was read.
    settled: bool,
}

/// Answers a fetch, now or when enough has come.
pub fn start(broker: &Arc<BrokerState>, context: RequestContext, reader: &mut Reader) -> Result<Answer, WireError> {
    let request = FetchRequest::decode(reader, context.version)?;
    let replica_id = if context.version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    let plan = match broker.fetch_sessions.plan(&request, replica_id >= 0) {
        Ok(plan) => plan,
        Err(code) => {
            let response = FetchResponse { error_code: code.0, ..Default::default() };
            return Ok(ready(context.respond(&response)));
        }
    };
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or_default().min(broker.config.fetch_max_bytes);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or_default().min(max_bytes);
    let fetch = Fetch {
        broker: broker.clone(),
        context: context.detached(),
        plan,
        replica_id,
        replica_epoch: Some(request.replica_state.replica_epoch).filter(|epoch| *epoch >= 0),
        isolation_level: request.isolation_level,
        rack: Str::from(request.rack_id.to_string()),
        min_bytes,
        max_bytes,
    };
    fetch.note_follower();
    let wait = Duration::from_millis(request.max_wait_ms.clamp(0, WAIT_MS_MAX).unsigned_abs().into());
    let deadline = (!wait.is_zero()).then(|| broker.clock.now() + wait);
    let Some(found) = fetch.look(Reach::Memory) else { return Ok(later(fetch.answer_from_disk(deadline))) };
    let Some(deadline) = deadline.filter(|_| !fetch.is_enough(&found)) else {
        return Ok(match fetch.must_rewrite(&found) {
            false => ready(fetch.respond(found)),
            true => later(fetch.finish(found)),
        });
    };
    let missing = fetch.min_bytes.saturating_sub(found.bytes);
    drop(found);
    Ok(later(fetch.wait(missing, deadline)))
}

fn later(future: impl Future<Output = Option<Response>> + Send + 'static) -> Answer {
    Answer::Later(PendingAnswer { future: Box::pin(future), next_may_start: false, dropped_on_hang_up: true })
}

impl Fetch {
    fn is_enough(&self, found: &Found) -> bool {
        found.decided || found.bytes >= self.min_bytes || self.plan.is_empty()
    }

    /// A follower that fetches from an offset has everything before it.
    fn note_follower(&self) {
        if !self.is_follower() {
            return;
        }
        let image = self.broker.metadata.image();
        for wanted in &self.plan.wanted {
            if let Ok(hosted) = self.find(&image, wanted)
                && let Ok(epoch) = hosted.check_leader(wanted.current_leader_epoch)
                && diverging(&hosted, wanted, epoch).is_none()
            {
                let fetch = FollowerFetch {
                    replica: BrokerId(self.replica_id),
                    broker_epoch: self.replica_epoch.map(BrokerEpoch),
                    offset: Offset(wanted.fetch_offset),
                    log_start: Some(Offset(wanted.log_start_offset)).filter(|start| *start >= Offset::ZERO),
                };
                // A refusal changes nothing; reading says what is wrong with the fetch.
                if let Err(code) = hosted.follower_fetched(&fetch) {
                    tracing::debug!(partition = %hosted.partition(), replica = self.replica_id, %code, "a follower's fetch does not count");
                }
            }
        }
    }

    async fn wait(self, missing: usize, deadline: Instant) -> Option<Response> {
        match self.plan.news.clone() {
            Some(news) => self.wait_for_news(&news, deadline).await,
            None => self.wait_for_bytes(missing, deadline).await,
        }
    }

    /// The wait of a follower's session: its partitions call.
    async fn wait_for_news(mut self, news: &News, deadline: Instant) -> Option<Response> {
        loop {
            let in_time = tokio::select! {
                biased;
                () = news.called() => true,
                () = self.broker.clock.sleep_until(deadline) => false,
            };
            self.plan.refresh();
            let (fetch, found) = self.look_anywhere().await?;
            if !in_time || fetch.is_enough(&found) {
                return fetch.finish(found).await;
            }
            self = fetch;
        }
    }

    async fn wait_for_bytes(mut self, missing: usize, deadline: Instant) -> Option<Response> {
        let mut missing = missing;
        loop {
            let ticket = Ticket::new(i64::try_from(missing).unwrap_or(i64::MAX));
            self.leave(&ticket);
            // What came between the last look and leaving the ticket was not counted on it.
            let (fetch, found) = self.look_anywhere().await?;
            self = fetch;
            if self.is_enough(&found) {
                return self.finish(found).await;
            }
            missing = self.min_bytes.saturating_sub(found.bytes);
            drop(found);
            tokio::select! {
                biased;
                () = ticket.called() => {}
                () = self.broker.clock.sleep_until(deadline) => {
                    let (fetch, found) = self.look_anywhere().await?;
                    return fetch.finish(found).await;
                }
            }
        }
    }

    async fn answer_from_disk(self, deadline: Option<Instant>) -> Option<Response> {
        let (fetch, found) = self.look_anywhere().await?;
        match deadline.filter(|_| !fetch.is_enough(&found)) {
            None => fetch.finish(found).await,
            Some(deadline) => {
                let missing = fetch.min_bytes.saturating_sub(found.bytes);
                drop(found);
                fetch.wait(missing, deadline).await
            }
        }
    }

    /// Looks at every partition, on the pool for calls that block where the disk must be waited for.
    async fn look_anywhere(self) -> Option<(Fetch, Found)> {
        if let Some(found) = self.look(Reach::Memory) {
            return Some((self, found));
        }
        let looked = runtime::spawn_blocking(move || self.look(Reach::Disk).map(|found| (self, found)));
        looked.await.unwrap_or_else(|failed| {
            tracing::error!(%failed, "reading for a fetch failed");
            None
        })
    }

    /// Whether a reader is too old for what is stored, or may be.
    fn must_rewrite(&self, found: &Found) -> bool {
        self.context.version < ZSTD_FROM && found.partitions.iter().any(|partition| partition.slice.is_some())
    }

    /// Answers with what was found, in the reader's own format.
    async fn finish(self, found: Found) -> Option<Response> {
        if !self.must_rewrite(&found) {
            return self.respond(found);
        }
        let rewritten = runtime::spawn_blocking(move || {
            let mut found = found;
            for partition in &mut found.partitions {
                old_readers::rewrite(partition, self.context.version);
            }
            self.respond(found)
        });
        rewritten.await.unwrap_or_else(|failed| {
            tracing::error!(%failed, "converting records for an old consumer failed");
            None
        })
    }

    fn leave(&self, ticket: &Arc<Ticket>) {
        let image = self.broker.metadata.image();
        for wanted in &self.plan.wanted {
            if let Ok(hosted) = self.find(&image, wanted) {
                let waiters = if self.is_follower() { &hosted.appended } else { &hosted.committed };
                waiters.add(ticket);
            }
        }
    }

    fn find(&self, image: &Image, wanted: &Wanted) -> Result<Arc<HostedPartition>, ErrorCode> {
        if self.context.version < TOPIC_IDS_FROM {
            return self.broker.replicas.find(image, &wanted.topic.name, wanted.partition);
        }
        let topic = image.topic_by_id(wanted.topic.id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
        let hosted = self.broker.replicas.find(image, &topic.name, wanted.partition)?;
        if hosted.topic_id() != wanted.topic.id {
            return Err(ErrorCode::INCONSISTENT_TOPIC_ID);
        }
        Ok(hosted)
    }

    /// Looks at every partition once. `None` where a look into memory is not enough.
    fn look(&self, reach: Reach) -> Option<Found> {
        let image = self.broker.metadata.image();
        let mut found = Found { partitions: Vec::with_capacity(self.plan.wanted.len()), bytes: 0, decided: false };
        for wanted in &self.plan.wanted {
            let room = self.max_bytes.saturating_sub(found.bytes);
            let whole_first_batch = found.bytes == 0 || self.context.version < WHOLE_FIRST_BATCH_FROM;
            let hosted = self.find(&image, wanted);
            if let (Ok(hosted), Some(news)) = (&hosted, &self.plan.news) {
                // Before the look: what comes after it calls.
                hosted.watchers.add(news, wanted.number);
            }
            let settled = hosted.as_ref().is_ok_and(|hosted| self.is_settled(hosted, wanted));
            let ((data, slice), hosted) = match hosted {
                Ok(hosted) => (self.read(&image, reach, &hosted, wanted, room, whole_first_batch)?, Some(hosted)),
                Err(code) => ((refused(wanted, code), None), None),
            };
            found.decided |=
                data.error_code != 0 || data.diverging_epoch.epoch >= 0 || data.preferred_read_replica >= 0;
            found.bytes += data.records.len();
            found.partitions.push(Answered { wanted: wanted.clone(), data, slice, hosted, settled });
        }
        Some(found)
    }

    /// One partition's part of the answer; `None` where that takes a look at the disk.
    fn read(
        &self,
        image: &Image,
        reach: Reach,
        hosted: &HostedPartition,
        wanted: &Wanted,
        room: usize,
        whole_first_batch: bool,
    ) -> Option<(PartitionData, Option<FileSlice>)> {
        let epoch = match hosted.check_readable(wanted.current_leader_epoch, self.leader_only()) {
            Ok(epoch) => epoch,
            Err(code) => return Some((self.misdirected(hosted, wanted, code), None)),
        };
        let log = hosted.log();
        let high_watermark = log.high_watermark();
        let last_stable_offset = log.last_stable_offset(high_watermark);
        let mut data = PartitionData {
            partition_index: wanted.partition,
            high_watermark: high_watermark.0,
            last_stable_offset: last_stable_offset.0,
            log_start_offset: log.log_start_offset().0,
            aborted_transactions: (self.isolation_level == READ_COMMITTED).then(Vec::new),
            records: Records::Bytes(Bytes::new()),
            ..Default::default()
        };
        if let Some(diverging_epoch) = diverging(hosted, wanted, epoch) {
            data.diverging_epoch = diverging_epoch;
            return Some((data, None));
        }
        if let Some(nearer) = self.nearer_replica(image, hosted, wanted) {
            data.preferred_read_replica = nearer;
            return Some((data, None));
        }
        if self.is_throttled(hosted) {
            return Some((data, None));
        }
        let limit = match self.isolation_level {
            _ if self.is_follower() => ReadLimit::LogEnd,
            READ_COMMITTED => ReadLimit::LastStableOffset(last_stable_offset),
            _ => ReadLimit::HighWatermark(high_watermark),
        };
        let max_bytes = usize::try_from(wanted.max_bytes).unwrap_or_default().min(room);
        if max_bytes == 0 && !whole_first_batch {
            return Some((data, None));
        }
        let offset = Offset(wanted.fetch_offset);
        let read = match reach {
            Reach::Memory => log.read_in_memory(offset, max_bytes, limit, whole_first_batch),
            Reach::Disk => log.read(offset, max_bytes, limit, whole_first_batch).map(Some),
        };
        let read = match read {
            Ok(read) => read?,
            Err(error) => {
                // A damaged batch was told of once, for all that ask for it.
                if let ReadError::Storage(problem) = &error
                    && !problem.is_of_directory()
                    && !matches!(problem, StorageError::Damaged { .. })
                {
                    tracing::error!(partition = %hosted.partition(), error = %problem, "read failed");
                }
                let log_start_offset = match (&error, self.is_follower()) {
                    // A follower whose log ends before this one begins starts anew there; a consumer asks ListOffsets.
                    (ReadError::OffsetOutOfRange { log_start, .. }, true) => log_start.0,
                    _ => -1,
                };
                return Some((PartitionData { log_start_offset, ..refused(wanted, ErrorCode(error.code())) }, None));
            }
        };
        let Some(slice) = read.slice else { return Some((data, None)) };
        if self.context.version < BATCHES_V2_FROM && !hosted.config().down_conversion {
            return Some((refused(wanted, ErrorCode::UNSUPPORTED_VERSION), None));
        }
        data.records = Records::External { length: slice.len };
        Some((data, Some(FileSlice { file: slice.file, position: slice.pos, length: slice.len as u64 })))
    }

    fn misdirected(&self, hosted: &HostedPartition, wanted: &Wanted, code: ErrorCode) -> PartitionData {
        let mut data = refused(wanted, code);
        if self.context.version >= 12
            && matches!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH)
        {
            let (leader_id, leader_epoch) = hosted.leader_and_epoch();
            data.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
        }
        data
    }

    fn count(&self, answered: &Answered) {
        let (data, bytes) = (&answered.data, answered.data.records.len() as u64);
        if data.error_code != 0 {
            self.broker.requests.error(self.context.api, ErrorCode(data.error_code));
        }
        let Some(hosted) = &answered.hosted else { return };
        let counters = hosted.counters();
        counters.total_fetch_requests.one();
        if data.error_code != 0 {
            counters.failed_fetch_requests.one();
        }
        if !self.is_follower() {
            counters.bytes_out.add(bytes);
            return;
        }
        counters.replication_bytes_out.add(bytes);
        if bytes > 0 && self.is_of_throttled(hosted) {
            self.broker.replicas.leader_throttle().count(answered.data.records.len());
        }
    }

    fn respond(&self, found: Found) -> Option<Response> {
        let mut responses: Vec<FetchableTopicResponse> = Vec::new();
        let mut files = Vec::new();
        let mut leaders = BTreeSet::new();
        let mut telling = self.plan.telling();
        for answered in found.partitions {
            self.count(&answered);
            let Answered { wanted, data, slice, settled, .. } = answered;
            if !telling.tell(&wanted, &data, settled) {
                continue;
            }
            if data.current_leader.leader_id >= 0 {
                leaders.insert(data.current_leader.leader_id);
            }
            files.extend(slice);
            match responses.last_mut() {
                Some(topic) if topic.topic == wanted.topic.name && topic.topic_id == wanted.topic.id => {
                    topic.partitions.push(data)
                }
                _ => responses.push(FetchableTopicResponse {
                    topic: wanted.topic.name.clone(),
                    topic_id: wanted.topic.id,
                    partitions: vec![data],
                }),
            }
        }
        drop(telling);
        let nodes = self.broker.endpoints_of(&leaders, self.context.listener).into_iter();
        let node_endpoints =
            nodes.map(|node| NodeEndpoint { node_id: node.id, host: node.host, port: node.port, rack: node.rack });
        let response = FetchResponse {
            session_id: self.plan.session_id,
            responses,
            node_endpoints: node_endpoints.collect(),
            ..Default::default()
        };
        self.context.respond_with_files(&response, files)
    }
}

fn refused(wanted: &Wanted, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: wanted.partition,
        error_code: code.0,
        high_watermark: -1,
        records: Records::Bytes(Bytes::new()),
        ..Default::default()
    }
}

/// Where the reader's log parts from this one, if it does (KIP-320, KIP-595): the reader has records of its last epoch beyond this log's end of that epoch.
fn diverging(hosted: &HostedPartition, wanted: &Wanted, epoch: i32) -> Option<EpochEndOffset> {
    let log_end = hosted.log().log_end_offset().0;
    if wanted.last_fetched_epoch < 0 && wanted.log_start_offset >= 0 && wanted.fetch_offset > log_end {
        // A follower with records from before there were epochs, and more of them than its leader has.
        return Some(EpochEndOffset { epoch, end_offset: log_end });
    }
    let last = Some(wanted.last_fetched_epoch).filter(|last| *last >= 0)?;
    let (found, end) = epoch_end(hosted, last, epoch)?;
    (found < last || end.0 < wanted.fetch_offset).then_some(EpochEndOffset { epoch: found, end_offset: end.0 })
}

/// The largest epoch of the log that is not above `asked`, and where it ends.
pub(super) fn epoch_end(hosted: &HostedPartition, asked: i32, current: i32) -> Option<(i32, Offset)> {
    if asked == current {
        return Some((current, hosted.log().log_end_offset()));
    }
    hosted.log().end_offset_for_epoch(LeaderEpoch(asked)).map(|(epoch, end)| (epoch.0, end))
}
