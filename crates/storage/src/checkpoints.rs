//! Kafka's small text files: `*-offset-checkpoint`, `leader-epoch-checkpoint`, `partition.metadata`, `.kafka_cleanshutdown`.
//!
//! Each is replaced as a whole (temporary file, sync, rename, sync of the directory), so a crash leaves the old text or the new. A file that
//! does not parse is an error that names file and line: guessing an offset loses records. So is one whose checksum ([`sum`]) is not that of its text.

mod sum;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use protocol::types::{TopicPartition, Uuid};
use runtime::Disk;

use crate::error::{Result, StorageError};

/// Offsets up to which each log is known to be on stable storage.
pub const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";
/// High watermarks.
pub const HIGH_WATERMARK_FILE: &str = "replication-offset-checkpoint";
/// First offsets kept, where they differ from the first segment's (DeleteRecords).
pub const LOG_START_FILE: &str = "log-start-offset-checkpoint";
/// Offsets up to which each compacted log was cleaned.
pub const CLEANER_FILE: &str = "cleaner-offset-checkpoint";
/// Leader epochs of one log.
pub const LEADER_EPOCH_FILE: &str = "leader-epoch-checkpoint";
/// Topic id of one log.
pub const PARTITION_METADATA_FILE: &str = "partition.metadata";
/// There only after a shutdown that synced everything.
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";

/// Lines of a checkpoint that has at least one entry, beside version and count.
const LINES_WITH_ENTRIES: usize = 3;

/// Longest checkpoint file read: some 500,000 partitions.
pub const CHECKPOINT_BYTES_MAX: u64 = 64 << 20;

/// Reads an offset checkpoint: version 0, a count, and one `topic partition offset` a line. An absent file is an empty one.
///
/// # Errors
/// The file cannot be read, or does not parse.
pub fn read_offsets(disk: Disk, path: &Path) -> Result<BTreeMap<TopicPartition, i64>> {
    Ok(read_offsets_vouched(disk, path)?.0)
}

/// As [`read_offsets`], and whether a checksum says that the file is as it was written.
///
/// # Errors
/// As [`read_offsets`].
pub fn read_offsets_vouched(disk: Disk, path: &Path) -> Result<(BTreeMap<TopicPartition, i64>, bool)> {
    let mut offsets = BTreeMap::new();
    let (lines, vouched) = read_lines(disk, path, 3)?;
    for (line, fields) in lines {
        let malformed = || malformed(path, line, &fields.join(" "));
        let [topic, partition, offset] = fields.as_slice() else { return Err(malformed()) };
        let partition: i32 = partition.parse().ok().filter(|partition| *partition >= 0).ok_or_else(malformed)?;
        let offset: i64 = offset.parse().ok().filter(|offset| *offset >= 0).ok_or_else(malformed)?;
        if offsets.insert(TopicPartition::new(topic.as_str(), partition), offset).is_some() {
            return Err(StorageError::Checkpoint {
                path: path.to_owned(),
                line,
                why: format!("{topic}-{partition} is named twice"),
            });
        }
    }
    Ok((offsets, vouched))
}

/// Replaces an offset checkpoint.
///
/// # Errors
/// What the file system says; the old text is still there.
pub fn write_offsets(disk: Disk, path: &Path, offsets: &BTreeMap<TopicPartition, i64>) -> Result<()> {
    let mut text = format!("0\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
    }
    sum::add(&mut text, LINES_WITH_ENTRIES);
    disk.write_atomic(path, text.as_bytes()).map_err(|error| StorageError::io("write", path, error))
}

/// Reads a leader epoch checkpoint: version 0, a count, and one `epoch startOffset` a line, both strictly rising. An absent file is empty.
///
/// # Errors
/// The file cannot be read, or does not parse.
pub fn read_epochs(disk: Disk, path: &Path) -> Result<Vec<(i32, i64)>> {
    Ok(read_epochs_vouched(disk, path)?.0)
}

