//! What a member reads: topics by name, or those a regular expression picks (Kafka: `TopicCount`, `TopicFilter`).

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::zookeeper::znodes::{ConsumerOwner, ConsumerRegistration, SubscriptionPattern};
use crate::zookeeper_consumer::ConsumerError;

/// Kafka's own topics, which a regular expression picks only where it may.
const INTERNAL_TOPICS: &[&str] = &["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Bytes a compiled regular expression may take: other members' expressions come from ZooKeeper.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Threads a member may claim for a topic: other members' numbers come from ZooKeeper.
const THREADS_MAX: i32 = 10_000;

/// What a consumer reads.
#[derive(Debug, Clone)]
pub enum Subscription {
    /// Topics by name, each with a number of threads: a partition goes to a thread, so more threads get a greater share.
    Topics(Vec<(String, i32)>),
    /// All topics a filter lets through, those to come included.
    Filter {
        /// The filter.
        filter: TopicFilter,
        /// Threads for each topic.
        threads: i32,
    },
}

impl Subscription {
    /// One thread for each of these topics.
    pub fn topics<T: Into<String>>(topics: impl IntoIterator<Item = T>) -> Subscription {
        Subscription::Topics(topics.into_iter().map(|topic| (topic.into(), 1)).collect())
    }

    /// Whether topics to come may match.
    pub fn is_filter(&self) -> bool {
        matches!(self, Subscription::Filter { .. })
    }

    /// What other members are told.
    pub fn registration(&self, timestamp_ms: i64) -> ConsumerRegistration {
        let (pattern, subscription) = match self {
            Subscription::Topics(topics) => (SubscriptionPattern::Static, topics.clone()),
            Subscription::Filter { filter, threads } => (filter.pattern, vec![(filter.text.clone(), *threads)]),
        };
        ConsumerRegistration { pattern, subscription, timestamp_ms }
    }

    /// Refuses what cannot be registered.
    ///
    /// # Errors
    /// [`ConsumerError::BadConfig`].
    pub fn validate(&self) -> Result<(), ConsumerError> {
        let bad = |value: String, why: &str| {
            Err(ConsumerError::BadConfig { name: "topic".to_owned(), value, why: why.to_owned() })
        };
        let check = |threads: i32| (1..=THREADS_MAX).contains(&threads);
        match self {
            Subscription::Topics(topics) if topics.is_empty() => bad(String::new(), "no topic is named"),
            Subscription::Topics(topics) => {
                match topics.iter().find(|(topic, threads)| !check(*threads) || topic.is_empty()) {
                    Some((topic, threads)) => bad(topic.clone(), &format!("{threads} threads cannot read it")),
                    None => Ok(()),
                }
            }
            Subscription::Filter { filter, threads } if !check(*threads) => {
                bad(filter.text.clone(), &format!("{threads} threads cannot read it"))
            }
            Subscription::Filter { .. } => Ok(()),
        }
    }
}

/// Picks topics by a regular expression, which must match the whole name.
#[derive(Debug, Clone)]
pub struct TopicFilter {
    pattern: SubscriptionPattern,
    /// Kafka's reading of it: commas are alternatives, blanks and quotes around it are dropped.
    text: String,
    regex: Regex,
}

impl TopicFilter {
    /// Topics that match.
    ///
    /// # Errors
    /// [`ConsumerError::BadConfig`] where it is no regular expression, or uses what only Java's have (look-around, back references).
    pub fn white_list(regex: &str) -> Result<TopicFilter, ConsumerError> {
        TopicFilter::new(SubscriptionPattern::WhiteList, regex)
    }

    /// Topics that do not match.
    ///
    /// # Errors
    /// As [`TopicFilter::white_list`].
    pub fn black_list(regex: &str) -> Result<TopicFilter, ConsumerError> {
        TopicFilter::new(SubscriptionPattern::BlackList, regex)
    }

    fn new(pattern: SubscriptionPattern, raw: &str) -> Result<TopicFilter, ConsumerError> {
        let text = raw.trim().replace(',', "|").replace(' ', "");
        let text = text.trim_matches(['"', '\'']).to_owned();
        let bad = |error: regex::Error| ConsumerError::BadConfig {
            name: "topic filter".to_owned(),
            value: text.clone(),
            why: error.to_string(),
        };
        // Alone first: a closing bracket of the user's must not meet the opening one put around.
        Regex::new(&text).map_err(bad)?;
        let whole = regex::RegexBuilder::new(&format!("^(?:{text})$")).size_limit(REGEX_BYTES_MAX).build();
        let regex = whole.map_err(bad)?;
        Ok(TopicFilter { pattern, text, regex })
    }

    /// Whether a topic is picked.
    pub fn allows(&self, topic: &str, exclude_internal: bool) -> bool {
        let wanted = match self.pattern {
            SubscriptionPattern::BlackList => !self.regex.is_match(topic),
            _ => self.regex.is_match(topic),
        };
        wanted && !(exclude_internal && INTERNAL_TOPICS.contains(&topic))
    }
}

/// The threads of a member, by topic.
///
/// # Errors
/// [`ConsumerError::BadConfig`] where its regular expression cannot be read: who reads what is then not known.
pub fn threads_of(
    consumer: &str,
    registration: &ConsumerRegistration,
    all_topics: &BTreeSet<String>,
    exclude_internal: bool,
) -> Result<BTreeMap<String, Vec<ConsumerOwner>>, ConsumerError> {
    let threads = |count: i32| -> Vec<ConsumerOwner> {
        (0..count.clamp(0, THREADS_MAX)).map(|thread| ConsumerOwner { consumer: consumer.to_owned(), thread }).collect()
    };
    let mut by_topic = BTreeMap::new();
    for (topic, count) in &registration.subscription {
        if registration.pattern == SubscriptionPattern::Static {
            by_topic.insert(topic.clone(), threads(*count));
            continue;
        }
        let filter = TopicFilter::new(registration.pattern, topic)?;
        for topic in all_topics.iter().filter(|topic| filter.allows(topic, exclude_internal)) {
            by_topic.insert(topic.clone(), threads(*count));
        }
    }
    Ok(by_topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_whole_names_and_read_commas_as_alternatives() {
        let check = |raw: &str, topic: &str, white: bool| {
            assert_eq!(TopicFilter::white_list(raw).unwrap().allows(topic, true), white, "{raw} {topic}");
            assert_eq!(TopicFilter::black_list(raw).unwrap().allows(topic, true), !white, "not {raw} {topic}");
        };
        check("word", "word", true);
        check("word", "words", false);
        check("a, b", "b", true);
        check("a|b", "ab", false);
        check("\"w.*\"", "words", true);
        let all = TopicFilter::white_list(".*").unwrap();
        assert!(all.allows("__consumer_offsets", false));
        assert!(!all.allows("__consumer_offsets", true));
        assert!(!TopicFilter::black_list("x").unwrap().allows("__consumer_offsets", true));
        for broken in ["(", "a)(b", "*"] {
            assert!(matches!(TopicFilter::white_list(broken), Err(ConsumerError::BadConfig { .. })), "{broken}");
        }
    }

    #[test]
    fn registrations_carry_the_pattern_as_kafkas_do() {
        let check = |subscription: &Subscription, expected: &str| {
            subscription.validate().unwrap();
            assert_eq!(subscription.registration(7).to_json(), expected);
        };
        check(
            &Subscription::topics(["topic"]),
            r#"{"version":1,"subscription":{"topic":1},"pattern":"static","timestamp":"7"}"#,
        );
        let filter = TopicFilter::white_list("a,b").unwrap();
        check(
            &Subscription::Filter { filter, threads: 2 },
            r#"{"version":1,"subscription":{"a|b":2},"pattern":"white_list","timestamp":"7"}"#,
        );
        let filter = TopicFilter::black_list("a").unwrap();
        check(
            &Subscription::Filter { filter, threads: 1 },
            r#"{"version":1,"subscription":{"a":1},"pattern":"black_list","timestamp":"7"}"#,
        );
        assert!(Subscription::Topics(vec![("t".into(), 0)]).validate().is_err());
        assert!(Subscription::Topics(vec![]).validate().is_err());
    }

    #[test]
    fn members_threads_are_those_of_the_topics_they_pick() {
        let topics: BTreeSet<String> = ["a", "b", "c"].into_iter().map(str::to_owned).collect();
        let check = |subscription: Subscription, expected: &[&str]| {
            let threads = threads_of("g_c", &subscription.registration(0), &topics, true).unwrap();
            let got: Vec<String> = threads
                .iter()
                .flat_map(|(topic, threads)| threads.iter().map(move |thread| format!("{topic}:{thread}")))
                .collect();
            assert_eq!(got, expected);
        };
        check(Subscription::Topics(vec![("a".into(), 2), ("new".into(), 1)]), &["a:g_c-0", "a:g_c-1", "new:g_c-0"]);
        let filter = TopicFilter::white_list("a,c").unwrap();
        check(Subscription::Filter { filter, threads: 1 }, &["a:g_c-0", "c:g_c-0"]);
        let filter = TopicFilter::black_list("a").unwrap();
        check(Subscription::Filter { filter, threads: 1 }, &["b:g_c-0", "c:g_c-0"]);
    }
}
