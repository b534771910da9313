//! Starting and stopping a broker.
//!
//! The order of a start: take the ports, reach ZooKeeper, learn the cluster and who we are, lock and recover the logs, act on the tree, accept connections, register. A
//! broker that is registered serves.
//!
//! # Layout
//! - [`join`]: from the first word with ZooKeeper to knowing who we are
//! - [`logs`]: the logs, opened and compacted
//! - [`leave`]: handing over before the end

mod join;
mod leave;
mod logs;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use client::zookeeper::znodes::Endpoint;
use runtime::{Clock, Disk, Random};
use storage::{LogManager, RecoveryReport};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::config::BrokerConfig;
use crate::control::{Control, ZooKeeper};
use crate::control_thread::ControlThread;
use crate::controller::Office;
use crate::error::BrokerError;
use crate::fetch_sessions::FetchSessions;
use crate::group_coordinator::GroupCoordinator;
use crate::handlers;
use crate::housekeeping::housekeeping;
use crate::loggers::Loggers;
use crate::metadata::{Image, MetadataCache, Publisher};
use crate::metrics::RequestMetrics;
use crate::monitor::{Monitor, Phase};
use crate::network::Acceptors;
use crate::network::acceptor::{BoundListener, ConnectionLimits, bind};
use crate::network::budget::Budget;
use crate::network::connection::{Limits, READ_AHEAD_MAX};
use crate::network::pool::Pool;
use crate::producer_ids::ProducerIds;
use crate::registration;
use crate::replica_fetcher::{self, Fetchers, run_fetchers};
use crate::replica_manager::states::{StateRequests, write_states};
use crate::replica_manager::{Outside, ReplicaManager};
use crate::state::BrokerState;
use crate::status::Status;

/// Longest wait at shutdown for one part to end.
const SHUTDOWN_STEP_MAX: Duration = Duration::from_secs(10);

/// A running broker. Dropping it does not stop it: call [`Broker::shutdown`].
pub struct Broker {
    state: Arc<BrokerState>,
    acceptors: Acceptors,
    addresses: Vec<(String, SocketAddr)>,
    report: RecoveryReport,
    stop: watch::Sender<bool>,
    control: ControlThread,
    monitor: Monitor,
}

/// What the program around a broker gives it.
#[derive(Clone)]
pub struct Surroundings {
    /// Told how far the start is, and later everything that is counted.
    pub monitor: Monitor,
    /// The log's levels; none where they cannot be changed.
    pub loggers: Option<Arc<dyn Loggers>>,
    /// Where its log directories are.
    pub disk: Disk,
    /// Source of the time.
    pub clock: Clock,
    /// Source of chance.
    pub random: Random,
    /// What it runs on.
    pub machine: Machine,
}

/// What a broker runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Machine {
    /// A machine with threads and sockets.
    #[default]
    Real,
    /// One that a simulator plays on one thread ([`runtime::sim_host`]), running the queue of the flusher. Its connections are the simulator's streams.
    Simulated,
    /// The same without a network: the simulator also brings requests to [`Broker::state`] and moves what fetchers ask for.
    SimulatedWithoutNetwork,
}

impl Machine {
    /// Whether a simulator plays it.
    #[must_use]
    pub fn is_simulated(self) -> bool {
        self != Machine::Real
    }

    /// Whether it has a network.
    #[must_use]
    pub fn has_network(self) -> bool {
        self != Machine::SimulatedWithoutNetwork
    }
}

impl Default for Surroundings {
    fn default() -> Surroundings {
        Surroundings {
            monitor: Monitor::default(),
            loggers: None,
            disk: Disk::real(),
            clock: Clock::real(),
            random: Random::real(),
            machine: Machine::Real,
        }
    }
}

impl Broker {
    /// Starts a broker on the current tokio runtime, which serves its connections.
    ///
    /// # Errors
    /// Everything a person can get wrong: see [`BrokerError`].
    pub async fn start(config: BrokerConfig) -> Result<Broker, BrokerError> {
        Broker::start_in(config, Surroundings::default()).await
    }

