//! Three replicas under random schedules: fetches and store writes are delayed, lost or answered late, brokers are killed, lose power, are declared dead
//! while they live, and hear of elections whenever they do. After every step:
//! - a high watermark never falls within one leadership or life, and never passes the log end;
//! - every record that was acknowledged is, at its offset, on every replica the store lists as in sync;
//! - what two replicas hold below both their high watermarks is the same.
//!
//! Power losses are played with `log.flush.before.ack=always`, which is what promises to survive them; there the third rule is not checked, because the
//! high watermark does not wait for disks.

use std::sync::Arc;

use proptest::prelude::*;
use protocol::types::{BrokerId, LeaderEpoch, Offset};
use tidemill_replication::election::{self, Election, Rules};
use tidemill_replication::epochs::{Divergence, divergence, truncation};
use tidemill_replication::*;

const REPLICAS: usize = 3;
const LAG_MS_MAX: i64 = 8_000;
const RECORDS_PER_FETCH: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    Append { node: usize, records: usize },
    SendFetch { node: usize },
    Deliver { message: usize },
    Lose { message: usize },
    HearOfState { node: usize },
    Tick { node: usize, ms: i64 },
    Flush { node: usize },
    Kill { node: usize, power_loss: bool },
    Restart { node: usize },
    ExpireSession { node: usize },
    Register { node: usize },
    RunController,
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..REPLICAS;
    prop_oneof![
        8 => (node.clone(), 1usize..3).prop_map(|(node, records)| Step::Append { node, records }),
        14 => node.clone().prop_map(|node| Step::SendFetch { node }),
        26 => (0usize..8).prop_map(|message| Step::Deliver { message }),
        3 => (0usize..8).prop_map(|message| Step::Lose { message }),
        14 => node.clone().prop_map(|node| Step::HearOfState { node }),
        5 => (node.clone(), 1_000i64..12_000).prop_map(|(node, ms)| Step::Tick { node, ms }),
        6 => node.clone().prop_map(|node| Step::Flush { node }),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, power_loss)| Step::Kill { node, power_loss }),
        6 => node.clone().prop_map(|node| Step::Restart { node }),
        1 => node.clone().prop_map(|node| Step::ExpireSession { node }),
        4 => node.prop_map(|node| Step::Register { node }),
        6 => Just(Step::RunController),
    ]
}

type Entry = (LeaderEpoch, u64);

#[derive(Debug, Clone)]
enum Message {
    Fetch {
        from: usize,
        request: u64,
        broker_epoch: BrokerEpoch,
        epoch: LeaderEpoch,
        to: usize,
        offset: usize,
        last: LeaderEpoch,
    },
    Records {
        to: usize,
        request: u64,
        epoch: LeaderEpoch,
        offset: usize,
        records: Vec<Entry>,
        high_watermark: Offset,
    },
    Diverging {
        to: usize,
        request: u64,
        epoch: LeaderEpoch,
        end: EpochEnd,
    },
    Refused {
        to: usize,
        request: u64,
    },
    WriteIsr {
        from: usize,
        life: u32,
        proposal: IsrProposal,
    },
    IsrAnswer {
        to: usize,
        life: u32,
        epoch: LeaderEpoch,
        update: IsrUpdate,
    },
    Reread {
        node: usize,
        life: u32,
    },
}

struct Node {
    /// `None` while it is down.
    partition: Option<Partition>,
    life: u32,
    broker_epoch: BrokerEpoch,
    log: Vec<Entry>,
    epochs: EpochCache,
    synced: usize,
    checkpoint: Offset,
    /// The fetch whose answer it waits for; answers to earlier ones are dropped.
    fetch_outstanding: Option<u64>,
    unanswered: Vec<(LeaderEpoch, Offset)>,
    /// High watermark last seen, with the life and epoch it was seen in.
    seen: (u32, LeaderEpoch, Offset),
}

struct Cluster {
    config: PartitionConfig,
    nodes: Vec<Node>,
    znode: LeaderAndIsr,
    live: LiveBrokers,
    messages: Vec<Message>,
    now_ms: i64,
    next_record: u64,
    next_zxid: i64,
    next_fetch: u64,
    acknowledged: Vec<(usize, u64)>,
}

fn broker(node: usize) -> BrokerId {
    BrokerId(node as i32)
}

