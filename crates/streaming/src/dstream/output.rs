//! Output operations: what a program does with its batches. Without one there is nothing to run.

use std::fmt::{Debug, Display, Write as _};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use crate::dstream::DStream;
use crate::dstream::graph::JobBody;
use crate::error::TaskError;
use crate::rdd::{Data, Rdd};
use crate::time::Time;

/// Records that `print` shows.
const PRINT_RECORDS: usize = 10;

/// The line above and below the time.
const RULE: &str = "-------------------------------------------";

impl<T: Data> DStream<T> {
    /// Calls `function` with the RDD of each batch, for what it does. It runs in the program's own order, one batch after the other.
    pub fn foreach_rdd(&self, function: impl Fn(Rdd<T>, Time) -> Result<(), TaskError> + Send + Sync + 'static) {
        self.output("foreachRDD", function);
    }

    fn output(&self, name: &str, function: impl Fn(Rdd<T>, Time) -> Result<(), TaskError> + Send + Sync + 'static) {
        if !self.context().check_open() {
            return;
        }
        let (stream, function) = (self.clone(), Arc::new(function));
        let make = move |time| {
            let rdd = stream.get_or_compute(time)?;
            let function = function.clone();
            Ok(rdd.map(|rdd| Box::new(move || function(rdd, time)) as JobBody))
        };
        self.context().inner().graph.add_output(name, self.as_any(), Box::new(make));
    }
}

impl<T: Data + Debug> DStream<T> {
    /// Prints the first ten records of each batch, under its time.
    pub fn print(&self) {
        self.print_first(PRINT_RECORDS);
    }

    /// Prints the first `limit` records of each batch, under its time, in the block of PySpark's `pprint`.
    pub fn print_first(&self, limit: usize) {
        self.output("print", move |rdd, time| {
            let records = rdd.take(limit.saturating_add(1))?;
            match io::stdout().lock().write_all(block(time, &records, limit).as_bytes()) {
                // Nobody reads any more: no reason to fail.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                written => Ok(written?),
            }
        });
    }
}

impl<T: Data + Display> DStream<T> {
    /// Writes each batch as text files into the directory `<prefix>-<milliseconds>`, or `<prefix>-<milliseconds>.<suffix>`.
    pub fn save_as_text_files(&self, prefix: &str, suffix: Option<&str>) {
        let (prefix, suffix) = (prefix.to_owned(), suffix.map(ToOwned::to_owned));
        self.output("saveAsTextFiles", move |rdd, time| {
            let mut directory = format!("{prefix}-{}", time.ms());
            if let Some(suffix) = suffix.as_deref().filter(|suffix| !suffix.is_empty()) {
                directory = format!("{directory}.{suffix}");
            }
            rdd.save_as_text_file(&PathBuf::from(directory))
        });
    }
}

/// What is printed of a batch.
fn block<T: Debug>(time: Time, records: &[T], limit: usize) -> String {
    let mut text = format!("{RULE}\nTime: {}\n{RULE}\n", time.to_local());
    for record in records.iter().take(limit) {
        let _ = writeln!(text, "{record:?}");
    }
    if records.len() > limit {
        text.push_str("...\n");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_that_of_pprint() {
        let check = |records: &[(&str, i32)], limit: usize, expected: &str| {
            let time = Time::from_ms(1_700_000_000_000);
            let head = format!("{}\nTime: {}\n{}\n", "-".repeat(43), time.to_local(), "-".repeat(43));
            assert_eq!(block(time, records, limit), head + expected);
        };
        check(&[], 10, "\n");
        check(&[("to", 2)], 10, "(\"to\", 2)\n\n");
        check(&[("to", 2), ("be", 2)], 1, "(\"to\", 2)\n...\n\n");
    }

    #[test]
    fn the_time_is_local_and_in_whole_seconds() {
        let text = Time::from_ms(1_700_000_000_999).to_local();
        assert_eq!(text.len(), "2023-11-14 22:13:20".len());
        assert!(text.starts_with("2023-11-1"), "{text}");
    }
}
