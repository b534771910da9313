//! The task of a member: holds the session, registers, shares partitions out whenever something changes, commits in between
//! (Kafka: `ZookeeperConsumerConnector`).
//!
//! What is always true: a partition is read only while its owner znode is ours; it is let go of, its offset committed, before that znode is deleted. A
//! partition that stays with this member is read on without a break: Kafka's own consumer lets go of everything first, but nobody can tell the
//! difference from outside, since an owner znode is only ever fought over by who wants that partition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::types::{Offset, TopicPartition};
use runtime::clock::Instant;
use runtime::spawn::AbortHandle;
use tokio::sync::{mpsc, watch};

use super::assignment::{self, Group};
use super::config::{AssignmentStrategy, ZookeeperConsumerConfig};
use super::consumer::{Reader, Shared};
use super::subscription::{Subscription, threads_of};
use crate::kafka::consumer::commit::GroupCoordinator;
use crate::kafka::{Cluster, Consumer, HostPort, OldBroker};
use crate::zookeeper::znodes::{
    BrokerRegistration, ConsumerOwner, ConsumerRegistration, SubscriptionPattern, TopicAssignment,
};
use crate::zookeeper::{ConnectString, CreateMode, Session, SessionConfig, SessionState, Watch, ZkError, paths};
use crate::zookeeper_consumer::ConsumerError;

/// Attempts of one small step (a create, a delete) that a lost connection or a node that comes and goes may spoil.
const STEP_TRIES_MAX: usize = 10;

/// Pause before ZooKeeper is tried again when a new session cannot be had.
const RECONNECT_WAIT: Duration = Duration::from_secs(1);

/// The member's side of a consumer.
pub(super) struct Membership {
    shared: Arc<Shared>,
    closing: watch::Receiver<bool>,
    /// Something that was watched changed. One place is enough: a rebalance looks at everything.
    trigger: mpsc::Sender<()>,
    triggered: mpsc::Receiver<()>,
    watchers: Vec<AbortHandle>,
    /// Owner znodes that are or may be ours, those of attempts that went wrong included.
    claims: BTreeSet<TopicPartition>,
    /// When to try again after a rebalance that failed.
    retry_at: Option<Instant>,
}

/// How an attempt to share the partitions out ended.
enum Attempt {
    Done,
    /// Others have not let go yet; the watches fire when they do.
    Conflict {
        owners: Vec<Watch>,
        why: String,
    },
}

/// Whose an owner znode is.
enum Claim {
    Ours,
    Others(Watch),
}

impl Membership {
    /// Joins the group and shares the partitions out once.
    pub(super) async fn join(
        config: ZookeeperConsumerConfig,
        subscription: Subscription,
        consumer_id: String,
        clock: runtime::Clock,
        closing: watch::Receiver<bool>,
    ) -> Result<(Arc<Shared>, Membership), ConsumerError> {
        let session = connect(&config, clock).await?;
        let shared = Arc::new(Shared::new(config, subscription, consumer_id, clock, session.clone()));
        let (trigger, triggered) = mpsc::channel(1);
        let mut membership = Membership {
            shared: shared.clone(),
            closing,
            trigger,
            triggered,
            watchers: Vec::new(),
            claims: BTreeSet::new(),
            retry_at: None,
        };
        let joined = async {
            membership.register(&session).await?;
            membership.rebalance().await
        };
        if let Err(error) = joined.await {
            membership.watchers.drain(..).for_each(|watcher| watcher.abort());
            session.close().await;
            return Err(error);
        }
        Ok((shared, membership))
    }

    /// Serves the membership until the consumer is closed.
    pub(super) async fn run(mut self) -> Result<(), ConsumerError> {
        let clock = self.shared.clock;
        let auto_commit = self.shared.config.auto_commit_enable;
        let interval = self.shared.config.auto_commit_interval;
        let mut commit_at = clock.now() + interval;
        while !self.is_closing() {
            let mut status = self.shared.session().status();
            let ended = async {
                let ended = status.wait_for(|status| status.state.is_terminal()).await;
                ended.map_or(SessionState::Closed, |status| status.state)
            };
            tokio::select! {
                biased;
                // An error means that the handle was dropped, which closes as well.
                _ = self.closing.changed() => {}
                state = ended => {
                    tracing::warn!(consumer = self.shared.consumer_id, ?state, "the ZooKeeper session ended, making another");
                    self.renew_session().await;
                }
                _ = self.triggered.recv() => self.rebalance_or_report().await,
                () = clock.sleep_until(self.retry_at.unwrap_or(commit_at)), if self.retry_at.is_some() => {
                    self.rebalance_or_report().await;
                }
                () = clock.sleep_until(commit_at), if auto_commit => {
                    commit_at = clock.now() + interval;
                    if let Err(error) = self.shared.commit_consumed().await {
                        tracing::warn!(consumer = self.shared.consumer_id, %error, "the automatic commit failed, the next one makes up for it");
                    }
                }
            }
        }
        self.leave().await
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow() || self.closing.has_changed().is_err()
    }

