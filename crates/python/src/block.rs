//! Blocks, and Python's exceptions on their way through the engine and back.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use streaming::{JobError, TaskError};

use crate::kafka::{Cursor, Unread};

/// Records that are made at a time where they are made as they are read: few enough that they are used and gone while they lie in the
/// processor's cache, enough that making a list of them costs nothing beside them.
pub const RUN_RECORDS: usize = 256;

/// The records of a partition, or a part of them, which nobody changes any more. Cheap to clone, also without the interpreter's lock.
#[derive(Clone)]
pub enum Block {
    /// A Python list.
    List(Arc<Py<PyList>>),
    /// Kafka's records, of which Python objects are made when they are read, each time anew.
    Unread(Arc<Unread>),
}

impl Block {
    /// Takes a list over.
    pub fn new(list: &Bound<'_, PyList>) -> Block {
        Block::List(Arc::new(list.clone().unbind()))
    }

    /// All records as a list.
    pub fn list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        match self {
            Block::List(list) => Ok(list.bind(py).clone()),
            Block::Unread(unread) => Ok(unread.cursor().next_run(py, usize::MAX)?.unwrap_or_else(|| PyList::empty(py))),
        }
    }
}

/// One list of all records: the list itself where there is but one block.
pub fn join<'py>(py: Python<'py>, blocks: &[Block]) -> PyResult<Bound<'py, PyList>> {
    match blocks {
        [only] => only.list(py),
        _ => {
            let joined = PyList::empty(py);
            for block in blocks {
                joined.call_method1("extend", (block.list(py)?,))?;
            }
            Ok(joined)
        }
    }
}

/// What a function of a block is given: an iterable of lists that hold the records in order.
pub fn runs<'py>(py: Python<'py>, blocks: Vec<Block>) -> PyResult<Bound<'py, PyAny>> {
    let lists = PyList::empty(py);
    for block in &blocks {
        match block {
            Block::List(list) => lists.append(list.bind(py))?,
            Block::Unread(_) => {
                let state = RunsState { blocks: blocks.into_iter(), reading: None };
                return Ok(Bound::new(py, Runs(Mutex::new(state)))?.into_any());
            }
        }
    }
    Ok(lists.into_any())
}

/// Iterator over the runs of blocks.
#[pyclass(name = "Runs", module = "_tidemill", frozen)]
pub struct Runs(Mutex<RunsState>);

struct RunsState {
    blocks: std::vec::IntoIter<Block>,
    reading: Option<Cursor>,
}

#[pymethods]
impl Runs {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        // Two threads of a program that share the iterator must not wait for each other with the interpreter's lock in hand.
        let Some(mut state) = self.0.try_lock() else {
            return Err(PyRuntimeError::new_err("the records of a partition are being read by another thread"));
        };
        loop {
            if let Some(cursor) = &mut state.reading
                && let Some(run) = cursor.next_run(py, RUN_RECORDS)?
            {
                return Ok(Some(run));
            }
            match state.blocks.next() {
                Some(Block::List(list)) => return Ok(Some(list.bind(py).clone())),
                Some(Block::Unread(unread)) => state.reading = Some(unread.cursor()),
                None => return Ok(None),
            }
        }
    }
}

/// An exception inside the engine: it leaves it as the exception it was.
pub struct PythonError(PyErr);

impl fmt::Debug for PythonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for PythonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for PythonError {}

/// Runs a call into Python that the engine makes; tasks call [`crate::turn::in_task`]. Fails where the interpreter is going away.
pub fn in_python<T>(call: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T, TaskError> {
    Python::try_attach(|py| call(py).map_err(|error| TaskError::from(PythonError(error))))
        .unwrap_or_else(|| Err(TaskError::message("the Python interpreter is ending")))
}

/// Where an exception of a task bears what Spark says of the job, for those who show it.
const FAILURE_ATTRIBUTE: &str = "_spark_failure";

/// The exception that an error of the engine stands for: the user's own where there is one within, else a RuntimeError with its text.
pub fn raise(py: Python<'_>, error: impl Into<TaskError>) -> PyErr {
    let error = error.into();
    let raised = match error.find::<PythonError>() {
        Some(PythonError(original)) => original.clone_ref(py),
        None => PyRuntimeError::new_err(error.to_string()),
    };
    if let Some(JobError::Task { partition, .. }) = error.find::<JobError>() {
        let failure = format!("Job aborted due to stage failure: Task {partition} failed 1 times");
        // An exception that takes no attributes is shown without.
        let _ = raised.value(py).setattr(FAILURE_ATTRIBUTE, failure);
    }
    raised
}
