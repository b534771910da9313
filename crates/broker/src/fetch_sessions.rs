//! Fetch sessions (KIP-227): what a client fetches is remembered, so that it need name only what changed, and is told only what is new.
//!
//! Always true: a response of a session, laid over those before it, says what a full fetch would have said. Sessions are bounded by
//! `max.incremental.fetch.session.cache.slots`; without a free one a fetch is simply full.
//!
//! Partitions take turns: one whose records were sent goes to the end of the line, so that a response's limit starves nobody. A follower's session goes further, for it may
//! hold a thousand partitions of which ten are written: a partition that has nothing for the follower leaves the line, and calls ([`News`]) when it has.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use protocol::error::ErrorCode;
use protocol::messages::fetch::{FetchRequest, PartitionData};
use protocol::types::Uuid;
use protocol::wire::Str;
use runtime::clock::Instant;
use runtime::{Clock, Random};

use crate::replica_manager::purgatory::News;

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
    /// Its number in the session.
    pub number: usize,
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
    /// Whether it stands in line.
    in_line: bool,
}

/// One session.
#[derive(Debug)]
struct Session {
    epoch: i32,
    last_used: Instant,
    /// By their numbers; a number that is free is given again.
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    index: HashMap<(TopicKey, i32), usize>,
    /// Numbers of the partitions to look at, in the order of their turns: of a consumer all, of a follower those that may have something for it.
    line: VecDeque<usize>,
    /// Where partitions call, in a follower's session.
    news: Option<Arc<News>>,
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
    /// What to look at.
    pub wanted: Vec<Wanted>,
    /// Id to answer with; 0 for no session.
    pub session_id: i32,
    /// Where the partitions of a follower's session call; a look must leave this address with each before it reads.
    pub news: Option<Arc<News>>,
    session: Option<Arc<Mutex<Session>>>,
    /// Whether only news is told.
    incremental: bool,
}

/// A response in the making: what of it the client needs to be told.
#[derive(Debug)]
pub struct Telling<'a> {
    session: Option<MutexGuard<'a, Session>>,
    incremental: bool,
    /// Had their turn.
    served: HashSet<usize>,
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
    pub fn plan(&self, request: &FetchRequest, is_follower: bool) -> Result<FetchPlan, ErrorCode> {
        let named = wanted(request);
        let without = |wanted| FetchPlan { wanted, session_id: 0, news: None, session: None, incremental: false };
        match request.session_epoch {
            FINAL_EPOCH => {
                self.end(request.session_id);
                Ok(without(named))
            }
            INITIAL_EPOCH => {
                self.end(request.session_id);
                let Some((session_id, session)) = self.begin(&named, is_follower) else { return Ok(without(named)) };
                let (wanted, news) = session.lock().plan();
                Ok(FetchPlan { wanted, session_id, news, session: Some(session), incremental: false })
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
        let (wanted, news) = held.plan();
        drop(held);
        Ok(FetchPlan { wanted, session_id: request.session_id, news, session: Some(session), incremental: true })
    }

    fn begin(&self, named: &[Wanted], is_follower: bool) -> Option<(i32, Arc<Mutex<Session>>)> {
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
        let mut session = Session {
            epoch: 1,
            last_used: now,
            entries: Vec::new(),
            free: Vec::new(),
            index: HashMap::new(),
            line: VecDeque::new(),
            news: is_follower.then(Arc::default),
        };
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
    /// Whether there is nothing to look at, nor will be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.news.is_none()
    }

    /// Takes in who called since.
    pub fn refresh(&mut self) {
        if let Some(session) = &self.session {
            (self.wanted, _) = session.lock().plan();
        }
    }

    /// Begins a response.
    #[must_use]
    pub fn telling(&self) -> Telling<'_> {
        Telling {
            session: self.session.as_ref().map(|session| session.lock()),
            incremental: self.incremental,
            served: HashSet::new(),
        }
    }
}