fn assignment() -> Vec<BrokerId> {
    (0..REPLICAS).map(broker).collect()
}

impl Cluster {
    fn new(flush_before_ack: FlushBeforeAck, min_insync_replicas: usize) -> Cluster {
        let config = PartitionConfig { min_insync_replicas, replica_lag_time_ms_max: LAG_MS_MAX, flush_before_ack };
        let mut cluster = Cluster {
            config,
            nodes: Vec::new(),
            znode: LeaderAndIsr::new(broker(0), assignment()),
            live: LiveBrokers::new(),
            messages: Vec::new(),
            now_ms: 1_000_000,
            next_record: 0,
            next_zxid: 1,
            next_fetch: 0,
            acknowledged: Vec::new(),
        };
        for node in 0..REPLICAS {
            cluster.nodes.push(Node {
                partition: None,
                life: 0,
                broker_epoch: BrokerEpoch(0),
                log: Vec::new(),
                epochs: EpochCache::new(),
                synced: 0,
                checkpoint: Offset(0),
                fetch_outstanding: None,
                unanswered: Vec::new(),
                seen: (0, LeaderEpoch::NONE, Offset(0)),
            });
            cluster.restart(node);
        }
        cluster
    }

    fn restart(&mut self, node: usize) {
        if self.nodes[node].partition.is_some() {
            return;
        }
        self.register(node);
        let this = &mut self.nodes[node];
        let opened = OpenedLog {
            log_end: Offset(this.log.len() as i64),
            durable: Offset(this.synced as i64),
            high_watermark: this.checkpoint,
            clean: this.life == 0,
        };
        this.partition = Some(Partition::new(broker(node), assignment(), self.config, opened));
    }

    /// A new registration, as after an expired session.
    fn register(&mut self, node: usize) {
        self.next_zxid += 1;
        let epoch = BrokerEpoch(self.next_zxid);
        self.live.register(broker(node), epoch);
        self.nodes[node].broker_epoch = epoch;
    }

    fn kill(&mut self, node: usize, power_loss: bool) {
        let this = &mut self.nodes[node];
        let Some(partition) = this.partition.take() else { return };
        this.life += 1;
        this.fetch_outstanding = None;
        this.unanswered.clear();
        // Checkpoints are written now and then.
        if this.life.is_multiple_of(2) {
            this.checkpoint = partition.high_watermark();
        }
        if power_loss && self.config.flush_before_ack == FlushBeforeAck::Always {
            this.log.truncate(this.synced);
            this.epochs.truncate_from_end(Offset(this.synced as i64));
        }
    }

    fn flush(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        this.synced = this.log.len();
        let durable = Offset(this.synced as i64);
        self.apply(node, |partition, _| partition.on_flushed(durable));
    }

    /// Feeds an event to a node that is up and carries out what it asks for.
    fn apply(&mut self, node: usize, event: impl FnOnce(&mut Partition, i64) -> Effects) {
        let now_ms = self.now_ms;
        let Some(partition) = &mut self.nodes[node].partition else { return };
        for effect in event(partition, now_ms) {
            let this = &mut self.nodes[node];
            let life = this.life;
            match effect {
                Effect::BecomeLeader { leader_epoch, start_offset } => {
                    assert_eq!(start_offset.0, this.log.len() as i64);
                    this.epochs.assign(leader_epoch, start_offset);
                    this.fetch_outstanding = None;
                }
                Effect::BecomeFollower { .. } | Effect::BecomeOffline => this.fetch_outstanding = None,
                Effect::ProposeIsr(proposal) => self.messages.push(Message::WriteIsr { from: node, life, proposal }),
                Effect::RereadState => self.messages.push(Message::Reread { node, life }),
                Effect::RaiseLeaderEpoch(state) => {
                    if state.partition_epoch == self.znode.partition_epoch {
                        self.write(state);
                    }
                }
                Effect::AdvanceHighWatermark(_) | Effect::CheckAcks => {}
            }
        }
        self.answer_producers(node);
    }

    fn write(&mut self, mut state: LeaderAndIsr) {
        state.partition_epoch = self.znode.partition_epoch + 1;
        self.znode = state;
    }

