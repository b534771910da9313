//! Kafka as a source, in Spark's two ways.
//!
//! [`create_stream`] is a member of a consumer group in ZooKeeper: it takes records in as they come, and commits a batch's offsets to
//! `/consumers/<group>/offsets` once the batch's outputs have succeeded. [`create_direct_stream`] is no member of anything: each batch reads
//! the offset ranges that were fixed when it was made, and the program itself keeps offsets where it wants to. Both fix what a batch reads
//! before it runs, so running it again reads the same records.
//!
//! # Layout
//! - [`record`]: what the streams are made of
//! - [`offset_range`]: what a batch reads of a partition
//! - [`rate`]: how much a batch may read
//! - [`cluster`](self): the brokers, for callers that block
//! - [`fetched`]: records where they lie in what a broker sent
//! - [`rdd`]: an RDD of offset ranges
//! - [`direct`]: the stream of `create_direct_stream`
//! - [`receiver`]: the stream of `create_stream`
//! - [`missing`](self): what is said where there is nothing to read
//! - [`outage`](self): what is said while servers do not answer

mod cluster;
pub mod direct;
pub mod fetched;
mod missing;
pub mod offset_range;
mod outage;
pub mod rate;
pub mod rdd;
pub mod receiver;
pub mod record;

pub use direct::create_direct_stream;
pub use fetched::{Fetched, FetchedCursor, RecordView};
pub use offset_range::OffsetRange;
pub use protocol::types::TopicPartition;
pub use rate::{Pid, RateLimits};
pub use rdd::create_rdd;
pub use receiver::create_stream;
pub use record::Record;

use crate::notes::Notes;

/// A partition that was joined at its end.
struct Joined {
    partition: TopicPartition,
    offset: i64,
    /// Records before, which are not read.
    older: i64,
}

/// Tells the user once that a stream without offsets begins at the end: otherwise nothing explains why a topic full of records prints none.
fn note_joined(partitions: &[Joined], user: &Notes) {
    if let Some(note) = joined_note(partitions) {
        user.say(&note);
    }
}

fn joined_note(partitions: &[Joined]) -> Option<String> {
    /// Partitions that are named.
    const NAMED_MAX: usize = 5;
    let older: i64 = partitions.iter().map(|joined| joined.older.max(0)).sum();
    if older == 0 {
        return None;
    }
    let named = partitions
        .iter()
        .take(NAMED_MAX)
        .map(|joined| format!("{} joined at offset {}", joined.partition, joined.offset));
    let mut places = named.collect::<Vec<_>>().join(", ");
    if partitions.len() > NAMED_MAX {
        places.push_str(", ...");
    }
    let records = if older == 1 { "1 older record is" } else { &format!("{older} older records are") };
    Some(format!("note: {places}; {records} not read (auto.offset.reset=smallest reads from the beginning)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_says_what_is_left_out() {
        let check = |older: &[i64], expected: Option<&str>| {
            let joined = |(number, older): (usize, &i64)| Joined {
                partition: TopicPartition::new("t", number as i32),
                offset: older + 1,
                older: *older,
            };
            let joined: Vec<Joined> = older.iter().enumerate().map(joined).collect();
            let note = joined_note(&joined);
            let note = note
                .as_deref()
                .map(|note| note.strip_suffix(" (auto.offset.reset=smallest reads from the beginning)").unwrap());
            assert_eq!(note, expected);
        };
        check(&[], None);
        check(&[0, 0], None);
        check(&[1], Some("note: t-0 joined at offset 2; 1 older record is not read"));
        check(&[4, 0], Some("note: t-0 joined at offset 5, t-1 joined at offset 1; 4 older records are not read"));
        let many = "note: t-0 joined at offset 2, t-1 joined at offset 2, t-2 joined at offset 2, t-3 joined at offset 2, \
                    t-4 joined at offset 2, ...; 6 older records are not read";
        check(&[1; 6], Some(many));
    }
}
