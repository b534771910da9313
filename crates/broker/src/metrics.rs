//! What the broker counts while it works: requests by API, and records and bytes by topic.
//!
//! Always true: counting is a relaxed addition to a counter that whoever counts already holds; no lock, no look-up by name, no allocation. A counter never decreases while its
//! topic is held here, and the counts of topics that are gone stay in the broker's own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::api::ApiKey;
use protocol::error::ErrorCode;
use runtime::{Durations, DurationsSnapshot};

/// Versions of one API told apart; higher ones count as the highest.
const VERSIONS_MAX: usize = 24;
/// Error codes told apart, from -1 on; higher ones count as the unknown error.
const CODES_MAX: usize = 160;

/// A count that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Adds some.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! topic_counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What is counted of one topic, by all its partitions (Kafka: `BrokerTopicMetrics`).
        #[derive(Debug, Default)]
        pub struct TopicCounters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        /// The same at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct TopicCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl TopicCounters {
            /// The counts now.
            #[must_use]
            pub fn read(&self) -> TopicCounts {
                TopicCounts { $($name: self.$name.get(),)* }
            }
        }

        impl TopicCounts {
            fn add(&mut self, other: &TopicCounts) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

topic_counters! {
    /// Records appended.
    messages_in,
    /// Bytes of the batches appended.
    bytes_in,
    /// Bytes sent to consumers.
    bytes_out,
    /// Bytes fetched from leaders.
    replication_bytes_in,
    /// Bytes sent to followers.
    replication_bytes_out,
    /// Bytes that were refused because they were too many.
    bytes_rejected,
    /// Appends to a partition, refused ones among them.
    total_produce_requests,
    /// Appends that were refused.
    failed_produce_requests,
    /// Partitions answered to a fetch, errors among them.
    total_fetch_requests,
    /// Partitions answered to a fetch with an error.
    failed_fetch_requests,
}

/// The counters of all topics held here.
#[derive(Debug, Default)]
pub struct TopicMetrics(Mutex<Topics>);

#[derive(Debug, Default)]
struct Topics {
    held: HashMap<Arc<str>, Arc<TopicCounters>>,
    /// What topics that are gone have counted.
    gone: TopicCounts,
}

impl TopicMetrics {
    /// The counters of a topic, for a partition that is opened.
    #[must_use]
    pub fn of(&self, topic: &Arc<str>) -> Arc<TopicCounters> {
        self.0.lock().held.entry(topic.clone()).or_default().clone()
    }

    /// No partition of the topic is held any more.
    pub fn forget(&self, topic: &str) {
        let mut topics = self.0.lock();
        if let Some(counters) = topics.held.remove(topic) {
            topics.gone.add(&counters.read());
        }
    }

    /// The counts of every topic, by name, and of all together, topics that are gone included.
    #[must_use]
    pub fn read(&self) -> (Vec<(Arc<str>, TopicCounts)>, TopicCounts) {
        let topics = self.0.lock();
        let mut all = topics.gone;
        let mut by_topic: Vec<_> = topics.held.iter().map(|(name, counters)| (name.clone(), counters.read())).collect();
        by_topic.iter().for_each(|(_, counts)| all.add(counts));
        drop(topics);
        by_topic.sort_by(|a, b| a.0.cmp(&b.0));
        (by_topic, all)
    }
}

/// What is counted of requests (Kafka: `RequestMetrics`).
#[derive(Debug)]
pub struct RequestMetrics {
    /// By key; none for an API that is not served.
    apis: Vec<Option<Box<ApiMetrics>>>,
    /// Requests that could not be served, so that their connection was closed.
    pub refused: Counter,
}

#[derive(Debug, Default)]
struct ApiMetrics {
    requests: [Counter; VERSIONS_MAX],
    took: Durations,
    /// By code, from -1 on; only of APIs that name errors by partition.
    errors: Vec<Counter>,
}

/// The requests of one API up to one moment.
#[derive(Debug, Clone)]
pub struct RequestCounts {
    /// The API.
    pub api: ApiKey,
    /// Requests by version, of versions that were asked for.
    pub requests: Vec<(usize, u64)>,
    /// Errors by code, of codes that were answered; for Produce and Fetch, by partition.
    pub errors: Vec<(ErrorCode, u64)>,
    /// From the whole request to its response being ready to be sent.
    pub took: DurationsSnapshot,
}

impl RequestMetrics {
    /// Counters of the APIs that `is_served` names.
    #[must_use]
    pub fn new(is_served: impl Fn(ApiKey) -> bool) -> RequestMetrics {
        let counters = |api: &ApiKey| {
            let names_errors = matches!(api, ApiKey::Produce | ApiKey::Fetch);
            let codes = if names_errors { CODES_MAX } else { 0 };
            is_served(*api).then(|| {
                Box::new(ApiMetrics {
                    errors: std::iter::repeat_with(Counter::default).take(codes).collect(),
                    ..Default::default()
                })
            })
        };
        RequestMetrics { apis: ApiKey::ALL.iter().map(counters).collect(), refused: Counter::default() }
    }

    /// A request begins.
    pub fn request(&self, api: ApiKey, version: i16) {
        if let Some(metrics) = self.of(api) {
            metrics.requests[usize::try_from(version).unwrap_or_default().min(VERSIONS_MAX - 1)].one();
        }
    }

    /// A response is ready to be sent.
    pub fn answered(&self, api: ApiKey, took: Duration) {
        if let Some(metrics) = self.of(api) {
            metrics.took.add(took);
        }
    }

    /// A partition is answered with an error.
    pub fn error(&self, api: ApiKey, code: ErrorCode) {
        let Some(metrics) = self.of(api) else { return };
        let at = usize::try_from(code.0.saturating_add(1)).unwrap_or_default();
        if let Some(counter) = metrics.errors.get(at).or(metrics.errors.first()) {
            counter.one();
        }
    }

    /// The APIs that were asked for so far.
    #[must_use]
    pub fn read(&self) -> Vec<RequestCounts> {
        let known = ApiKey::ALL.iter().filter_map(|api| Some((*api, self.of(*api)?)));
        let counts = known.map(|(api, metrics)| RequestCounts {
            api,
            requests: counted(&metrics.requests).collect(),
            errors: counted(&metrics.errors)
                .map(|(at, count)| (ErrorCode(i16::try_from(at).unwrap_or_default() - 1), count))
                .collect(),
            took: metrics.took.snapshot(),
        });
        counts.filter(|counts| !counts.requests.is_empty()).collect()
    }

    fn of(&self, api: ApiKey) -> Option<&ApiMetrics> {
        self.apis.get(usize::try_from(api.to_i16()).ok()?)?.as_deref()
    }
}

/// The counters that have counted anything, with their places.
fn counted(counters: &[Counter]) -> impl Iterator<Item = (usize, u64)> {
    counters.iter().map(Counter::get).enumerate().filter(|(_, count)| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_counts_keep_what_topics_that_are_gone_have_counted() {
        let metrics = TopicMetrics::default();
        let (a, b): (Arc<str>, Arc<str>) = (Arc::from("a"), Arc::from("b"));
        metrics.of(&a).bytes_in.add(5);
        metrics.of(&a).bytes_in.add(2);
        metrics.of(&b).bytes_in.add(1);
        metrics.forget("a");
        let (topics, all) = metrics.read();
        assert_eq!(topics.iter().map(|(name, counts)| (&**name, counts.bytes_in)).collect::<Vec<_>>(), [("b", 1)]);
        assert_eq!(all.bytes_in, 8);
        assert_eq!(metrics.of(&a).read(), TopicCounts::default(), "a new topic of that name begins anew");
    }

    #[test]
    fn requests_are_told_apart_by_version_and_errors_by_code() {
        let metrics = RequestMetrics::new(|api| api != ApiKey::Vote);
        for version in [3, 3, 9, i16::MAX] {
            metrics.request(ApiKey::Produce, version);
        }
        metrics.request(ApiKey::Vote, 0);
        metrics.answered(ApiKey::Produce, Duration::from_millis(2));
        for code in [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::UNKNOWN_SERVER_ERROR, ErrorCode(i16::MAX)] {
            metrics.error(ApiKey::Produce, code);
            metrics.error(ApiKey::Metadata, code);
        }
        let read = metrics.read();
        let [produce] = &read[..] else { panic!("{read:?}") };
        assert_eq!(produce.requests, [(3, 2), (9, 1), (VERSIONS_MAX - 1, 1)]);
        assert_eq!(produce.errors, [(ErrorCode::UNKNOWN_SERVER_ERROR, 2), (ErrorCode::NOT_LEADER_OR_FOLLOWER, 1)]);
        assert_eq!(produce.took.count(), 1);
    }
}