    /// Leaves the group. The session's end deletes our znodes, all in one.
    async fn leave(mut self) -> Result<(), ConsumerError> {
        self.watchers.drain(..).for_each(|watcher| watcher.abort());
        let committed = match self.shared.config.auto_commit_enable {
            true => self.shared.commit_consumed().await,
            false => Ok(()),
        };
        self.shared.close();
        self.shared.session().close().await;
        committed
    }

    /// The session has expired and our znodes with it: others may read our partitions already.
    async fn renew_session(&mut self) {
        let owned: Vec<TopicPartition> = self.shared.state.lock().owned.keys().cloned().collect();
        // Not committed: that is now the business of their next owner.
        let _ = self.shared.let_go(&owned);
        self.claims.clear();
        loop {
            if self.is_closing() {
                return;
            }
            let renewed = async {
                let session = connect(&self.shared.config, self.shared.clock).await?;
                self.register(&session).await?;
                Ok::<_, ConsumerError>(session)
            };
            match renewed.await {
                Ok(session) => {
                    self.shared.set_session(session);
                    break;
                }
                Err(error) => {
                    tracing::warn!(consumer = self.shared.consumer_id, %error, "cannot join the group again yet");
                    self.pause(RECONNECT_WAIT).await;
                }
            }
        }
        self.rebalance_or_report().await;
    }

    /// Sleeps, or wakes early to close.
    async fn pause(&mut self, wait: Duration) {
        tokio::select! {
            biased;
            _ = self.closing.changed() => {}
            () = self.shared.clock.sleep(wait) => {}
        }
    }

    /// Creates our ephemeral registration.
    async fn register(&self, session: &Session) -> Result<(), ConsumerError> {
        let shared = &self.shared;
        let path = paths::consumer_id(&shared.config.group_id, &shared.consumer_id);
        let data = shared.subscription.registration(shared.clock.now_ms()).to_json();
        // With a fixed consumer.id the registration of our last life may be there until its session expires.
        let deadline = shared.clock.now() + session.timeout() * 2;
        loop {
            match claim(session, &path, &data).await? {
                Claim::Ours => return Ok(()),
                Claim::Others(mut gone) => tokio::select! {
                    biased;
                    changed = gone.changed() => drop(changed?),
                    () = shared.clock.sleep_until(deadline) => return Err(ConsumerError::AlreadyRegistered { path }),
                },
            }
        }
    }

    async fn rebalance_or_report(&mut self) {
        self.retry_at = None;
        match self.rebalance().await {
            Ok(()) => {}
            // The main loop sees the session's end.
            Err(ConsumerError::Zookeeper(error)) if error.is_terminal() => {}
            Err(error) => {
                // Kafka's consumer would sit idle until something changes; this one tries again.
                let wait = self.shared.config.backoff() * self.shared.config.rebalance_max_retries.max(1);
                let cause = error.cause();
                tracing::error!(%error, cause, ?wait, "trying again later");
                self.retry_at = Some(self.shared.clock.now() + wait);
            }
        }
    }

    /// Shares the partitions out, in as many attempts as are allowed.
    async fn rebalance(&mut self) -> Result<(), ConsumerError> {
        let retries = self.shared.config.rebalance_max_retries.max(1);
        let backoff = self.shared.config.backoff();
        let mut last = String::new();
        for attempt in 1..=retries {
            if self.is_closing() {
                return Ok(());
            }
            // What changed until here, this attempt sees.
            while self.triggered.try_recv().is_ok() {}
            match self.attempt().await {
                Ok(Attempt::Done) => return Ok(()),
                Ok(Attempt::Conflict { owners, why }) => {
                    tracing::info!(consumer = self.shared.consumer_id, attempt, why, "partitions are not free yet");
                    last = why;
                    let released = async {
                        for mut owner in owners {
                            // The session's end shows in the next attempt.
                            let _ = owner.changed().await;
                        }
                    };
                    tokio::select! {
                        biased;
                        _ = self.closing.changed() => {}
                        () = released => {}
                        () = self.shared.clock.sleep(backoff) => {}
                    }
                }
                Err(ConsumerError::Zookeeper(error)) if error.is_terminal() => return Err(error.into()),
                Err(error) => {
                    // The znodes may change while they are read; what is wrong for good shows in every attempt.
                    last = match error.cause() {
                        Some(cause) => format!("{error} ({cause})"),
                        None => error.to_string(),
                    };
                    tracing::info!(consumer = self.shared.consumer_id, attempt, why = last, "cannot rebalance");
                    self.pause(backoff).await;
                }
            }
        }
        Err(ConsumerError::RebalanceFailed { consumer: self.shared.consumer_id.clone(), retries, last })
    }

