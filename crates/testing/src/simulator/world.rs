//! The world of a run: one queue of events, and what each of them does.
//!
//! What is always true: time moves only between events; a broker runs only while the world lets it, until it waits; whatever is decided by chance is decided by the numbers of the
//! seed, in the order of the events. So a seed has one history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::metadata::PartitionState;
use broker::replica_manager::HostedPartition;
use broker::state::BrokerState;
use bytes::Bytes;
use client::zookeeper::paths;
use client::zookeeper::znodes::{EntityConfig, PartitionState as StateZnode, TopicAssignment};
use keeper::simulated::SimulatedKeeper;
use protocol::types::LeaderEpoch;
use replication::EpochEnd;
use runtime::sim_host::{NetCall, SimStream};
use runtime::sim_time::{SimRandom, SimTime};
use runtime::{Clock, Random, SimDisk};
use tokio::sync::oneshot;

use super::chance::Chance;
use super::clients::{self, Consumer, Producer, Purpose, TOPIC, TOPIC_ID};
use super::history::{History, Partition, Violation, broken};
use super::network::{Network, Node, Piece, Way};
use super::plan::{Endings, Mischief, Plan};
use super::server::{Became, Fetching, Server};

/// How long a client waits for an answer.
const CALL_WAIT: Duration = Duration::from_millis(1_500);
/// A fetcher's pause after a leader that gave no answer.
const FETCHER_PAUSE: Duration = Duration::from_millis(100);
/// How long a dead broker stays dead before somebody starts it again, in ms.
const RESTART_MS: (u64, u64) = (200, 4_000);
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
    /// Producers make new batches.
    pub is_busy: bool,
    queue: BTreeMap<(Duration, u64), Event>,
    planned: u64,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
    /// Version of each state znode that was looked at last, and when it was made.
    seen_states: Vec<Option<i32>>,
    /// Events that wait for a paused broker.
    held: Vec<Vec<Event>>,
    /// Epoch in which a follower made its last request for a partition.
    followed_in: BTreeMap<(usize, Partition), i32>,
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
    /// A connection to ZooKeeper is there, or is not to be had.
    Connect(usize, u64, oneshot::Sender<std::io::Result<SimStream>>, bool),
    /// Something arrives at ZooKeeper.
    Up(u64, Piece),
    /// Something arrives from ZooKeeper.
    Down(u64, Piece),
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
    /// A broker is started.
    Start(usize),
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
    Producer(usize, Purpose),
    Consumer(usize, Purpose),
}

impl World {
    /// A world in which nothing has started yet.
    #[must_use]
    pub fn new(seed: u64, plan: Plan, disks: &[SimDisk]) -> World {
        let mut chance = Chance::new(seed);
        let time = SimTime::begin();
        let brokers = plan.brokers;
        let random = Random::Sim(SimRandom::new(chance.u64()));
        let keeper = SimulatedKeeper::new(Clock::Sim(time.clock(brokers, 0)), random, SESSION_MS_MIN);
        let servers = (0..brokers).map(|number| {
            disks[number].reset();
            Server::new(number, disks[number], plan.settings(number))
        });
        let mut world = World {
            servers: servers.collect(),
            network: Network::new(plan.weather.clone()),
            producers: (0..plan.producers as u64).map(|number| Producer::new(number, plan.partitions)).collect(),
            consumers: (0..plan.consumers).map(|_| Consumer::default()).collect(),
            seen_states: vec![None; plan.partitions],
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
            followed_in: BTreeMap::new(),
            traces: std::env::var_os("TIDEMILL_SIM_TRACE").is_some(),
            plan,
        };
        world.make_topic();
        for broker in 0..brokers {
            world.after(Duration::from_millis(broker as u64 * 7), Event::Start(broker));
        }
        for producer in 0..world.producers.len() {
            world.after(Duration::from_millis(500), Event::Produce(producer));
        }
        for consumer in 0..world.consumers.len() {
            world.after(Duration::from_millis(600), Event::Consume(consumer));
        }
        world.after(Duration::from_millis(200), Event::Sessions);
        world
    }

