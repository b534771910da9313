//! [`GroupConsumer`]: a [`Consumer`] whose partitions a group decides (`subscribe`), with committed offsets and callbacks.
//!
//! Always true: records of a partition are handed out only between its assignment and its revocation, and automatic commits cover only what
//! earlier calls of `poll` have handed out. So a crash repeats records and loses none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::error::ErrorCode;
use protocol::types::{Offset, TopicPartition};
use runtime::Task;
use runtime::clock::Instant;

use super::super::cluster::{Cluster, whole_ms};
use super::super::config::ConsumerConfig;
use super::super::error::{ClientError, Result};
use super::Consumer;
use super::block::FetchedBlock;
use super::commit::{CommittedOffset, GroupCoordinator, OffsetToCommit};
use super::membership::{Joined, Membership, Verdict};

/// How often missing topics of a subscription are looked for.
const MISSING_TOPICS_LOOK: Duration = Duration::from_secs(5);

/// A boxed future, for [`RebalanceListener`].
pub type BoxFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Told of rebalances, inside `poll`.
pub trait RebalanceListener: Send + Sync {
    /// The partitions are about to be given back: the last moment to commit by [`GroupConsumer::commit`].
    fn on_partitions_revoked<'a>(
        &'a self,
        consumer: &'a GroupConsumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a>;

    /// The partitions are ours now, positions are set; a `seek` here holds.
    fn on_partitions_assigned<'a>(
        &'a self,
        consumer: &'a GroupConsumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a>;

    /// The partitions were lost without a chance to commit.
    fn on_partitions_lost<'a>(
        &'a self,
        consumer: &'a GroupConsumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a> {
        self.on_partitions_revoked(consumer, partitions)
    }
}

