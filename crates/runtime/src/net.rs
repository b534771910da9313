//! TCP. A [`Stream`] is read and written like any tokio stream; its writing half can also send a piece of a file without copying it through
//! the program.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::disk::File;
use crate::sim_host::{SimHost, SimListener};
use crate::sim_stream::SimStream;

/// Connections the kernel may hold for us before `accept`; more are refused or retried by the peer's kernel.
const BACKLOG: u32 = 1024;

/// A bound port.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port of this machine.
    Tcp(TcpListener),
    /// A port of a host in a simulated world.
    Sim(SimListener),
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// A TCP connection, with Nagle's delay off.
    Tcp(TcpStream),
    /// A connection in a simulated world.
    Sim(SimStream),
}

/// The reading half of a [`Stream`].
#[derive(Debug)]
pub enum ReadHalf {
    /// Of a TCP connection.
    Tcp(OwnedReadHalf),
    /// Of a simulated one.
    Sim(SimStream),
}

/// The writing half of a [`Stream`]; dropping it tells the peer that no more will come.
#[derive(Debug)]
pub enum WriteHalf {
    /// Of a TCP connection.
    Tcp(OwnedWriteHalf),
    /// Of a simulated one.
    Sim(SimStream),
}

/// Name of this machine, as `hostname` prints it.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Listener {
    /// Binds an address; port 0 takes a free one.
    ///
    /// # Errors
    /// `AddrInUse` above all.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        if let Some(here) = SimHost::current() {
            return here.listen(address).map(Listener::Sim);
        }
        let domain = if address.is_ipv6() { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM.nonblocking(), Some(socket2::Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG as i32)?;
        Ok(Listener::Tcp(TcpListener::from_std(socket.into())?))
    }

    /// The address it is bound to, with the port that was really taken.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr(),
            Listener::Sim(listener) => Ok(listener.address()),
        }
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// What the kernel says; running out of descriptors is one, and passes.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), peer))
            }
            Listener::Sim(listener) => {
                let (stream, peer) = std::future::poll_fn(|cx| listener.poll_accept(cx)).await;
                Ok((Stream::Sim(stream), peer))
            }
        }
    }
}

impl Stream {
    /// Connects to `host:port`, trying each address the name stands for, within `limit` in all.
    ///
    /// # Errors
    /// `TimedOut` after `limit`, else what the last address tried said.
    pub async fn connect(host: &str, port: u16, limit: Duration) -> io::Result<Stream> {
        if let Some(here) = SimHost::current() {
            return here.connect(host, port, limit).await.map(Stream::Sim);
        }
        let bare_host = host.trim_start_matches('[').trim_end_matches(']');
        let connected = tokio::time::timeout(limit, TcpStream::connect((bare_host, port))).await;
        match connected {
            Ok(stream) => {
                let stream = stream?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Err(_elapsed) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer from {host}:{port} in {limit:?}")))
            }
        }
    }

    /// Address of the other side.
    ///
    /// # Errors
    /// Where the connection is already gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.peer_addr(),
            Stream::Sim(stream) => Ok(stream.peer()),
        }
    }

    /// Address of this side.
    ///
    /// # Errors
    /// Where the connection is already gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.local_addr(),
            // Hosts of a simulated world know each other by name.
            Stream::Sim(_) => Ok(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0)),
        }
    }

    /// Two halves that two tasks can own.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Stream::Tcp(stream) => {
                let (reader, writer) = stream.into_split();
                (ReadHalf::Tcp(reader), WriteHalf::Tcp(writer))
            }
            Stream::Sim(stream) => {
                let (reader, writer) = stream.split();
                (ReadHalf::Sim(reader), WriteHalf::Sim(writer))
            }
        }
    }
}

impl ReadHalf {
    /// Waits until bytes have come, or the end. It needs no buffer, so a silent connection need not hold one.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            ReadHalf::Tcp(half) => half.readable().await,
            ReadHalf::Sim(half) => std::future::poll_fn(|cx| half.poll_readable(cx)).await,
        }
    }
}

