//! The partitions this broker holds: opened, led, followed and deleted as the metadata image says.
//!
//! Always true: a partition that the image shows as led by this broker was taken over by [`ReplicaManager::apply`] before clients see that image; the log of a topic is
//! deleted only when its deletion was asked for, or the tree shows another topic of its name: a tree that was lost costs no records.
//!
//! # Layout
//! - [`purgatory`]: requests that wait for a partition
//! - [`partition`]: one partition: append, read, wait for acks
//! - [`throttle`]: how fast replicas that move may be copied
//! - [`states`]: what is written to ZooKeeper on behalf of partitions
//! - [`validation`]: what must be looked at inside batches before they are stored
//! - [`ReplicaManager`]: all of them

pub mod partition;
pub mod purgatory;
pub mod states;
pub mod throttle;
pub mod validation;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use protocol::error::ErrorCode;
use protocol::types::{TopicPartition, Uuid};
use replication::LiveBrokers;
use runtime::Clock;
use storage::{LogConfig, LogManager, StorageError, TimestampType};
use tracing::{error, info, warn};

use crate::config::{BrokerConfig, FlushBeforeAck, TopicConfig};
use crate::metadata::{Image, Topic};
use crate::metrics::TopicMetrics;
use crate::replica_fetcher::Fetchers;

pub use partition::HostedPartition;
pub use partition::Outside;
use partition::Rules;
use states::{IsrCounters, StateRequest};
use throttle::Throttle;

/// The partitions of one topic that are held here, by number.
type HostedTopic = BTreeMap<i32, Arc<HostedPartition>>;

/// All partitions this broker holds.
pub struct ReplicaManager {
    id: i32,
    logs: Arc<LogManager>,
    rules: Rules,
    producer_id_expiration_ms: i64,
    outside: Outside,
    fetchers: Arc<Fetchers>,
    /// Logs that were not closed in good order.
    unclean: HashSet<TopicPartition>,
    /// The last shutdown was no good one, and no image was acted on since: a log that is not there may have been lost with its name, which outlasts a power cut only together
    /// with the first record that does.
    may_have_lost_logs: AtomicBool,
    hosted: RwLock<HashMap<Arc<str>, HostedTopic>>,
    /// Partitions whose log cannot be opened.
    failed: RwLock<HashMap<TopicPartition, StorageError>>,
    live: RwLock<Arc<LiveBrokers>>,
    /// The image that was acted on last.
    applied: Mutex<Arc<Image>>,
    /// Topics to look at once more with the next image, changed or not: something of theirs did not succeed.
    again: Mutex<HashSet<Arc<str>>>,
    leader_throttle: Throttle,
    /// What is counted of the topics held here.
    pub topics: TopicMetrics,
    /// What is counted of ISR changes.
    pub isr_changes: IsrCounters,
}

impl ReplicaManager {
    /// A manager that holds nothing until the first [`ReplicaManager::apply`]. `clean` says whether the logs were closed in good order.
    #[must_use]
    pub fn new(
        id: i32,
        logs: Arc<LogManager>,
        config: &BrokerConfig,
        clean: bool,
        outside: Outside,
        fetchers: Arc<Fetchers>,
        clock: Clock,
    ) -> ReplicaManager {
        let unclean =
            if clean { HashSet::new() } else { logs.all().iter().map(|log| log.partition().clone()).collect() };
        let flush_before_ack = match config.flush_before_ack {
            FlushBeforeAck::Auto => replication::FlushBeforeAck::Auto,
            FlushBeforeAck::Always => replication::FlushBeforeAck::Always,
            FlushBeforeAck::Never => replication::FlushBeforeAck::Never,
        };
        ReplicaManager {
            id,
            logs,
            rules: Rules { id, replica_lag_time_ms_max: config.replica_lag_time_max_ms, flush_before_ack, clock },
            producer_id_expiration_ms: config.producer_id_expiration_ms,
            outside,
            fetchers,
            unclean,
            may_have_lost_logs: AtomicBool::new(!clean),
            hosted: RwLock::default(),
            failed: RwLock::default(),
            live: RwLock::default(),
            applied: Mutex::default(),
            again: Mutex::default(),
            leader_throttle: Throttle::new(clock),
            topics: TopicMetrics::default(),
            isr_changes: IsrCounters::default(),
        }
    }

