//! The control task: one task that holds the image, keeps it current, and acts as controller while this broker is it.
//!
//! It runs on a thread of its own, together with the ZooKeeper session, so that a data worker that waits for a slow disk never costs the session. Always true: only this
//! task makes new images; what it writes as controller is in the image before it plans again.

use std::sync::Arc;
use std::time::Duration;

use client::zookeeper::{ConnectString, Session, SessionConfig, SessionState, ZkError, paths};
use parking_lot::RwLock;
use protocol::types::Uuid;
use runtime::{Clock, Random};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::config::BrokerConfig;
use crate::controller::plan::{self, Action};
use crate::controller::{self, Fence, Office, StoredId};
use crate::metadata::feed::{Feed, News};
use crate::metadata::{Change, Image};
use crate::metrics::Counter;
use crate::registration;

/// Pause before something that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Rounds of planning and writing after one piece of news; what is left then waits for the next.
const PLANS_MAX: usize = 8;

/// The current ZooKeeper session, for all who use it. It is another one after an expiry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ZooKeeper {
    session: Arc<RwLock<Session>>,
    past: Arc<Past>,
}

/// What sessions that are over have counted.
#[derive(Debug, Default)]
struct Past {
    expiries: Counter,
    connections: Counter,
}

/// What a broker knows of its session, and with it of what the tree says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// ZooKeeper was heard within a session timeout: nobody else leads what this broker leads.
    Heard,
    /// It was not. Either ZooKeeper is gone for all, and nobody is elected; or for this broker alone, and others may lead by now.
    Silent,
    /// ZooKeeper said that the session is over, and the next one has not begun: others may lead.
    Over,
}

/// How the ZooKeeper sessions of a broker went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZooKeeperStatus {
    /// Where the current one stands.
    pub state: SessionState,
    /// Connections made, by all of them.
    pub connections: u64,
    /// Sessions that expired.
    pub expiries: u64,
}

impl ZooKeeper {
    /// Holds a session.
    #[must_use]
    pub fn new(session: Session) -> ZooKeeper {
        ZooKeeper { session: Arc::new(RwLock::new(session)), past: Arc::default() }
    }

    /// The session now.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session.read().clone()
    }

    /// What this broker knows of its session.
    #[must_use]
    pub fn hearing(&self) -> Hearing {
        let session = self.session.read();
        if session.status().borrow().state.is_terminal() {
            Hearing::Over
        } else if session.since_last_byte() <= session.timeout() {
            Hearing::Heard
        } else {
            Hearing::Silent
        }
    }

    /// Whether what the tree said last still holds, as far as this broker can know.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.hearing() == Hearing::Heard
    }

    /// How it goes.
    #[must_use]
    pub fn status(&self) -> ZooKeeperStatus {
        let session = self.session.read();
        let now = *session.status().borrow();
        ZooKeeperStatus {
            state: now.state,
            connections: self.past.connections.get() + now.connections,
            expiries: self.past.expiries.get(),
        }
    }

    fn replace(&self, session: Session) {
        let mut current = self.session.write();
        self.past.connections.add(current.status().borrow().connections);
        *current = session;
    }
}

/// What the control task is made of.
pub struct Control {
    /// What the broker was told.
    pub config: Arc<BrokerConfig>,
    /// Its id.
    pub id: i32,
    /// Its addresses, as it registers them.
    pub advertised: Vec<client::zookeeper::znodes::Endpoint>,
    /// The session.
    pub zookeeper: ZooKeeper,
    /// Whether it is the controller.
    pub office: Office,
    /// Where images go, before replicas act on them.
    pub images: watch::Sender<Arc<Image>>,
    /// Ids of topics as the logs here know them.
    pub stored_id: Box<StoredId>,
    /// Notes the session for the next owner of the log directories.
    pub note_session: Box<dyn Fn(i64) + Send + Sync>,
    /// Notes the broker's epoch for the mark of a clean shutdown.
    pub note_epoch: Box<dyn Fn(i64) + Send + Sync>,
    /// Source of the time.
    pub clock: Clock,
    /// Source of chance.
    pub random: Random,
}

/// Why serving one session ended.
enum Ended {
    Expired,
    Shutdown,
}

