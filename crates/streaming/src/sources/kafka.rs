//! Kafka as a source.

pub mod offset_range;

pub use offset_range::OffsetRange;
