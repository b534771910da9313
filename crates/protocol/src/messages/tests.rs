// Every check takes our message and kafka-protocol's, even where it needs only ours.
#![allow(clippy::extra_unused_type_parameters)]

use std::collections::HashSet;
use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::sample::{Sample, Source};
use super::*;
use crate::types::Uuid;

/// Random messages per API, version and direction.
const SAMPLES: u64 = 40;

/// Damaged frames per API, version and direction.
const DAMAGED: u64 = 50;

/// Calls `$check::<message, the same message of kafka-protocol>(version)` for every request and response in every version.
macro_rules! check_messages {
    ([$check:ident] $($key:ident: $module:ident, $request:ident, $response:ident;)*) => {$(
        for version in $module::$request::VERSIONS {
            $check::<$module::$request, kafka_protocol::messages::$request>(version);
            $check::<$module::$response, kafka_protocol::messages::$response>(version);
        }
    )*};
}

fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).unwrap_or_else(|error| panic!("{} v{version}: {error}: {message:?}", M::NAME));
    writer.into_bytes().unwrap()
}

fn decode<M: Message>(bytes: &Bytes, version: i16) -> M {
    let mut reader = Reader::new(bytes.clone());
    let message = M::decode(&mut reader, version).unwrap_or_else(|error| panic!("{} v{version}: {error}", M::NAME));
    assert_eq!(reader.remaining(), 0, "{} v{version} left bytes behind", M::NAME);
    message
}

