//! Bytes that were damaged on purpose, given to everything that reads bytes from a socket or a disk: there is no panic, no hang, and no memory taken that the
//! bytes do not pay for.
//!
//! Every test takes its inputs from a seeded generator: `TIDEMILL_HOSTILE_INPUTS` says how many each (20,000 where it is not set, 1,000,000 in `./test --nightly`),
//! `TIDEMILL_HOSTILE_SEED` which. A failure names the seed and the input.

mod broker;
mod damage;
mod files;
mod keeper;
mod messages;
mod records;
mod servers;
mod texts;
