//! Replica fetchers: what this broker copies from the leaders of the partitions it follows (Kafka `ReplicaFetcherManager`, `AbstractFetcherThread`).
//!
//! There is one fetcher for each broker that leads something followed here. A partition tells the registry whom it follows, under its own lock, and so only leaves word in an
//! inbox; the fetcher reads the inbox before each request. Always true: a partition is followed by one fetcher at most; what a fetcher brings in is taken by the partition
//! only in the role and epoch it was asked for in, so an answer that comes late changes nothing.
//!
//! # Layout
//! - [`following`]: the partitions followed from one leader: the next request, and what to do with its answer. No sockets.
//! - [`task`]: the connection around it
//! - [`Fetchers`]: all of them

pub mod following;
pub mod task;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use protocol::types::{BrokerId, LeaderEpoch, TopicPartition};
use runtime::Clock;
use tokio::sync::Notify;

use crate::config::ReplicaFetchConfig;
use crate::replica_manager::HostedPartition;
use crate::replica_manager::throttle::Throttle;

pub use following::Following;
pub use task::run_fetchers;

/// Word left for a fetcher.
pub(crate) enum Word {
    /// Fetch this partition, in this epoch.
    Follow(Arc<HostedPartition>, LeaderEpoch),
    /// Fetch it no more.
    Unfollow(TopicPartition),
}

/// All fetchers of a broker, by the leader they fetch from.
pub struct Fetchers {
    broker: i32,
    settings: ReplicaFetchConfig,
    inner: Mutex<Inner>,
    throttle: Arc<Throttle>,
    /// Called when there is a fetcher that was not there before.
    news: Notify,
}

/// The fetchers of a broker as its partitions know them. Fetchers hold the partitions they fetch for; that these do not hold the fetchers lets a broker that is gone be freed, whatever
/// ended it.
#[derive(Clone)]
pub struct WeakFetchers(Weak<Fetchers>);

#[derive(Default)]
struct Inner {
    fetchers: BTreeMap<BrokerId, Arc<Fetcher>>,
    closed: bool,
}

/// What is fetched from one leader.
pub struct Fetcher {
    leader: BrokerId,
    inbox: Mutex<Vec<Word>>,
    following: Mutex<Following>,
    /// Called when there is word in the inbox.
    woken: Notify,
}

impl Fetchers {
    /// The fetchers of a broker: none yet.
    #[must_use]
    pub fn new(broker: i32, settings: ReplicaFetchConfig, clock: Clock) -> Arc<Fetchers> {
        let throttle = Arc::new(Throttle::new(clock));
        Arc::new(Fetchers { broker, settings, throttle, inner: Mutex::default(), news: Notify::new() })
    }

    /// For those that the fetchers hold.
    #[must_use]
    pub fn downgrade(self: &Arc<Self>) -> WeakFetchers {
        WeakFetchers(Arc::downgrade(self))
    }

    /// Follows a partition's leader, and nobody else for it.
    pub fn follow(&self, hosted: &Arc<HostedPartition>, leader: BrokerId, epoch: LeaderEpoch) {
        let mut inner = self.inner.lock();
        if inner.closed {
            return;
        }
        for (_, other) in inner.fetchers.iter().filter(|(id, _)| **id != leader) {
            other.leave(Word::Unfollow(hosted.partition().clone()));
        }
        let known = inner.fetchers.contains_key(&leader);
        let new = || {
            Arc::new(Fetcher::new(Following::new(self.broker, leader, self.settings, self.throttle.clone()), leader))
        };
        let fetcher = inner.fetchers.entry(leader).or_insert_with(new);
        fetcher.leave(Word::Follow(hosted.clone(), epoch));
        if !known {
            self.news.notify_one();
        }
    }

    /// Follows nobody for a partition.
    pub fn unfollow(&self, partition: &TopicPartition) {
        for fetcher in self.inner.lock().fetchers.values() {
            fetcher.leave(Word::Unfollow(partition.clone()));
        }
    }

    /// How fast replicas that are out of sync may be fetched (KIP-73).
    #[must_use]
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// The fetchers there are; none after [`Fetchers::close`].
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Fetcher>> {
        self.inner.lock().fetchers.values().cloned().collect()
    }

    /// Lets go of all partitions, for good: the broker stops.
    pub fn close(&self) {
        let fetchers = {
            let mut inner = self.inner.lock();
            inner.closed = true;
            std::mem::take(&mut inner.fetchers)
        };
        for fetcher in fetchers.values() {
            fetcher.inbox.lock().clear();
            fetcher.following.lock().clear();
        }
    }

    async fn news(&self) {
        self.news.notified().await;
    }
}

impl WeakFetchers {
    /// [`Fetchers::follow`], while there is a broker.
    pub fn follow(&self, hosted: &Arc<HostedPartition>, leader: BrokerId, epoch: LeaderEpoch) {
        if let Some(fetchers) = self.0.upgrade() {
            fetchers.follow(hosted, leader, epoch);
        }
    }

    /// [`Fetchers::unfollow`], while there is a broker.
    pub fn unfollow(&self, partition: &TopicPartition) {
        if let Some(fetchers) = self.0.upgrade() {
            fetchers.unfollow(partition);
        }
    }
}

impl Fetcher {
    fn new(following: Following, leader: BrokerId) -> Fetcher {
        Fetcher { leader, inbox: Mutex::default(), following: Mutex::new(following), woken: Notify::new() }
    }

    /// The broker it fetches from.
    #[must_use]
    pub fn leader(&self) -> BrokerId {
        self.leader
    }

    /// What it follows, with the word that was left for it taken in.
    pub fn following(&self) -> MutexGuard<'_, Following> {
        let mut following = self.following.lock();
        // The inbox is never held while a partition's lock is wanted: whoever leaves word holds one.
        let words = std::mem::take(&mut *self.inbox.lock());
        for word in words {
            following.heed(word);
        }
        following
    }

    fn leave(&self, word: Word) {
        let mut inbox = self.inbox.lock();
        if let Word::Unfollow(partition) = &word
            && inbox.is_empty()
            && self.following.try_lock().is_some_and(|following| !following.follows(partition))
        {
            // Most partitions never were followed here.
            return;
        }
        inbox.push(word);
        drop(inbox);
        self.woken.notify_one();
    }
}