impl Control {
    /// Runs until `shutdown` says so. `feed` and `image` are those of the start; a session that expires is replaced.
    pub async fn run(self, mut feed: Feed, mut image: Image, mut shutdown: watch::Receiver<bool>) {
        loop {
            match self.serve(&mut feed, &mut image, &mut shutdown).await {
                Ended::Shutdown => return,
                Ended::Expired => {}
            }
            self.office.resign();
            self.zookeeper.past.expiries.one();
            warn!("the ZooKeeper session expired; starting a new one");
            let renewed = tokio::select! {
                biased;
                _ = shutdown.changed() => return,
                renewed = self.renew() => renewed,
            };
            let (new_feed, mut read) = renewed;
            read.carry_over(&image);
            (feed, image) = (new_feed, read);
        }
    }

    async fn serve(&self, feed: &mut Feed, image: &mut Image, shutdown: &mut watch::Receiver<bool>) -> Ended {
        let mut next_balance = self.clock.now() + self.config.leader_imbalance_check_interval;
        let mut missed = false;
        let mut noted_epoch = None;
        let mut failures = 0;
        loop {
            if !missed {
                match self.act(image, &mut noted_epoch).await {
                    Ok(()) => failures = 0,
                    Err(error) if error.is_terminal() => return Ended::Expired,
                    Err(error) => {
                        // What was written is not known: read everything again.
                        debug!(%error, "a controller write failed");
                        missed = true;
                        failures += 1;
                    }
                }
                self.publish(image);
                if failures > 1 {
                    warn!(failures, "the controller's writes fail; trying again");
                    tokio::select! {
                        biased;
                        _ = shutdown.changed() => return Ended::Shutdown,
                        () = self.clock.sleep(RETRY_PAUSE) => {}
                    }
                }
            }
            if missed {
                match self.read_all(feed).await {
                    Ok(mut read) => {
                        read.carry_over(image);
                        *image = read;
                        missed = false;
                        continue;
                    }
                    Err(error) if error.is_terminal() => return Ended::Expired,
                    Err(error) => {
                        warn!(%error, "cannot read the cluster's metadata; trying again");
                        tokio::select! {
                            biased;
                            _ = shutdown.changed() => return Ended::Shutdown,
                            () = self.clock.sleep(RETRY_PAUSE) => continue,
                        }
                    }
                }
            }
            let news = tokio::select! {
                biased;
                _ = shutdown.changed() => return Ended::Shutdown,
                news = feed.next() => news,
                () = self.clock.sleep_until(next_balance) => {
                    next_balance = self.clock.now() + self.config.leader_imbalance_check_interval;
                    match self.balance(image).await {
                        Ok(()) => {}
                        Err(error) if error.is_terminal() => return Ended::Expired,
                        Err(error) => {
                            warn!(%error, "cannot give leadership back to preferred replicas");
                            missed = true;
                        }
                    }
                    continue;
                }
            };
            let read = match news {
                Ok(News::Missed) => {
                    missed = true;
                    continue;
                }
                Ok(News::Paths { changed, deletions }) => {
                    let asked: Vec<_> = deletions.into_iter().filter(|topic| image.topic(topic).is_some()).collect();
                    image.deletions.extend(asked);
                    feed.read(image, changed).await
                }
                Err(error) => Err(error),
            };
            match read {
                Ok(changes) => {
                    for change in changes {
                        image.apply(change, &self.config.settings);
                    }
                }
                Err(error) if error.is_terminal() => return Ended::Expired,
                Err(_) => missed = true,
            }
        }
    }

    async fn read_all(&self, feed: &mut Feed) -> Result<Image, ZkError> {
        let mut image = Image::default();
        for change in feed.read_all().await? {
            image.apply(change, &self.config.settings);
        }
        image.complete = true;
        Ok(image)
    }

    fn publish(&self, image: &Image) {
        let image = Arc::new(image.clone());
        // Every receiver is gone only while the broker stops.
        let _ = self.images.send(image);
    }

