//! `Context` and `Rdd`: what the package's SparkContext and RDD hold.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use streaming::{Rdd, SparkContext};

use crate::arguments::{ITEMS_MAX, Items};
use crate::block::{Block, join, raise, runs};
use crate::dstream::explain;
use crate::kafka::{self, Params, Shape};
use crate::turn::in_task;

/// The executor.
#[pyclass(name = "Context", module = "_tidemill", frozen)]
pub struct PyContext(pub SparkContext);

/// An RDD of blocks.
#[pyclass(name = "Rdd", module = "_tidemill", frozen)]
#[derive(Clone)]
pub struct PyRdd(pub Rdd<Block>);

#[pymethods]
impl PyContext {
    #[new]
    fn new(py: Python<'_>, threads: usize, app_name: &str) -> PyResult<PyContext> {
        SparkContext::new(&format!("local[{threads}]"), app_name).map(PyContext).map_err(|error| raise(py, error))
    }

    /// Threads that run tasks.
    #[getter]
    fn threads(&self) -> usize {
        self.0.default_parallelism()
    }

    /// An RDD of lists, one a partition.
    fn parallelize(&self, blocks: Items<Bound<'_, PyList>>) -> PyRdd {
        PyRdd(self.0.from_partitions(blocks.0.iter().map(|list| vec![Block::new(list)]).collect()))
    }

    /// The records of (topic, partition, from offset, until offset).
    fn kafka_rdd(
        &self,
        py: Python<'_>,
        params: Params,
        ranges: Items<(String, i32, i64, i64)>,
        key_decoder: Option<Py<PyAny>>,
        value_decoder: Option<Py<PyAny>>,
        with_metadata: bool,
    ) -> PyResult<PyRdd> {
        let made = kafka::rdd(&self.0, params, ranges.0, &Shape::new(key_decoder, value_decoder, with_metadata));
        made.map(PyRdd).map_err(|error| explain(py, error))
    }

    /// Cancels the jobs under way: none of their waiting tasks starts.
    fn cancel_all_jobs(&self) {
        self.0.cancel_all_jobs();
    }

    /// Refuses further jobs and cancels those under way.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }
}

#[pymethods]
impl PyRdd {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id()
    }

    #[getter]
    fn num_partitions(&self) -> usize {
        self.0.num_partitions()
    }

    fn persist(&self) {
        self.0.persist();
    }

    fn unpersist(&self) {
        self.0.unpersist();
    }

    /// `function(partition, lists)` gives the list of the partition's records after it; the lists hold those before it, in order.
    fn map_blocks(&self, function: Py<PyAny>) -> PyRdd {
        PyRdd(self.0.map_partitions_with_index(move |partition, blocks| {
            in_task(|py| {
                let result = function.bind(py).call1((partition, runs(py, blocks)?))?;
                Ok(vec![Block::new(result.cast::<PyList>()?)])
            })
        }))
    }

    /// The partitions of this RDD, then those of the others.
    fn union(&self, others: Items<PyRef<'_, PyRdd>>) -> PyRdd {
        let rdds: Vec<Rdd<Block>> =
            std::iter::once(self.0.clone()).chain(others.0.iter().map(|rdd| rdd.0.clone())).collect();
        PyRdd(self.0.context().union(&rdds))
    }

    /// At most `partitions` partitions, each a run of the present ones.
    fn coalesce(&self, partitions: usize) -> PyRdd {
        PyRdd(self.0.coalesce(partitions))
    }

    /// `function(partition, lists)` gives `partitions` lists; list `i` goes to partition `i`, in the order of the partitions it comes from.
    fn shuffle(&self, partitions: usize, function: Py<PyAny>) -> PyResult<PyRdd> {
        if partitions > ITEMS_MAX {
            return Err(PyValueError::new_err(format!("more than {ITEMS_MAX} partitions")));
        }
        let dealt = self.0.map_partitions_with_index(move |partition, blocks| {
            in_task(|py| {
                let lists = function.bind(py).call1((partition, runs(py, blocks)?))?;
                let lists = lists.cast::<PyList>()?;
                if lists.len() != partitions {
                    let text = format!("a shuffle into {partitions} partitions was given {} lists", lists.len());
                    return Err(PyTypeError::new_err(text));
                }
                let mut buckets = Vec::new();
                for (target, list) in lists.iter().enumerate() {
                    let list = list.cast_into::<PyList>()?;
                    if !list.is_empty() {
                        buckets.push((target, Block::new(&list)));
                    }
                }
                Ok(buckets)
            })
        });
        Ok(PyRdd(dealt.partition_by(partitions, |(target, _)| Ok(*target)).map(|(_, block)| block)))
    }

    /// `function(partition, list, other list)` for each partition of two RDDs with as many partitions.
    fn zip(&self, other: PyRef<'_, PyRdd>, function: Py<PyAny>) -> PyRdd {
        let side = |rdd: &Rdd<Block>, right: bool| {
            rdd.map_partitions_with_index(move |partition, blocks| {
                in_task(|py| Ok(vec![(partition, right, Block::new(&join(py, &blocks)?))]))
            })
        };
        let both = self.0.context().union(&[side(&self.0, false), side(&other.0, true)]);
        let pairs = both.partition_by(self.0.num_partitions(), |(partition, _, _)| Ok(*partition));
        PyRdd(pairs.map_partitions_with_index(move |partition, parts| {
            in_task(|py| {
                let side = |wanted: bool| {
                    let found = parts.iter().find(|(_, right, _)| *right == wanted);
                    found.map_or_else(|| Ok(PyList::empty(py)), |(_, _, block)| block.list(py))
                };
                let (left, right) = (side(false)?, side(true)?);
                let result = function.bind(py).call1((partition, left, right))?;
                Ok(vec![Block::new(result.cast::<PyList>()?)])
            })
        }))
    }

    /// Computes the named partitions and gives their lists.
    fn run<'py>(&self, py: Python<'py>, partitions: Items<usize>) -> PyResult<Vec<Bound<'py, PyList>>> {
        let rdd = self.0.clone();
        let done =
            py.detach(|| rdd.context().run_job(&rdd, &partitions.0, |rdd, partition, task| rdd.block(partition, task)));
        let blocks = done.map_err(|error| raise(py, error))?;
        blocks.iter().map(|blocks| join(py, blocks)).collect()
    }

    /// (topic, partition, from offset, until offset) of each partition of an RDD that a Kafka source made.
    fn offset_ranges(&self) -> PyResult<Vec<(String, i32, i64, i64)>> {
        let ranges = self.0.offset_ranges().ok_or_else(|| PyTypeError::new_err("this RDD was not read from Kafka"))?;
        Ok(ranges
            .iter()
            .map(|range| (range.topic.to_string(), range.partition, range.from_offset, range.until_offset))
            .collect())
    }
}
