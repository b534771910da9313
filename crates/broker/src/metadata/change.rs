//! One znode's news, and the image after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::zookeeper::znodes::TopicAssignment;
use protocol::types::{BrokerId, Uuid};
use replication::{BrokerEpoch, LiveBrokers};

use super::image::{Image, LiveBroker, Partition, PartitionState, ReassignmentRequest, Topic};
use crate::config::{Settings, TopicConfig};

/// What a znode says now; nothing where it is gone.
#[derive(Debug, Clone)]
pub enum Change {
    /// `/brokers/ids/N`.
    Broker(i32, Option<LiveBroker>),
    /// `/controller`.
    Controller(Option<i32>),
    /// `/brokers/topics/T`.
    Topic(Arc<str>, Option<TopicRead>),
    /// `/brokers/topics/T/partitions/P/state`.
    State(Arc<str>, i32, Option<PartitionState>),
    /// `/config/topics/T`.
    TopicOverrides(Arc<str>, Option<BTreeMap<String, String>>),
    /// `/config/brokers/N`, or, without a number, `/config/brokers/<default>`.
    BrokerOverrides(Option<i32>, Option<BTreeMap<String, String>>),
    /// `/admin/delete_topics/T`.
    Deletion(Arc<str>, bool),
    /// `/admin/preferred_replica_election`: the partitions it names.
    PreferredElection(Option<Vec<(String, i32)>>),
    /// `/admin/reassign_partitions`.
    Reassignment(Option<ReassignmentRequest>),
}

/// A topic's znode as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicRead {
    /// What it says.
    pub assignment: TopicAssignment,
    /// Its version, for conditional writes.
    pub zk_version: i32,
    /// When it was created: another topic of the same name has another one.
    pub czxid: i64,
}

/// Deleted topics that an image remembers, so that replicas that skip images still learn of a deletion.
const DELETED_MAX: usize = 10_000;

impl Image {
    /// Takes a change in. News older than what the image holds (by the znode's version) is left out.
    pub fn apply(&mut self, change: Change, settings: &Settings) {
        match change {
            Change::Broker(id, broker) => {
                match broker {
                    Some(broker) => self.brokers.insert(id, Arc::new(broker)),
                    None => self.brokers.remove(&id),
                };
                self.live = Arc::new(live(self.brokers.values()));
            }
            Change::Controller(controller) => self.controller = controller,
            Change::Topic(name, assignment) => self.apply_topic(name, assignment, settings),
            Change::State(topic, partition, state) => self.apply_state(&topic, partition, state),
            Change::TopicOverrides(name, overrides) => self.apply_overrides(name, overrides, settings),
            Change::BrokerOverrides(broker, Some(overrides)) if !overrides.is_empty() => {
                self.broker_overrides.insert(broker, Arc::new(overrides));
            }
            Change::BrokerOverrides(broker, _) => {
                self.broker_overrides.remove(&broker);
            }
            Change::Deletion(name, true) => {
                self.deletions.insert(name);
            }
            Change::Deletion(name, false) => {
                self.deletions.remove(&name);
            }
            Change::PreferredElection(asked) => self.preferred_election = asked.map(Arc::new),
            Change::Reassignment(asked) => self.reassignment = asked.map(Arc::new),
        }
    }

