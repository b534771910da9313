use std::time::Duration;

use bytes::Bytes;
use protocol::api::ApiKey;
use protocol::error::ErrorCode;
use protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use protocol::messages::metadata::MetadataResponse;

use super::super::error::ClientError;
use super::super::fake_broker::{Answer, Asked, FakeBroker};
use super::super::versions::{OldBroker, Source};
use super::*;

fn heartbeat(generation_id: i32) -> HeartbeatRequest {
    HeartbeatRequest { generation_id, ..HeartbeatRequest::default() }
}

/// Answers the handshake, and every Heartbeat with its own generation as the error code.
fn echo(asked: &Asked) -> Answer {
    match asked.api {
        ApiKey::ApiVersions => asked.versions_of(&[ApiKey::ApiVersions, ApiKey::Heartbeat]),
        ApiKey::Metadata => asked.answer(&MetadataResponse::default()),
        _ => {
            let generation = asked.read::<HeartbeatRequest>().generation_id;
            asked.answer(&HeartbeatResponse { error_code: generation as i16, ..Default::default() })
        }
    }
}

async fn connect(broker: &FakeBroker) -> Result<Connection> {
    Connection::connect(-1, &broker.address, &broker.config(), None, Clock::real()).await
}

#[tokio::test]
async fn pipelined_requests_get_their_own_answers() {
    let broker = FakeBroker::start(|asked, _| echo(asked));
    let connection = connect(&broker).await.unwrap();
    let mut tasks = Vec::new();
    for generation in 1..200 {
        let connection = connection.clone();
        tasks.push(runtime::spawn(async move {
            let response = connection.send(&heartbeat(generation)).await.unwrap();
            assert_eq!(i32::from(response.error_code), generation);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    let broker = FakeBroker::start(|asked, _| match asked.api {
        ApiKey::Heartbeat => Answer::Nothing,
        _ => echo(asked),
    });
    let config = ClientConfig { in_flight_requests_max: 2, ..broker.config() };
    let connection = Connection::connect(-1, &broker.address, &config, None, Clock::real()).await.unwrap();
    let limit = Duration::from_millis(200);
    let requests = [heartbeat(1), heartbeat(2), heartbeat(3)];
    let (one, two, three) = tokio::join!(
        connection.send_version_within(&requests[0], 0, limit),
        connection.send_version_within(&requests[1], 0, limit),
        connection.send_version_within(&requests[2], 0, limit),
    );
    assert!(one.is_err() && two.is_err() && three.is_err());
    assert_eq!(broker.count(ApiKey::Heartbeat), 2);
}

#[tokio::test]
async fn silence_beyond_the_time_out_closes_the_connection() {
    let broker = FakeBroker::start(|asked, _| match asked.api {
        ApiKey::Heartbeat => Answer::Nothing,
        _ => echo(asked),
    });
    let connection = connect(&broker).await.unwrap();
    let error = connection.send_version_within(&heartbeat(1), 0, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, ClientError::RequestTimeout { api: "Heartbeat", .. }), "{error:?}");
    assert!(connection.is_closed());
    let error = connection.send(&heartbeat(2)).await.unwrap_err();
    assert!(matches!(error, ClientError::Disconnected { .. }), "{error:?}");
}

#[tokio::test]
async fn hostile_answers_close_the_connection_and_nothing_else() {
    async fn check(answer: impl Fn(&Asked) -> Bytes + Send + 'static) {
        let broker = FakeBroker::start(move |asked, _| match asked.api {
            ApiKey::Heartbeat => Answer::Bytes(answer(asked)),
            _ => echo(asked),
        });
        let connection = connect(&broker).await.unwrap();
        let error = connection.send(&heartbeat(1)).await.unwrap_err();
        assert!(matches!(error, ClientError::Malformed { .. }), "{error:?}");
        assert!(connection.is_closed());
    }
    // Lengths below what a correlation id needs, negative, and far above the limit.
    check(|_| Bytes::from_static(&[0, 0, 0, 3, 1, 2, 3])).await;
    check(|_| Bytes::from_static(&[0xff, 0xff, 0xff, 0xff])).await;
    check(|_| Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff])).await;
    // Another request's correlation id.
    check(|asked| {
        let mut frame = asked.frame(&HeartbeatResponse::default()).to_vec();
        frame[7] ^= 1;
        frame.into()
    })
    .await;
    // A body cut short.
    check(|asked| Bytes::copy_from_slice(&[&[0, 0, 0, 4], &asked.correlation_id.to_be_bytes()[..]].concat())).await;
}

#[tokio::test]
async fn a_broker_that_closes_on_api_versions_is_an_old_one() {
    let broker = FakeBroker::start(|asked, _| match asked.api {
        ApiKey::ApiVersions => Answer::Close,
        _ => echo(asked),
    });
    let connection = connect(&broker).await.unwrap();
    assert_eq!(connection.versions().source(), Source::Table(OldBroker::V0_9_0));
    assert_eq!((broker.count(ApiKey::ApiVersions), broker.count(ApiKey::Metadata)), (3, 1));
    assert_eq!(connection.send(&heartbeat(7)).await.unwrap().error_code, 7);
    assert_eq!(broker.seen.lock().last().unwrap().2, 0, "0.9 knows Heartbeat v0 only");
}

#[tokio::test]
async fn a_broker_that_never_answers_api_versions_is_an_old_one() {
    let broker = FakeBroker::start(|asked, _| match asked.api {
        ApiKey::ApiVersions => Answer::Nothing,
        _ => echo(asked),
    });
    let config = ClientConfig { api_version_request_timeout: Duration::from_millis(50), ..broker.config() };
    let connection = Connection::connect(-1, &broker.address, &config, None, Clock::real()).await.unwrap();
    assert_eq!(connection.versions().source(), Source::Table(OldBroker::V0_9_0));
    assert_eq!((broker.count(ApiKey::ApiVersions), broker.count(ApiKey::Metadata)), (2, 1));
    assert_eq!(connection.send(&heartbeat(7)).await.unwrap().error_code, 7);
}

/// Found by the simulator's second tier (seed 653): a broker that stood still for a moment was taken for one of 0.9, and an idempotent producer stored records twice ever after.
#[tokio::test]
async fn a_broker_that_stood_still_is_not_taken_for_an_old_one() {
    let broker = FakeBroker::start(|asked, _| match asked.api {
        ApiKey::ApiVersions if asked.connection == 0 => Answer::Nothing,
        _ => echo(asked),
    });
    let config = ClientConfig { api_version_request_timeout: Duration::from_millis(50), ..broker.config() };
    let connection = Connection::connect(-1, &broker.address, &config, None, Clock::real()).await.unwrap();
    assert_eq!(connection.versions().source(), Source::Broker);
    // One that does not answer at all is none of any release.
    let silent = FakeBroker::start(|_, _| Answer::Nothing);
    let config = ClientConfig { api_version_request_timeout: Duration::from_millis(50), ..silent.config() };
    let refused = Connection::connect(-1, &silent.address, &config, None, Clock::real()).await;
    let error = refused.err().expect("nobody answers");
    assert!(matches!(error, ClientError::RequestTimeout { api: "Metadata", .. }), "{error:?}");
}

#[tokio::test]
async fn a_broker_that_restarts_during_the_handshake_is_not_taken_for_old() {
    let broker = FakeBroker::start(|asked, _| match asked.api {
        ApiKey::ApiVersions if asked.connection == 0 => Answer::Close,
        _ => echo(asked),
    });
    let connection = connect(&broker).await.unwrap();
    assert_eq!(connection.versions().source(), Source::Broker);
}

#[tokio::test]
async fn a_broker_that_refuses_our_api_versions_is_asked_in_its_own() {
    let broker = FakeBroker::start(|asked, _| match asked.api {
        ApiKey::ApiVersions => {
            let old = ApiVersion { api_key: 18, min_version: 0, max_version: 0 };
            let response = ApiVersionsResponse { api_keys: vec![old], ..Default::default() };
            if asked.version == 0 {
                return asked.answer(&response);
            }
            let refusal = ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION.0, ..response };
            Answer::Bytes(frame::encode_response(asked.api, 0, asked.correlation_id, &refusal).unwrap())
        }
        _ => echo(asked),
    });
    let connection = connect(&broker).await.unwrap();
    assert_eq!(connection.versions().highest(ApiKey::ApiVersions).unwrap(), 0);
    let error = connection.send(&heartbeat(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "The node does not support Heartbeat");
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_connection() {
    let (gone, mut told) = tokio::sync::mpsc::unbounded_channel();
    let listener = runtime::net::Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = HostPort { host: "127.0.0.1".to_string(), port: listener.local_addr().unwrap().port() };
    runtime::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut rest = Vec::new();
        gone.send(stream.read_to_end(&mut rest).await.map_err(|error| error.kind())).unwrap();
    });
    let config = ClientConfig::new(vec![address.clone()]);
    let connection = Connection::connect(0, &address, &config, Some(OldBroker::V0_9_0), Clock::real()).await.unwrap();
    drop(connection);
    let end = tokio::time::timeout(Duration::from_secs(5), told.recv()).await.expect("the broker sees the end");
    assert_eq!(end, Some(Ok(0)));
}
