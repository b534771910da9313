//! How a record is printed (Kafka: `DefaultMessageFormatter` and its kin).

use std::io::{self, Write};

use protocol::records::{Record, TimestampType};

use crate::failure::Failure;
use crate::properties::{self, Pairs};

/// Prints records.
#[derive(Debug, Clone)]
pub enum Formatter {
    /// Columns as the properties say.
    Default(Box<Columns>),
    /// Nothing: only the count at the end.
    Nothing,
}

/// What `DefaultMessageFormatter` can be told.
#[derive(Debug, Clone)]
pub struct Columns {
    /// `LoggingMessageFormatter`: a line on stderr too.
    logs: bool,
    timestamp: bool,
    partition: bool,
    offset: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null_literal: Vec<u8>,
    key_deserializer: Deserializer,
    value_deserializer: Deserializer,
    headers_deserializer: Deserializer,
}

/// How bytes become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deserializer {
    /// As they are.
    Bytes,
    /// Big-endian numbers of Java's widths.
    Short,
    Integer,
    Long,
    Float,
    Double,
}

impl Deserializer {
    fn named(class: &str) -> Result<Deserializer, Failure> {
        Ok(match class.rsplit('.').next().unwrap_or_default() {
            "StringDeserializer"
            | "ByteArrayDeserializer"
            | "BytesDeserializer"
            | "DefaultDecoder"
            | "StringDecoder" => Deserializer::Bytes,
            "ShortDeserializer" => Deserializer::Short,
            "IntegerDeserializer" => Deserializer::Integer,
            "LongDeserializer" => Deserializer::Long,
            "FloatDeserializer" => Deserializer::Float,
            "DoubleDeserializer" => Deserializer::Double,
            _ => {
                return Err(Failure::misuse(format!("java.lang.ClassNotFoundException: {class}"))
                    .cause("no Java class is loaded here; known are Kafka's String, ByteArray, Short, Integer, Long, Float and Double deserializers"));
            }
        })
    }

    fn write(self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        let wrong = |wanted: usize| {
            let what = format!("Size of data received by deserializer is not {wanted}, but {}", bytes.len());
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        match self {
            Deserializer::Bytes => out.write_all(bytes),
            Deserializer::Short => write!(out, "{}", i16::from_be_bytes(bytes.try_into().map_err(|_| wrong(2))?)),
            Deserializer::Integer => write!(out, "{}", i32::from_be_bytes(bytes.try_into().map_err(|_| wrong(4))?)),
            Deserializer::Long => write!(out, "{}", i64::from_be_bytes(bytes.try_into().map_err(|_| wrong(8))?)),
            // Java prints 1.0 where Rust's Display prints 1.
            Deserializer::Float => write!(out, "{:?}", f32::from_be_bytes(bytes.try_into().map_err(|_| wrong(4))?)),
            Deserializer::Double => write!(out, "{:?}", f64::from_be_bytes(bytes.try_into().map_err(|_| wrong(8))?)),
        }
    }
}

impl Formatter {
    /// The formatter of `--formatter` with the properties of `--property`.
    ///
    /// # Errors
    /// A class that is not one of Kafka's own formatters of records.
    pub fn new(class: Option<&str>, settings: &Pairs) -> Result<Formatter, Failure> {
        let class = class.unwrap_or("kafka.tools.DefaultMessageFormatter");
        let logs = match class.rsplit(['.', '$']).next().unwrap_or_default() {
            "DefaultMessageFormatter" => false,
            "LoggingMessageFormatter" => true,
            "NoOpMessageFormatter" => return Ok(Formatter::Nothing),
            _ => {
                return Err(Failure::misuse(format!("java.lang.ClassNotFoundException: {class}"))
                    .cause("no Java class is loaded here; known are DefaultMessageFormatter, LoggingMessageFormatter and NoOpMessageFormatter"));
            }
        };
        let bytes = |name: &str, default: &str| properties::last(settings, name).unwrap_or(default).as_bytes().to_vec();
        let deserializer =
            |name: &str| properties::last(settings, name).map_or(Ok(Deserializer::Bytes), Deserializer::named);
        Ok(Formatter::Default(Box::new(Columns {
            logs,
            timestamp: properties::switch(settings, "print.timestamp", false),
            partition: properties::switch(settings, "print.partition", false),
            offset: properties::switch(settings, "print.offset", false),
            headers: properties::switch(settings, "print.headers", false),
            key: properties::switch(settings, "print.key", false),
            value: properties::switch(settings, "print.value", true),
            key_separator: bytes("key.separator", "\t"),
            line_separator: bytes("line.separator", "\n"),
            headers_separator: bytes("headers.separator", ","),
            null_literal: bytes("null.literal", "null"),
            key_deserializer: deserializer("key.deserializer")?,
            value_deserializer: deserializer("value.deserializer")?,
            headers_deserializer: deserializer("headers.deserializer")?,
        })))
    }