/// As [`read_epochs`], and whether a checksum says that the file is as it was written.
///
/// # Errors
/// As [`read_epochs`].
pub fn read_epochs_vouched(disk: Disk, path: &Path) -> Result<(Vec<(i32, i64)>, bool)> {
    let (lines, vouched) = read_lines(disk, path, 2)?;
    let mut epochs: Vec<(i32, i64)> = Vec::new();
    for (line, fields) in lines {
        let malformed = || malformed(path, line, &fields.join(" "));
        let [epoch, start] = fields.as_slice() else { return Err(malformed()) };
        let epoch: i32 = epoch.parse().ok().filter(|epoch| *epoch >= 0).ok_or_else(malformed)?;
        let start: i64 = start.parse().ok().filter(|start| *start >= 0).ok_or_else(malformed)?;
        if epochs.last().is_some_and(|last| last.0 >= epoch || last.1 > start) {
            return Err(StorageError::Checkpoint {
                path: path.to_owned(),
                line,
                why: "epochs and their start offsets must rise from line to line".to_owned(),
            });
        }
        epochs.push((epoch, start));
    }
    Ok((epochs, vouched))
}

/// Replaces a leader epoch checkpoint, with a checksum where the epochs are vouched for.
///
/// # Errors
/// What the file system says; the old text is still there.
pub fn write_epochs(disk: Disk, path: &Path, epochs: &[(i32, i64)], vouched: bool) -> Result<()> {
    let mut text = format!("0\n{}\n", epochs.len());
    for (epoch, start) in epochs {
        let _ = writeln!(text, "{epoch} {start}");
    }
    if vouched {
        sum::add(&mut text, LINES_WITH_ENTRIES);
    }
    disk.write_atomic(path, text.as_bytes()).map_err(|error| StorageError::io("write", path, error))
}

/// Reads the topic id in `partition.metadata`; `None` where the file is absent (Kafka before 2.8).
///
/// # Errors
/// The file cannot be read, or does not parse.
pub fn read_topic_id(disk: Disk, path: &Path) -> Result<Option<Uuid>> {
    let Some(text) = read_text(disk, path)? else { return Ok(None) };
    let wrong = |line, why: &str| StorageError::Checkpoint { path: path.to_owned(), line, why: why.to_owned() };
    let mut lines = text.lines();
    if lines.next() != Some("version: 0") {
        return Err(wrong(1, "expected `version: 0`"));
    }
    let id = lines.next().and_then(|line| line.strip_prefix("topic_id: ")).and_then(Uuid::parse);
    // Apache brokers do not read so far.
    let stored = lines.next().and_then(|line| line.strip_prefix("crc32c: "));
    if let Some(stored) = stored
        && stored != metadata_sum(&text)
    {
        return Err(wrong(3, &format!("its checksum is {stored}, its text gives {}", metadata_sum(&text))));
    }
    match id {
        Some(id) if id != Uuid::ZERO => Ok(Some(id)),
        _ => Err(wrong(2, "expected `topic_id: ` and an id of 22 characters")),
    }
}

/// Writes `partition.metadata`.
///
/// # Errors
/// What the file system says.
pub fn write_topic_id(disk: Disk, path: &Path, id: Uuid) -> Result<()> {
    let text = format!("version: 0\ntopic_id: {id}");
    let text = format!("{text}\ncrc32c: {}\n", metadata_sum(&text));
    disk.write_atomic(path, text.as_bytes()).map_err(|error| StorageError::io("write", path, error))
}

/// Checksum of the first two lines of `partition.metadata`.
fn metadata_sum(text: &str) -> String {
    let mut covered: Vec<&str> = text.lines().take(2).collect();
    covered.push("");
    format!("{:08x}", crc_fast::crc32_iscsi(covered.join("\n").as_bytes()))
}

/// A line's number and its fields.
type Line = (usize, Vec<String>);