    /// Looks at the group, computes our share, lets go of the rest and claims what is new.
    async fn attempt(&mut self) -> Result<Attempt, ConsumerError> {
        self.watchers.drain(..).for_each(|watcher| watcher.abort());
        let shared = self.shared.clone();
        let session = shared.session();
        let group = self.look(&session).await?;
        if !self.find_brokers(&session).await? {
            tracing::warn!(consumer = shared.consumer_id, "no brokers found when trying to rebalance.");
            return Ok(Attempt::Done);
        }
        let share = match shared.config.assignment_strategy {
            AssignmentStrategy::Range => assignment::range(&group, &shared.consumer_id),
            AssignmentStrategy::RoundRobin => {
                assignment::round_robin(&group, &shared.consumer_id).map_err(|error| ConsumerError::BadConfig {
                    name: "partition.assignment.strategy".to_owned(),
                    value: "roundrobin".to_owned(),
                    why: error.to_string(),
                })?
            }
        };
        let lost: Vec<TopicPartition> =
            self.claims.iter().filter(|claim| !share.contains_key(*claim)).cloned().collect();
        self.release(&session, &lost, shared.config.auto_commit_enable).await?;
        let owned: BTreeMap<TopicPartition, i32> =
            shared.state.lock().owned.iter().map(|(partition, owned)| (partition.clone(), owned.thread)).collect();
        let mut gained = Vec::new();
        let mut conflicts = Vec::new();
        let mut contested = Vec::new();
        for (partition, thread) in share {
            if owned.get(&partition) == Some(&thread) {
                continue;
            }
            let path = paths::consumer_owner(&shared.config.group_id, &partition.topic, partition.partition);
            let owner = ConsumerOwner { consumer: shared.consumer_id.clone(), thread }.to_string();
            // Before the create: where its answer is lost the znode may be there.
            self.claims.insert(partition.clone());
            match claim(&session, &path, owner.as_bytes()).await? {
                Claim::Ours if owned.contains_key(&partition) => {
                    if let Some(owned) = shared.state.lock().owned.get_mut(&partition) {
                        owned.thread = thread;
                    }
                }
                Claim::Ours => gained.push((partition, thread)),
                Claim::Others(watch) => {
                    self.claims.remove(&partition);
                    conflicts.push(watch);
                    contested.push(partition.to_string());
                }
            }
        }
        let gained_partitions: Vec<TopicPartition> = gained.iter().map(|(partition, _)| partition.clone()).collect();
        if !conflicts.is_empty() {
            self.release(&session, &gained_partitions, false).await?;
            let why = format!("waiting for the partition ownership to be deleted: {}", contested.join(" "));
            return Ok(Attempt::Conflict { owners: conflicts, why });
        }
        let offsets = match shared.offsets().fetch(&gained_partitions).await {
            Ok(offsets) => offsets,
            Err(error) => {
                self.release(&session, &gained_partitions, false).await?;
                return Err(error);
            }
        };
        let gained: Vec<(TopicPartition, i32, Option<Offset>)> = gained
            .into_iter()
            .map(|(partition, thread)| {
                let offset = offsets.get(&partition).copied();
                (partition, thread, offset)
            })
            .collect();
        tracing::info!(consumer = shared.consumer_id, lost = lost.len(), gained = gained.len(), "rebalanced");
        if !gained.is_empty() {
            shared.take_on(gained);
        }
        Ok(Attempt::Done)
    }

