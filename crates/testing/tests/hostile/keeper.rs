//! A keeper's port, what its clients read, and the files it starts from.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use client::zookeeper::{CreateMode, Session};
use keeper::Keeper;
use protocol::zookeeper::*;
use tokio::io::AsyncWriteExt;

use crate::damage::{Campaign, Dice, damage};
use crate::servers::{
    self, Bystander, PATIENCE, REQUEST_BYTES_MAX, connect, expect_no_panic, hospitable_keeper, read_to_end, storm,
};

/// Inputs of the port's test in every input of the others: each is a connection.
const PORT_SHARE: usize = 4;
/// Inputs of the files' test in every input of the others: each is a start of a keeper.
const FILES_SHARE: usize = 20;
const PATH: &str = "/hostile";

fn bytes_of(record: &impl Record) -> Vec<u8> {
    let mut out = BytesMut::new();
    record.write(&mut out);
    out.to_vec()
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as i32).to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

fn hello() -> ConnectRequest {
    ConnectRequest {
        timeout_ms: 4_000,
        password: Some(Bytes::from_static(&[0; 16])),
        read_only: Some(false),
        ..Default::default()
    }
}

/// One good request of every kind, header included.
fn requests() -> Vec<Vec<u8>> {
    let path = PATH.to_owned();
    let paths = vec![path.clone(), "/".to_owned()];
    let data = Some(Bytes::from_static(b"data"));
    let create = CreateRequest { path: path.clone(), data: data.clone(), acl: Acl::open(), flags: 0 };
    let set = SetDataRequest { path: path.clone(), data: data.clone(), version: -1 };
    let get = GetDataRequest { path: path.clone(), watch: true };
    let children = GetChildrenRequest { path: path.clone(), watch: true };
    let multi = MultiRequest {
        ops: vec![
            MultiOp::Create(create.clone()),
            MultiOp::SetData(set.clone()),
            MultiOp::Check(CheckVersionRequest { path: path.clone(), version: 0 }),
            MultiOp::Delete(DeleteRequest { path: path.clone(), version: -1 }),
        ],
    };
    let multi_read = MultiRequest { ops: vec![MultiOp::GetData(get.clone()), MultiOp::GetChildren(children.clone())] };
    let watches = WatchesRequest { path: path.clone(), watcher_type: 3 };
    let all: Vec<(OpCode, Vec<u8>)> = vec![
        (OpCode::Create, bytes_of(&create)),
        (OpCode::Create2, bytes_of(&create)),
        (OpCode::CreateContainer, bytes_of(&create)),
        (
            OpCode::CreateTtl,
            bytes_of(&CreateTtlRequest { path: path.clone(), data, acl: Acl::open(), flags: 5, ttl_ms: 1000 }),
        ),
        (OpCode::Delete, bytes_of(&DeleteRequest { path: path.clone(), version: -1 })),
        (OpCode::Exists, bytes_of(&ExistsRequest { path: path.clone(), watch: true })),
        (OpCode::GetData, bytes_of(&get)),
        (OpCode::SetData, bytes_of(&set)),
        (OpCode::GetAcl, bytes_of(&GetAclRequest { path: path.clone() })),
        (OpCode::SetAcl, bytes_of(&SetAclRequest { path: path.clone(), acl: Acl::open(), version: -1 })),
        (OpCode::GetChildren, bytes_of(&children)),
        (OpCode::GetChildren2, bytes_of(&children)),
        (OpCode::Sync, bytes_of(&SyncRequest { path: path.clone() })),
        (OpCode::Check, bytes_of(&CheckVersionRequest { path: path.clone(), version: 0 })),
        (OpCode::Multi, bytes_of(&multi)),
        (OpCode::MultiRead, bytes_of(&multi_read)),
        (OpCode::CheckWatches, bytes_of(&watches)),
        (OpCode::RemoveWatches, bytes_of(&watches)),
        (OpCode::AddWatch, bytes_of(&AddWatchRequest { path: path.clone(), mode: 1 })),
        (
            OpCode::SetWatches,
            bytes_of(&SetWatchesRequest {
                data_watches: paths.clone(),
                exist_watches: paths.clone(),
                child_watches: paths.clone(),
                ..Default::default()
            }),
        ),
        (
            OpCode::SetWatches2,
            bytes_of(&SetWatches2Request {
                data_watches: paths.clone(),
                persistent_recursive_watches: paths,
                ..Default::default()
            }),
        ),
        (OpCode::GetEphemerals, bytes_of(&GetEphemeralsRequest { prefix: path.clone() })),
        (OpCode::GetAllChildrenNumber, bytes_of(&GetAllChildrenNumberRequest { path })),
        (OpCode::WhoAmI, Vec::new()),
        (OpCode::Ping, Vec::new()),
        (
            OpCode::Auth,
            bytes_of(&AuthPacket {
                scheme: "digest".to_owned(),
                auth: Some(Bytes::from_static(b"a:b")),
                ..Default::default()
            }),
        ),
    ];
    all.into_iter()
        .map(|(op, body)| {
            let mut request = bytes_of(&RequestHeader { xid: 1, op: op.as_i32() });
            request.extend(body);
            request
        })
        .collect()
}

