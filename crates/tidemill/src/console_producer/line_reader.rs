//! What a line says: a value, and where properties ask for it a key and headers before it (Kafka: `LineMessageReader`).

use std::sync::Arc;

use bytes::Bytes;
use client::kafka::ProducerRecord;

use super::options::Options;
use crate::failure::Failure;
use crate::properties::{self, Pairs};

/// Why a line is no record, in Kafka's words.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine(pub String);

/// A header's key and value.
type HeaderPair<'a> = (&'a [u8], Option<&'a [u8]>);

/// What the properties say about lines.
#[derive(Debug, Clone)]
pub struct LineFormat {
    parse_key: bool,
    parse_headers: bool,
    ignore_error: bool,
    key_separator: String,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    null_marker: Option<String>,
}

impl LineFormat {
    /// Reads `--property` and `--reader-property`.
    ///
    /// # Errors
    /// Separators that cannot be told apart.
    pub fn new(settings: &Pairs) -> Result<LineFormat, Failure> {
        let text = |name: &str, default: &str| properties::last(settings, name).unwrap_or(default).to_owned();
        let format = LineFormat {
            parse_key: properties::switch(settings, "parse.key", false),
            parse_headers: properties::switch(settings, "parse.headers", false),
            ignore_error: properties::switch(settings, "ignore.error", false),
            key_separator: text("key.separator", "\t"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            null_marker: properties::last(settings, "null.marker").map(str::to_owned),
        };
        let marker = format.null_marker.clone().unwrap_or_default();
        let separators = [
            ("headers.delimiter", &format.headers_delimiter, "headers.separator", &format.headers_separator),
            ("headers.delimiter", &format.headers_delimiter, "headers.key.separator", &format.headers_key_separator),
            ("headers.separator", &format.headers_separator, "headers.key.separator", &format.headers_key_separator),
            ("null.marker", &marker, "key.separator", &format.key_separator),
            ("null.marker", &marker, "headers.separator", &format.headers_separator),
            ("null.marker", &marker, "headers.delimiter", &format.headers_delimiter),
            ("null.marker", &marker, "headers.key.separator", &format.headers_key_separator),
        ];
        for (name, value, other_name, other) in separators {
            if value == other {
                return Err(Failure::misuse(format!("{name} and {other_name} may not be equal")));
            }
        }
        let empty = [&format.key_separator, &format.headers_delimiter, &format.headers_separator]
            .into_iter()
            .any(String::is_empty);
        if empty {
            return Err(Failure::usage("a separator must not be empty"));
        }
        Ok(format)
    }

    fn is_null(&self, text: &[u8]) -> bool {
        self.null_marker.as_ref().is_some_and(|marker| marker.as_bytes() == text)
    }

    fn nullable(&self, text: Bytes) -> Option<Bytes> {
        if self.is_null(&text) { None } else { Some(text) }
    }
}

/// Reads one line after the other.
pub struct LineReader {
    topic: Arc<str>,
    format: LineFormat,
    /// 0.9's tool named bad lines in other words.
    old_words: bool,
    line_number: u64,
}

impl LineReader {
    /// A reader before its first line.
    pub fn new(topic: Arc<str>, options: &Options) -> LineReader {
        LineReader { topic, format: options.lines.clone(), old_words: options.old_words, line_number: 0 }
    }

    /// The record of the next line.
    ///
    /// # Errors
    /// A line without a separator that the properties ask for.
    pub fn read(&mut self, line: &Bytes) -> Result<ProducerRecord, BadLine> {
        self.line_number += 1;
        let format = &self.format;
        let mut from = 0;
        let headers = match format.parse_headers {
            true => self.part(line, &mut from, &format.headers_delimiter, "headers delimiter")?,
            false => None,
        };
        let key = match format.parse_key {
            true => self.part(line, &mut from, &format.key_separator, "key separator")?,
            false => None,
        };
        let record = ProducerRecord {
            topic: self.topic.clone(),
            partition: None,
            timestamp: None,
            key: key.and_then(|key| format.nullable(key)),
            value: format.nullable(line.slice(from..)),
            headers: Default::default(),
        };
        match headers {
            Some(headers) if !format.is_null(&headers) => {
                let headers = self.headers(&headers)?;
                record.with_headers(headers).map_err(|error| BadLine(error.to_string()))
            }
            _ => Ok(record),
        }
    }

