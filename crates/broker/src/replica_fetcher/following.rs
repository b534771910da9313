//! The partitions followed from one leader: what to ask next, and what to do with the answer.
//!
//! The state of a partition is its log: the next fetch begins where the log ends and names the epoch of what is there last, and the leader answers with records or says
//! where the two logs part (KIP-595's `divergingEpoch`), upon which the log is cut and asked for again. Between two brokers there is a fetch session (KIP-227), so that a
//! partition without news costs nothing on the wire.
//!
//! Always true: at most one request is under way; a partition that met an error is asked for again after a pause, and is out of the session until then, or the leader would
//! answer at once with the same error.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use protocol::error::ErrorCode;
use protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic, PartitionData, ReplicaState,
};
use protocol::types::{BrokerId, LeaderEpoch, Offset, TopicPartition, Uuid};
use protocol::wire::Records;
use replication::EpochEnd;
use runtime::clock::Instant;
use tracing::{debug, warn};

use super::Word;
use crate::config::ReplicaFetchConfig;
use crate::replica_manager::HostedPartition;
use crate::replica_manager::partition::follower::{FetchPosition, Fetched, FollowError};
use crate::replica_manager::throttle::{THROTTLED_PAUSE, Throttle};

/// First pause after an error that passes by itself, such as a leader that has not heard of its election yet. It doubles up to `replica.fetch.backoff.ms`.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// How often it is looked whether the disk has what a partition must not be fetched on before.
const FLUSH_PAUSE: Duration = Duration::from_millis(50);

/// Epoch of a request that begins a session.
const INITIAL_EPOCH: i32 = 0;

/// The partitions followed from one leader.
pub struct Following {
    broker: i32,
    leader: BrokerId,
    settings: ReplicaFetchConfig,
    throttle: Arc<Throttle>,
    partitions: BTreeMap<TopicPartition, Followed>,
    /// Names of topics, as the leader answers by their ids.
    topics: HashMap<Uuid, Arc<str>>,
    session: Session,
    unflushed: Vec<Arc<HostedPartition>>,
}

struct Followed {
    hosted: Arc<HostedPartition>,
    epoch: LeaderEpoch,
    /// What the leader's session was told of it; none where it is not in the session.
    asked: Option<Asked>,
    /// Not asked for before this.
    paused_until: Option<Instant>,
    /// How long the next pause is.
    pause: Duration,
    /// Whether its trouble was told; it is told once, until it is over.
    told: bool,
    /// Whether the last answer left nothing to fetch below the leader's high watermark: what is new is never throttled.
    in_sync: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    topic_id: Uuid,
    epoch: LeaderEpoch,
    position: FetchPosition,
}

/// The fetch session with the leader.
#[derive(Debug, Default)]
struct Session {
    /// 0 for none.
    id: i32,
    epoch: i32,
    /// In the leader's session, and no longer wanted.
    forgotten: Vec<(Uuid, i32)>,
}

/// What came of an answer.
#[derive(Default)]
pub struct Taken {
    /// Partitions whose disks must have what came before they are fetched on (`log.flush.before.ack=always`).
    pub to_flush: Vec<Arc<HostedPartition>>,
    /// Bytes that were appended.
    pub bytes: usize,
    /// The answer was an error for the request as a whole: ask again after a pause.
    pub refused: bool,
}

impl Following {
    /// What `broker` follows from `leader`: nothing yet.
    #[must_use]
    pub fn new(broker: i32, leader: BrokerId, settings: ReplicaFetchConfig, throttle: Arc<Throttle>) -> Following {
        Following {
            broker,
            leader,
            settings,
            throttle,
            partitions: BTreeMap::new(),
            topics: HashMap::new(),
            session: Session { epoch: INITIAL_EPOCH, ..Session::default() },
            unflushed: Vec::new(),
        }
    }