fn seed_of<M: Message>(version: i16, round: u64) -> u64 {
    M::NAME
        .bytes()
        .fold(round + ((version as u64) << 32), |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

#[test]
fn defaults_come_back_and_are_kafkas() {
    fn check<M: Message, Oracle: Encodable + Default + Debug>(version: i16) {
        let bytes = encode(&M::default(), version);
        assert_eq!(decode::<M>(&bytes, version), M::default(), "{} v{version}", M::NAME);
        let mut theirs = BytesMut::new();
        Oracle::default().encode(&mut theirs, version).unwrap();
        assert_eq!(bytes, theirs, "{} v{version}", M::NAME);
        assert_eq!(ours_as_theirs(&M::default()), theirs_plain(&Oracle::default()), "{} v{version}", M::NAME);
    }
    for_each_api!(check_messages check);
}

/// What we encode, kafka-protocol reads as the same values in the same fields, and encodes to the same bytes; and we read those back.
#[test]
fn random_messages_agree_with_kafka_protocol() {
    fn check<M: Message + Sample, Oracle: Encodable + Decodable + Debug>(version: i16) {
        for round in 0..SAMPLES {
            let message = M::sample(&mut Source::new(seed_of::<M>(version, round)), version, true);
            let bytes = encode(&message, version);
            let mut left = bytes.clone();
            let theirs = Oracle::decode(&mut left, version)
                .unwrap_or_else(|error| panic!("{} v{version}: {error}: {message:?}", M::NAME));
            assert!(left.is_empty(), "{} v{version}: {} bytes left: {message:?}", M::NAME, left.len());
            assert_eq!(ours_as_theirs(&message), theirs_plain(&theirs), "{} v{version}", M::NAME);

            let mut again = BytesMut::new();
            theirs.encode(&mut again, version).unwrap();
            assert_eq!(bytes, again, "{} v{version}: {message:?}", M::NAME);
            assert_eq!(decode::<M>(&again.freeze(), version), message, "{} v{version}", M::NAME);
        }
    }
    for_each_api!(check_messages check);
}

/// Kafka-protocol prints tagged fields it does not know, which we do not keep.
fn theirs_plain(message: &impl Debug) -> String {
    let text = format!("{message:?}");
    text.replace(", unknown_tagged_fields: {}", "").replace("unknown_tagged_fields: {} ", "")
}

/// Prints our message as kafka-protocol prints its own: ids as hexadecimal, and the three names that differ.
fn ours_as_theirs(message: &impl Debug) -> String {
    let text = format!("{message:?}")
        .replace("EntryResult {", "EntryData {")
        .replace(" match: ", " _match: ")
        .replace("records: Bytes(", "records: Some(")
        .replace("records: Null", "records: None");
    let mut parts = text.split("Uuid(");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (id, rest) = part.split_once(')').unwrap();
        let hex = Uuid::parse(id).unwrap().0.map(|byte| format!("{byte:02x}")).concat();
        plain += &[&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        plain += rest;
    }
    plain
}

/// Damaged bytes are an error or another valid message, never a panic.
#[test]
fn damaged_frames_are_refused_or_mean_something() {
    fn check<M: Message + Sample, Oracle>(version: i16) {
        for round in 0..DAMAGED {
            let mut source = Source::new(seed_of::<M>(version, round ^ 0x5eed));
            let bytes = damage(encode(&M::sample(&mut source, version, true), version), &mut source);
            if let Ok(message) = M::decode(&mut Reader::new(bytes), version) {
                let once = encode(&message, version);
                let twice = encode(&decode::<M>(&once, version), version);
                assert_eq!(once, twice, "{} v{version}", M::NAME);
            }
        }
    }
    for_each_api!(check_messages check);
}

fn damage(bytes: Bytes, source: &mut Source) -> Bytes {
    let mut bytes = bytes.to_vec();
    for _ in 0..=source.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = source.below(bytes.len());
        match source.below(6) {
            0 => bytes[at] ^= 1 << source.below(8),
            1 => bytes.truncate(at),
            2 => bytes[at] = 0xff,
            // Lengths, plain and compact, that promise far more than there is.
            3 => drop(bytes.splice(at..bytes.len().min(at + 4), [0x7f, 0xff, 0xff, 0xff])),
            4 => drop(bytes.splice(at..bytes.len().min(at + 5), [0xff, 0xff, 0xff, 0xff, 0x0f])),
            _ => {
                let end = at + source.below(bytes.len() - at);
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
        }
    }
    bytes.into()
}

#[test]
fn versions_without_a_table_are_refused() {
    fn check<M: Message, Oracle>(_version: i16) {
        for version in [-1, 100] {
            let expected = WireError::UnsupportedVersion { message: M::NAME, version };
            assert_eq!(M::decode(&mut Reader::new(Bytes::new()), version), Err(expected.clone()));
            assert_eq!(M::default().encode(&mut Writer::new(), version), Err(expected));
        }
    }
    for_each_api!(check_messages check);
}

#[test]
fn every_api_of_a_zookeeper_broker_that_clients_use_has_a_table() {
    let covered: HashSet<_> = ApiKey::ALL.iter().filter(|api| covered(**api).is_some()).collect();
    // 4 to 6 are the controller's, 38 to 41 delegation tokens, 50 and 51 SCRAM, 56 to 58 KRaft's and feature updates, 67 KRaft's.
    let without = [4..=6, 38..=41, 50..=51, 56..=58, 67..=67];
    for key in (0..=51).chain(56..=58).chain([60, 61]).chain(65..=69) {
        let api = ApiKey::from_i16(key).unwrap();
        assert_eq!(covered.contains(&api), !without.iter().any(|range| range.contains(&key)), "{api}");
    }
}

#[test]
fn values_a_version_cannot_carry() {
    fn check<M: Message>(message: M, version: i16, expected: Result<(), WireError>) {
        assert_eq!(message.encode(&mut Writer::new(), version), expected, "{message:?} v{version}");
    }
    use super::{fetch, join_group, list_offsets, metadata, produce};

    let transactional = || produce::ProduceRequest { transactional_id: Some("t".into()), ..Default::default() };
    let refused = |message, field, version| Err(WireError::FieldNotInVersion { message, field, version });
    check(transactional(), 3, Ok(()));
    check(transactional(), 2, refused("ProduceRequest", "transactional_id", 2));

    let ranked = || fetch::FetchRequest { rack_id: "r".into(), ..Default::default() };
    check(ranked(), 11, Ok(()));
    check(ranked(), 10, Ok(()));

    let old_style = || list_offsets::ListOffsetsPartitionResponse { old_style_offsets: vec![7], ..Default::default() };
    check(old_style(), 0, Ok(()));
    check(old_style(), 1, refused("ListOffsetsPartitionResponse", "old_style_offsets", 1));

    let null = |message, field, version| Err(WireError::NullNotAllowed { message, field, version });
    let all_topics = || metadata::MetadataRequest { topics: None, ..Default::default() };
    check(all_topics(), 1, Ok(()));
    check(all_topics(), 0, null("MetadataRequest", "topics", 0));
    let no_protocol = || join_group::JoinGroupResponse { protocol_name: None, ..Default::default() };
    check(no_protocol(), 7, Ok(()));
    check(no_protocol(), 6, null("JoinGroupResponse", "protocol_name", 6));
}

#[test]
fn null_where_a_version_has_none_is_refused() {
    let null_topics = Bytes::from_static(&[0xff; 4]);
    let expected = WireError::NullNotAllowed { message: "MetadataRequest", field: "topics", version: 0 };
    assert_eq!(metadata::MetadataRequest::decode(&mut Reader::new(null_topics.clone()), 0), Err(expected));
    assert_eq!(decode::<metadata::MetadataRequest>(&null_topics, 1).topics, None);
}

#[test]
fn records_and_names_of_a_produce_request_are_slices_of_the_frame() {
    let records = Bytes::from(vec![7; 100]);
    let request = produce::ProduceRequest {
        topic_data: vec![produce::TopicProduceData {
            name: "wordsendertest".into(),
            partition_data: vec![produce::PartitionProduceData { index: 0, records: Some(records.clone()) }],
        }],
        ..Default::default()
    };
    for version in produce::ProduceRequest::VERSIONS {
        let frame = encode(&request, version);
        let topic = decode::<produce::ProduceRequest>(&frame, version).topic_data.remove(0);
        let within = |part: &[u8]| frame.as_ptr_range().contains(&part.as_ptr());
        assert_eq!(topic.partition_data[0].records.as_ref(), Some(&records));
        assert!(within(topic.partition_data[0].records.as_ref().unwrap()) && within(topic.name.as_bytes()));
    }
}

/// An old client sends an ApiVersions request; the newest version we could be asked for must not keep it from understanding "no".
#[test]
fn unsupported_api_versions_is_answered_in_v0() {
    use super::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
    use crate::error::ErrorCode;

    let api_keys = ApiKey::ALL
        .iter()
        .filter_map(|api| covered(*api).map(|covered| (api, covered.versions)))
        .map(|(api, versions)| ApiVersion {
            api_key: api.to_i16(),
            min_version: *versions.start(),
            max_version: *versions.end(),
        })
        .collect();
    let response =
        ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION.code(), api_keys, ..Default::default() };
    let frame = crate::frame::encode_response(ApiKey::ApiVersions, 0, 42, &response).unwrap();
    let (header, back) = crate::frame::decode_response::<ApiVersionsRequest>(frame.slice(4..), 0).unwrap();
    assert_eq!((header.correlation_id, back), (42, response));
}

#[test]
fn consumer_protocol_agrees_with_kafka_protocol() {
    use super::consumer_protocol::*;

    fn check<M: Message + Sample, Oracle: Encodable + Decodable + Debug>() {
        for version in 0..=VERSION_MAX {
            for round in 0..SAMPLES {
                let message = M::sample(&mut Source::new(seed_of::<M>(version, round)), version, true);
                let bytes = super::consumer_protocol::encode(&message, version).unwrap();
                assert_eq!(super::consumer_protocol::decode::<M>(bytes.clone()).unwrap(), (version, message.clone()));

                let mut body = bytes.slice(2..);
                let theirs = Oracle::decode(&mut body, version).unwrap();
                assert!(body.is_empty());
                let ours = ours_as_theirs(&message).replace("TopicPartitions {", "TopicPartition {");
                assert_eq!(ours, theirs_plain(&theirs), "{} v{version}", M::NAME);
            }
        }
    }
    check::<ConsumerProtocolSubscription, kafka_protocol::messages::ConsumerProtocolSubscription>();
    check::<ConsumerProtocolAssignment, kafka_protocol::messages::ConsumerProtocolAssignment>();
}