    /// What stands between `from` and the next `separator`; `from` is then behind that.
    fn part(&self, line: &Bytes, from: &mut usize, separator: &str, name: &str) -> Result<Option<Bytes>, BadLine> {
        match find(&line[*from..], separator.as_bytes()) {
            Some(at) => {
                let part = line.slice(*from..*from + at);
                *from += at + separator.len();
                Ok(Some(part))
            }
            None if self.format.ignore_error => Ok(None),
            None => {
                let (number, text) = (self.line_number, String::from_utf8_lossy(line));
                Err(BadLine(if self.old_words {
                    format!("No key found on line {number}: {text}")
                } else {
                    format!("No {name} found on line number {number}: '{text}'")
                }))
            }
        }
    }

    fn headers<'a>(&self, mut text: &'a [u8]) -> Result<Vec<HeaderPair<'a>>, BadLine> {
        let format = &self.format;
        let mut headers = Vec::new();
        loop {
            let end = find(text, format.headers_separator.as_bytes());
            let pair = &text[..end.unwrap_or(text.len())];
            match find(pair, format.headers_key_separator.as_bytes()) {
                Some(at) => {
                    let (key, value) = (&pair[..at], &pair[at + format.headers_key_separator.len()..]);
                    if format.is_null(key) {
                        let marker = String::from_utf8_lossy(key);
                        return Err(BadLine(format!(
                            "Header keys should not be equal to the null marker '{marker}' as they can't be null"
                        )));
                    }
                    headers.push((key, if format.is_null(value) { None } else { Some(value) }));
                }
                None if format.ignore_error => headers.push((pair, None)),
                None => {
                    return Err(BadLine(format!(
                        "No header key separator found in pair '{}' on line number {}",
                        String::from_utf8_lossy(pair),
                        self.line_number
                    )));
                }
            }
            match end {
                Some(end) => text = &text[end + format.headers_separator.len()..],
                None => return Ok(headers),
            }
        }
    }
}

/// Where `needle` first stands in `text`.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    text.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(settings: &[&str], old_words: bool) -> LineReader {
        let settings: Vec<String> = settings.iter().map(|word| (*word).to_owned()).collect();
        let format = LineFormat::new(&properties::words(&settings).unwrap()).unwrap();
        LineReader { topic: Arc::from("t"), format, old_words, line_number: 0 }
    }

    #[test]
    fn a_line_is_taken_apart_as_kafka_does() {
        fn check(settings: &[&str], line: &'static str, expected: &str) {
            let said = match reader(settings, false).read(&Bytes::from(line)) {
                Ok(record) => {
                    let text = |bytes: Option<Bytes>| {
                        bytes.map_or("-".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into())
                    };
                    let headers: Vec<String> = record
                        .headers
                        .iter()
                        .map(|header| format!("{}:{}", text(Some(header.key)), text(header.value)))
                        .collect();
                    format!("{} {} {}", headers.join(","), text(record.key), text(record.value))
                }
                Err(BadLine(why)) => why,
            };
            assert_eq!(said, expected, "{settings:?} {line:?}");
        }
        check(&[], "a\tb", " - a\tb");
        check(&["parse.key=true"], "k\tv", " k v");
        check(&["parse.key=true", "key.separator=:"], "k:v:w", " k v:w");
        check(&["parse.key=true", "key.separator=:"], "kv", "No key separator found on line number 1: 'kv'");
        check(&["parse.key=true", "ignore.error=true"], "kv", " - kv");
        check(&["parse.headers=true"], "a:1,b:2\tv", "a:1,b:2 - v");
        check(&["parse.headers=true", "parse.key=true"], "a:1\tk\tv", "a:1 k v");
        check(&["parse.headers=true"], "a\tv", "No header key separator found in pair 'a' on line number 1");
        check(&["parse.key=true", "null.marker=NULL"], "k\tNULL", " k -");
        check(&["parse.headers=true", "null.marker=NULL"], "NULL\tv", " - v");
        check(&["parse.headers=true", "null.marker=NULL"], "a:NULL\tv", "a:- - v");
    }

    #[test]
    fn the_old_form_has_the_old_words() {
        let mut reader = reader(&["parse.key=true", "key.separator=:"], true);
        reader.read(&Bytes::from("a:b")).unwrap();
        assert_eq!(reader.read(&Bytes::from("xyz")), Err(BadLine("No key found on line 2: xyz".to_owned())));
    }

    #[test]
    fn separators_must_differ() {
        let check = |word: &str, expected: bool| {
            let settings = properties::words(&[word.to_owned()]).unwrap();
            assert_eq!(LineFormat::new(&settings).is_ok(), expected, "{word}");
        };
        check("headers.separator=;", true);
        check("headers.separator=:", false);
        check("null.marker=,", false);
        check("key.separator=", false);
    }
}