    /// How many partitions are followed.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a figure, not a collection")]
    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Whether a partition is followed.
    #[must_use]
    pub fn follows(&self, partition: &TopicPartition) -> bool {
        self.partitions.contains_key(partition)
    }

    /// Partitions that wait for a pause to end.
    #[must_use]
    pub fn paused(&self) -> usize {
        self.partitions.values().filter(|followed| followed.paused_until.is_some()).count()
    }

    /// Lets go of all.
    pub(crate) fn clear(&mut self) {
        self.partitions.clear();
        self.topics.clear();
        self.disconnected();
    }

    pub(crate) fn heed(&mut self, word: Word) {
        match word {
            Word::Follow(hosted, epoch) => {
                let partition = hosted.partition().clone();
                let asked = self.partitions.get(&partition).and_then(|followed| followed.asked);
                let followed = Followed {
                    hosted,
                    epoch,
                    asked,
                    paused_until: None,
                    pause: PAUSE_MIN,
                    told: false,
                    in_sync: false,
                };
                self.partitions.insert(partition, followed);
            }
            Word::Unfollow(partition) => {
                if let Some(asked) = self.partitions.remove(&partition).and_then(|followed| followed.asked) {
                    self.session.forgotten.push((asked.topic_id, partition.partition));
                }
            }
        }
    }

    /// The connection is gone, and the session with it.
    pub fn disconnected(&mut self) {
        self.session = Session { epoch: INITIAL_EPOCH, ..Session::default() };
        for followed in self.partitions.values_mut() {
            followed.asked = None;
        }
    }

