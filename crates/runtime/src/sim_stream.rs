//! One host's end of a simulated connection, and the simulation's hold on it.
//!
//! A byte stream is simulated as TCP is seen from a program: bytes come late, in order, cut at any place, or never; of what is written, no more is on its way than a window allows;
//! and a connection may end at any time, for its two ends at different ones.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;

use crate::sim_host::{NetCall, SimHost};

/// Address of whoever has none: hosts of a simulated world have names only.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// This host's end of a connection.
#[derive(Debug)]
pub struct SimStream {
    connection: u64,
    host: SimHost,
    wire: Arc<Mutex<Wire>>,
    /// Whether its end was told: by [`SimStream::close`], or by dropping the half that writes.
    closed: bool,
    /// One half of a split connection only reads.
    writes: bool,
}

/// The simulation's end of a connection.
#[derive(Debug, Clone)]
pub struct FarEnd {
    wire: Arc<Mutex<Wire>>,
}

/// What the two share.
#[derive(Debug)]
struct Wire {
    peer: SocketAddr,
    /// What has come and was not read yet.
    bytes: VecDeque<u8>,
    end: Option<io::ErrorKind>,
    ended: bool,
    reader: Option<Waker>,
    /// Bytes that were written and are not known to have arrived.
    under_way: usize,
    window: usize,
    writer: Option<Waker>,
    /// Halves that the host holds.
    halves: usize,
}

impl FarEnd {
    /// Bytes arrive.
    pub fn deliver(&self, bytes: &[u8]) {
        let waker = {
            let mut wire = lock(&self.wire);
            wire.bytes.extend(bytes);
            wire.reader.take()
        };
        wake(waker);
    }

    /// The connection ends: after what has arrived, or with an error at once.
    pub fn end(&self, error: Option<io::ErrorKind>) {
        let wakers = {
            let mut wire = lock(&self.wire);
            wire.ended = true;
            wire.end = error.or(wire.end);
            // Who waits for room hears of an error too.
            let writer = wire.end.and_then(|_| wire.writer.take());
            (wire.reader.take(), writer)
        };
        wake(wakers.0);
        wake(wakers.1);
    }

    /// So many of the bytes that were written have arrived. `true` where somebody waited for the room.
    pub fn took(&self, count: usize) -> bool {
        let waker = {
            let mut wire = lock(&self.wire);
            wire.under_way = wire.under_way.saturating_sub(count);
            wire.writer.take()
        };
        let waited = waker.is_some();
        wake(waker);
        waited
    }

    /// Whether the host has let go of its end: bytes that arrive now are answered with a reset.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        lock(&self.wire).halves == 0
    }
}

impl SimStream {
    pub(crate) fn new(host: SimHost, connection: u64, window: usize) -> (SimStream, FarEnd) {
        let wire = Arc::new(Mutex::new(Wire {
            peer: NOWHERE,
            bytes: VecDeque::new(),
            end: None,
            ended: false,
            reader: None,
            under_way: 0,
            window,
            writer: None,
            halves: 1,
        }));
        let stream = SimStream { connection, host, wire: wire.clone(), closed: false, writes: true };
        (stream, FarEnd { wire })
    }

    /// The half that reads, and the half that writes.
    pub(crate) fn split(self) -> (SimStream, SimStream) {
        lock(&self.wire).halves += 1;
        let reader = SimStream {
            connection: self.connection,
            host: self.host.clone(),
            wire: self.wire.clone(),
            closed: true,
            writes: false,
        };
        (reader, self)
    }

    pub(crate) fn set_peer(&self, peer: SocketAddr) {
        lock(&self.wire).peer = peer;
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        lock(&self.wire).peer
    }

    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.wire);
        if wire.ended || !wire.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        wire.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.wire);
        if let Some(error) = wire.end {
            return Poll::Ready(Err(error.into()));
        }
        if wire.bytes.is_empty() && !wire.ended {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = wire.bytes.len().min(buf.remaining());
        let taken: Vec<u8> = wire.bytes.drain(..count).collect();
        buf.put_slice(&taken);
        Poll::Ready(Ok(()))
    }

    /// Writes what the window has room for.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = {
            let mut wire = lock(&self.wire);
            if wire.end.is_some() || self.closed {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let room = wire.window.saturating_sub(wire.under_way);
            if room == 0 && !bytes.is_empty() {
                wire.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let count = bytes.len().min(room);
            wire.under_way = wire.under_way.saturating_add(count);
            count
        };
        if count > 0 {
            self.host.call(NetCall::Send { connection: self.connection, bytes: bytes[..count].to_vec() });
        }
        Poll::Ready(Ok(count))
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
        lock(&self.wire).halves -= 1;
        self.close();
    }
}

pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::Stream;

    fn sent(host: &SimHost) -> Vec<u8> {
        let calls = host.take_calls().into_iter();
        let bytes = calls.filter_map(|call| if let NetCall::Send { bytes, .. } = call { Some(bytes) } else { None });
        bytes.flatten().collect()
    }

    #[tokio::test]
    async fn no_more_is_under_way_than_the_window_allows() {
        let host = SimHost::new(0);
        let (stream, far) = host.connection(1, 4);
        let (_reader, mut writer) = Stream::Sim(stream).split();
        let writing = tokio::spawn(async move {
            writer.write_all(b"abcdefghij").await.unwrap();
            writer
        });
        tokio::task::yield_now().await;
        assert_eq!(sent(&host), b"abcd");
        assert!(far.took(3));
        tokio::task::yield_now().await;
        assert_eq!(sent(&host), b"efg");
        assert!(far.took(4));
        let writer = writing.await.unwrap();
        assert_eq!(sent(&host), b"hij");
        assert!(!far.took(3), "nobody waits any more");
        drop(writer);
    }

    #[tokio::test]
    async fn a_reset_reaches_who_reads_and_who_waits_for_room() {
        let host = SimHost::new(0);
        let (stream, far) = host.connection(1, 2);
        let (mut reader, mut writer) = Stream::Sim(stream).split();
        far.deliver(b"lost");
        let writing = tokio::spawn(async move { writer.write_all(b"abc").await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        far.end(Some(io::ErrorKind::ConnectionReset));
        let in_time = tokio::time::timeout(Duration::from_secs(5), writing).await.expect("it does not wait for ever");
        assert_eq!(in_time.unwrap(), io::ErrorKind::BrokenPipe);
        let read = reader.read(&mut [0; 4]).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(!far.is_abandoned());
        drop(reader);
        assert!(far.is_abandoned());
    }
}
