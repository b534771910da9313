//! Watches on the tree, and reading what they point at.
//!
//! Where the server has persistent recursive watches (ZooKeeper 3.6), four of them cover everything. Elsewhere every znode that matters carries a one-shot watch, which is
//! armed again each time the znode is read. Either way [`Feed::next`] gives paths to read again, or says that all must be.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use client::zookeeper::paths::{self, BrokersPath};
use client::zookeeper::znodes::{
    BrokerRegistration, Controller, EntityConfig, PartitionElection, PartitionState as StateZnode,
    Reassignment as ReassignmentZnode, TopicAssignment,
};
use client::zookeeper::{AddWatchMode, EventType, PersistentWatch, Session, SessionState, Stat, WatchNotice, ZkError};
use protocol::zookeeper::path::join;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::change::{Change, TopicRead};
use super::image::{Endpoint, Image, LiveBroker, PartitionState, ReassignmentRequest};

/// The parent of topic configurations.
pub const TOPIC_CONFIGS: &str = "/config/topics";

/// The parent of broker configurations.
pub const BROKER_CONFIGS: &str = "/config/brokers";

/// Parents whose children are read and watched.
const PARENTS: &[&str] =
    &[paths::BROKER_IDS, paths::BROKER_TOPICS, TOPIC_CONFIGS, BROKER_CONFIGS, paths::DELETE_TOPICS];

/// Znodes of their own, besides the children of [`PARENTS`].
const SINGLE: &[&str] = &[paths::CONTROLLER, paths::PREFERRED_REPLICA_ELECTION, paths::REASSIGN_PARTITIONS];

/// Reads with one-shot watches under way at a time.
const WATCHED_READS_MAX: usize = 200;

/// Paths fired by one-shot watches that are waiting to be read; more wait in their watch.
const FIRED_MAX: usize = 1024;

/// Notices taken in one go, so that a burst (a topic of 1,000 partitions) becomes one image.
const NOTICES_AT_ONCE: usize = 2_000;

/// What the watches tell.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// These znodes changed.
    Paths {
        /// The znodes.
        changed: BTreeSet<String>,
        /// Topics whose deletion was asked for, even when the request is gone by now.
        deletions: BTreeSet<Arc<str>>,
    },
    /// Changes may have been missed: read everything again.
    Missed,
}

/// Watches of one session.
pub struct Feed {
    session: Session,
    watches: Watches,
}

enum Watches {
    Recursive { watches: Vec<PersistentWatch> },
    OneShot { armed: HashSet<String>, fired: mpsc::Sender<String>, firing: mpsc::Receiver<String> },
}

impl Feed {
    /// Arms the watches that need no reading. Follow it with [`Feed::read_all`].
    ///
    /// # Errors
    /// The session's.
    pub async fn start(session: Session) -> Result<Feed, ZkError> {
        let mut watches = Vec::new();
        for path in [paths::BROKERS, paths::CONFIG, paths::ADMIN] {
            match session.add_watch(path, AddWatchMode::PersistentRecursive).await {
                Ok(watch) => watches.push(watch),
                Err(ZkError::Unsupported { .. }) => {
                    debug!("this ZooKeeper has no persistent watches; using one-shot ones");
                    let (fired, firing) = mpsc::channel(FIRED_MAX);
                    let watches = Watches::OneShot { armed: HashSet::new(), fired, firing };
                    return Ok(Feed { session, watches });
                }
                Err(error) => return Err(error),
            }
        }
        watches.push(session.add_watch(paths::CONTROLLER, AddWatchMode::Persistent).await?);
        Ok(Feed { session, watches: Watches::Recursive { watches } })
    }

    /// Reads the whole tree.
    ///
    /// # Errors
    /// The session's. One-shot watches that fired meanwhile are told by [`Feed::next`].
    pub async fn read_all(&mut self) -> Result<Vec<Change>, ZkError> {
        if let Watches::OneShot { armed, fired, firing } = &mut self.watches {
            // Old waits would fire into the old channel; they end with it.
            armed.clear();
            (*fired, *firing) = mpsc::channel(FIRED_MAX);
        }
        let everything = PARENTS.iter().chain(SINGLE).map(|path| (*path).to_owned()).collect();
        self.read(&Image::default(), everything).await
    }