    /// [`Broker::start`] inside a program that looks at it, or lets clients change the log's levels.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn start_in(config: BrokerConfig, surroundings: Surroundings) -> Result<Broker, BrokerError> {
        let monitor = surroundings.monitor.clone();
        monitor.enter(Phase::Starting);
        let broker = Broker::begin(config, surroundings).await;
        monitor.enter(if broker.is_ok() { Phase::Running } else { Phase::NotRunning });
        broker
    }

    async fn begin(config: BrokerConfig, surroundings: Surroundings) -> Result<Broker, BrokerError> {
        let clock = surroundings.clock;
        let started = clock.now();
        for warning in config.settings.warnings() {
            warn!("{warning}");
        }
        let machine = surroundings.machine;
        let listeners = if machine.has_network() { bind(&config.listeners.bind).await? } else { Vec::new() };
        if !machine.is_simulated() {
            warn_of_open_listeners(&listeners);
            warn_of_few_files(&config.log_dirs);
        }
        for dir in &config.log_dirs {
            info!(dir = %std::path::absolute(dir).unwrap_or_else(|_| dir.clone()).display(), "log directory");
        }
        let control = if machine.is_simulated() { ControlThread::none() } else { ControlThread::start()? };
        let begun = Start {
            config: Arc::new(config),
            clock,
            random: surroundings.random,
            disk: surroundings.disk,
            surroundings,
        };
        let broker = begun.run(listeners, control).await?;
        info!(id = broker.state.id, elapsed_ms = (clock.now() - started).as_millis(), "started");
        Ok(broker)
    }

    /// Where it listens: name of the listener, and its address with the port that was really taken.
    #[must_use]
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.state.id
    }

    /// What all its parts share: for a simulator, which brings requests without a socket.
    #[must_use]
    pub fn state(&self) -> &Arc<BrokerState> {
        &self.state
    }

    /// What its logs looked like at the start.
    #[must_use]
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.report
    }

    /// How it is now.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.state, self.acceptors.connections().total())
    }

    /// Stops in good order: leaderships are handed over while the broker still serves, then no new connections, requests that wait are answered, the session closed (so that the cluster knows at once), logs synced and marked clean.
    pub async fn shutdown(mut self) {
        info!(id = self.state.id, "shutting down");
        self.monitor.enter(Phase::ShuttingDown);
        if self.state.config.controlled_shutdown {
            leave::leave(&self.state).await;
        }
        self.state.groups.stop();
        self.state.replicas.stop_all();
        self.acceptors.stop();
        let _ = self.stop.send(true);
        let session = self.state.zookeeper.session();
        let closing = self.control.runtime.spawn(async move { session.close().await });
        tokio::select! {
            biased;
            _ = closing => {}
            () = self.state.clock.sleep(SHUTDOWN_STEP_MAX) => warn!("ZooKeeper did not confirm the end of the session in time"),
        }
        let logs = self.state.replicas.logs().clone();
        let state = self.state.clone();
        let stopped = runtime::spawn_blocking(move || {
            if let Some(cleaner) = state.cleaner.get() {
                cleaner.shutdown();
            }
            logs.shutdown()
        })
        .await;
        match stopped {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => {
                error!(error = %problem, "the logs were not stopped cleanly; the next start checks them")
            }
            Err(problem) => error!(error = %problem, "stopping the logs failed"),
        }
        self.control.end();
        self.monitor.enter(Phase::NotRunning);
        info!(id = self.state.id, "shut down completed");
    }

    /// Ends as `kill -9` would, as far as that goes inside one process: nothing is handed over, synced or marked clean, and the ZooKeeper session is left to expire. For
    /// tests of what comes after.
    pub async fn abandon(mut self) {
        self.acceptors.stop();
        let _ = self.stop.send(true);
        self.control.end();
        self.state.groups.stop();
        self.state.replicas.stop_all();
        let state = self.state.clone();
        let abandoned = runtime::spawn_blocking(move || {
            if let Some(cleaner) = state.cleaner.get() {
                cleaner.shutdown();
            }
            state.replicas.logs().abandon();
        });
        if let Err(problem) = abandoned.await {
            error!(error = %problem, "abandoning the logs failed");
        }
        self.monitor.enter(Phase::NotRunning);
    }
}

/// A start under way.
#[derive(Clone)]
struct Start {
    config: Arc<BrokerConfig>,
    surroundings: Surroundings,
    clock: Clock,
    random: Random,
    disk: Disk,
}