    /// Prints one record.
    ///
    /// # Errors
    /// The output's; `InvalidData` where a deserializer cannot read the bytes.
    pub fn write(
        &self,
        out: &mut impl Write,
        partition: i32,
        record: &Record,
        timestamp_type: TimestampType,
    ) -> io::Result<()> {
        let Formatter::Default(columns) = self else { return Ok(()) };
        if columns.logs {
            let text = |bytes: &Option<bytes::Bytes>| {
                bytes.as_ref().map_or("null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
            };
            let time = stamp(record.timestamp, timestamp_type);
            eprintln!("{time}, key:{}, value:{}", text(&record.key), text(&record.value));
        }
        columns.write(out, partition, record, timestamp_type)
    }
}

impl Columns {
    fn write(
        &self,
        out: &mut impl Write,
        partition: i32,
        record: &Record,
        timestamp_type: TimestampType,
    ) -> io::Result<()> {
        // What is still to come decides between the separator of columns and that of lines.
        let mut left = [self.timestamp, self.partition, self.offset, self.headers, self.key, self.value]
            .into_iter()
            .filter(|printed| *printed)
            .count();
        let mut separate = |out: &mut dyn Write| {
            left -= 1;
            out.write_all(if left > 0 { &self.key_separator } else { &self.line_separator })
        };
        if self.timestamp {
            out.write_all(stamp(record.timestamp, timestamp_type).as_bytes())?;
            separate(out)?;
        }
        if self.partition {
            write!(out, "Partition:{partition}")?;
            separate(out)?;
        }
        if self.offset {
            write!(out, "Offset:{}", record.offset.0)?;
            separate(out)?;
        }
        if self.headers {
            if record.headers.is_empty() {
                out.write_all(b"NO_HEADERS")?;
            }
            for (index, header) in record.headers.iter().enumerate() {
                if index > 0 {
                    out.write_all(&self.headers_separator)?;
                }
                out.write_all(&header.key)?;
                out.write_all(b":")?;
                self.value(out, header.value.as_deref(), self.headers_deserializer)?;
            }
            separate(out)?;
        }
        if self.key {
            self.value(out, record.key.as_deref(), self.key_deserializer)?;
            separate(out)?;
        }
        if self.value {
            self.value(out, record.value.as_deref(), self.value_deserializer)?;
            separate(out)?;
        }
        Ok(())
    }

    fn value(&self, out: &mut impl Write, bytes: Option<&[u8]>, deserializer: Deserializer) -> io::Result<()> {
        match bytes {
            Some(bytes) => deserializer.write(out, bytes),
            None => out.write_all(&self.null_literal),
        }
    }
}

/// `CreateTime:1700000000000`.
fn stamp(timestamp: i64, timestamp_type: TimestampType) -> String {
    match timestamp_type {
        _ if timestamp < 0 => "NO_TIMESTAMP".to_owned(),
        TimestampType::CreateTime => format!("CreateTime:{timestamp}"),
        TimestampType::LogAppendTime => format!("LogAppendTime:{timestamp}"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::records::Headers;
    use protocol::types::Offset;

    use super::*;

    fn settings(words: &[&str]) -> Pairs {
        properties::words(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn columns_stand_in_kafkas_order() {
        fn check(words: &[&str], expected: &str) {
            let headers = [(&b"a"[..], Some(&b"1"[..])), (&b"b"[..], None)];
            let record = Record {
                offset: Offset(7),
                timestamp: 5,
                key: Some(Bytes::from_static(b"k")),
                value: None,
                headers: Headers::encode(headers).unwrap(),
            };
            let mut out = Vec::new();
            let formatter = Formatter::new(None, &settings(words)).unwrap();
            formatter.write(&mut out, 3, &record, TimestampType::CreateTime).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{words:?}");
        }
        check(&[], "null\n");
        check(&["print.key=true"], "k\tnull\n");
        check(&["print.key=true", "print.value=false"], "k\n");
        check(&["print.key=true", "key.separator=-", "null.literal=NIL", "line.separator=|"], "k-NIL|");
        check(
            &[
                "print.timestamp=true",
                "print.partition=true",
                "print.offset=true",
                "print.headers=true",
                "print.key=true",
            ],
            "CreateTime:5\tPartition:3\tOffset:7\ta:1,b:null\tk\tnull\n",
        );
    }

    #[test]
    fn numbers_are_read_as_java_writes_them() {
        let check = |deserializer: Deserializer, bytes: &[u8], expected: Option<&str>| {
            let mut out = Vec::new();
            let written = deserializer.write(&mut out, bytes).ok().map(|()| String::from_utf8(out).unwrap());
            assert_eq!(written.as_deref(), expected);
        };
        check(Deserializer::Integer, &[0, 0, 1, 0], Some("256"));
        check(Deserializer::Integer, &[1], None);
        check(Deserializer::Long, &[0xff; 8], Some("-1"));
        check(Deserializer::Double, &1.0f64.to_be_bytes(), Some("1.0"));
    }

    #[test]
    fn formatters_are_known_by_every_name_they_have_had() {
        for class in [
            "kafka.tools.DefaultMessageFormatter",
            "kafka.tools.NoOpMessageFormatter",
            "org.apache.kafka.tools.consumer.LoggingMessageFormatter",
        ] {
            assert!(Formatter::new(Some(class), &Pairs::new()).is_ok(), "{class}");
        }
        assert!(Formatter::new(Some("com.example.Mine"), &Pairs::new()).is_err());
    }
}