    /// Waits for news.
    ///
    /// # Errors
    /// The session's end.
    pub async fn next(&mut self) -> Result<News, ZkError> {
        match &mut self.watches {
            Watches::Recursive { watches } => next_notices(watches).await,
            Watches::OneShot { armed, firing, .. } => {
                let mut changed = BTreeSet::new();
                let mut fired = Vec::new();
                tokio::select! {
                    biased;
                    // One-shot watches end with their session, but say nothing of it here.
                    over = session_over(&self.session) => return Err(over),
                    count = firing.recv_many(&mut fired, NOTICES_AT_ONCE) => {
                        if count == 0 {
                            return Ok(News::Missed);
                        }
                    }
                }
                let mut deletions = BTreeSet::new();
                for path in fired {
                    armed.remove(&path);
                    deletions.extend(deleted_topic(&path));
                    changed.insert(path);
                }
                Ok(News::Paths { changed, deletions })
            }
        }
    }

    /// Reads these znodes, and those that a reading shows to be of interest too. `image` is what is known already.
    ///
    /// # Errors
    /// The session's. A znode that cannot be understood is left out, with a warning.
    pub async fn read(&mut self, image: &Image, paths: BTreeSet<String>) -> Result<Vec<Change>, ZkError> {
        let mut changes = Vec::new();
        let mut done: BTreeSet<String> = BTreeSet::new();
        let mut round = paths;
        while !round.is_empty() {
            let mut found = BTreeSet::new();
            let (parents, data): (Vec<String>, Vec<String>) =
                round.iter().cloned().partition(|path| PARENTS.contains(&path.as_str()));
            for parent in parents {
                for child in self.children(&parent).await? {
                    let child = join(&parent, &child);
                    if !self.is_armed(&child) {
                        found.insert(child);
                    }
                }
            }
            let data: Vec<String> = data.into_iter().filter(|path| is_read(path)).collect();
            let values = self.data(&data).await?;
            for (path, value) in data.into_iter().zip(values) {
                match understand(&path, value) {
                    Ok(Some(change)) => {
                        if let Change::Topic(name, Some(TopicRead { assignment, .. })) = &change {
                            found.extend(self.of_interest(image, name, assignment));
                        }
                        changes.push(change);
                    }
                    Ok(None) => {}
                    Err(error) => warn!(%path, %error, "leaving out a znode"),
                }
            }
            done.append(&mut round);
            round = found.difference(&done).cloned().collect();
        }
        // A state means nothing before its topic is known; a request for a deletion is dropped after the topic is.
        changes.sort_by_key(|change| match change {
            Change::Deletion(_, false) => 2,
            Change::State(..) => 1,
            _ => 0,
        });
        Ok(changes)
    }

    /// Znodes below a topic that are not known, or with one-shot watches not watched yet.
    fn of_interest(&self, image: &Image, name: &str, assignment: &TopicAssignment) -> Vec<String> {
        let known = image.topic(name).filter(|topic| assignment.topic_id.is_none_or(|id| id == topic.id));
        let unknown =
            |partition: &i32| known.and_then(|topic| topic.partition(*partition)).is_none_or(|p| p.state.is_none());
        let one_shot = matches!(self.watches, Watches::OneShot { .. });
        let mut paths: Vec<String> = assignment
            .partitions
            .keys()
            .map(|partition| (partition, paths::partition_state(name, *partition)))
            .filter(|(partition, path)| unknown(partition) || (one_shot && !self.is_armed(path)))
            .map(|(_, path)| path)
            .collect();
        let config = paths::topic_config(name);
        if one_shot && !self.is_armed(&config) {
            paths.push(config);
        }
        paths
    }

    fn is_armed(&self, path: &str) -> bool {
        match &self.watches {
            Watches::Recursive { .. } => false,
            Watches::OneShot { armed, .. } => armed.contains(path),
        }
    }

