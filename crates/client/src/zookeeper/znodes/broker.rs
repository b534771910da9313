//! Who is there: `/brokers/ids/N`, `/controller`, `/cluster/id`.

use bytes::Bytes;
use protocol::types::{BrokerId, Uuid};
use serde_json::{Map, Value, json};

use super::{Object, bad, int, object, text, text_map, text_object, texts, to_bytes};
use crate::zookeeper::ZkError;

/// Key of a registration that says: this broker acts on the tree and wants no LeaderAndIsr from a controller. Its value is a text, the version of
/// the program. Kafka's own brokers and clients ignore it.
pub const MARKER_KEY: &str = "tidemill";

/// Key of a registration that says: this broker is about to stop, and leads or joins nothing any more.
const SHUTTING_DOWN_KEY: &str = "tidemill_shutting_down";

/// One address of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener, such as `PLAINTEXT` or `INTERNAL`.
    pub listener: String,
    /// Its security protocol: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub security_protocol: String,
    /// Host, without brackets.
    pub host: String,
    /// Port.
    pub port: i32,
}

/// `/brokers/ids/N`, versions 1 to 5.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerRegistration {
    /// Version it was read in: 1 by brokers before 0.9, 2 before 0.10, which know no ApiVersions. What is written has the newest.
    pub version: i32,
    /// Where it can be reached. Clients before 0.9 reach the first `PLAINTEXT` one.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Port of JMX, -1 for none.
    pub jmx_port: i32,
    /// When it registered, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Version of the program, for a broker that acts on the tree ([`MARKER_KEY`]).
    pub marker: Option<String>,
    /// It is about to stop (a key of ours; Kafka's controller keeps this to itself).
    pub shutting_down: bool,
    /// Keys this version does not know (`features` of Kafka 2.7).
    pub extra: Map<String, Value>,
}

impl BrokerRegistration {
    /// The endpoint of a listener.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }

    /// The endpoint clients before 0.9 use, which anybody can talk to without credentials.
    pub fn plaintext(&self) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.security_protocol == "PLAINTEXT")
    }

    /// Reads any version: v1 has `host` and `port` only, v2 `endpoints`, v4 the map of listeners.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<BrokerRegistration, ZkError> {
        let mut node = Object::parse(path, data)?;
        let version = node.need("version", int)?;
        let host: Option<String> = node.optional("host", text)?;
        let port: Option<i32> = node.optional("port", int)?;
        let jmx_port = node.optional("jmx_port", int)?.unwrap_or(-1);
        let timestamp_ms = node.optional("timestamp", int)?.unwrap_or(-1);
        let rack = node.optional("rack", text)?;
        let marker = node.optional(MARKER_KEY, text)?;
        let shutting_down = node.optional(SHUTTING_DOWN_KEY, serde_json::Value::as_bool)?.unwrap_or_default();
        let protocols = node.optional("listener_security_protocol_map", text_map)?.unwrap_or_default();
        let endpoints = match node.optional("endpoints", texts)? {
            Some(texts) => texts
                .iter()
                .map(|text| {
                    parse_endpoint(text, &protocols).ok_or_else(|| bad(path, format!("endpoint '{text}' is none")))
                })
                .collect::<Result<Vec<_>, _>>()?,
            None => {
                let host = host.ok_or_else(|| bad(path, "key 'host' is missing"))?;
                let port = port.ok_or_else(|| bad(path, "key 'port' is missing"))?;
                let plaintext = || "PLAINTEXT".to_owned();
                vec![Endpoint { listener: plaintext(), security_protocol: plaintext(), host, port }]
            }
        };
        let extra = node.rest();
        Ok(BrokerRegistration { version, endpoints, rack, jmx_port, timestamp_ms, marker, shutting_down, extra })
    }

    /// The newest form that every client reads: version 5 where there are `features`, else 4, as Kafka 0.10.2 to 3.9 write it. `host` and `port` stay
    /// on top for 0.8.2, null and -1 where nothing is `PLAINTEXT`. (0.9.0.0 alone refuses versions over 2: KAFKA-3100.)
    pub fn to_json(&self) -> Bytes {
        let protocols: Vec<(String, String)> =
            self.endpoints.iter().map(|e| (e.listener.clone(), e.security_protocol.clone())).collect();
        let endpoints: Vec<String> = self.endpoints.iter().map(format_endpoint).collect();
        let version = if self.extra.contains_key("features") { 5 } else { 4 };
        let mut node = object(json!({
            "listener_security_protocol_map": text_object(&protocols),
            "endpoints": endpoints,
            "jmx_port": self.jmx_port,
            "timestamp": self.timestamp_ms.to_string(),
            "host": self.plaintext().map(|e| e.host.as_str()),
            "version": version,
            "port": self.plaintext().map_or(-1, |e| e.port),
        }));
        if let Some(rack) = &self.rack {
            node.insert("rack".to_owned(), Value::from(rack.as_str()));
        }
        if let Some(marker) = &self.marker {
            node.insert(MARKER_KEY.to_owned(), Value::from(marker.as_str()));
        }
        if self.shutting_down {
            node.insert(SHUTTING_DOWN_KEY.to_owned(), Value::from(true));
        }
        node.extend(self.extra.clone());
        to_bytes(node)
    }
}

/// `NAME://host:port`, the host perhaps empty or in brackets. Without a map (v2, v3) the name is the protocol.
fn parse_endpoint(text: &str, protocols: &[(String, String)]) -> Option<Endpoint> {
    let (listener, address) = text.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let protocol = protocols.iter().find(|(name, _)| name == listener).map_or(listener, |(_, protocol)| protocol);
    let (listener, security_protocol) = (listener.to_owned(), protocol.to_owned());
    Some(Endpoint { listener, security_protocol, host, port: port.parse().ok()? })
}

fn format_endpoint(endpoint: &Endpoint) -> String {
    let Endpoint { listener, host, port, .. } = endpoint;
    if host.contains(':') { format!("{listener}://[{host}]:{port}") } else { format!("{listener}://{host}:{port}") }
}

/// `/controller`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Controller {
    /// Who it is.
    pub broker: BrokerId,
    /// Since when, milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl Controller {
    /// Reads version 1 and 2, and the bare number of 0.8.0.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<Controller, ZkError> {
        if let Ok(broker) = super::parse_number(path, data) {
            return Ok(Controller { broker: BrokerId(broker), timestamp_ms: -1 });
        }
        let mut node = Object::parse(path, data)?;
        let broker = BrokerId(node.need("brokerid", int)?);
        Ok(Controller { broker, timestamp_ms: node.optional("timestamp", int)?.unwrap_or(-1) })
    }

    /// Version 1.
    pub fn to_json(self) -> Bytes {
        let timestamp = self.timestamp_ms.to_string();
        to_bytes(object(json!({ "version": 1, "brokerid": self.broker.0, "timestamp": timestamp })))
    }
}

/// `/cluster/id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterId(pub String);

impl ClusterId {
    /// The form Kafka makes ids in.
    pub fn from_uuid(id: Uuid) -> ClusterId {
        ClusterId(id.to_string())
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`ZkError::BadZnode`] names the znode.
    pub fn parse(path: &str, data: &[u8]) -> Result<ClusterId, ZkError> {
        Ok(ClusterId(Object::parse(path, data)?.need("id", text)?))
    }

    /// Its version is a text, unlike all others.
    pub fn to_json(&self) -> Bytes {
        to_bytes(object(json!({ "version": "1", "id": self.0 })))
    }
}
