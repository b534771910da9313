//! One znode's news, and the image after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::zookeeper::znodes::TopicAssignment;
use protocol::types::Uuid;

use super::image::{Image, LiveBroker, Partition, PartitionState, Topic};
use crate::config::{Settings, TopicConfig};

/// What a znode says now; nothing where it is gone.
#[derive(Debug, Clone)]
pub enum Change {
    /// `/brokers/ids/N`.
    Broker(i32, Option<LiveBroker>),
    /// `/controller`.
    Controller(Option<i32>),
    /// `/brokers/topics/T`.
    Topic(Arc<str>, Option<(TopicAssignment, i32)>),
    /// `/brokers/topics/T/partitions/P/state`.
    State(Arc<str>, i32, Option<PartitionState>),
    /// `/config/topics/T`.
    TopicOverrides(Arc<str>, Option<BTreeMap<String, String>>),
    /// `/admin/delete_topics/T`.
    Deletion(Arc<str>, bool),
    /// `/admin/preferred_replica_election`: whether it is there.
    PreferredElection(bool),
    /// `/admin/reassign_partitions`: whether it is there.
    Reassignment(bool),
}

impl Image {
    /// Takes a change in. News older than what the image holds (by the znode's version) is left out.
    pub fn apply(&mut self, change: Change, settings: &Settings) {
        match change {
            Change::Broker(id, Some(broker)) => {
                self.brokers.insert(id, Arc::new(broker));
            }
            Change::Broker(id, None) => {
                self.brokers.remove(&id);
            }
            Change::Controller(controller) => self.controller = controller,
            Change::Topic(name, assignment) => self.apply_topic(name, assignment, settings),
            Change::State(topic, partition, state) => self.apply_state(&topic, partition, state),
            Change::TopicOverrides(name, overrides) => self.apply_overrides(name, overrides, settings),
            Change::Deletion(name, true) => {
                self.deletions.insert(name);
            }
            Change::Deletion(name, false) => {
                self.deletions.remove(&name);
            }
            Change::PreferredElection(asked) => self.preferred_election = asked,
            Change::Reassignment(asked) => self.reassignment = asked,
        }
    }

    fn apply_topic(&mut self, name: Arc<str>, read: Option<(TopicAssignment, i32)>, settings: &Settings) {
        let old = self.topics.get(&name).cloned();
        let Some((assignment, zk_version)) = read else {
            if let Some(old) = old {
                self.topic_ids.remove(&old.id);
                self.topics.remove(&name);
            }
            return;
        };
        let id = assignment.topic_id.unwrap_or_default();
        // A topic that was deleted and made again keeps nothing of its old partitions.
        let same = old.as_ref().filter(|old| old.id == id || old.id == Uuid::ZERO);
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
        if let Some(old) = &old {
            self.topic_ids.remove(&old.id);
        }
        if id != Uuid::ZERO {
            self.topic_ids.insert(id, name.clone());
        }
        let topic = Topic { name: name.clone(), id, assignment, zk_version, partitions, overrides, config };
        self.topics.insert(name, Arc::new(topic));
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

#[cfg(test)]
mod tests {
    use client::zookeeper::znodes;

    use super::*;

    fn state(zk_version: i32, leader: i32) -> PartitionState {
        let znode = znodes::PartitionState { leader, isr: vec![leader], controller_epoch: 1, ..Default::default() };
        PartitionState { znode, zk_version }
    }

    fn assignment(id: u8, partitions: i32) -> (TopicAssignment, i32) {
        let assignment = TopicAssignment {
            topic_id: Some(Uuid([id; 16])),
            partitions: (0..partitions).map(|partition| (partition, vec![0])).collect(),
            ..Default::default()
        };
        (assignment, 0)
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
}
