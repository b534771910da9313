//! A broker on our keeper, asked over real sockets: every API in every version, records across restarts, and a tree that old tools write.

use std::time::Duration;

use broker::BrokerError;
use bytes::{Bytes, BytesMut};
use client::zookeeper::znodes::TopicAssignment;
use client::zookeeper::{CreateMode, Session, paths};
use protocol::api::ApiKey;
use protocol::frame::{decode_response, encode_request};
use protocol::messages::Request;
use protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::produce::{PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData};
use protocol::messages::*;
use protocol::records::{BatchBuilder, BatchOptions, Codec, RecordBatch};
use protocol::wire::Str;
use runtime::net::Stream;
use tidemill_testing::servers::{PATIENCE, Servers, start_broker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client without any cleverness.
struct Peer {
    stream: Stream,
    correlation_id: i32,
}

impl Peer {
    async fn connect(servers: &Servers) -> Peer {
        let address = servers.address();
        let stream = Stream::connect(&address.ip().to_string(), address.port(), PATIENCE).await.unwrap();
        Peer { stream, correlation_id: 0 }
    }

    async fn send<R: Request>(&mut self, request: &R, version: i16) {
        self.correlation_id += 1;
        let frame = encode_request(request, version, self.correlation_id, Some(&Str::from_static("peer"))).unwrap();
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next frame, or nothing where the broker hangs up.
    async fn frame(&mut self) -> Option<Bytes> {
        let read = async {
            let size = self.stream.read_i32().await.ok()?;
            let mut frame = BytesMut::zeroed(usize::try_from(size).ok()?);
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(frame.freeze())
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the broker answers or hangs up in time")
    }

    async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let frame = self.frame().await.unwrap_or_else(|| panic!("{} v{version}: the broker hung up", R::KEY));
        let (header, response) = decode_response::<R>(frame, version).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id, "{} v{version}", R::KEY);
        response
    }

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version).await;
        self.receive::<R>(version).await
    }

    async fn create(&mut self, topic: &str, partitions: i32) {
        let topics = vec![CreatableTopic {
            name: topic.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        }];
        let response = self.ask(&CreateTopicsRequest { topics, ..Default::default() }, 5).await;
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    }

    async fn produce(&mut self, topic: &str, records: Bytes, acks: i16, version: i16) -> PartitionProduceResponse {
        let response = self.ask(&produce_request(topic, records, acks), version).await;
        response.responses[0].partition_responses[0].clone()
    }

    async fn fetch(&mut self, topic: &str, offset: i64, version: i16) -> (i16, Bytes) {
        let partitions =
            vec![FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() }];
        let topics = vec![FetchTopic { topic: topic.into(), partitions, ..Default::default() }];
        let response =
            self.ask(&FetchRequest { topics, min_bytes: 1, max_wait_ms: 100, ..Default::default() }, version).await;
        let data = response.responses[0].partitions[0].clone();
        (data.error_code, data.records.into_bytes())
    }

    async fn end_offset(&mut self, topic: &str) -> i64 {
        let partitions = vec![ListOffsetsPartition { timestamp: -1, ..Default::default() }];
        let topics = vec![ListOffsetsTopic { name: topic.into(), partitions }];
        let response = self.ask(&ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }, 5).await;
        response.topics[0].partitions[0].offset
    }
}

fn produce_request(topic: &str, records: Bytes, acks: i16) -> ProduceRequest {
    let partition_data = vec![PartitionProduceData { index: 0, records: Some(records) }];
    let topic_data = vec![TopicProduceData { name: topic.into(), partition_data }];
    ProduceRequest { acks, timeout_ms: 10_000, topic_data, ..Default::default() }
}

fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions { codec: Codec::None, ..BatchOptions::default() });
    for value in values {
        builder.append(1_700_000_000_000, None, Some(value.as_bytes()), None).unwrap();
    }
    builder.build().unwrap()
}

