//! Fetch sessions (KIP-227): what a consumer fetches is remembered, so that it need name only what changed, and is told only what is new.
//!
//! Always true: a response of a session, laid over those before it, says what a full fetch would have said. Sessions are bounded by
//! `max.incremental.fetch.session.cache.slots`; without a free one a fetch is simply full.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::error::ErrorCode;
use protocol::messages::fetch::{FetchRequest, PartitionData};
use protocol::types::Uuid;
use protocol::wire::Str;
use runtime::clock::Instant;
use runtime::{Clock, Random};

/// A session unused for this long gives way to a new one (Kafka's `MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const EVICTION_AGE: Duration = Duration::from_secs(120);

/// Partitions one session may hold; a fetch of more is answered in full, without a session.
const PARTITIONS_MAX: usize = 100_000;

/// Epoch of a request that wants no session, or ends one.
const FINAL_EPOCH: i32 = -1;
/// Epoch of a request that begins a session.
const INITIAL_EPOCH: i32 = 0;

/// A topic as a request names it: by name below version 13, by id from there on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TopicKey {
    /// Name; empty from version 13 on.
    pub name: Str,
    /// Id; zero below version 13.
    pub id: Uuid,
}

/// What is wanted of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The topic.
    pub topic: TopicKey,
    /// The partition.
    pub partition: i32,
    /// Where to read from.
    pub fetch_offset: i64,
    /// How much at most.
    pub max_bytes: i32,
    /// Epoch the client believes in; -1 for none.
    pub current_leader_epoch: i32,
    /// Epoch of the last record the client has; -1 for unknown.
    pub last_fetched_epoch: i32,
    /// A follower's own log start; -1 from a consumer.
    pub log_start_offset: i64,
}

/// What a client was told last of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    high_watermark: i64,
    last_stable_offset: i64,
    log_start_offset: i64,
}

#[derive(Debug)]
struct Entry {
    wanted: Wanted,
    told: Option<Told>,
}

/// One session.
#[derive(Debug)]
struct Session {
    epoch: i32,
    last_used: Instant,
    entries: Vec<Entry>,
    index: HashMap<(TopicKey, i32), usize>,
}

/// All sessions of a broker.
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    clock: Clock,
    random: Random,
    sessions: Mutex<HashMap<i32, Arc<Mutex<Session>>>>,
}

/// How one fetch is to be served.
#[derive(Debug)]
pub struct FetchPlan {
    /// What to read.
    pub wanted: Vec<Wanted>,
    /// Id to answer with; 0 for no session.
    pub session_id: i32,
    session: Option<Arc<Mutex<Session>>>,
    /// Whether only news is told.
    incremental: bool,
}

impl FetchSessions {
    /// How many sessions there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a figure, not a collection")]
    pub fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Room for so many sessions.
    #[must_use]
    pub fn new(slots: usize, clock: Clock, random: Random) -> FetchSessions {
        FetchSessions { slots, clock, random, sessions: Mutex::default() }
    }

    /// Finds or begins the session a request names, and what it fetches.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND or INVALID_FETCH_SESSION_EPOCH: the client begins anew.
    pub fn plan(&self, request: &FetchRequest) -> Result<FetchPlan, ErrorCode> {
        let named = wanted(request);
        match request.session_epoch {
            FINAL_EPOCH => {
                self.end(request.session_id);
                Ok(FetchPlan { wanted: named, session_id: 0, session: None, incremental: false })
            }
            INITIAL_EPOCH => {
                self.end(request.session_id);
                let begun = self.begin(&named);
                let (session_id, session) = begun.map_or((0, None), |(id, session)| (id, Some(session)));
                Ok(FetchPlan { wanted: named, session_id, session, incremental: false })
            }
            epoch => self.go_on(request, epoch, named),
        }
    }

    fn go_on(&self, request: &FetchRequest, epoch: i32, named: Vec<Wanted>) -> Result<FetchPlan, ErrorCode> {
        let found = self.sessions.lock().get(&request.session_id).cloned();
        let session = found.ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        let mut held = session.lock();
        if held.epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        held.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        held.last_used = self.clock.now();
        for topic in &request.forgotten_topics_data {
            let key = TopicKey { name: owned(&topic.topic), id: topic.topic_id };
            for partition in &topic.partitions {
                held.forget(&(key.clone(), *partition));
            }
        }
        for wanted in named {
            held.want(wanted)?;
        }
        let wanted = held.entries.iter().map(|entry| entry.wanted.clone()).collect();
        drop(held);
        Ok(FetchPlan { wanted, session_id: request.session_id, session: Some(session), incremental: true })
    }