impl Telling<'_> {
    /// Whether a partition belongs into the response, and remembers what is told of it. A follower that was `settled` before the log was read will be called when there is
    /// more.
    pub fn tell(&mut self, wanted: &Wanted, data: &PartitionData, settled: bool) -> bool {
        let Some(session) = &mut self.session else { return true };
        let watches = session.news.is_some();
        let entry = session.entries.get_mut(wanted.number).and_then(Option::as_mut);
        let Some(entry) = entry.filter(|entry| entry.is_of(wanted)) else { return true };
        let now = Told {
            high_watermark: data.high_watermark,
            last_stable_offset: data.last_stable_offset,
            log_start_offset: data.log_start_offset,
        };
        let is_plain = data.error_code == 0 && data.diverging_epoch.epoch < 0 && data.preferred_read_replica < 0;
        let news = !data.records.is_empty() || !is_plain || entry.told != Some(now);
        // An error is told again and again, until it is gone; and whoever is told that its log parts from ours takes nothing else from that answer.
        let takes_all = data.error_code == 0 && data.diverging_epoch.epoch < 0;
        entry.told = Some(now).filter(|_| takes_all);
        if !data.records.is_empty() {
            self.served.insert(wanted.number);
        } else if watches && is_plain && settled {
            entry.in_line = false;
        }
        news || !self.incremental
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        let Some(session) = &mut self.session else { return };
        let Session { line, entries, .. } = &mut **session;
        let stands = |number: &usize| entries[*number].as_ref().is_some_and(|entry| entry.in_line);
        if self.served.is_empty() {
            line.retain(stands);
            return;
        }
        let (served, mut waiting): (VecDeque<usize>, VecDeque<usize>) =
            line.drain(..).filter(stands).partition(|number| self.served.contains(number));
        waiting.extend(served);
        *line = waiting;
    }
}

impl Entry {
    fn is_of(&self, wanted: &Wanted) -> bool {
        self.wanted.partition == wanted.partition && self.wanted.topic == wanted.topic
    }
}

impl Session {
    /// What to look at now, in the order of turns.
    fn plan(&mut self) -> (Vec<Wanted>, Option<Arc<News>>) {
        if let Some(news) = self.news.clone() {
            for number in news.take() {
                self.stand_in_line(number);
            }
        }
        let wanted = self.line.iter().filter_map(|number| Some(self.entries[*number].as_ref()?.wanted.clone()));
        (wanted.collect(), self.news.clone())
    }

    fn stand_in_line(&mut self, number: usize) {
        // Who called may have been forgotten since.
        if let Some(entry) = self.entries.get_mut(number).and_then(Option::as_mut)
            && !entry.in_line
        {
            entry.in_line = true;
            self.line.push_back(number);
        }
    }

    fn want(&mut self, wanted: Wanted) -> Result<(), ErrorCode> {
        let key = (wanted.topic.clone(), wanted.partition);
        if let Some(number) = self.index.get(&key).copied() {
            if let Some(entry) = self.entries[number].as_mut() {
                entry.wanted = Wanted { number, ..wanted };
                // Whoever names a partition may have had no use for what was told last: it had begun to follow in another epoch meanwhile.
                entry.told = None;
            }
            self.stand_in_line(number);
            return Ok(());
        }
        if self.index.len() >= PARTITIONS_MAX {
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.entries[number] = Some(Entry { wanted: Wanted { number, ..wanted }, told: None, in_line: false });
        self.index.insert(key, number);
        self.stand_in_line(number);
        Ok(())
    }

    fn forget(&mut self, key: &(TopicKey, i32)) {
        let Some(number) = self.index.remove(key) else { return };
        if self.entries[number].take().is_some_and(|entry| entry.in_line) {
            self.line.retain(|standing| *standing != number);
        }
        self.free.push(number);
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
            number: 0,
        }));
    }
    wanted
}

#[cfg(test)]
mod tests;