fn values(batches: &Bytes) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = batches.clone();
    while !rest.is_empty() {
        let batch = RecordBatch::parse(&rest).unwrap();
        batch.verify_crc().unwrap();
        values.extend(
            batch
                .records(1 << 20)
                .unwrap()
                .map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap()),
        );
        rest = rest.slice(batch.bytes.len()..);
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apiversions_promises_is_answered_in_every_version() {
    let servers = Servers::start(&[]).await;
    let served = Peer::connect(&servers).await.ask(&ApiVersionsRequest::default(), 0).await;
    let mut asked = 0;
    macro_rules! ask_all {
        ($($module:ident :: $request:ident),* $(,)?) => {$(
            asked += ask_in_every_version(&servers, &served, &$module::$request::default()).await;
        )*};
    }
    ask_all!(
        list_offsets::ListOffsetsRequest,
        controlled_shutdown::ControlledShutdownRequest,
        offset_commit::OffsetCommitRequest,
        offset_fetch::OffsetFetchRequest,
        find_coordinator::FindCoordinatorRequest,
        join_group::JoinGroupRequest,
        heartbeat::HeartbeatRequest,
        leave_group::LeaveGroupRequest,
        sync_group::SyncGroupRequest,
        describe_groups::DescribeGroupsRequest,
        list_groups::ListGroupsRequest,
        create_topics::CreateTopicsRequest,
        delete_topics::DeleteTopicsRequest,
        delete_records::DeleteRecordsRequest,
        offset_for_leader_epoch::OffsetForLeaderEpochRequest,
        describe_configs::DescribeConfigsRequest,
        alter_configs::AlterConfigsRequest,
        describe_log_dirs::DescribeLogDirsRequest,
        create_partitions::CreatePartitionsRequest,
        delete_groups::DeleteGroupsRequest,
        incremental_alter_configs::IncrementalAlterConfigsRequest,
        offset_delete::OffsetDeleteRequest,
        describe_cluster::DescribeClusterRequest,
        describe_producers::DescribeProducersRequest,
        describe_acls::DescribeAclsRequest,
        create_acls::CreateAclsRequest,
        delete_acls::DeleteAclsRequest,
        elect_leaders::ElectLeadersRequest,
        alter_partition_reassignments::AlterPartitionReassignmentsRequest,
        list_partition_reassignments::ListPartitionReassignmentsRequest,
        metadata::MetadataRequest,
        fetch::FetchRequest,
    );
    // The client name and version of this one must not be empty from version 3 on, and these two must not be asked with their defaults.
    for version in 0..=4 {
        let request = ApiVersionsRequest { client_software_name: "peer".into(), client_software_version: "1".into() };
        assert_eq!(Peer::connect(&servers).await.ask(&request, version).await.error_code, 0);
    }
    for version in 0..=5 {
        let request = init_producer_id::InitProducerIdRequest { transactional_id: None, ..Default::default() };
        assert!(Peer::connect(&servers).await.ask(&request, version).await.producer_id >= 0);
    }
    for version in 0..=11 {
        Peer::connect(&servers).await.ask(&ProduceRequest { acks: 1, ..Default::default() }, version).await;
    }
    assert_eq!(asked + 3, served.api_keys.len(), "an API is served that this test does not ask for");
    servers.stop().await;
}

