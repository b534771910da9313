use super::*;

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn offset(offset: i64, leader_epoch: i32, metadata: &str, at: i64, expires: Option<i64>) -> OffsetValue {
    OffsetValue { offset, leader_epoch, metadata: metadata.into(), commit_timestamp: at, expire_timestamp: expires }
}

#[test]
fn keys_are_kafkas() {
    let offset = Key::Offset { group: "g".into(), partition: TopicPartition::new("t1", 7) };
    assert_eq!(offset_key("g", "t1", 7).unwrap(), bytes("0001 0001 67 0002 7431 00000007"));
    assert_eq!(group_key("gr").unwrap(), bytes("0002 0002 6772"));
    for (hex, expected) in [
        ("0001 0001 67 0002 7431 00000007", offset.clone()),
        // What 0.8.2 wrote.
        ("0000 0001 67 0002 7431 00000007", offset),
        ("0002 0002 6772", Key::Group { group: "gr".into() }),
        ("0003 0002 6772", Key::Unknown(3)),
    ] {
        assert_eq!(Key::decode(bytes(hex)), Ok(expected), "{hex}");
    }
    assert!(Key::decode(bytes("0001 0005 67")).is_err());
}

#[test]
fn offsets_of_all_versions_are_read() {
    for (hex, expected) in [
        ("0000 000000000000002a 0001 6d 0000000000000064", offset(42, -1, "m", 100, None)),
        ("0001 000000000000002a 0000 0000000000000064 00000000000000c8", offset(42, -1, "", 100, Some(200))),
        ("0001 000000000000002a 0000 0000000000000064 ffffffffffffffff", offset(42, -1, "", 100, None)),
        ("0002 000000000000002a 0000 0000000000000064", offset(42, -1, "", 100, None)),
        ("0003 000000000000002a 00000005 0001 6d 0000000000000064", offset(42, 5, "m", 100, None)),
        ("0004 000000000000002a 00000005 02 6d 0000000000000064 00", offset(42, 5, "m", 100, None)),
    ] {
        assert_eq!(OffsetValue::decode(bytes(hex)), Ok(expected), "{hex}");
    }
    let newer = OffsetValue::decode(bytes("0005 00"));
    assert_eq!(newer, Err(RecordError::UnknownVersion { what: "an offset", version: 5 }));
}

#[test]
fn offsets_are_written_as_kafka_3_9_writes_them() {
    for (value, hex) in [
        (offset(42, 5, "m", 100, None), "0003 000000000000002a 00000005 0001 6d 0000000000000064"),
        // Only version 1 can keep an expiry.
        (offset(42, 5, "", 100, Some(200)), "0001 000000000000002a 0000 0000000000000064 00000000000000c8"),
    ] {
        assert_eq!(value.encode().unwrap(), bytes(hex), "{value:?}");
    }
}

#[test]
fn groups_are_written_as_kafka_3_9_writes_them_and_read_again() {
    let member = MemberValue {
        member_id: "m-1".into(),
        group_instance_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        rebalance_timeout_ms: 3,
        session_timeout_ms: 4,
        subscription: Bytes::from_static(b"s"),
        assignment: Bytes::from_static(b"aa"),
    };
    let value = GroupValue {
        protocol_type: "consumer".into(),
        generation: 2,
        protocol: Some("range".into()),
        leader: Some("m-1".into()),
        state_since_ms: Some(9),
        members: vec![member],
    };
    let encoded = value.encode().unwrap();
    let expected = "0003 0008 636f6e73756d6572 00000002 0005 72616e6765 0003 6d2d31 0000000000000009 00000001 \
                    0003 6d2d31 ffff 0001 63 0002 2f68 00000003 00000004 00000001 73 00000002 6161";
    assert_eq!(encoded, bytes(expected));
    assert_eq!(GroupValue::decode(encoded), Ok(value.clone()));
    let empty = GroupValue { protocol: None, leader: None, members: Vec::new(), ..value };
    assert_eq!(GroupValue::decode(empty.encode().unwrap()), Ok(empty));
}

#[test]
fn groups_of_older_versions_are_read() {
    // Version 0 knows no rebalance timeout, version 1 no time.
    let v0 = "0000 0001 63 00000001 ffff ffff 00000001 0001 6d 0001 63 0001 68 00000007 00000000 00000000";
    let v1 = "0001 0001 63 00000001 ffff ffff 00000001 0001 6d 0001 63 0001 68 00000008 00000007 00000000 00000000";
    for (hex, rebalance_timeout_ms) in [(v0, 7), (v1, 8)] {
        let value = GroupValue::decode(bytes(hex)).unwrap();
        assert_eq!(value.state_since_ms, None);
        assert_eq!(value.members[0].rebalance_timeout_ms, rebalance_timeout_ms);
        assert_eq!(value.members[0].session_timeout_ms, 7);
    }
}

#[test]
fn a_count_larger_than_the_record_is_refused() {
    let hex = "0003 0001 63 00000001 ffff ffff 0000000000000009 7fffffff";
    assert!(matches!(GroupValue::decode(bytes(hex)), Err(RecordError::Damaged(_))));
}

proptest::proptest! {
    /// Bytes of a damaged log, or of a program that is not Kafka.
    #[test]
    fn no_bytes_make_reading_panic(version in 0..6u8, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let record = Bytes::from([&[0, version], &bytes[..]].concat());
        let _ = (Key::decode(record.clone()), OffsetValue::decode(record.clone()), GroupValue::decode(record));
    }

    #[test]
    fn what_is_written_is_read_again(offset in proptest::prelude::any::<i64>(), epoch in -1..9i32, metadata in ".{0,40}", at in 0..i64::MAX, expires in proptest::option::of(0..i64::MAX)) {
        let value = OffsetValue { offset, leader_epoch: if expires.is_some() { -1 } else { epoch }, metadata: metadata.into(), commit_timestamp: at, expire_timestamp: expires };
        proptest::prop_assert_eq!(OffsetValue::decode(value.encode().unwrap()), Ok(value));
    }
}