    fn make_topic(&mut self) {
        let brokers = self.plan.brokers as i32;
        let replicas = |partition: i32| (0..brokers).map(|at| (partition + at) % brokers).collect();
        let assignment = TopicAssignment {
            partitions: (0..self.plan.partitions as i32).map(|partition| (partition, replicas(partition))).collect(),
            topic_id: Some(TOPIC_ID),
            ..Default::default()
        };
        self.keeper.put(&paths::topic(TOPIC), assignment.to_json());
        self.keeper.put(&paths::topic_config(TOPIC), EntityConfig::new(self.plan.topic_settings()).to_json());
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
                let mut woken = vec![false; self.servers.len()];
                while let Some(host) = self.time.fire() {
                    if let Some(woken) = woken.get_mut(host) {
                        *woken = true;
                    }
                }
                for host in 0..woken.len() {
                    if woken[host] {
                        self.history.note(&[1, host as u64, timer.as_micros() as u64]);
                        self.run(host)?;
                    }
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
            Event::Connect(broker, life, answer, is_reached) => self.connected(broker, life, answer, is_reached),
            Event::Up(stream, piece) => self.up(stream, piece),
            Event::Down(stream, piece) => self.down(stream, piece),
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
                if self.process(broker, life).is_some() {
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
            Event::Start(broker) => self.start(broker),
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
                Caller::Fetcher { broker, .. } => broker,
                _ => return Some(event),
            },
            Event::Connect(broker, ..) | Event::Flushed(broker, _) | Event::Fetchers(broker, _) => *broker,
            Event::Down(stream, _) => self.network.stream(*stream)?.node,
            _ => return Some(event),
        };
        if self.servers[broker].is_paused {
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
            Event::Connect(broker, life, _, is_reached) => (5, *broker as u64, *life << 1 | u64::from(*is_reached)),
            Event::Up(stream, piece) => (6, *stream, piece.len()),
            Event::Down(stream, piece) => (7, *stream, piece.len()),
            Event::Sessions => (8, 0, 0),
            Event::Flushed(broker, _) => (9, *broker as u64, 0),
            Event::Fetchers(broker, _) => (10, *broker as u64, 0),
            Event::Produce(producer) => (11, *producer as u64, 0),
            Event::Consume(consumer) => (12, *consumer as u64, 0),
            Event::Start(broker) => (13, *broker as u64, 0),
            Event::Resume(broker, _) => (14, *broker as u64, 0),
            Event::Fault => (15, 0, 0),
            Event::Mend(_) => (16, 0, 0),
        };
        let now = self.now().as_micros() as u64;
        self.history.note(&[kind, one, two, now]);
    }

    fn process(&mut self, broker: usize, life: u64) -> Option<&mut super::server::Process> {
        let server = self.servers.get_mut(broker).filter(|server| server.life == life)?;
        server.process.as_mut()
    }
}

/// Brokers.
impl World {
    fn clock(&self, broker: usize) -> Clock {
        Clock::Sim(self.time.clock(broker, self.plan.ahead_ms[broker]))
    }

    fn start(&mut self, broker: usize) -> Result<(), Violation> {
        if self.servers[broker].process.is_some() {
            return Ok(());
        }
        let (clock, seed) = (self.clock(broker), self.chance.u64());
        self.servers[broker].start(clock, seed);
        self.say(|| format!("broker {broker} is started"));
        self.run(broker)
    }

    /// Kills a broker; with its machine, where `power_cut`.
    pub fn kill(&mut self, broker: usize, power_cut: bool) {
        let seed = power_cut.then(|| self.chance.u64());
        self.say(|| format!("broker {broker} is killed{}", if power_cut { " with its machine" } else { "" }));
        self.servers[broker].kill(seed);
        self.held[broker].clear();
        let zookeeper = self.zookeeper();
        for stream in self.network.streams_of(broker) {
            // A machine without power says no goodbye.
            if !power_cut {
                self.send_piece(stream, Way::Up, Piece::End);
            }
            self.network.forget(stream);
        }
        let _ = zookeeper;
    }

    /// Has somebody start a broker again, after a while.
    pub fn restart_later(&mut self, broker: usize) {
        if self.servers[broker].restarts {
            let pause = self.chance.ms(RESTART_MS.0, RESTART_MS.1);
            self.after(pause, Event::Start(broker));
        }
    }

    /// Stops a broker in good order.
    pub fn shut_down(&mut self, broker: usize) -> Result<(), Violation> {
        if let Some(process) = &mut self.servers[broker].process {
            process.shut_down();
        }
        self.run(broker)
    }