    /// When the first of the pauses ends.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.partitions.values().filter_map(|followed| followed.paused_until).min()
    }

    /// Partitions that the last request left out because their disks have not all of them yet (`log.flush.before.ack=always`): somebody must sync them.
    pub fn take_unflushed(&mut self) -> Vec<Arc<HostedPartition>> {
        std::mem::take(&mut self.unflushed)
    }

    /// The next request; none where there is nothing to ask for now. `broker_epoch` is the epoch of this broker's registration (KIP-903), -1 for unknown.
    pub fn request(&mut self, now: Instant, broker_epoch: i64) -> Option<FetchRequest> {
        let is_full = self.session.epoch == INITIAL_EPOCH;
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut wanted = 0;
        let exhausted = self.throttle.is_exhausted();
        for (partition, followed) in &mut self.partitions {
            let topic_id = followed.hosted.topic_id();
            if exhausted && !followed.in_sync && followed.hosted.is_throttled_follower() {
                followed.paused_until = Some(now + THROTTLED_PAUSE);
            }
            if followed.paused_until.is_none_or(|until| until <= now) && followed.hosted.log().check_appends().is_err()
            {
                // A fetch says that this replica is able to follow, and would bring one whose disk failed or is full back into the ISR.
                followed.paused_until = Some(now + self.settings.pause_max);
            }
            if followed.paused_until.is_none_or(|until| until <= now) && followed.hosted.must_flush_before_fetch() {
                // Appended by whoever was followed before, or when this replica led: that its disk has it is news to nobody, so it is looked for again.
                followed.paused_until = Some(now + FLUSH_PAUSE);
                self.unflushed.push(followed.hosted.clone());
            }
            let ready = followed.paused_until.is_none_or(|until| until <= now)
                // A topic that an old tool made has no id until the controller has met it.
                && topic_id != Uuid::ZERO;
            if !ready {
                if let Some(asked) = followed.asked.take() {
                    self.session.forgotten.push((asked.topic_id, partition.partition));
                }
                continue;
            }
            followed.paused_until = None;
            wanted += 1;
            let ask = Asked { topic_id, epoch: followed.epoch, position: followed.hosted.fetch_position() };
            if followed.asked == Some(ask) && !is_full {
                continue;
            }
            if let Some(before) = followed.asked.replace(ask)
                && before.topic_id != topic_id
            {
                self.session.forgotten.push((before.topic_id, partition.partition));
            }
            let fetch = FetchPartition {
                partition: partition.partition,
                current_leader_epoch: ask.epoch.0,
                fetch_offset: ask.position.offset.0,
                last_fetched_epoch: ask.position.last_epoch.0,
                log_start_offset: ask.position.log_start.0,
                partition_max_bytes: self.settings.partition_bytes_max,
                ..Default::default()
            };
            match topics.last_mut() {
                Some(topic) if topic.topic_id == topic_id => topic.partitions.push(fetch),
                _ => {
                    self.topics.insert(topic_id, partition.topic.clone());
                    topics.push(FetchTopic { topic_id, partitions: vec![fetch], ..Default::default() });
                }
            }
        }
        if wanted == 0 {
            return None;
        }
        Some(FetchRequest {
            replica_state: ReplicaState { replica_id: self.broker, replica_epoch: broker_epoch },
            max_wait_ms: self.settings.wait_ms_max,
            min_bytes: self.settings.bytes_min,
            max_bytes: self.settings.response_bytes_max,
            session_id: self.session.id,
            session_epoch: self.session.epoch,
            topics,
            forgotten_topics_data: self.forget(is_full),
            ..Default::default()
        })
    }

    /// What the leader's session is to forget. A new session knows of nothing.
    fn forget(&mut self, is_full: bool) -> Vec<ForgottenTopic> {
        let mut forgotten = std::mem::take(&mut self.session.forgotten);
        if is_full {
            return Vec::new();
        }
        // What was let go and is wanted again since stands among the topics.
        forgotten.retain(|(id, partition)| {
            let name = self.topics.get(id);
            let followed = name.and_then(|name| self.partitions.get(&TopicPartition::new(name.clone(), *partition)));
            followed.and_then(|followed| followed.asked).is_none_or(|asked| asked.topic_id != *id)
        });
        forgotten.sort_unstable_by_key(|(id, partition)| (id.0, *partition));
        let mut topics: Vec<ForgottenTopic> = Vec::new();
        for (topic_id, partition) in forgotten {
            match topics.last_mut() {
                Some(topic) if topic.topic_id == topic_id => topic.partitions.push(partition),
                _ => topics.push(ForgottenTopic { topic_id, partitions: vec![partition], ..Default::default() }),
            }
        }
        topics
    }

    /// Takes the answer to the last [`Following::request`]: appends, cuts, pauses.
    pub fn take(&mut self, response: FetchResponse, now: Instant) -> Taken {
        let mut taken = Taken::default();
        let code = ErrorCode(response.error_code);
        if code != ErrorCode::NONE {
            debug!(leader = self.leader.0, %code, "a fetch session ended");
            self.disconnected();
            let of_session = matches!(
                code,
                ErrorCode::FETCH_SESSION_ID_NOT_FOUND
                    | ErrorCode::INVALID_FETCH_SESSION_EPOCH
                    | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
            );
            taken.refused = !of_session;
            return taken;
        }
        if response.session_id == 0 {
            // The leader has no room for a session: each fetch names everything.
            self.session = Session { epoch: INITIAL_EPOCH, ..Session::default() };
        } else {
            self.session.id = response.session_id;
            self.session.epoch = if self.session.epoch == i32::MAX { 1 } else { self.session.epoch + 1 };
        }
        for topic in response.responses {
            let Some(name) = self.topics.get(&topic.topic_id).cloned() else { continue };
            for data in topic.partitions {
                let partition = TopicPartition::new(name.clone(), data.partition_index);
                self.take_partition(&partition, topic.topic_id, &data, now, &mut taken);
            }
        }
        taken
    }

    fn take_partition(
        &mut self,
        partition: &TopicPartition,
        topic_id: Uuid,
        data: &PartitionData,
        now: Instant,
        taken: &mut Taken,
    ) {
        // An answer to what is no longer asked says nothing about what is.
        let Some(followed) = self.partitions.get_mut(partition) else { return };
        let Some(asked) = followed.asked.filter(|asked| asked.topic_id == topic_id) else { return };
        if asked.epoch != followed.epoch {
            return;
        }
        match follow(&followed.hosted, &asked, data) {
            Ok(bytes) => {
                followed.pause = PAUSE_MIN;
                followed.told = false;
                followed.in_sync = followed.hosted.log().log_end_offset().0 >= data.high_watermark;
                taken.bytes += bytes;
                if bytes > 0 && followed.hosted.is_throttled_follower() {
                    self.throttle.count(bytes);
                }
                if bytes > 0 && followed.hosted.must_flush_before_fetch() {
                    taken.to_flush.push(followed.hosted.clone());
                }
            }
            Err(Refused::Passing(code)) => {
                debug!(%partition, leader = self.leader.0, epoch = asked.epoch.0, %code, "the leader does not serve a follower yet");
                self.pause(partition, now);
            }
            Err(Refused::Code(code)) => {
                if !std::mem::replace(&mut followed.told, true) {
                    warn!(%partition, leader = self.leader.0, epoch = asked.epoch.0, %code, "the leader refuses a follower");
                }
                followed.pause = self.settings.pause_max;
                self.pause(partition, now);
            }
            // The inbox holds, or soon will, what the partition is now.
            Err(Refused::Own(FollowError::NotFollowing)) => {}
            Err(Refused::Own(error)) => {
                if !std::mem::replace(&mut followed.told, true) {
                    warn!(%partition, leader = self.leader.0, %error, "cannot take what the leader sent");
                }
                followed.pause = self.settings.pause_max;
                self.pause(partition, now);
            }
        }
    }

    fn pause(&mut self, partition: &TopicPartition, now: Instant) {
        let Some(followed) = self.partitions.get_mut(partition) else { return };
        followed.paused_until = Some(now + followed.pause);
        followed.pause = (followed.pause * 2).min(self.settings.pause_max);
        if let Some(asked) = followed.asked.take() {
            self.session.forgotten.push((asked.topic_id, partition.partition));
        }
    }
}

