//! The world of a run: one queue of events, and what each of them does.
//!
//! What is always true: time moves only between events; a broker runs only while the world lets it, until it waits; whatever is decided by chance is decided by the numbers of the
//! seed, in the order of the events. So a seed has one history.
//!
//! # Layout
//! - [`World`]: what there is; [`Event`]: what happens
//! - `admin`: topics that come, go and move; `brokers`: starting, running, fetching, ending; `calls`: clients, requests and answers; `programs`: those of the second tier
//! - `connections`: who connects to whom, and what comes; `zookeeper`: its tree

mod admin;
mod brokers;
mod calls;
mod connections;
mod programs;
mod zookeeper;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::Machine;
use bytes::Bytes;
use client::zookeeper::paths;
use client::zookeeper::znodes::{EntityConfig, TopicAssignment};
use keeper::simulated::SimulatedKeeper;
use protocol::types::Uuid;
use runtime::sim_stream::SimStream;
use runtime::sim_time::SimTime;
use runtime::{Clock, Random};
use tokio::sync::oneshot;

use super::admin::Admin;
use super::chance::Chance;
use super::clients::{Consumer, Producer, Purpose, TOPIC_ID};
use super::group::Group;
use super::history::{History, Partition, Violation, broken};
use super::machines::Machines;
use super::network::{Network, Node};
use super::plan::{Plan, Tier};
use super::programs::Program;
use super::server::Server;
use super::streams::{Piece, Way};
use super::topics::{TopicPlan, Topics};

/// How long a client waits for an answer.
const CALL_WAIT: Duration = Duration::from_millis(1_500);
/// Shortest ZooKeeper session.
const SESSION_MS_MIN: i32 = 1_000;

/// A world.
pub struct World {
    /// What was drawn for it.
    pub plan: Plan,
    /// Its time.
    pub time: &'static SimTime,
    /// Its chance.
    pub chance: Chance,
    /// Its network.
    pub network: Network,
    /// Its brokers' machines.
    pub servers: Vec<Server>,
    /// Its ZooKeeper.
    pub keeper: SimulatedKeeper,
    /// What was seen.
    pub history: History,
    /// Its producers.
    pub producers: Vec<Producer>,
    /// Its consumers.
    pub consumers: Vec<Consumer>,
    /// Its topics.
    pub catalogue: Topics,
    /// Who makes, deletes and moves them.
    pub admin: Admin,
    /// The programs of the second tier.
    pub programs: Vec<Program>,
    /// What their consumer group was seen to do.
    pub group: Group,
    /// Topics that were made beside the one of the run, and that nobody has asked to delete.
    pub topics: BTreeSet<String>,
    /// The next offset of each program that reads a partition.
    pub progress: BTreeMap<(usize, Partition), i64>,
    /// Producers make new batches.
    pub is_busy: bool,
    queue: BTreeMap<(Duration, u64), Event>,
    planned: u64,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
    /// Who waits for the answer to a call that a broker made by itself.
    asking: BTreeMap<u64, oneshot::Sender<Option<Vec<u8>>>>,
    /// Version of each state znode that was looked at last, and when it was made.
    seen_states: BTreeMap<Partition, i32>,
    /// The tree's last change that was looked at.
    seen_zxid: i64,
    /// Events that wait for a paused broker.
    held: Vec<Vec<Event>>,
    /// Epoch in which a follower, in one of its lives, made its last request for a partition.
    followed_in: BTreeMap<(usize, u64, Partition), i32>,
    traces: bool,
}

/// Something that happens at a time.
#[derive(Debug)]
pub enum Event {
    /// A request arrives.
    Request {
        /// Which.
        call: u64,
        /// Where.
        to: usize,
        /// What.
        frame: Bytes,
    },
    /// An answer arrives; none says that the connection is gone.
    Answer {
        /// To what.
        call: u64,
        /// What.
        frame: Option<Bytes>,
    },
    /// A caller waits no longer.
    GiveUp(u64),
    /// A connection is there, or is not to be had.
    Connect {
        /// Who wants it.
        node: Node,
        /// In which of its lives.
        life: u64,
        /// To whom.
        to: Node,
        /// Where that is told.
        answer: oneshot::Sender<std::io::Result<SimStream>>,
        /// Whether the links carry.
        is_reached: bool,
    },
    /// A piece of a connection arrives.
    Arrive(u64, Way, Piece),
    /// An end of a connection hears that it was broken off.
    Broken(u64, usize),
    /// ZooKeeper looks at its sessions.
    Sessions,
    /// A broker's disk has synced what waited.
    Flushed(usize, u64),
    /// A broker's fetchers look whether a pause is over.
    Fetchers(usize, u64),
    /// A producer does what it can.
    Produce(usize),
    /// A consumer does what it can.
    Consume(usize),
    /// Who administers the cluster does what there is to do.
    Administer,
    /// A broker is started.
    Start(usize),
    /// A program is started.
    StartProgram(usize),
    /// It is looked whether calls take too long.
    Look,
    /// A broker goes on.
    Resume(usize, u64),
    /// Something goes wrong.
    Fault,
    /// It is over.
    Mend(super::faults::Mend),
}