    async fn children(&mut self, path: &str) -> Result<Vec<String>, ZkError> {
        match &mut self.watches {
            Watches::Recursive { .. } => match self.session.get_children(path).await {
                Err(error) if error.is_no_node() => Ok(Vec::new()),
                other => other,
            },
            Watches::OneShot { armed, fired, .. } => {
                let (children, watch) = self.session.get_children_watch(path).await?;
                armed.insert(path.to_owned());
                forward(watch, path.to_owned(), fired.clone());
                Ok(children)
            }
        }
    }

    async fn data(&mut self, paths: &[String]) -> Result<Vec<Option<(Bytes, Stat)>>, ZkError> {
        let Watches::OneShot { armed, fired, .. } = &mut self.watches else {
            return self.session.read_many(paths).await;
        };
        let mut values = Vec::with_capacity(paths.len());
        for chunk in paths.chunks(WATCHED_READS_MAX) {
            let reads: Vec<_> = chunk
                .iter()
                .map(|path| {
                    let (session, path) = (self.session.clone(), path.clone());
                    runtime::spawn(async move { session.watch_data(&path).await })
                })
                .collect();
            for (path, read) in chunk.iter().zip(reads) {
                let (value, watch) = read.await.map_err(|_| ZkError::Closed)??;
                if armed.insert(path.clone()) {
                    forward(watch, path.clone(), fired.clone());
                }
                values.push(value);
            }
        }
        Ok(values)
    }
}

/// Waits until the session is over.
async fn session_over(session: &Session) -> ZkError {
    let mut status = session.status();
    match status.wait_for(|status| status.state.is_terminal()).await.map(|status| status.state) {
        Ok(SessionState::Expired) => ZkError::SessionExpired,
        Ok(SessionState::AuthFailed) => ZkError::AuthFailed,
        _ => ZkError::Closed,
    }
}

/// Passes a one-shot watch's firing on as a path. Ends with the session, or with the feed.
fn forward(mut watch: client::zookeeper::Watch, path: String, fired: mpsc::Sender<String>) {
    runtime::spawn(async move {
        tokio::select! {
            biased;
            () = fired.closed() => {}
            changed = watch.changed() => {
                if changed.is_ok() {
                    // The feed was dropped meanwhile: nobody wants to know.
                    let _ = fired.send(path).await;
                }
            }
        }
    });
}

async fn next_notices(watches: &mut [PersistentWatch]) -> Result<News, ZkError> {
    let mut changed = BTreeSet::new();
    let mut deletions = BTreeSet::new();
    let [brokers, configs, admin, controller] = watches else { return Ok(News::Missed) };
    loop {
        let first = changed.is_empty();
        let notice = tokio::select! {
            biased;
            notice = brokers.next() => notice?,
            notice = configs.next() => notice?,
            notice = admin.next() => notice?,
            notice = controller.next() => notice?,
            () = std::future::ready(()), if !first => return Ok(News::Paths { changed, deletions }),
        };
        match notice {
            WatchNotice::Missed => return Ok(News::Missed),
            WatchNotice::Event(event) => {
                if event.kind == EventType::NodeCreated {
                    deletions.extend(deleted_topic(&event.path));
                }
                changed.insert(event.path);
            }
        }
        if changed.len() >= NOTICES_AT_ONCE {
            return Ok(News::Paths { changed, deletions });
        }
    }
}

fn deleted_topic(path: &str) -> Option<Arc<str>> {
    path.strip_prefix(paths::DELETE_TOPICS)?.strip_prefix('/').filter(|topic| !topic.contains('/')).map(Arc::from)
}

/// Whether [`understand`] has any use for a znode.
fn is_read(path: &str) -> bool {
    SINGLE.contains(&path)
        || deleted_topic(path).is_some()
        || configured_topic(path).is_some()
        || configured_broker(path).is_some()
        || !matches!(paths::parse_brokers_path(path), BrokersPath::Other)
}

fn configured_topic(path: &str) -> Option<Arc<str>> {
    path.strip_prefix(TOPIC_CONFIGS)?.strip_prefix('/').filter(|topic| !topic.contains('/')).map(Arc::from)
}

/// Whose settings a znode below [`BROKER_CONFIGS`] holds: those of a broker, or those for all.
fn configured_broker(path: &str) -> Option<Option<i32>> {
    match path.strip_prefix(BROKER_CONFIGS)?.strip_prefix('/')? {
        paths::DEFAULT_ENTITY => Some(None),
        id => id.parse().ok().map(Some),
    }
}

