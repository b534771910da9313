//! A member's part in the classic group protocol: join, sync, heartbeat, leave (Kafka `AbstractCoordinator`, `ConsumerCoordinator`).
//!
//! Always true: heartbeats go out only between a completed sync and the next join, all in the name of one generation; whatever the coordinator
//! says about that generation reaches [`Membership::verdict`], and nobody else changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::error::ErrorCode;
use protocol::messages::consumer_protocol::{
    self, ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartitions,
};
use protocol::messages::heartbeat::HeartbeatRequest;
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use protocol::types::TopicPartition;
use protocol::wire::{Reader, Str, WireError, Writer};
use runtime::clock::Instant;
use tokio::sync::Notify;

use super::super::config::{ConsumerConfig, Strategy};
use super::super::error::{ClientError, Result, check_code};
use super::assignor::{self, GroupMember};
use super::commit::{GroupCoordinator, Member};

/// `protocol_type` of consumer groups.
const PROTOCOL_TYPE: &str = "consumer";

/// Version of the subscription we send: with the partitions held, without what cooperative members need.
const SUBSCRIPTION_VERSION: i16 = 1;

/// Version of the assignment we send; every consumer since 0.9 reads it.
const ASSIGNMENT_VERSION: i16 = 0;

/// Time a JoinGroup or SyncGroup may take on top of what the group allows itself (Kafka `JOIN_GROUP_TIMEOUT_LAPSE`).
const JOIN_LAPSE: Duration = Duration::from_secs(5);

/// `group.max.session.timeout.ms` of brokers that know JoinGroup v0 only: today's default of `session.timeout.ms` is beyond it.
const SESSION_TIMEOUT_MAX_V0: Duration = Duration::from_secs(30);

/// Attempts of one join before `poll` hears of it; the next `poll` starts anew.
const JOIN_ATTEMPTS_MAX: usize = 100;

/// Longest wait for the answer to LeaveGroup: the session runs out by itself otherwise.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What must happen before records are handed out again.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// Nothing: the member is in order.
    Stable,
    /// The group rebalances: hand the partitions back and join again.
    Rejoin,
    /// The partitions are gone already: others may read them.
    Lost,
    /// Membership is over for good.
    Fatal(ClientError),
}

/// What a join brought.
#[derive(Debug, Clone)]
pub(super) struct Joined {
    pub(super) assignment: Vec<TopicPartition>,
    /// For the leader: the partition counts the assignment was made of.
    pub(super) counts: Option<BTreeMap<Arc<str>, i32>>,
}

/// The member, shared by `poll`, the join under way and the heartbeats.
pub(super) struct Membership {
    pub(super) coordinator: GroupCoordinator,
    config: ConsumerConfig,
    state: Mutex<State>,
    /// Told when the verdict changes.
    pub(super) changed: Notify,
}

struct State {
    member_id: String,
    generation: i32,
    verdict: Verdict,
    last_poll: Instant,
    /// Heartbeats of the current generation.
    heartbeats: Option<runtime::spawn::AbortHandle>,
    /// The last assignment, for the sticky assignor.
    owned: Vec<TopicPartition>,
    owned_in: i32,
}

impl Membership {
    pub(super) fn new(coordinator: GroupCoordinator, config: ConsumerConfig) -> Membership {
        let state = State {
            member_id: String::new(),
            generation: -1,
            verdict: Verdict::Rejoin,
            last_poll: coordinator.cluster().clock().now(),
            heartbeats: None,
            owned: Vec::new(),
            owned_in: -1,
        };
        Membership { coordinator, config, state: Mutex::new(state), changed: Notify::new() }
    }