    fn apply_topic(&mut self, name: Arc<str>, read: Option<TopicRead>, settings: &Settings) {
        let old = self.topics.get(&name).cloned();
        if let Some(old) = &old {
            self.topic_ids.remove(&old.id);
        }
        let Some(TopicRead { assignment, zk_version, czxid }) = read else {
            if old.is_some() {
                self.topics.remove(&name);
                if self.deletions.contains(&name) {
                    self.deleted.insert(name);
                }
                if self.deleted.len() > DELETED_MAX {
                    self.deleted.pop_first();
                }
            }
            return;
        };
        self.deleted.remove(&name);
        // A topic that was deleted and made again keeps nothing of its old partitions.
        let same = old.as_ref().filter(|old| old.czxid == czxid);
        // Tools before 2.8 write the znode without the id when they add partitions: it is the same topic all the same.
        let id = assignment.topic_id.or(same.map(|old| old.id)).unwrap_or_default();
        let partitions = assignment.partitions.iter().map(|(number, replicas)| Partition {
            partition: *number,
            replicas: replicas.clone(),
            state: same.and_then(|old| old.partition(*number)).and_then(|partition| partition.state.clone()),
        });
        let partitions = partitions.collect();
        let overrides = self.topic_overrides.get(&name).cloned().unwrap_or_default();
        let config = match same {
            Some(old) if old.overrides == overrides => old.config.clone(),
            _ => Arc::new(TopicConfig::new(&overrides, settings)),
        };
        if id != Uuid::ZERO {
            self.topic_ids.insert(id, name.clone());
        }
        let topic = Topic { name: name.clone(), id, assignment, zk_version, czxid, partitions, overrides, config };
        self.topics.insert(name, Arc::new(topic));
    }

    /// Takes over from an earlier image what a full reading cannot show: the ids of topics whose znodes an old tool wrote without, and deletions that were seen.
    pub fn carry_over(&mut self, earlier: &Image) {
        for (name, topic) in &mut self.topics {
            let known = earlier.topics.get(name).filter(|known| known.czxid == topic.czxid && topic.id == Uuid::ZERO);
            if let Some(known) = known {
                Arc::make_mut(topic).id = known.id;
                self.topic_ids.insert(known.id, name.clone());
            }
        }
        let gone = earlier.deletions.iter().filter(|name| earlier.topics.contains_key(*name));
        let gone = gone.chain(&earlier.deleted).filter(|name| !self.topics.contains_key(*name));
        self.deleted = gone.cloned().collect();
    }

    fn apply_state(&mut self, topic: &str, partition: i32, state: Option<PartitionState>) {
        let Some(topic) = self.topics.get_mut(topic) else { return };
        let Ok(at) = topic.partitions.binary_search_by_key(&partition, |partition| partition.partition) else { return };
        let known = topic.partitions[at].state.as_ref();
        if known == state.as_ref()
            || known.zip(state.as_ref()).is_some_and(|(known, new)| new.zk_version < known.zk_version)
        {
            return;
        }
        Arc::make_mut(topic).partitions[at].state = state;
    }

    fn apply_overrides(&mut self, name: Arc<str>, overrides: Option<BTreeMap<String, String>>, settings: &Settings) {
        let overrides = Arc::new(overrides.unwrap_or_default());
        if let Some(topic) = self.topics.get_mut(&name)
            && topic.overrides != overrides
        {
            let topic = Arc::make_mut(topic);
            topic.config = Arc::new(TopicConfig::new(&overrides, settings));
            topic.overrides = overrides.clone();
        }
        if overrides.is_empty() {
            self.topic_overrides.remove(&name);
        } else {
            self.topic_overrides.insert(name, overrides);
        }
    }
}

/// Registrations in the words of the replication rules.
fn live<'a>(brokers: impl Iterator<Item = &'a Arc<LiveBroker>>) -> LiveBrokers {
    let mut live = LiveBrokers::new();
    for broker in brokers {
        live.register(BrokerId(broker.id), BrokerEpoch(broker.epoch));
        if broker.shutting_down {
            live.set_shutting_down(BrokerId(broker.id));
        }
    }
    live
}

#[cfg(test)]
mod tests {
    use client::zookeeper::znodes;

    use super::*;

    fn state(zk_version: i32, leader: i32) -> PartitionState {
        let znode = znodes::PartitionState { leader, isr: vec![leader], controller_epoch: 1, ..Default::default() };
        PartitionState { znode, zk_version }
    }

    fn assignment(id: u8, partitions: i32) -> TopicRead {
        let assignment = TopicAssignment {
            topic_id: Some(Uuid([id; 16])),
            partitions: (0..partitions).map(|partition| (partition, vec![0])).collect(),
            ..Default::default()
        };
        TopicRead { assignment, zk_version: 0, czxid: i64::from(id) }
    }

