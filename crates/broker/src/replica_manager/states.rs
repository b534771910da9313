//! The one task that writes partition states to ZooKeeper on behalf of their leaders: ISR changes, and new epochs after an unclean start.
//!
//! Requests that are waiting together go out together: a start after a crash with 10,000 partitions is some twenty multis and not 10,000 writes.

use std::sync::Arc;

use client::zookeeper::znodes::PartitionState as StateZnode;
use client::zookeeper::{ZkError, paths};
use protocol::types::{BrokerId, LeaderEpoch};
use replication::{IsrProposal, IsrUpdate, LeaderAndIsr};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::HostedPartition;
use super::ReplicaManager;
use crate::control::ZooKeeper;
use crate::controller;
use crate::controller::plan::SetState;
use crate::metadata::{Change, PartitionState};
use crate::metrics::Counter;

/// Requests written together.
const TOGETHER_MAX: usize = 500;

/// What a partition asks of the tree.
pub enum StateRequest {
    /// Write this ISR.
    ProposeIsr(Arc<HostedPartition>, IsrProposal),
    /// Read the state again.
    Reread(Arc<HostedPartition>),
    /// Write this state, which differs by its epoch.
    Raise(Arc<HostedPartition>, LeaderAndIsr),
    /// Lead no more, where others are in sync: the log's directory failed or is full.
    GiveUp(Arc<HostedPartition>),
}

/// Where partitions put their requests. A partition has at most one of each kind under way, so the number of partitions bounds the queue.
#[derive(Clone)]
pub struct StateRequests(mpsc::UnboundedSender<StateRequest>);

impl StateRequests {
    /// A queue and its other end.
    #[must_use]
    pub fn new() -> (StateRequests, mpsc::UnboundedReceiver<StateRequest>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (StateRequests(sender), receiver)
    }

    pub(super) fn send(&self, request: StateRequest) {
        // The task is gone only while the broker stops; the tree needs no word of it then.
        let _ = self.0.send(request);
    }
}

/// What a written state was for.
enum Purpose {
    /// An ISR, and whether it is smaller or larger than the last one.
    Isr(LeaderEpoch, std::cmp::Ordering),
    Epoch,
    GiveUp,
}

/// ISR changes that were written (Kafka: `IsrShrinksPerSec`, `IsrExpandsPerSec`, `FailedIsrUpdatesPerSec` of `ReplicaManager`).
#[derive(Debug, Default)]
pub struct IsrCounters {
    /// A replica was dropped.
    pub shrinks: Counter,
    /// A replica came back.
    pub expands: Counter,
    /// Changes that were not written, or of which that is not known.
    pub failed_updates: Counter,
}

/// Writes until the broker stops.
pub async fn write_states(
    replicas: Arc<ReplicaManager>,
    zookeeper: ZooKeeper,
    mut requests: mpsc::UnboundedReceiver<StateRequest>,
) {
    let mut waiting = Vec::new();
    while requests.recv_many(&mut waiting, TOGETHER_MAX).await > 0 {
        let mut states = Vec::new();
        let mut purposes = Vec::new();
        for request in waiting.drain(..) {
            match request {
                StateRequest::ProposeIsr(hosted, proposal) => match proposed(&hosted, &proposal) {
                    Some(state) => {
                        info!(partition = %hosted.partition(), isr = ?proposal.isr, "changing the ISR");
                        states.push(state);
                        let before = hosted.last_state().map_or(0, |last| last.isr.len());
                        purposes.push((hosted, Purpose::Isr(proposal.leader_epoch, proposal.isr.len().cmp(&before))));
                    }
                    None => hosted.on_isr_update(proposal.leader_epoch, IsrUpdate::VersionConflict),
                },
                StateRequest::Raise(hosted, state) => {
                    if let Some(state) = raised(&hosted, &state) {
                        states.push(state);
                        purposes.push((hosted, Purpose::Epoch));
                    }
                }
                StateRequest::GiveUp(hosted) => {
                    if let Some(state) = given_up(replicas.id(), &hosted) {
                        info!(partition = %hosted.partition(), "leaving the lead to others: the log takes no appends");
                        states.push(state);
                        purposes.push((hosted, Purpose::GiveUp));
                    }
                }
                StateRequest::Reread(hosted) => reread(&replicas, &zookeeper, &hosted).await,
            }
        }
        if !states.is_empty() {
            write(&replicas, &zookeeper, states, purposes).await;
        }
    }
}