/// A request under way.
#[derive(Debug, Clone, Copy)]
struct Call {
    from: Caller,
    to: usize,
}

#[derive(Debug, Clone, Copy)]
enum Caller {
    Fetcher { broker: usize, life: u64, leader: i32 },
    Broker { broker: usize, call: u64 },
    Producer(usize, Purpose),
    Consumer(usize, Purpose),
    Admin,
}

impl World {
    /// A world in which nothing has started yet.
    #[must_use]
    pub fn new(seed: u64, plan: Plan, machines: &Machines) -> World {
        let mut chance = Chance::new(seed);
        let time = machines.time;
        let brokers = plan.brokers;
        machines.zookeeper.begin_again(chance.u64());
        let random = Random::Sim(machines.zookeeper);
        let keeper = SimulatedKeeper::new(Clock::Sim(time.clock(brokers, 0)), random, SESSION_MS_MIN);
        let machine = match plan.tier {
            Tier::Messages => Machine::SimulatedWithoutNetwork,
            Tier::Streams => Machine::Simulated,
        };
        let servers = (0..brokers).map(|number| {
            let (disk, random) = machines.brokers[number];
            Server::new(number, disk, random, machine, plan.settings(number))
        });
        let (producers, consumers) = match plan.tier {
            Tier::Messages => (plan.producers, plan.consumers),
            Tier::Streams => (0, 0),
        };
        let mut world = World {
            servers: servers.collect(),
            network: Network::new(plan.weather.clone()),
            producers: (0..producers as u64).map(|number| Producer::new(number, plan.partitions)).collect(),
            consumers: (0..consumers).map(|_| Consumer::default()).collect(),
            programs: super::programs::of(&plan, brokers + 1, &machines.programs),
            group: Group::default(),
            topics: BTreeSet::new(),
            progress: BTreeMap::new(),
            catalogue: Topics::default(),
            admin: Admin::default(),
            seen_states: BTreeMap::new(),
            seen_zxid: -1,
            held: (0..brokers).map(|_| Vec::new()).collect(),
            time,
            chance,
            keeper,
            history: History::default(),
            is_busy: true,
            queue: BTreeMap::new(),
            planned: 0,
            calls: BTreeMap::new(),
            next_call: 0,
            asking: BTreeMap::new(),
            followed_in: BTreeMap::new(),
            traces: std::env::var_os("TIDEMILL_SIM_TRACE").is_some(),
            plan,
        };
        world.make_topic(world.plan.topic(), TOPIC_ID);
        for (number, other) in world.plan.others.clone().into_iter().enumerate() {
            world.make_topic(other, Uuid([8 + number as u8; 16]));
        }
        for broker in 0..brokers {
            world.after(Duration::from_millis(broker as u64 * 7), Event::Start(broker));
        }
        for producer in 0..world.producers.len() {
            world.after(Duration::from_millis(500), Event::Produce(producer));
        }
        for consumer in 0..world.consumers.len() {
            world.after(Duration::from_millis(600), Event::Consume(consumer));
        }
        for program in 0..world.programs.len() {
            world.after(Duration::from_millis(500 + program as u64 * 3), Event::StartProgram(program));
        }
        if !world.programs.is_empty() {
            world.after(programs::LOOK, Event::Look);
        }
        if world.plan.admin.is_some() {
            world.after(Duration::from_millis(700), Event::Administer);
        }
        world.after(Duration::from_millis(200), Event::Sessions);
        world
    }

