//! Every codec against data as Kafka wrote it, and against data nobody should write.

use std::collections::BTreeMap;
use std::fmt::Debug;

use protocol::types::{BrokerId, Uuid};

use super::*;

/// Data as Kafka wrote it reads as `expected`, and what we write for that reads the same.
fn check<T: PartialEq + Debug>(
    parse: impl Fn(&str, &[u8]) -> Result<T, ZkError>,
    to_json: impl Fn(&T) -> Bytes,
    data: &str,
    expected: T,
) {
    assert_eq!(parse("/p", data.as_bytes()).as_ref(), Ok(&expected), "{data}");
    assert_eq!(parse("/p", &to_json(&expected)).as_ref(), Ok(&expected), "written again: {data}");
}

/// Data that no codec may take, nor panic on.
fn check_refused<T: Debug>(parse: impl Fn(&str, &[u8]) -> Result<T, ZkError>, data: &str, why: &str) {
    match parse("/some/znode", data.as_bytes()) {
        Err(ZkError::BadZnode { path, why: got }) => {
            assert_eq!(path, "/some/znode");
            assert!(got.contains(why), "{data}: {got}");
        }
        other => panic!("{data}: {other:?}"),
    }
}

fn endpoint(listener: &str, protocol: &str, host: &str, port: i32) -> Endpoint {
    Endpoint { listener: listener.into(), security_protocol: protocol.into(), host: host.into(), port }
}

