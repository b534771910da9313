//! Asks what answers at an address, once a connection there has come to nothing: people give a tool the broker's port where ZooKeeper's belongs,
//! and the other way round.
//!
//! For messages alone. A question takes one second at most, and where no answer is understood there is none.

use std::fmt;
use std::time::Duration;

use runtime::Clock;
use runtime::net::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::zookeeper::ConnectString;

/// Longest time for one question.
const QUESTION_MAX: Duration = Duration::from_secs(1);
/// Addresses of a list that are asked.
const ADDRESSES_MAX: usize = 3;
/// Bytes of an answer that are looked at.
const ANSWER_BYTES: usize = 96;
/// Correlation id of the questions to brokers, which no other server would send back in the right place.
const CORRELATION: [u8; 4] = *b"tide";

/// What answers at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answering {
    /// A Kafka broker.
    Kafka,
    /// A ZooKeeper, of this version where it says so.
    ZooKeeper(Option<String>),
    /// A web server.
    Http,
}

impl fmt::Display for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answering::Kafka => f.write_str("a Kafka broker"),
            Answering::ZooKeeper(None) => f.write_str("a ZooKeeper"),
            Answering::ZooKeeper(Some(version)) => write!(f, "a ZooKeeper ({version})"),
            Answering::Http => f.write_str("a web server"),
        }
    }
}

/// What answers there; `None` where nothing does, or nothing that is understood.
pub async fn who_answers(host: &str, port: u16) -> Option<Answering> {
    let said = ask(host, port, b"srvr").await?;
    if let Some(rest) = said.strip_prefix(b"Zookeeper version: ") {
        let version = rest.split(|byte| matches!(byte, b',' | b'\n')).next().unwrap_or_default();
        return Some(Answering::ZooKeeper(Some(String::from_utf8_lossy(version).into_owned())));
    }
    if said.windows(12).any(|part| part == b"in the white") {
        return Some(Answering::ZooKeeper(None));
    }
    if said.starts_with(b"HTTP/") {
        return Some(Answering::Http);
    }
    // ApiVersions v0; brokers before 0.10 know only the second question, Metadata v0.
    for question in [request(18, &[]), request(3, &0_i32.to_be_bytes())] {
        if ask(host, port, &question).await?.get(4..8) == Some(&CORRELATION) {
            return Some(Answering::Kafka);
        }
    }
    None
}

/// Something else than what was looked for, and where it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instead {
    /// What it is.
    pub found: Answering,
    /// `host:port`.
    pub address: String,
}

impl fmt::Display for Instead {
    /// `a Kafka broker answers at localhost:9092`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers at {}", self.found, self.address)
    }
}

/// The first of ZooKeeper's addresses at which something else answers.
pub async fn instead_of_zookeeper(connect: &ConnectString) -> Option<Instead> {
    let addresses: Vec<(&str, u16)> = connect.hosts().iter().map(|(host, port)| (host.as_str(), *port)).collect();
    instead(&addresses, |found| matches!(found, Answering::ZooKeeper(_))).await
}

/// The first of the brokers' addresses at which something else answers.
pub async fn instead_of_brokers(addresses: &[(&str, u16)]) -> Option<Instead> {
    instead(addresses, |found| matches!(found, Answering::Kafka)).await
}

async fn instead(addresses: &[(&str, u16)], is_right: impl Fn(&Answering) -> bool) -> Option<Instead> {
    for (host, port) in addresses.iter().take(ADDRESSES_MAX) {
        match who_answers(host, *port).await {
            Some(found) if is_right(&found) => return None,
            Some(found) => return Some(Instead { found, address: format!("{host}:{port}") }),
            None => {}
        }
    }
    None
}

/// Sends the question on a connection of its own; gives the first bytes of what comes back, none of them where the server hangs up or keeps still.
async fn ask(host: &str, port: u16, question: &[u8]) -> Option<Vec<u8>> {
    let mut stream = Stream::connect(host, port, QUESTION_MAX).await.ok()?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES);
    let exchange = async {
        stream.write_all(question).await?;
        while answer.len() < ANSWER_BYTES && (&mut stream).take(ANSWER_BYTES as u64).read_buf(&mut answer).await? > 0 {
            if answer.len() >= 8 && answer.get(4..8) == Some(&CORRELATION) {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    tokio::select! {
        biased;
        // A reset after the answer takes nothing from it.
        _ = exchange => {}
        () = Clock::real().sleep(QUESTION_MAX) => {}
    }
    Some(answer)
}

/// A request of Kafka's, version 0, from a client without a name.
fn request(api_key: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&u32::try_from(10 + body.len()).unwrap_or_default().to_be_bytes());
    frame.extend_from_slice(&api_key.to_be_bytes());
    frame.extend_from_slice(&0_u16.to_be_bytes());
    frame.extend_from_slice(&CORRELATION);
    frame.extend_from_slice(&(-1_i16).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

#[cfg(test)]
mod tests {
    use runtime::net::Listener;

    use super::*;

    /// A server that answers `said` to what begins with `asked`, and hangs up on everything else.
    async fn server(asked: &'static [u8], said: &'static [u8]) -> u16 {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut first = vec![0; asked.len()];
                if stream.read_exact(&mut first).await.is_ok() && first == asked {
                    let _ = stream.write_all(said).await;
                }
            }
        });
        port
    }

    #[tokio::test]
    async fn servers_are_known_by_their_answers() {
        async fn check(asked: &'static [u8], said: &'static [u8], expected: Option<&str>) {
            let port = server(asked, said).await;
            let found = who_answers("127.0.0.1", port).await.map(|found| found.to_string());
            assert_eq!(found.as_deref(), expected, "{said:?}");
        }
        check(b"srvr", b"Zookeeper version: 3.4.6-1569965, built on x", Some("a ZooKeeper (3.4.6-1569965)")).await;
        check(b"srvr", b"srvr is not executed because it is not in the whitelist.\n", Some("a ZooKeeper")).await;
        check(b"srvr", b"HTTP/1.1 400 Bad Request\r\n", Some("a web server")).await;
        check(&[0, 0, 0, 10, 0, 18, 0, 0], b"\0\0\0\x0atide\0\0\0\0\0\0", Some("a Kafka broker")).await;
        check(&[0, 0, 0, 14, 0, 3, 0, 0], b"\0\0\0\x0atide\0\0\0\0\0\0", Some("a Kafka broker")).await;
        check(b"nobody asks this", b"", None).await;
    }

    #[tokio::test]
    async fn what_is_expected_is_not_told() {
        let port = server(b"srvr", b"Zookeeper version: 3.8.0, built on x").await;
        let connect = ConnectString::parse(&format!("127.0.0.1:{port}/kafka")).unwrap();
        assert_eq!(instead_of_zookeeper(&connect).await, None);
        let said = instead_of_brokers(&[("127.0.0.1", port)]).await.map(|instead| instead.to_string());
        assert_eq!(said, Some(format!("a ZooKeeper (3.8.0) answers at 127.0.0.1:{port}")));
    }
}
