use bytes::{Bytes, BytesMut};

use super::path::PathError;
use super::*;

/// A value must come back from its bytes, and no cut of those bytes may panic or be taken for the value.
fn check_round_trip<T: Record + PartialEq + std::fmt::Debug>(value: T) {
    let body = value.to_body();
    assert_eq!(T::from_body(body.clone()).as_ref(), Ok(&value));
    for cut in 0..body.len() {
        assert_ne!(T::from_body(body.slice(..cut)).as_ref(), Ok(&value), "cut at {cut}");
    }
}

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn create(path: &str) -> CreateRequest {
    CreateRequest { path: path.into(), data: Some(Bytes::from_static(b"x")), acl: Acl::open(), flags: 3 }
}

fn stat() -> Stat {
    Stat {
        czxid: 13,
        mzxid: 18,
        ctime: 1,
        mtime: 2,
        version: 1,
        cversion: 6,
        num_children: 4,
        pzxid: 17,
        ..Stat::default()
    }
}

#[test]
fn records_come_back_from_their_bytes() {
    check_round_trip(create("/a"));
    check_round_trip(CreateTtlRequest { path: "/a".into(), acl: Acl::open(), ttl_ms: 5, ..Default::default() });
    check_round_trip(GetDataResponse { data: None, stat: stat() });
    check_round_trip(GetDataResponse { data: Some(Bytes::new()), stat: stat() });
    check_round_trip(GetChildren2Response { children: vec!["a".into(), String::new()], stat: stat() });
    check_round_trip(ReplyHeader { xid: -1, zxid: 7, err: ErrorCode::Unknown(-999) });
    check_round_trip(WatcherEvent { event_type: 4, state: 3, path: "/é".into() });
    check_round_trip(ReconfigRequest { joining_servers: Some("x".into()), ..Default::default() });
    check_round_trip(SetWatches2Request {
        relative_zxid: -1,
        exist_watches: vec!["/x".into()],
        persistent_recursive_watches: vec!["/".into()],
        ..Default::default()
    });
    check_round_trip(WhoAmIResponse { client_info: vec![ClientInfo { auth_scheme: "ip".into(), user: "::1".into() }] });
    check_round_trip(AuthPacket { auth_type: 0, scheme: "digest".into(), auth: Some(Bytes::from_static(b"u:p")) });
}

#[test]
fn a_stat_takes_68_bytes() {
    assert_eq!(stat().to_body().len(), 68);
    assert_eq!(Stat::MIN_BYTES, 68);
}

#[test]
fn the_handshake_knows_clients_without_the_read_only_byte() {
    for read_only in [None, Some(false), Some(true)] {
        let request =
            ConnectRequest { timeout_ms: 4000, password: Some(vec![0; 16].into()), read_only, ..Default::default() };
        assert_eq!(ConnectRequest::from_body(request.to_body()), Ok(request));
        let response = ConnectResponse::expired(read_only);
        assert_eq!(response.to_body().len(), if read_only.is_some() { 37 } else { 36 });
        assert_eq!(ConnectResponse::from_body(response.to_body()), Ok(response));
    }
}

#[test]
fn multis_come_back_from_their_bytes() {
    check_round_trip(MultiRequest::default());
    check_round_trip(MultiRequest {
        ops: vec![
            MultiOp::Check(CheckVersionRequest { path: "/controller_epoch".into(), version: 3 }),
            MultiOp::Create(create("/a")),
            MultiOp::Create2(create("/b")),
            MultiOp::CreateContainer(create("/c")),
            MultiOp::CreateTtl(CreateTtlRequest { path: "/d".into(), ..Default::default() }),
            MultiOp::SetData(SetDataRequest { path: "/e".into(), data: None, version: -1 }),
            MultiOp::Delete(DeleteRequest { path: "/f".into(), version: 0 }),
            MultiOp::GetData(GetDataRequest { path: "/g".into(), watch: true }),
            MultiOp::GetChildren(GetChildrenRequest { path: "/h".into(), watch: false }),
        ],
    });
    check_round_trip(MultiResponse {
        results: vec![
            MultiResult::Create(CreateResponse { path: "/a".into() }),
            MultiResult::Create2(Create2Response { path: "/b".into(), stat: stat() }),
            MultiResult::Delete,
            MultiResult::SetData(SetDataResponse { stat: stat() }),
            MultiResult::Check,
            MultiResult::GetData(GetDataResponse { data: None, stat: stat() }),
            MultiResult::GetChildren(GetChildrenResponse { children: vec!["x".into()] }),
            MultiResult::Error(ErrorCode::NoNode),
        ],
    });
}

