//! What brokers do in a world: start, run, fetch from each other, and end.

use std::sync::Arc;
use std::time::Duration;

use broker::replica_manager::HostedPartition;
use bytes::Bytes;
use protocol::messages::fetch::FetchRequest;
use protocol::types::LeaderEpoch;
use replication::EpochEnd;
use runtime::Clock;

use super::super::clients;
use super::super::history::{Partition, Violation, broken};
use super::super::plan::{Endings, Mischief, Tier};
use super::super::server::{Became, Fetching};
use super::super::take_panic;
use super::{CALL_WAIT, Caller, Event, World};

/// A fetcher's pause after a leader that gave no answer.
const FETCHER_PAUSE: Duration = Duration::from_millis(100);
/// How long a dead broker stays dead before somebody starts it again, in ms.
const RESTART_MS: (u64, u64) = (200, 4_000);

impl World {
    pub(super) fn clock(&self, broker: usize) -> Clock {
        Clock::Sim(self.time.clock(broker, self.plan.ahead_ms[broker]))
    }

    pub(super) fn start(&mut self, broker: usize) -> Result<(), Violation> {
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
        self.leave_streams(broker, power_cut);
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
        if let Some(panicked) = take_panic() {
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

    pub(super) fn plan_flush(&mut self, broker: usize) {
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
    pub(super) fn watch(&mut self, broker: usize) -> Result<(), Violation> {
        for partition in self.catalogue.partitions() {
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
        let (topic, number) = self.catalogue.of(partition);
        let hosted = self.servers[broker].state()?.replicas.get(topic.plan.name, number)?;
        // One of an earlier topic of this name is not this one.
        (hosted.topic_id() == topic.id).then_some(hosted)
    }

    /// Has the fetchers of a broker ask what they want to ask.
    pub(super) fn ask_leaders(&mut self, broker: usize) {
        if self.plan.tier == Tier::Streams || !self.servers[broker].is_serving() {
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
            let (request, due, unflushed) = {
                let mut following = fetcher.following();
                (following.request(clock.now(), broker_epoch), following.due(), following.take_unflushed())
            };
            for hosted in unflushed {
                let end = hosted.log().log_end_offset();
                state.replicas.logs().flusher().request(hosted.log(), end, Box::new(|_| {}));
            }
            let Some(mut request) = request else {
                if let Some(due) = due {
                    let at = self.time.now() + due.saturating_duration_since(clock.now());
                    if process.looks.insert(at) {
                        self.at(at, Event::Fetchers(broker, life));
                    }
                }
                continue;
            };
            self.mislead(broker, &mut request);
            let wait = Duration::from_millis(request.max_wait_ms.max(0) as u64) + CALL_WAIT;
            let frame = clients::frame(&request, clients::FETCH);
            let call = self.call(Caller::Fetcher { broker, life, leader }, broker, leader as usize, frame, wait);
            if let Some(process) = &mut self.servers[broker].process {
                process.fetches.insert(leader, Fetching::Asked(call));
            }
        }
    }

    /// Breaks a rule, where the run is to show that this is noticed.
    pub(super) fn mislead(&mut self, broker: usize, request: &mut FetchRequest) {
        let topics = request.topics.iter_mut().map(|topic| (topic.topic_id, &mut topic.partitions));
        for (topic_id, asked) in topics.flat_map(|(id, partitions)| partitions.iter_mut().map(move |asked| (id, asked)))
        {
            match self.plan.mischief {
                Mischief::SkipEpochCheck => {
                    asked.current_leader_epoch = -1;
                    asked.last_fetched_epoch = -1;
                }
                Mischief::TruncateToHighWatermark => {
                    let Some(partition) = self.catalogue.find(topic_id, asked.partition) else { continue };
                    let key = (broker, self.servers[broker].life, partition);
                    let epoch = asked.current_leader_epoch;
                    if self.followed_in.insert(key, epoch) != Some(epoch)
                        && let Some(hosted) = self.hosted(broker, partition)
                    {
                        let end = EpochEnd { epoch: LeaderEpoch::NONE, end_offset: hosted.high_watermark() };
                        // A replica that leads by now cuts nothing.
                        let _ = hosted.truncate_to_leader(LeaderEpoch(epoch), end);
                        asked.fetch_offset = hosted.log().log_end_offset().0;
                        asked.last_fetched_epoch = hosted.log().latest_epoch().map_or(-1, |epoch| epoch.0);
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn fetched(
        &mut self,
        broker: usize,
        life: u64,
        leader: i32,
        frame: Option<Bytes>,
    ) -> Result<(), Violation> {
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
        let response = frame.and_then(|frame| clients::answer::<FetchRequest>(frame, clients::FETCH));
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
