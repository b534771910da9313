//! The host of a simulated world that the current thread plays at the moment: where its connections go, and that it has no threads.
//!
//! A simulation runs all hosts of its world on one thread, one after the other. While it runs one, [`SimHost::enter`] says so: then [`crate::net::Stream::connect`] asks the
//! simulation for a connection and [`crate::spawn_blocking`] runs its call at once. A byte stream is simulated as TCP is seen from a program: bytes come late, in order, or
//! never, and a connection may end at any time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::sync::oneshot;

thread_local! {
    static CURRENT: RefCell<Option<SimHost>> = const { RefCell::new(None) };
}

/// What a host asks of its network.
#[derive(Debug)]
pub enum NetCall {
    /// A connection, within `limit`.
    Connect {
        /// Name of the other host.
        to: String,
        /// Its port.
        port: u16,
        /// How long the caller waits.
        limit: Duration,
        /// Where the answer goes.
        answer: oneshot::Sender<io::Result<SimStream>>,
    },
    /// A message to another host by its number, and its answer: for protocols that the simulation moves as messages and not as streams.
    Ask {
        /// The other host.
        to: usize,
        /// The message.
        message: Vec<u8>,
        /// Where the answer goes; none where the other host hangs up or does not answer.
        answer: oneshot::Sender<Option<Vec<u8>>>,
    },
    /// Bytes on a connection.
    Send {
        /// The connection.
        connection: u64,
        /// What is sent.
        bytes: Vec<u8>,
    },
    /// This side of a connection says no more.
    Close {
        /// The connection.
        connection: u64,
    },
}

/// One host of a simulated world. Copies are the same host.
#[derive(Debug, Clone)]
pub struct SimHost {
    number: usize,
    calls: Arc<Mutex<Vec<NetCall>>>,
}

/// Ends [`SimHost::enter`].
#[derive(Debug)]
pub struct Entered(Option<SimHost>);

/// This host's end of a connection.
#[derive(Debug)]
pub struct SimStream {
    connection: u64,
    host: SimHost,
    inbox: Arc<Mutex<Inbox>>,
    /// Whether its end was told: by [`SimStream::close`], or by dropping the half that writes.
    closed: bool,
    /// One half of a split connection only reads.
    writes: bool,
}

/// The simulation's end of a connection.
#[derive(Debug, Clone)]
pub struct FarEnd {
    inbox: Arc<Mutex<Inbox>>,
}

#[derive(Debug, Default)]
struct Inbox {
    bytes: VecDeque<u8>,
    end: Option<io::ErrorKind>,
    ended: bool,
    waker: Option<Waker>,
}

impl SimHost {
    /// A host.
    #[must_use]
    pub fn new(number: usize) -> SimHost {
        SimHost { number, calls: Arc::default() }
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// Makes it the host that this thread plays, until what comes back is dropped.
    #[must_use]
    pub fn enter(&self) -> Entered {
        Entered(CURRENT.with(|current| current.borrow_mut().replace(self.clone())))
    }

    /// What it has asked of its network since the last call.
    #[must_use]
    pub fn take_calls(&self) -> Vec<NetCall> {
        std::mem::take(&mut *lock(&self.calls))
    }

    /// Both ends of a connection of this host.
    #[must_use]
    pub fn connection(&self, connection: u64) -> (SimStream, FarEnd) {
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let stream = SimStream { connection, host: self.clone(), inbox: inbox.clone(), closed: false, writes: true };
        (stream, FarEnd { inbox })
    }

    /// The host that this thread plays, if it plays one.
    #[must_use]
    pub fn current() -> Option<SimHost> {
        CURRENT.with(|current| current.borrow().clone())
    }

    pub(crate) fn is_played() -> bool {
        CURRENT.with(|current| current.borrow().is_some())
    }

    pub(crate) async fn connect(&self, to: &str, port: u16, limit: Duration) -> io::Result<SimStream> {
        let (answer, answered) = oneshot::channel();
        self.call(NetCall::Connect { to: to.to_owned(), port, limit, answer });
        answered.await.unwrap_or_else(|_| Err(io::ErrorKind::ConnectionRefused.into()))
    }

    /// Sends a message to another host and waits for its answer; none where there is none.
    pub async fn ask(&self, to: usize, message: Vec<u8>) -> Option<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        self.call(NetCall::Ask { to, message, answer });
        answered.await.ok().flatten()
    }

