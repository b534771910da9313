//! What bytes look like that are not what a port was made for: HTTP, TLS, the other of our two protocols.
//!
//! For messages alone: a stranger's connection is closed whatever this says. Nothing here can fail or allocate.

use std::fmt;

/// Who seems to have connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// A browser, a health check, a scanner.
    Http,
    /// HTTP/2 without TLS: gRPC.
    Http2,
    /// A client that wants TLS.
    Tls,
    /// Somebody who asks a ZooKeeper how it is.
    FourLetterWord,
    /// A client of ZooKeeper.
    ZooKeeperClient,
    /// A client of Kafka.
    KafkaClient,
    /// An SSH client.
    Ssh,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stranger::Http => "an HTTP request",
            Stranger::Http2 => "an HTTP/2 connection",
            Stranger::Tls => "a TLS handshake",
            Stranger::FourLetterWord => "a ZooKeeper four-letter word",
            Stranger::ZooKeeperClient => "a ZooKeeper client",
            Stranger::KafkaClient => "a Kafka client",
            Stranger::Ssh => "an SSH connection",
        })
    }
}

/// Who begins a connection with these bytes, where either protocol of ours would have a frame's length.
#[must_use]
pub fn by_first_bytes(head: &[u8]) -> Option<Stranger> {
    Some(match head.first_chunk::<4>()? {
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"DELE" | b"OPTI" | b"PATC" | b"CONN" => Stranger::Http,
        b"PRI " => Stranger::Http2,
        [0x16, 0x03, ..] => Stranger::Tls,
        b"ruok" | b"srvr" | b"stat" | b"mntr" | b"conf" | b"cons" | b"isro" => Stranger::FourLetterWord,
        b"SSH-" => Stranger::Ssh,
        _ => return None,
    })
}

/// Whether the first frame of a connection is a session request of ZooKeeper, seen by somebody who expects one of Kafka's: version 0, and a
/// password of 16 bytes where it belongs.
#[must_use]
pub fn is_zookeeper_session(frame: &[u8]) -> bool {
    const LENGTHS: [usize; 2] = [44, 45];
    LENGTHS.contains(&frame.len()) && frame.starts_with(&[0; 4]) && frame.get(24..28) == Some(&[0, 0, 0, 16])
}

/// Whether the first frame of a connection is a request of Kafka's, seen by somebody who expects a session request of ZooKeeper: key and
/// version are small numbers, and not both 0 as ZooKeeper's version is.
#[must_use]
pub fn is_kafka_request(frame: &[u8]) -> bool {
    /// Kafka 4 has fewer than a hundred keys, none of them with thirty versions.
    const KEY_MAX: u8 = 100;
    const VERSION_MAX: u8 = 30;
    match frame.first_chunk::<4>() {
        Some([0, key @ 0..KEY_MAX, 0, version @ 0..VERSION_MAX]) => (*key, *version) != (0, 0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::zookeeper::{ConnectRequest, Record};

    #[test]
    fn strangers_are_known_by_their_first_bytes() {
        let check = |head: &[u8], expected: Option<&str>| {
            assert_eq!(by_first_bytes(head).map(|stranger| stranger.to_string()).as_deref(), expected, "{head:?}");
        };
        check(b"GET / HTTP/1.1", Some("an HTTP request"));
        check(b"PRI * HTTP/2.0", Some("an HTTP/2 connection"));
        check(&[0x16, 0x03, 0x01, 0x02], Some("a TLS handshake"));
        check(b"ruok", Some("a ZooKeeper four-letter word"));
        check(b"SSH-2.0", Some("an SSH connection"));
        check(&[0, 0, 0, 20], None);
        check(b"GE", None);
        check(b"", None);
    }

    #[test]
    fn the_two_protocols_are_told_apart() {
        let mut session = BytesMut::new();
        ConnectRequest { password: Some(vec![0; 16].into()), read_only: Some(false), ..ConnectRequest::default() }
            .write(&mut session);
        assert!(is_zookeeper_session(&session));
        assert!(!is_kafka_request(&session));
        // ApiVersions v3, Metadata v0, Produce v9.
        for request in [[0, 18, 0, 3, 0, 0, 0, 1], [0, 3, 0, 0, 0, 0, 0, 1], [0, 0, 0, 9, 0, 0, 0, 1]] {
            assert!(is_kafka_request(&request), "{request:?}");
            assert!(!is_zookeeper_session(&request), "{request:?}");
        }
        for neither in [&b""[..], &[0, 0, 0], &[0xff; 44], &[0; 44], b"GET / HTTP/1.1"] {
            assert!(!is_kafka_request(neither) && !is_zookeeper_session(neither), "{neither:?}");
        }
    }
}