fn proposed(hosted: &HostedPartition, proposal: &IsrProposal) -> Option<SetState> {
    let last = hosted.last_state().filter(|last| last.zk_version == proposal.expected_partition_epoch)?;
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect();
    // A leader that was elected out of the ISR has recovered once it changes the ISR.
    let state = StateZnode {
        isr: ids(&proposal.isr),
        elr: ids(&proposal.elr),
        last_known_elr: ids(&proposal.last_known_elr),
        leader_recovery_state: None,
        ..last.znode
    };
    Some(set_state(hosted, state, last.zk_version))
}

fn raised(hosted: &HostedPartition, state: &LeaderAndIsr) -> Option<SetState> {
    let last = hosted.last_state().filter(|last| last.zk_version == state.partition_epoch)?;
    let state = StateZnode { leader_epoch: state.leader_epoch.0, ..last.znode };
    Some(set_state(hosted, state, last.zk_version))
}

/// Without this broker, and without a leader: the controller elects one of those that are in sync. Alone in the ISR it stays, for nobody else has all that was committed.
fn given_up(id: i32, hosted: &HostedPartition) -> Option<SetState> {
    let last = hosted.last_state().filter(|last| last.leader == id)?;
    let isr: Vec<i32> = last.isr.iter().copied().filter(|replica| *replica != id).collect();
    if isr.is_empty() {
        return None;
    }
    let state = StateZnode { leader: BrokerId::NONE.0, isr, ..last.znode };
    Some(set_state(hosted, state, last.zk_version))
}

fn set_state(hosted: &HostedPartition, state: StateZnode, expected: i32) -> SetState {
    let partition = hosted.partition();
    SetState { topic: partition.topic.clone(), partition: partition.partition, state, expected }
}

async fn write(
    replicas: &ReplicaManager,
    zookeeper: &ZooKeeper,
    states: Vec<SetState>,
    purposes: Vec<(Arc<HostedPartition>, Purpose)>,
) {
    let written = controller::write_states(&zookeeper.session(), None, states).await;
    for (hosted, purpose) in purposes {
        let partition = hosted.partition();
        let new = written.as_ref().ok().and_then(|changes| {
            changes.iter().find_map(|change| match change {
                Change::State(topic, number, Some(state))
                    if *topic == partition.topic && *number == partition.partition =>
                {
                    Some(state.clone())
                }
                _ => None,
            })
        });
        match (purpose, new, &written) {
            (Purpose::Isr(epoch, change), Some(state), _) => {
                match change {
                    std::cmp::Ordering::Less => replicas.isr_changes.shrinks.one(),
                    std::cmp::Ordering::Greater => replicas.isr_changes.expands.one(),
                    std::cmp::Ordering::Equal => {}
                }
                hosted.on_isr_update(epoch, IsrUpdate::Accepted { partition_epoch: state.zk_version });
                hosted.on_state(&hosted.replicas(), &state, &replicas.live());
            }
            (Purpose::Epoch | Purpose::GiveUp, Some(state), _) => {
                hosted.on_state(&hosted.replicas(), &state, &replicas.live())
            }
            (Purpose::Isr(epoch, _), None, Ok(_)) => {
                replicas.isr_changes.failed_updates.one();
                hosted.on_isr_update(epoch, IsrUpdate::VersionConflict);
            }
            (Purpose::Isr(epoch, _), None, Err(error)) => {
                replicas.isr_changes.failed_updates.one();
                debug!(partition = %partition, %error, "an ISR change has no answer");
                let unsent = matches!(error, ZkError::NotConnected { .. });
                hosted.on_isr_update(epoch, if unsent { IsrUpdate::NotWritten } else { IsrUpdate::Unknown });
            }
            // Somebody else wrote the state: the next image shows what.
            (Purpose::Epoch, None, Ok(_)) => {}
            // It is asked for again as long as the log is offline.
            (Purpose::GiveUp, None, _) => debug!(partition = %partition, "the lead is not given up yet"),
            (Purpose::Epoch, None, Err(error)) => {
                replicas.look_again(&partition.topic);
                warn!(partition = %partition, %error, "cannot raise a leader epoch; the next image tries again")
            }
        }
    }
}

async fn reread(replicas: &ReplicaManager, zookeeper: &ZooKeeper, hosted: &Arc<HostedPartition>) {
    let partition = hosted.partition();
    let path = paths::partition_state(&partition.topic, partition.partition);
    let read = zookeeper.session().try_get_data(&path).await;
    match read
        .and_then(|read| read.map(|(data, stat)| Ok((StateZnode::parse(&path, &data)?, stat.version))).transpose())
    {
        Ok(Some((znode, zk_version))) => {
            hosted.on_state(&hosted.replicas(), &PartitionState { znode, zk_version }, &replicas.live());
        }
        Ok(None) => {}
        Err(error) => {
            replicas.look_again(&partition.topic);
            warn!(%path, %error, "cannot read a partition state again; the next image brings it");
        }
    }
}
