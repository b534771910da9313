//! The topics of a run: the one that stands from its beginning to its end, and those that come and go.
//!
//! What is always true: the partitions of all topics stand in one row of numbers ([`Partition`]), in the order in which they came to be, and by these everything is kept that was
//! seen of them. A name may come again; then it is another topic, with numbers of its own, and nothing of the one before may be seen in it.

use std::ops::Range;
use std::time::Duration;

use protocol::types::Uuid;

use super::chance::Chance;
use super::history::Partition;

/// What is drawn for a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub name: &'static str,
    /// Its partitions.
    pub partitions: usize,
    /// Replicas of each.
    pub replicas: usize,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
}

impl TopicPlan {
    /// What a topic of a run is like.
    #[must_use]
    pub fn of(chance: &mut Chance, name: &'static str) -> TopicPlan {
        let replicas = chance.one_of(&[1, 2, 2, 3]);
        TopicPlan {
            name,
            partitions: chance.one_of(&[1, 1, 2]),
            replicas,
            min_insync_replicas: chance.between(1, replicas.min(2) as u64) as usize,
        }
    }
}

/// How far a topic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its creation is asked for. Whether it is there is not known.
    Asked,
    /// It was told to be there, so it has to be.
    Stands,
    /// Its deletion is asked for.
    Doomed,
    /// It was told to be gone, so it has to be.
    Gone,
}

/// A topic of a run.
#[derive(Debug, Clone)]
pub struct Topic {
    /// What was drawn for it.
    pub plan: TopicPlan,
    /// Its id; zero until it stands.
    pub id: Uuid,
    /// How far it is.
    pub fate: Fate,
    /// When its deletion was asked for last.
    pub doomed_at: Duration,
    /// Its partitions' numbers in the row of all.
    pub row: Range<Partition>,
    /// The replicas that each partition may have in the end: those it was told to have, and those that were asked for since.
    pub replicas: Vec<Vec<Vec<i32>>>,
    /// Old tools asked for moves, whose outcome nobody is told.
    pub is_doubtful: bool,
}

/// All topics of a run, in the order in which they came to be.
#[derive(Debug, Default)]
pub struct Topics {
    all: Vec<Topic>,
    /// The topic of each partition in the row.
    of: Vec<usize>,
}

impl Topics {
    /// One more topic, whose creation is asked for; gives its place.
    pub fn add(&mut self, plan: TopicPlan) -> usize {
        let (place, first) = (self.all.len(), self.of.len() as Partition);
        self.of.resize(self.of.len() + plan.partitions, place);
        let row = first..self.of.len() as Partition;
        self.all.push(Topic {
            plan,
            id: Uuid::ZERO,
            fate: Fate::Asked,
            doomed_at: Duration::ZERO,
            row,
            replicas: vec![Vec::new(); plan.partitions],
            is_doubtful: false,
        });
        place
    }

    /// It was told to be there, and the tree shows its id and its replicas.
    pub fn stands(&mut self, place: usize, id: Uuid, replicas: impl IntoIterator<Item = Vec<i32>>) {
        let topic = &mut self.all[place];
        topic.id = id;
        topic.fate = Fate::Stands;
        topic.replicas = replicas.into_iter().map(|replicas| vec![replicas]).collect();
    }

    /// The topic in this place.
    #[must_use]
    pub fn at(&self, place: usize) -> &Topic {
        &self.all[place]
    }

    /// As above.
    pub fn at_mut(&mut self, place: usize) -> &mut Topic {
        &mut self.all[place]
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Topic] {
        &self.all
    }

    /// Places of the topics that stand.
    #[must_use]
    pub fn standing(&self) -> Vec<usize> {
        (0..self.all.len()).filter(|place| self.all[*place].fate == Fate::Stands).collect()
    }

    /// Partitions of the topics that stand.
    #[must_use]
    pub fn partitions(&self) -> Vec<Partition> {
        self.all.iter().filter(|topic| topic.fate == Fate::Stands).flat_map(|topic| topic.row.clone()).collect()
    }

    /// Partitions there ever were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether there never was a topic.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// A partition's topic, and its number there.
    #[must_use]
    pub fn of(&self, partition: Partition) -> (&Topic, i32) {
        let topic = &self.all[self.of[partition as usize]];
        (topic, partition - topic.row.start)
    }

    /// Place of a partition's topic.
    #[must_use]
    pub fn place_of(&self, partition: Partition) -> usize {
        self.of[partition as usize]
    }

    /// Whether a partition's topic stands.
    #[must_use]
    pub fn is_standing(&self, partition: Partition) -> bool {
        self.of(partition).0.fate == Fate::Stands
    }

    /// A partition by its topic's id and its number there, while the topic stands.
    #[must_use]
    pub fn find(&self, id: Uuid, number: i32) -> Option<Partition> {
        let topic = self.all.iter().find(|topic| topic.id == id && topic.fate == Fate::Stands)?;
        Some(topic.row.start + number).filter(|partition| topic.row.contains(partition))
    }

    /// Whether a topic of this name is there, or may be.
    #[must_use]
    pub fn is_taken(&self, name: &str) -> bool {
        self.all.iter().any(|topic| topic.plan.name == name && topic.fate != Fate::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_again_is_another_topic() {
        let plan = TopicPlan { name: "a", partitions: 2, replicas: 1, min_insync_replicas: 1 };
        let mut topics = Topics::default();
        let first = topics.add(plan);
        topics.stands(first, Uuid([1; 16]), [vec![0], vec![1]]);
        assert_eq!((topics.find(Uuid([1; 16]), 1), topics.is_taken("a")), (Some(1), true));
        topics.at_mut(first).fate = Fate::Gone;
        assert_eq!((topics.find(Uuid([1; 16]), 1), topics.is_taken("a")), (None, false));
        let second = topics.add(plan);
        assert_eq!((topics.partitions(), topics.is_taken("a")), (Vec::new(), true));
        topics.stands(second, Uuid([2; 16]), [vec![0], vec![1]]);
        assert_eq!((topics.partitions(), topics.find(Uuid([2; 16]), 2)), (vec![2, 3], None));
        assert_eq!((topics.of(3).0.id, topics.of(3).1), (Uuid([2; 16]), 1));
    }
}