/// What one hostile client sends: a handshake and three requests, of which one is damaged, or a damaged four-letter word.
fn conversation(requests: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    const WORDS: [&[u8; 4]; 6] = [b"ruok", b"stat", b"mntr", b"dump", b"envi", b"wchp"];
    if dice.roll(20) == 0 {
        return damage(*dice.pick(&WORDS), dice);
    }
    let victim = dice.roll(4);
    let mut bytes = Vec::new();
    for number in 0..4 {
        let body = if number == 0 { bytes_of(&hello()) } else { dice.pick(requests).clone() };
        bytes.extend(framed(&if number == victim { damage(&body, dice) } else { body }));
    }
    if dice.roll(40) == 0 { damage(&bytes, dice) } else { bytes }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_every_operation() {
    let campaign = Campaign::from_environment().shared(PORT_SHARE);
    let servers = servers::start(&[]).await;
    let mut bystander = Bystander::new(&servers).await;
    let requests = requests();
    storm(servers.keeper.local_addr(), &mut bystander, campaign.inputs, |number| {
        conversation(&requests, &mut campaign.dice(number))
    })
    .await;
    servers::stop(servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_too_long_and_peers_that_speak_something_else() {
    let servers = servers::start(&[]).await;
    let mut bystander = Bystander::new(&servers).await;
    let hellos: [&[u8]; 6] = [
        &(REQUEST_BYTES_MAX as i32 + 1).to_be_bytes(),
        &i32::MAX.to_be_bytes(),
        &(-1_i32).to_be_bytes(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        // Kafka's ApiVersions.
        b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xff",
    ];
    for hello in hellos {
        let mut stream = connect(servers.keeper.local_addr()).await;
        stream.write_all(hello).await.unwrap();
        let _ = stream.shutdown().await;
        let hung_up = tokio::time::timeout(PATIENCE, read_to_end(&mut stream, PATIENCE)).await.is_ok();
        assert!(hung_up, "{hello:?} is still connected");
        bystander.works().await;
    }
    servers::stop(servers).await;
}

/// Replies and events, as a client reads them from a server it does not know.
#[test]
fn replies() {
    type Reads = fn(&[u8]) -> bool;
    fn read<T: Record>(bytes: &[u8]) -> bool {
        Reader::new(Bytes::copy_from_slice(bytes)).read::<T>().is_ok()
    }
    fn sample<T: Record>(record: &T) -> (Vec<u8>, Reads) {
        (bytes_of(record), read::<T>)
    }
    let (path, stat) = (PATH.to_owned(), Stat::default());
    let children = vec!["a".to_owned(), "b".to_owned(), String::new()];
    let data = Some(Bytes::from_static(b"0123456789"));
    let results = vec![
        MultiResult::Create(CreateResponse { path: path.clone() }),
        MultiResult::Create2(Create2Response { path: path.clone(), stat: stat.clone() }),
        MultiResult::Delete,
        MultiResult::Check,
        MultiResult::GetChildren(GetChildrenResponse { children: children.clone() }),
        MultiResult::Error(ErrorCode::NoNode),
    ];
    let samples = [
        sample(&ConnectResponse::expired(Some(true))),
        sample(&ReplyHeader { xid: 1, zxid: 2, err: ErrorCode::Ok }),
        sample(&WatcherEvent { event_type: 1, state: 3, path: path.clone() }),
        sample(&CreateResponse { path: path.clone() }),
        sample(&Create2Response { path, stat: stat.clone() }),
        sample(&GetDataResponse { data, stat: stat.clone() }),
        sample(&GetAclResponse { acl: Acl::open(), stat: stat.clone() }),
        sample(&GetChildrenResponse { children: children.clone() }),
        sample(&GetChildren2Response { children: children.clone(), stat }),
        sample(&GetEphemeralsResponse { ephemerals: children }),
        sample(&WhoAmIResponse {
            client_info: vec![ClientInfo { auth_scheme: "ip".to_owned(), user: "127.0.0.1".to_owned() }],
        }),
        sample(&MultiResponse { results }),
    ];
    let campaign = Campaign::from_environment();
    let good = campaign.run(
        |number, dice| damage(&samples[number % samples.len()].0, dice),
        |length| 16 * 1024 + 128 * length,
        |number, bytes| samples[number % samples.len()].1(bytes),
    );
    assert!(good > campaign.inputs / 20, "{good} of {} were read", campaign.inputs);
}

/// Every file below a directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.path().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

/// A keeper's directory with snapshots and a log, and the files in it that are parsed.
async fn written_directory() -> (tempfile::TempDir, Vec<(PathBuf, Vec<u8>)>) {
    let holder = tempfile::tempdir().unwrap();
    let mut config = hospitable_keeper(holder.path());
    config.snap_count = 30;
    let keeper = Keeper::start(config).unwrap();
    let session = Session::connect(&keeper.local_addr().to_string(), PATIENCE).await.unwrap();
    session.create(PATH, "data", CreateMode::Persistent).await.unwrap();
    for number in 0..100 {
        session.create(&format!("{PATH}/{number}"), format!("{number}"), CreateMode::Persistent).await.unwrap();
        session.set_data(PATH, number.to_string(), -1).await.unwrap();
    }
    session.close().await;
    keeper.shutdown().await.unwrap();
    let files = files_below(holder.path()).into_iter().filter(|path| !path.ends_with(keeper::LOCK_FILE));
    let files = files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    (holder, files)
}

/// A directory with one damaged file: the keeper starts or says why not, and says nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_and_snapshots() {
    /// Zeros at the end of a segment are written ahead of use; damage belongs to what is used.
    fn used(bytes: &[u8]) -> usize {
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    }
    let campaign = Campaign::from_environment().shared(FILES_SHARE);
    let (holder, files) = written_directory().await;
    assert!(files.len() >= 2, "{files:?} are not a log and a snapshot");
    let mut refused = 0;
    for number in 0..campaign.inputs {
        let mut dice = campaign.dice(number);
        for leftover in files_below(holder.path()) {
            std::fs::remove_file(leftover).unwrap();
        }
        let victim = dice.roll(files.len());
        for (index, (path, bytes)) in files.iter().enumerate() {
            let length = used(bytes);
            let bytes = if index == victim { damage(&bytes[..length], &mut dice) } else { bytes[..length].to_vec() };
            std::fs::write(path, bytes).unwrap();
        }
        let mut config = hospitable_keeper(holder.path());
        config.force_sync = false;
        match Keeper::start(config) {
            Ok(keeper) => keeper.shutdown().await.unwrap(),
            Err(error) => {
                refused += 1;
                assert!(
                    error.to_string().contains("keeper-1"),
                    "{error} does not name the file (input {number} of seed {})",
                    campaign.seed
                );
            }
        }
        expect_no_panic();
    }
    assert!(refused > 0, "no damage was found");
}
