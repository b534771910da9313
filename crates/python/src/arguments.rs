//! Arguments that hold many items.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// Most items an argument may hold: partitions, topics, streams. More is a mistake of the caller.
pub const ITEMS_MAX: usize = 1 << 20;

/// The items of any iterable but a text. PyO3's own `Vec` takes the memory that `len()` asks for before it looks at an item, and a wrong one ends the process.
pub struct Items<T>(pub Vec<T>);

impl<'py, T: for<'a> FromPyObject<'a, 'py>> FromPyObject<'_, 'py> for Items<T> {
    type Error = PyErr;

    fn extract(argument: Borrowed<'_, 'py, PyAny>) -> PyResult<Items<T>> {
        if argument.is_instance_of::<PyString>() || argument.is_instance_of::<PyBytes>() {
            return Err(PyTypeError::new_err("a list was expected, not a text"));
        }
        let mut items = Vec::new();
        for item in argument.try_iter()? {
            if items.len() == ITEMS_MAX {
                return Err(PyValueError::new_err(format!("more than {ITEMS_MAX} items")));
            }
            items.push(item?.extract::<T>().map_err(Into::into)?);
        }
        Ok(Items(items))
    }
}
