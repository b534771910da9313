//! The job's pages: metrics and health on Spark's port.

use std::collections::HashMap;

use console::job::{JobUi, Settings};
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::dstream::PyStreamingContext;

/// A job that shows itself until it is stopped.
#[pyclass(name = "Ui", module = "_tidemill", frozen)]
pub struct PyUi(Mutex<Option<JobUi>>);

#[pymethods]
impl PyUi {
    /// Of a context that has not started, by Spark's properties.
    #[new]
    fn new(
        py: Python<'_>,
        context: PyRef<'_, PyStreamingContext>,
        conf: HashMap<String, String>,
        application_id: &str,
    ) -> PyResult<PyUi> {
        let settings = Settings::of(|key| conf.get(key).cloned()).map_err(PyValueError::new_err)?;
        let context = context.0.clone();
        Ok(PyUi(Mutex::new(py.detach(|| JobUi::serve(&context, &settings, application_id)))))
    }

    /// Where it answers; None where it does not.
    #[getter]
    fn url(&self) -> Option<String> {
        self.0.lock().as_ref().map(JobUi::url)
    }

    fn stop(&self, py: Python<'_>) {
        let served = self.0.lock().take();
        py.detach(|| drop(served));
    }
}
