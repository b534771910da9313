//! The thread of the ZooKeeper session and the control task, apart from those that serve clients: a worker that waits for a slow disk never costs the session.

use crate::error::BrokerError;

/// The thread of the ZooKeeper session and the control task.
pub struct ControlThread {
    /// Where its tasks are started.
    pub runtime: tokio::runtime::Handle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ControlThread {
    /// Starts the thread, with nothing to do.
    ///
    /// # Errors
    /// Where the machine has no thread left to give.
    pub fn start() -> Result<ControlThread, BrokerError> {
        let failed = |source| BrokerError::Io { action: "start the control thread".to_owned(), source };
        let runtime = runtime::spawn::current_thread().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = runtime::thread("broker-control", move || {
            // An error means that the broker was dropped, which ends the thread too.
            let _ = runtime.block_on(stopped);
        })
        .map_err(failed)?;
        Ok(ControlThread { runtime: handle, stop: Some(stop), thread: Some(thread) })
    }

    /// No thread: its tasks run on the current runtime. For simulators.
    #[must_use]
    pub fn none() -> ControlThread {
        ControlThread { runtime: tokio::runtime::Handle::current(), stop: None, thread: None }
    }

    /// Ends it and what runs on it.
    pub fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }

    /// Runs a step of the start on the control thread.
    ///
    /// # Errors
    /// Those of the step.
    pub async fn run<T: Send + 'static>(
        &self,
        step: impl Future<Output = Result<T, BrokerError>> + Send + 'static,
    ) -> Result<T, BrokerError> {
        self.runtime.spawn(step).await.unwrap_or_else(|failed| {
            Err(BrokerError::Io { action: "run the control thread".to_owned(), source: std::io::Error::other(failed) })
        })
    }
}
