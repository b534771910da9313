//! Settings as the tools take them: `name=value` on the command line, and `.properties` files.

use std::io::Cursor;
use std::path::Path;

use java_properties::{LineContent, PropertiesIter};
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

/// Reads `name=value` words.
///
/// # Errors
/// A word without `=`, or without a name before it.
pub fn words(words: &[String]) -> Result<Pairs, Failure> {
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::verbatim(format!("Invalid command line properties: {word}"))
            .cause("a property is written name=value")),
    };
    words.iter().map(pair).collect()
}

/// Reads a `.properties` file.
///
/// # Errors
/// Where it is not there or not readable as one.
pub fn file(path: &str) -> Result<Pairs, Failure> {
    let unreadable = |cause: String| Failure::new(format!("cannot read {path}")).cause(cause);
    let bytes = Disk::real().read_text(Path::new(path), FILE_BYTES_MAX).map_err(|error| unreadable(error.to_string()))?;
    let mut pairs = Pairs::new();
    for line in PropertiesIter::new(Cursor::new(bytes)) {
        let line = line.map_err(|error| unreadable(error.to_string()))?;
        if let LineContent::KVPair(name, value) = line.consume_content() {
            pairs.push((name, value));
        }
    }
    Ok(pairs)
}

/// Gives each pair to `set`. One that it does not know is told on stderr, in Kafka's words; it changes nothing.
///
/// # Errors
/// What `set` refuses.
pub fn apply(pairs: &Pairs, mut set: impl FnMut(&str, &str) -> Result<bool, Failure>) -> Result<(), Failure> {
    for (name, value) in pairs {
        if !set(name, value)? && !WITHOUT_MEANING.iter().any(|known| name.starts_with(known)) {
            eprintln!("WARN The configuration '{name}' was supplied but isn't a known config.");
        }
    }
    Ok(())
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
    fn the_last_value_counts() {
        let pairs = words(&["print.key=false".to_owned(), "print.key=TRUE".to_owned()]).unwrap();
        assert!(switch(&pairs, "print.key", false));
        assert!(switch(&pairs, "print.value", true));
    }
}