    /// The brokers that are registered, as the last image showed them.
    #[must_use]
    pub fn live(&self) -> Arc<LiveBrokers> {
        self.live.read().clone()
    }

    /// How fast followers that are out of sync may be served (KIP-73).
    #[must_use]
    pub fn leader_throttle(&self) -> &Throttle {
        &self.leader_throttle
    }

    /// Time passed: replicas that lag are dropped from ISRs.
    pub fn on_tick(&self) {
        for hosted in self.all() {
            hosted.on_tick();
        }
    }

    /// What copies from the leaders of the partitions that are followed here.
    #[must_use]
    pub fn fetchers(&self) -> &Arc<Fetchers> {
        &self.fetchers
    }

    /// This broker.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Gives up what this broker leads on a directory that failed or is full, so that replicas on disks that take writes lead. Kafka's broker tells the controller by a znode
    /// (`/log_dir_event_notification`); here the leader writes the state, as it writes its ISR.
    pub fn give_up_unwritable(&self) {
        if self.logs.is_writable() {
            return;
        }
        for hosted in self.all() {
            if hosted.leader_epoch().is_ok() && hosted.log().check_appends().is_err() {
                self.outside.requests.send(StateRequest::GiveUp(hosted));
            }
        }
    }

    /// The logs behind the partitions.
    #[must_use]
    pub fn logs(&self) -> &Arc<LogManager> {
        &self.logs
    }

    /// The partition, if it is held here.
    #[must_use]
    pub fn get(&self, topic: &str, partition: i32) -> Option<Arc<HostedPartition>> {
        self.hosted.read().get(topic)?.get(&partition).cloned()
    }

    /// The partition, or the error a client gets: 3 for one that nobody knows, 6 for one that is elsewhere, 56 for one whose log is broken.
    ///
    /// # Errors
    /// The error code for the client.
    pub fn find(&self, image: &Image, topic: &str, partition: i32) -> Result<Arc<HostedPartition>, ErrorCode> {
        if let Some(found) = self.get(topic, partition) {
            return Ok(found);
        }
        match image.topic(topic).and_then(|known| known.partition(partition)) {
            None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            Some(known)
                if known.replicas.contains(&self.id)
                    && self.failed.read().contains_key(&TopicPartition::new(topic, partition)) =>
            {
                Err(ErrorCode::KAFKA_STORAGE_ERROR)
            }
            Some(_) => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        }
    }

    /// Id of a topic as its logs here have it.
    #[must_use]
    pub fn stored_topic_id(&self, topic: &str) -> Option<Uuid> {
        self.logs.all().iter().filter(|log| *log.partition().topic == *topic).find_map(|log| log.topic_id())
    }

