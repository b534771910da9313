//! `kafka-dump-log`: what a segment, an index or a producer snapshot holds, and whether it is intact (Kafka: `kafka.tools.DumpLogSegments`).
//!
//! Lines are those of Kafka 3.9. Segments that brokers since 0.8 wrote are read as well.

use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use protocol::records::TimestampType;
use protocol::records::batch::ControlMarker;
use runtime::Disk;
use runtime::machine::without_number;
use storage::dump::{self, DumpedEntry, IndexFault, LogFile};

use crate::failure::Failure;
use crate::options;

/// Say what segment files, index files and producer snapshots hold.
#[derive(Debug, Parser)]
struct Options {
    /// The files: .log, .index, .timeindex, .snapshot; with commas between
    #[arg(long, required = true, value_delimiter = ',')]
    files: Vec<PathBuf>,
    /// Print keys and values too
    #[arg(long)]
    print_data_log: bool,
    /// Print a line for every record
    #[arg(long)]
    deep_iteration: bool,
    /// With --print-data-log: keys and values alone
    #[arg(long)]
    skip_record_metadata: bool,
    /// Only say whether an index is sound
    #[arg(long)]
    index_sanity_check: bool,
    /// Only hold an index against its log
    #[arg(long)]
    verify_index_only: bool,
    /// Stop behind so many bytes of a log
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    max_bytes: u64,
    /// Accepted: messages of every size are read
    #[arg(long)]
    max_message_size: Option<u64>,
}

/// Runs the tool. Damage is shown, and makes the exit code 1.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options: Options = options::parse("kafka-dump-log", words)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut damaged = false;
    for path in &options.files {
        writeln!(out, "Dumping {}", path.display())?;
        let sound = match path.extension().and_then(|ending| ending.to_str()) {
            Some("log") => dump_log(&mut out, path, &options)?,
            Some("index") => dump_index(&mut out, path, &options)?,
            Some("timeindex") => dump_time_index(&mut out, path, &options)?,
            Some("snapshot") => dump_snapshot(&mut out, path)?,
            _ => {
                eprintln!("Ignoring unknown file {}", path.display());
                true
            }
        };
        damaged |= !sound;
    }
    out.flush()?;
    if damaged { Err(Failure::silent(1)) } else { Ok(()) }
}

fn open(path: &Path) -> Result<LogFile, Failure> {
    LogFile::open(Disk::real(), path).map_err(|error| {
        let place = path.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
        Failure::new(without_number(&error.to_string()))
            .cause("--files takes paths such as data/kafka-logs/TOPIC-0/00000000000000000000.log")
            .help(format!("ls {}", place.display()))
    })
}

fn dump_log(out: &mut impl Write, path: &Path, options: &Options) -> Result<bool, Failure> {
    let mut log = open(path)?;
    if let Some(offset) = log.starting_offset() {
        writeln!(out, "Log starting offset: {offset}")?;
    }
    let mut sound = true;
    for entry in &mut log {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                out.flush()?;
                eprintln!("{error}");
                sound = false;
                break;
            }
        };
        if entry.entry.position >= options.max_bytes {
            return Ok(sound);
        }
        sound &= entry.is_valid;
        if !options.skip_record_metadata {
            writeln!(out, "{}", batch_line(&entry))?;
        }
        if options.print_data_log || options.deep_iteration {
            sound &= dump_records(out, &entry, options)?;
        }
    }
    let trailing = log.trailing_bytes();
    if trailing > 0 {
        writeln!(
            out,
            "Found {trailing} invalid bytes at the end of {}",
            path.file_name().unwrap_or_default().to_string_lossy()
        )?;
        sound = false;
    }
    Ok(sound)
}

/// The line of a batch v2, or of a message v0/v1.
fn batch_line(entry: &DumpedEntry) -> String {
    let found = &entry.entry;
    let mut line = String::new();
    let (codec, timestamp_type) = match &found.batch {
        Some(header) => {
            let horizon =
                header.delete_horizon_ms().map_or("OptionalLong.empty".to_owned(), |ms| format!("OptionalLong[{ms}]"));
            let _ = write!(
                line,
                "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
                 partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {horizon}",
                found.base_offset,
                found.last_offset,
                header.records_count,
                header.base_sequence,
                header.last_sequence(),
                header.producer_id,
                header.producer_epoch,
                header.partition_leader_epoch,
                header.is_transactional(),
                header.is_control(),
            );
            (header.codec().name(), time_name(header.timestamp_type()))
        }
        None => {
            let _ = write!(line, "offset: {}", found.last_offset);
            let first = entry.messages().ok().and_then(|messages| messages.into_iter().next());
            (
                first.as_ref().map_or("none", |message| message.codec.name()),
                first.map_or("NoTimestampType", |message| legacy_time_name(message.magic, message.timestamp_type)),
            )
        }
    };
    let _ = write!(
        line,
        " position: {} {timestamp_type}: {} size: {} magic: {} compresscodec: {codec} crc: {} isvalid: {}",
        found.position, found.max_timestamp, found.size, found.magic, entry.crc, entry.is_valid
    );
    line
}

fn time_name(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn legacy_time_name(magic: i8, kind: TimestampType) -> &'static str {
    if magic == 0 { "NoTimestampType" } else { time_name(kind) }
}

