//! One broker of a run: the production broker, from its start to its end, played by a thread that it shares with all others.
//!
//! What a machine would do for it is done here and by the [`super::world`]: its disk is a [`SimDisk`], its requests come as frames, its fetchers' requests leave as frames.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::config::BrokerConfig;
use broker::handlers::{self, Session};
use broker::network::Answer;
use broker::state::BrokerState;
use broker::{Broker, BrokerError, Machine, Surroundings};
use bytes::Bytes;
use runtime::sim_time::SimRandom;
use runtime::{Clock, Disk, Random, SimDisk, SimHost};

/// A client's address, as a broker sees it.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// One broker's machine.
pub struct Server {
    /// Its number, which is the broker's id.
    pub number: usize,
    /// Its disk, which outlives the broker.
    pub disk: SimDisk,
    random: SimRandom,
    /// How often it was started.
    pub life: u64,
    /// The broker, while there is one.
    pub process: Option<Process>,
    /// What the broker takes it for.
    pub machine: Machine,
    /// It has lost its power, and nobody has switched it on again.
    pub is_off: bool,
    /// Nothing runs: what comes for it waits.
    pub is_paused: bool,
    /// Somebody will start it again.
    pub restarts: bool,
    /// It was started anew because its disk was mended.
    pub was_mended: bool,
    /// The broker's settings.
    pub settings: Vec<(String, String)>,
}

/// A broker's process.
pub struct Process {
    runtime: tokio::runtime::Runtime,
    /// Its side of the network.
    pub host: SimHost,
    stage: Stage,
    answers: Answers,
    /// What it fetches from each leader.
    pub fetches: BTreeMap<i32, Fetching>,
    /// When it is looked whether a pause of the fetchers is over: planned once for each time.
    pub looks: BTreeSet<Duration>,
    /// A run of the flusher's queue is planned.
    pub flush_planned: bool,
}

/// A fetcher's request, or its pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetching {
    /// This call is under way.
    Asked(u64),
    /// Not before.
    Paused(Duration),
}

type Answers = Arc<Mutex<Vec<(u64, Option<Bytes>)>>>;
type Slot<T> = Arc<Mutex<Option<T>>>;

enum Stage {
    Starting(Slot<Result<Broker, BrokerError>>),
    Serving(Box<Broker>, Arc<BrokerState>),
    Stopping(Slot<()>, Arc<BrokerState>),
}

/// What became of a process when it ran last.
#[derive(Debug, PartialEq, Eq)]
pub enum Became {
    /// Nothing new.
    Same,
    /// It serves.
    Serving,
    /// It has ended: in good order, or with an error.
    Ended(Option<String>),
}

impl Server {
    /// A machine whose broker was never started.
    #[must_use]
    pub fn new(
        number: usize,
        disk: SimDisk,
        random: SimRandom,
        machine: Machine,
        settings: Vec<(String, String)>,
    ) -> Server {
        Server {
            number,
            disk,
            random,
            life: 0,
            process: None,
            machine,
            is_off: false,
            is_paused: false,
            restarts: true,
            was_mended: false,
            settings,
        }
    }

    /// Starts the broker.
    ///
    /// # Panics
    /// When it runs already, or this machine cannot make a runtime.
    pub fn start(&mut self, clock: Clock, seed: u64) {
        assert!(self.process.is_none(), "a broker is started once");
        self.life += 1;
        self.is_off = false;
        let config = BrokerConfig::from_overrides(self.settings.clone()).expect("settings of a broker");
        self.random.begin_again(seed);
        let surroundings = Surroundings {
            disk: Disk::Sim(self.disk),
            clock,
            random: Random::Sim(self.random),
            machine: self.machine,
            ..Surroundings::default()
        };
        let slot: Slot<Result<Broker, BrokerError>> = Arc::default();
        let started = slot.clone();
        let runtime = runtime::spawn::simulated().expect("a runtime without threads");
        runtime.spawn(async move {
            let broker = Broker::start_in(config, surroundings).await;
            *lock(&started) = Some(broker);
        });
        self.process = Some(Process {
            runtime,
            host: if self.machine.has_network() {
                SimHost::with_streams(self.number)
            } else {
                SimHost::new(self.number)
            },
            stage: Stage::Starting(slot),
            answers: Arc::default(),
            fetches: BTreeMap::new(),
            looks: BTreeSet::new(),
            flush_planned: false,
        });
    }