impl Start {
    async fn run(self, listeners: Vec<BoundListener>, control: ControlThread) -> Result<Broker, BrokerError> {
        let step = self.clone();
        let joined = control.run(async move { step.join().await }).await?;
        let join::Joined { session, cluster_id, id, previous, last_epoch, feed, image } = joined;
        let (logs, report) = self.open_logs(id, &cluster_id, &image).await?;
        let clean = logs::is_clean(&report, last_epoch);
        let (feed, image) = self.leave_isrs(&control, &session, id, clean, &logs, feed, image).await?;
        let zookeeper = ZooKeeper::new(session.clone());
        let (requests, requested) = StateRequests::new();
        let fetchers = Fetchers::new(id, self.config.replica_fetch, self.clock);
        let outside = Outside { requests, zookeeper: zookeeper.clone(), fetchers: fetchers.downgrade() };
        let held = fetchers.clone();
        let replicas = Arc::new(ReplicaManager::new(id, logs.clone(), &self.config, clean, outside, held, self.clock));
        let own_session = session.session_id();
        // A kill before the registration must not make the next start forget whose leftovers it finds.
        note_sessions(&logs, &[previous.as_slice(), &[own_session]].concat());

        let office = Office::default();
        control.runtime.spawn(write_states(replicas.clone(), zookeeper.clone(), requested));
        let (publisher, metadata) = MetadataCache::new();
        let groups =
            Arc::new(GroupCoordinator::new(&self.config, replicas.clone(), metadata.clone(), self.clock, self.random));
        let state = Arc::new(BrokerState {
            id,
            cluster_id,
            listeners: self.config.listeners.bind.iter().map(|listener| listener.name.clone()).collect(),
            metadata,
            replicas: replicas.clone(),
            zookeeper: zookeeper.clone(),
            office: office.clone(),
            fetch_sessions: FetchSessions::new(self.config.fetch_session_slots, self.clock, self.random),
            groups: groups.clone(),
            producer_ids: ProducerIds::new(id, zookeeper.clone()),
            loggers: self.surroundings.loggers.clone(),
            requests: RequestMetrics::new(|api| handlers::served(api).is_some()),
            creating: parking_lot::Mutex::default(),
            cleaner: OnceLock::new(),
            clock: self.clock,
            random: self.random,
            config: self.config.clone(),
        });
        let advertised = advertise(&self.config, &listeners).await;
        let addresses = listeners.iter().map(|listener| (listener.config.name.clone(), listener.address)).collect();
        let (stop, stopped) = watch::channel(false);
        let (images, raw) = watch::channel(Arc::new(image.clone()));
        act_once(&replicas, &publisher, Arc::new(image.clone())).await;
        let fetching = replica_fetcher::task::Common {
            config: self.config.clone(),
            id,
            metadata: state.metadata.clone(),
            flusher: logs.flusher().clone(),
            clock: self.clock,
        };
        if self.surroundings.machine.has_network() {
            runtime::spawn(run_fetchers(fetchers, fetching, stopped.clone()));
        }
        runtime::spawn(act_on_images(replicas.clone(), raw, publisher, stopped.clone()));
        runtime::spawn(groups.run(stopped.clone()));
        runtime::spawn(housekeeping(self.config.clone(), replicas.clone(), self.clock, stopped.clone()));

        let acceptors = self.accept(&state, listeners);
        let monitor = self.surroundings.monitor.clone();
        monitor.watch(&state, acceptors.connections().clone());
        let clock = self.clock;
        let registration = registration::describe(&self.config, &advertised, clock);
        let patience = join::Patience::new(&session, clock, self.config.zookeeper_connection_timeout);
        let registered = control
            .run(async move {
                while let Err(error) = registration::register(&session, id, &registration, &previous, clock).await {
                    patience.wait_out(error).await?;
                }
                Ok(())
            })
            .await;
        if let Err(refused) = registered {
            acceptors.stop();
            let _ = stop.send(true);
            return Err(refused);
        }
        note_sessions(&logs, &[own_session]);
        let (noted, marked) = (logs.clone(), logs.clone());
        let known = replicas.clone();
        let stored_id = move |topic: &str| known.stored_topic_id(topic);
        let task = Control {
            config: self.config.clone(),
            id,
            advertised,
            zookeeper,
            office,
            images,
            stored_id: Box::new(stored_id),
            note_session: Box::new(move |session| note_sessions(&noted, &[session])),
            note_epoch: Box::new(move |epoch| marked.set_broker_epoch(epoch)),
            clock: self.clock,
            random: self.random,
        };
        control.runtime.spawn(task.run(feed, image, stopped));
        self.wait_until_registered(&state).await;
        if let Some(cleaner) = self.start_cleaner(&logs)? {
            // This start alone sets it.
            let _ = state.cleaner.set(cleaner);
        }
        Ok(Broker { state, acceptors, addresses, report, stop, control, monitor })
    }

    fn accept(&self, state: &Arc<BrokerState>, listeners: Vec<BoundListener>) -> Acceptors {
        let network = &self.config.network;
        let limits = Limits {
            request_bytes_max: network.request_bytes_max,
            read_ahead_max: READ_AHEAD_MAX.min(network.queued_requests_max),
            idle_max: network.idle_max,
            budget: Budget::new(network.queued_request_bytes_max),
            pool: Pool::default(),
            clock: self.clock,
        };
        let overrides = network.connections_per_ip_overrides.iter();
        let connections = ConnectionLimits {
            total_max: network.connections_max,
            per_ip_max: network.connections_per_ip_max,
            per_ip_overrides: overrides.filter_map(|(host, count)| Some((host.parse().ok()?, *count))).collect(),
        };
        Acceptors::start(state, listeners, &limits, &connections)
    }

