use std::time::Duration;

use protocol::api::ApiKey;
use protocol::error::ErrorCode;
use protocol::messages::metadata::{MetadataResponse, MetadataResponseTopic};

use super::super::error::ClientError;
use super::super::fake_broker::{Answer, Asked, FakeBroker};
use super::*;

const APIS: &[ApiKey] = &[ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::FindCoordinator];

fn cluster(broker: &FakeBroker) -> Cluster {
    Cluster::new(broker.config(), Clock::real())
}

fn without_leader(asked: &Asked, code: ErrorCode) -> Answer {
    let topic = MetadataResponseTopic { name: Some(Str::from("t")), error_code: code.0, ..Default::default() };
    asked.answer(&MetadataResponse { topics: vec![topic], ..Default::default() })
}

#[tokio::test]
async fn a_topic_being_created_is_waited_for() {
    let mut asked_before = 0;
    let broker = FakeBroker::start(move |asked, address| match asked.api {
        ApiKey::ApiVersions => asked.versions_of(APIS),
        _ => {
            asked_before += 1;
            match asked_before {
                1 => without_leader(asked, ErrorCode::LEADER_NOT_AVAILABLE),
                2 => without_leader(asked, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                _ => asked.metadata_of(address, &[("t", 3)]),
            }
        }
    });
    let cluster = cluster(&broker);
    let topic = cluster.topic("t", true, cluster.default_deadline()).await.unwrap();
    assert_eq!(topic.partitions.len(), 3);
    assert_eq!(broker.count(ApiKey::Metadata), 3);
    // What is known is not asked for again.
    cluster.topic("t", true, cluster.default_deadline()).await.unwrap();
    assert_eq!(broker.count(ApiKey::Metadata), 3);
}

#[tokio::test]
async fn a_topic_that_never_comes_has_kafkas_text() {
    let broker = FakeBroker::start(|asked, _| match asked.api {
        ApiKey::ApiVersions => asked.versions_of(APIS),
        _ => without_leader(asked, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    });
    let cluster = cluster(&broker);
    let deadline = Clock::real().now() + Duration::from_millis(50);
    let error = cluster.topic("t", false, deadline).await.unwrap_err();
    assert!(error.to_string().starts_with("Topic t not present in metadata after "), "{error}");
    assert!(error.cause().unwrap().contains("UNKNOWN_TOPIC_OR_PARTITION"), "{:?}", error.cause());
    assert!(error.help().is_some());
}

#[tokio::test]
async fn a_name_that_no_wait_makes_valid_fails_at_once() {
    let broker = FakeBroker::start(|asked, _| match asked.api {
        ApiKey::ApiVersions => asked.versions_of(APIS),
        _ => without_leader(asked, ErrorCode::INVALID_TOPIC_EXCEPTION),
    });
    let cluster = cluster(&broker);
    let error = cluster.topic("t", true, cluster.default_deadline()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::INVALID_TOPIC_EXCEPTION));
    assert_eq!(broker.count(ApiKey::Metadata), 1);
}

#[tokio::test]
async fn nobody_at_the_port_is_told_apart_from_an_unknown_topic() {
    let listener = runtime::net::Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let config = ClientConfig {
        default_api_timeout: Duration::from_millis(100),
        ..ClientConfig::parse(&format!("127.0.0.1:{port}")).unwrap()
    };
    let error = Cluster::connect(config, Clock::real()).await.err().unwrap();
    assert!(matches!(error, ClientError::NoBroker { .. }), "{error:?}");
    let cause = error.cause().unwrap();
    assert!(cause.contains("Connection to node -1 (127.0.0.1:"), "{cause}");
    assert!(cause.contains("could not be established. Node may not be available."), "{cause}");
}

#[tokio::test]
async fn refreshes_at_the_same_time_are_one_request() {
    let broker = FakeBroker::start(|asked, address| match asked.api {
        ApiKey::ApiVersions => asked.versions_of(APIS),
        _ => match asked.metadata_of(address, &[("t", 1)]) {
            Answer::Bytes(bytes) => Answer::Later(Duration::from_millis(30), bytes),
            other => other,
        },
    });
    let cluster = cluster(&broker);
    let deadline = cluster.default_deadline();
    let names = ["t"];
    let (one, two, three) = tokio::join!(
        cluster.refresh_topics(&names, deadline),
        cluster.refresh_topics(&names, deadline),
        cluster.refresh_topics(&names, deadline),
    );
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(broker.count(ApiKey::Metadata), 1);
}

#[tokio::test]
async fn a_connection_that_broke_is_replaced() {
    let mut answered = 0;
    let broker = FakeBroker::start(move |asked, address| match asked.api {
        ApiKey::ApiVersions => asked.versions_of(APIS),
        _ => {
            answered += 1;
            if answered == 2 { Answer::Close } else { asked.metadata_of(address, &[("t", 1)]) }
        }
    });
    let cluster = cluster(&broker);
    cluster.refresh_all().await.unwrap();
    let metadata = cluster.refresh_all().await.unwrap();
    assert_eq!(metadata.topics.len(), 1);
    assert_eq!(metadata.controller, Some(BrokerId(0)));
}