fn dump_records(out: &mut impl Write, entry: &DumpedEntry, options: &Options) -> Result<bool, Failure> {
    let Some(header) = &entry.entry.batch else { return dump_messages(out, entry, options) };
    let records = match entry.records() {
        Ok(records) => records,
        Err(error) => {
            out.flush()?;
            eprintln!("the batch at position {} cannot be read: {error}", entry.entry.position);
            return Ok(false);
        }
    };
    let marker = if header.is_control() { entry.control_marker().ok().flatten() } else { None };
    for record in records {
        let mut line = "|".to_owned();
        if !options.skip_record_metadata {
            let delta = record.offset.0.saturating_sub(entry.entry.base_offset);
            let sequence = match i32::try_from(delta) {
                Ok(delta) if header.base_sequence >= 0 => {
                    protocol::records::batch::increment_sequence(header.base_sequence, delta)
                }
                _ => -1,
            };
            let keys: Vec<String> =
                record.headers.iter().map(|header| String::from_utf8_lossy(&header.key).into_owned()).collect();
            let _ = write!(
                line,
                " offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
                record.offset,
                time_name(header.timestamp_type()),
                record.timestamp,
                size(record.key.as_deref()),
                size(record.value.as_deref()),
                keys.join(",")
            );
        }
        match marker {
            Some(ControlMarker::Abort { coordinator_epoch }) => {
                let _ = write!(line, " endTxnMarker: ABORT coordinatorEpoch: {coordinator_epoch}");
            }
            Some(ControlMarker::Commit { coordinator_epoch }) => {
                let _ = write!(line, " endTxnMarker: COMMIT coordinatorEpoch: {coordinator_epoch}");
            }
            Some(ControlMarker::Other { kind, .. }) => {
                let _ = write!(line, " controlType: {kind}");
            }
            None if options.print_data_log => line.push_str(&contents(record.key.as_deref(), record.value.as_deref())),
            None => {}
        }
        writeln!(out, "{line}")?;
    }
    Ok(true)
}

fn dump_messages(out: &mut impl Write, entry: &DumpedEntry, options: &Options) -> Result<bool, Failure> {
    let messages = match entry.messages() {
        Ok(messages) => messages,
        Err(error) => {
            out.flush()?;
            eprintln!("the message at position {} cannot be read: {error}", entry.entry.position);
            return Ok(false);
        }
    };
    for message in messages {
        let mut line = "|".to_owned();
        if !options.skip_record_metadata {
            let _ = write!(
                line,
                " offset: {} {}: {} keySize: {} valueSize: {}",
                message.offset,
                legacy_time_name(message.magic, message.timestamp_type),
                message.timestamp,
                size(message.key.as_deref()),
                size(message.value.as_deref())
            );
        }
        if options.print_data_log {
            line.push_str(&contents(message.key.as_deref(), message.value.as_deref()));
        }
        writeln!(out, "{line}")?;
    }
    Ok(true)
}

fn size(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| bytes.len() as i64)
}

fn contents(key: Option<&[u8]>, value: Option<&[u8]>) -> String {
    let mut text = String::new();
    if let Some(key) = key {
        let _ = write!(text, " key: {}", String::from_utf8_lossy(key));
    }
    if let Some(value) = value {
        let _ = write!(text, " payload: {}", String::from_utf8_lossy(value));
    }
    text
}

fn dump_index(out: &mut impl Write, path: &Path, options: &Options) -> Result<bool, Failure> {
    let entries = dump::offset_index_entries(Disk::real(), path).map_err(Failure::new)?;
    let faults = dump::check_offset_index(&open(&path.with_extension("log"))?, &entries);
    if !options.verify_index_only && !options.index_sanity_check {
        for entry in &entries {
            writeln!(out, "offset: {} position: {}", entry.offset, entry.position)?;
        }
    }
    say_faults(out, path, &faults)
}

fn dump_time_index(out: &mut impl Write, path: &Path, options: &Options) -> Result<bool, Failure> {
    let entries = dump::time_index_entries(Disk::real(), path).map_err(Failure::new)?;
    let offsets = dump::offset_index_entries(Disk::real(), &path.with_extension("index")).map_err(Failure::new)?;
    let faults = dump::check_time_index(&open(&path.with_extension("log"))?, &offsets, &entries);
    if !options.verify_index_only && !options.index_sanity_check {
        for entry in &entries {
            writeln!(out, "timestamp: {} offset: {}", entry.timestamp, entry.offset)?;
        }
    }
    say_faults(out, path, &faults)
}

fn say_faults(out: &mut impl Write, path: &Path, faults: &[IndexFault]) -> Result<bool, Failure> {
    if faults.is_empty() {
        writeln!(out, "{} passed sanity check.", path.display())?;
        return Ok(true);
    }
    out.flush()?;
    eprintln!("Mismatches in :{}", path.display());
    for fault in faults {
        match fault {
            IndexFault::OffsetMismatch { index, log } => eprintln!("  Index offset: {index}, log offset: {log}"),
            IndexFault::OffsetNotFound { index, log } => {
                eprintln!("  Indexed offset: {index}, found log offset: {log}")
            }
            IndexFault::TimestampMismatch { index, log } => {
                eprintln!("  Index timestamp: {index}, log timestamp: {log}")
            }
            IndexFault::OutOfOrder { index, previous } => {
                eprintln!("  Index timestamp: {index}, Previously indexed timestamp: {previous}")
            }
            IndexFault::Unreadable { index, why } => eprintln!("  Index offset: {index}: {why}"),
        }
    }
    Ok(false)
}

fn dump_snapshot(out: &mut impl Write, path: &Path) -> Result<bool, Failure> {
    for (id, producer) in dump::producers(Disk::real(), path).map_err(Failure::new)? {
        let open = producer.transaction_start.map_or("None".to_owned(), |offset| format!("Some({offset})"));
        write!(
            out,
            "producerId: {id} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {open} lastTimestamp: {} ",
            producer.epoch, producer.coordinator_epoch, producer.last_timestamp
        )?;
        match producer.batches.back() {
            Some(batch) => writeln!(out, "lastSequence: {} lastOffset: {}", batch.last_sequence, batch.last_offset)?,
            None => writeln!(out)?,
        }
    }
    Ok(true)
}
