//! Actions: they run a job and give its result. All of them block, and must not be called inside a task.

use crate::error::{Halt, JobError, TaskError};
use crate::rdd::{Data, Rdd};

/// `take` reads this many times more partitions in each further job, as Spark does.
const TAKE_SCALE_UP: usize = 4;

impl<T: Data> Rdd<T> {
    /// All records, in partition order.
    ///
    /// # Errors
    /// See [`JobError`]; the same holds for all actions.
    pub fn collect(&self) -> Result<Vec<T>, JobError> {
        let mut partitions = self.collect_partitions()?;
        Ok(if partitions.len() == 1 { partitions.remove(0) } else { partitions.into_iter().flatten().collect() })
    }

    /// All records, one `Vec` per partition.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn collect_partitions(&self) -> Result<Vec<Vec<T>>, JobError> {
        self.run_all(|rdd, partition, task| rdd.block(partition, task))
    }

    /// Number of records.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn count(&self) -> Result<u64, JobError> {
        let counts = self.run_all(|rdd, partition, task| {
            let mut count = 0u64;
            rdd.run(partition, task, &mut |_| {
                count += 1;
                Ok(())
            })
            .or_else(Halt::into_result)?;
            Ok(count)
        })?;
        Ok(counts.into_iter().sum())
    }

    /// The first `limit` records. Looks at the first partition, then at four times as many at a time until there are enough.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn take(&self, limit: usize) -> Result<Vec<T>, JobError> {
        let mut taken = Vec::new();
        let mut next = 0;
        while taken.len() < limit && next < self.num_partitions() {
            let count = if next == 0 { 1 } else { next * TAKE_SCALE_UP };
            let partitions: Vec<usize> = (next..self.num_partitions().min(next + count)).collect();
            next += count;
            let wanted = limit - taken.len();
            let found = self.context().run_job(self, &partitions, move |rdd, partition, task| {
                let mut found = Vec::new();
                rdd.run(partition, task, &mut |item| {
                    found.push(item);
                    if found.len() < wanted { Ok(()) } else { Err(Halt::enough()) }
                })
                .or_else(Halt::into_result)?;
                Ok(found)
            })?;
            taken.extend(found.into_iter().flatten().take(wanted));
        }
        Ok(taken)
    }

    /// The first record.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn first(&self) -> Result<Option<T>, JobError> {
        Ok(self.take(1)?.pop())
    }

    /// Whether there is no record; looks no further than the first.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn is_empty(&self) -> Result<bool, JobError> {
        Ok(self.take(1)?.is_empty())
    }

    /// All records merged by an associative function; `None` of an empty RDD.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn reduce(&self, merge: impl Fn(T, T) -> T + Send + Sync + 'static) -> Result<Option<T>, JobError> {
        let merge = std::sync::Arc::new(merge);
        let per_partition = merge.clone();
        let parts = self.run_all(move |rdd, partition, task| {
            let mut merged: Option<T> = None;
            rdd.run(partition, task, &mut |item| {
                merged = Some(match merged.take() {
                    Some(before) => per_partition(before, item),
                    None => item,
                });
                Ok(())
            })
            .or_else(Halt::into_result)?;
            Ok(merged)
        })?;
        Ok(parts.into_iter().flatten().reduce(|a, b| merge(a, b)))
    }

    /// Calls `function` with each record, for what it does.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn foreach(
        &self,
        function: impl Fn(T) -> Result<(), TaskError> + Send + Sync + 'static,
    ) -> Result<(), JobError> {
        self.run_all(move |rdd, partition, task| {
            rdd.run(partition, task, &mut |item| Ok(function(item)?)).or_else(Halt::into_result)
        })?;
        Ok(())
    }

    /// Calls `function` once with each whole partition.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn foreach_partition(
        &self,
        function: impl Fn(usize, Vec<T>) -> Result<(), TaskError> + Send + Sync + 'static,
    ) -> Result<(), JobError> {
        self.run_all(move |rdd, partition, task| function(partition, rdd.block(partition, task)?))?;
        Ok(())
    }

    /// Computes every partition and drops the records: fills caches and runs the shuffles on the way.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn materialize(&self) -> Result<(), JobError> {
        self.run_all(|rdd, partition, task| rdd.run(partition, task, &mut |_| Ok(())).or_else(Halt::into_result))?;
        Ok(())
    }

    fn run_all<R: Send + 'static>(
        &self,
        function: impl Fn(&Rdd<T>, usize, &crate::scheduler::TaskContext) -> Result<R, TaskError> + Send + Sync + 'static,
    ) -> Result<Vec<R>, JobError> {
        let partitions: Vec<usize> = (0..self.num_partitions()).collect();
        self.context().run_job(self, &partitions, function)
    }
}