    /// A broker that was paused goes on, and finds all that came meanwhile.
    pub fn resume(&mut self, broker: usize) -> Result<(), Violation> {
        if !std::mem::take(&mut self.servers[broker].is_paused) {
            return Ok(());
        }
        self.say(|| format!("broker {broker} goes on"));
        let held = std::mem::take(&mut self.held[broker]);
        self.run(broker)?;
        for event in held {
            self.happen(event)?;
        }
        Ok(())
    }

    /// Lets a broker run until it waits, and passes on what it says.
    pub fn run(&mut self, broker: usize) -> Result<(), Violation> {
        let server = &mut self.servers[broker];
        if server.is_paused {
            return Ok(());
        }
        let life = server.life;
        let Some(process) = &mut server.process else { return Ok(()) };
        let became = process.run();
        let (calls, answers) = (process.host.take_calls(), process.take_answers());
        if let Some(panicked) = super::take_panic() {
            return broken("no panic", format!("broker {broker}: {panicked}"));
        }
        for call in calls {
            self.net_call(broker, life, call);
        }
        for (call, frame) in answers {
            self.answer(broker, call, frame);
        }
        match became {
            Became::Same => {}
            Became::Serving => self.say(|| format!("broker {broker} serves")),
            Became::Ended(why) => {
                self.say(|| format!("broker {broker} has ended: {why:?}"));
                // A disk that has failed a sync may show what it will never hold. Where machines can lose their power, such a one is switched off and on again.
                let is_switched_off = why.is_some() && self.plan.endings == Endings::PowerCuts;
                self.kill(broker, is_switched_off);
                self.restart_later(broker);
                return Ok(());
            }
        }
        self.watch(broker)?;
        self.ask_leaders(broker);
        self.plan_flush(broker);
        Ok(())
    }

    fn plan_flush(&mut self, broker: usize) {
        let Some(state) = self.servers[broker].state() else { return };
        let waits = state.replicas.logs().flusher().queued() > 0;
        let life = self.servers[broker].life;
        if let Some(process) = self.servers[broker].process.as_mut().filter(|process| waits && !process.flush_planned) {
            process.flush_planned = true;
            let slow = self.chance.permille(self.plan.slow_disk_permille);
            let takes = if slow { self.chance.ms(50, 800) } else { self.chance.ms(1, 8) };
            self.after(takes, Event::Flushed(broker, life));
        }
    }

    /// Looks at what a broker believes of itself.
    fn watch(&mut self, broker: usize) -> Result<(), Violation> {
        for partition in 0..self.plan.partitions as i32 {
            let Some(hosted) = self.hosted(broker, partition) else { continue };
            if let Ok(epoch) = hosted.leader_epoch() {
                self.history.acknowledger(partition, epoch, broker)?;
                self.history.watermark(partition, epoch, hosted.high_watermark().0)?;
            }
        }
        Ok(())
    }

    /// A partition as a broker holds it.
    #[must_use]
    pub fn hosted(&self, broker: usize, partition: Partition) -> Option<Arc<HostedPartition>> {
        self.servers[broker].state()?.replicas.get(TOPIC, partition)
    }

    /// Has the fetchers of a broker ask what they want to ask.
    fn ask_leaders(&mut self, broker: usize) {
        if !self.servers[broker].is_serving() {
            return;
        }
        let Some(state) = self.servers[broker].state().cloned() else { return };
        let clock = self.clock(broker);
        let life = self.servers[broker].life;
        for fetcher in state.replicas.fetchers().all() {
            let leader = fetcher.leader().0;
            let Some(process) = &mut self.servers[broker].process else { return };
            match process.fetches.get(&leader) {
                Some(Fetching::Asked(_)) => continue,
                Some(Fetching::Paused(until)) if *until > self.time.now() => continue,
                _ => {}
            }
            process.fetches.remove(&leader);
            let broker_epoch = state.metadata.image().brokers.get(&(broker as i32)).map_or(-1, |own| own.epoch);
            let (request, due) = {
                let mut following = fetcher.following();
                (following.request(clock.now(), broker_epoch), following.due())
            };
            let Some(mut request) = request else {
                if let Some(due) = due {
                    let wait = due.saturating_duration_since(clock.now());
                    self.after(wait, Event::Fetchers(broker, life));
                }
                continue;
            };
            self.mislead(broker, &state, &mut request);
            let wait = Duration::from_millis(request.max_wait_ms.max(0) as u64) + CALL_WAIT;
            let frame = clients::frame(&request, clients::FETCH);
            let call = self.call(Caller::Fetcher { broker, life, leader }, broker, leader as usize, frame, wait);
            if let Some(process) = &mut self.servers[broker].process {
                process.fetches.insert(leader, Fetching::Asked(call));
            }
        }
    }

