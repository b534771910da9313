//! Where the broker listens and what it tells clients: `listeners`, `advertised.listeners`, and 0.9's `host.name`, `port` and their advertised twins.

use super::settings::Settings;
use crate::error::BrokerError;

/// How bytes travel on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Plain TCP without authentication.
    Plaintext,
}

impl SecurityProtocol {
    /// Kafka's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
        }
    }
}

/// One address with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Name, in capitals: `PLAINTEXT`, `INTERNAL`.
    pub name: String,
    /// Host; empty means every interface (to bind) or this machine's name (to advertise).
    pub host: String,
    /// Port; 0 takes a free one, and advertises the one taken.
    pub port: u16,
    /// What travels on it.
    pub protocol: SecurityProtocol,
}

/// All addresses of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listeners {
    /// Addresses to bind.
    pub bind: Vec<Listener>,
    /// Addresses to tell, each with the name of one that is bound.
    pub advertised: Vec<Listener>,
    /// Name of the listener that brokers use among themselves.
    pub inter_broker: String,
}

impl Listeners {
    /// Reads them from the settings.
    ///
    /// # Errors
    /// Text that is no address, two listeners of one name or port, an advertised name that is not bound, a protocol that is not served.
    pub fn from_settings(settings: &Settings) -> Result<Listeners, BrokerError> {
        let protocols = parse_protocol_map(settings)?;
        let bind = match settings.explicit("listeners").filter(|text| !text.is_empty()) {
            Some(text) => parse_list(settings, "listeners", text, &protocols)?,
            None => {
                let port = u16::try_from(settings.int("port")).unwrap_or_default();
                vec![plaintext(settings.string("host.name"), port)]
            }
        };
        refuse_duplicates(settings, &bind)?;
        let advertised = match settings.explicit("advertised.listeners").filter(|text| !text.is_empty()) {
            Some(text) => parse_list(settings, "advertised.listeners", text, &protocols)?,
            None => advertise_bound(settings, &bind),
        };
        for listener in &advertised {
            if listener.host == "0.0.0.0" {
                return Err(invalid(
                    settings,
                    "advertised.listeners",
                    "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
                ));
            }
            if !bind.iter().any(|bound| bound.name == listener.name) {
                return Err(invalid(
                    settings,
                    "advertised.listeners",
                    &format!(
                        "advertised.listeners names {}, which listeners does not: advertised.listeners listener names must be equal to or a subset of the ones defined in listeners",
                        listener.name
                    ),
                ));
            }
        }
        let inter_broker = inter_broker_name(settings, &advertised)?;
        Ok(Listeners { bind, advertised, inter_broker })
    }
}

fn plaintext(host: String, port: u16) -> Listener {
    Listener { name: "PLAINTEXT".to_owned(), host, port, protocol: SecurityProtocol::Plaintext }
}

fn advertise_bound(settings: &Settings, bind: &[Listener]) -> Vec<Listener> {
    let host = settings.text("advertised.host.name");
    let port = settings.optional_long("advertised.port").and_then(|port| u16::try_from(port).ok());
    let mut advertised = bind.to_vec();
    for listener in &mut advertised {
        if let Some(host) = host {
            listener.host = host.to_owned();
        } else if listener.host == "0.0.0.0" || listener.host == "::" {
            listener.host.clear();
        }
        if let Some(port) = port {
            listener.port = port;
        }
    }
    advertised
}

fn inter_broker_name(settings: &Settings, advertised: &[Listener]) -> Result<String, BrokerError> {
    let Some(name) = settings.explicit("inter.broker.listener.name").filter(|name| !name.is_empty()) else {
        let protocol = settings.string("security.inter.broker.protocol");
        return match advertised.iter().find(|listener| listener.protocol.name() == protocol).or(advertised.first()) {
            Some(listener) => Ok(listener.name.clone()),
            None => Err(invalid(settings, "listeners", "listeners must name at least one address")),
        };
    };
    let name = name.to_uppercase();
    if advertised.iter().any(|listener| listener.name == name) {
        Ok(name)
    } else {
        let what = format!(
            "inter.broker.listener.name must be a listener name defined in advertised.listeners, and {name} is not"
        );
        Err(invalid(settings, "inter.broker.listener.name", &what))
    }
}

fn refuse_duplicates(settings: &Settings, bind: &[Listener]) -> Result<(), BrokerError> {
    for (at, listener) in bind.iter().enumerate() {
        for other in &bind[..at] {
            if other.name == listener.name {
                return Err(invalid(
                    settings,
                    "listeners",
                    &format!("Each listener must have a different name, listeners: {}", listener.name),
                ));
            }
            if other.port != 0 && other.port == listener.port && other.host == listener.host {
                return Err(invalid(
                    settings,
                    "listeners",
                    &format!("Each listener must have a different port, listeners: {}", listener.port),
                ));
            }
        }
    }
    Ok(())
}

