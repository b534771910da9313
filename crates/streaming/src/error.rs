//! What can go wrong, and how it travels: a user's function fails with a [`TaskError`], a job with a [`JobError`], a program with a
//! [`StreamingError`].
//!
//! Always true: the user's own error is never lost on the way. Whatever wraps it, [`TaskError::find`] and [`StreamingError::find`] get the
//! original back by its type, so that a Python exception leaves `await_termination` as the exception it was.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::time::Time;

/// Why one partition could not be computed: any error of the user's function or of a source. Cheap to clone.
///
/// Like `anyhow::Error` it is made from every error by `?` and is itself not an [`Error`].
#[derive(Clone)]
pub struct TaskError(Arc<dyn Error + Send + Sync>);

impl TaskError {
    /// An error that is a sentence.
    #[must_use]
    pub fn message(text: impl Into<String>) -> TaskError {
        TaskError(Arc::new(Message(text.into())))
    }

    /// The error within.
    #[must_use]
    pub fn as_error(&self) -> &(dyn Error + 'static) {
        &*self.0
    }

    /// The first error of type `E` in the chain of causes.
    #[must_use]
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        find(self.as_error())
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for TaskError {
    fn from(error: E) -> TaskError {
        TaskError(Arc::new(error))
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[derive(Debug)]
struct Message(String);

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Message {}

/// Longest chain of causes that is followed.
const CAUSES_MAX: usize = 64;

fn find<'a, E: Error + 'static>(outermost: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut error = outermost;
    for _ in 0..CAUSES_MAX {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        error = error.source()?;
    }
    None
}

/// Why an action (`collect`, `count`, ...) gave no result.
#[derive(Debug, Clone)]
pub enum JobError {
    /// A task failed; tasks of the job that had not started yet never did.
    Task {
        /// The partition it computed.
        partition: usize,
        /// What the function or source said.
        error: TaskError,
    },
    /// Somebody cancelled the job.
    Cancelled,
    /// The context is stopped.
    Stopped,
    /// The job was asked for a partition that its RDD does not have.
    NoSuchPartition {
        /// The partition.
        partition: usize,
        /// How many the RDD has.
        partitions: usize,
    },
    /// An action was called by a task: it would wait for threads that wait for it.
    InsideTask,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Task { partition, error } => write!(f, "task for partition {partition} failed: {error}"),
            JobError::Cancelled => f.write_str("job was cancelled"),
            JobError::Stopped => f.write_str("cannot run a job on a stopped SparkContext"),
            JobError::NoSuchPartition { partition, partitions } => {
                write!(f, "no partition {partition} in an RDD of {partitions}")
            }
            JobError::InsideTask => f.write_str(
                "RDD actions can only be invoked by the driver, not inside of other transformations (see SPARK-5063)",
            ),
        }
    }
}

impl Error for JobError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            JobError::Task { error, .. } => Some(error.as_error()),
            _ => None,
        }
    }
}

/// What a streaming program is told.
#[derive(Clone)]
pub enum StreamingError {
    /// An output operation of a batch failed. Later batches go on.
    Job {
        /// The batch.
        time: Time,
        /// Name of the output operation.
        output: String,
        /// What failed.
        error: TaskError,
    },
    /// The RDDs of a batch could not be made: a function given to `transform` failed, or a source did. Later batches go on.
    Generate {
        /// The batch.
        time: Time,
        /// What failed.
        error: TaskError,
    },
    /// A source could not be started.
    Source {
        /// Name of the source.
        name: String,
        /// What failed.
        error: TaskError,
    },
    /// The program asked for something that cannot be: a window that is no multiple of the batch, a stream added after start.
    Invalid(String),
    /// The context is already stopped.
    Stopped,
    /// The machine refused a thread.
    Thread(Arc<io::Error>),
}

impl StreamingError {
    pub(crate) fn invalid(text: impl Into<String>) -> StreamingError {
        StreamingError::Invalid(text.into())
    }

    /// The first error of type `E` in the chain of causes.
    #[must_use]
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        find(self)
    }
}

/// The same text as for people, because it is what a `main` that returns the error prints.
impl fmt::Debug for StreamingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StreamingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamingError::Job { time, output, error } => write!(f, "error running {output} of batch {time}: {error}"),
            StreamingError::Generate { time, error } => write!(f, "error generating jobs for batch {time}: {error}"),
            StreamingError::Source { name, error } => write!(f, "cannot start {name}: {error}"),
            StreamingError::Invalid(text) => f.write_str(text),
            StreamingError::Stopped => f.write_str("StreamingContext has already been stopped"),
            StreamingError::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl Error for StreamingError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StreamingError::Job { error, .. }
            | StreamingError::Generate { error, .. }
            | StreamingError::Source { error, .. } => Some(error.as_error()),
            StreamingError::Thread(error) => Some(&**error),
            StreamingError::Invalid(_) | StreamingError::Stopped => None,
        }
    }
}

/// Answer of a consumer of records: go on, or halt.
pub type Step = Result<(), Halt>;

/// Why a partition's run ends before its last record. One pointer wide, because it is tested after every record.
#[derive(Debug)]
pub struct Halt(Box<Reason>);

#[derive(Debug)]
enum Reason {
    Enough,
    Failed(TaskError),
}

impl Halt {
    /// The consumer wants no more, as `take` does.
    #[must_use]
    pub fn enough() -> Halt {
        Halt(Box::new(Reason::Enough))
    }

    /// The failure, or nothing where the consumer simply had enough.
    ///
    /// # Errors
    /// The failure.
    pub fn into_result(self) -> Result<(), TaskError> {
        match *self.0 {
            Reason::Enough => Ok(()),
            Reason::Failed(error) => Err(error),
        }
    }
}

impl From<TaskError> for Halt {
    fn from(error: TaskError) -> Halt {
        Halt(Box::new(Reason::Failed(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Boom(u32);
    impl fmt::Display for Boom {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "boom {}", self.0)
        }
    }
    impl Error for Boom {}

    #[test]
    fn the_users_error_comes_out_of_every_wrapper() {
        let job = JobError::Task { partition: 3, error: Boom(7).into() };
        let outer = StreamingError::Job { time: Time::from_ms(1000), output: "print".into(), error: job.into() };
        assert_eq!(outer.find::<Boom>().unwrap().0, 7);
        assert!(outer.to_string().contains("boom 7"), "{outer}");
    }

    #[test]
    fn halt_is_one_pointer() {
        assert_eq!(std::mem::size_of::<Step>(), std::mem::size_of::<usize>());
    }
}
