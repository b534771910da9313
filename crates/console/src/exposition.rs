//! Prometheus' text format, version 0.0.4 (prometheus.io, "Exposition formats"): families of samples, each with what it means and what kind it is.
//!
//! Always true: a family is written once and whole, label values and help texts are escaped, and a family without a sample is not written at all.

use std::fmt::{self, Display, Write as _};

/// What `Content-Type` says of it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of figure a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only rises, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Quantiles, `_sum` and `_count`.
    Summary,
}

/// A text under way.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// A family under way.
pub struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
    kind: Kind,
    help: &'a str,
    begun: bool,
}

/// The labels of a sample.
pub type Labels<'a> = &'a [(&'a str, &'a dyn Display)];

impl Exposition {
    /// Begins a family. `help` is a sentence.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &'a str) -> Family<'a> {
        Family { text: &mut self.text, name, kind, help, begun: false }
    }

    /// A gauge with one sample and no labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    /// A counter with one sample and no labels.
    pub fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, Kind::Counter, help).sample(&[], value);
    }

    /// The whole text.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub fn sample(&mut self, labels: Labels<'_>, value: f64) {
        self.sample_of("", labels, value);
    }

    /// Adds a sample whose name goes on: `_sum` or `_count` of a summary.
    pub fn sample_of(&mut self, suffix: &str, labels: Labels<'_>, value: f64) {
        // Writing to a String cannot fail.
        let _ = self.write(suffix, labels, value);
    }

    fn write(&mut self, suffix: &str, labels: Labels<'_>, value: f64) -> fmt::Result {
        if !self.begun {
            self.begun = true;
            let kind = match self.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Summary => "summary",
            };
            write!(self.text, "# HELP {} ", self.name)?;
            write!(Escaped { text: self.text, quotes: false }, "{}", self.help)?;
            writeln!(self.text, "\n# TYPE {} {kind}", self.name)?;
        }
        write!(self.text, "{}{suffix}", self.name)?;
        for (at, (label, value)) in labels.iter().enumerate() {
            write!(self.text, "{}{label}=\"", if at == 0 { '{' } else { ',' })?;
            write!(Escaped { text: self.text, quotes: true }, "{value}")?;
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        match value {
            value if value == f64::INFINITY => writeln!(self.text, " +Inf"),
            value if value == f64::NEG_INFINITY => writeln!(self.text, " -Inf"),
            value => writeln!(self.text, " {value}"),
        }
    }
}

/// Writes with backslashes, line ends and, in label values, quotes escaped.
struct Escaped<'a> {
    text: &'a mut String,
    quotes: bool,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for letter in part.chars() {
            match letter {
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '"' if self.quotes => self.text.push_str("\\\""),
                other => self.text.push(other),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut out = Exposition::default();
        out.gauge("up", "Whether it is \"up\" \\ or\ndown.", 1.0);
        out.family("empty", Kind::Gauge, "Nobody asked.");
        let mut family = out.family("bytes_total", Kind::Counter, "Bytes.");
        family.sample(&[("topic", &"a\"b\\c\nd"), ("partition", &7)], 9_007_199_254_740_991.0);
        let mut family = out.family("took_seconds", Kind::Summary, "Time.");
        family.sample(&[("quantile", &0.99)], f64::NAN);
        family.sample_of("_sum", &[], 0.25);
        family.sample_of("_count", &[], f64::INFINITY);
        let expected = r#"# HELP up Whether it is "up" \\ or\ndown.
# TYPE up gauge
up 1
# HELP bytes_total Bytes.
# TYPE bytes_total counter
bytes_total{topic="a\"b\\c\nd",partition="7"} 9007199254740991
# HELP took_seconds Time.
# TYPE took_seconds summary
took_seconds{quantile="0.99"} NaN
took_seconds_sum 0.25
took_seconds_count +Inf
"#;
        assert_eq!(out.finish(), expected);
    }
}
