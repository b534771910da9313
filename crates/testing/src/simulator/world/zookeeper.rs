//! ZooKeeper in a world: what it says, and what its tree says.

use broker::metadata::PartitionState;
use client::zookeeper::paths;
use client::zookeeper::znodes::{PartitionState as StateZnode, TopicAssignment};

use super::super::history::{Partition, Violation};
use super::super::streams::{Piece, Way};
use super::World;

impl World {
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
        let zxid = self.keeper.zxid();
        if std::mem::replace(&mut self.seen_zxid, zxid) == zxid {
            return Ok(());
        }
        for partition in self.catalogue.partitions() {
            let Some(state) = self.state_of(partition) else { continue };
            let seen = self.seen_states.insert(partition, state.zk_version);
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

    /// What the tree says of a topic of this name.
    #[must_use]
    pub fn assignment_of(&self, name: &str) -> Option<TopicAssignment> {
        let path = paths::topic(name);
        let (data, _) = self.keeper.get(&path)?;
        TopicAssignment::parse(&path, &data).ok()
    }

    /// What the tree says of a partition.
    #[must_use]
    pub fn state_of(&self, partition: Partition) -> Option<PartitionState> {
        let (topic, number) = self.catalogue.of(partition);
        let path = paths::partition_state(topic.plan.name, number);
        let (data, stat) = self.keeper.get(&path)?;
        let znode = StateZnode::parse(&path, &data).ok()?;
        Some(PartitionState { znode, zk_version: stat.version })
    }
}