/// What a znode that was read means to an image; nothing where it means nothing to it.
///
/// # Errors
/// Data that cannot be read.
pub fn understand(path: &str, value: Option<(Bytes, Stat)>) -> Result<Option<Change>, ZkError> {
    if path == paths::CONTROLLER {
        let controller = value.map(|(data, _)| Controller::parse(path, &data)).transpose()?;
        return Ok(Some(Change::Controller(controller.map(|controller| controller.broker.0))));
    }
    if path == paths::PREFERRED_REPLICA_ELECTION {
        let read = |(data, _): (Bytes, Stat)| match PartitionElection::parse(path, &data) {
            Ok(election) => election.partitions,
            Err(error) => {
                warn!(%error, "a request for a preferred replica election names no partition");
                Vec::new()
            }
        };
        return Ok(Some(Change::PreferredElection(value.map(read))));
    }
    if path == paths::REASSIGN_PARTITIONS {
        let read = |(data, stat): (Bytes, Stat)| {
            let mut asked = ReassignmentZnode::parse(path, &data)?.partitions;
            // Of two wishes for a partition the later one counts, or they would take turns.
            let mut seen = HashSet::new();
            asked.reverse();
            asked.retain(|(topic, partition, _)| seen.insert((topic.clone(), *partition)));
            asked.reverse();
            Ok::<_, ZkError>(ReassignmentRequest { asked, zk_version: stat.version })
        };
        return Ok(Some(Change::Reassignment(value.map(read).transpose()?)));
    }
    if let Some(topic) = deleted_topic(path) {
        return Ok(Some(Change::Deletion(topic, value.is_some())));
    }
    if let Some(topic) = configured_topic(path) {
        let config = value.map(|(data, _)| EntityConfig::parse(path, &data)).transpose()?;
        let overrides = config.map(|config| config.config.into_iter().collect::<BTreeMap<String, String>>());
        return Ok(Some(Change::TopicOverrides(topic, overrides)));
    }
    if let Some(broker) = configured_broker(path) {
        let config = value.map(|(data, _)| EntityConfig::parse(path, &data)).transpose()?;
        let overrides = config.map(|config| config.config.into_iter().collect::<BTreeMap<String, String>>());
        return Ok(Some(Change::BrokerOverrides(broker, overrides)));
    }
    Ok(match paths::parse_brokers_path(path) {
        BrokersPath::Broker(id) => {
            let broker = value.map(|(data, stat)| registered(path, id.0, &data, &stat)).transpose()?;
            Some(Change::Broker(id.0, broker))
        }
        BrokersPath::Topic(name) => {
            let read = |(data, stat): (Bytes, Stat)| {
                let assignment = TopicAssignment::parse(path, &data)?;
                Ok::<_, ZkError>(TopicRead { assignment, zk_version: stat.version, czxid: stat.czxid })
            };
            Some(Change::Topic(name.into(), value.map(read).transpose()?))
        }
        BrokersPath::PartitionState(name, partition) => {
            let read = |(data, stat): (Bytes, Stat)| {
                Ok::<_, ZkError>(PartitionState { znode: StateZnode::parse(path, &data)?, zk_version: stat.version })
            };
            Some(Change::State(name.into(), partition, value.map(read).transpose()?))
        }
        BrokersPath::Other => None,
    })
}

fn registered(path: &str, id: i32, data: &[u8], stat: &Stat) -> Result<LiveBroker, ZkError> {
    let registration = BrokerRegistration::parse(path, data)?;
    let endpoints = registration.endpoints.into_iter().map(|endpoint| Endpoint {
        listener: endpoint.listener,
        protocol: endpoint.security_protocol,
        host: endpoint.host,
        port: u16::try_from(endpoint.port).unwrap_or_default(),
    });
    Ok(LiveBroker {
        id,
        endpoints: endpoints.collect(),
        rack: registration.rack,
        epoch: stat.czxid,
        is_tidemill: registration.marker.is_some(),
        shutting_down: registration.shutting_down,
    })
}