    /// In whose name to commit.
    pub(super) fn member(&self) -> Member {
        let state = self.state.lock();
        Member {
            id: state.member_id.clone(),
            generation: state.generation,
            instance_id: self.config.group_instance_id.clone(),
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.state.lock().verdict.clone()
    }

    /// `poll` was called: the member is alive.
    pub(super) fn polled(&self) {
        self.state.lock().last_poll = self.now();
    }

    /// The group must rebalance for a reason of ours: another subscription, other partition counts.
    pub(super) fn request_rejoin(&self) {
        let mut state = self.state.lock();
        if matches!(state.verdict, Verdict::Stable) {
            state.verdict = Verdict::Rejoin;
            self.changed.notify_one();
        }
    }

    /// Joins the group and learns what to read.
    pub(super) async fn join(self: &Arc<Membership>, topics: BTreeSet<Arc<str>>) -> Result<Joined> {
        self.stop_heartbeats();
        let cluster = self.coordinator.cluster().clone();
        let limit = self.config.max_poll_interval.max(self.config.session_timeout) + JOIN_LAPSE;
        let deadline = self.now() + limit + cluster.config().default_api_timeout;
        let mut backoff = cluster.backoff();
        let mut last = None;
        for _ in 0..JOIN_ATTEMPTS_MAX {
            let error = match cluster.clock().timeout_at(deadline, self.join_once(&topics, limit, deadline)).await {
                Ok(Ok(joined)) => {
                    self.start_heartbeats();
                    return Ok(joined);
                }
                Ok(Err(error)) => error,
                Err(_elapsed) => break,
            };
            tracing::debug!(group = self.coordinator.group(), %error, cause = error.cause(), "join failed");
            self.coordinator.judge(&error);
            match error.code() {
                // The coordinator has just given us our id: use it at once.
                Some(ErrorCode::MEMBER_ID_REQUIRED) => continue,
                Some(ErrorCode::UNKNOWN_MEMBER_ID) => self.reset(true),
                Some(ErrorCode::ILLEGAL_GENERATION) => self.reset(false),
                Some(ErrorCode::REBALANCE_IN_PROGRESS) => {}
                _ if error.is_retriable() => {}
                _ => {
                    self.conclude(Verdict::Fatal(error.clone()));
                    return Err(error);
                }
            }
            last = Some(Arc::new(error));
            if !cluster.pause(&mut backoff, deadline).await {
                break;
            }
        }
        let doing = format!("joining group {}", self.coordinator.group());
        Err(ClientError::Timeout { doing, waited_ms: super::super::cluster::whole_ms(limit), last })
    }

    async fn join_once(&self, topics: &BTreeSet<Arc<str>>, limit: Duration, deadline: Instant) -> Result<Joined> {
        let group = self.coordinator.group();
        let connection = self.coordinator.connection(deadline).await?;
        let version = connection.version_of::<JoinGroupRequest>()?;
        let request = self.join_request(topics, version)?;
        let response = connection.send_version_within(&request, version, limit).await?;
        if response.error_code == ErrorCode::MEMBER_ID_REQUIRED.0 {
            self.state.lock().member_id = response.member_id.to_string();
        }
        check_code(response.error_code, || format!("group {group}"))?;
        {
            let mut state = self.state.lock();
            state.member_id = response.member_id.to_string();
            state.generation = response.generation_id;
        }
        let is_leader = response.leader == response.member_id;
        let (assignments, counts) = if is_leader && !response.skip_assignment {
            self.share_out(&response, deadline).await?
        } else {
            (Vec::new(), None)
        };
        let assignment = self.sync(&response, assignments, limit, deadline).await?;
        tracing::info!(
            group,
            member = &*response.member_id,
            generation = response.generation_id,
            partitions = assignment.len(),
            "joined the group"
        );
        let mut state = self.state.lock();
        state.owned.clone_from(&assignment);
        state.owned_in = response.generation_id;
        state.verdict = Verdict::Stable;
        Ok(Joined { assignment, counts })
    }

    fn join_request(&self, topics: &BTreeSet<Arc<str>>, version: i16) -> Result<JoinGroupRequest> {
        let state = self.state.lock();
        let unencodable =
            |error: WireError| ClientError::Unencodable { what: "subscription".to_string(), cause: error.to_string() };
        let protocol = |strategy: &Strategy| {
            let user_data = match strategy {
                Strategy::Sticky => Some(sticky_user_data(&state.owned, state.owned_in)?),
                Strategy::Range | Strategy::RoundRobin => None,
            };
            let subscription = ConsumerProtocolSubscription {
                topics: topics.iter().map(|topic| Str::from(&**topic)).collect(),
                user_data,
                // Eager members hold nothing while they join.
                owned_partitions: Vec::new(),
                ..ConsumerProtocolSubscription::default()
            };
            let metadata = consumer_protocol::encode(&subscription, SUBSCRIPTION_VERSION)?;
            Ok(JoinGroupRequestProtocol { name: Str::from_static(strategy.name()), metadata })
        };
        let protocols: Result<Vec<_>, WireError> = self.config.assignment_strategies.iter().map(protocol).collect();
        let session_timeout = match version {
            0 => self.config.session_timeout.min(SESSION_TIMEOUT_MAX_V0),
            _ => self.config.session_timeout,
        };
        Ok(JoinGroupRequest {
            group_id: Str::from(self.coordinator.group()),
            session_timeout_ms: in_ms(session_timeout),
            rebalance_timeout_ms: in_ms(self.config.max_poll_interval),
            member_id: Str::from(state.member_id.as_str()),
            group_instance_id: self.instance_id(version >= 5),
            protocol_type: Str::from_static(PROTOCOL_TYPE),
            protocols: protocols.map_err(unencodable)?,
            reason: None,
        })
    }

    /// The leader's work: who gets what.
    async fn share_out(
        &self,
        response: &JoinGroupResponse,
        deadline: Instant,
    ) -> Result<(Vec<SyncGroupRequestAssignment>, Option<BTreeMap<Arc<str>, i32>>)> {
        let group = self.coordinator.group();
        let chosen = response.protocol_name.as_deref().unwrap_or_default();
        let strategy = self.config.assignment_strategies.iter().copied().find(|strategy| strategy.name() == chosen);
        let strategy = strategy.ok_or_else(|| {
            ClientError::broker(ErrorCode::INCONSISTENT_GROUP_PROTOCOL, format!("group {group} chose {chosen:?}"))
        })?;
        let malformed = |error: WireError| ClientError::Malformed {
            what: "a member's subscription".to_string(),
            broker: format!("group {group}"),
            cause: error.to_string(),
        };
        let mut members = Vec::with_capacity(response.members.len());
        for member in &response.members {
            let (_, subscription) = consumer_protocol::decode::<ConsumerProtocolSubscription>(member.metadata.clone())
                .map_err(malformed)?;
            let (owned, owned_in) = match strategy {
                Strategy::Sticky => read_sticky_user_data(&subscription).map_err(malformed)?,
                Strategy::Range | Strategy::RoundRobin => (Vec::new(), -1),
            };
            members.push(GroupMember {
                id: member.member_id.to_string(),
                instance_id: member.group_instance_id.as_deref().map(str::to_string),
                topics: subscription.topics.iter().map(|topic| Arc::from(&**topic)).collect(),
                owned,
                owned_in,
            });
        }
        let topics: BTreeSet<Arc<str>> = members.iter().flat_map(|member| member.topics.iter().cloned()).collect();
        let counts = self.counts(&topics, deadline).await?;
        let assignment = assignor::assign(strategy, &members, &counts);
        let encode = |(member_id, partitions): (String, Vec<TopicPartition>)| {
            let assignment = ConsumerProtocolAssignment { assigned_partitions: by_topic(&partitions), user_data: None };
            let assignment = consumer_protocol::encode(&assignment, ASSIGNMENT_VERSION)?;
            Ok(SyncGroupRequestAssignment { member_id: Str::from(member_id), assignment })
        };
        let encoded: Result<Vec<_>, WireError> = assignment.into_iter().map(encode).collect();
        let encoded = encoded
            .map_err(|error| ClientError::Unencodable { what: "assignment".to_string(), cause: error.to_string() })?;
        Ok((encoded, Some(counts)))
    }

    /// How many partitions each topic has now; a topic that does not exist has none.
    pub(super) async fn counts(
        &self,
        topics: &BTreeSet<Arc<str>>,
        deadline: Instant,
    ) -> Result<BTreeMap<Arc<str>, i32>> {
        let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        let cluster = self.coordinator.cluster();
        let metadata = if self.config.allow_auto_create_topics {
            cluster.refresh_topics_creating(&names, deadline).await?
        } else {
            cluster.refresh_topics(&names, deadline).await?
        };
        Ok(topics
            .iter()
            .filter_map(|topic| {
                let known = metadata.topic(topic)?;
                Some((topic.clone(), i32::try_from(known.partitions.len()).unwrap_or(i32::MAX)))
            })
            .filter(|(_, count)| *count > 0)
            .collect())
    }

    async fn sync(
        &self,
        joined: &JoinGroupResponse,
        assignments: Vec<SyncGroupRequestAssignment>,
        limit: Duration,
        deadline: Instant,
    ) -> Result<Vec<TopicPartition>> {
        let group = self.coordinator.group();
        let connection = self.coordinator.connection(deadline).await?;
        let version = connection.version_of::<SyncGroupRequest>()?;
        let request = SyncGroupRequest {
            group_id: Str::from(group),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            group_instance_id: self.instance_id(version >= 3),
            protocol_type: Some(Str::from_static(PROTOCOL_TYPE)),
            protocol_name: joined.protocol_name.clone(),
            assignments,
        };
        let response = connection.send_version_within(&request, version, limit).await?;
        check_code(response.error_code, || format!("group {group}"))?;
        read_assignment(response.assignment).map_err(|error| ClientError::Malformed {
            what: "assignment".to_string(),
            broker: format!("group {group}"),
            cause: error.to_string(),
        })
    }

    fn instance_id(&self, known_to_version: bool) -> Option<Str> {
        // Older coordinators know no static members and go by the member id alone.
        self.config.group_instance_id.as_deref().filter(|_| known_to_version).map(Str::from)
    }

    fn start_heartbeats(self: &Arc<Membership>) {
        let generation = {
            let mut state = self.state.lock();
            state.last_poll = self.now();
            state.generation
        };
        let membership = Arc::downgrade(self);
        let task = runtime::spawn(async move {
            // The consumer may be dropped without a goodbye; the heartbeats then end, and the session with them.
            while let Some(membership) = membership.upgrade() {
                let interval = membership.config.heartbeat_interval;
                let clock = membership.coordinator.cluster().clock();
                if !membership.heartbeat(generation).await {
                    return;
                }
                drop(membership);
                clock.sleep(interval).await;
            }
        });
        let before = self.state.lock().heartbeats.replace(task.abort_handle());
        if let Some(before) = before {
            before.abort();
        }
    }

    pub(super) fn stop_heartbeats(&self) {
        if let Some(heartbeats) = self.state.lock().heartbeats.take() {
            heartbeats.abort();
        }
    }

    /// One heartbeat; `false` where this generation needs no more of them.
    async fn heartbeat(&self, generation: i32) -> bool {
        let (member_id, idle) = {
            let state = self.state.lock();
            if state.generation != generation {
                return false;
            }
            (state.member_id.clone(), self.now().saturating_duration_since(state.last_poll))
        };
        if idle > self.config.max_poll_interval {
            tracing::warn!(
                "consumer poll timeout has expired: the time between polls was longer than max.poll.interval.ms ({} ms), \
                 so this member leaves group {}",
                self.config.max_poll_interval.as_millis(),
                self.coordinator.group()
            );
            self.leave().await;
            self.conclude(Verdict::Lost);
            return false;
        }
        let deadline = self.now() + self.config.session_timeout;
        let outcome = self.heartbeat_once(generation, &member_id, deadline).await;
        let Err(error) = outcome else { return true };
        tracing::debug!(group = self.coordinator.group(), %error, "heartbeat failed");
        self.coordinator.judge(&error);
        match error.code() {
            // Go on: the coordinator keeps us while it waits for our join.
            Some(ErrorCode::REBALANCE_IN_PROGRESS) => {
                self.request_rejoin();
                true
            }
            Some(ErrorCode::UNKNOWN_MEMBER_ID) => {
                self.reset(true);
                false
            }
            Some(ErrorCode::ILLEGAL_GENERATION) => {
                self.reset(false);
                false
            }
            _ if error.is_retriable() => true,
            _ => {
                self.conclude(Verdict::Fatal(error));
                false
            }
        }
    }

    async fn heartbeat_once(&self, generation_id: i32, member_id: &str, deadline: Instant) -> Result<()> {
        let connection = self.coordinator.connection(deadline).await?;
        let version = connection.version_of::<HeartbeatRequest>()?;
        let request = HeartbeatRequest {
            group_id: Str::from(self.coordinator.group()),
            generation_id,
            member_id: Str::from(member_id),
            group_instance_id: self.instance_id(version >= 3),
        };
        let limit = self.config.session_timeout.min(self.config.client.request_timeout);
        let response = connection.send_version_within(&request, version, limit).await?;
        check_code(response.error_code, || format!("group {}", self.coordinator.group()))
    }

    /// What an error of a commit says about the membership.
    pub(super) fn judge_commit(&self, error: &ClientError) {
        match error {
            ClientError::CommitFailed { code: ErrorCode::UNKNOWN_MEMBER_ID, .. } => self.reset(true),
            ClientError::CommitFailed { code: ErrorCode::ILLEGAL_GENERATION, .. } => self.reset(false),
            ClientError::CommitFailed { code: ErrorCode::REBALANCE_IN_PROGRESS, .. } => self.request_rejoin(),
            ClientError::CommitFailed { code: ErrorCode::FENCED_INSTANCE_ID, .. } => {
                self.conclude(Verdict::Fatal(error.clone()));
            }
            _ => {}
        }
    }

    /// The generation is over, and with it what it owned. Only an unknown member needs a new id (Kafka keeps it after ILLEGAL_GENERATION).
    fn reset(&self, with_member_id: bool) {
        {
            let mut state = self.state.lock();
            state.generation = -1;
            if with_member_id {
                state.member_id = String::new();
            }
        }
        self.conclude(Verdict::Lost);
    }

    fn conclude(&self, verdict: Verdict) {
        self.state.lock().verdict = verdict;
        self.changed.notify_one();
    }

    /// Says goodbye, so that the others need not wait for the session to run out. Static members do not: they mean to come back.
    pub(super) async fn leave(&self) {
        let member = self.member();
        if member.id.is_empty() {
            return;
        }
        {
            let mut state = self.state.lock();
            state.generation = -1;
            state.member_id = String::new();
        }
        if member.instance_id.is_some() {
            return;
        }
        let deadline = self.now() + LEAVE_TIMEOUT;
        let left = async {
            let connection = self.coordinator.connection(deadline).await?;
            let version = connection.version_of::<LeaveGroupRequest>()?;
            let member_id = Str::from(member.id.as_str());
            let mut request =
                LeaveGroupRequest { group_id: Str::from(self.coordinator.group()), ..LeaveGroupRequest::default() };
            if version >= 3 {
                request.members = vec![MemberIdentity { member_id, ..MemberIdentity::default() }];
            } else {
                request.member_id = member_id;
            }
            let response = connection.send_version(&request, version).await?;
            check_code(response.error_code, || format!("group {}", self.coordinator.group()))
        };
        match self.coordinator.cluster().clock().timeout_at(deadline, left).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "leaving the group failed; the session will run out"),
            Err(_elapsed) => tracing::debug!("no answer to LeaveGroup; the session will run out"),
        }
    }

    fn now(&self) -> Instant {
        self.coordinator.cluster().clock().now()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop_heartbeats();
    }
}

