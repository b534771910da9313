//! Which version of each request a broker understands, and which one we send.
//!
//! A broker since 0.10 says so itself (ApiVersions, KIP-35). An older one closes the connection on that request (0.8) or never answers it
//! (0.9); then a table written from the release's source stands in. Only what a broker really speaks is in a table, so a missing key means "this broker cannot".

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use protocol::api::ApiKey;

use super::error::ClientError;

/// Where the knowledge of [`ApiVersions`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The broker's answer to ApiVersions.
    Broker,
    /// The table of a release that has no ApiVersions.
    Table(OldBroker),
}

/// Releases without ApiVersions (`broker.version.fallback`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OldBroker {
    /// 0.8.2: offsets in Kafka, but no group protocol.
    V0_8_2,
    /// 0.9.0: consumer groups.
    #[default]
    V0_9_0,
}

impl FromStr for OldBroker {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<OldBroker, ClientError> {
        if text == "0.8.2" || text.starts_with("0.8.2.") {
            return Ok(OldBroker::V0_8_2);
        }
        if text == "0.9.0" || text.starts_with("0.9.0.") {
            return Ok(OldBroker::V0_9_0);
        }
        Err(ClientError::InvalidConfig {
            name: "broker.version.fallback".to_string(),
            value: text.to_string(),
            reason: "must be 0.8.2 or 0.9.0; newer brokers say their versions themselves".to_string(),
        })
    }
}

impl OldBroker {
    /// Highest version of each request the release handles; all start at 0.
    fn table(self) -> &'static [(ApiKey, i16)] {
        match self {
            // `kafka.api.RequestKeys` and the handlers of 0.8.2.2.
            OldBroker::V0_8_2 => &[
                (ApiKey::Produce, 0),
                (ApiKey::Fetch, 0),
                (ApiKey::ListOffsets, 0),
                (ApiKey::Metadata, 0),
                (ApiKey::OffsetCommit, 1),
                (ApiKey::OffsetFetch, 1),
                (ApiKey::FindCoordinator, 0),
            ],
            // `org.apache.kafka.common.protocol.Protocol` of 0.9.0.1.
            OldBroker::V0_9_0 => &[
                (ApiKey::Produce, 1),
                (ApiKey::Fetch, 1),
                (ApiKey::ListOffsets, 0),
                (ApiKey::Metadata, 0),
                (ApiKey::OffsetCommit, 2),
                (ApiKey::OffsetFetch, 1),
                (ApiKey::FindCoordinator, 0),
                (ApiKey::JoinGroup, 0),
                (ApiKey::Heartbeat, 0),
                (ApiKey::LeaveGroup, 0),
                (ApiKey::SyncGroup, 0),
                (ApiKey::DescribeGroups, 0),
                (ApiKey::ListGroups, 0),
            ],
        }
    }
}

/// The version ranges of one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiVersions {
    ranges: HashMap<i16, (i16, i16)>,
    source: Source,
}

impl ApiVersions {
    /// What a broker answered: `(key, min, max)` each. Keys we do not know are kept, they cost nothing.
    pub fn from_broker(ranges: impl IntoIterator<Item = (i16, i16, i16)>) -> ApiVersions {
        let ranges = ranges.into_iter().map(|(key, min, max)| (key, (min, max))).collect();
        ApiVersions { ranges, source: Source::Broker }
    }

    /// What a release without ApiVersions understands.
    #[must_use]
    pub fn from_table(release: OldBroker) -> ApiVersions {
        let ranges = release.table().iter().map(|(key, max)| (*key as i16, (0, *max))).collect();
        ApiVersions { ranges, source: Source::Table(release) }
    }

    /// Where this knowledge comes from.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// The range the broker speaks, `None` where it does not know the request.
    #[must_use]
    pub fn range(&self, key: ApiKey) -> Option<RangeInclusive<i16>> {
        self.ranges.get(&(key as i16)).map(|(min, max)| *min..=*max)
    }

    /// The highest version that both sides speak within `wanted`.
    ///
    /// # Errors
    /// [`ClientError::UnsupportedVersion`] with both ranges.
    pub fn pick(&self, key: ApiKey, wanted: &RangeInclusive<i16>) -> Result<i16, ClientError> {
        let ours = key.versions();
        let (low, high) = ((*ours.start()).max(*wanted.start()), (*ours.end()).min(*wanted.end()));
        let unsupported = |theirs: String| ClientError::UnsupportedVersion {
            api: key.name(),
            reason: format!("the client can use versions {low} to {high}, the broker {theirs}"),
        };
        let Some(theirs) = self.range(key) else { return Err(unsupported("does not know the request".to_string())) };
        let version = high.min(*theirs.end());
        if version < low || version < *theirs.start() {
            return Err(unsupported(format!("{} to {}", theirs.start(), theirs.end())));
        }
        Ok(version)
    }

    /// [`ApiVersions::pick`] without a wish.
    ///
    /// # Errors
    /// [`ClientError::UnsupportedVersion`] with both ranges.
    pub fn highest(&self, key: ApiKey) -> Result<i16, ClientError> {
        self.pick(key, &(0..=i16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_picked() {
        fn check(theirs: (i16, i16), wanted: RangeInclusive<i16>, expected: Option<i16>) {
            let versions = ApiVersions::from_broker([(ApiKey::Heartbeat as i16, theirs.0, theirs.1)]);
            assert_eq!(versions.pick(ApiKey::Heartbeat, &wanted).ok(), expected, "{theirs:?} {wanted:?}");
        }
        check((0, 0), 0..=99, Some(0));
        check((0, 4), 0..=99, Some(4));
        check((0, 99), 0..=99, Some(4));
        check((0, 4), 0..=2, Some(2));
        check((3, 4), 0..=2, None);
        check((0, 1), 2..=4, None);
        check((90, 99), 0..=99, None);
        // A hostile range.
        check((4, 0), 0..=99, None);
    }

    #[test]
    fn an_old_broker_has_no_key_it_does_not_handle() {
        let old = ApiVersions::from_table(OldBroker::V0_9_0);
        assert_eq!(old.highest(ApiKey::Produce).unwrap(), 1);
        assert_eq!(old.highest(ApiKey::OffsetCommit).unwrap(), 2);
        assert_eq!(old.highest(ApiKey::JoinGroup).unwrap(), 0);
        assert!(old.highest(ApiKey::CreateTopics).is_err());
        let older = ApiVersions::from_table(OldBroker::V0_8_2);
        assert_eq!(older.highest(ApiKey::Fetch).unwrap(), 0);
        assert!(older.highest(ApiKey::JoinGroup).is_err());
    }

    #[test]
    fn releases_are_named_as_librdkafka_names_them() {
        assert_eq!("0.9.0.1".parse::<OldBroker>().unwrap(), OldBroker::V0_9_0);
        assert_eq!("0.8.2.2".parse::<OldBroker>().unwrap(), OldBroker::V0_8_2);
        assert!("0.10.0".parse::<OldBroker>().is_err());
    }
}