    /// Breaks a rule, where the run is to show that this is noticed.
    fn mislead(&mut self, broker: usize, state: &BrokerState, request: &mut protocol::messages::fetch::FetchRequest) {
        for asked in request.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            match self.plan.mischief {
                Mischief::SkipEpochCheck => {
                    asked.current_leader_epoch = -1;
                    asked.last_fetched_epoch = -1;
                }
                Mischief::TruncateToHighWatermark => {
                    let key = (broker, asked.partition);
                    let epoch = asked.current_leader_epoch;
                    if self.followed_in.insert(key, epoch) != Some(epoch)
                        && let Some(hosted) = state.replicas.get(TOPIC, asked.partition)
                    {
                        let end = EpochEnd { epoch: LeaderEpoch::NONE, end_offset: hosted.high_watermark() };
                        // A replica that leads by now cuts nothing.
                        let _ = hosted.truncate_to_leader(LeaderEpoch(epoch), end);
                        asked.fetch_offset = hosted.log().log_end_offset().0;
                        asked.last_fetched_epoch = hosted.log().latest_epoch().map_or(-1, |epoch| epoch.0);
                    }
                }
                Mischief::None | Mischief::AcknowledgeBeforeIsr => {}
            }
        }
    }

    fn fetched(&mut self, broker: usize, life: u64, leader: i32, frame: Option<Bytes>) -> Result<(), Violation> {
        let clock = self.clock(broker);
        let until = self.now() + FETCHER_PAUSE;
        let Some(state) = self.servers[broker].state().cloned().filter(|_| self.servers[broker].life == life) else {
            return Ok(());
        };
        let Some(process) = &mut self.servers[broker].process else { return Ok(()) };
        process.fetches.remove(&leader);
        let Some(fetcher) = state.replicas.fetchers().all().into_iter().find(|fetcher| fetcher.leader().0 == leader)
        else {
            return Ok(());
        };
        let response =
            frame.and_then(|frame| clients::answer::<protocol::messages::fetch::FetchRequest>(frame, clients::FETCH));
        let is_refused = {
            let _host = process.host.enter();
            match response {
                Some(response) => {
                    let taken = fetcher.following().take(response, clock.now());
                    for hosted in &taken.to_flush {
                        let end = hosted.log().log_end_offset();
                        state.replicas.logs().flusher().request(hosted.log(), end, Box::new(|_| {}));
                    }
                    taken.refused
                }
                None => {
                    fetcher.following().disconnected();
                    true
                }
            }
        };
        if is_refused {
            process.fetches.insert(leader, Fetching::Paused(until));
            self.at(until, Event::Fetchers(broker, life));
        }
        self.run(broker)
    }
}

/// Calls.
impl World {
    fn call(&mut self, from: Caller, node: Node, to: usize, frame: Bytes, wait: Duration) -> u64 {
        self.next_call += 1;
        let call = self.next_call;
        self.calls.insert(call, Call { from, to });
        for delay in self.network.fates(&mut self.chance, node, to) {
            self.after(delay, Event::Request { call, to, frame: frame.clone() });
        }
        self.after(wait, Event::GiveUp(call));
        call
    }

    fn requested(&mut self, call: u64, to: usize, frame: Bytes) -> Result<(), Violation> {
        match self.servers.get_mut(to).and_then(|server| server.process.as_mut()) {
            Some(process) => {
                process.request(call, frame);
                self.run(to)
            }
            None => {
                self.answer(to, call, None);
                Ok(())
            }
        }
    }