    /// Runs for controller where there is none, and does what the controller has to do.
    async fn act(&self, image: &mut Image, noted_epoch: &mut Option<i64>) -> Result<(), ZkError> {
        let session = self.zookeeper.session();
        let epoch = image.brokers.get(&self.id).map(|own| own.epoch);
        if let Some(epoch) = epoch.filter(|_| epoch != *noted_epoch) {
            match registration::note_epoch(&session, self.id, epoch).await {
                Ok(()) => (self.note_epoch)(epoch),
                Err(error @ ZkError::Server { .. }) => warn!(%error, "cannot note the epoch of this broker"),
                Err(error) => return Err(error),
            }
            *noted_epoch = Some(epoch);
        }
        if image.controller.is_none() && image.is_live(self.id) {
            self.office.resign();
            if self.office.stand(&session, self.clock, self.id).await? {
                image.controller = Some(self.id);
            } else {
                let controller = session.try_get_data(paths::CONTROLLER).await?;
                let controller = controller
                    .and_then(|(data, _)| client::zookeeper::znodes::Controller::parse(paths::CONTROLLER, &data).ok());
                image.controller = controller.map(|controller| controller.broker.0);
            }
        }
        if image.controller != Some(self.id) {
            self.office.resign();
            return Ok(());
        }
        if self.office.fence().is_none() && !self.office.resume(&session).await? {
            return Ok(());
        }
        for _ in 0..PLANS_MAX {
            let Some(fence) = self.office.fence() else { return Ok(()) };
            let rules = plan::Rules { controller_epoch: fence.epoch, delete_topics: self.config.delete_topics };
            let changes = self.write(image, fence, plan::plan(image, rules)).await?;
            if changes.is_empty() {
                return Ok(());
            }
            self.take_in(image, changes);
        }
        Ok(())
    }

    async fn write(&self, image: &Image, fence: Fence, actions: Vec<Action>) -> Result<Vec<Change>, ZkError> {
        let new_id =
            |topic: &str| (self.stored_id)(topic).unwrap_or_else(|| Uuid::from_random_bytes(self.random.bytes()));
        let written = controller::carry_out(&self.zookeeper.session(), Some(fence), image, actions, &new_id).await;
        if matches!(&written, Err(ZkError::Multi { path, .. }) if path == paths::CONTROLLER_EPOCH) {
            self.office.resign();
        }
        written
    }

    fn take_in(&self, image: &mut Image, changes: Vec<Change>) {
        for change in changes {
            image.apply(change, &self.config.settings);
        }
    }

    /// Gives leadership back to preferred replicas, where it is too unbalanced.
    async fn balance(&self, image: &mut Image) -> Result<(), ZkError> {
        let Some(fence) = self.office.fence().filter(|_| self.config.auto_leader_rebalance) else { return Ok(()) };
        let unbalanced = plan::imbalanced(image, self.config.leader_imbalance_percentage);
        let actions = plan::prefer(image, &unbalanced, fence.epoch);
        if !actions.is_empty() {
            info!(partitions = actions.len(), "giving leadership back to preferred replicas");
            let changes = self.write(image, fence, actions).await?;
            self.take_in(image, changes);
        }
        Ok(())
    }

    /// A new session after an expiry: registered again, watched and read.
    async fn renew(&self) -> (Feed, Image) {
        let expired = self.zookeeper.session().session_id();
        loop {
            match self.try_renew(expired).await {
                Ok(renewed) => return renewed,
                Err(why) => {
                    error!(%why, "cannot begin a new ZooKeeper session; trying again");
                    self.clock.sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn try_renew(&self, expired: i64) -> Result<(Feed, Image), String> {
        let session = begin_session(&self.config, self.clock, self.random).map_err(|error| error.to_string())?;
        session.connected(self.config.zookeeper_session_timeout).await.map_err(|error| error.to_string())?;
        (self.note_session)(session.session_id());
        let registration = registration::describe(&self.config, &self.advertised, self.clock);
        registration::register(&session, self.id, &registration, &[expired], self.clock)
            .await
            .map_err(|error| error.to_string())?;
        let mut feed = Feed::start(session.clone()).await.map_err(|error| error.to_string())?;
        let image = self.read_all(&mut feed).await.map_err(|error| error.to_string())?;
        self.zookeeper.replace(session);
        Ok((feed, image))
    }
}

/// Starts a session as the configuration says, without waiting for a server.
///
/// # Errors
/// A `zookeeper.connect` that cannot be read.
pub fn begin_session(config: &BrokerConfig, clock: Clock, random: Random) -> Result<Session, ZkError> {
    let connect = ConnectString::parse(&config.zookeeper_connect)?;
    let session = SessionConfig::new(connect, config.zookeeper_session_timeout);
    Ok(Session::start(SessionConfig { clock, random, ..session }))
}
