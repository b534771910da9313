//! The way out of a connection: the owner puts frames in, the connection's writer takes them. Never blocks the owner; what piles up is counted, and a client that does not
//! read is first read from no more and then cut off.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

/// Bytes waiting for a client beyond which nothing more is read from it.
pub(crate) const QUEUED_BYTES_PAUSE: usize = 4 << 20;

/// Bytes waiting for a client beyond which it is cut off: it has stopped reading.
pub(crate) const QUEUED_BYTES_MAX: usize = 128 << 20;

/// What the writer is given.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Bytes(Bytes),
    /// Send what is waiting, then close.
    Close,
}

/// The owner's end of one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    sender: mpsc::UnboundedSender<Outgoing>,
    queued_bytes: AtomicUsize,
    /// Wakes the reader when bytes have left.
    drained: Notify,
    /// Tells both halves to end at once.
    cut: Notify,
}

/// Frames for one connection, ready to leave.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) outbox: std::sync::Arc<Outbox>,
    pub(crate) bytes: Bytes,
    /// Whether the connection ends behind them.
    pub(crate) close: bool,
}

impl Delivery {
    /// Hands the frames to the writer. A writer that is gone has nobody to write to.
    pub(crate) fn deliver(self) {
        let queued = self.outbox.queued_bytes.fetch_add(self.bytes.len(), Ordering::Relaxed) + self.bytes.len();
        if queued > QUEUED_BYTES_MAX {
            self.outbox.cut();
            return;
        }
        if !self.bytes.is_empty() {
            let _ = self.outbox.sender.send(Outgoing::Bytes(self.bytes));
        }
        if self.close {
            let _ = self.outbox.sender.send(Outgoing::Close);
        }
    }
}

impl Outbox {
    pub(crate) fn new() -> (Outbox, mpsc::UnboundedReceiver<Outgoing>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Outbox { sender, queued_bytes: AtomicUsize::new(0), drained: Notify::new(), cut: Notify::new() }, receiver)
    }

    /// Bytes that wait to be written.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    /// Ends the connection without waiting for the client to read.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }

    /// Resumes when [`Outbox::cut`] has been called.
    pub(crate) async fn until_cut(&self) {
        self.cut.notified().await;
    }

    /// Notes that bytes have left.
    pub(crate) fn written(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.drained.notify_one();
    }

    /// Resumes when the client has read enough for more of its requests to be taken.
    pub(crate) async fn until_readable(&self) {
        while self.queued_bytes() > QUEUED_BYTES_PAUSE {
            self.drained.notified().await;
        }
    }
}