/// Why a partition's part of an answer was of no use.
enum Refused {
    /// The leader's error, which ends when both have seen the same metadata.
    Passing(ErrorCode),
    /// The leader's error.
    Code(ErrorCode),
    /// This side's.
    Own(FollowError),
}

impl From<FollowError> for Refused {
    fn from(error: FollowError) -> Refused {
        Refused::Own(error)
    }
}

/// Does what the answer for one partition asks for; gives the bytes that were appended.
fn follow(hosted: &Arc<HostedPartition>, asked: &Asked, data: &PartitionData) -> Result<usize, Refused> {
    match ErrorCode(data.error_code) {
        ErrorCode::NONE => {}
        ErrorCode::OFFSET_OUT_OF_RANGE if data.log_start_offset > asked.position.offset.0 => {
            hosted.begin_anew_at(asked.epoch, Offset(data.log_start_offset))?;
            return Ok(0);
        }
        code @ (ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::UNKNOWN_LEADER_EPOCH
        | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::INCONSISTENT_TOPIC_ID) => return Err(Refused::Passing(code)),
        code => return Err(Refused::Code(code)),
    }
    if data.diverging_epoch.epoch >= 0 {
        let end = EpochEnd {
            epoch: LeaderEpoch(data.diverging_epoch.epoch),
            end_offset: Offset(data.diverging_epoch.end_offset),
        };
        hosted.truncate_to_leader(asked.epoch, end)?;
        return Ok(0);
    }
    let records: &[u8] = match &data.records {
        Records::Bytes(bytes) => bytes,
        Records::Null | Records::External { .. } => &[],
    };
    let fetched = Fetched {
        leader_epoch: asked.epoch,
        offset: asked.position.offset,
        records,
        high_watermark: Offset(data.high_watermark),
        log_start: Offset(data.log_start_offset),
    };
    Ok(hosted.take_fetched(&fetched)?)
}
