//! The log on disk, in Kafka's on-disk format: what one partition is made of, and all partitions of a broker together. A directory written
//! here can be read by Apache's tools, and one written by an Apache broker since 0.8 can be read here.
//!
//! # Layout
//! - [`error`], [`config`]: what can go wrong, and the settings of a log
//! - [`entry`]: one batch or message in a file, and the walk over them; [`legacy`] for formats v0 and v1
//! - [`log_dir`], [`file_cache`]: a log directory and its health; open files within a bound
//! - [`index_file`], [`offset_index`], [`time_index`], [`segment`]: one segment
//! - [`producer_state`], [`leader_epoch`]: what the log remembers besides records
//! - [`log`], [`append`], [`read`], [`timestamps`], [`truncate`], [`retention`]: one partition; [`reach`]: what a read may wait for
//! - [`preallocation`], [`flusher`]: space reserved ahead; one sync for many
//! - [`checkpoints`], [`meta_properties`]: the small text files
//! - [`recovery`]: from files to a log, after a clean shutdown or a crash; [`progress`]: how far that is
//! - [`log_manager`]: all logs of a broker
//! - [`cleaner`], [`dump`]: compaction; what `kafka-dump-log` shows
//!
//! # Invariants
//! - A record that was reported durable is never dropped: damage below the recovery point refuses the log and leaves its files untouched.
//! - After a failed write or sync nothing in that log directory is trusted until a restart has checked it.
//! - An append holds the log's one mutex while it writes to the page cache; a read never takes it.
//! - Bytes on disk may be anything: no length or count is believed further than the file reaches.

pub mod append;
mod bookmarks;
pub mod checkpoints;
pub mod cleaner;
pub mod config;
pub mod dump;
pub mod entry;
pub mod error;
pub mod file_cache;
pub mod flusher;
pub mod index_file;
pub mod leader_epoch;
pub mod legacy;
pub mod log;
pub mod log_dir;
pub mod log_manager;
pub mod meta_properties;
pub mod offset_index;
pub mod preallocation;
pub mod producer_state;
pub mod progress;
pub mod reach;
pub mod read;
pub mod recovery;
pub mod retention;
pub mod segment;
pub mod time_index;
pub mod timestamps;
pub mod truncate;

#[cfg(test)]
mod testing;

pub use append::{AppendInfo, AppendOptions, AppendOrigin};
pub use cleaner::{Cleaner, CleanerConfig, CleanerStatus};
pub use config::{LogConfig, LogManagerConfig};
pub use error::{AppendError, ReadError, StorageError};
pub use flusher::{FlushDone, Flusher};
pub use log::Log;
pub use log_manager::{LogDirDescription, LogDirState, LogDirStatus, LogManager, RecoveryReport};
pub use progress::{Recovered, RecoveryProgress};
pub use protocol::records::TimestampType;
pub use reach::Reach;
pub use read::{FileSlice, ReadInfo, ReadLimit};
pub use timestamps::TimestampOffset;