    fn answer_producers(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let Some(partition) = &this.partition else { return };
        let (log, acknowledged) = (&this.log, &mut self.acknowledged);
        this.unanswered.retain(|(epoch, required)| match partition.ack_state(*epoch, *required) {
            AckState::Pending { .. } => true,
            AckState::NotLeader | AckState::NotEnoughReplicasAfterAppend => false,
            AckState::Ok => {
                let last = required.0 as usize - 1;
                acknowledged.push((last, log[last].1));
                false
            }
        });
    }

    fn append(&mut self, node: usize, records: usize) {
        let this = &mut self.nodes[node];
        let Some(partition) = &this.partition else { return };
        let Ok(epoch) = partition.check_append(true) else { return };
        for _ in 0..records {
            this.log.push((epoch, self.next_record));
            self.next_record += 1;
        }
        let log_end = Offset(this.log.len() as i64);
        this.unanswered.push((epoch, log_end));
        self.apply(node, |partition, now_ms| partition.on_append(log_end, now_ms));
    }

    fn send_fetch(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let Some(partition) = &this.partition else { return };
        let Role::Follower { leader } = partition.role() else { return };
        if this.fetch_outstanding.is_some() {
            return;
        }
        let to = leader.0 as usize;
        if partition.must_flush_before_fetch() {
            self.flush(node);
        }
        let this = &mut self.nodes[node];
        let Some(partition) = &this.partition else { return };
        self.next_fetch += 1;
        this.fetch_outstanding = Some(self.next_fetch);
        self.messages.push(Message::Fetch {
            from: node,
            request: self.next_fetch,
            broker_epoch: this.broker_epoch,
            epoch: partition.leader_epoch(),
            to,
            offset: this.log.len(),
            last: this.epochs.latest().unwrap_or(LeaderEpoch::NONE),
        });
    }