    /// Reads the members and the topics, and watches both.
    async fn look(&mut self, session: &Session) -> Result<Group, ConsumerError> {
        let shared = self.shared.clone();
        let config = &shared.config;
        let (mut members, watch) = session.get_children_watch(&paths::consumer_ids(&config.group_id)).await?;
        self.trigger_on(watch);
        if !members.contains(&shared.consumer_id) {
            // Somebody deleted it by hand.
            self.register(session).await?;
            members.push(shared.consumer_id.clone());
        }
        members.sort();
        let znodes: Vec<String> = members.iter().map(|member| paths::consumer_id(&config.group_id, member)).collect();
        let mut registrations = Vec::new();
        for ((member, path), data) in members.into_iter().zip(&znodes).zip(session.read_many(&znodes).await?) {
            // One that has just gone fires the watch.
            if let Some((data, _)) = data {
                registrations.push((member, ConsumerRegistration::parse(path, &data)?));
            }
        }
        let patterns = registrations.iter().any(|(_, member)| member.pattern != SubscriptionPattern::Static);
        let all_topics = if patterns { self.all_topics(session).await? } else { BTreeSet::new() };
        let mut group = Group::default();
        for (member, registration) in &registrations {
            let threads = threads_of(member, registration, &all_topics, config.exclude_internal_topics)?;
            for (topic, threads) in threads {
                group.threads.entry(topic).or_default().extend(threads);
            }
        }
        if config.assignment_strategy == AssignmentStrategy::Range {
            // The topics of others alone do not matter.
            group.threads.retain(|_, threads| threads.iter().any(|thread| thread.consumer == shared.consumer_id));
        }
        for topic in group.threads.keys() {
            let path = paths::topic(topic);
            let (data, watch) = session.watch_data(&path).await?;
            self.trigger_on(watch);
            let assignment = data.map(|(data, _)| TopicAssignment::parse(&path, &data)).transpose()?;
            let partitions = assignment.map_or_else(Vec::new, |topic| topic.partitions.into_keys().collect());
            group.partitions.insert(topic.clone(), partitions);
        }
        Ok(group)
    }