#[test]
fn broker_registrations_of_all_versions_are_read() {
    // The version read is not the one written.
    let parse = |path: &str, data: &[u8]| {
        BrokerRegistration::parse(path, data).map(|read| BrokerRegistration { version: 0, ..read })
    };
    let write = BrokerRegistration::to_json;
    let plain = BrokerRegistration {
        endpoints: vec![endpoint("PLAINTEXT", "PLAINTEXT", "h", 9092)],
        jmx_port: -1,
        timestamp_ms: 1_428_512_949_385,
        ..Default::default()
    };
    check(
        parse,
        write,
        r#"{"jmx_port":-1,"timestamp":"1428512949385","host":"h","version":1,"port":9092}"#,
        plain.clone(),
    );
    check(
        parse,
        write,
        r#"{"jmx_port":-1,"timestamp":"1428512949385","endpoints":["PLAINTEXT://h:9092"],"host":"h","version":2,"port":9092}"#,
        plain.clone(),
    );
    check(
        parse,
        write,
        r#"{"version":3,"host":"h","port":9092,"jmx_port":-1,"timestamp":"1428512949385","endpoints":["PLAINTEXT://h:9092"],"rack":"r1"}"#,
        BrokerRegistration { rack: Some("r1".into()), ..plain.clone() },
    );
    check(
        parse,
        write,
        r#"{"listener_security_protocol_map":{"IN":"PLAINTEXT","OUT":"SASL_SSL"},"endpoints":["IN://[::1]:9092","OUT://h:9093"],"jmx_port":-1,"host":"::1","timestamp":"1428512949385","port":9092,"version":4}"#,
        BrokerRegistration {
            endpoints: vec![endpoint("IN", "PLAINTEXT", "::1", 9092), endpoint("OUT", "SASL_SSL", "h", 9093)],
            ..plain.clone()
        },
    );
    let features = r#"{"features":{"f":{"min_version":1}},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://h:9092"],"jmx_port":-1,"port":9092,"host":"h","version":5,"timestamp":"1428512949385"}"#;
    let read = parse("/p", features.as_bytes()).unwrap();
    assert!(read.extra.contains_key("features"));
    let again: Value = serde_json::from_slice(&write(&read)).unwrap();
    assert_eq!((again["version"].as_i64(), again["features"]["f"]["min_version"].as_i64()), (Some(5), Some(1)));
    check_refused(parse, "", "EOF");
    check_refused(parse, "[]", "not a JSON object");
    check_refused(parse, r#"{"version":1,"port":9092}"#, "'host' is missing");
    check_refused(parse, r#"{"version":2,"endpoints":["PLAINTEXT:h"]}"#, "endpoint");
    check_refused(parse, r#"{"host":"h","port":9092}"#, "'version' is missing");
    check_refused(parse, r#"{"version":1,"host":"h","port":99999999999}"#, "'port'");
}

#[test]
fn a_written_registration_serves_the_oldest_clients_too() {
    let registration = BrokerRegistration {
        endpoints: vec![endpoint("IN", "SSL", "a", 1), endpoint("PLAINTEXT", "PLAINTEXT", "b", 2)],
        jmx_port: -1,
        timestamp_ms: 5,
        marker: Some("0.1.0".into()),
        ..Default::default()
    };
    assert_eq!(
        registration.to_json(),
        r#"{"listener_security_protocol_map":{"IN":"SSL","PLAINTEXT":"PLAINTEXT"},"endpoints":["IN://a:1","PLAINTEXT://b:2"],"jmx_port":-1,"timestamp":"5","host":"b","version":4,"port":2,"tidemill":"0.1.0"}"#
    );
    let sealed = BrokerRegistration { endpoints: vec![endpoint("IN", "SSL", "a", 1)], ..registration };
    let written: Value = serde_json::from_slice(&sealed.to_json()).unwrap();
    assert_eq!((&written["host"], written["port"].as_i64()), (&Value::Null, Some(-1)));
    let read = BrokerRegistration::parse("/p", &sealed.to_json());
    assert_eq!(read, Ok(BrokerRegistration { version: 4, ..sealed }));
}

#[test]
fn controllers_and_clusters_are_read() {
    let seven = Controller { broker: BrokerId(7), timestamp_ms: 12 };
    check(Controller::parse, |c| c.to_json(), r#"{"version":1,"brokerid":7,"timestamp":"12"}"#, seven);
    check(
        Controller::parse,
        |c| c.to_json(),
        r#"{"version":2,"brokerid":7,"timestamp":"12","kraftControllerEpoch":-1}"#,
        seven,
    );
    assert_eq!(Controller::parse("/p", b"7").unwrap().broker, BrokerId(7));
    check_refused(Controller::parse, r#"{"version":1}"#, "brokerid");
    let id = ClusterId("5wgDkaZsRAO4Gkv44pwqLA".into());
    check(ClusterId::parse, ClusterId::to_json, r#"{"version":"1","id":"5wgDkaZsRAO4Gkv44pwqLA"}"#, id);
    assert_eq!(parse_number::<i32>("/controller_epoch", b"17"), Ok(17));
    check_refused(parse_number::<i32>, "17x", "not a number");
    check_refused(parse_number::<i32>, "\u{fffd}", "not a number");
}

#[test]
fn topics_are_read_and_keep_what_is_not_known() {
    let (parse, write) = (TopicAssignment::parse, TopicAssignment::to_json);
    let partitions = BTreeMap::from([(0, vec![1, 2]), (1, vec![2, 1]), (10, vec![1])]);
    let plain = TopicAssignment { partitions, ..Default::default() };
    check(parse, write, r#"{"version":1,"partitions":{"10":[1],"0":[1,2],"1":[2,1]}}"#, plain.clone());
    assert_eq!(write(&plain), r#"{"version":1,"partitions":{"0":[1,2],"1":[2,1],"10":[1]}}"#);
    let id = Uuid::parse("Cl9yFCzUSpKUVwGtJ0sfvg");
    check(
        parse,
        write,
        r#"{"removing_replicas":{"0":[2]},"partitions":{"10":[1],"0":[1,2],"1":[2,1]},"topic_id":"Cl9yFCzUSpKUVwGtJ0sfvg","adding_replicas":{"0":[3]},"version":3}"#,
        TopicAssignment {
            adding_replicas: BTreeMap::from([(0, vec![3])]),
            removing_replicas: BTreeMap::from([(0, vec![2])]),
            topic_id: id,
            ..plain
        },
    );
    let read = parse("/p", br#"{"version":9,"partitions":{},"new":[1]}"#).unwrap();
    assert_eq!(write(&read), r#"{"version":1,"partitions":{},"new":[1]}"#);
    check_refused(parse, r#"{"version":1,"partitions":{"x":[1]}}"#, "'partitions'");
    check_refused(parse, r#"{"version":1,"partitions":{"-1":[1]}}"#, "negative");
    check_refused(parse, r#"{"version":1,"partitions":{"0":["1a"]}}"#, "'partitions'");
    check_refused(parse, r#"{"version":3,"partitions":{},"topic_id":"short"}"#, "'topic_id'");
}

#[test]
fn partition_states_are_written_byte_for_byte_as_kafka_does() {
    let (parse, write) = (PartitionState::parse, PartitionState::to_json);
    let text = r#"{"controller_epoch":1,"leader":0,"version":1,"leader_epoch":3,"isr":[0,2]}"#;
    let state = PartitionState { controller_epoch: 1, leader_epoch: 3, isr: vec![0, 2], ..Default::default() };
    check(parse, write, text, state.clone());
    assert_eq!(write(&state), text);
    let with_elr = PartitionState { leader: -1, leader_recovery_state: Some(1), elr: vec![4], ..state };
    check(
        parse,
        write,
        r#"{"controller_epoch":1,"leader":-1,"version":1,"leader_epoch":3,"isr":[0,2],"leader_recovery_state":1,"elr":[4]}"#,
        with_elr,
    );
    check_refused(parse, r#"{"controller_epoch":1,"leader":0,"version":1,"isr":[0]}"#, "leader_epoch");
    check_refused(parse, r#"{"controller_epoch":1"#, "EOF");
}

#[test]
fn config_changes_are_read_in_all_their_forms() {
    let check = |data: &str, path: &str| {
        let read = ConfigChange::parse("/p", data.as_bytes()).unwrap();
        assert_eq!(read.entity_path, path, "{data}");
        assert_eq!(ConfigChange::parse("/p", &read.to_json()), Ok(read));
    };
    check(r#""T""#, "topics/T");
    check(r#"{"version":1,"entity_type":"topics","entity_name":"T"}"#, "topics/T");
    check(r#"{"version":2,"entity_path":"users/u/clients/c"}"#, "users/u/clients/c");
    assert_eq!(ConfigChange::topic("T").entity(), Some(("topics", "T")));
    assert_eq!(ConfigChange { entity_path: "users/u/clients/c".into() }.entity(), None);
    check_refused(ConfigChange::parse, r#"{"version":3}"#, "version 3");
    check_refused(ConfigChange::parse, "T", "expected");
}

#[test]
fn configurations_are_read_and_written_even_when_empty() {
    let (parse, write) = (EntityConfig::parse, EntityConfig::to_json);
    let config = EntityConfig::new(vec![("retention.ms".into(), "1000".into()), ("cleanup.policy".into(), "a".into())]);
    check(parse, write, r#"{"version":1,"config":{"retention.ms":"1000","cleanup.policy":"a"}}"#, config);
    assert_eq!(write(&EntityConfig::default()), r#"{"version":1,"config":{}}"#);
    assert_eq!(parse("/p", b""), Ok(EntityConfig::default()));
    check_refused(parse, r#"{"version":2,"config":{}}"#, "version 2");
    check_refused(parse, r#"{"version":1,"config":{"a":1}}"#, "'config'");
}

#[test]
fn requests_to_the_controller_are_read() {
    check(
        Reassignment::parse,
        Reassignment::to_json,
        r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2]}]}"#,
        Reassignment { partitions: vec![("t".into(), 0, vec![1, 2])] },
    );
    check(
        PartitionElection::parse,
        PartitionElection::to_json,
        r#"{"version":1,"partitions":[{"topic":"t","partition":0}]}"#,
        PartitionElection { partitions: vec![("t".into(), 0)] },
    );
    check(
        IsrChange::parse,
        IsrChange::to_json,
        r#"{"version":1,"partitions":[{"topic":"t","partition":3}]}"#,
        IsrChange { partitions: vec![("t".into(), 3)] },
    );
    check(LogDirEvent::parse, |e| e.to_json(), r#"{"version":1,"broker":4,"event":1}"#, LogDirEvent { broker: 4 });
    check_refused(IsrChange::parse, r#"{"version":1,"partitions":[{"topic":"t"}]}"#, "'partitions'");
}

#[test]
fn producer_ids_come_in_blocks_that_do_not_overlap() {
    let first = ProducerIdBlock::next(None, 4).unwrap();
    assert_eq!(first.to_json(), r#"{"version":1,"broker":4,"block_start":"0","block_end":"999"}"#);
    assert_eq!(ProducerIdBlock::parse("/p", &first.to_json()), Ok(Some(first)));
    let second = ProducerIdBlock::next(Some(first), 5).unwrap();
    assert_eq!((second.broker, second.first, second.last), (5, 1000, 1999));
    let last = ProducerIdBlock { broker: 1, first: 0, last: i64::MAX - 5 };
    assert_eq!(ProducerIdBlock::next(Some(last), 1), None);
    assert_eq!(ProducerIdBlock::parse("/p", b""), Ok(None));
    check_refused(ProducerIdBlock::parse, r#"{"broker":1,"block_start":"5","block_end":"4"}"#, "block 5 to 4");
}

#[test]
fn consumers_are_written_with_kafkas_keys_in_kafkas_order() {
    let text = r#"{"version":1,"subscription":{"topic":1},"pattern":"static","timestamp":"12"}"#;
    let registration = ConsumerRegistration {
        pattern: SubscriptionPattern::Static,
        subscription: vec![("topic".into(), 1)],
        timestamp_ms: 12,
    };
    assert_eq!(registration.to_json(), text);
    check(ConsumerRegistration::parse, ConsumerRegistration::to_json, text, registration);
    check_refused(ConsumerRegistration::parse, &text.replace("static", "new"), "pattern 'new'");
    let owner = ConsumerOwner::parse("/p", b"g_host-1-abcdef01-3").unwrap();
    assert_eq!((owner.consumer.as_str(), owner.thread), ("g_host-1-abcdef01", 3));
    assert_eq!(owner.to_string(), "g_host-1-abcdef01-3");
    check_refused(ConsumerOwner::parse, "nothing", "<consumer>-<thread>");
}