fn parse_protocol_map(settings: &Settings) -> Result<Vec<(String, String)>, BrokerError> {
    let mut protocols = Vec::new();
    for pair in settings.list("listener.security.protocol.map") {
        let Some((name, protocol)) = pair.split_once(':') else {
            let what =
                format!("Error parsing entry {pair:?} of listener.security.protocol.map: expected NAME:PROTOCOL");
            return Err(invalid(settings, "listener.security.protocol.map", &what));
        };
        protocols.push((name.trim().to_uppercase(), protocol.trim().to_uppercase()));
    }
    Ok(protocols)
}

fn parse_list(
    settings: &Settings,
    key: &str,
    text: &str,
    protocols: &[(String, String)],
) -> Result<Vec<Listener>, BrokerError> {
    let mut listeners = Vec::new();
    for item in super::key::split_list(text) {
        listeners.push(parse_one(item, protocols).map_err(|what| invalid(settings, key, &what))?);
    }
    if listeners.is_empty() {
        return Err(invalid(settings, key, &format!("{key} must name at least one address")));
    }
    Ok(listeners)
}

fn parse_one(text: &str, protocols: &[(String, String)]) -> Result<Listener, String> {
    let unparsable = || format!("Unable to parse {text} to a broker endpoint: expected NAME://host:port");
    let (name, address) = text.split_once("://").ok_or_else(unparsable)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(unparsable)?;
    let port: u16 = port.trim().parse().map_err(|_| unparsable())?;
    let host = host.trim().trim_start_matches('[').trim_end_matches(']');
    let name = name.trim().to_uppercase();
    if name.is_empty() {
        return Err(unparsable());
    }
    let protocol = protocols.iter().find(|(known, _)| *known == name).map(|(_, protocol)| protocol.as_str());
    match protocol {
        Some("PLAINTEXT") => Ok(Listener { name, host: host.to_owned(), port, protocol: SecurityProtocol::Plaintext }),
        Some(other) => {
            Err(format!("listener {name} asks for security protocol {other}, which is not served yet; PLAINTEXT is"))
        }
        None => Err(format!("No security protocol defined for listener {name}")),
    }
}

fn invalid(settings: &Settings, key: &str, what: &str) -> BrokerError {
    BrokerError::Config {
        what: what.to_owned(),
        cause: String::new(),
        origin: Some(settings.origin(key)),
        advice: super::broker_keys::find(key).map(|found| format!("{key}: {}", found.doc)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Result<Listeners, String> {
        let settings = Settings::parse(Path::new("server.properties"), text.as_bytes()).unwrap();
        Listeners::from_settings(&settings).map_err(|error| error.to_string())
    }

    fn check(text: &str, bind: &str, advertised: &str) {
        let show = |listeners: &[Listener]| {
            listeners.iter().map(|l| format!("{}://{}:{}", l.name, l.host, l.port)).collect::<Vec<_>>().join(",")
        };
        let listeners = read(text).unwrap();
        assert_eq!(show(&listeners.bind), bind, "{text}");
        assert_eq!(show(&listeners.advertised), advertised, "{text}");
    }

    #[test]
    fn old_and_new_keys_give_addresses() {
        check("", "PLAINTEXT://:9092", "PLAINTEXT://:9092");
        check("host.name=localhost\nport=9093", "PLAINTEXT://localhost:9093", "PLAINTEXT://localhost:9093");
        check("advertised.host.name=h\nadvertised.port=1", "PLAINTEXT://:9092", "PLAINTEXT://h:1");
        check("listeners=PLAINTEXT://0.0.0.0:9092", "PLAINTEXT://0.0.0.0:9092", "PLAINTEXT://:9092");
        check("listeners=PLAINTEXT://[::1]:9092", "PLAINTEXT://::1:9092", "PLAINTEXT://::1:9092");
        check(
            "listeners=IN://:1,OUT://:2\nadvertised.listeners=OUT://far:3,IN://near:1\nlistener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT\ninter.broker.listener.name=IN",
            "IN://:1,OUT://:2",
            "OUT://far:3,IN://near:1",
        );
    }

    #[test]
    fn mistakes_are_named() {
        let said = |text: &str| read(text).unwrap_err();
        assert_eq!(
            said("listeners=localhost:9092"),
            "Unable to parse localhost:9092 to a broker endpoint: expected NAME://host:port"
        );
        assert_eq!(said("listeners=FOO://:1"), "No security protocol defined for listener FOO");
        assert!(said("listeners=SSL://:1").contains("not served yet"));
        assert!(said("advertised.listeners=PLAINTEXT://0.0.0.0:9092").contains("nonroutable"));
        assert!(
            said("listeners=PLAINTEXT://:1,PLAINTEXT://:2").starts_with("Each listener must have a different name")
        );
        assert!(said("inter.broker.listener.name=IN").starts_with("inter.broker.listener.name must be"));
    }
}