    async fn all_topics(&mut self, session: &Session) -> Result<BTreeSet<String>, ConsumerError> {
        if !self.shared.subscription.is_filter() {
            return Ok(children(session, paths::BROKER_TOPICS).await?.into_iter().collect());
        }
        match session.get_children_watch(paths::BROKER_TOPICS).await {
            Ok((topics, watch)) => {
                self.trigger_on(watch);
                Ok(topics.into_iter().collect())
            }
            Err(error) if error.is_no_node() => {
                let (_, watch) = session.exists_watch(paths::BROKER_TOPICS).await?;
                self.trigger_on(watch);
                Ok(BTreeSet::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes sure that there is a reader which knows a live broker; brokers that come and go are watched for. False as long as there is none.
    async fn find_brokers(&mut self, session: &Session) -> Result<bool, ConsumerError> {
        let shared = self.shared.clone();
        let ids = match session.get_children_watch(paths::BROKER_IDS).await {
            Ok((ids, watch)) => {
                self.trigger_on(watch);
                ids
            }
            Err(error) if error.is_no_node() => {
                let (_, watch) = session.exists_watch(paths::BROKER_IDS).await?;
                self.trigger_on(watch);
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        let (brokers, oldest) = plaintext_brokers(session, &ids).await?;
        let known = shared.reader();
        if brokers.is_empty() {
            return Ok(known.is_some());
        }
        if known.is_some_and(|reader| reader.knows_any(&brokers)) {
            return Ok(true);
        }
        // The first ones, or all have moved and nobody the reader knows can tell it where to.
        let mut config = shared.config.reader(brokers);
        // A registration tells a broker's age, so that old ones need not be asked what they know: 0.9 does not even answer.
        if let Some(release) = release_of(oldest) {
            config.client.api_version_request = false;
            config.client.broker_version_fallback = release;
        }
        let cluster = Cluster::new(config.client.clone(), shared.clock);
        let coordinator = Arc::new(GroupCoordinator::new(cluster.clone(), shared.config.group_id.clone()));
        let consumer = Arc::new(Consumer::new(cluster, config)?);
        shared.set_reader(Reader { consumer, coordinator });
        Ok(true)
    }

    /// Stops reading partitions, commits what was consumed of them where `commit` says so, and deletes their owner znodes.
    async fn release(
        &mut self,
        session: &Session,
        partitions: &[TopicPartition],
        commit: bool,
    ) -> Result<(), ConsumerError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let shared = self.shared.clone();
        let uncommitted = shared.let_go(partitions);
        // From here on a commit of the caller's leaves these partitions out; one under way is waited for.
        let _gate = shared.commit_gate.lock().await;
        if commit && let Err(error) = shared.commit(&uncommitted).await {
            // Their next owner reads some records again, which is better than nobody reading them.
            tracing::warn!(consumer = shared.consumer_id, %error, "cannot commit the offsets of partitions that go to others");
        }
        for partition in partitions {
            delete(session, &paths::consumer_owner(&shared.config.group_id, &partition.topic, partition.partition))
                .await?;
            self.claims.remove(partition);
        }
        Ok(())
    }

    fn trigger_on(&mut self, mut watch: Watch) {
        let trigger = self.trigger.clone();
        let watcher = runtime::spawn(async move {
            if watch.changed().await.is_ok() {
                // A full place means that a rebalance is due anyway.
                let _ = trigger.try_send(());
            }
        });
        self.watchers.push(watcher.abort_handle());
    }
}

/// Addresses of the live brokers that can be talked to, and the version of the oldest registration among them.
async fn plaintext_brokers(session: &Session, ids: &[String]) -> Result<(Vec<HostPort>, i32), ConsumerError> {
    let znodes: Vec<String> = ids.iter().map(|id| format!("{}/{id}", paths::BROKER_IDS)).collect();
    let mut brokers = Vec::new();
    let mut oldest = i32::MAX;
    for (path, data) in znodes.iter().zip(session.read_many(&znodes).await?) {
        let Some((data, _)) = data else { continue };
        let registration = BrokerRegistration::parse(path, &data)?;
        let Some(endpoint) = registration.plaintext() else {
            tracing::warn!(path, "this broker has no PLAINTEXT listener, so it cannot be asked");
            continue;
        };
        let port = u16::try_from(endpoint.port)
            .map_err(|_| ZkError::BadZnode { path: path.clone(), why: format!("port {} is none", endpoint.port) })?;
        oldest = oldest.min(registration.version);
        brokers.push(HostPort { host: endpoint.host.clone(), port });
    }
    Ok((brokers, oldest))
}

/// Releases without ApiVersions, by the version of their registrations.
fn release_of(registration_version: i32) -> Option<OldBroker> {
    match registration_version {
        ..=1 => Some(OldBroker::V0_8_2),
        2 => Some(OldBroker::V0_9_0),
        _ => None,
    }
}

async fn connect(config: &ZookeeperConsumerConfig, clock: runtime::Clock) -> Result<Session, ConsumerError> {
    let connect = ConnectString::parse(&config.zookeeper_connect)?;
    let mut session = SessionConfig::new(connect, config.zookeeper_session_timeout);
    session.clock = clock;
    let session = Session::start(session);
    session.connected(config.zookeeper_connection_timeout.unwrap_or(config.zookeeper_session_timeout)).await?;
    Ok(session)
}

/// Children of a node; none where it is not there.
async fn children(session: &Session, path: &str) -> Result<Vec<String>, ZkError> {
    match session.get_children(path).await {
        Err(error) if error.is_no_node() => Ok(Vec::new()),
        found => found,
    }
}

/// Makes an ephemeral node ours, if it is free. The answer to a create may be lost, so one that is there already may be ours.
async fn claim(session: &Session, path: &str, data: &[u8]) -> Result<Claim, ZkError> {
    let data = bytes::Bytes::copy_from_slice(data);
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match session.create_recursive(path, data.clone(), CreateMode::Ephemeral).await {
            Ok(_) => return Ok(Claim::Ours),
            Err(error) => error,
        };
        if tries >= STEP_TRIES_MAX {
            return Err(error);
        }
        if error.is_connection_loss() {
            session.connected(session.timeout()).await?;
            continue;
        }
        if !error.is_node_exists() {
            return Err(error);
        }
        let (stat, watch) = match session.exists_watch(path).await {
            Ok((Some(stat), watch)) => (stat, watch),
            Ok((None, _)) => continue,
            Err(error) if error.is_connection_loss() => continue,
            Err(error) => return Err(error),
        };
        if stat.ephemeral_owner != session.session_id() {
            return Ok(Claim::Others(watch));
        }
        match session.set_data(path, data.clone(), -1).await {
            Ok(_) => return Ok(Claim::Ours),
            Err(error) if error.is_no_node() || error.is_connection_loss() => {}
            Err(error) => return Err(error),
        }
    }
}

/// Deletes a node; that it is not there any more is fine.
async fn delete(session: &Session, path: &str) -> Result<(), ZkError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match session.delete(path, -1).await {
            Err(error) if error.is_connection_loss() && tries < STEP_TRIES_MAX => {
                session.connected(session.timeout()).await?;
            }
            Err(error) if !error.is_no_node() => return Err(error),
            _ => return Ok(()),
        }
    }
}