/// The lines after version and count, each with its `columns` fields, and whether the text carries its checksum; none where the file is absent.
fn read_lines(disk: Disk, path: &Path, columns: usize) -> Result<(Vec<Line>, bool)> {
    let Some(text) = read_text(disk, path)? else { return Ok((Vec::new(), false)) };
    let wrong = |line, why: String| StorageError::Checkpoint { path: path.to_owned(), line, why };
    let mut lines = text.lines();
    let version = lines.next().unwrap_or("");
    if version.trim() != "0" {
        return Err(wrong(1, format!("expected version 0, found {version:?}")));
    }
    let count: usize = lines
        .next()
        .and_then(|line| line.trim().parse().ok())
        .ok_or_else(|| wrong(2, "expected the number of lines that follow".to_owned()))?;
    let mut found = Vec::new();
    for (index, line) in lines.enumerate() {
        let fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if fields.len() != columns {
            return Err(malformed(path, index + 3, line));
        }
        found.push((index + 3, fields));
    }
    if found.len() != count {
        return Err(wrong(2, format!("{count} lines were promised, {} are there", found.len())));
    }
    let vouched = sum::check(&text).map_err(|why| sum::damaged(path, &text, why))?;
    Ok((found, vouched))
}

fn read_text(disk: Disk, path: &Path) -> Result<Option<String>> {
    match disk.read(path, CHECKPOINT_BYTES_MAX) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let line =
                    error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
                Err(StorageError::Checkpoint { path: path.to_owned(), line: line + 1, why: "not text".to_owned() })
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("read", path, error)),
    }
}

fn malformed(path: &Path, line: usize, text: &str) -> StorageError {
    let shown: String = text.chars().take(80).collect();
    StorageError::Checkpoint {
        path: path.to_owned(),
        line,
        why: format!("malformed line in checkpoint file: {shown:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets_of(text: &[u8]) -> Result<BTreeMap<TopicPartition, i64>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(RECOVERY_POINT_FILE);
        Disk::real().write_atomic(&path, text).unwrap();
        read_offsets(Disk::real(), &path)
    }

    #[test]
    fn offsets_are_written_as_kafka_writes_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(RECOVERY_POINT_FILE);
        let offsets = BTreeMap::from([(TopicPartition::new("b", 1), 7), (TopicPartition::new("a.b_c-d", 0), 0)]);
        write_offsets(Disk::real(), &path, &offsets).unwrap();
        let text = String::from_utf8(Disk::real().read(&path, 100).unwrap()).unwrap();
        assert_eq!(text.trim_end(), "0\n2\na.b_c-d 0 0\nb 1 7");
        assert_eq!(text.lines().count(), 4);
        assert_eq!(read_offsets(Disk::real(), &path).unwrap(), offsets);
    }

    #[test]
    fn a_damaged_checkpoint_names_its_line() {
        let check = |text: &[u8], expected_line: usize| match offsets_of(text) {
            Err(StorageError::Checkpoint { line, path, .. }) => {
                assert_eq!(line, expected_line, "{:?}", String::from_utf8_lossy(text));
                assert!(path.ends_with(RECOVERY_POINT_FILE));
            }
            other => panic!("{:?} gave {other:?}", String::from_utf8_lossy(text)),
        };
        check(b"", 1);
        check(b"1\n0\n", 1);
        check(b"0\n", 2);
        check(b"0\nmany\n", 2);
        check(b"0\n2\na 0 1\n", 2);
        check(b"0\n99999999999999999999\n", 2);
        check(b"0\n1\na 0\n", 3);
        check(b"0\n2\na 0 1\na 1 -1\n", 4);
        check(b"0\n2\na 0 1\na 0 1\n", 4);
        check(b"0\n1\na 0 99999999999999999999\n", 3);
        check(b"0\n1\n\xff\xfe\n", 3);
        check(b"0\n1\n\0\0\0\0\0\0\n", 3);
    }

    #[test]
    fn an_absent_checkpoint_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read_offsets(Disk::real(), &directory.path().join("x")).unwrap().is_empty());
        assert!(read_epochs(Disk::real(), &directory.path().join("x")).unwrap().is_empty());
        assert_eq!(read_topic_id(Disk::real(), &directory.path().join("x")).unwrap(), None);
    }

    #[test]
    fn the_topic_id_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(PARTITION_METADATA_FILE);
        let id = Uuid([7; 16]);
        write_topic_id(Disk::real(), &path, id).unwrap();
        assert_eq!(read_topic_id(Disk::real(), &path).unwrap(), Some(id));
        Disk::real().write_atomic(&path, b"version: 0\ntopic_id: short").unwrap();
        assert!(matches!(read_topic_id(Disk::real(), &path), Err(StorageError::Checkpoint { line: 2, .. })));
    }
}
