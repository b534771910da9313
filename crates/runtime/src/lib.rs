//! The outside world behind types: clock, randomness, disk, network, threads and tasks.
//!
//! Every crate that needs one of these takes it from here and from nowhere else, so that a simulated world can stand in for the
//! real one without a second code path: each type is an enum whose only variant in production is the real thing, and whose other is for the simulator
//! (`crates/testing`). Nothing here knows Kafka, ZooKeeper or Spark.
//!
//! # Layout
//! - [`clock`]: wall time in milliseconds and a monotonic clock
//! - [`durations`]: how long things took, counted without a lock
//! - [`random`]: random bytes and numbers
//! - [`disk`]: files and directories; every change that must last names its sync
//! - [`sim_disk`]: a disk in memory that loses power, runs full and fails as told, for tests
//! - [`sim_time`], [`sim_host`], [`sim_stream`]: the time, chance, hosts and connections of a simulated world
//! - [`net`]: listeners and streams, `sendfile` included
//! - [`machine`]: who holds a port, how many files may be open
//! - [`spawn`]: tasks, threads and the pool for calls that block
//! - [`usage`]: what this process uses of the machine
//!
//! # Invariants
//! - No other crate calls `std::thread::spawn`, `tokio::task::spawn_blocking`, `SystemTime::now` or `Instant::now` (clippy's disallowed methods).
//! - Reads with a bound: [`disk::Disk::read`] refuses files longer than its caller allows before it allocates.

pub mod clock;
pub mod disk;
pub mod durations;
pub mod machine;
pub mod net;
pub mod random;
pub mod sim_disk;
pub mod sim_host;
pub mod sim_stream;
pub mod sim_time;
pub mod spawn;
pub mod usage;

pub use clock::Clock;
pub use disk::{Disk, File};
pub use durations::{Durations, DurationsSnapshot};
pub use random::Random;
pub use sim_disk::SimDisk;
pub use sim_host::SimHost;
pub use spawn::{Task, spawn, spawn_blocking, thread};
