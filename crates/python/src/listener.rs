//! The engine's events as dicts. -1 stands for what is not known yet, as in Spark's own Java objects.

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use streaming::StreamingListener;
use streaming::listener::{BatchInfo, OutputOperationInfo, ReceiverInfo};

/// Calls `function(event name, dict)`.
pub struct PythonListener(Py<PyAny>);

impl PythonListener {
    /// Wraps the function.
    pub fn new(function: Py<PyAny>) -> PythonListener {
        PythonListener(function)
    }

    fn tell(&self, event: &str, values: impl FnOnce(Python<'_>) -> PyResult<Bound<'_, PyDict>>) {
        // Where the interpreter is going away nobody is left to be told.
        let _ = Python::try_attach(|py| {
            let told = values(py).and_then(|values| self.0.bind(py).call1((event, values)));
            if let Err(error) = told {
                // A listener's mistake is shown and does not stop the batches. (Printing a SystemExit would end the process on the spot.)
                if error.is_instance_of::<PySystemExit>(py) {
                    error.write_unraisable(py, Some(self.0.bind(py)));
                } else {
                    error.print(py);
                }
            }
        });
    }
}

impl StreamingListener for PythonListener {
    fn on_streaming_started(&self, time_ms: i64) {
        self.tell("StreamingStarted", |py| {
            let values = PyDict::new(py);
            values.set_item("time", time_ms)?;
            Ok(values)
        });
    }

    fn on_receiver_started(&self, info: &ReceiverInfo) {
        self.tell("ReceiverStarted", |py| receiver(py, info));
    }

    fn on_receiver_error(&self, info: &ReceiverInfo) {
        self.tell("ReceiverError", |py| receiver(py, info));
    }

    fn on_receiver_stopped(&self, info: &ReceiverInfo) {
        self.tell("ReceiverStopped", |py| receiver(py, info));
    }

    fn on_batch_submitted(&self, info: &BatchInfo) {
        self.tell("BatchSubmitted", |py| batch(py, info));
    }

    fn on_batch_started(&self, info: &BatchInfo) {
        self.tell("BatchStarted", |py| batch(py, info));
    }

    fn on_batch_completed(&self, info: &BatchInfo) {
        self.tell("BatchCompleted", |py| batch(py, info));
    }

    fn on_output_operation_started(&self, info: &OutputOperationInfo) {
        self.tell("OutputOperationStarted", |py| operation(py, info));
    }

    fn on_output_operation_completed(&self, info: &OutputOperationInfo) {
        self.tell("OutputOperationCompleted", |py| operation(py, info));
    }
}

fn receiver<'py>(py: Python<'py>, info: &ReceiverInfo) -> PyResult<Bound<'py, PyDict>> {
    let values = PyDict::new(py);
    values.set_item("streamId", info.stream_id)?;
    values.set_item("name", &info.name)?;
    values.set_item("active", info.active)?;
    values.set_item("location", &info.location)?;
    values.set_item("executorId", "driver")?;
    values.set_item("lastErrorMessage", &info.last_error_message)?;
    values.set_item("lastError", &info.last_error)?;
    values.set_item("lastErrorTime", info.last_error_time)?;
    Ok(values)
}

fn batch<'py>(py: Python<'py>, info: &BatchInfo) -> PyResult<Bound<'py, PyDict>> {
    let values = PyDict::new(py);
    values.set_item("batchTime", info.batch_time.ms())?;
    values.set_item("submissionTime", info.submission_time)?;
    values.set_item("processingStartTime", info.processing_start_time.unwrap_or(-1))?;
    values.set_item("processingEndTime", info.processing_end_time.unwrap_or(-1))?;
    values.set_item("schedulingDelay", info.scheduling_delay().unwrap_or(-1))?;
    values.set_item("processingDelay", info.processing_delay().unwrap_or(-1))?;
    values.set_item("totalDelay", info.total_delay().unwrap_or(-1))?;
    values.set_item("numRecords", info.num_records())?;
    let inputs = PyDict::new(py);
    for (id, input) in &info.stream_id_to_input_info {
        let values = PyDict::new(py);
        values.set_item("inputStreamId", input.input_stream_id)?;
        values.set_item("numRecords", input.num_records)?;
        values.set_item("metadataDescription", &input.description)?;
        inputs.set_item(id, values)?;
    }
    values.set_item("streamIdToInputInfo", inputs)?;
    let operations = PyDict::new(py);
    for (id, info) in &info.output_operation_infos {
        operations.set_item(id, operation(py, info)?)?;
    }
    values.set_item("outputOperationInfos", operations)?;
    Ok(values)
}

fn operation<'py>(py: Python<'py>, info: &OutputOperationInfo) -> PyResult<Bound<'py, PyDict>> {
    let values = PyDict::new(py);
    values.set_item("batchTime", info.batch_time.ms())?;
    values.set_item("id", info.id)?;
    values.set_item("name", &info.name)?;
    values.set_item("description", &info.description)?;
    values.set_item("startTime", info.start_time.unwrap_or(-1))?;
    values.set_item("endTime", info.end_time.unwrap_or(-1))?;
    values.set_item("failureReason", &info.failure_reason)?;
    Ok(values)
}
