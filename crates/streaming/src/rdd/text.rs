//! Text files out, in the layout of Hadoop's committer: `part-00000`, ... and an empty `_SUCCESS` once all parts are there.

use std::fmt::{Display, Write as _};
use std::io;
use std::path::Path;

use runtime::Disk;
use runtime::disk::Open;

use crate::error::{Halt, TaskError};
use crate::rdd::{Data, Rdd};

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;

impl<T: Data + Display> Rdd<T> {
    /// Writes each partition as `directory/part-NNNNN`, one line per record, and `directory/_SUCCESS` last. A part gets its name only when
    /// it is whole.
    ///
    /// # Errors
    /// Where `directory` is there already, where a file cannot be written, and where the job fails.
    pub fn save_as_text_file(&self, directory: &Path) -> Result<(), TaskError> {
        let disk = Disk::real();
        if disk.exists(directory) {
            let text = format!("Output directory {} already exists", directory.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text).into());
        }
        disk.create_dir_all(directory)?;
        let parts = directory.to_owned();
        let partitions: Vec<usize> = (0..self.num_partitions()).collect();
        self.context().run_job(self, &partitions, move |rdd, partition, task| {
            let unfinished = parts.join(format!("_temporary-{partition:05}"));
            let file = disk.open(&unfinished, Open::Truncate)?;
            let (mut buffer, mut position) = (String::new(), 0u64);
            rdd.run(partition, task, &mut |item| {
                // Writing to a String does not fail; a Display that does says so by itself.
                writeln!(buffer, "{item}").map_err(TaskError::from)?;
                if buffer.len() >= WRITE_BYTES {
                    file.write_all_at(buffer.as_bytes(), position).map_err(TaskError::from)?;
                    position += buffer.len() as u64;
                    buffer.clear();
                }
                Ok(())
            })
            .or_else(Halt::into_result)?;
            file.write_all_at(buffer.as_bytes(), position)?;
            disk.rename(&unfinished, &parts.join(format!("part-{partition:05}")))?;
            Ok(())
        })?;
        disk.open(&directory.join("_SUCCESS"), Open::Truncate)?;
        Ok(())
    }
}