    fn call(&self, call: NetCall) {
        lock(&self.calls).push(call);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| *current.borrow_mut() = self.0.take());
    }
}

impl FarEnd {
    /// Bytes arrive.
    pub fn deliver(&self, bytes: &[u8]) {
        let waker = {
            let mut inbox = lock(&self.inbox);
            inbox.bytes.extend(bytes);
            inbox.waker.take()
        };
        wake(waker);
    }

    /// The connection ends: after what has arrived, or with an error at once.
    pub fn end(&self, error: Option<io::ErrorKind>) {
        let waker = {
            let mut inbox = lock(&self.inbox);
            inbox.ended = true;
            inbox.end = error;
            inbox.waker.take()
        };
        wake(waker);
    }
}

impl SimStream {
    /// The half that reads, and the half that writes.
    pub(crate) fn split(mut self) -> (SimStream, SimStream) {
        let reader = SimStream {
            connection: self.connection,
            host: self.host.clone(),
            inbox: self.inbox.clone(),
            closed: true,
            writes: false,
        };
        self.closed = false;
        (reader, self)
    }

    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inbox = lock(&self.inbox);
        if inbox.ended || !inbox.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        inbox.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inbox = lock(&self.inbox);
        if let Some(error) = inbox.end {
            return Poll::Ready(Err(error.into()));
        }
        if inbox.bytes.is_empty() && !inbox.ended {
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = inbox.bytes.len().min(buf.remaining());
        let taken: Vec<u8> = inbox.bytes.drain(..count).collect();
        buf.put_slice(&taken);
        Poll::Ready(Ok(()))
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let inbox = lock(&self.inbox);
        if inbox.end.is_some() || self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        drop(inbox);
        self.host.call(NetCall::Send { connection: self.connection, bytes: bytes.to_vec() });
        Ok(bytes.len())
    }

    pub(crate) fn close(&mut self) {
        if self.writes && !self.closed {
            self.closed = true;
            self.host.call(NetCall::Close { connection: self.connection });
        }
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.close();
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::Stream;

    #[tokio::test]
    async fn a_connection_goes_where_the_simulation_says() {
        let host = SimHost::new(3);
        let entered = host.enter();
        let asking = tokio::spawn(async { Stream::connect("keeper", 2181, Duration::from_secs(1)).await });
        tokio::task::yield_now().await;
        let Some(NetCall::Connect { to, port, answer, .. }) = host.take_calls().pop() else { panic!() };
        assert_eq!((to.as_str(), port), ("keeper", 2181));
        let (stream, far) = host.connection(9);
        answer.send(Ok(stream)).unwrap();
        let (mut reader, mut writer) = asking.await.unwrap().unwrap().split();
        writer.write_all(b"ruok").await.unwrap();
        far.deliver(b"im");
        far.deliver(b"ok");
        far.end(None);
        let mut heard = String::new();
        reader.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "imok");
        drop((reader, writer));
        let calls = host.take_calls();
        assert!(
            matches!(&calls[..], [NetCall::Send { connection: 9, bytes }, NetCall::Close { connection: 9 }] if bytes == b"ruok")
        );
        drop(entered);
        assert!(!SimHost::is_played());
    }

    #[tokio::test]
    async fn calls_that_block_are_done_at_once_by_a_host() {
        let here = std::thread::current().id();
        let entered = SimHost::new(0).enter();
        let there = crate::spawn_blocking(|| std::thread::current().id()).await.unwrap();
        assert_eq!(here, there);
        drop(entered);
        assert_ne!(here, crate::spawn_blocking(|| std::thread::current().id()).await.unwrap());
    }

    #[test]
    fn a_host_runs_until_none_of_its_tasks_can_go_on() {
        let runtime = crate::spawn::simulated().unwrap();
        let (to, mut from) = tokio::sync::mpsc::channel::<u32>(1);
        let (back, mut answers) = tokio::sync::mpsc::channel::<u32>(1);
        runtime.spawn(async move {
            while let Some(number) = from.recv().await {
                back.send(number + 1).await.unwrap();
            }
        });
        let count = Arc::new(Mutex::new(0));
        let counted = count.clone();
        runtime.spawn(async move {
            for number in 0..1_000 {
                to.send(number).await.unwrap();
                *counted.lock().unwrap() = answers.recv().await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        crate::spawn::run_until_idle(&runtime);
        assert_eq!(*count.lock().unwrap(), 1_000);
    }
}