    fn image(changes: Vec<Change>) -> Image {
        let mut image = Image::default();
        for change in changes {
            image.apply(change, &Settings::default());
        }
        image
    }

    fn leader(image: &Image, partition: i32) -> Option<i32> {
        image.topic("t")?.partition(partition)?.state.as_ref().map(|state| state.leader)
    }

    #[test]
    fn grown_topics_keep_their_states_and_remade_ones_do_not() {
        let t: Arc<str> = "t".into();
        let made =
            vec![Change::Topic(t.clone(), Some(assignment(1, 1))), Change::State(t.clone(), 0, Some(state(0, 7)))];
        let mut grown = image(made);
        grown.apply(Change::Topic(t.clone(), Some(assignment(1, 2))), &Settings::default());
        assert_eq!((leader(&grown, 0), leader(&grown, 1)), (Some(7), None));
        grown.apply(Change::Topic(t.clone(), Some(assignment(2, 1))), &Settings::default());
        assert_eq!(leader(&grown, 0), None);
        assert!(grown.topic_by_id(Uuid([2; 16])).is_some());
    }

    #[test]
    fn old_news_of_a_state_is_left_out() {
        let t: Arc<str> = "t".into();
        let image = image(vec![
            Change::Topic(t.clone(), Some(assignment(1, 1))),
            Change::State(t.clone(), 0, Some(state(3, 1))),
            Change::State(t.clone(), 0, Some(state(2, 2))),
        ]);
        assert_eq!(leader(&image, 0), Some(1));
    }

    #[test]
    fn overrides_reach_the_topic_in_either_order() {
        let t: Arc<str> = "t".into();
        let overrides = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
        let before = image(vec![
            Change::TopicOverrides(t.clone(), Some(overrides.clone())),
            Change::Topic(t.clone(), Some(assignment(1, 1))),
        ]);
        let after = image(vec![
            Change::Topic(t.clone(), Some(assignment(1, 1))),
            Change::TopicOverrides(t.clone(), Some(overrides)),
        ]);
        assert_eq!(before.topic("t").unwrap().config.retention_ms, 5);
        assert_eq!(before.topic("t").unwrap().config, after.topic("t").unwrap().config);
    }

    #[test]
    fn a_topic_keeps_its_id_when_an_old_tool_writes_it_without() {
        let t: Arc<str> = "t".into();
        let without_id = || {
            let mut read = assignment(1, 2);
            read.assignment.topic_id = None;
            read
        };
        let first = image(vec![Change::Topic(t.clone(), Some(assignment(1, 1)))]);
        let mut altered = first.clone();
        altered.apply(Change::Topic(t.clone(), Some(without_id())), &Settings::default());
        assert_eq!(altered.topic("t").unwrap().id, Uuid([1; 16]));
        let mut read_again = image(vec![Change::Topic(t.clone(), Some(without_id()))]);
        read_again.carry_over(&first);
        assert_eq!(read_again.topic("t").unwrap().id, Uuid([1; 16]));
        let mut remade = first.clone();
        remade.apply(Change::Topic(t, Some(TopicRead { czxid: 9, ..without_id() })), &Settings::default());
        assert_eq!(remade.topic("t").unwrap().id, Uuid::ZERO);
    }

    #[test]
    fn a_deletion_that_was_asked_for_is_remembered_until_the_topic_is_made_again() {
        let t: Arc<str> = "t".into();
        let mut deleted = image(vec![
            Change::Topic(t.clone(), Some(assignment(1, 1))),
            Change::Deletion(t.clone(), true),
            Change::Topic(t.clone(), None),
            Change::Deletion(t.clone(), false),
        ]);
        assert!(deleted.deleted.contains("t"));
        deleted.apply(Change::Topic(t.clone(), Some(assignment(2, 1))), &Settings::default());
        assert!(deleted.deleted.is_empty());
        let vanished = image(vec![Change::Topic(t.clone(), Some(assignment(1, 1))), Change::Topic(t, None)]);
        assert!(vanished.deleted.is_empty());
    }
}
