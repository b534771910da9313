//! New files of a directory, and the lines or records within files.
//!
//! A batch takes the files whose time of last writing lies between the window's begin and the batch's time, and which no batch took before.
//! The window reaches back a minute (Spark's `spark.streaming.fileStream.minRememberDuration`) and never to before the stream was made: what
//! was there before is not new. Files must appear whole, by renaming; names that begin with `.` or `_` are not looked at.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use runtime::Disk;
use runtime::disk::Open;

use crate::context::StreamingContext;
use crate::dstream::{DStream, Generated};
use crate::error::{Halt, Step, StreamingError, TaskError};
use crate::rdd::{Data, Rdd, RddOp, Sink};
use crate::scheduler::stages::Dependency;
use crate::scheduler::{SparkContext, TaskContext};
use crate::sources::{Input, InputSource};
use crate::text::{LineCutter, Text, TextBlocks};
use crate::time::{Millis, Time};

/// How far back a file may have been written and still be new.
const REMEMBER: Millis = Millis::new(60_000);

/// Bytes of one read.
const READ_BYTES: usize = 1024 * 1024;

/// Longest record of [`StreamingContext::binary_records_stream`].
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How a file becomes records.
type ReadFile<T> = Arc<dyn Fn(&Path, &TaskContext, Sink<'_, T>) -> Step + Send + Sync>;

/// Files, a partition each.
struct Files<T> {
    paths: Vec<PathBuf>,
    read: ReadFile<T>,
}

impl<T: Data> RddOp<T> for Files<T> {
    fn partitions(&self) -> usize {
        self.paths.len()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        Vec::new()
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, T>) -> Step {
        (self.read)(&self.paths[partition], task, sink)
    }
}

struct FileSource<T> {
    directory: PathBuf,
    read: ReadFile<T>,
    /// What was written before is not new.
    made_ms: i64,
    remember: Millis,
    /// Files taken, by the batch that took them.
    taken: Mutex<BTreeMap<Time, Vec<PathBuf>>>,
}

impl<T: Data> FileSource<T> {
    fn new_files(&self, time: Time) -> std::io::Result<Vec<PathBuf>> {
        let disk = Disk::real();
        let mut taken = self.taken.lock();
        let kept = taken.split_off(&(time - self.remember));
        *taken = kept;
        let recent: HashSet<&PathBuf> = taken.values().flatten().collect();
        let after = self.made_ms.max((time - self.remember).ms());
        let mut files = Vec::new();
        for entry in disk.read_dir(&self.directory)? {
            let name = entry.name.to_string_lossy();
            if entry.is_dir || name.starts_with(['.', '_']) || recent.contains(&entry.path) {
                continue;
            }
            match disk.modified_ms(&entry.path) {
                Ok(modified) if modified > after && modified <= time.ms() => files.push(entry.path),
                // Not new, or of a later batch.
                Ok(_other) => {}
                // Gone again since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        taken.insert(time, files.clone());
        Ok(files)
    }
}

impl<T: Data> InputSource<T> for FileSource<T> {
    fn name(&self) -> String {
        format!("file stream of {}", self.directory.display())
    }

    fn compute(&self, spark: &SparkContext, time: Time, input: &mut Input) -> Generated<T> {
        let paths = self.new_files(time).unwrap_or_else(|error| {
            tracing::warn!("cannot look for new files in {}: {error}", self.directory.display());
            Vec::new()
        });
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        input.description = names.join("\n");
        Ok(Some(Rdd::from_op(spark, Files { paths, read: self.read.clone() })))
    }
}

impl StreamingContext {
    /// The lines of files that appear in a directory.
    pub fn text_file_stream(&self, directory: &Path) -> DStream<Text> {
        self.file_stream(directory, Arc::new(read_lines))
    }

    /// The records, of `record_length` bytes each, of files that appear in a directory.
    ///
    /// # Errors
    /// A length of 0 or of more than 64 MiB.
    pub fn binary_records_stream(
        &self,
        directory: &Path,
        record_length: usize,
    ) -> Result<DStream<Bytes>, StreamingError> {
        if !(1..=RECORD_BYTES_MAX).contains(&record_length) {
            return Err(StreamingError::invalid(format!(
                "record length {record_length} is not in 1..={RECORD_BYTES_MAX}"
            )));
        }
        Ok(self.file_stream(directory, Arc::new(move |path, task, sink| read_records(path, record_length, task, sink))))
    }

    fn file_stream<T: Data>(&self, directory: &Path, read: ReadFile<T>) -> DStream<T> {
        // The window is a whole number of batches, at least one.
        let batch = self.batch_interval();
        let batches = (REMEMBER.get() + batch.get() - 1) / batch.get();
        self.input_stream(FileSource {
            directory: directory.to_owned(),
            read,
            made_ms: self.inner().clock.now_ms(),
            remember: Millis::new(batches * batch.get()),
            taken: Mutex::default(),
        })
    }
}

impl SparkContext {
    /// The lines of a file, or of all files of a directory, a partition each.
    ///
    /// # Errors
    /// Where the path cannot be read.
    pub fn text_file(&self, path: &Path) -> std::io::Result<Rdd<Text>> {
        let disk = Disk::real();
        let paths = match disk.read_dir(path) {
            Ok(entries) => {
                let hidden = |name: &std::ffi::OsString| name.to_string_lossy().starts_with(['.', '_']);
                entries.into_iter().filter(|e| !e.is_dir && !hidden(&e.name)).map(|e| e.path).collect()
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => vec![path.to_owned()],
            Err(error) => return Err(error),
        };
        Ok(Rdd::from_op(self, Files { paths, read: Arc::new(read_lines) }))
    }
}

fn read_lines(path: &Path, task: &TaskContext, sink: Sink<'_, Text>) -> Step {
    let mut cutter = LineCutter::default();
    read_pieces(path, READ_BYTES, task, &mut |piece| {
        let mut blocks = TextBlocks::default();
        cutter.cut(piece, &mut blocks);
        blocks.finish().into_iter().try_for_each(&mut *sink)
    })?;
    let mut blocks = TextBlocks::default();
    cutter.end(&mut blocks);
    blocks.finish().into_iter().try_for_each(sink)
}

fn read_records(path: &Path, record_length: usize, task: &TaskContext, sink: Sink<'_, Bytes>) -> Step {
    let piece_length = (READ_BYTES / record_length).max(1) * record_length;
    read_pieces(path, piece_length, task, &mut |piece| {
        if !piece.len().is_multiple_of(record_length) {
            let text = format!("{} does not end with a whole record of {record_length} bytes", path.display());
            return Err(TaskError::message(text).into());
        }
        let piece = Bytes::copy_from_slice(piece);
        (0..piece.len()).step_by(record_length).try_for_each(|at| sink(piece.slice(at..at + record_length)))
    })
}

/// Reads a file in pieces of `length`; only the last may be shorter.
fn read_pieces(path: &Path, length: usize, task: &TaskContext, sink: &mut dyn FnMut(&[u8]) -> Step) -> Step {
    let failed = |error: std::io::Error| {
        Halt::from(TaskError::from(std::io::Error::new(error.kind(), format!("read {}: {error}", path.display()))))
    };
    let file = Disk::real().open(path, Open::Read).map_err(failed)?;
    let mut buffer = vec![0; length];
    let mut position = 0;
    loop {
        task.check()?;
        let count = file.read_at(&mut buffer, position).map_err(failed)?;
        if count == 0 {
            return Ok(());
        }
        sink(&buffer[..count])?;
        position += count as u64;
    }
}
