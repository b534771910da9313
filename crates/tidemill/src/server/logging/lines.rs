//! An event as a line on stderr.
//!
//! Always true: an event is one line, written at once, whatever stands in it. Keys are Kafka's words: `leader_epoch` in the program is `leaderEpoch` in a line.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{OnceLock, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use runtime::Clock;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::levels::logger;
use super::{ANNOUNCEMENT, BAR};

/// For whom a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people, as log4j would write it.
    Human {
        /// Whether levels have colours.
        colours: bool,
    },
    /// For programs: one JSON object.
    Json,
}

/// Writes each event as a line.
pub struct Lines(pub Format);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = line(self.0, Clock::real().now_ms(), *metadata.level(), metadata.target(), fields);
        let write = || {
            // Nobody is left to be told that stderr is gone.
            let _ = std::io::stderr().write_all(line.as_bytes());
        };
        match &*BAR.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// The message and the fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

fn line(format: Format, now_ms: i64, level: Level, target: &str, fields: Fields) -> String {
    let now = Timestamp::from_millisecond(now_ms).unwrap_or_default();
    match format {
        Format::Json => json(now, level, target, fields),
        // What whoever started a server waits for stands alone.
        Format::Human { .. } if target == ANNOUNCEMENT => format!("{}\n", one_line(&fields.message)),
        Format::Human { colours } => human(now, level, target, &fields, colours),
    }
}

fn json(now: Timestamp, level: Level, target: &str, fields: Fields) -> String {
    let mut object = Map::new();
    object.insert("timestamp".to_owned(), format!("{now:.3}").into());
    object.insert("level".to_owned(), level.as_str().into());
    object.insert("logger".to_owned(), logger(target).into());
    object.insert("message".to_owned(), fields.message.into());
    for (key, value) in fields.rest {
        object.entry(key).or_insert(value);
    }
    format!("{}\n", Value::Object(object))
}

/// `[2026-11-23 10:00:00,123] INFO message key=value (broker.network)`, the pattern of Kafka's log4j.properties.
fn human(now: Timestamp, level: Level, target: &str, fields: &Fields, colours: bool) -> String {
    static HERE: OnceLock<TimeZone> = OnceLock::new();
    let now = now.to_zoned(HERE.get_or_init(TimeZone::system).clone());
    let (begin, end) = match level {
        _ if !colours => ("", ""),
        Level::ERROR => ("\x1b[31m", "\x1b[0m"),
        Level::WARN => ("\x1b[33m", "\x1b[0m"),
        _ => ("\x1b[2m", "\x1b[0m"),
    };
    let mut line =
        format!("[{}] {begin}{level}{end} {}", now.strftime("%Y-%m-%d %H:%M:%S,%3f"), one_line(&fields.message));
    for (key, value) in &fields.rest {
        // Writing to a String cannot fail.
        let _ = match value {
            Value::String(text) => write!(line, " {key}={}", one_line(text)),
            other => write!(line, " {key}={other}"),
        };
    }
    let _ = writeln!(line, " ({})", logger(target));
    line
}

/// Control characters would let what a client sends write lines, or colours, of its own.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", other) => self.message = other.to_string(),
            (name, value) => {
                self.rest.insert(camel_case(name), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, i64::try_from(value).map_or_else(|_| value.to_string().into(), Value::from));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, u64::try_from(value).map_or_else(|_| value.to_string().into(), Value::from));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

/// `leader_epoch` is `leaderEpoch` where Kafka writes it.
fn camel_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut words = name.split('_');
    out.push_str(words.next().unwrap_or_default());
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, target: &str, message: &str, rest: &[(&str, Value)]) -> String {
        let rest = rest.iter().map(|(key, value)| (camel_case(key), value.clone())).collect();
        line(format, 1_792_000_000_123, Level::WARN, target, Fields { message: message.to_owned(), rest })
    }

    #[test]
    fn an_event_is_one_line_whatever_stands_in_it() {
        let target = "tidemill_broker::network::frame";
        let fields = [("leader_epoch", Value::from(3)), ("client_id", Value::from("a\n[b] \x1b[31m"))];
        let json = written(Format::Json, target, "two\nlines", &fields);
        assert_eq!(
            json,
            "{\"timestamp\":\"2026-10-14T17:46:40.123Z\",\"level\":\"WARN\",\"logger\":\"broker.network.frame\",\"message\":\"two\\nlines\",\
             \"leaderEpoch\":3,\"clientId\":\"a\\n[b] \\u001b[31m\"}\n"
        );
        let human = written(Format::Human { colours: false }, target, "two\nlines", &fields);
        assert!(human.starts_with("[2026-10-1") && human.contains(",123] WARN two\\nlines leaderEpoch=3"), "{human}");
        assert!(human.ends_with("clientId=a\\n[b] \\u{1b}[31m (broker.network.frame)\n"), "{human}");
    }

    #[test]
    fn announcements_stand_alone_for_people() {
        let text = "[KafkaServer id=0] started";
        assert_eq!(written(Format::Human { colours: true }, ANNOUNCEMENT, text, &[]), format!("{text}\n"));
        assert!(written(Format::Json, ANNOUNCEMENT, text, &[]).contains("\"message\":\"[KafkaServer id=0] started\""));
    }

    #[test]
    fn an_events_own_key_cannot_replace_the_lines() {
        let json = written(Format::Json, "t", "m", &[("level", Value::from("FINE"))]);
        assert!(json.contains("\"level\":\"WARN\"") && !json.contains("FINE"), "{json}");
    }
}
