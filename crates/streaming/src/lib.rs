//! A micro-batch engine with the shape of Spark Streaming: DStreams made of RDDs, run by a pool of threads in this process.
//!
//! # Layout
//! - [`time`]: batch times
//! - [`text`]: strings that share their block
//! - [`error`]: how failures travel
//! - [`rdd`]: partitioned collections
//! - [`scheduler`]: stages and tasks
//! - [`dstream`]: a sequence of RDDs, one per batch
//! - [`jobs`]: the batch generator and what runs the batches
//! - [`listener`]: what a program can watch
//! - [`context`]: the life of a program
//! - [`notes`]: what it tells its user
//! - [`sources`]: where records come from
//!
//! # Invariants
//! - A batch's input is fixed when the batch is made; running it again reads the same records.
//! - Batches run one after the other; one that fails is reported and the next one runs.
//! - Elements need no serialization.
//!
//! ```
//! use std::time::Duration;
//! use tidemill_streaming::{RddQueue, SparkContext, StreamingContext};
//!
//! let sc = SparkContext::new("local[2]", "WordCount")?;
//! let ssc = StreamingContext::new(&sc, Duration::from_millis(50))?;
//! let lines = ssc.queue_stream(RddQueue::new(vec![sc.parallelize(vec!["to be", "or not to be"], 2)]), true, None);
//! lines.flat_map(|line| line.split(' ')).map(|word| (word, 1)).reduce_by_key(|a, b| a + b).print();
//! ssc.start()?;
//! ssc.await_termination_or_timeout(Duration::from_millis(200))?;
//! ssc.stop(true);
//! # Ok::<(), tidemill_streaming::StreamingError>(())
//! ```

pub mod context;
pub mod dstream;
pub mod error;
pub mod jobs;
pub mod listener;
pub mod notes;
pub mod rdd;
pub mod scheduler;
pub mod sources;
pub mod text;
pub mod time;

pub use context::{StreamingContext, StreamingContextState};
pub use dstream::DStream;
pub use error::{JobError, StreamingError, TaskError};
pub use jobs::{BatchClock, ManualClock};
pub use listener::StreamingListener;
pub use rdd::{Data, Key, Rdd};
pub use scheduler::SparkContext;
pub use sources::kafka;
pub use sources::queue::RddQueue;
pub use text::Text;
pub use time::{Millis, Time};

#[cfg(test)]
mod tests;