fn in_ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn by_topic(partitions: &[TopicPartition]) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    topics.into_iter().map(|(topic, partitions)| TopicPartitions { topic: Str::from(topic), partitions }).collect()
}

fn from_topics(topics: &[TopicPartitions]) -> Vec<TopicPartition> {
    let mut all = Vec::new();
    for topic in topics {
        let name: Arc<str> = Arc::from(&*topic.topic);
        all.extend(topic.partitions.iter().map(|partition| TopicPartition::new(name.clone(), *partition)));
    }
    all
}

/// Reads what SyncGroup brought. No bytes at all mean no partitions.
fn read_assignment(bytes: Bytes) -> Result<Vec<TopicPartition>, WireError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let (_, assignment) = consumer_protocol::decode::<ConsumerProtocolAssignment>(bytes)?;
    Ok(from_topics(&assignment.assigned_partitions))
}

/// What the sticky assignor tells the leader (Kafka `StickyAssignorUserData` version 1): partitions held, and in which generation.
fn sticky_user_data(owned: &[TopicPartition], generation: i32) -> Result<Bytes, WireError> {
    let topics = by_topic(owned);
    let mut writer = Writer::new();
    writer.array_length(Some(topics.len()), false)?;
    for topic in &topics {
        writer.nullable_string(Some(&topic.topic), false)?;
        writer.array_length(Some(topic.partitions.len()), false)?;
        for partition in &topic.partitions {
            writer.i32(*partition);
        }
    }
    writer.i32(generation);
    writer.into_bytes()
}

