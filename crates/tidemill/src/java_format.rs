//! Numbers and dates as Java prints them: `Formatter`'s `%f` and the patterns of `SimpleDateFormat`.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use crate::failure::Failure;

/// Prints as `%.<digits>f` of Java's `Formatter`, which spells out what is not a number.
pub struct Decimal(pub f64, pub usize);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            value if value.is_infinite() => f.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" }),
            value => write!(f, "{value:.*}", self.1),
        }
    }
}

/// A pattern of `SimpleDateFormat`, in the zone of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateFormat {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// What `strftime` prints for it.
    Field(&'static str),
    Millis {
        width: usize,
    },
}

impl DateFormat {
    /// Reads a pattern: letters are fields, text in single quotes and all else stands for itself.
    ///
    /// # Errors
    /// A letter that `SimpleDateFormat` does not know, or whose meaning is not built here.
    pub fn parse(pattern: &str) -> Result<DateFormat, Failure> {
        let refuse = |why: String| {
            Failure::verbatim(why)
                .cause(format!("--date-format {pattern}"))
                .help("a pattern of yyyy, MM, dd, HH, mm, ss, SSS, EEE, a and z: yyyy-MM-dd HH:mm:ss:SSS")
        };
        let mut parts = Vec::new();
        let mut characters = pattern.chars().peekable();
        while let Some(first) = characters.next() {
            let part = match first {
                '\'' => Part::Literal(quoted(&mut characters)),
                letter if letter.is_ascii_alphabetic() => {
                    let mut width = 1;
                    while characters.next_if_eq(&letter).is_some() {
                        width += 1;
                    }
                    field(letter, width).ok_or_else(|| refuse(format!("Illegal pattern character '{letter}'")))?
                }
                other => Part::Literal(other.to_string()),
            };
            parts.push(part);
        }
        Ok(DateFormat { parts })
    }

    /// The time, in milliseconds since 1970.
    pub fn format(&self, milliseconds: i64) -> String {
        let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
        self.format_zoned(&time.to_zoned(jiff::tz::TimeZone::system()))
    }

    fn format_zoned(&self, time: &jiff::Zoned) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Field(directive) => text.push_str(&time.strftime(*directive).to_string()),
                Part::Millis { width } => text.push_str(&format!("{:0width$}", time.millisecond())),
            }
        }
        text
    }
}

/// The text up to the closing quote; two quotes in a row, inside or alone, are one that is printed.
fn quoted(characters: &mut Peekable<Chars<'_>>) -> String {
    if characters.next_if_eq(&'\'').is_some() {
        return "'".to_owned();
    }
    let mut text = String::new();
    while let Some(next) = characters.next() {
        if next == '\'' && characters.next_if_eq(&'\'').is_none() {
            break;
        }
        text.push(next);
    }
    text
}

/// A letter of a pattern and how often it stands there.
fn field(letter: char, width: usize) -> Option<Part> {
    Some(match (letter, width) {
        ('S', width) => Part::Millis { width },
        ('y', 2) => Part::Field("%y"),
        ('y', _) => Part::Field("%Y"),
        ('M', 1) => Part::Field("%-m"),
        ('M', 2) => Part::Field("%m"),
        ('M', 3) => Part::Field("%b"),
        ('M', _) => Part::Field("%B"),
        ('d', 1) => Part::Field("%-d"),
        ('d', _) => Part::Field("%d"),
        ('H', 1) => Part::Field("%-H"),
        ('H', _) => Part::Field("%H"),
        ('h', 1) => Part::Field("%-I"),
        ('h', _) => Part::Field("%I"),
        ('m', 1) => Part::Field("%-M"),
        ('m', _) => Part::Field("%M"),
        ('s', 1) => Part::Field("%-S"),
        ('s', _) => Part::Field("%S"),
        ('D', _) => Part::Field("%j"),
        ('E', 1..=3) => Part::Field("%a"),
        ('E', _) => Part::Field("%A"),
        ('a', _) => Part::Field("%p"),
        ('z', _) => Part::Field("%Z"),
        ('Z', _) => Part::Field("%z"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_have_javas_names() {
        for (value, digits, expected) in [
            (1.0, 4, "1.0000"),
            (12345.678, 1, "12345.7"),
            (f64::INFINITY, 4, "Infinity"),
            (f64::NEG_INFINITY, 2, "-Infinity"),
            (f64::NAN, 4, "NaN"),
        ] {
            assert_eq!(Decimal(value, digits).to_string(), expected);
        }
    }

    #[test]
    fn patterns_print_what_java_prints() {
        let time = jiff::civil::datetime(2026, 3, 5, 17, 4, 9, 42_000_000).to_zoned(jiff::tz::TimeZone::UTC).unwrap();
        for (pattern, expected) in [
            ("yyyy-MM-dd HH:mm:ss:SSS", "2026-03-05 17:04:09:042"),
            ("d/M/yy", "5/3/26"),
            ("h 'o''clock' a", "5 o'clock PM"),
            ("EEE, d MMM", "Thu, 5 Mar"),
            ("'year' yyyy", "year 2026"),
        ] {
            assert_eq!(DateFormat::parse(pattern).unwrap().format_zoned(&time), expected, "{pattern}");
        }
        assert!(DateFormat::parse("yyyy-bb").is_err());
    }
}