    fn answer(&mut self, broker: usize, call: u64, frame: Option<Bytes>) {
        let Some(made) = self.calls.get(&call) else { return };
        let node = match made.from {
            Caller::Fetcher { broker, .. } => broker,
            Caller::Producer(producer, _) => self.producer_node(producer),
            Caller::Consumer(consumer, _) => self.consumer_node(consumer),
        };
        for delay in self.network.fates(&mut self.chance, broker, node) {
            self.after(delay, Event::Answer { call, frame: frame.clone() });
        }
    }

    fn answered(&mut self, call: Call, frame: Option<Bytes>) -> Result<(), Violation> {
        match call.from {
            Caller::Fetcher { broker, life, leader } => self.fetched(broker, life, leader, frame),
            Caller::Producer(producer, purpose) => self.producer_answered(producer, purpose, call.to, frame),
            Caller::Consumer(consumer, purpose) => self.consumer_answered(consumer, purpose, frame),
        }
    }
}

/// Clients.
impl World {
    fn produce(&mut self, producer: usize) {
        let node = self.producer_node(producer);
        if self.producers[producer].id.is_none() {
            if !self.producers[producer].leaders.asking {
                self.producers[producer].leaders.asking = true;
                let to = self.chance.below(self.plan.brokers as u64) as usize;
                let frame = clients::frame(&clients::producer_id(), clients::INIT_PRODUCER_ID);
                self.call(Caller::Producer(producer, Purpose::ProducerId), node, to, frame, CALL_WAIT);
            }
            return;
        }
        let now = self.now();
        for partition in 0..self.plan.partitions as i32 {
            let lane = &self.producers[producer].lanes[partition as usize];
            if lane.in_flight {
                continue;
            }
            if lane.batch.is_empty() {
                if !self.is_busy {
                    continue;
                }
                let values = self.producers[producer].fill(partition, &mut self.chance, now).to_vec();
                values.into_iter().for_each(|value| self.history.sent(value));
            }
            let Some((leader, _)) = self.producers[producer].leaders.of(partition) else {
                if !std::mem::replace(&mut self.producers[producer].leaders.asking, true) {
                    self.ask_who_leads(Caller::Producer(producer, Purpose::Metadata), node);
                }
                continue;
            };
            let acks = if self.plan.mischief == Mischief::AcknowledgeBeforeIsr { 1 } else { -1 };
            let now_ms = self.clock(0).now_ms();
            let request = self.producers[producer].request(partition, now_ms, acks);
            self.producers[producer].lanes[partition as usize].in_flight = true;
            let frame = clients::frame(&request, clients::PRODUCE);
            let caller = Caller::Producer(producer, Purpose::Produce(partition));
            self.call(caller, node, leader as usize, frame, CALL_WAIT);
        }
    }

    fn ask_who_leads(&mut self, caller: Caller, node: Node) {
        let to = self.chance.below(self.plan.brokers as u64) as usize;
        let frame = clients::frame(&clients::metadata(), clients::METADATA);
        self.call(caller, node, to, frame, CALL_WAIT);
    }

    fn producer_answered(
        &mut self,
        producer: usize,
        purpose: Purpose,
        broker: usize,
        frame: Option<Bytes>,
    ) -> Result<(), Violation> {
        use protocol::error::ErrorCode;
        use protocol::messages::init_producer_id::InitProducerIdRequest;
        use protocol::messages::metadata::MetadataRequest;
        use protocol::messages::produce::ProduceRequest;
        let one = &mut self.producers[producer];
        match purpose {
            Purpose::ProducerId => {
                one.leaders.asking = false;
                let answer =
                    frame.and_then(|frame| clients::answer::<InitProducerIdRequest>(frame, clients::INIT_PRODUCER_ID));
                if let Some(answer) = answer.filter(|answer| answer.error_code == 0) {
                    one.id = Some((answer.producer_id, answer.producer_epoch));
                }
            }
            Purpose::Metadata | Purpose::Consume(_) => {
                one.leaders.asking = false;
                if let Some(answer) =
                    frame.and_then(|frame| clients::answer::<MetadataRequest>(frame, clients::METADATA))
                {
                    one.leaders.learn(&answer);
                }
            }
            Purpose::Produce(partition) => {
                let lane = &mut one.lanes[partition as usize];
                lane.in_flight = false;
                let answer = frame.and_then(|frame| clients::answer::<ProduceRequest>(frame, clients::PRODUCE));
                let Some(told) = answer
                    .and_then(|answer| answer.responses.into_iter().next())
                    .and_then(|topic| topic.partition_responses.into_iter().next())
                else {
                    one.leaders.forget(partition);
                    return Ok(());
                };
                match ErrorCode(told.error_code) {
                    ErrorCode::NONE => {
                        let values = one.acknowledged(partition);
                        let base = told.base_offset;
                        self.say(|| {
                            format!("producer {producer}: broker {broker} has {partition}-{base}.. {values:x?}")
                        });
                        self.history.acknowledge(partition, base, &values)?;
                    }
                    code if clients::is_retriable(code) => one.leaders.forget(partition),
                    code => {
                        let (sequence, first) = (lane.sequence, lane.batch.first().copied().unwrap_or_default());
                        return broken(
                            "I5",
                            format!(
                                "broker {broker}, partition {partition}: error {code} for producer {producer}, which sends sequence {sequence} ({first:x}) \
                                 after all before it were acknowledged"
                            ),
                        );
                    }
                }
            }
        }
        Ok(())
    }

