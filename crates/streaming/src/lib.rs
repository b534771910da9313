//! x
pub mod error;
pub mod rdd;
pub mod scheduler;
pub mod sources;
pub mod time;
