//! A broker for tests: a real port, and a closure that decides what each request is answered with.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::api::ApiKey;
use protocol::frame::{self, SIZE_BYTES};
use protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use protocol::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::{Message, Request};
use protocol::wire::{Reader, Str};
use runtime::net::{Listener, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::config::{ClientConfig, HostPort};

/// One request as it came in.
pub(crate) struct Asked {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    /// Number of the connection it came on, from 0.
    pub(crate) connection: usize,
    body: Reader,
}

/// What happens next on that connection.
pub(crate) enum Answer {
    /// These bytes are sent.
    Bytes(Bytes),
    /// These bytes are sent after a while.
    Later(Duration, Bytes),
    /// Nothing is sent; later requests are answered.
    Nothing,
    /// The connection is closed.
    Close,
}

impl Asked {
    /// The request, decoded.
    pub(crate) fn read<R: Request>(&self) -> R {
        assert_eq!(self.api, R::KEY);
        R::decode(&mut self.body.clone(), self.version).expect("the client's request can be decoded")
    }

    /// A response in the request's version.
    pub(crate) fn answer<M: Message>(&self, response: &M) -> Answer {
        Answer::Bytes(self.frame(response))
    }

    pub(crate) fn frame<M: Message>(&self, response: &M) -> Bytes {
        frame::encode_response(self.api, self.version, self.correlation_id, response).expect("encodes")
    }

    /// The answer to ApiVersions of a broker that speaks all our versions of these APIs.
    pub(crate) fn versions_of(&self, apis: &[ApiKey]) -> Answer {
        let range = |api: &ApiKey| ApiVersion {
            api_key: api.to_i16(),
            min_version: *api.versions().start(),
            max_version: *api.versions().end(),
        };
        self.answer(&ApiVersionsResponse { api_keys: apis.iter().map(range).collect(), ..Default::default() })
    }

    /// The answer to Metadata of a cluster of one broker that leads all of `topics`, each `(name, partitions)`.
    pub(crate) fn metadata_of(&self, broker: &HostPort, topics: &[(&str, i32)]) -> Answer {
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            replica_nodes: vec![0],
            isr_nodes: vec![0],
            ..Default::default()
        };
        let topic = |(name, partitions): &(&str, i32)| MetadataResponseTopic {
            name: Some(Str::from(*name)),
            partitions: (0..*partitions).map(partition).collect(),
            ..Default::default()
        };
        let host = MetadataResponseBroker {
            node_id: 0,
            host: Str::from(broker.host.as_str()),
            port: i32::from(broker.port),
            rack: None,
        };
        self.answer(&MetadataResponse {
            brokers: vec![host],
            controller_id: 0,
            topics: topics.iter().map(topic).collect(),
            ..Default::default()
        })
    }
}

/// A running fake. It ends with the test's runtime.
pub(crate) struct FakeBroker {
    pub(crate) address: HostPort,
    /// Requests so far: connection, API and version of each.
    pub(crate) seen: Arc<Mutex<Vec<(usize, ApiKey, i16)>>>,
}

impl FakeBroker {
    /// Starts a broker on a free port of this machine. The closure is told its own address.
    pub(crate) fn start(decide: impl FnMut(&Asked, &HostPort) -> Answer + Send + 'static) -> FakeBroker {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = HostPort { host: "127.0.0.1".to_string(), port };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let decide = Arc::new(Mutex::new(decide));
        let broker = FakeBroker { address: address.clone(), seen: seen.clone() };
        runtime::spawn(async move {
            for connection in 0.. {
                let (stream, _peer) = listener.accept().await.unwrap();
                runtime::spawn(serve(stream, connection, decide.clone(), seen.clone(), address.clone()));
            }
        });
        broker
    }

    /// A client's configuration that knows this broker and does not wait long.
    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig {
            client_id: "test".to_string(),
            retry_backoff: Duration::from_millis(5),
            retry_backoff_max: Duration::from_millis(20),
            reconnect_backoff: Duration::from_millis(5),
            reconnect_backoff_max: Duration::from_millis(20),
            request_timeout: Duration::from_secs(5),
            default_api_timeout: Duration::from_secs(10),
            ..ClientConfig::new(vec![self.address.clone()])
        }
    }

    /// How often an API was asked for.
    pub(crate) fn count(&self, api: ApiKey) -> usize {
        self.seen.lock().iter().filter(|(_, seen, _)| *seen == api).count()
    }
}

async fn serve(
    mut stream: Stream,
    connection: usize,
    decide: Arc<Mutex<impl FnMut(&Asked, &HostPort) -> Answer>>,
    seen: Arc<Mutex<Vec<(usize, ApiKey, i16)>>>,
    address: HostPort,
) {
    loop {
        let mut size = [0; SIZE_BYTES];
        if stream.read_exact(&mut size).await.is_err() {
            return;
        }
        let mut bytes = vec![0; frame::frame_size(size, frame::REQUEST_BYTES_MAX_DEFAULT).unwrap()];
        if stream.read_exact(&mut bytes).await.is_err() {
            return;
        }
        let (header, body) = frame::decode_request_header(bytes.into()).unwrap();
        let asked = Asked {
            api: header.api().unwrap(),
            version: header.api_version,
            correlation_id: header.correlation_id,
            connection,
            body,
        };
        seen.lock().push((connection, asked.api, asked.version));
        let answer = (decide.lock())(&asked, &address);
        match answer {
            Answer::Bytes(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Answer::Later(pause, bytes) => {
                tokio::time::sleep(pause).await;
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Answer::Nothing => {}
            Answer::Close => return,
        }
    }
}
