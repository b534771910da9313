//! What only tests need: checks of the project's own structure, and servers started in one process for tests that cross crates.
//!
//! Nobody imports this crate. Tests that cross crates live in its `tests/` folder; tests of the binary live beside the binary.
//!
//! # Layout
//! - [`house`]: the repository as the structure tests see it
//! - [`servers`]: a keeper and a broker, and what tests ask of them most
//! - [`simulator`]: whole clusters in one thread, decided by a seed

pub mod house;
pub mod servers;
pub mod simulator;
