//! Properties files, the JSON in znodes, connect strings, and the records in `__consumer_offsets`.

use bytes::Bytes;
use client::zookeeper::ConnectString;
use client::zookeeper::znodes::*;
use coordinator::record::{self, GroupValue, Key, MemberValue, OffsetValue};

use crate::damage::{Campaign, damage};

const MEMORY: usize = 64 * 1024;
const MEMORY_PER_BYTE: usize = 512;
/// Inputs of the test of properties files in every input of the others.
const FILE_SHARE: usize = 4;

/// A good text, and whether bytes are read as one.
type Sample<'a> = (&'a [u8], &'a dyn Fn(&[u8]) -> bool);

/// Runs parsers on damaged texts; each entry is a good text and its parser.
fn check(share: usize, samples: &[Sample<'_>]) {
    for (text, read) in samples {
        assert!(read(text), "{} is not good", String::from_utf8_lossy(text));
    }
    let campaign = Campaign::from_environment().shared(share);
    let good = campaign.run(
        |number, dice| damage(samples[number % samples.len()].0, dice),
        |length| MEMORY + length * MEMORY_PER_BYTE,
        |number, bytes| samples[number % samples.len()].1(bytes),
    );
    assert!(good > campaign.inputs / 50, "{good} of {} were read", campaign.inputs);
}

#[test]
fn znodes() {
    check(1, &[
        (
            br#"{"version":4,"jmx_port":-1,"timestamp":"1700000000000","endpoints":["PLAINTEXT://localhost:9092"],"host":"localhost","port":9092,"rack":null,"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"}}"#,
            &|data| BrokerRegistration::parse("/brokers/ids/0", data).is_ok(),
        ),
        (br#"{"version":1,"brokerid":0,"timestamp":"1700000000000"}"#, &|data| Controller::parse("/controller", data).is_ok()),
        (br#"{"version":"1","id":"0123456789abcdefghijkl"}"#, &|data| ClusterId::parse("/cluster/id", data).is_ok()),
        (
            br#"{"version":2,"partitions":{"0":[0,1],"1":[1,0]},"adding_replicas":{},"removing_replicas":{}}"#,
            &|data| TopicAssignment::parse("/brokers/topics/t", data).is_ok(),
        ),
        (
            br#"{"controller_epoch":1,"leader":0,"version":1,"leader_epoch":3,"isr":[0,1]}"#,
            &|data| PartitionState::parse("/brokers/topics/t/partitions/0/state", data).is_ok(),
        ),
        (br#"{"version":1,"config":{"retention.ms":"1000"}}"#, &|data| EntityConfig::parse("/config/topics/t", data).is_ok()),
        (br#"{"version":2,"entity_path":"topics/t"}"#, &|data| ConfigChange::parse("/config/changes/c", data).is_ok()),
        (
            br#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2]}]}"#,
            &|data| Reassignment::parse("/admin/reassign_partitions", data).is_ok(),
        ),
        (
            br#"{"version":1,"partitions":[{"topic":"t","partition":0}]}"#,
            &|data| PartitionElection::parse("/admin/preferred_replica_election", data).is_ok(),
        ),
        (
            br#"{"version":1,"partitions":[{"topic":"t","partition":0}]}"#,
            &|data| IsrChange::parse("/isr_change_notification/isr_change_0", data).is_ok(),
        ),
        (br#"{"version":1,"broker":0,"event":1}"#, &|data| LogDirEvent::parse("/log_dir_event_notification/l", data).is_ok()),
        (
            br#"{"version":1,"broker":0,"block_start":"0","block_end":"999"}"#,
            &|data| ProducerIdBlock::parse("/latest_producer_id_block", data).is_ok(),
        ),
        (
            br#"{"version":1,"subscription":{"t":1},"pattern":"white_list","timestamp":"1700000000000"}"#,
            &|data| ConsumerRegistration::parse("/consumers/g/ids/c", data).is_ok(),
        ),
        (b"g_host-1700000000000-0123abcd-0", &|data| ConsumerOwner::parse("/consumers/g/owners/t/0", data).is_ok()),
    ]);
}

/// Beginnings and ends of byte order marks, which the parser would take for another encoding.
#[test]
fn properties_files_of_another_encoding() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("some.properties");
    let texts: [&[u8]; 7] = [b"\xff", b"\xfe", b"\xff\xfe", b"\xfe\xffa", b"\xef\xbb", b"\xef\xbb\xbf\xc3", b""];
    for text in texts {
        std::fs::write(&file, text).unwrap();
        assert!(::broker::BrokerConfig::load(&file, Vec::<(String, String)>::new()).is_err(), "{text:x?}");
        assert!(::keeper::KeeperConfig::from_properties(&file).is_err(), "{text:x?}");
    }
}

/// An array in an array in an array: as deep as the bytes go.
#[test]
fn deep_json() {
    for (open, close) in [("[", "]"), (r#"{"partitions":"#, "}")] {
        let text = open.repeat(200_000) + &close.repeat(200_000);
        assert!(TopicAssignment::parse("/brokers/topics/t", text.as_bytes()).is_err());
    }
}

#[test]
fn connect_strings() {
    check(
        1,
        &[(b"localhost:2181,[::1]:2182,example/chroot/of/kafka", &|text| {
            String::from_utf8(text.to_vec()).is_ok_and(|text| ConnectString::parse(&text).is_ok())
        })],
    );
}

#[test]
fn properties_files() {
    let broker: &[u8] = b"# a comment\nbroker.id=0\nlisteners = PLAINTEXT://localhost:9092\nlog.dirs:/tmp/a\\\n  b\nlog.retention.hours=168\nnum.partitions=1\nzookeeper.connect=localhost:2181/a\\u00e9\n";
    let keeper: &[u8] = b"! a comment\ntickTime=2000\ndataDir=/tmp/zookeeper\nclientPort=2181\nmaxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=ruok,stat\n";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("some.properties");
    check(
        FILE_SHARE,
        &[
            (broker, &|text| {
                std::fs::write(&file, text).unwrap();
                ::broker::BrokerConfig::load(&file, Vec::<(String, String)>::new()).is_ok()
            }),
            (keeper, &|text| {
                std::fs::write(&file, text).unwrap();
                ::keeper::KeeperConfig::from_properties(&file).is_ok()
            }),
        ],
    );
}

#[test]
fn records_of_groups_and_offsets() {
    let offset_key = record::offset_key("group", "topic", 3).unwrap();
    let group_key = record::group_key("group").unwrap();
    let offset = OffsetValue {
        offset: 42,
        leader_epoch: 1,
        metadata: "some".into(),
        commit_timestamp: 1,
        expire_timestamp: None,
    }
    .encode()
    .unwrap();
    let member = MemberValue { member_id: "member".into(), client_id: "client".into(), ..Default::default() };
    let group =
        GroupValue { protocol_type: "consumer".into(), generation: 1, members: vec![member], ..Default::default() }
            .encode()
            .unwrap();
    let key = |bytes: &[u8]| Key::decode(Bytes::copy_from_slice(bytes)).is_ok();
    check(
        1,
        &[
            (&offset_key, &key),
            (&group_key, &key),
            (&offset, &|bytes| OffsetValue::decode(Bytes::copy_from_slice(bytes)).is_ok()),
            (&group, &|bytes| GroupValue::decode(Bytes::copy_from_slice(bytes)).is_ok()),
        ],
    );
}
