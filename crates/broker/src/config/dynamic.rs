//! Settings of brokers that are kept in ZooKeeper and change while a broker runs: `/config/brokers/N`, and `/config/brokers/<default>` for all (KIP-226).
//!
//! Served are those that have no line in `server.properties` at all: how fast replicas may move (KIP-73). A broker's own value stands over the one for all.

use std::collections::BTreeMap;

use super::key::{Key, Kind, Rule, key};

/// Bytes a second that a leader sends to throttled followers.
pub const LEADER_RATE: &str = "leader.replication.throttled.rate";
/// Bytes a second that a follower fetches of throttled partitions.
pub const FOLLOWER_RATE: &str = "follower.replication.throttled.rate";
/// Bytes a second that move between log directories.
pub const LOG_DIRS_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

const LONG_MAX: Option<&str> = Some("9223372036854775807");

/// Every key that can be set on a running broker.
pub const DYNAMIC_KEYS: &[Key] = &[
    key(
        FOLLOWER_RATE,
        Kind::Long,
        LONG_MAX,
        Rule::AtLeast(0),
        "Bytes a second that this broker fetches of the replicas that follower.replication.throttled.replicas of a topic names.",
    )
    .dynamic(),
    key(
        LEADER_RATE,
        Kind::Long,
        LONG_MAX,
        Rule::AtLeast(0),
        "Bytes a second that this broker sends to the replicas that leader.replication.throttled.replicas of a topic names.",
    )
    .dynamic(),
    key(LOG_DIRS_RATE, Kind::Long, LONG_MAX, Rule::AtLeast(0), "Bytes a second that move between log directories.")
        .dynamic(),
];

/// The key of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    DYNAMIC_KEYS.iter().find(|key| key.name == name)
}

/// How fast replicas may move, in bytes a second; nothing where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Throttles {
    /// [`LEADER_RATE`].
    pub leader_rate: Option<u64>,
    /// [`FOLLOWER_RATE`].
    pub follower_rate: Option<u64>,
    /// [`LOG_DIRS_RATE`].
    pub log_dirs_rate: Option<u64>,
}

impl Throttles {
    /// What overrides say, those of the broker itself before those for all. A value that an old tool wrote unchecked and that is none is left out.
    #[must_use]
    pub fn of(own: Option<&BTreeMap<String, String>>, all: Option<&BTreeMap<String, String>>) -> Throttles {
        let rate = |name: &str| {
            let valid = |overrides: &BTreeMap<String, String>| overrides.get(name)?.trim().parse::<i64>().ok();
            let set = own.and_then(valid).or_else(|| all.and_then(valid))?;
            u64::try_from(set).ok().filter(|_| set < i64::MAX)
        };
        Throttles {
            leader_rate: rate(LEADER_RATE),
            follower_rate: rate(FOLLOWER_RATE),
            log_dirs_rate: rate(LOG_DIRS_RATE),
        }
    }
}

/// Which replicas of a topic are throttled: `*`, or pairs `partition:broker` (`leader.replication.throttled.replicas` and its sister).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ThrottledReplicas {
    /// No replica.
    #[default]
    None,
    /// Every replica.
    All,
    /// These, as (partition, broker), sorted.
    Some(Vec<(i32, i32)>),
}

impl ThrottledReplicas {
    /// Reads the value of a topic.
    ///
    /// # Errors
    /// The text for error 40 (INVALID_CONFIG), in the words of Kafka's `ThrottledReplicaListValidator`.
    pub fn parse(name: &str, value: &str) -> Result<ThrottledReplicas, String> {
        let items = super::key::split_list(value);
        match items.as_slice() {
            [] => return Ok(ThrottledReplicas::None),
            ["*"] => return Ok(ThrottledReplicas::All),
            _ => {}
        }
        let pair = |item: &&str| {
            let (partition, broker) = item.split_once(':')?;
            Some((
                partition.parse().ok().filter(|partition| *partition >= 0)?,
                broker.parse().ok().filter(|id| *id >= 0)?,
            ))
        };
        let pairs: Option<Vec<(i32, i32)>> = items.iter().map(pair).collect();
        let mut pairs = pairs.ok_or_else(|| {
            format!(
                "Invalid value {value} for configuration {name}: {name} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            )
        })?;
        pairs.sort_unstable();
        pairs.dedup();
        Ok(ThrottledReplicas::Some(pairs))
    }

    /// Whether the replica of a partition on a broker is throttled.
    #[must_use]
    pub fn contains(&self, partition: i32, broker: i32) -> bool {
        match self {
            ThrottledReplicas::None => false,
            ThrottledReplicas::All => true,
            ThrottledReplicas::Some(pairs) => pairs.binary_search(&(partition, broker)).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_own_rate_stands_over_that_for_all() {
        let set = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let all = set(&[(LEADER_RATE, "1000"), (FOLLOWER_RATE, "2000")]);
        let own = set(&[(LEADER_RATE, "10"), (FOLLOWER_RATE, "much"), (LOG_DIRS_RATE, "9223372036854775807")]);
        let expected = Throttles { leader_rate: Some(10), follower_rate: Some(2000), log_dirs_rate: None };
        assert_eq!(Throttles::of(Some(&own), Some(&all)), expected);
        assert_eq!(Throttles::of(None, None), Throttles::default());
    }

    #[test]
    fn throttled_replicas_are_all_or_pairs() {
        let check = |value: &str, throttled: &[(i32, i32)], free: &[(i32, i32)]| {
            let replicas = ThrottledReplicas::parse("leader.replication.throttled.replicas", value).unwrap();
            assert!(throttled.iter().all(|(p, b)| replicas.contains(*p, *b)), "{value}");
            assert!(!free.iter().any(|(p, b)| replicas.contains(*p, *b)), "{value}");
        };
        check("", &[], &[(0, 0)]);
        check("*", &[(0, 0), (7, 9)], &[]);
        check("1:2, 0:1", &[(0, 1), (1, 2)], &[(0, 2), (1, 1), (2, 1)]);
        for wrong in ["1", "1:2:3", "a:1", "-1:2", "*,0:1"] {
            assert!(ThrottledReplicas::parse("k", wrong).unwrap_err().contains("must be the literal '*'"), "{wrong}");
        }
    }
}
