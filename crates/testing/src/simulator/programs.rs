//! The programs of the second tier: producers, readers, members of a consumer group and an operator, each a host of its own on the shipped client library.
//!
//! A program knows nothing of the simulation around it. It tells what it does and sees ([`Seen`]), which the world holds against the invariants, and it is told by one flag when
//! there is nothing more to do. What is always true: a call of the library is told before it is made and after it has returned, with the time it may take.
//!
//! # Layout
//! - [`Program`]: a program's machine; [`Seat`]: what a program is given
//! - `produce`, `read`, `join`, `operate`: what they do

mod join;
mod operate;
mod produce;
mod read;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::kafka::{ClientConfig, ClientError, Cluster, HostPort};
use runtime::sim_time::SimRandom;
use runtime::{Clock, Random, SimHost};

use super::history::Partition;
use super::network::Node;
use super::plan::{PORT, Plan, Tier};

/// What a call of the library may take beyond its own limits: the machine it runs on is slow, not stopped.
const SLACK: Duration = Duration::from_millis(500);
/// `request.timeout.ms`.
const REQUEST: Duration = Duration::from_secs(3);
/// `default.api.timeout.ms`.
const API: Duration = Duration::from_secs(8);
/// `socket.connection.setup.timeout.ms`.
const SETUP: Duration = Duration::from_secs(2);

/// What a program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sends records.
    Produce,
    /// Reads all partitions.
    Read,
    /// Is a member of the group.
    Join,
    /// Creates, moves and deletes topics, and elects leaders.
    Operate,
}