    fn is_current(&self, node: usize, life: u32) -> bool {
        self.nodes[node].partition.is_some() && self.nodes[node].life == life
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Fetch { from, request, broker_epoch, epoch, to, offset, last } => {
                let reply = self.serve_fetch(from, request, broker_epoch, epoch, to, offset, last);
                self.messages.push(reply);
            }
            Message::Records { to, request, epoch, offset, records, high_watermark } => {
                if !self.follows(to, request, epoch) {
                    return;
                }
                let this = &mut self.nodes[to];
                assert_eq!(offset, this.log.len());
                for (epoch, record) in records {
                    this.epochs.assign(epoch, Offset(this.log.len() as i64));
                    this.log.push((epoch, record));
                }
                let log_end = Offset(this.log.len() as i64);
                self.apply(to, |partition, now_ms| partition.on_append(log_end, now_ms));
                self.apply(to, |partition, _| partition.on_leader_high_watermark(epoch, high_watermark));
            }
            Message::Diverging { to, request, epoch, end } => {
                if !self.follows(to, request, epoch) {
                    return;
                }
                let this = &mut self.nodes[to];
                let Some(partition) = &mut this.partition else { return };
                let log_end = Offset(this.log.len() as i64);
                let cut = truncation(
                    |epoch| this.epochs.end_offset_for(epoch, log_end),
                    log_end,
                    partition.high_watermark(),
                    end,
                );
                this.log.truncate(cut.offset.0 as usize);
                this.epochs.truncate_from_end(cut.offset);
                this.synced = this.synced.min(this.log.len());
                let lost = partition.on_truncate(cut.offset);
                let may_lose = self.config.flush_before_ack == FlushBeforeAck::Always;
                assert!(!lost || may_lose, "committed records were truncated");
            }
            Message::Refused { to, request } => {
                if self.nodes[to].fetch_outstanding == Some(request) {
                    self.nodes[to].fetch_outstanding = None;
                }
            }
            Message::WriteIsr { from, life, proposal } => {
                let epoch = proposal.leader_epoch;
                let same = proposal.expected_partition_epoch == self.znode.partition_epoch;
                let update = if same {
                    assert_eq!((self.znode.leader, self.znode.leader_epoch), (broker(from), proposal.leader_epoch));
                    let IsrProposal { isr, elr, last_known_elr, .. } = proposal;
                    self.write(LeaderAndIsr { isr, elr, last_known_elr, ..self.znode.clone() });
                    IsrUpdate::Accepted { partition_epoch: self.znode.partition_epoch }
                } else {
                    IsrUpdate::VersionConflict
                };
                self.messages.push(Message::IsrAnswer { to: from, life, epoch, update });
            }
            Message::IsrAnswer { to, life, epoch, update } => {
                if self.is_current(to, life) {
                    self.apply(to, |partition, now_ms| partition.on_isr_update(epoch, update, now_ms));
                }
            }
            Message::Reread { node, life } => {
                if self.is_current(node, life) {
                    let state = self.znode.clone();
                    self.apply(node, |partition, now_ms| partition.on_state(&state, now_ms));
                }
            }
        }
    }

    /// A reply to a follower arrived: is it still the follower it was when it asked?
    fn follows(&mut self, node: usize, request: u64, epoch: LeaderEpoch) -> bool {
        let this = &mut self.nodes[node];
        if this.fetch_outstanding != Some(request) {
            return false;
        }
        let Some(partition) = &this.partition else { return false };
        let follows = matches!(partition.role(), Role::Follower { .. }) && partition.leader_epoch() == epoch;
        if follows {
            this.fetch_outstanding = None;
        }
        follows
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a fetch")]
    fn serve_fetch(
        &mut self,
        from: usize,
        request: u64,
        broker_epoch: BrokerEpoch,
        epoch: LeaderEpoch,
        to: usize,
        offset: usize,
        last: LeaderEpoch,
    ) -> Message {
        let refused = Message::Refused { to: from, request };
        let leader = &self.nodes[to];
        let Some(partition) = &leader.partition else { return refused };
        if partition.check_leader_epoch(epoch).is_err() || !partition.is_leader() {
            return refused;
        }
        let (log_end, fetch_offset) = (partition.log_end(), Offset(offset as i64));
        match divergence(&leader.epochs, log_end, last, fetch_offset) {
            Divergence::None => {}
            Divergence::At(end) => return Message::Diverging { to: from, request, epoch, end },
            Divergence::Unknown => panic!("a leader enters its epoch before it serves"),
        }
        let fetch = FollowerFetch {
            replica: broker(from),
            broker_epoch: Some(broker_epoch),
            offset: fetch_offset,
            log_start: None,
        };
        let mut refusal = None;
        self.apply(to, |partition, now_ms| {
            partition.on_follower_fetch(&fetch, now_ms).unwrap_or_else(|error| {
                refusal = Some(error);
                Effects::NONE
            })
        });
        if let Some(error) = refusal {
            assert!(matches!(error, ReplicationError::StaleBrokerEpoch { .. }), "{error}");
            return refused;
        }
        let leader = &self.nodes[to];
        let Some(partition) = &leader.partition else { return refused };
        let records = leader.log.iter().skip(offset).take(RECORDS_PER_FETCH).copied().collect();
        let high_watermark = partition.high_watermark();
        Message::Records { to: from, request, epoch, offset, records, high_watermark }
    }

    fn lose(&mut self, message: Message) {
        match message {
            Message::Fetch { from: to, request, .. }
            | Message::Records { to, request, .. }
            | Message::Diverging { to, request, .. }
            | Message::Refused { to, request } => self.deliver(Message::Refused { to, request }),
            // Whether the write or its answer was lost, its sender cannot tell.
            Message::WriteIsr { from: to, life, proposal: IsrProposal { leader_epoch: epoch, .. } }
            | Message::IsrAnswer { to, life, epoch, .. } => {
                self.deliver(Message::IsrAnswer { to, life, epoch, update: IsrUpdate::Unknown });
            }
            Message::Reread { .. } => self.messages.push(message),
        }
    }

    fn run_controller(&mut self) {
        let assignment = assignment();
        let min_insync_replicas = self.config.min_insync_replicas;
        let rules = Rules {
            assignment: &assignment,
            live: &self.live,
            min_insync_replicas,
            eligible_leader_replicas: election::keeps_elr(&self.znode, min_insync_replicas, assignment.len()),
        };
        let gone: Vec<BrokerId> = assignment.iter().copied().filter(|broker| !self.live.is_live(*broker)).collect();
        if let Some(next) = election::without_brokers(&gone, &[], Election::Any, &self.znode, &rules) {
            assert!(next.leader_epoch.0 <= self.znode.leader_epoch.0 + 1);
            assert!(next.leader == BrokerId::NONE || next.isr.contains(&next.leader));
            self.write(next);
        }
    }

    fn step(&mut self, step: &Step) {
        self.now_ms += 100;
        match *step {
            Step::Append { node, records } => self.append(node, records),
            Step::SendFetch { node } => self.send_fetch(node),
            Step::Deliver { message } if !self.messages.is_empty() => {
                let message = self.messages.remove(message % self.messages.len());
                self.deliver(message);
            }
            Step::Lose { message } if !self.messages.is_empty() => {
                let message = self.messages.remove(message % self.messages.len());
                self.lose(message);
            }
            Step::Deliver { .. } | Step::Lose { .. } => {}
            Step::HearOfState { node } => {
                let (state, live) = (self.znode.clone(), Arc::new(self.live.clone()));
                self.apply(node, |partition, now_ms| partition.on_live_brokers(live, now_ms));
                self.apply(node, |partition, now_ms| partition.on_state(&state, now_ms));
            }
            Step::Tick { node, ms } => {
                self.now_ms += ms;
                self.apply(node, |partition, now_ms| partition.on_tick(now_ms));
            }
            Step::Flush { node } => self.flush(node),
            Step::Kill { node, power_loss } => self.kill(node, power_loss),
            Step::Restart { node } => self.restart(node),
            Step::ExpireSession { node } => self.live.unregister(broker(node)),
            Step::Register { node } => {
                if self.nodes[node].partition.is_some() && !self.live.is_live(broker(node)) {
                    self.register(node);
                }
            }
            Step::RunController => {
                // A killed broker's session ends sooner or later.
                for node in 0..REPLICAS {
                    if self.nodes[node].partition.is_none() {
                        self.live.unregister(broker(node));
                    }
                }
                self.run_controller();
            }
        }
        self.check();
    }

    fn check(&mut self) {
        for this in &mut self.nodes {
            let Some(partition) = &this.partition else { continue };
            let (epoch, high_watermark) = (partition.leader_epoch(), partition.high_watermark());
            assert_eq!(partition.log_end().0, this.log.len() as i64);
            assert!(high_watermark <= partition.log_end());
            let (life, seen_epoch, seen) = this.seen;
            if (life, seen_epoch) == (this.life, epoch) && partition.is_leader() {
                assert!(high_watermark >= seen, "the high watermark fell from {seen} to {high_watermark}");
            }
            this.seen = (this.life, epoch, high_watermark);
        }
        for broker in &self.znode.isr {
            let log = &self.nodes[broker.0 as usize].log;
            for (offset, record) in &self.acknowledged {
                let held = log.get(*offset).map(|entry| entry.1);
                assert_eq!(held, Some(*record), "broker {broker} is in sync and lacks an acknowledged record");
            }
        }
        if self.config.flush_before_ack == FlushBeforeAck::Always {
            return;
        }
        let committed = |node: usize| {
            let this = &self.nodes[node];
            let end = this.partition.as_ref().map_or(0, |partition| partition.high_watermark().0 as usize);
            &this.log[..end]
        };
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            let (one, other) = (committed(one), committed(other));
            let shared = one.len().min(other.len());
            assert_eq!(one[..shared], other[..shared], "two committed histories");
        }
    }
}