    fn consume(&mut self, consumer: usize) {
        let node = self.consumer_node(consumer);
        for partition in 0..self.plan.partitions as i32 {
            let position = self.consumers[consumer].positions.entry(partition).or_default();
            if position.in_flight {
                continue;
            }
            let offset = position.offset;
            let Some((leader, epoch)) = self.consumers[consumer].leaders.of(partition) else {
                if !std::mem::replace(&mut self.consumers[consumer].leaders.asking, true) {
                    self.ask_who_leads(Caller::Consumer(consumer, Purpose::Metadata), node);
                }
                continue;
            };
            if let Some(position) = self.consumers[consumer].positions.get_mut(&partition) {
                position.in_flight = true;
            }
            let frame = clients::frame(&clients::consume(partition, offset, epoch), clients::FETCH);
            let caller = Caller::Consumer(consumer, Purpose::Consume(partition));
            self.call(caller, node, leader as usize, frame, CALL_WAIT);
        }
    }

    fn consumer_answered(&mut self, consumer: usize, purpose: Purpose, frame: Option<Bytes>) -> Result<(), Violation> {
        use protocol::error::ErrorCode;
        use protocol::messages::fetch::FetchRequest;
        use protocol::messages::metadata::MetadataRequest;
        let one = &mut self.consumers[consumer];
        let Purpose::Consume(partition) = purpose else {
            one.leaders.asking = false;
            if let Some(answer) = frame.and_then(|frame| clients::answer::<MetadataRequest>(frame, clients::METADATA)) {
                one.leaders.learn(&answer);
            }
            return Ok(());
        };
        let position = one.positions.entry(partition).or_default();
        position.in_flight = false;
        let answer = frame.and_then(|frame| clients::answer::<FetchRequest>(frame, clients::FETCH));
        let told = answer
            .filter(|answer| answer.error_code == 0)
            .and_then(|answer| answer.responses.into_iter().next())
            .and_then(|topic| topic.partitions.into_iter().next());
        let Some(told) = told else {
            one.leaders.forget(partition);
            return Ok(());
        };
        match ErrorCode(told.error_code) {
            ErrorCode::NONE => {}
            ErrorCode::OFFSET_OUT_OF_RANGE if self.plan.committed_survives() => {
                return broken(
                    "I6",
                    format!("partition {partition}: a reader at {} is beyond its leader's log", position.offset),
                );
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                position.offset = 0;
                return Ok(());
            }
            _ => {
                one.leaders.forget(partition);
                return Ok(());
            }
        }
        let records = told.records.into_bytes();
        let values = clients::values(records).map_err(|what| Violation { invariant: "I17", what })?;
        let from = position.offset;
        for (offset, value) in values.into_iter().filter(|(offset, _)| *offset >= from) {
            if offset >= told.high_watermark {
                return broken(
                    "I6",
                    format!(
                        "partition {partition}: offset {offset} was given with a high watermark of {}",
                        told.high_watermark
                    ),
                );
            }
            position.offset = offset + 1;
            if self.plan.committed_survives() {
                self.history.read(partition, offset, value)?;
            }
        }
        Ok(())
    }
}

