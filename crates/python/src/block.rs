//! Blocks, and Python's exceptions on their way through the engine and back.

use std::fmt;
use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use streaming::TaskError;

/// The records of a partition, or a part of them: a Python list that nobody changes any more. Cheap to clone, also without the
/// interpreter's lock.
#[derive(Clone)]
pub struct Block(Arc<Py<PyList>>);

impl Block {
    /// Takes a list over.
    pub fn new(list: &Bound<'_, PyList>) -> Block {
        Block(Arc::new(list.clone().unbind()))
    }

    /// The list.
    pub fn list<'py>(&self, py: Python<'py>) -> &Bound<'py, PyList> {
        self.0.bind(py)
    }
}

/// One list of all records: the list itself where there is but one block.
pub fn join<'py>(py: Python<'py>, blocks: &[Block]) -> PyResult<Bound<'py, PyList>> {
    match blocks {
        [only] => Ok(only.list(py).clone()),
        _ => {
            let joined = PyList::empty(py);
            for block in blocks {
                joined.call_method1("extend", (block.list(py),))?;
            }
            Ok(joined)
        }
    }
}

/// An exception inside the engine: it leaves it as the exception it was.
pub struct PythonError(PyErr);

impl PythonError {
    /// Takes an exception over.
    pub fn new(exception: PyErr) -> PythonError {
        PythonError(exception)
    }
}

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

/// The exception that an error of the engine stands for: the user's own where there is one within, else a RuntimeError with its text.
pub fn raise(py: Python<'_>, error: impl Into<TaskError>) -> PyErr {
    let error = error.into();
    match error.find::<PythonError>() {
        Some(PythonError(original)) => original.clone_ref(py),
        None => PyRuntimeError::new_err(error.to_string()),
    }
}
