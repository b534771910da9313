//! One configuration key: its name, type, default, rule and sentence of documentation.
//!
//! The tables of [`super::broker_keys`] and [`super::topic`] are made of these. Reading `server.properties`, checking what an admin client sends, and answering
//! DescribeConfigs all go through the same [`Key`], so a key cannot be accepted in one place and refused in another. Texts of refusals are those of
//! `org.apache.kafka.common.config.ConfigDef`, because people search for them.

/// Type of a value, as DescribeConfigs reports it (`DescribeConfigsResponse.ConfigType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Any text.
    Text,
    /// 32-bit integer.
    Int,
    /// 16-bit integer.
    Short,
    /// 64-bit integer.
    Long,
    /// Floating point number.
    Double,
    /// Texts parted by commas.
    List,
}

impl Kind {
    /// The number that stands for this type in a DescribeConfigs answer (v3 and later).
    #[must_use]
    pub fn wire_code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Text => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::Text => "STRING",
            Kind::Int => "INT",
            Kind::Short => "SHORT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
        }
    }
}

/// What a value must obey beyond its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Nothing.
    Any,
    /// At least this.
    AtLeast(i64),
    /// Between these two, both included.
    Between(i64, i64),
    /// Between these two fractions, both included.
    Fraction,
    /// One of these words (each of them, for a list).
    OneOf(&'static [&'static str]),
    /// A list with at least one entry.
    NotEmpty,
}

/// Whether a key can be changed on a running broker, as KIP-226 names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Only by a restart.
    ReadOnly,
    /// For the whole cluster, and for one broker.
    ClusterWide,
}

/// One configuration key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Kafka's name of it.
    pub name: &'static str,
    /// Type of its value.
    pub kind: Kind,
    /// What holds when nobody sets it; none where Kafka has none.
    pub default: Option<&'static str>,
    /// What a value must obey.
    pub rule: Rule,
    /// Whether a running broker takes a new value.
    pub update: Update,
    /// What it does, for DescribeConfigs and the manual.
    pub doc: &'static str,
}

impl Key {
    /// Checks a raw value and says what rule it breaks.
    pub fn check(&self, raw: &str) -> Result<(), String> {
        let raw = raw.trim();
        let refuse = |why: String| Err(format!("Invalid value {raw} for configuration {}: {why}", self.name));
        match self.kind {
            Kind::Boolean => match parse_boolean(raw) {
                Some(_) => Ok(()),
                None => refuse("Expected value to be either true or false".to_owned()),
            },
            Kind::Int => self.check_integer(raw, i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::Short => self.check_integer(raw, i64::from(i16::MIN), i64::from(i16::MAX)),
            Kind::Long => self.check_integer(raw, i64::MIN, i64::MAX),
            Kind::Double => match (raw.parse::<f64>(), self.rule) {
                (Err(_), _) => refuse("Not a number of type DOUBLE".to_owned()),
                (Ok(value), Rule::Fraction) if !(0.0..=1.0).contains(&value) => refuse(
                    if value < 0.0 { "Value must be at least 0" } else { "Value must be no more than 1" }.to_owned(),
                ),
                (Ok(_), _) => Ok(()),
            },
            Kind::Text => match self.rule {
                Rule::OneOf(words) if !words.contains(&raw) => {
                    refuse(format!("String must be one of: {}", words.join(", ")))
                }
                _ => Ok(()),
            },
            Kind::List => {
                let items = split_list(raw);
                if self.rule == Rule::NotEmpty && items.is_empty() {
                    return refuse("Configuration must not be empty".to_owned());
                }
                if let Rule::OneOf(words) = self.rule
                    && let Some(stray) = items.iter().find(|item| !words.contains(item))
                {
                    return Err(format!(
                        "Invalid value {stray} for configuration {}: String must be one of: {}",
                        self.name,
                        words.join(", ")
                    ));
                }
                Ok(())
            }
        }
    }

    fn check_integer(&self, raw: &str, lowest: i64, highest: i64) -> Result<(), String> {
        let refuse = |why: String| Err(format!("Invalid value {raw} for configuration {}: {why}", self.name));
        let Some(value) = raw.parse::<i64>().ok().filter(|value| (lowest..=highest).contains(value)) else {
            return refuse(format!("Not a number of type {}", self.kind.name()));
        };
        match self.rule {
            Rule::AtLeast(floor) if value < floor => refuse(format!("Value must be at least {floor}")),
            Rule::Between(floor, _) if value < floor => refuse(format!("Value must be at least {floor}")),
            Rule::Between(_, ceiling) if value > ceiling => refuse(format!("Value must be no more than {ceiling}")),
            _ => Ok(()),
        }
    }
}

/// Java's reading of a boolean in a configuration: any case.
#[must_use]
pub fn parse_boolean(raw: &str) -> Option<bool> {
    if raw.eq_ignore_ascii_case("true") {
        Some(true)
    } else if raw.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// The entries of a comma-separated list, trimmed, empty ones left out.
#[must_use]
pub fn split_list(raw: &str) -> Vec<&str> {
    raw.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    rule: Rule,
    doc: &'static str,
) -> Key {
    Key { name, kind, default, rule, update: Update::ReadOnly, doc }
}

impl Key {
    /// The same key, but changeable on a running broker.
    pub(super) const fn dynamic(mut self) -> Key {
        self.update = Update::ClusterWide;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, rule: Rule, raw: &str, expected: Result<(), &str>) {
        let key = key("some.key", kind, None, rule, "");
        assert_eq!(key.check(raw), expected.map_err(str::to_owned), "{raw:?}");
    }

    #[test]
    fn values_are_refused_in_kafkas_words() {
        check(Kind::Int, Rule::AtLeast(1), "3", Ok(()));
        check(Kind::Int, Rule::AtLeast(1), " 3 ", Ok(()));
        check(
            Kind::Int,
            Rule::AtLeast(1),
            "0",
            Err("Invalid value 0 for configuration some.key: Value must be at least 1"),
        );
        check(Kind::Int, Rule::Any, "3g", Err("Invalid value 3g for configuration some.key: Not a number of type INT"));
        check(
            Kind::Int,
            Rule::Any,
            "4294967296",
            Err("Invalid value 4294967296 for configuration some.key: Not a number of type INT"),
        );
        check(Kind::Boolean, Rule::Any, "TRUE", Ok(()));
        check(
            Kind::Boolean,
            Rule::Any,
            "yes",
            Err("Invalid value yes for configuration some.key: Expected value to be either true or false"),
        );
        check(Kind::List, Rule::OneOf(&["compact", "delete"]), "compact,delete", Ok(()));
        check(
            Kind::List,
            Rule::OneOf(&["compact", "delete"]),
            "delete,shred",
            Err("Invalid value shred for configuration some.key: String must be one of: compact, delete"),
        );
        check(
            Kind::Double,
            Rule::Fraction,
            "1.5",
            Err("Invalid value 1.5 for configuration some.key: Value must be no more than 1"),
        );
    }
}