    /// Every partition held here, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<HostedPartition>> {
        let hosted = self.hosted.read();
        let mut all: Vec<_> = hosted.values().flat_map(|partitions| partitions.values().cloned()).collect();
        all.sort_by(|a, b| a.partition().cmp(b.partition()));
        all
    }

    /// What a topic's configuration means to its logs.
    #[must_use]
    pub fn log_config(&self, config: &TopicConfig) -> LogConfig {
        log_config(config, self.producer_id_expiration_ms)
    }

    /// Does what an image asks for: opens logs, takes leaderships over, gives them up, deletes. Blocks on the disk.
    ///
    /// A topic that is the same as in the image before is left alone, and so is a partition of one: news of one of them costs no more with 10,000 partitions than with ten.
    /// An image that was read in full, as after every reconnect, has all topics anew.
    pub fn apply(&self, image: &Arc<Image>) {
        if !image.complete {
            return;
        }
        let lives_changed = !Arc::ptr_eq(&*self.live.read(), &image.live);
        if lives_changed {
            *self.live.write() = image.live.clone();
        }
        let throttles = image.throttles(self.id);
        self.leader_throttle.set_rate(throttles.leader_rate);
        self.fetchers.throttle().set_rate(throttles.follower_rate);
        let before = std::mem::replace(&mut *self.applied.lock(), image.clone());
        let again = std::mem::take(&mut *self.again.lock());
        self.drop_gone(image);
        for topic in image.topics.values() {
            let before = before.topic(&topic.name).filter(|_| !lives_changed && !again.contains(&topic.name));
            if before.is_none_or(|before| !Arc::ptr_eq(before, topic)) {
                self.apply_topic(topic, before);
            }
        }
        self.may_have_lost_logs.store(false, Ordering::Release);
    }

    /// Has the next image act on a topic even where it is the same in it.
    pub(super) fn look_again(&self, topic: &Arc<str>) {
        self.again.lock().insert(topic.clone());
    }

    /// `before` is what was acted on last, where all that it shows was done.
    fn apply_topic(&self, topic: &Topic, before: Option<&Arc<Topic>>) {
        let live = self.live();
        let mut config_changed = false;
        // A configuration is kept from image to image until the topic is read in full.
        let before = before.filter(|before| Arc::ptr_eq(&before.config, &topic.config) && before.id == topic.id);
        for (at, partition) in topic.partitions.iter().enumerate() {
            if before.is_some_and(|before| before.partitions.get(at) == Some(partition)) {
                continue;
            }
            let Some(state) = partition.state.as_ref().filter(|_| partition.replicas.contains(&self.id)) else {
                continue;
            };
            let held = self.get(&topic.name, partition.partition);
            let hosted = match held {
                Some(hosted) => hosted,
                None => match self.open(topic, partition.partition) {
                    Some(hosted) => hosted,
                    None => continue,
                },
            };
            if hosted.topic_id() != topic.id && topic.id != Uuid::ZERO {
                self.take_topic_id(topic, &hosted);
            }
            if !Arc::ptr_eq(&hosted.config(), &topic.config) {
                config_changed |= *hosted.config() != *topic.config;
                hosted.set_config(topic.config.clone());
            }
            hosted.on_state(&partition.replicas, state, &live);
        }
        if config_changed {
            info!(topic = %topic.name, "configuration changed");
            self.logs.update_config(&topic.name, self.log_config(&topic.config));
        }
    }

    fn take_topic_id(&self, topic: &Topic, hosted: &Arc<HostedPartition>) {
        match hosted.log().assign_topic_id(topic.id) {
            Ok(()) => hosted.set_topic_id(topic.id),
            Err(error) => warn!(partition = %hosted.partition(), %error, "cannot note the topic id"),
        }
    }

    fn open(&self, topic: &Topic, number: i32) -> Option<Arc<HostedPartition>> {
        let partition = TopicPartition::new(topic.name.clone(), number);
        let id = Some(topic.id).filter(|id| *id != Uuid::ZERO);
        let config = self.log_config(&topic.config);
        let opened = match self.logs.get_or_create(&partition, id, config.clone()) {
            Err(StorageError::TopicIdMismatch { stored, .. }) => {
                // An id that was damaged looks like this too, so nothing is deleted on its word (docs/adr, "when a broker deletes a log").
                self.logs.set_aside(&partition).and_then(|kept| {
                    let kept = kept.map(|path| path.display().to_string()).unwrap_or_default();
                    warn!(%partition, %stored, expected = %topic.id, %kept, "the log belongs to an earlier topic of this name: it is set aside");
                    self.logs.get_or_create(&partition, id, config.clone())
                })
            }
            other => other,
        };
        match opened {
            Ok(log) => {
                log.update_config(config);
                let clean = !self.may_have_lost_logs.load(Ordering::Acquire) && !self.unclean.contains(&partition);
                let config = topic.config.clone();
                let hosted = HostedPartition::new(
                    partition.clone(),
                    topic.id,
                    log,
                    config,
                    self.topics.of(&topic.name),
                    self.rules,
                    clean,
                    self.outside.clone(),
                );
                let hosted = Arc::new(hosted);
                self.failed.write().remove(&partition);
                self.hosted.write().entry(topic.name.clone()).or_default().insert(number, hosted.clone());
                Some(hosted)
            }
            Err(problem) => {
                self.look_again(&topic.name);
                if self.failed.write().insert(partition.clone(), problem.clone()).is_none() {
                    error!(%partition, error = %problem, "cannot open a log");
                }
                None
            }
        }
    }

    /// Lets go of partitions that the image no longer gives to this broker.
    fn drop_gone(&self, image: &Image) {
        let gone: Vec<(Arc<HostedPartition>, Fate)> = {
            let hosted = self.hosted.read();
            let all = hosted.values().flat_map(BTreeMap::values);
            all.filter_map(|partition| Some((partition.clone(), self.fate(image, partition)?))).collect()
        };
        for (hosted, fate) in gone {
            let partition = hosted.partition();
            hosted.stop();
            {
                let mut all = self.hosted.write();
                if let Some(partitions) = all.get_mut(&partition.topic) {
                    partitions.remove(&partition.partition);
                    if partitions.is_empty() {
                        all.remove(&partition.topic);
                        self.topics.forget(&partition.topic);
                    }
                }
            }
            match fate {
                Fate::Delete => {
                    if let Err(problem) = self.logs.delete(partition) {
                        error!(%partition, error = %problem, "cannot delete a log");
                    }
                }
                Fate::Stray => {
                    warn!(%partition, "the topic vanished from ZooKeeper without a request to delete it; its log stays on disk, unserved");
                }
            }
        }
    }

    fn fate(&self, image: &Image, hosted: &HostedPartition) -> Option<Fate> {
        let partition = hosted.partition();
        if image.deleted.contains(&partition.topic) {
            return Some(Fate::Delete);
        }
        let Some(topic) = image.topic(&partition.topic) else { return Some(Fate::Stray) };
        let remade = topic.id != Uuid::ZERO && hosted.topic_id() != Uuid::ZERO && topic.id != hosted.topic_id();
        match topic.partition(partition.partition) {
            _ if remade => Some(Fate::Delete),
            Some(known) if known.replicas.contains(&self.id) => None,
            Some(_) => Some(Fate::Delete),
            None => Some(Fate::Stray),
        }
    }

    /// Gives every leadership up: requests that wait are answered, later ones are sent elsewhere. Nothing is followed any more.
    pub fn stop_all(&self) {
        self.fetchers.close();
        for hosted in self.all() {
            hosted.stop();
        }
    }
}