/// Which topics a group consumer wants.
#[derive(Clone)]
enum Subscription {
    None,
    Topics(BTreeSet<Arc<str>>),
    /// All topics with such a name.
    Matching(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

/// Reads what its group gives it. `poll` is for one caller at a time (a second one waits).
pub struct GroupConsumer {
    consumer: Consumer,
    membership: Arc<Membership>,
    subscription: Mutex<Subscription>,
    listener: Option<Arc<dyn RebalanceListener>>,
    progress: tokio::sync::Mutex<Progress>,
}

/// What `poll` keeps between two calls.
struct Progress {
    joining: Option<Task<Result<Joined>>>,
    /// The topics of the membership.
    topics: BTreeSet<Arc<str>>,
    /// The leader's partition counts.
    counts: Option<BTreeMap<Arc<str>, i32>>,
    next_look: Instant,
    next_commit: Instant,
    committing: Option<Task<Result<()>>>,
    /// The partitions of a generation, until they are given back.
    holds: Vec<TopicPartition>,
}

impl GroupConsumer {
    /// A consumer in the group `group.id`. Nothing is sent before the first `poll`.
    ///
    /// # Errors
    /// [`ClientError::InvalidConfig`], also without `group.id`.
    pub fn new(cluster: Cluster, config: ConsumerConfig) -> Result<GroupConsumer> {
        let Some(group) = config.group_id.clone().filter(|group| !group.is_empty()) else {
            return Err(ClientError::InvalidConfig {
                name: "group.id".to_string(),
                value: String::new(),
                reason: "To use the group management or offset commit APIs, you must provide a valid group.id"
                    .to_string(),
            });
        };
        let now = cluster.clock().now();
        let coordinator = GroupCoordinator::new(cluster.clone(), group);
        let membership = Arc::new(Membership::new(coordinator, config.clone()));
        let progress = Progress {
            joining: None,
            topics: BTreeSet::new(),
            counts: None,
            next_look: now,
            next_commit: now + config.auto_commit_interval,
            committing: None,
            holds: Vec::new(),
        };
        Ok(GroupConsumer {
            consumer: Consumer::new(cluster, config)?,
            membership,
            subscription: Mutex::new(Subscription::None),
            listener: None,
            progress: tokio::sync::Mutex::new(progress),
        })
    }

    /// Has `listener` told of rebalances.
    #[must_use]
    pub fn with_listener(mut self, listener: Arc<dyn RebalanceListener>) -> GroupConsumer {
        self.listener = Some(listener);
        self
    }

    /// Reads these topics from the next `poll` on.
    pub fn subscribe<T: AsRef<str>>(&self, topics: impl IntoIterator<Item = T>) {
        let topics = topics.into_iter().map(|topic| Arc::from(topic.as_ref())).collect();
        *self.subscription.lock() = Subscription::Topics(topics);
    }

    /// Reads all topics whose name `matches` (a regular expression of the caller's), also those to come; Kafka's internal ones excepted.
    pub fn subscribe_matching(&self, matches: impl Fn(&str) -> bool + Send + Sync + 'static) {
        *self.subscription.lock() = Subscription::Matching(Arc::new(matches));
    }

    /// The consumer underneath, for positions, lag, pause and seek.
    #[must_use]
    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// The partitions it reads now.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.consumer.assignment()
    }

    /// Member id and generation; the id is empty before the first join.
    #[must_use]
    pub fn member(&self) -> super::commit::Member {
        self.membership.member()
    }

    /// What has come, waiting at most `limit`. Joining and rebalancing go on inside; while they do, nothing comes.
    ///
    /// # Errors
    /// As [`Consumer::poll`]; what ends the membership, such as GROUP_AUTHORIZATION_FAILED or FENCED_INSTANCE_ID.
    pub async fn poll(&self, limit: Duration) -> Result<Vec<FetchedBlock>> {
        let clock = self.consumer.cluster().clock();
        let deadline = clock.now() + limit;
        let mut progress = self.progress.lock().await;
        loop {
            self.membership.polled();
            if !self.settle(&mut progress, deadline).await? {
                return Ok(Vec::new());
            }
            self.auto_commit(&mut progress).await;
            let left = deadline.saturating_duration_since(clock.now());
            tokio::select! {
                biased;
                () = self.membership.changed.notified() => {}
                blocks = self.consumer.poll(left) => return blocks,
            }
        }
    }

    /// Commits the position of every partition: all that `poll` has handed out so far.
    ///
    /// # Errors
    /// As [`GroupConsumer::commit`].
    pub async fn commit_positions(&self) -> Result<()> {
        self.commit(&self.positions_to_commit()).await
    }

    /// Commits these offsets.
    ///
    /// # Errors
    /// [`ClientError::CommitFailed`] where the group has moved on without this member; [`ClientError::Timeout`] after
    /// `default.api.timeout.ms`.
    pub async fn commit(&self, offsets: &[OffsetToCommit]) -> Result<()> {
        let deadline = self.consumer.cluster().default_deadline();
        commit(&self.membership, offsets, deadline).await
    }

    /// What the group has committed for `partitions`; those without an offset are left out.
    ///
    /// # Errors
    /// [`ClientError::Broker`]; [`ClientError::Timeout`] after `default.api.timeout.ms`.
    pub async fn committed(&self, partitions: &[TopicPartition]) -> Result<HashMap<TopicPartition, CommittedOffset>> {
        let deadline = self.consumer.cluster().default_deadline();
        self.membership.coordinator.committed(Some(partitions), deadline).await
    }

    /// Commits (where that is automatic), gives the partitions back and leaves the group, within `limit`.
    ///
    /// # Errors
    /// What the last commit failed with; the group is left all the same.
    pub async fn close(&self, limit: Duration) -> Result<()> {
        let clock = self.consumer.cluster().clock();
        let deadline = clock.now() + limit;
        let Ok(mut progress) = clock.timeout_at(deadline, self.progress.lock()).await else {
            self.membership.stop_heartbeats();
            let doing = "closing the consumer".to_string();
            return Err(ClientError::Timeout { doing, waited_ms: whole_ms(limit), last: None });
        };
        if let Some(joining) = progress.joining.take() {
            joining.abort();
        }
        let committed = self.give_back(&mut progress, false, deadline).await;
        self.membership.stop_heartbeats();
        // Leaving is a courtesy to the others and has a limit of its own.
        let _ = clock.timeout_at(deadline, self.membership.leave()).await;
        self.consumer.close();
        committed
    }

    /// Makes the membership fit subscription and group; `false` where that takes longer than `deadline`.
    async fn settle(&self, progress: &mut Progress, deadline: Instant) -> Result<bool> {
        if progress.joining.is_none() {
            self.look_at_topics(progress, deadline).await?;
            match self.membership.verdict() {
                Verdict::Stable => return Ok(true),
                Verdict::Fatal(error) => return Err(error),
                Verdict::Rejoin => {
                    let config = &self.consumer.config().client;
                    let limit = self.consumer.cluster().clock().now() + config.default_api_timeout;
                    if let Err(error) = self.give_back(progress, false, limit).await {
                        tracing::warn!("{error}");
                    }
                }
                Verdict::Lost => {
                    let now = self.consumer.cluster().clock().now();
                    if let Err(error) = self.give_back(progress, true, now).await {
                        tracing::warn!("{error}");
                    }
                }
            }
            let (membership, topics) = (self.membership.clone(), progress.topics.clone());
            progress.joining = Some(runtime::spawn(async move { membership.join(topics).await }));
        }
        let Some(joining) = &mut progress.joining else { return Ok(false) };
        let joined = match self.consumer.cluster().clock().timeout_at(deadline, joining).await {
            Err(_elapsed) => return Ok(false),
            Ok(joined) => joined,
        };
        progress.joining = None;
        let joined = match joined {
            Ok(Ok(joined)) => joined,
            // It starts anew with the next poll.
            Ok(Err(error)) if error.is_retriable() => {
                tracing::warn!("{error}");
                return Ok(false);
            }
            Ok(Err(error)) => return Err(error),
            Err(_panicked) => return Ok(false),
        };
        self.take_over(progress, joined).await?;
        Ok(true)
    }

    /// Notices a changed subscription, and as leader changed partition counts.
    async fn look_at_topics(&self, progress: &mut Progress, deadline: Instant) -> Result<()> {
        let cluster = self.consumer.cluster();
        let now = cluster.clock().now();
        let subscription = self.subscription.lock().clone();
        let wanted = match subscription {
            Subscription::None => {
                return Err(ClientError::InvalidConfig {
                    name: "subscription".to_string(),
                    value: String::new(),
                    reason: "Consumer is not subscribed to any topics or assigned any partitions".to_string(),
                });
            }
            Subscription::Topics(topics) => topics,
            Subscription::Matching(_) if now < progress.next_look && !progress.topics.is_empty() => {
                progress.topics.clone()
            }
            Subscription::Matching(matches) => {
                progress.next_look = now + self.look_interval(false);
                let limit = deadline.max(now + cluster.config().request_timeout);
                match cluster.clock().timeout_at(limit, cluster.refresh_all()).await {
                    Ok(Ok(metadata)) => {
                        let fits =
                            |topic: &&Arc<super::super::TopicMetadata>| !topic.is_internal && matches(&topic.name);
                        metadata.topics.values().filter(fits).map(|topic| topic.name.clone()).collect()
                    }
                    Ok(Err(error)) if !error.is_retriable() => return Err(error),
                    Ok(Err(_)) | Err(_) => progress.topics.clone(),
                }
            }
        };
        if wanted != progress.topics {
            progress.topics = wanted;
            progress.counts = None;
            self.membership.request_rejoin();
            return Ok(());
        }
        let Some(counts) = &progress.counts else { return Ok(()) };
        if now >= progress.next_look {
            let missing = progress.topics.iter().any(|topic| !counts.contains_key(topic));
            progress.next_look = now + self.look_interval(missing);
            let limit = now + cluster.config().request_timeout;
            let topics: BTreeSet<Arc<str>> = progress.topics.iter().chain(counts.keys()).cloned().collect();
            match self.membership.counts(&topics, limit).await {
                Ok(current) if current != *counts => {
                    tracing::info!("partition counts of the subscription changed, rejoining the group");
                    self.membership.request_rejoin();
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "looking for changed topics failed"),
            }
        }
        Ok(())
    }

    fn look_interval(&self, missing: bool) -> Duration {
        let max_age = self.consumer.config().client.metadata_max_age;
        if missing { max_age.min(MISSING_TOPICS_LOOK) } else { max_age }
    }

    /// Gives the partitions back: commit where that is automatic, tell the listener, read no more.
    async fn give_back(&self, progress: &mut Progress, lost: bool, deadline: Instant) -> Result<()> {
        let partitions = std::mem::take(&mut progress.holds);
        if partitions.is_empty() {
            return Ok(());
        }
        let mut committed = Ok(());
        if let Some(committing) = progress.committing.take()
            && self.consumer.cluster().clock().timeout_at(deadline, committing).await.is_err()
        {
            tracing::debug!("an automatic commit is still under way");
        }
        if self.consumer.config().enable_auto_commit && !lost {
            committed = commit(&self.membership, &self.positions_to_commit(), deadline).await;
        }
        if let Some(listener) = &self.listener {
            if lost {
                listener.on_partitions_lost(self, &partitions).await;
            } else {
                listener.on_partitions_revoked(self, &partitions).await;
            }
        }
        self.consumer.assign([]);
        committed
    }

    /// Begins to read what a join brought, from the group's offsets on.
    async fn take_over(&self, progress: &mut Progress, joined: Joined) -> Result<()> {
        let cluster = self.consumer.cluster();
        let committed =
            self.membership.coordinator.committed(Some(&joined.assignment), cluster.default_deadline()).await;
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                // Without offsets nothing may be read: start over.
                self.membership.request_rejoin();
                return Err(error);
            }
        };
        self.consumer.assign(joined.assignment.iter().cloned());
        for (partition, offset) in committed {
            // The assignment was made a moment ago, by us; a partition that was not asked for is ignored.
            let _ = self.consumer.seek(&partition, offset.offset);
        }
        let now = cluster.clock().now();
        progress.counts = joined.counts;
        let missing = progress
            .counts
            .as_ref()
            .is_some_and(|counts| progress.topics.iter().any(|topic| !counts.contains_key(topic)));
        progress.next_look = now + self.look_interval(missing);
        progress.next_commit = now + self.consumer.config().auto_commit_interval;
        progress.holds.clone_from(&joined.assignment);
        if let Some(listener) = &self.listener {
            listener.on_partitions_assigned(self, &joined.assignment).await;
        }
        Ok(())
    }

    /// Commits in the background what earlier polls have handed out.
    async fn auto_commit(&self, progress: &mut Progress) {
        let config = self.consumer.config();
        let now = self.consumer.cluster().clock().now();
        if !config.enable_auto_commit || now < progress.next_commit {
            return;
        }
        if let Some(committing) = &mut progress.committing {
            if !committing.is_finished() {
                return;
            }
            if let Ok(Err(error)) = committing.await {
                tracing::warn!("automatic offset commit failed: {error}");
            }
            progress.committing = None;
        }
        progress.next_commit = now + config.auto_commit_interval;
        let (membership, offsets) = (self.membership.clone(), self.positions_to_commit());
        let deadline = self.consumer.cluster().default_deadline();
        progress.committing = Some(runtime::spawn(async move { commit(&membership, &offsets, deadline).await }));
    }

    fn positions_to_commit(&self) -> Vec<OffsetToCommit> {
        let positions = self.consumer.positions();
        positions.into_iter().map(|(partition, offset): (_, Offset)| OffsetToCommit::new(partition, offset)).collect()
    }
}

async fn commit(membership: &Membership, offsets: &[OffsetToCommit], deadline: Instant) -> Result<()> {
    let member = membership.member();
    if member.generation < 0 {
        // Without a generation a coordinator takes a commit for one of nobody's, and keeps it where the group has just no members.
        let group = membership.coordinator.group().to_owned();
        return Err(ClientError::CommitFailed { group, code: ErrorCode::UNKNOWN_MEMBER_ID });
    }
    let committed = membership.coordinator.commit(&member, offsets, deadline).await;
    committed.inspect_err(|error| membership.judge_commit(error))
}

#[cfg(test)]
mod tests;
