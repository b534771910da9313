//! What admin clients ask of our broker and a real one answers: who may do what, and elections.

use client::kafka::admin::NewTopic;
use client::kafka::{Admin, Cluster};
use protocol::error::ErrorCode;
use protocol::messages::create_acls::{AclCreation, CreateAclsRequest};
use protocol::messages::delete_acls::{DeleteAclsFilter, DeleteAclsRequest};
use protocol::messages::describe_acls::DescribeAclsRequest;
use protocol::messages::describe_cluster::DescribeClusterRequest;
use protocol::messages::elect_leaders::{ElectLeadersRequest, ElectLeadersResponse, TopicPartitions};
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use tidemill_testing::servers::Servers;

/// A keeper, a broker, a topic `t` of two partitions, and a client.
async fn start() -> (Servers, Cluster) {
    let servers = Servers::start(&[]).await;
    let cluster = servers.cluster();
    Admin::new(cluster.clone()).create_topic(&NewTopic::new("t", Some(2), Some(1))).await.unwrap();
    (servers, cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn acls_are_refused_as_a_broker_without_an_authorizer_refuses_them() {
    let (servers, cluster) = start().await;
    let disabled = ErrorCode::SECURITY_DISABLED.0;
    let described = cluster.send_any(&DescribeAclsRequest::default()).await.unwrap();
    assert_eq!(
        (described.error_code, described.error_message.as_deref()),
        (disabled, Some("No Authorizer is configured."))
    );
    let creations = vec![AclCreation::default(); 2];
    let created = cluster.send_any(&CreateAclsRequest { creations }).await.unwrap();
    assert_eq!(created.results.iter().map(|result| result.error_code).collect::<Vec<_>>(), [disabled; 2]);
    let filters = vec![DeleteAclsFilter::default(); 2];
    let deleted = cluster.send_any(&DeleteAclsRequest { filters }).await.unwrap();
    assert_eq!(deleted.filter_results.iter().map(|result| result.error_code).collect::<Vec<_>>(), [disabled; 2]);
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_told_to_those_who_ask() {
    let (servers, cluster) = start().await;
    for (asks, topic_bits, cluster_bits) in [(true, 8, 7), (false, 1, 1)] {
        let name = Some("t".into());
        let asked = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic { name, ..Default::default() }]),
            include_topic_authorized_operations: asks,
            ..Default::default()
        };
        let metadata = cluster.send_any(&asked).await.unwrap();
        // Not asked for is the lowest number: one bit.
        assert_eq!(metadata.topics[0].topic_authorized_operations.count_ones(), topic_bits);
        let asked = DescribeClusterRequest { include_cluster_authorized_operations: asks, ..Default::default() };
        let described = cluster.send_any(&asked).await.unwrap();
        assert_eq!(described.cluster_authorized_operations.count_ones(), cluster_bits);
    }
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_is_not_needed_where_the_preferred_replica_leads() {
    let (servers, cluster) = start().await;
    let outcomes = |response: ElectLeadersResponse| -> Vec<(String, i32, ErrorCode)> {
        assert_eq!(response.error_code, 0);
        let results = response.replica_election_results.iter();
        results
            .flat_map(|topic| {
                topic
                    .partition_result
                    .iter()
                    .map(|p| (topic.topic.to_string(), p.partition_id, ErrorCode(p.error_code)))
            })
            .collect()
    };
    let elect = |election_type: i8, topic_partitions: Option<Vec<TopicPartitions>>| {
        let request = ElectLeadersRequest { election_type, topic_partitions, timeout_ms: 10_000 };
        let cluster = &cluster;
        async move { cluster.send_any(&request).await.unwrap() }
    };
    let named = vec![
        TopicPartitions { topic: "t".into(), partitions: vec![1, 0, 1, 2] },
        TopicPartitions { topic: "missing".into(), partitions: vec![0] },
    ];
    let expected = [
        ("missing".to_owned(), 0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("t".to_owned(), 0, ErrorCode::ELECTION_NOT_NEEDED),
        ("t".to_owned(), 1, ErrorCode::ELECTION_NOT_NEEDED),
        ("t".to_owned(), 2, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ];
    for election_type in [0, 1] {
        assert_eq!(outcomes(elect(election_type, Some(named.clone())).await), expected);
        // Who asks for all hears of those that were needed only.
        assert_eq!(outcomes(elect(election_type, None).await), []);
    }
    assert_eq!(elect(7, Some(named)).await.error_code, ErrorCode::INVALID_REQUEST.0);
    servers.stop().await;
}