/// What a program tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// A call begins, and must have returned after so long.
    Called(u64, &'static str, Duration),
    /// It has returned.
    Returned(u64),
    /// A value is sent.
    Sent(u64),
    /// A value was refused before it was sent anywhere.
    Refused(u64),
    /// A value is safe, at this offset where that is known.
    Acknowledged(Partition, Option<i64>, u64),
    /// Nobody knows whether a value is stored.
    GivenUp(Partition, u64),
    /// A value was read, with this high watermark.
    Read(Partition, i64, u64, i64),
    /// A member was given partitions in a generation, to be read from these offsets on.
    Assigned(i32, Vec<(Partition, Option<i64>)>),
    /// A member reads no more of its partitions.
    Revoked,
    /// A member asks for offsets to be kept, in a generation.
    Committing(i32, Vec<(Partition, i64)>),
    /// They are.
    Committed(i32, Vec<(Partition, i64)>),
    /// A topic was created, or deleted.
    Topic(String, bool),
    /// Something failed that may fail.
    Failed(&'static str, String),
    /// Something failed for good that must not.
    Broken(&'static str, String),
    /// There is nothing left to do.
    Done,
}

/// What a program is given.
#[derive(Clone)]
pub struct Seat {
    /// Its number among the programs, and how often it was started.
    number: usize,
    life: u64,
    clock: Clock,
    random: Random,
    plan: Arc<Plan>,
    busy: Arc<AtomicBool>,
    closing: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A program, and the machine it runs on.
pub struct Program {
    /// What it does.
    pub kind: Kind,
    /// Its number among the programs.
    pub number: usize,
    /// Its host.
    pub node: Node,
    random: SimRandom,
    /// How often it was started.
    pub life: u64,
    /// Calls of the library that have not returned, and when they must.
    pub calls: BTreeMap<u64, (&'static str, Duration)>,
    /// It said that it has nothing left to do.
    pub is_done: bool,
    process: Option<Process>,
}

struct Process {
    runtime: tokio::runtime::Runtime,
    host: SimHost,
    busy: Arc<AtomicBool>,
    closing: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// The programs of a plan, in the order of their hosts from `node` on.
#[must_use]
pub fn of(plan: &Plan, node: Node, chances: &[SimRandom]) -> Vec<Program> {
    if plan.tier == Tier::Messages {
        return Vec::new();
    }
    let kinds = [
        (Kind::Produce, plan.producers),
        (Kind::Read, plan.consumers),
        (Kind::Join, plan.members),
        (Kind::Operate, plan.admins),
    ];
    let kinds = kinds.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count));
    let program = |(number, (kind, random)): (usize, (Kind, &SimRandom))| Program {
        kind,
        number,
        random: *random,
        node: node + number,
        life: 0,
        calls: BTreeMap::new(),
        is_done: false,
        process: None,
    };
    kinds.zip(chances).enumerate().map(program).collect()
}

impl Program {
    /// Starts it; `busy` while there is something to do.
    ///
    /// # Panics
    /// When this machine cannot make a runtime.
    pub fn start(&mut self, clock: Clock, seed: u64, plan: &Plan, busy: bool) {
        self.life += 1;
        self.is_done = false;
        self.random.begin_again(seed);
        let seat = Seat {
            number: self.number,
            life: self.life,
            clock,
            random: Random::Sim(self.random),
            plan: Arc::new(plan.clone()),
            busy: Arc::new(AtomicBool::new(busy)),
            closing: Arc::default(),
            seen: Arc::default(),
        };
        let runtime = runtime::spawn::simulated().expect("a runtime without threads");
        let (busy, closing, seen) = (seat.busy.clone(), seat.closing.clone(), seat.seen.clone());
        match self.kind {
            Kind::Produce => drop(runtime.spawn(produce::run(seat))),
            Kind::Read => drop(runtime.spawn(read::run(seat))),
            Kind::Join => drop(runtime.spawn(join::run(seat))),
            Kind::Operate => drop(runtime.spawn(operate::run(seat))),
        }
        let host = SimHost::with_streams(self.node);
        self.process = Some(Process { runtime, host, busy, closing, seen });
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Its side of the network.
    #[must_use]
    pub fn host(&self) -> Option<SimHost> {
        self.process.as_ref().map(|process| process.host.clone())
    }

    /// There is nothing more to do.
    pub fn rest(&mut self) {
        if let Some(process) = &self.process {
            process.busy.store(false, Ordering::Relaxed);
        }
    }

    /// Asks it to end in good order, where it knows how to.
    pub fn close(&mut self) {
        if let Some(process) = &self.process {
            process.closing.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was asked to.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.closing.load(Ordering::Relaxed))
    }

    /// The process is killed.
    pub fn kill(&mut self) {
        self.process = None;
        self.calls.clear();
    }

    /// Lets it run until it waits, and gives what it told.
    pub fn run(&mut self) -> Vec<Seen> {
        let Some(process) = &self.process else { return Vec::new() };
        {
            let _host = process.host.enter();
            runtime::spawn::run_until_idle(&process.runtime);
        }
        std::mem::take(&mut *lock(&process.seen))
    }
}

impl Seat {
    fn say(&self, seen: Seen) {
        lock(&self.seen).push(seen);
    }

    /// Whether there is still something to do.
    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) && !self.is_closing()
    }

    /// Whether it was asked to end.
    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Makes a call of the library that returns within `limit`.
    async fn call<T>(&self, name: &'static str, limit: Duration, call: impl Future<Output = T>) -> T {
        let number = self.called(name, limit);
        // Futures of the library are large, and here they would lie in each other.
        let returned = Box::pin(call).await;
        self.say(Seen::Returned(number));
        returned
    }

    /// Tells that something begins that is over within `limit`; [`Seen::Returned`] with the number tells that it is.
    fn called(&self, name: &'static str, limit: Duration) -> u64 {
        let number = self.random.u64();
        self.say(Seen::Called(number, name, limit + SLACK));
        number
    }

    async fn pause(&self, from_ms: u64, to_ms: u64) {
        let ms = from_ms + self.random.below(to_ms - from_ms + 1);
        self.clock.sleep(Duration::from_millis(ms)).await;
    }

    /// The cluster, as this program knows it.
    fn cluster(&self) -> Cluster {
        Cluster::with_chance(self.config(), self.clock, self.random)
    }

    fn config(&self) -> ClientConfig {
        let server = |broker: usize| HostPort { host: format!("b{broker}"), port: PORT };
        ClientConfig {
            client_id: format!("program-{}-{}", self.number, self.life),
            request_timeout: REQUEST,
            default_api_timeout: API,
            metadata_max_age: Duration::from_secs(5),
            connection_setup_timeout: SETUP,
            api_version_request_timeout: REQUEST,
            reconnect_backoff_max: Duration::from_millis(500),
            ..ClientConfig::new((0..self.plan.brokers).map(server).collect())
        }
    }

    /// Tells of a failure: one that passes, or one that nobody can do anything about.
    fn failed(&self, name: &'static str, error: &ClientError) {
        let text = format!("{error}{}", error.cause().map(|cause| format!(" ({cause})")).unwrap_or_default());
        // A commit fails where the group has moved on, and there is no room while nobody takes what is there.
        let says_so = matches!(error, ClientError::CommitFailed { .. } | ClientError::BufferExhausted { .. });
        let passes = error.is_retriable() || says_so;
        self.say(if passes { Seen::Failed(name, text) } else { Seen::Broken(name, text) });
    }
}

/// The longest a call takes that is made of others, each within `default.api.timeout.ms`: the last of them may have begun just before its end, and runs as long as one request.
const fn api_calls(count: u32) -> Duration {
    Duration::from_millis(
        (API.as_millis() as u64 + REQUEST.as_millis() as u64 + SETUP.as_millis() as u64) * count as u64,
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