/// Reads it again. Version 0 ends before the generation.
fn read_sticky_user_data(subscription: &ConsumerProtocolSubscription) -> Result<(Vec<TopicPartition>, i32), WireError> {
    let Some(user_data) = subscription.user_data.clone().filter(|bytes| !bytes.is_empty()) else {
        return Ok((Vec::new(), -1));
    };
    let mut reader = Reader::new(user_data);
    let topics = reader.nullable_array(false, |reader| {
        let topic = reader.string(false)?;
        let partitions = reader.nullable_array(false, Reader::i32)?.unwrap_or_default();
        Ok(TopicPartitions { topic, partitions })
    })?;
    let generation = if reader.remaining() >= 4 { reader.i32()? } else { -1 };
    Ok((from_topics(&topics.unwrap_or_default()), generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sticky_member_says_can_be_read_again() {
        let owned = vec![TopicPartition::new("a", 0), TopicPartition::new("a", 2), TopicPartition::new("b", 1)];
        let user_data = sticky_user_data(&owned, 7).unwrap();
        let mut subscription = ConsumerProtocolSubscription { user_data: Some(user_data), ..Default::default() };
        assert_eq!(read_sticky_user_data(&subscription).unwrap(), (owned, 7));
        subscription.user_data = None;
        assert_eq!(read_sticky_user_data(&subscription).unwrap(), (Vec::new(), -1));
        subscription.user_data = Some(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]));
        assert!(read_sticky_user_data(&subscription).is_err());
    }

    #[test]
    fn assignments_are_those_of_kafkas_consumers() {
        // Version 0, one topic "t" with partitions 0 and 1, no user data: as 0.9's consumer writes it.
        let bytes = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";
        let partitions = vec![TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
        assert_eq!(read_assignment(Bytes::from_static(bytes)).unwrap(), partitions);
        let assignment = ConsumerProtocolAssignment { assigned_partitions: by_topic(&partitions), user_data: None };
        assert_eq!(&consumer_protocol::encode(&assignment, ASSIGNMENT_VERSION).unwrap()[..], bytes);
        assert_eq!(read_assignment(Bytes::new()).unwrap(), Vec::new());
        assert!(read_assignment(Bytes::from_static(&bytes[..12])).is_err());
    }
}
