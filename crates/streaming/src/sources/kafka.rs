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
//! - [`rdd`]: an RDD of offset ranges
//! - [`direct`]: the stream of `create_direct_stream`
//! - [`receiver`]: the stream of `create_stream`

mod cluster;
pub mod direct;
pub mod offset_range;
pub mod rate;
pub mod rdd;
pub mod receiver;
pub mod record;

pub use direct::create_direct_stream;
pub use offset_range::OffsetRange;
pub use protocol::types::TopicPartition;
pub use rate::{Pid, RateLimits};
pub use rdd::create_rdd;
pub use receiver::create_stream;
pub use record::Record;

/// Tells the user once that a stream without offsets begins at the end: otherwise nothing explains why a topic full of records prints none.
#[allow(clippy::print_stderr, reason = "a note to the user of the program, who may have no log")]
fn note_joined(topic_partition: &TopicPartition, joined: i64, older: i64) {
    if older > 0 {
        eprintln!(
            "note: {topic_partition}: joined at offset {joined}, {older} older records are not read \
             (auto.offset.reset=smallest reads them)"
        );
    }
}
