//! A fixed number of threads that run tasks in the order they were handed in. Waiting tasks are bounded by the partitions of the jobs under
//! way, because a job hands in one stage at a time.

use std::io;

use crossbeam_channel::{Sender, unbounded};

type Work = Box<dyn FnOnce() + Send>;

/// Ends its threads when dropped, after the tasks they are running.
pub(crate) struct Pool {
    work: Sender<Work>,
}

impl Pool {
    pub(crate) fn start(threads: usize) -> io::Result<Pool> {
        let (work, waiting) = unbounded::<Work>();
        for number in 0..threads {
            let waiting = waiting.clone();
            // Not joined: the last handle on the pool may be dropped by one of its own threads.
            runtime::thread(format!("task-{number}"), move || {
                for work in waiting {
                    work();
                }
            })?;
        }
        Ok(Pool { work })
    }

    pub(crate) fn run(&self, work: Work) {
        // The threads end only when the sender is gone, and a task's panic is caught before it reaches them.
        self.work.send(work).expect("the pool lives as long as its sender");
    }
}