    fn make_topic(&mut self, topic: TopicPlan, id: Uuid) {
        let brokers = self.plan.brokers as i32;
        let replicas = |partition: i32| (0..topic.replicas as i32).map(|at| (partition + at) % brokers).collect();
        let assignment = TopicAssignment {
            partitions: (0..topic.partitions as i32).map(|partition| (partition, replicas(partition))).collect(),
            topic_id: Some(id),
            ..Default::default()
        };
        self.keeper.put(&paths::topic(topic.name), assignment.to_json());
        self.keeper.put(&paths::topic_config(topic.name), EntityConfig::new(self.plan.topic_settings(topic)).to_json());
        let place = self.catalogue.add(topic);
        self.catalogue.stands(place, id, assignment.partitions.into_values());
    }

    /// Node of ZooKeeper.
    #[must_use]
    pub fn zookeeper(&self) -> Node {
        self.plan.brokers
    }

    fn producer_node(&self, producer: usize) -> Node {
        self.plan.brokers + 1 + producer
    }

    fn consumer_node(&self, consumer: usize) -> Node {
        self.plan.brokers + 1 + self.plan.producers + consumer
    }

    fn admin_node(&self) -> Node {
        self.plan.brokers + 1 + self.plan.producers + self.plan.consumers
    }

    /// Since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.time.now()
    }

    /// Plans an event.
    pub fn at(&mut self, at: Duration, event: Event) {
        self.planned += 1;
        self.queue.insert((at.max(self.now()), self.planned), event);
    }

    /// Plans an event.
    pub fn after(&mut self, after: Duration, event: Event) {
        self.at(self.now() + after, event);
    }

    /// Says what happens, where somebody wants to read along.
    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.traces {
            eprintln!("{:>12.6} {}", self.now().as_secs_f64(), what());
        }
    }

    /// Does what is next.
    ///
    /// # Errors
    /// A broken promise.
    pub fn step(&mut self) -> Result<(), Violation> {
        let event = self.queue.first_key_value().map(|((at, _), _)| *at);
        let timer = self.time.next_due();
        match (event, timer) {
            (event, Some(timer)) if event.is_none_or(|event| timer <= event) => {
                self.time.advance(timer);
                let mut woken = BTreeSet::new();
                while let Some(host) = self.time.fire() {
                    woken.insert(host);
                }
                let zookeeper = self.zookeeper();
                for host in woken.into_iter().filter(|host| *host != zookeeper) {
                    self.history.note(&[1, host as u64, timer.as_micros() as u64]);
                    self.run_host(host)?;
                }
                Ok(())
            }
            (Some(at), _) => {
                self.time.advance(at);
                let (_, event) = self.queue.pop_first().expect("an event was there");
                self.happen(event)
            }
            (None, _) => Ok(()),
        }
    }

    /// Goes on until a time.
    ///
    /// # Errors
    /// A broken promise.
    pub fn run_until(&mut self, until: Duration) -> Result<(), Violation> {
        while self.next_at().is_some_and(|next| next <= until) {
            self.step()?;
        }
        self.time.advance(until);
        Ok(())
    }

    /// Goes on until something is so, for `limit` at most: what a script waits for.
    ///
    /// # Errors
    /// A broken promise, or it never came to be so.
    pub fn wait_until(&mut self, limit: Duration, what: &str, is_so: impl Fn(&World) -> bool) -> Result<(), Violation> {
        let end = self.now() + limit;
        while !is_so(self) {
            if self.now() >= end {
                return broken("the script", format!("it waits in vain until {what}"));
            }
            self.run_until(self.now() + Duration::from_millis(2))?;
        }
        Ok(())
    }

    fn next_at(&self) -> Option<Duration> {
        let event = self.queue.first_key_value().map(|((at, _), _)| *at);
        event.into_iter().chain(self.time.next_due()).min()
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        let event = match self.hold(event) {
            Some(event) => event,
            None => return Ok(()),
        };
        self.note(&event);
        match event {
            Event::Request { call, to, frame } => self.requested(call, to, frame),
            Event::Answer { call, frame } => match self.calls.remove(&call) {
                Some(made) => self.answered(made, frame),
                None => Ok(()),
            },
            Event::GiveUp(call) => match self.calls.remove(&call) {
                Some(made) => self.answered(made, None),
                None => Ok(()),
            },
            Event::Connect { node, life, to, answer, is_reached } => self.connected(node, life, to, answer, is_reached),
            Event::Arrive(stream, way, piece) => self.arrived(stream, way, piece),
            Event::Broken(stream, end) => self.broken_off(stream, end),
            Event::Sessions => {
                let sleep_ms = self.keeper.pass_time();
                self.after(Duration::from_millis(sleep_ms.max(1)), Event::Sessions);
                self.hear_keeper()
            }
            Event::Flushed(broker, life) => {
                if let Some(process) = self.process(broker, life) {
                    process.flush();
                    self.run(broker)?;
                }
                Ok(())
            }
            Event::Fetchers(broker, life) => {
                let now = self.now();
                if let Some(process) = self.process(broker, life) {
                    process.looks.retain(|at| *at > now);
                    self.ask_leaders(broker);
                }
                Ok(())
            }
            Event::Produce(producer) => {
                self.produce(producer);
                let pause = self.chance.ms(self.plan.produce_ms.0, self.plan.produce_ms.1);
                self.after(pause, Event::Produce(producer));
                Ok(())
            }
            Event::Consume(consumer) => {
                self.consume(consumer);
                let pause = self.chance.ms(20, 120);
                self.after(pause, Event::Consume(consumer));
                Ok(())
            }
            Event::Administer => self.administer(),
            Event::Start(broker) => self.start(broker),
            Event::StartProgram(program) => self.start_program(program),
            Event::Look => {
                self.after(programs::LOOK, Event::Look);
                self.look_at_calls()
            }
            Event::Resume(broker, life) => match self.servers[broker].life == life {
                true => self.resume(broker),
                false => Ok(()),
            },
            Event::Fault => super::faults::strike(self),
            Event::Mend(mend) => super::faults::mend(self, mend),
        }
    }

    /// Keeps what comes for a broker that is paused.
    fn hold(&mut self, event: Event) -> Option<Event> {
        let broker = match &event {
            Event::Request { to, .. } => *to,
            Event::Answer { call, .. } | Event::GiveUp(call) => match self.calls.get(call)?.from {
                Caller::Fetcher { broker, .. } | Caller::Broker { broker, .. } => broker,
                _ => return Some(event),
            },
            Event::Connect { node, .. } => *node,
            Event::Flushed(broker, _) | Event::Fetchers(broker, _) => *broker,
            Event::Arrive(stream, way, _) => self.network.streams.get(*stream)?.end(way.to()).node,
            Event::Broken(stream, end) => self.network.streams.get(*stream)?.end(*end).node,
            _ => return Some(event),
        };
        if self.servers.get(broker).is_some_and(|server| server.is_paused) {
            self.held[broker].push(event);
            return None;
        }
        Some(event)
    }

    fn note(&mut self, event: &Event) {
        let (kind, one, two) = match event {
            Event::Request { call, to, frame } => (2, *call << 8 | *to as u64, frame.len() as u64),
            Event::Answer { call, frame } => (3, *call, frame.as_ref().map_or(0, |frame| frame.len() as u64)),
            Event::GiveUp(call) => (4, *call, 0),
            Event::Connect { node, life, is_reached, .. } => (5, *node as u64, *life << 1 | u64::from(*is_reached)),
            Event::Arrive(stream, Way::Up, piece) => (6, *stream, piece.digest()),
            Event::Arrive(stream, Way::Down, piece) => (7, *stream, piece.digest()),
            Event::Sessions => (8, 0, 0),
            Event::Flushed(broker, _) => (9, *broker as u64, 0),
            Event::Fetchers(broker, _) => (10, *broker as u64, 0),
            Event::Produce(producer) => (11, *producer as u64, 0),
            Event::Consume(consumer) => (12, *consumer as u64, 0),
            Event::Start(broker) => (13, *broker as u64, 0),
            Event::Resume(broker, _) => (14, *broker as u64, 0),
            Event::Fault => (15, 0, 0),
            Event::Mend(_) => (16, 0, 0),
            Event::Broken(stream, end) => (17, *stream, *end as u64),
            Event::StartProgram(program) => (18, *program as u64, 0),
            Event::Look => (19, 0, 0),
            Event::Administer => (20, 0, 0),
        };
        let now = self.now().as_micros() as u64;
        self.history.note(&[kind, one, two, now]);
    }

    fn process(&mut self, broker: usize, life: u64) -> Option<&mut super::server::Process> {
        let server = self.servers.get_mut(broker).filter(|server| server.life == life)?;
        server.process.as_mut()
    }
}
