//! [`ApiKey`] and the headers that stand before every request and response.
//!
//! All keys Kafka has given out are listed, so that any of them can be named; [`ApiKey::versions`] says which of them have a message table here.

use std::fmt;
use std::ops::RangeInclusive;

use crate::messages;
use crate::wire::{Reader, Str, WireError, Writer};

macro_rules! api_keys {
    ($($name:ident = $key:literal,)*) => {
        /// What a request asks for (`org.apache.kafka.common.protocol.ApiKeys`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $(#[doc = concat!("Key ", $key, ".")] $name = $key,)*
        }

        impl ApiKey {
            /// All keys, rising.
            pub const ALL: &[ApiKey] = &[$(ApiKey::$name,)*];

            /// The API with this key, if Kafka knows one.
            #[must_use]
            pub const fn from_i16(key: i16) -> Option<ApiKey> {
                match key {
                    $($key => Some(ApiKey::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name of the API, for example `OffsetForLeaderEpoch`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => stringify!($name),)*
                }
            }
        }
    };
}

api_keys! {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    LeaderAndIsr = 4,
    StopReplica = 5,
    UpdateMetadata = 6,
    ControlledShutdown = 7,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    SaslHandshake = 17,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    AddPartitionsToTxn = 24,
    AddOffsetsToTxn = 25,
    EndTxn = 26,
    WriteTxnMarkers = 27,
    TxnOffsetCommit = 28,
    DescribeAcls = 29,
    CreateAcls = 30,
    DeleteAcls = 31,
    DescribeConfigs = 32,
    AlterConfigs = 33,
    AlterReplicaLogDirs = 34,
    DescribeLogDirs = 35,
    SaslAuthenticate = 36,
    CreatePartitions = 37,
    CreateDelegationToken = 38,
    RenewDelegationToken = 39,
    ExpireDelegationToken = 40,
    DescribeDelegationToken = 41,
    DeleteGroups = 42,
    ElectLeaders = 43,
    IncrementalAlterConfigs = 44,
    AlterPartitionReassignments = 45,
    ListPartitionReassignments = 46,
    OffsetDelete = 47,
    DescribeClientQuotas = 48,
    AlterClientQuotas = 49,
    DescribeUserScramCredentials = 50,
    AlterUserScramCredentials = 51,
    Vote = 52,
    BeginQuorumEpoch = 53,
    EndQuorumEpoch = 54,
    DescribeQuorum = 55,
    AlterPartition = 56,
    UpdateFeatures = 57,
    Envelope = 58,
    FetchSnapshot = 59,
    DescribeCluster = 60,
    DescribeProducers = 61,
    BrokerRegistration = 62,
    BrokerHeartbeat = 63,
    UnregisterBroker = 64,
    DescribeTransactions = 65,
    ListTransactions = 66,
    AllocateProducerIds = 67,
    ConsumerGroupHeartbeat = 68,
    ConsumerGroupDescribe = 69,
    ControllerRegistration = 70,
    GetTelemetrySubscriptions = 71,
    PushTelemetry = 72,
    AssignReplicasToDirs = 73,
    ListClientMetricsResources = 74,
    DescribeTopicPartitions = 75,
    ShareGroupHeartbeat = 76,
    ShareGroupDescribe = 77,
    ShareFetch = 78,
    ShareAcknowledge = 79,
    AddRaftVoter = 80,
    RemoveRaftVoter = 81,
    UpdateRaftVoter = 82,
    InitializeShareGroupState = 83,
    ReadShareGroupState = 84,
    WriteShareGroupState = 85,
    DeleteShareGroupState = 86,
    ReadShareGroupStateSummary = 87,
}

impl ApiKey {
    /// The key as it stands in a request header.
    #[must_use]
    pub const fn to_i16(self) -> i16 {
        self as i16
    }

    /// Versions that the message tables cover; empty for an API without a table.
    ///
    /// This is what can be decoded, not what a broker should advertise: it may serve fewer.
    #[must_use]
    #[allow(clippy::reversed_empty_ranges)] // An empty range is what "no table" means.
    pub fn versions(self) -> RangeInclusive<i16> {
        messages::covered(self).map_or(1..=0, |covered| covered.versions)
    }