    fn begin(&self, named: &[Wanted]) -> Option<(i32, Arc<Mutex<Session>>)> {
        if named.is_empty() || named.len() > PARTITIONS_MAX || self.slots == 0 {
            return None;
        }
        let now = self.clock.now();
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.slots {
            let oldest = sessions.iter().map(|(id, session)| (session.lock().last_used, *id)).min();
            let (_, id) = oldest.filter(|(last_used, _)| *last_used + EVICTION_AGE <= now)?;
            sessions.remove(&id);
        }
        let id = loop {
            let id = i32::try_from(self.random.below(i32::MAX as u64)).unwrap_or_default();
            if id > 0 && !sessions.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session { epoch: 1, last_used: now, entries: Vec::new(), index: HashMap::new() };
        for wanted in named {
            session.want(wanted.clone()).ok()?;
        }
        let session = Arc::new(Mutex::new(session));
        sessions.insert(id, session.clone());
        Some((id, session))
    }

    fn end(&self, id: i32) {
        if id != 0 {
            self.sessions.lock().remove(&id);
        }
    }
}

impl FetchPlan {
    /// Whether a partition belongs into the response, and remembers what is told of it.
    pub fn tell(&self, wanted: &Wanted, data: &PartitionData) -> bool {
        let Some(session) = &self.session else { return true };
        let mut session = session.lock();
        let Some(entry) = session.entry(&(wanted.topic.clone(), wanted.partition)) else { return true };
        let now = Told {
            high_watermark: data.high_watermark,
            last_stable_offset: data.last_stable_offset,
            log_start_offset: data.log_start_offset,
        };
        let news = !data.records.is_empty()
            || data.error_code != 0
            || data.diverging_epoch.epoch >= 0
            || data.preferred_read_replica >= 0
            || entry.told != Some(now);
        // An error is told again and again, until it is gone.
        entry.told = Some(now).filter(|_| data.error_code == 0);
        news || !self.incremental
    }
}

impl Session {
    fn entry(&mut self, key: &(TopicKey, i32)) -> Option<&mut Entry> {
        let at = *self.index.get(key)?;
        self.entries.get_mut(at)
    }

    fn want(&mut self, wanted: Wanted) -> Result<(), ErrorCode> {
        let key = (wanted.topic.clone(), wanted.partition);
        if let Some(entry) = self.entry(&key) {
            entry.wanted = wanted;
            return Ok(());
        }
        if self.entries.len() >= PARTITIONS_MAX {
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        self.index.insert(key, self.entries.len());
        self.entries.push(Entry { wanted, told: None });
        Ok(())
    }

    fn forget(&mut self, key: &(TopicKey, i32)) {
        let Some(at) = self.index.remove(key) else { return };
        self.entries.remove(at);
        for place in self.index.values_mut().filter(|place| **place > at) {
            *place -= 1;
        }
    }
}

/// A copy that does not keep the request's frame alive.
fn owned(text: &Str) -> Str {
    Str::from(text.to_string())
}

fn wanted(request: &FetchRequest) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for topic in &request.topics {
        let key = TopicKey { name: owned(&topic.topic), id: topic.topic_id };
        wanted.extend(topic.partitions.iter().map(|partition| Wanted {
            topic: key.clone(),
            partition: partition.partition,
            fetch_offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
            log_start_offset: partition.log_start_offset,
        }));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use protocol::messages::fetch::{FetchPartition, FetchTopic, ForgottenTopic};

    use super::*;

    fn sessions(slots: usize) -> FetchSessions {
        FetchSessions::new(slots, Clock::real(), Random::real())
    }

    fn request(session_id: i32, session_epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
        let partitions = partitions
            .iter()
            .map(|(partition, fetch_offset)| FetchPartition {
                partition: *partition,
                fetch_offset: *fetch_offset,
                ..Default::default()
            })
            .collect();
        let topics = vec![FetchTopic { topic: "t".into(), partitions, ..Default::default() }];
        FetchRequest { session_id, session_epoch, topics, ..Default::default() }
    }

    fn data(high_watermark: i64) -> PartitionData {
        PartitionData { high_watermark, ..Default::default() }
    }

    #[test]
    fn a_session_tells_news_only() {
        let sessions = sessions(10);
        let full = sessions.plan(&request(0, 0, &[(0, 5), (1, 6)])).unwrap();
        assert!(full.session_id > 0);
        assert!(full.tell(&full.wanted[0], &data(10)) && full.tell(&full.wanted[1], &data(10)));
        let next = sessions.plan(&request(full.session_id, 1, &[(1, 9)])).unwrap();
        let offsets: Vec<i64> = next.wanted.iter().map(|wanted| wanted.fetch_offset).collect();
        assert_eq!(offsets, [5, 9]);
        assert!(!next.tell(&next.wanted[0], &data(10)), "nothing new");
        assert!(next.tell(&next.wanted[1], &data(11)), "the high watermark rose");
        let broken = PartitionData { error_code: 6, ..data(11) };
        assert!(next.tell(&next.wanted[1], &broken) && next.tell(&next.wanted[1], &broken));
        assert!(next.tell(&next.wanted[1], &data(11)), "the error is gone");
    }

    #[test]
    fn forgotten_partitions_leave_and_wrong_epochs_are_refused() {
        let sessions = sessions(10);
        let id = sessions.plan(&request(0, 0, &[(0, 0), (1, 0), (2, 0)])).unwrap().session_id;
        let mut forgetting = request(id, 1, &[]);
        forgetting.forgotten_topics_data =
            vec![ForgottenTopic { topic: "t".into(), partitions: vec![0], ..Default::default() }];
        let left: Vec<i32> = sessions.plan(&forgetting).unwrap().wanted.iter().map(|wanted| wanted.partition).collect();
        assert_eq!(left, [1, 2]);
        assert_eq!(sessions.plan(&request(id, 1, &[])).unwrap_err(), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        assert_eq!(sessions.plan(&request(id, 2, &[(2, 8)])).unwrap().wanted[1].fetch_offset, 8);
        assert_eq!(sessions.plan(&request(id, -1, &[(0, 0)])).unwrap().session_id, 0);
        assert_eq!(sessions.plan(&request(id, 3, &[])).unwrap_err(), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    }

    #[test]
    fn without_a_slot_a_fetch_is_full() {
        let sessions = sessions(1);
        assert!(sessions.plan(&request(0, 0, &[(0, 0)])).unwrap().session_id > 0);
        let second = sessions.plan(&request(0, 0, &[(0, 0)])).unwrap();
        assert_eq!((second.session_id, second.wanted.len()), (0, 1));
    }
}