    /// The process is killed, or the whole machine with it: then the disk forgets as it does.
    pub fn kill(&mut self, power_cut: Option<u64>) {
        match power_cut {
            Some(seed) => self.disk.power_cut(seed),
            // What it held open is gone with it, and nothing that is dropped below writes any more.
            None => self.disk.become_moment(&self.disk.moment()),
        }
        if let Some(state) = self.state() {
            state.replicas.logs().abandon();
        }
        self.process = None;
        self.is_off = power_cut.is_some();
        self.is_paused = false;
    }

    /// What its parts share, while it serves or stops.
    #[must_use]
    pub fn state(&self) -> Option<&Arc<BrokerState>> {
        match &self.process.as_ref()?.stage {
            Stage::Starting(_) => None,
            Stage::Serving(_, state) | Stage::Stopping(_, state) => Some(state),
        }
    }

    /// Whether it serves.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.process.as_ref().is_some_and(|process| matches!(process.stage, Stage::Serving(..)))
    }
}

impl Process {
    /// Asks it to stop in good order.
    pub fn shut_down(&mut self) {
        let Stage::Serving(_, state) = &self.stage else { return };
        let slot: Slot<()> = Arc::default();
        let stopping = Stage::Stopping(slot.clone(), state.clone());
        let Stage::Serving(broker, _) = std::mem::replace(&mut self.stage, stopping) else { return };
        self.runtime.spawn(async move {
            broker.shutdown().await;
            *lock(&slot) = Some(());
        });
    }

    /// Brings a request. What it is answered with is among [`Process::take_answers`] once it is.
    pub fn request(&mut self, call: u64, frame: Bytes) {
        let Stage::Serving(_, state) = &self.stage else {
            lock(&self.answers).push((call, None));
            return;
        };
        let (_host, _runtime) = (self.host.enter(), self.runtime.enter());
        let answer = match handlers::start(state, &mut Session::new(0, PEER), frame) {
            Answer::Ready(response) => response.into_bytes().ok(),
            Answer::Silent | Answer::Close => None,
            Answer::Later(pending) => {
                let answers = self.answers.clone();
                self.runtime.spawn(async move {
                    let answer = pending.future.await.and_then(|response| response.into_bytes().ok());
                    lock(&answers).push((call, answer));
                });
                return;
            }
        };
        lock(&self.answers).push((call, answer));
    }

    /// Lets it run until it waits for time or for the network.
    pub fn run(&mut self) -> Became {
        {
            let _host = self.host.enter();
            runtime::spawn::run_until_idle(&self.runtime);
        }
        let started = match &self.stage {
            Stage::Starting(slot) => lock(slot).take(),
            Stage::Serving(..) | Stage::Stopping(..) => None,
        };
        match started {
            Some(Ok(broker)) => {
                let state = broker.state().clone();
                self.stage = Stage::Serving(Box::new(broker), state);
                return Became::Serving;
            }
            Some(Err(error)) => return Became::Ended(Some(error.to_string())),
            None => {}
        }
        match &self.stage {
            Stage::Starting(_) => Became::Same,
            // A broker whose directories have all failed is stopped by whoever runs it.
            Stage::Serving(_, state) => match state.replicas.logs().is_all_offline() {
                true => Became::Ended(Some("all log directories have failed".to_owned())),
                false => Became::Same,
            },
            Stage::Stopping(slot, _) => match lock(slot).is_some() {
                true => Became::Ended(None),
                false => Became::Same,
            },
        }
    }

    /// The answers that are ready: none closes the connection.
    #[must_use]
    pub fn take_answers(&mut self) -> Vec<(u64, Option<Bytes>)> {
        std::mem::take(&mut *lock(&self.answers))
    }

    /// Has the flusher sync what waits for it.
    pub fn flush(&mut self) {
        self.flush_planned = false;
        if let Stage::Serving(_, state) | Stage::Stopping(_, state) = &self.stage {
            let (_host, _runtime) = (self.host.enter(), self.runtime.enter());
            state.replicas.logs().flusher().run_queued();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
