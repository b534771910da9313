//! `_tidemill`: the streaming engine for the `pyspark`-shaped package in `python/tidemill/shim`.
//!
//! A partition is one Python list to the engine, a *block*, or Kafka's records of which a function of a block makes lists as it reads them.
//! Python composes chains of narrow operators into one function of a block; this crate calls it once per partition and lets go of the
//! interpreter's lock wherever the engine waits.
//!
//! # Layout
//! - [`arguments`]: arguments that hold many items
//! - [`block`]: blocks, and Python's exceptions on their way through the engine and back
//! - [`turn`]: tasks that run Python take turns
//! - [`rdd`]: `Context` and `Rdd`
//! - [`dstream`]: `StreamingContext` and `DStream`
//! - [`kafka`]: Kafka's records as blocks
//! - [`listener`]: the engine's events as dicts
//! - [`ui`]: the job's pages

mod arguments;
mod block;
mod dstream;
mod kafka;
mod listener;
mod rdd;
mod turn;
mod ui;

use pyo3::prelude::*;

/// The native half of the package.
#[pymodule]
fn _tidemill(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<rdd::PyContext>()?;
    module.add_class::<rdd::PyRdd>()?;
    module.add_class::<block::Runs>()?;
    module.add_class::<dstream::PyStreamingContext>()?;
    module.add_class::<dstream::PyDStream>()?;
    module.add_class::<ui::PyUi>()?;
    Ok(())
}