    /// Whether this version uses compact types and tagged fields (KIP-482).
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        messages::covered(self).is_some_and(|covered| version >= covered.flexible_from)
    }

    /// Version of the header before a request: 2 with tagged fields, 1 with a client id, 0 without (ControlledShutdown v0 only).
    #[must_use]
    pub fn request_header_version(self, version: i16) -> i16 {
        match self {
            _ if self.is_flexible(version) => 2,
            ApiKey::ControlledShutdown if version == 0 => 0,
            _ => 1,
        }
    }

    /// Version of the header before a response: 1 with tagged fields, else 0.
    ///
    /// ApiVersions always has 0: the client does not know yet what the broker speaks (KIP-511).
    #[must_use]
    pub fn response_header_version(self, version: i16) -> i16 {
        match self {
            ApiKey::ApiVersions => 0,
            _ => i16::from(self.is_flexible(version)),
        }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Stands before every request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHeader {
    /// Key of the API; [`ApiKey::from_i16`] knows it if decoding succeeded.
    pub api_key: i16,
    /// Version of the API. Any number: decoding does not compare it with [`ApiKey::versions`].
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// Name the client gives itself.
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// Reads a header and leaves the reader at the body.
    ///
    /// # Errors
    /// [`WireError::UnknownApiKey`] for a key no API has (nothing after it can be understood), or a damaged frame.
    pub fn decode(reader: &mut Reader) -> Result<RequestHeader, WireError> {
        let key = reader.i16()?;
        let api_version = reader.i16()?;
        let correlation_id = reader.i32()?;
        let api = ApiKey::from_i16(key).ok_or(WireError::UnknownApiKey { key })?;
        let header_version = api.request_header_version(api_version);
        // The client id keeps its two-byte length even in header version 2, so that ApiVersions can be read whatever the client speaks.
        let client_id = if header_version >= 1 { reader.nullable_string(false)? } else { None };
        if header_version >= 2 {
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(RequestHeader { api_key: key, api_version, correlation_id, client_id })
    }

    /// Writes the header.
    ///
    /// # Errors
    /// [`WireError::UnknownApiKey`], or a client id that is too long.
    pub fn encode(&self, writer: &mut Writer) -> Result<(), WireError> {
        let api = ApiKey::from_i16(self.api_key).ok_or(WireError::UnknownApiKey { key: self.api_key })?;
        let header_version = api.request_header_version(self.api_version);
        writer.i16(self.api_key);
        writer.i16(self.api_version);
        writer.i32(self.correlation_id);
        if header_version >= 1 {
            writer.nullable_string(self.client_id.as_deref(), false)?;
        }
        if header_version >= 2 {
            writer.tagged_fields(Default::default())?;
        }
        Ok(())
    }

    /// The API, if the key is known.
    #[must_use]
    pub fn api(&self) -> Option<ApiKey> {
        ApiKey::from_i16(self.api_key)
    }
}

/// Stands before every response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResponseHeader {
    /// As in the request.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of a response to `api` in `version`.
    pub fn decode(reader: &mut Reader, api: ApiKey, version: i16) -> Result<ResponseHeader, WireError> {
        let correlation_id = reader.i32()?;
        if api.response_header_version(version) >= 1 {
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(ResponseHeader { correlation_id })
    }

    /// Writes the header of a response to `api` in `version`.
    pub fn encode(&self, writer: &mut Writer, api: ApiKey, version: i16) -> Result<(), WireError> {
        writer.i32(self.correlation_id);
        if api.response_header_version(version) >= 1 {
            writer.tagged_fields(Default::default())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::protocol::Encodable as _;

    use super::*;

    #[test]
    fn keys_names_versions_and_headers_are_kafkas() {
        assert_eq!(ApiKey::ALL.len(), 88);
        for (key, api) in (0..).zip(ApiKey::ALL) {
            assert_eq!((api.to_i16(), ApiKey::from_i16(key)), (key, Some(*api)));
            let Ok(theirs) = kafka_protocol::messages::ApiKey::try_from(key) else { continue };
            assert_eq!(api.name(), format!("{theirs:?}").trim_end_matches("Key"));
            for version in api.versions() {
                assert_eq!(api.request_header_version(version), theirs.request_header_version(version), "{api}");
                assert_eq!(api.response_header_version(version), theirs.response_header_version(version), "{api}");
            }
            let range = theirs.valid_versions();
            assert!(api.versions().is_empty() || api.versions() == (range.min..=range.max), "{api}");
        }
        assert_eq!((ApiKey::from_i16(-1), ApiKey::from_i16(88)), (None, None));
    }

    #[test]
    fn request_headers_of_all_versions() {
        for api in ApiKey::ALL {
            for version in api.versions() {
                let client_id = (api.request_header_version(version) > 0).then(|| Str::from_static("console-producer"));
                let header = RequestHeader {
                    api_key: api.to_i16(),
                    api_version: version,
                    correlation_id: -7,
                    client_id: client_id.clone(),
                };
                let mut writer = Writer::new();
                header.encode(&mut writer).unwrap();
                let bytes = writer.into_bytes().unwrap();

                let mut theirs = BytesMut::new();
                kafka_protocol::messages::RequestHeader::default()
                    .with_request_api_key(api.to_i16())
                    .with_request_api_version(version)
                    .with_correlation_id(-7)
                    .with_client_id(client_id.map(|id| kafka_protocol::protocol::StrBytes::from_string(id.into())))
                    .encode(&mut theirs, api.request_header_version(version))
                    .unwrap();
                assert_eq!(bytes, theirs, "{api} v{version}");

                let mut reader = Reader::new(bytes);
                assert_eq!((RequestHeader::decode(&mut reader), reader.remaining()), (Ok(header), 0));
            }
        }
    }

    #[test]
    fn a_header_with_an_unknown_key_says_so() {
        let bytes = Bytes::from_static(&[0x03, 0xe8, 0, 0, 0, 0, 0, 1]);
        assert_eq!(RequestHeader::decode(&mut Reader::new(bytes)), Err(WireError::UnknownApiKey { key: 1000 }));
    }
}
