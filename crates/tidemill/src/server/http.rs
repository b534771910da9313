//! The console of a server process: where it is to answer, and what is said where it cannot.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use broker::BrokerConfig;
use console::{Board, Console};
use tracing::warn;

use super::logging;
use crate::failure::Failure;

/// `http.listener` of a broker.
pub const KEY: &str = "http.listener";
/// Where it answers unless somebody says otherwise.
const DEFAULT_PORT: u16 = 8080;
/// What switches it off.
const NONE: &str = "none";

/// Where a console is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Nowhere,
    /// There, if nobody else does.
    Preferably(SocketAddr),
    /// There, or the server does not start.
    At(SocketAddr),
}

impl Listen {
    /// Where nobody has said anything: on loopback, and a port that is held is no reason not to start.
    pub fn by_default() -> Listen {
        Listen::Preferably(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)))
    }

    /// `http.listener` of a broker's configuration.
    ///
    /// # Errors
    /// A value that is no address.
    pub fn of(config: &BrokerConfig) -> Result<Listen, Failure> {
        match config.settings.explicit(KEY).filter(|value| !value.is_empty()) {
            None => Ok(Listen::by_default()),
            Some(value) => Listen::parse(value).map_err(|failure| failure.cause(config.settings.origin(KEY))),
        }
    }

    /// `host:port`, a port alone for loopback, or `none`.
    ///
    /// # Errors
    /// A text that is none of these.
    pub fn parse(text: &str) -> Result<Listen, Failure> {
        let wrong = || {
            Failure::usage(format!(
                "{KEY} is {text}, and may be host:port with an IP address or localhost, a port, or {NONE}"
            ))
        };
        if text.eq_ignore_ascii_case(NONE) {
            return Ok(Listen::Nowhere);
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("localhost", text));
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.trim_start_matches('[').trim_end_matches(']') {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            other => other.parse().map_err(|_| wrong())?,
        };
        Ok(Listen::At(SocketAddr::new(host, port)))
    }

    /// Starts a console there.
    ///
    /// # Errors
    /// A port that was asked for is held by somebody else.
    pub fn start(self, board: Board) -> Result<Option<Console>, Failure> {
        let (address, is_asked_for) = match self {
            Listen::Nowhere => return Ok(None),
            Listen::Preferably(address) => (address, false),
            Listen::At(address) => (address, true),
        };
        match Console::start(address, board) {
            Ok(console) => {
                if !console.address().ip().is_loopback() {
                    warn!("everybody who can reach {} can read the metrics", console.address());
                }
                Ok(Some(console))
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && !is_asked_for => {
                warn!(
                    "no metrics and health pages: {address} is held by another program; {KEY}=localhost:PORT serves them elsewhere, {KEY}={NONE} nowhere"
                );
                Ok(None)
            }
            Err(error) => Err(Failure::new(format!("cannot serve {KEY} {address}"))
                .cause(error)
                .help(format!("{KEY}=localhost:PORT, or {KEY}={NONE}"))),
        }
    }
}

/// Says where a console answers.
pub fn announce(console: Option<&Console>) {
    if let Some(console) = console {
        logging::announce(&format!("metrics and health on http://{}", console.address()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_an_address_a_port_or_none() {
        let at = |address: &str| Listen::At(address.parse().unwrap());
        for (text, expected) in [
            ("8080", at("127.0.0.1:8080")),
            ("localhost:0", at("127.0.0.1:0")),
            (":9000", at("0.0.0.0:9000")),
            ("[::1]:9000", at("[::1]:9000")),
            ("10.0.0.1:80", at("10.0.0.1:80")),
            ("none", Listen::Nowhere),
        ] {
            assert_eq!(Listen::parse(text).ok(), Some(expected), "{text}");
        }
        for wrong in ["", "off", "localhost", "example.com:80", "1:2:3", "70000"] {
            assert!(Listen::parse(wrong).is_err(), "{wrong}");
        }
    }
}
