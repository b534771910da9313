//! A keeper and a broker on it in this process, a client that minds its own business beside the hostile ones, and a watch over panics.

use std::net::SocketAddr;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker::Surroundings;
use bytes::{Bytes, BytesMut};
use client::zookeeper::{CreateMode, Session};
use keeper::KeeperConfig;
use protocol::frame::{decode_response, encode_request};
use protocol::messages::Request;
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use protocol::records::{BatchBuilder, BatchOptions, RecordBatch};
use runtime::net::Stream;
pub use tidemill_testing::servers::{PATIENCE, Servers, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

/// `socket.request.max.bytes` and `jute.maxbuffer` here.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
const TOPIC: &str = "bystander";
const NODE: &str = "/bystander";

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts the panics of all threads from now on: a server's task that panics ends alone, and nobody else would know.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            shown(panic);
        }));
    });
}

pub fn expect_no_panic() {
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "threads of a server panicked");
}

/// A keeper that takes any number of connections, and frames up to our limit.
pub fn hospitable_keeper(directory: &std::path::Path) -> KeeperConfig {
    let mut config = tidemill_testing::servers::keeper_config(directory);
    be_hospitable(&mut config);
    config
}

fn be_hospitable(config: &mut KeeperConfig) {
    config.max_client_connections = 0;
    config.frame_bytes_max = REQUEST_BYTES_MAX;
}

/// Servers with our limits, whose panics are counted.
pub async fn start(more: Settings<'_>) -> Servers {
    count_panics();
    let request_bytes = REQUEST_BYTES_MAX.to_string();
    let settings = [more, &[("socket.request.max.bytes", &request_bytes)]].concat();
    Servers::start_in(be_hospitable, &settings, Surroundings::default()).await
}

pub async fn stop(servers: Servers) {
    servers.stop().await;
    expect_no_panic();
}

pub async fn connect(address: SocketAddr) -> Stream {
    Stream::connect(&address.ip().to_string(), address.port(), PATIENCE).await.unwrap()
}

/// Reads until the server hangs up or `limit` is over; gives what came.
pub async fn read_to_end(stream: &mut Stream, limit: Duration) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(limit, stream.read_to_end(&mut answer)).await;
    answer
}

/// A client of the broker without any cleverness.
pub struct Peer {
    stream: Stream,
    correlation_id: i32,
}

impl Peer {
    pub async fn connect(servers: &Servers) -> Peer {
        Peer { stream: connect(servers.address()).await, correlation_id: 0 }
    }

    pub async fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.correlation_id += 1;
        let frame = encode_request(request, version, self.correlation_id, None).unwrap();
        let exchange = async {
            self.stream.write_all(&frame).await?;
            let size = self.stream.read_i32().await?;
            let mut frame = BytesMut::zeroed(usize::try_from(size).unwrap());
            self.stream.read_exact(&mut frame).await?;
            std::io::Result::Ok(frame.freeze())
        };
        let frame = tokio::time::timeout(PATIENCE, exchange)
            .await
            .expect("an answer in time")
            .expect("a connection that stays");
        let (header, response) = decode_response::<R>(frame, version).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id);
        response
    }

    pub async fn create_topic(&mut self, name: &str) {
        let topics =
            vec![CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() }];
        let created = self.ask(&CreateTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() }, 5).await;
        assert_eq!(created.topics[0].error_code, 0, "{:?}", created.topics[0].error_message);
    }

    /// Error and offset that the broker answers with.
    pub async fn produce(&mut self, topic: &str, records: Bytes, version: i16) -> (i16, i64) {
        let partition_data = vec![PartitionProduceData { index: 0, records: Some(records) }];
        let topic_data = vec![TopicProduceData { name: topic.into(), partition_data }];
        let produced =
            self.ask(&ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data, ..Default::default() }, version).await;
        let partition = &produced.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }
}

/// How long a hostile client waits for an answer. A damaged request may be a good one that has to wait, so none need come.
const ANSWER_WAIT: Duration = Duration::from_millis(20);
const CONNECTIONS_AT_ONCE: usize = 16;
/// Connections between two looks at the bystander.
const LOOK_EVERY: usize = 500;

/// Opens one connection for each of `inputs` numbers and sends what `make` gives for it, some at once, while the bystander works.
pub async fn storm(address: SocketAddr, bystander: &mut Bystander, inputs: usize, make: impl Fn(usize) -> Vec<u8>) {
    let mut tasks = JoinSet::new();
    for number in 0..inputs {
        if tasks.len() >= CONNECTIONS_AT_ONCE {
            tasks.join_next().await.unwrap().unwrap();
        }
        tasks.spawn(send(address, make(number)));
        if number % LOOK_EVERY == 0 {
            bystander.works().await;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    bystander.works().await;
}

async fn send(address: SocketAddr, bytes: Vec<u8>) {
    let mut stream = connect(address).await;
    // The server may hang up in the middle.
    let _ = stream.write_all(&bytes).await;
    read_to_end(&mut stream, ANSWER_WAIT).await;
}

/// Clients that were there before, do ordinary work, and must not notice anything.
pub struct Bystander {
    peer: Peer,
    session: Session,
    records: i64,
}

impl Bystander {
    pub async fn new(servers: &Servers) -> Bystander {
        let session = servers.session().await;
        session.create(NODE, Bytes::new(), CreateMode::Ephemeral).await.unwrap();
        let mut peer = Peer::connect(servers).await;
        peer.create_topic(TOPIC).await;
        Bystander { peer, session, records: 0 }
    }

    /// Produces a record, reads it again, and writes and reads a znode.
    pub async fn works(&mut self) {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(1_700_000_000_000, None, Some(self.records.to_string().as_bytes()), None).unwrap();
        let produced = self.peer.produce(TOPIC, builder.build().unwrap(), 7).await;
        assert_eq!(produced, (0, self.records));

        let partitions =
            vec![FetchPartition { fetch_offset: self.records, partition_max_bytes: 1 << 20, ..Default::default() }];
        let topics = vec![FetchTopic { topic: TOPIC.into(), partitions, ..Default::default() }];
        let fetched = self
            .peer
            .ask(
                &FetchRequest { topics, max_bytes: 1 << 20, min_bytes: 1, max_wait_ms: 10_000, ..Default::default() },
                4,
            )
            .await;
        let fetched = &fetched.responses[0].partitions[0];
        assert_eq!(fetched.error_code, 0);
        let batch = RecordBatch::parse(&fetched.records.clone().into_bytes()).unwrap();
        let record = batch.records(1 << 20).unwrap().next().unwrap().unwrap();
        assert_eq!(record.value.as_deref(), Some(self.records.to_string().as_bytes()));

        self.session.set_data(NODE, self.records.to_string(), -1).await.unwrap();
        let (data, _) = self.session.get_data(NODE).await.unwrap();
        assert_eq!(data, self.records.to_string());
        self.records += 1;
        expect_no_panic();
    }
}