    /// The start is over when the broker sees itself: clients that ask it for metadata then are told of it.
    async fn wait_until_registered(&self, state: &BrokerState) {
        let limit = self.clock.now() + SHUTDOWN_STEP_MAX;
        let id = state.id;
        if state
            .metadata
            .wait_until(self.clock, limit, |image| image.is_live(id) && image.controller.is_some())
            .await
            .is_none()
        {
            warn!("the cluster has no controller yet");
        }
    }
}

/// Whoever reaches a listener without authentication may do anything, so one that others can reach is worth a line.
fn warn_of_open_listeners(listeners: &[BoundListener]) {
    let open: Vec<String> = listeners
        .iter()
        .filter(|listener| !listener.address.ip().is_loopback())
        .map(|listener| listener.address.to_string())
        .collect();
    if !open.is_empty() {
        warn!(
            "listening on {} without authentication: everybody who can reach it can read, write and delete; bind 127.0.0.1 to keep it local",
            open.join(", ")
        );
    }
}

/// Fewer open files than this are too few for a broker that is used: connections, and a handle or two for each log that is.
const OPEN_FILES_MIN: u64 = 4096;
/// Files of a log that may be open at a time: segment, offset index, time index.
const FILES_PER_LOG: u64 = 3;

/// Running out of files closes connections and takes logs offline; it is better told before.
fn warn_of_few_files(log_dirs: &[std::path::PathBuf]) {
    let Some(limit) = runtime::machine::raise_open_files_limit() else { return };
    let disk = Disk::real();
    let logs: usize = log_dirs.iter().map(|dir| disk.read_dir(dir).map_or(0, |names| names.len())).sum();
    let needed = OPEN_FILES_MIN.max(FILES_PER_LOG * logs as u64 + OPEN_FILES_MIN / 4);
    if limit < needed {
        warn!("only {limit} files may be open, and this broker may need {needed}: ulimit -n {needed}");
    }
}

fn note_sessions(logs: &LogManager, sessions: &[i64]) {
    if let Err(problem) = logs.write_lock_notes(&registration::session_notes(sessions)) {
        warn!(error = %problem, "cannot note the ZooKeeper session; a quick restart may have to wait for its expiry");
    }
}

/// The addresses to register: a host that is not given is this machine's name, port 0 is the one that was taken.
async fn advertise(config: &BrokerConfig, listeners: &[BoundListener]) -> Vec<Endpoint> {
    let own_name = match config.listeners.advertised.iter().any(|advertised| advertised.host.is_empty()) {
        true => own_name().await,
        false => String::new(),
    };
    let endpoints = config.listeners.advertised.iter().map(|advertised| {
        let bound = listeners.iter().find(|bound| bound.config.name == advertised.name);
        let port = match advertised.port {
            0 => bound.map_or(0, |bound| bound.address.port()),
            port => port,
        };
        Endpoint {
            listener: advertised.name.clone(),
            security_protocol: advertised.protocol.name().to_owned(),
            host: if advertised.host.is_empty() { own_name.clone() } else { advertised.host.clone() },
            port: i32::from(port),
        }
    });
    endpoints.collect()
}

/// This machine's name, if it names an address: clients could not reach a leader by any other.
async fn own_name() -> String {
    let name = runtime::net::host_name();
    match tokio::net::lookup_host((name.as_str(), 0)).await.map(|mut addresses| addresses.next()) {
        Ok(Some(_)) => name,
        _ => "localhost".to_owned(),
    }
}

async fn act_once(replicas: &Arc<ReplicaManager>, publisher: &Publisher, image: Arc<Image>) {
    let (acting, seen) = (replicas.clone(), image.clone());
    // A log is opened and deleted on the disk.
    if let Err(failed) = runtime::spawn_blocking(move || acting.apply(&seen)).await {
        error!(%failed, "acting on the metadata failed");
    }
    // Every reader is gone only while the broker stops.
    let _ = publisher.send(image);
}

/// Lets the replicas act on each image before anybody else sees it.
async fn act_on_images(
    replicas: Arc<ReplicaManager>,
    mut raw: watch::Receiver<Arc<Image>>,
    publisher: Publisher,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let changed = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            changed = raw.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        let image = raw.borrow_and_update().clone();
        act_once(&replicas, &publisher, image).await;
    }
}