/// ZooKeeper.
impl World {
    fn net_call(&mut self, broker: usize, life: u64, call: NetCall) {
        let zookeeper = self.zookeeper();
        match call {
            NetCall::Connect { limit, answer, .. } => {
                let is_reached = !self.network.is_cut(broker, zookeeper) && !self.network.is_cut(zookeeper, broker);
                let takes = if is_reached { self.network.delay(&mut self.chance) * 2 } else { limit };
                self.after(takes, Event::Connect(broker, life, answer, is_reached));
            }
            NetCall::Send { connection, bytes } => {
                self.send_piece(connection, Way::Up, Piece::Bytes(Bytes::from(bytes)));
            }
            NetCall::Close { connection } => {
                self.send_piece(connection, Way::Up, Piece::End);
                self.network.forget(connection);
            }
        }
    }

    fn send_piece(&mut self, stream: u64, way: Way, piece: Piece) {
        let (now, zookeeper) = (self.now(), self.zookeeper());
        let arrives = self.network.send(&mut self.chance, zookeeper, stream, way, piece.clone(), now);
        if let Some(at) = arrives {
            let event = if way == Way::Up { Event::Up(stream, piece) } else { Event::Down(stream, piece) };
            self.at(at, event);
        }
    }

    /// Sends what cut links have held back and that may go on now.
    pub fn release_streams(&mut self) {
        let zookeeper = self.zookeeper();
        for (stream, way, piece) in self.network.take_released(zookeeper) {
            self.send_piece(stream, way, piece);
        }
    }

    fn connected(
        &mut self,
        broker: usize,
        life: u64,
        answer: oneshot::Sender<std::io::Result<SimStream>>,
        is_reached: bool,
    ) -> Result<(), Violation> {
        let Some(host) = self.process(broker, life).map(|process| process.host.clone()) else { return Ok(()) };
        if is_reached {
            let mut near = None;
            let stream = self.network.open(broker, |number| {
                let (stream, far) = host.connection(number);
                near = Some(stream);
                far
            });
            self.keeper.open(stream);
            if let Some(near) = near {
                // Who asked may have given up by now.
                let _ = answer.send(Ok(near));
            }
        } else {
            let _ = answer.send(Err(std::io::ErrorKind::TimedOut.into()));
        }
        self.run(broker)
    }

    fn up(&mut self, stream: u64, piece: Piece) -> Result<(), Violation> {
        match piece {
            Piece::Bytes(bytes) => self.keeper.receive(stream, &bytes),
            Piece::End => self.keeper.close(stream),
        }
        self.hear_keeper()
    }

    fn down(&mut self, stream: u64, piece: Piece) -> Result<(), Violation> {
        let Some(open) = self.network.stream(stream) else { return Ok(()) };
        let broker = open.node;
        match piece {
            Piece::Bytes(bytes) => open.far.deliver(&bytes),
            Piece::End => open.far.end(None),
        }
        self.run(broker)
    }

    /// Passes on what ZooKeeper says, and looks at what has changed in its tree.
    pub fn hear_keeper(&mut self) -> Result<(), Violation> {
        for sent in self.keeper.take_sent() {
            if !sent.bytes.is_empty() {
                self.send_piece(sent.connection, Way::Down, Piece::Bytes(sent.bytes));
            }
            if sent.closes {
                self.send_piece(sent.connection, Way::Down, Piece::End);
            }
        }
        for partition in 0..self.plan.partitions as i32 {
            let Some(state) = self.state_of(partition) else { continue };
            let seen = self.seen_states[partition as usize].replace(state.zk_version);
            if seen != Some(state.zk_version) {
                self.say(|| {
                    let StateZnode { leader, leader_epoch, isr, .. } = &state.znode;
                    format!(
                        "partition {partition}: leader {leader} of epoch {leader_epoch}, ISR {isr:?}, version {}",
                        state.zk_version
                    )
                });
                self.history.elected(partition, state.leader, state.leader_epoch)?;
            }
        }
        Ok(())
    }

    /// What the tree says of a partition.
    #[must_use]
    pub fn state_of(&self, partition: Partition) -> Option<PartitionState> {
        let path = paths::partition_state(TOPIC, partition);
        let (data, stat) = self.keeper.get(&path)?;
        let znode = StateZnode::parse(&path, &data).ok()?;
        Some(PartitionState { znode, zk_version: stat.version })
    }
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::End => u64::MAX,
        }
    }
}
