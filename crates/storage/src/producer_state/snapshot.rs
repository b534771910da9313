//! `%020d.snapshot`: the producers as they were when the log reached the offset in the name.
//!
//! `i16 version=1, u32 CRC-32C of what follows it, i32 count`, then 46 bytes a producer with its last batch: Kafka's format. Behind it, where Apache brokers do not look, stand
//! the four batches before the last one: a producer that repeats one of them after a restart must be known. A snapshot that does not check out is worth nothing
//! and harms nothing: an older one and the log give the same state.

use std::io;
use std::path::Path;

use runtime::Disk;
use runtime::disk::Open;

use super::{BATCHES_KEPT, NO_SEQUENCE, PRODUCERS_MAX, Producer, StoredBatch};
use crate::segment::base_offset_of;

const VERSION: i16 = 1;
const HEAD_BYTES: usize = 10;
const PRODUCER_BYTES: usize = 46;
/// Begins what is ours: the text `earlier\n`.
const EARLIER: [u8; 8] = *b"earlier\n";
const EARLIER_BYTES: usize = 32;
/// Apache brokers bound their producers by memory only, so their snapshots may be longer than ours.
const SNAPSHOT_BYTES_MAX: u64 = (HEAD_BYTES + 20 * PRODUCERS_MAX * PRODUCER_BYTES) as u64;

/// Suffix of the files.
pub const SUFFIX: &str = ".snapshot";

/// Name of the snapshot at `offset`.
#[must_use]
pub fn file_name(offset: i64) -> String {
    format!("{offset:020}{SUFFIX}")
}

/// Offset in the name of a snapshot.
#[must_use]
pub fn offset_of(name: &str) -> Option<i64> {
    base_offset_of(name, SUFFIX)
}

/// The bytes of a snapshot.
#[must_use]
pub fn encode(producers: &[(i64, Producer)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + producers.len() * PRODUCER_BYTES);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(producers.len() as i32).to_be_bytes());
    for (id, producer) in producers {
        let last = producer.batches.back();
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&producer.epoch.to_be_bytes());
        bytes.extend_from_slice(&last.map_or(NO_SEQUENCE, |batch| batch.last_sequence).to_be_bytes());
        bytes.extend_from_slice(&last.map_or(-1, |batch| batch.last_offset).to_be_bytes());
        bytes.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        bytes.extend_from_slice(&producer.last_timestamp.to_be_bytes());
        bytes.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&producer.transaction_start.unwrap_or(-1).to_be_bytes());
    }
    let earlier = |producer: &Producer| producer.batches.len().saturating_sub(1);
    if producers.iter().any(|(_, producer)| earlier(producer) > 0) {
        bytes.extend_from_slice(&EARLIER);
    }
    for (id, producer) in producers {
        for batch in producer.batches.iter().take(earlier(producer)) {
            bytes.extend_from_slice(&id.to_be_bytes());
            bytes.extend_from_slice(&batch.last_sequence.to_be_bytes());
            bytes.extend_from_slice(&batch.last_offset.to_be_bytes());
            bytes.extend_from_slice(&batch.offset_delta.to_be_bytes());
            bytes.extend_from_slice(&batch.timestamp.to_be_bytes());
        }
    }
    let crc = crc_fast::crc32_iscsi(&bytes[6..]);
    bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Reads the bytes of a snapshot.