fn check(flush: FlushBeforeAck, min_isr: usize, steps: &[Step]) -> usize {
    let mut cluster = Cluster::new(flush, min_isr);
    for step in steps {
        cluster.step(step);
    }
    cluster.acknowledged.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn killed_processes_lose_nothing_acknowledged(
        min_isr in 1usize..=3,
        steps in prop::collection::vec(step(), 1..400),
    ) {
        check(FlushBeforeAck::Auto, min_isr, &steps);
    }

    #[test]
    fn power_losses_lose_nothing_acknowledged_when_flushed(
        min_isr in 1usize..=3,
        steps in prop::collection::vec(step(), 1..400),
    ) {
        check(FlushBeforeAck::Always, min_isr, &steps);
    }
}

/// The schedules above must get somewhere: with no faults at all, everything is acknowledged.
#[test]
fn a_quiet_cluster_acknowledges_everything() {
    let mut steps: Vec<Step> = (0..REPLICAS).map(|node| Step::HearOfState { node }).collect();
    for _ in 0..20 {
        steps.push(Step::Append { node: 0, records: 1 });
        for node in [1, 2, 1, 2] {
            steps.extend([Step::SendFetch { node }, Step::Deliver { message: 0 }, Step::Deliver { message: 0 }]);
        }
    }
    assert_eq!(check(FlushBeforeAck::Auto, 2, &steps), 20);
}