#[test]
fn a_failed_multi_has_the_bytes_of_zookeeper_3_8() {
    let results = vec![ErrorCode::Ok, ErrorCode::BadVersion, ErrorCode::RuntimeInconsistency]
        .into_iter()
        .map(MultiResult::Error)
        .collect();
    let response = MultiResponse { results };
    let bytes =
        hex("ffffffff000000000000000000 ffffffff00ffffff99ffffff99 ffffffff00fffffffefffffffe ffffffff01ffffffff");
    assert_eq!(response.to_body(), bytes);
    assert_eq!(MultiResponse::from_body(bytes), Ok(response.clone()));
    assert_eq!(response.first_error(), Some((1, ErrorCode::BadVersion)));
}

#[test]
fn hostile_lengths_are_refused_before_memory_is_taken() {
    let check =
        |bytes: &str, error: JuteError| assert_eq!(GetChildrenResponse::from_body(hex(bytes)), Err(error), "{bytes}");
    check("7fffffff", JuteError::BadLength(i32::MAX));
    check("80000000", JuteError::BadLength(i32::MIN));
    check("fffffffe", JuteError::BadLength(-2));
    check("00000002 00000000", JuteError::BadLength(2));
    check("00000001 7fffffff", JuteError::BadLength(i32::MAX));
    check("00000001 ffffffff", JuteError::Null);
    check("00000001 00000001 ff", JuteError::NotUtf8);
    check("0000", JuteError::Short { wanted: 4, left: 2 });
    assert_eq!(MultiRequest::from_body(hex("0000000e 00 ffffffff")), Err(JuteError::NotInMulti(14)));
}

#[test]
fn an_acl_id_may_be_null() {
    let auth = Acl { perms: 31, id: Id { scheme: "auth".into(), id: String::new() } };
    assert_eq!(Acl::from_body(hex("0000001f 00000004 61757468 ffffffff")), Ok(auth));
}

#[test]
fn frames_carry_their_length_and_obey_the_limit() {
    let mut out = BytesMut::from(&b"before"[..]);
    frame(&mut out, |out| "ab".to_owned().write(out));
    assert_eq!(&out[..], b"before\0\0\0\x06\0\0\0\x02ab");
    assert_eq!(frame_length([0, 0, 0, 6], MAX_FRAME_BYTES), Ok(6));
    assert_eq!(frame_length([0, 0x0f, 0xff, 0xff], MAX_FRAME_BYTES), Ok(1_048_575));
    for (prefix, length) in [([0, 0x10, 0, 0], 1 << 20), ([0xff; 4], -1)] {
        assert_eq!(
            frame_length(prefix, MAX_FRAME_BYTES),
            Err(JuteError::FrameTooLong { length, limit: MAX_FRAME_BYTES })
        );
    }
}

#[test]
fn paths_follow_path_utils() {
    let check = |path: &str, expected: Result<(), PathError>| assert_eq!(path::validate(path), expected, "{path:?}");
    check("/", Ok(()));
    check("/a/b.c/..d/...", Ok(()));
    check("/é/中文", Ok(()));
    check("", Err(PathError::Empty));
    check("a", Err(PathError::NoLeadingSlash));
    check("/a/", Err(PathError::TrailingSlash));
    check("/a//b", Err(PathError::EmptyPart));
    check("/a/./b", Err(PathError::RelativePart));
    check("/a/..", Err(PathError::RelativePart));
    check("/a\0", Err(PathError::BadCharacter(0)));
    check("/a\u{85}", Err(PathError::BadCharacter(0x85)));
    check("/\u{e000}", Err(PathError::BadCharacter(0xe000)));
    check("/\u{fffd}", Err(PathError::BadCharacter(0xfffd)));
    check("/😀", Err(PathError::BadCharacter(0x1f600)));
    assert_eq!(path::validate_create("/queue/", true), Ok(()));
    assert_eq!(path::validate_create("/queue/", false), Err(PathError::TrailingSlash));
}

#[test]
fn paths_come_apart_and_together() {
    for (path, parent, name) in [("/", None, ""), ("/a", Some("/"), "a"), ("/a/b", Some("/a"), "b")] {
        assert_eq!(path::parent(path), parent, "{path}");
        assert_eq!(path::name(path), name, "{path}");
        if let Some(parent) = parent {
            assert_eq!(path::join(parent, name), path);
        }
    }
}

#[test]
fn numbers_have_their_names() {
    assert_eq!(OpCode::from_i32(-11), Some(OpCode::CloseSession));
    assert_eq!(OpCode::from_i32(999), None);
    assert_eq!(ErrorCode::from_i32(-101), ErrorCode::NoNode);
    assert_eq!(ErrorCode::from_i32(-101).name(), "NONODE");
    assert_eq!(ErrorCode::from_i32(5).as_i32(), 5);
    assert_eq!(ErrorCode::NodeExists.to_string(), "node exists (NODEEXISTS, -110)");
    assert!(CreateMode::from_i32(3).is_some_and(|mode| mode.is_ephemeral() && mode.is_sequential()));
}
