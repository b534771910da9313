//! The lines of `server.properties` and the overrides of the command line, checked against the table of keys, each remembering where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use java_properties::{LineContent, PropertiesIter};

use super::broker_keys;
use super::key::{parse_boolean, split_list};
use crate::error::BrokerError;

/// Longest `server.properties` that is read.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file, at this line.
    File {
        /// Path as the user wrote it.
        path: String,
        /// Line number, from 1.
        line: usize,
    },
    /// With `--override`, or by the program that starts the broker.
    Override,
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "set in {path}:{line}"),
            Origin::Override => f.write_str("set by an override on the command line"),
            Origin::Default => f.write_str("the default"),
        }
    }
}

/// Raw values by key. Every value of a key in the table obeys its type and rule.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, (String, Origin)>,
    warnings: Vec<String>,
}

impl Settings {
    /// Reads the text of a properties file. A later line replaces an earlier one, as in Java.
    ///
    /// # Errors
    /// A line that cannot be read, or a value that breaks its key's rule.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Settings, BrokerError> {
        let mut settings = Settings::default();
        let path_text = path.display().to_string();
        for line in PropertiesIter::new(text) {
            let line = line.map_err(|error| BrokerError::Config {
                what: format!("cannot read {path_text} as a properties file"),
                cause: error.to_string().split(" (line_number").next().unwrap_or_default().to_owned(),
                origin: error.line_number().map(|line| Origin::File { path: path_text.clone(), line }),
                advice: None,
            })?;
            if let LineContent::KVPair(key, value) = line.content() {
                let origin = Origin::File { path: path_text.clone(), line: line.line_number() };
                settings.set(key, value, origin)?;
            }
        }
        Ok(settings)
    }

    /// Sets one value over what the file says.
    ///
    /// # Errors
    /// A value that breaks its key's rule.
    pub fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), BrokerError> {
        let value = value.trim();
        match broker_keys::find(name) {
            // An empty value of a key without default means "not set", as `advertised.host.name=` in many files.
            Some(key) if value.is_empty() && key.default.is_none() => {}
            Some(key) => key.check(value).map_err(|what| BrokerError::Config {
                what,
                cause: String::new(),
                origin: Some(origin.clone()),
                advice: Some(format!("{name}: {}", key.doc)),
            })?,
            None if broker_keys::is_accepted(name) => {}
            None => self.warn_unknown(name, &origin),
        }
        self.values.insert(name.to_owned(), (value.to_owned(), origin));
        Ok(())
    }

    fn warn_unknown(&mut self, name: &str, origin: &Origin) {
        if self.values.contains_key(name) {
            return;
        }
        let meant = broker_keys::nearest(name).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        self.warnings.push(format!("unknown configuration {name} ({origin}) has no effect{meant}"));
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// What a person should be told once.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether somebody set this key.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|(value, _)| !value.is_empty())
    }

    /// What was set, or nothing.
    #[must_use]
    pub fn explicit(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(value, _)| value.as_str())
    }

    /// Every setting made, known or not.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, (value, _))| (name.as_str(), value.as_str()))
    }

    /// Where a key was set.
    #[must_use]
    pub fn origin(&self, name: &str) -> Origin {
        self.values.get(name).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// What was set, or the default.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let key = broker_keys::find(name);
        debug_assert!(key.is_some(), "{name} is not in the table");
        match self.values.get(name) {
            Some((value, _)) if !value.is_empty() || key.is_some_and(|key| key.default == Some("")) => Some(value),
            _ => key.and_then(|key| key.default),
        }
    }

    pub(super) fn string(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    /// The value as a number; the table's check has run, so only a key without value and default gives none.
    pub(super) fn optional_long(&self, name: &str) -> Option<i64> {
        self.text(name).and_then(|value| value.parse().ok())
    }

    pub(super) fn long(&self, name: &str) -> i64 {
        self.optional_long(name).expect("a numeric key with a default was checked when it was set")
    }

    pub(super) fn double(&self, name: &str) -> f64 {
        let value = self.text(name).and_then(|value| value.trim().parse().ok());
        value.expect("a fractional key with a default was checked when it was set")
    }

    pub(super) fn int(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).expect("an INT key was checked when it was set")
    }

    pub(super) fn boolean(&self, name: &str) -> bool {
        self.text(name).and_then(parse_boolean).expect("a BOOLEAN key was checked when it was set")
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        split_list(self.text(name).unwrap_or_default()).into_iter().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, BrokerError> {
        Settings::parse(Path::new("server.properties"), text.as_bytes())
    }

    #[test]
    fn a_bad_value_names_file_line_and_rule() {
        let error = parse("broker.id=0\n# partitions\nnum.partitions=none\n").unwrap_err();
        assert_eq!(error.to_string(), "Invalid value none for configuration num.partitions: Not a number of type INT");
        assert_eq!(error.cause().as_deref(), Some("set in server.properties:3"));
        let help = error.help("bin/kafka-server-start.sh server.properties").unwrap();
        assert!(help.starts_with("vi +3 server.properties   (num.partitions: "), "{help}");
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let error = parse("broker.id=0\nlog.dirs=\\u00zz\n").unwrap_err();
        assert_eq!(error.to_string(), "cannot read server.properties as a properties file");
        assert!(error.cause().unwrap().ends_with("(set in server.properties:2)"), "{:?}", error.cause());
    }

    #[test]
    fn an_unknown_key_warns_once_and_guesses() {
        let settings = parse("num.partition=3\nnum.partition=4\nlog.cleaner.threads=2\n").unwrap();
        assert_eq!(
            settings.warnings(),
            [
                "unknown configuration num.partition (set in server.properties:1) has no effect; did you mean num.partitions?"
            ]
        );
    }

    #[test]
    fn a_later_line_wins_and_empty_means_default() {
        let settings = parse("num.partitions=3\nnum.partitions=4\nadvertised.host.name=\nhost.name=\n").unwrap();
        assert_eq!(settings.int("num.partitions"), 4);
        assert_eq!(settings.text("advertised.host.name"), None);
        assert_eq!(settings.text("host.name"), Some(""));
        assert!(settings.boolean("delete.topic.enable"));
    }
}