impl WriteHalf {
    /// Writes all of `bytes`, of which the kernel may hold back the last packet: more follows at once by [`WriteHalf::send_file`] or a write.
    ///
    /// # Errors
    /// What the socket says; a part may have been sent.
    pub async fn write_all_before_more(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            WriteHalf::Tcp(half) => {
                let socket = half.as_ref();
                let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
                let mut done = 0;
                while done < bytes.len() {
                    let send = || rustix::net::send(socket, &bytes[done..], flags).map_err(io::Error::from);
                    done += socket.async_io(Interest::WRITABLE, send).await?;
                }
                Ok(())
            }
            WriteHalf::Sim(half) => {
                let mut done = 0;
                while done < bytes.len() {
                    done += std::future::poll_fn(|cx| half.poll_write(cx, &bytes[done..])).await?;
                }
                Ok(())
            }
        }
    }

    /// Sends `length` bytes of `file` from `position` on by the kernel's own copy (`sendfile`). What was written before must have been
    /// flushed. What is not in memory is first brought there by another thread.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file is shorter: the peer has then received a part.
    pub async fn send_file(&mut self, file: &File, position: u64, length: u64) -> io::Result<()> {
        /// One call's share: a longer one would hold the worker thread from its other connections.
        const CALL_BYTES_MAX: u64 = 1 << 20;
        match self {
            WriteHalf::Tcp(half) => {
                let Some(real) = file.real() else { return send_copy(self, file, position, length).await };
                let socket = half.as_ref();
                let end = position + length;
                let mut offset = position;
                while offset < end {
                    let chunk_end = end.min(offset + CALL_BYTES_MAX);
                    if !file.is_cached(offset, chunk_end - offset) {
                        load(file.clone(), offset, chunk_end - offset).await?;
                    }
                    while offset < chunk_end {
                        let send = || {
                            let mut at = offset;
                            let count = (chunk_end - offset) as usize;
                            rustix::fs::sendfile(socket, real, Some(&mut at), count).map_err(io::Error::from)
                        };
                        match socket.async_io(Interest::WRITABLE, send).await? {
                            0 => {
                                let what = "the file ended before the slice did";
                                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                            }
                            sent => offset += sent as u64,
                        }
                    }
                }
                Ok(())
            }
            WriteHalf::Sim(_) => send_copy(self, file, position, length).await,
        }
    }
}

/// Brings a piece of a file into memory on the pool for calls that block: a worker that waits for a disk keeps its other connections waiting.
async fn load(file: File, position: u64, length: u64) -> io::Result<()> {
    crate::spawn_blocking(move || file.load(position, length)).await.map_err(io::Error::other)?
}

/// What `sendfile` does, for a file that no kernel knows.
async fn send_copy(half: &mut WriteHalf, file: &File, position: u64, length: u64) -> io::Result<()> {
    const COPY_BYTES_MAX: u64 = 64 << 10;
    let mut buffer = vec![0; length.min(COPY_BYTES_MAX) as usize];
    let (mut offset, end) = (position, position + length);
    while offset < end {
        let count = (end - offset).min(COPY_BYTES_MAX) as usize;
        file.read_exact_at(&mut buffer[..count], offset)?;
        tokio::io::AsyncWriteExt::write_all(half, &buffer[..count]).await?;
        offset += count as u64;
    }
    Ok(())
}

fn gathered(bufs: &[io::IoSlice<'_>]) -> Vec<u8> {
    bufs.iter().flat_map(|buf| buf.iter().copied()).collect()
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Sim(stream) => stream.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Sim(stream) => stream.poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Sim(stream) => stream.poll_write(cx, &gathered(bufs)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Sim(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Sim(stream) => {
                stream.close();
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ReadHalf::Tcp(half) => Pin::new(half).poll_read(cx, buf),
            ReadHalf::Sim(half) => half.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            WriteHalf::Tcp(half) => Pin::new(half).poll_write(cx, buf),
            WriteHalf::Sim(half) => half.poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            WriteHalf::Tcp(half) => Pin::new(half).poll_write_vectored(cx, bufs),
            WriteHalf::Sim(half) => half.poll_write(cx, &gathered(bufs)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            WriteHalf::Tcp(half) => Pin::new(half).poll_flush(cx),
            WriteHalf::Sim(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            WriteHalf::Tcp(half) => Pin::new(half).poll_shutdown(cx),
            WriteHalf::Sim(half) => {
                half.close();
                Poll::Ready(Ok(()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Open};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_file_slice_arrives_between_ordinary_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let file = Disk::real().open(&directory.path().join("log"), Open::CreateNew).unwrap();
        let contents: Vec<u8> = (0..3_000_000u32).map(|i| i as u8).collect();
        file.write_all_at(&contents, 0).unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let sender = crate::spawn(async move {
            let (stream, _peer) = listener.accept().await.unwrap();
            let (_reader, mut writer) = stream.split();
            writer.write_all_before_more(b"head").await.unwrap();
            writer.send_file(&file, 7, 2_900_000).await.unwrap();
            writer.write_all(b"tail").await.unwrap();
        });
        let mut stream = Stream::connect("127.0.0.1", port, Duration::from_secs(5)).await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        sender.await.unwrap();
        assert_eq!(&received[..4], b"head");
        assert_eq!(&received[4..received.len() - 4], &contents[7..2_900_007]);
        assert_eq!(&received[received.len() - 4..], b"tail");
    }

    #[test]
    fn this_machine_has_a_name() {
        assert!(!host_name().is_empty());
    }

    #[tokio::test]
    async fn a_taken_port_is_said_to_be_in_use() {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let again = Listener::bind(listener.local_addr().unwrap());
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
