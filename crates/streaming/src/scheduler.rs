//! Runs jobs: cuts the lineage of an RDD at its shuffles into stages and runs the tasks of each on a fixed pool of threads.
//!
//! Always true: a job's stages run one after the other, parents first; a task never waits for another task; the first failure of a job
//! keeps its waiting tasks from starting and is what the caller gets.
//!
//! # Layout
//! - [`context`]: `SparkContext`, the pool and the ids of one program
//! - [`pool`]: the threads
//! - [`stages`]: which shuffles a job still needs
//! - [`task`]: what a running task knows

pub mod context;
pub(crate) mod pool;
pub(crate) mod stages;
pub mod task;

pub use context::SparkContext;
pub use task::TaskContext;