/// Asks in each version that is served, on a fresh connection; gives 1 if the API is served.
async fn ask_in_every_version<R: Request>(servers: &Servers, served: &ApiVersionsResponse, request: &R) -> usize {
    let Some(api) = served.api_keys.iter().find(|api| api.api_key == R::KEY.to_i16()) else { return 0 };
    for version in api.min_version..=api.max_version {
        Peer::connect(servers).await.ask(request, version).await;
    }
    1
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_versions_and_strange_bytes_close_the_connection() {
    let servers = Servers::start(&[]).await;
    let mut newer = Peer::connect(&servers).await;
    newer.stream.write_all(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0]).await.unwrap();
    let frame = newer.frame().await.expect("ApiVersions alone is answered in any version");
    let (header, answer) = decode_response::<ApiVersionsRequest>(frame, 0).unwrap();
    assert_eq!((header.correlation_id, answer.error_code), (7, 35));
    assert_eq!(answer.api_keys[0].api_key, ApiKey::ApiVersions.to_i16());
    let strange: [&[u8]; 6] = [
        &[0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 7, 0xff, 0xff],
        &[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 7, 0xff, 0xff],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff],
        b"GET / HTTP/1.1\r\n\r\n",
        // A Metadata v1 request that promises two thousand million topics.
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
    ];
    for bytes in strange {
        let mut peer = Peer::connect(&servers).await;
        peer.stream.write_all(bytes).await.unwrap();
        assert_eq!(peer.frame().await, None, "{bytes:?}");
    }
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_kept_over_a_restart_and_read_in_old_and_new_formats() {
    let servers = Servers::start(&[]).await;
    let mut peer = Peer::connect(&servers).await;
    peer.create("words", 1).await;
    let answer = peer.produce("words", batch(&["hello", "hadoop"]), -1, 9).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    let old =
        protocol::records::message_set::down_convert(batch(&["from", "0.8"]), 0, protocol::types::Offset(0), 1 << 20)
            .unwrap();
    let answer = peer.produce("words", old.into(), 1, 0).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 2));
    let servers = servers.restart_broker().await;
    let mut peer = Peer::connect(&servers).await;
    assert_eq!(peer.end_offset("words").await, 4);
    let (code, batches) = peer.fetch("words", 0, 11).await;
    assert_eq!((code, values(&batches)), (0, ["hello", "hadoop", "from", "0.8"].map(str::to_owned).to_vec()));
    let (code, set) = peer.fetch("words", 2, 0).await;
    assert_eq!(code, 0);
    let messages: Vec<_> = protocol::records::message_set::MessageSetIter::new(set)
        .map(|message| message.unwrap().value.unwrap())
        .collect();
    assert_eq!(messages, [Bytes::from_static(b"from"), Bytes::from_static(b"0.8")]);
    assert_eq!(peer.fetch("words", 5, 11).await.0, 1, "OFFSET_OUT_OF_RANGE");
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let servers = Servers::start(&[]).await;
    let mut peer = Peer::connect(&servers).await;
    peer.create("pipe", 1).await;
    let first = peer.correlation_id + 1;
    for number in 0..40 {
        peer.send(&produce_request("pipe", batch(&[&number.to_string()]), -1), 7).await;
    }
    peer.send(&MetadataRequest { topics: None, ..Default::default() }, 1).await;
    for number in 0..40 {
        let frame = peer.frame().await.unwrap();
        let (header, answer) = decode_response::<ProduceRequest>(frame, 7).unwrap();
        assert_eq!(header.correlation_id, first + number);
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, i64::from(number));
    }
    assert_eq!(peer.receive::<MetadataRequest>(1).await.topics[0].name.as_deref(), Some("pipe"));
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_fetch_is_woken_by_a_producer() {
    let servers = Servers::start(&[]).await;
    let mut consumer = Peer::connect(&servers).await;
    consumer.create("wake", 1).await;
    let partitions = vec![FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() }];
    let topics = vec![FetchTopic { topic: "wake".into(), partitions, ..Default::default() }];
    let long = i32::try_from(PATIENCE.as_millis()).unwrap() * 10;
    consumer.send(&FetchRequest { topics, min_bytes: 1, max_wait_ms: long, ..Default::default() }, 11).await;
    let mut producer = Peer::connect(&servers).await;
    assert_eq!(producer.produce("wake", batch(&["now"]), 1, 7).await.error_code, 0);
    let response = consumer.receive::<FetchRequest>(11).await;
    assert_eq!(values(&response.responses[0].partitions[0].records.clone().into_bytes()), ["now"]);
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_a_topic_creates_it_and_says_so_first() {
    let servers = Servers::start(&[]).await;
    let mut peer = Peer::connect(&servers).await;
    let asked = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some("new".into()), ..Default::default() }]),
        ..Default::default()
    };
    assert_eq!(peer.ask(&asked, 1).await.topics[0].error_code, 5);
    let led = async {
        while peer.ask(&asked, 1).await.topics[0].error_code != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, led).await.unwrap();
    assert_eq!(peer.produce("new", batch(&["x"]), -1, 3).await.error_code, 0, "a led partition takes records at once");
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_old_tools_write_into_zookeeper_are_served_grown_and_deleted() {
    let servers = Servers::start(&[]).await;
    let zookeeper = servers.session().await;
    let mut peer = Peer::connect(&servers).await;
    let written = |partitions: i32| {
        let assignment = TopicAssignment {
            partitions: (0..partitions).map(|partition| (partition, vec![0])).collect(),
            ..Default::default()
        };
        assignment.to_json()
    };
    let path = paths::topic("old");
    zookeeper.create(&path, written(1), CreateMode::Persistent).await.unwrap();
    wait_for_partitions(&mut peer, 1).await;
    assert_eq!(peer.produce("old", batch(&["kept"]), -1, 3).await.error_code, 0);
    // kafka-topics of before 2.8 drops the topic's id when it adds partitions.
    zookeeper.set_data(&path, written(2), -1).await.unwrap();
    wait_for_partitions(&mut peer, 2).await;
    let servers = servers.restart_broker().await;
    let mut peer = Peer::connect(&servers).await;
    assert_eq!(peer.end_offset("old").await, 1, "growing a topic costs no records");
    zookeeper.create(&paths::delete_topic("old"), "", CreateMode::Persistent).await.unwrap();
    wait_for_partitions(&mut peer, 0).await;
    zookeeper.create(&path, written(1), CreateMode::Persistent).await.unwrap();
    wait_for_partitions(&mut peer, 1).await;
    assert_eq!(peer.end_offset("old").await, 0, "a topic that was deleted and made again is empty");
    servers.stop().await;
}