///
/// # Errors
/// Why they are none.
pub fn decode(bytes: &[u8]) -> Result<Vec<(i64, Producer)>, String> {
    let mut rest = bytes;
    let version = i16::from_be_bytes(take(&mut rest)?);
    if version != VERSION {
        return Err(format!("Snapshot contained an unknown file version {version}"));
    }
    let stored = u32::from_be_bytes(take(&mut rest)?);
    let computed = crc_fast::crc32_iscsi(rest);
    if stored != computed {
        return Err(format!(
            "Snapshot is corrupt (CRC is no longer valid). Stored crc: {stored}. Computed crc: {computed}"
        ));
    }
    let count = i32::from_be_bytes(take(&mut rest)?);
    let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(PRODUCER_BYTES));
    let Some((mut rest, mut earlier)) = bytes.and_then(|bytes| rest.split_at_checked(bytes)) else {
        return Err(format!("{count} producers do not fit {} bytes", rest.len()));
    };
    let mut producers = Vec::with_capacity(rest.len() / PRODUCER_BYTES);
    while !rest.is_empty() {
        let id = i64::from_be_bytes(take(&mut rest)?);
        let mut producer = Producer::new(i16::from_be_bytes(take(&mut rest)?));
        let last_sequence = i32::from_be_bytes(take(&mut rest)?);
        let last_offset = i64::from_be_bytes(take(&mut rest)?);
        let offset_delta = i32::from_be_bytes(take(&mut rest)?);
        producer.last_timestamp = i64::from_be_bytes(take(&mut rest)?);
        producer.coordinator_epoch = i32::from_be_bytes(take(&mut rest)?);
        producer.transaction_start = Some(i64::from_be_bytes(take(&mut rest)?)).filter(|start| *start >= 0);
        if last_offset >= 0 {
            if offset_delta < 0 || i64::from(offset_delta) > last_offset {
                return Err(format!("offset delta {offset_delta} of producer {id} cannot be"));
            }
            let timestamp = producer.last_timestamp;
            producer.batches.push_back(StoredBatch { last_sequence, last_offset, offset_delta, timestamp });
        }
        producers.push((id, producer));
    }
    if !earlier.is_empty() {
        if take(&mut earlier)? != EARLIER || !earlier.len().is_multiple_of(EARLIER_BYTES) {
            return Err(format!("{} bytes follow the producers", earlier.len()));
        }
        take_earlier(earlier, &mut producers)?;
    }
    Ok(producers)
}

/// Reads the batches before the last one, oldest first, of the producers in order.
fn take_earlier(mut rest: &[u8], producers: &mut [(i64, Producer)]) -> Result<(), String> {
    let mut at = 0;
    while !rest.is_empty() {
        let id = i64::from_be_bytes(take(&mut rest)?);
        let batch = StoredBatch {
            last_sequence: i32::from_be_bytes(take(&mut rest)?),
            last_offset: i64::from_be_bytes(take(&mut rest)?),
            offset_delta: i32::from_be_bytes(take(&mut rest)?),
            timestamp: i64::from_be_bytes(take(&mut rest)?),
        };
        at += producers[at..].iter().position(|(known, _)| *known == id).ok_or("a batch of no producer")?;
        let batches = &mut producers[at].1.batches;
        let before_last = batches.len().checked_sub(1).ok_or("a producer without a last batch")?;
        if batches.len() >= BATCHES_KEPT || batch.offset_delta < 0 || i64::from(batch.offset_delta) > batch.last_offset
        {
            return Err(format!("a batch of producer {id} cannot be"));
        }
        batches.insert(before_last, batch);
    }
    Ok(())
}

/// Reads the snapshot in a file.
///
/// # Errors
/// Why there is none.
pub fn read(disk: Disk, path: &Path) -> Result<Vec<(i64, Producer)>, String> {
    decode(&disk.read(path, SNAPSHOT_BYTES_MAX).map_err(|error| error.to_string())?)
}

/// Writes a snapshot. `synced` waits for the disk (shutdown); at a roll that would stall the append, and a torn snapshot shows by its CRC.
///
/// # Errors
/// What the file system says.
pub fn write(disk: Disk, path: &Path, producers: &[(i64, Producer)], synced: bool) -> io::Result<()> {
    let bytes = encode(producers);
    if synced {
        return disk.write_atomic(path, &bytes);
    }
    disk.open(path, Open::Truncate)?.write_all_at(&bytes, 0)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    let Some((field, after)) = rest.split_first_chunk::<N>() else {
        return Err("the snapshot is cut short".to_owned());
    };
    *rest = after;
    Ok(*field)
}
