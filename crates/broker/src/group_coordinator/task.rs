//! What the coordinator does by itself: follow the metadata, drop members that fell silent, forget offsets that expired.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use runtime::clock::Instant;
use tokio::sync::watch;
use tracing::{error, info};

use coordinator::Groups;

use super::GroupCoordinator;
use super::load::{Loaded, load};
use super::shard::Shard;
use crate::metadata::Image;
use crate::metadata::image::OFFSETS_TOPIC;

/// Times a partition is read before it is given up until the next leadership.
const LOAD_TRIES_MAX: usize = 5;
/// Pause before a partition is read again.
const LOAD_PAUSE: Duration = Duration::from_secs(2);
/// Nothing is due: the task looks again after so long all the same.
const IDLE: Duration = Duration::from_secs(60);

impl GroupCoordinator {
    /// Runs until `stopped` says so; then answers everyone who waits.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut images = self.metadata.subscribe();
        let clock = self.writing.clock;
        let mut next_expiry = clock.now() + self.retention_check_interval;
        let mut topics = self.follow(&images.borrow_and_update().clone(), BTreeSet::new());
        loop {
            let wake = self.next_deadline().unwrap_or_else(|| clock.now() + IDLE).min(next_expiry);
            tokio::select! {
                biased;
                _ = stopped.changed() => break,
                changed = images.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let image = images.borrow_and_update().clone();
                    topics = self.follow(&image, topics);
                }
                () = self.earlier.notified() => {}
                () = clock.sleep_until(wake) => {}
            }
            for shard in self.shards() {
                shard.tick();
            }
            if clock.now() >= next_expiry {
                next_expiry = clock.now() + self.retention_check_interval.max(Duration::from_millis(1));
                for shard in self.shards() {
                    // A shard that is being loaded has its turn next time.
                    let _ = shard.with(|groups, now, effects| groups.expire(now, effects));
                }
            }
        }
        self.stop();
    }

    /// Lets all groups go: whoever waits is sent elsewhere.
    pub fn stop(&self) {
        let shards = std::mem::take(&mut *self.shards.write());
        for shard in shards.into_values() {
            shard.unload();
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.shards.read().values().filter_map(|shard| shard.next_deadline()).min()?;
        Some(self.writing.instant(deadline))
    }

    /// Takes over the partitions that this broker leads by the image, lets go of the others, and forgets the offsets of topics that are no more. `before` names the topics
    /// of the image before; gives those of this one.
    fn follow(self: &Arc<Self>, image: &Image, before: BTreeSet<Arc<str>>) -> BTreeSet<Arc<str>> {
        if !image.complete {
            return before;
        }
        let led = self.led(image);
        let mut fresh = Vec::new();
        let mut gone = Vec::new();
        {
            let mut shards = self.shards.write();
            let leaves: Vec<i32> = shards
                .iter()
                .filter(|(partition, shard)| led.get(*partition).is_none_or(|(epoch, _)| *epoch != shard.epoch))
                .map(|(partition, _)| *partition)
                .collect();
            gone.extend(leaves.iter().filter_map(|partition| shards.remove(partition)));
            for (partition, (epoch, hosted)) in led {
                shards.entry(partition).or_insert_with(|| {
                    let shard = Shard::new(partition, epoch, hosted, self.writing.clone(), self.earlier.clone());
                    fresh.push(shard.clone());
                    shard
                });
            }
        }
        for shard in gone {
            info!(partition = shard.partition, epoch = shard.epoch, "resigned as the group coordinator");
            shard.unload();
        }
        if !fresh.is_empty() {
            // One task reads them one by one: a broker with many of them does not read all at once.
            runtime::spawn(self.clone().load_all(fresh));
        }
        let topics: BTreeSet<Arc<str>> = image.topics.keys().cloned().collect();
        if before.iter().any(|topic| !topics.contains(topic)) {
            for shard in self.shards() {
                // A shard that is being loaded keeps the offsets until they expire.
                let _ = shard.with(|groups, _, effects| {
                    groups.forget_topics(|topic| before.contains(topic) && !topics.contains(topic), effects);
                });
            }
        }
        topics
    }

    /// The partitions of `__consumer_offsets` that this broker leads, with the epochs.
    fn led(&self, image: &Image) -> BTreeMap<i32, (i32, Arc<crate::replica_manager::HostedPartition>)> {
        let Some(topic) = image.topic(OFFSETS_TOPIC) else { return BTreeMap::new() };
        if image.deletions.contains(&topic.name) {
            return BTreeMap::new();
        }
        let led = topic.partitions.iter().filter_map(|partition| {
            let hosted = self.replicas.get(OFFSETS_TOPIC, partition.partition)?;
            let epoch = hosted.leader_epoch().ok()?;
            Some((partition.partition, (epoch, hosted)))
        });
        led.collect()
    }

    async fn load_all(self: Arc<Self>, shards: Vec<Arc<Shard>>) {
        for shard in shards {
            self.load_one(&shard).await;
        }
        // What was loaded may have deadlines.
        self.earlier.notify_one();
    }

    async fn load_one(&self, shard: &Arc<Shard>) {
        let started = self.writing.clock.now();
        for _ in 0..LOAD_TRIES_MAX {
            if !shard.is_loading() {
                return;
            }
            let (log, buffer_bytes) = (shard.hosted.log().clone(), self.load_buffer_bytes);
            let read = runtime::spawn_blocking(move || load(&log, buffer_bytes)).await;
            match read {
                Ok(Ok(loaded)) => {
                    self.serve(shard, loaded, started);
                    return;
                }
                Ok(Err(problem)) => {
                    error!(partition = shard.partition, error = %problem, "cannot load groups and offsets");
                }
                Err(failed) => error!(partition = shard.partition, %failed, "loading groups and offsets failed"),
            }
            self.writing.clock.sleep(LOAD_PAUSE).await;
        }
        shard.failed();
    }

    fn serve(&self, shard: &Arc<Shard>, loaded: Loaded, started: Instant) {
        let Loaded { replay, records, skipped } = loaded;
        let mut effects = Vec::new();
        let now = self.writing.now();
        let groups = Groups::load(shard.partition, self.config.clone(), replay, now, &mut effects);
        if records > 0 {
            info!(
                partition = shard.partition,
                epoch = shard.epoch,
                records,
                skipped,
                groups = groups.len(),
                elapsed_ms = (self.writing.clock.now() - started).as_millis(),
                "loaded groups and offsets from __consumer_offsets"
            );
        }
        shard.loaded(groups, effects);
    }
}
