//! Settings as the tools take them: `name=value` on the command line, and `.properties` files.

use std::io::Cursor;
use std::path::Path;

use java_properties::{LineContent, PropertiesIter};
use protocol::spelling;
use runtime::Disk;

use crate::failure::Failure;

/// Names with their values, in the order they were given.
pub type Pairs = Vec<(String, String)>;

/// Largest properties file read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Beginnings of names that Kafka's clients know and that mean nothing to ours: they name Java classes, tune what it does not have, or secure what
/// `security.protocol` switched off.
const WITHOUT_MEANING: &[&str] = &[
    "key.",
    "value.",
    "serializer.class",
    "metric",
    "interceptor.classes",
    "client.dns.lookup",
    "connections.max.idle.ms",
    "receive.buffer.bytes",
    "send.buffer.bytes",
    "socket.",
    "max.poll.records",
    "exclude.internal.topics",
    "zookeeper.",
    "ssl.",
    "sasl.",
    "partitioner.",
    "transaction",
    "group.protocol",
    "producer.type",
    "queue",
];

/// Names of Kafka's clients that a misspelt one may have meant.
const NAMES: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "api.version.request",
    "api.version.request.timeout.ms",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "batch.size",
    "bootstrap.servers",
    "broker.version.fallback",
    "buffer.memory",
    "check.crcs",
    "client.id",
    "client.rack",
    "compression.type",
    "consumer.id",
    "consumer.timeout.ms",
    "default.api.timeout.ms",
    "delivery.timeout.ms",
    "dual.commit.enabled",
    "enable.auto.commit",
    "enable.idempotence",
    "exclude.internal.topics",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.request.size",
    "metadata.broker.list",
    "metadata.max.age.ms",
    "offsets.commit.max.retries",
    "offsets.storage",
    "partition.assignment.strategy",
    "rebalance.backoff.ms",
    "rebalance.max.retries",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "security.protocol",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
    "socket.timeout.ms",
    "zookeeper.connect",
    "zookeeper.connection.timeout.ms",
    "zookeeper.session.timeout.ms",
    "zookeeper.sync.time.ms",
];

/// Reads `name=value` words.
///
/// # Errors
/// A word without `=`, or without a name before it.
pub fn words(words: &[String]) -> Result<Pairs, Failure> {
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::misuse(format!("Invalid command line properties: {word}"))
            .cause("a property is written name=value")),
    };
    words.iter().map(pair).collect()
}

/// Reads a `.properties` file.
///
/// # Errors
/// Where it is not there or not readable as one.
pub fn file(path: &str) -> Result<Pairs, Failure> {
    Ok(numbered(path)?.into_iter().map(|(_, name, value)| (name, value)).collect())
}

/// The pairs of a file with the numbers of their lines.
fn numbered(path: &str) -> Result<Vec<(usize, String, String)>, Failure> {
    let unreadable = || Failure::new(format!("cannot read {path}"));
    let bytes = Disk::real().read_text(Path::new(path), FILE_BYTES_MAX).map_err(|error| {
        let place = Path::new(path).ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
        unreadable().cause(error).help(format!("ls -l {}", place.display()))
    })?;
    let mut pairs = Vec::new();
    for line in PropertiesIter::new(Cursor::new(bytes)) {
        let line = line.map_err(|error| {
            let number = error.line_number().unwrap_or(1);
            let text = error.to_string();
            let why = text.split(" (line_number").next().unwrap_or_default();
            unreadable().cause(format!("line {number}: {why}")).help(format!("vi +{number} {path}"))
        })?;
        let number = line.line_number();
        if let LineContent::KVPair(name, value) = line.consume_content() {
            pairs.push((number, name, value));
        }
    }
    Ok(pairs)
}

/// Gives each pair to `set`. One that it does not know is told on stderr, in Kafka's words; it changes nothing. `files` are where some of the
/// pairs were read, so that a value that is refused is found again.
///
/// # Errors
/// What `set` refuses.
pub fn apply(
    pairs: &Pairs,
    files: &[Option<&str>],
    mut set: impl FnMut(&str, &str) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    for (name, value) in pairs {
        let known = set(name, value).map_err(|failure| match place(files, name, value) {
            Some((file, line)) => failure.cause(format!("set in {file}:{line}")).help(format!("vi +{line} {file}")),
            None => failure.cause("given on the command line"),
        })?;
        if !known && !WITHOUT_MEANING.iter().any(|known| name.starts_with(known)) {
            let meant = spelling::nearest(name, NAMES.iter().copied());
            let meant = meant.map(|near| format!(" Did you mean '{near}'?")).unwrap_or_default();
            eprintln!("WARN The configuration '{name}' was supplied but isn't a known config.{meant}");
        }
    }
    Ok(())
}

/// The file and line of a pair.
fn place<'a>(files: &[Option<&'a str>], name: &str, value: &str) -> Option<(&'a str, usize)> {
    files.iter().flatten().find_map(|file| {
        let pairs = numbered(file).ok()?;
        let (line, ..) = pairs.iter().rev().find(|(_, known, set)| known == name && set == value)?;
        Some((*file, *line))
    })
}

/// The last value of a name.
pub fn last<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// A switch: `true` in any spelling of case, else off, as Kafka's formatters and readers take it.
pub fn switch(pairs: &Pairs, name: &str, default: bool) -> bool {
    last(pairs, name).map_or(default, |value| value.trim().eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_the_first_equals_sign() {
        let read = |word: &str| words(&[word.to_owned()]).ok().and_then(|mut pairs| pairs.pop());
        let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(read("acks=1"), pair("acks", "1"));
        assert_eq!(read("key.separator=="), pair("key.separator", "="));
        assert_eq!(read("null.marker="), pair("null.marker", ""));
        assert_eq!(read("acks"), None);
        assert_eq!(read("=1"), None);
    }

    #[test]
    fn a_refused_value_is_found_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.properties");
        std::fs::write(&path, "# acks\nacks=1\nretries = many\n").unwrap();
        let path = path.to_str().unwrap();
        let refuse = |name: &str, _: &str| if name == "retries" { Err(Failure::misuse("no")) } else { Ok(true) };
        let said = apply(&file(path).unwrap(), &[None, Some(path)], refuse).unwrap_err().to_string();
        assert_eq!(said, format!("no\ncause: set in {path}:3\nhelp: vi +3 {path}"));
        let pairs = words(&["retries=none".to_owned()]).unwrap();
        let said = apply(&pairs, &[Some(path)], refuse).unwrap_err().to_string();
        assert_eq!(said, "no\ncause: given on the command line");
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.properties");
        std::fs::write(&path, "acks=1\nretries=\\u00zz\n").unwrap();
        let path = path.to_str().unwrap();
        let said = file(path).unwrap_err().to_string();
        assert!(said.starts_with(&format!("error: cannot read {path}\ncause: line 2: ")), "{said}");
        assert!(said.ends_with(&format!("\nhelp: vi +2 {path}")), "{said}");
    }

    #[test]
    fn the_last_value_counts() {
        let pairs = words(&["print.key=false".to_owned(), "print.key=TRUE".to_owned()]).unwrap();
        assert!(switch(&pairs, "print.key", false));
        assert!(switch(&pairs, "print.value", true));
    }
}