enum Fate {
    Delete,
    Stray,
}

/// What a topic's configuration means to its logs.
#[must_use]
pub fn log_config(config: &TopicConfig, producer_id_expiration_ms: i64) -> LogConfig {
    let u32_of = |value: i64| u32::try_from(value.max(0)).unwrap_or(u32::MAX);
    LogConfig {
        segment_bytes: u32_of(config.segment_bytes),
        // What must be compacted in time must first leave the segment where appends go (KIP-354).
        segment_ms: match config.compact {
            true => config.segment_ms.min(config.max_compaction_lag_ms),
            false => config.segment_ms,
        },
        segment_index_bytes: u32_of(config.segment_index_bytes),
        index_interval_bytes: u32_of(config.index_interval_bytes),
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
        max_message_bytes: u32::try_from(config.max_message_bytes).unwrap_or(u32::MAX),
        flush_messages: config.flush_messages,
        flush_ms: config.flush_ms,
        file_delete_delay_ms: config.file_delete_delay_ms,
        message_timestamp_type: if config.log_append_time {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        },
        message_timestamp_before_max_ms: config.timestamp_before_max_ms,
        message_timestamp_after_max_ms: config.timestamp_after_max_ms,
        delete: config.delete,
        compact: config.compact,
        min_cleanable_ratio: config.min_cleanable_ratio,
        delete_retention_ms: config.delete_retention_ms,
        min_compaction_lag_ms: config.min_compaction_lag_ms,
        max_compaction_lag_ms: config.max_compaction_lag_ms,
        producer_id_expiration_ms,
    }
}