/// Waits until topic `old` has so many partitions with leaders.
async fn wait_for_partitions(peer: &mut Peer, count: usize) {
    let named = vec![MetadataRequestTopic { name: Some("old".into()), ..Default::default() }];
    let asked = MetadataRequest { topics: Some(named), allow_auto_topic_creation: false, ..Default::default() };
    let shown = async {
        loop {
            let topic = peer.ask(&asked, 4).await.topics.remove(0);
            let led = topic.partitions.iter().filter(|partition| partition.error_code == 0).count();
            if topic.partitions.len() == count && led == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.expect("the broker acts on the tree");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_deleted_keeps_its_records() {
    let servers = Servers::start(&[("delete.topic.enable", "false")]).await;
    let mut peer = Peer::connect(&servers).await;
    peer.create("kept", 1).await;
    assert_eq!(peer.produce("kept", batch(&["x"]), -1, 3).await.error_code, 0);
    let zookeeper = servers.session().await;
    let request = paths::delete_topic("kept");
    zookeeper.create(&request, "", CreateMode::Persistent).await.unwrap();
    let dropped = async {
        while zookeeper.exists(&request).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, dropped).await.expect("the controller drops the request");
    assert_eq!(peer.end_offset("kept").await, 1);
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_of_the_same_id_is_told_why_it_cannot_start() {
    let servers = Servers::start(&[]).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let Err(refused) = start_broker(elsewhere.path(), &servers.keeper, &[]).await else {
        panic!("two brokers of one id")
    };
    assert!(refused.to_string().starts_with("A broker is already registered on the path /brokers/ids/0."), "{refused}");
    let Err(refused) = start_broker(servers.directory.path(), &servers.keeper, &[]).await else {
        panic!("two brokers of one directory")
    };
    assert!(refused.to_string().starts_with("Failed to acquire lock on file .lock in "), "{refused}");
    let port = servers.address().port();
    let listeners = format!("PLAINTEXT://127.0.0.1:{port}");
    let Err(refused) = start_broker(elsewhere.path(), &servers.keeper, &[("listeners", &listeners)]).await else {
        panic!("two brokers on one port")
    };
    assert!(refused.to_string().starts_with("Socket server failed to bind to 127.0.0.1"), "{refused}");
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_broker_of_another_make_keeps_this_one_out_and_a_dead_one_does_not() {
    let servers = Servers::start(&[]).await;
    let registrations = [
        r#"{"jmx_port":-1,"timestamp":"1416700000000","host":"seven","version":1,"port":9092}"#,
        r#"{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://seven:9092"],"jmx_port":-1,"port":9092,"host":"seven","version":5,"timestamp":"1700000000000"}"#,
    ];
    let elsewhere = tempfile::tempdir().unwrap();
    let second = [("broker.id", "1")];
    for registration in registrations {
        let foreign = servers.session().await;
        foreign.create("/brokers/ids/7", registration, CreateMode::Ephemeral).await.unwrap();
        let Err(refused) = start_broker(elsewhere.path(), &servers.keeper, &second).await else {
            panic!("shared a tree with {registration}")
        };
        assert!(matches!(refused, BrokerError::ForeignBroker { id: 7, .. }), "{refused}");
        assert_eq!(
            refused.to_string(),
            "broker 7 at seven:9092 is not a Tidemill broker, and this one cannot share a cluster with it"
        );
        let help = refused.help("bin/kafka-server-start.sh config/server.properties");
        assert!(help.as_ref().is_some_and(|help| help.contains("zookeeper.connect=")), "{help:?}");
        // Its znode goes with its session.
        foreign.close().await;
    }
    let joined = start_broker(elsewhere.path(), &servers.keeper, &second).await.unwrap();
    assert_eq!(joined.status().brokers, [0, 1], "the broker that is gone does not matter, and one of ours never did");
    joined.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_while_it_started_again_still_takes_its_registration_over() {
    let servers = Servers::start(&[]).await;
    let Servers { keeper, broker, directory, .. } = servers;
    broker.shutdown().await;
    let killed = Session::connect(&keeper.local_addr().to_string(), PATIENCE).await.unwrap();
    let left = r#"{"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://localhost:9092"],"tidemill":"0.1.0","jmx_port":-1,"port":9092,"host":"localhost","version":5,"timestamp":"1"}"#;
    killed.create("/brokers/ids/0", left, CreateMode::Ephemeral).await.unwrap();
    killed.create("/controller", r#"{"version":1,"brokerid":0,"timestamp":"1"}"#, CreateMode::Ephemeral).await.unwrap();
    // Of the run that had registered, and of others that were killed before they could.
    let notes = ["0x17".to_owned(), format!("{:#x}", killed.session_id()), "0x18".to_owned()];
    let notes = format!("1\n{}", notes.map(|session| format!("zookeeper.session={session}\n")).concat());
    let lock_file = directory.path().join("logs/.lock");
    std::fs::write(&lock_file, notes).unwrap();
    let broker = start_broker(directory.path(), &keeper, &[]).await.unwrap();
    assert_eq!(broker.status().brokers, [0]);
    let notes = std::fs::read_to_string(&lock_file).unwrap();
    assert_eq!(notes.matches("zookeeper.session=").count(), 1, "only its own session matters from here on: {notes}");
    broker.shutdown().await;
    killed.close().await;
    keeper.shutdown().await.unwrap();
}
