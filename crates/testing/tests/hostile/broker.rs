//! A broker's port: damaged requests of every API, connections that stall or flood, other protocols, payloads that explode.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::messages::sample::{Exchange, exchanges};
use protocol::records::{BatchBuilder, BatchOptions, Codec, down_convert};
use protocol::types::Offset;
use runtime::net::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::damage::{Campaign, Dice, damage};
use crate::servers::{self, Bystander, PATIENCE, Peer, REQUEST_BYTES_MAX, connect, read_to_end, storm};

/// Inputs of these tests in every input of the others: each is a connection.
const SHARE: usize = 4;
const IDLE_CONNECTIONS: usize = 5_000;

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// A request with its header and its length, some of it damaged: mostly the body, sometimes the header, seldom the length.
fn hostile_frame(sample: &Exchange, dice: &mut Dice) -> Vec<u8> {
    let mut header = BytesMut::new();
    header.put_i16(sample.api as i16);
    header.put_i16(sample.version);
    header.put_i32(7);
    header.put_i16(7);
    header.put_slice(b"hostile");
    if sample.api.request_header_version(sample.version) == 2 {
        header.put_u8(0);
    }
    let mut body = sample.request.to_vec();
    let mut head = header.to_vec();
    match dice.roll(10) {
        0 => head = damage(&head, dice),
        // Good as it is: a stranger may also ask rightly.
        1 => {}
        _ => body = damage(&body, dice),
    }
    let mut frame = ((head.len() + body.len()) as i32).to_be_bytes().to_vec();
    frame.extend(head);
    frame.extend(body);
    if dice.roll(40) == 0 { damage(&frame, dice) } else { frame }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_every_api() {
    const MEMORY: usize = 512 << 20;
    let campaign = Campaign::from_environment().shared(SHARE);
    let servers = servers::start(&[("num.partitions", "1"), ("auto.create.topics.enable", "false")]).await;
    let mut bystander = Bystander::new(&servers).await;
    let samples = exchanges(campaign.seed);
    let before = resident();
    storm(servers.address(), &mut bystander, campaign.inputs, |number| {
        hostile_frame(&samples[number % samples.len()], &mut campaign.dice(number))
    })
    .await;
    let grown = resident().saturating_sub(before);
    assert!(grown < MEMORY, "memory grew by {grown} bytes");
    servers::stop(servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_too_long_and_peers_that_speak_something_else() {
    let servers = servers::start(&[]).await;
    let mut bystander = Bystander::new(&servers).await;
    let too_long = (REQUEST_BYTES_MAX as i32 + 1).to_be_bytes();
    let hellos: [&[u8]; 7] = [
        &too_long,
        &i32::MAX.to_be_bytes(),
        &(-1_i32).to_be_bytes(),
        &0_i32.to_be_bytes(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"ruok",
    ];
    for hello in hellos {
        let mut stream = connect(servers.address()).await;
        stream.write_all(hello).await.unwrap();
        stream.shutdown().await.unwrap();
        let hung_up = tokio::time::timeout(PATIENCE, read_to_end(&mut stream, PATIENCE)).await.is_ok();
        assert!(hung_up, "{hello:?} is still connected");
        bystander.works().await;
    }
    servers::stop(servers).await;
}

/// Connections that sent half of a request, a request one byte at a time, or nothing, cost neither the others their turn nor the broker the bytes they promise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_half_open_connections() {
    const STALLED: usize = 300;
    const MEMORY: usize = 128 << 20;
    let servers = servers::start(&[("connections.max.idle.ms", "1000")]).await;
    let mut bystander = Bystander::new(&servers).await;
    let before = resident();
    let (mut silent, mut half_way): (Vec<Stream>, Vec<Stream>) = Default::default();
    for number in 0..STALLED {
        let mut stream = connect(servers.address()).await;
        match number % 3 {
            0 => {
                silent.push(stream);
                continue;
            }
            1 => stream.write_all(&(REQUEST_BYTES_MAX as i32).to_be_bytes()[..1 + number % 4]).await.unwrap(),
            _ => {
                stream.write_all(&(REQUEST_BYTES_MAX as i32).to_be_bytes()).await.unwrap();
                stream.write_all(&[0, 3, 0, 1]).await.unwrap();
            }
        }
        half_way.push(stream);
    }
    bystander.works().await;
    let grown = resident().saturating_sub(before);
    assert!(grown < MEMORY, "{STALLED} requests of {REQUEST_BYTES_MAX} bytes that never come took {grown} bytes");
    // The idle are hung up on; the bystander, who works, is not.
    for mut stream in silent {
        loop {
            let mut byte = [0];
            match tokio::time::timeout(Duration::from_millis(500), stream.read(&mut byte)).await {
                Ok(read) => break assert!(matches!(read, Ok(0) | Err(_)), "an answer to nothing"),
                Err(_) => bystander.works().await,
            }
        }
    }
    bystander.works().await;
    drop(half_way);
    servers::stop(servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_connections() {
    const DESCRIPTORS: u64 = 2 * IDLE_CONNECTIONS as u64 + 500;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.current.is_some_and(|current| current < DESCRIPTORS) {
        let wider = rustix::process::Rlimit { current: Some(DESCRIPTORS), maximum: limit.maximum };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, wider)
            .expect("this test needs 10,500 descriptors: ulimit -n 10500");
    }
    let servers = servers::start(&[]).await;
    let mut bystander = Bystander::new(&servers).await;
    let mut idle = Vec::new();
    for _ in 0..IDLE_CONNECTIONS {
        idle.push(connect(servers.address()).await);
    }
    bystander.works().await;
    drop(idle);
    bystander.works().await;
    servers::stop(servers).await;
}

/// `max.connections` and `max.connections.per.ip` hold; who is in stays in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_beyond_the_limit() {
    let servers = servers::start(&[("max.connections.per.ip", "50")]).await;
    let mut bystander = Bystander::new(&servers).await;
    let mut flood = Vec::new();
    for _ in 0..500 {
        flood.push(connect(servers.address()).await);
    }
    bystander.works().await;
    let mut turned_away = 0;
    for stream in &mut flood {
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_millis(5), stream.read(&mut byte)).await;
        turned_away += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
    }
    assert!(turned_away >= 450, "{turned_away} of 500 were turned away");
    drop(flood);
    bystander.works().await;
    servers::stop(servers).await;
}

/// Message sets of kilobytes that unpack to 256 MiB: the broker has to unpack them to convert them, and stops in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_that_explode() {
    const UNPACKED: usize = 256 << 20;
    const MEMORY: usize = 128 << 20;
    let servers = servers::start(&[]).await;
    let mut bystander = Bystander::new(&servers).await;
    let mut peer = Peer::connect(&servers).await;
    peer.create_topic("bombs").await;
    for codec in [Codec::Gzip, Codec::Lz4] {
        let bomb = {
            let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
            builder.append(1_000, None, Some(&vec![0; UNPACKED]), None).unwrap();
            let batch = Bytes::from(builder.build_vec().unwrap());
            Bytes::from(down_convert(batch, 1, Offset(0), 2 * UNPACKED).unwrap())
        };
        assert!(bomb.len() > 100_000, "{codec:?} makes {} bytes", bomb.len());
        if bomb.len() >= REQUEST_BYTES_MAX {
            continue; // as long as it is, it is turned away by its length
        }
        let before = resident();
        let (error, _) = peer.produce("bombs", bomb, 2).await;
        assert_ne!(error, 0, "{codec:?}");
        let grown = resident().saturating_sub(before);
        assert!(grown < MEMORY, "{codec:?}: memory grew by {grown} bytes");
        bystander.works().await;
    }
    servers::stop(servers).await;
}
