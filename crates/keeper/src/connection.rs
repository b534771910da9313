//! One client's socket: cuts frames and takes them apart on one side, writes gathered replies on the other. Knows nothing of the tree.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use protocol::strangers::{self, Stranger};
use protocol::zookeeper::{ConnectRequest, Record, frame_length};
use runtime::net::{ReadHalf, Stream, WriteHalf};
use runtime::{Clock, spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::config::KeeperConfig;
use crate::four_letter::FourLetterWord;
use crate::outbox::{Outbox, Outgoing};
use crate::processor::Command;
use crate::request::Request;
use crate::watch::ConnectionId;

/// How long a client may take for its first frame.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a closed client may take to close its own side; its unread bytes would else turn our last reply into a reset.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);

/// Room made for reading; longer frames grow it.
const READ_BYTES: usize = 16 << 10;

/// Frames up to this size are bounded by the number of requests alone; longer ones also by [`LARGE_FRAME_BYTES_MAX`].
const LARGE_FRAME_BYTES: usize = 4 << 10;

/// Bytes of long frames, of all connections together, being received or waiting for the owner. Beyond it their sockets are not read.
pub(crate) const LARGE_FRAME_BYTES_MAX: usize = 256 << 20;

/// Most bytes gathered for one write.
const WRITE_BYTES: usize = 128 << 10;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<KeeperConfig>,
    pub(crate) clock: Clock,
    pub(crate) commands: mpsc::Sender<(Command, Option<OwnedSemaphorePermit>)>,
    pub(crate) large_frames: Arc<Semaphore>,
}

/// Why a client's socket is no longer read.
enum End {
    /// It closed, broke the protocol or was told to go.
    Closed,
    /// The keeper is gone.
    Stopped,
}

/// Serves a client until it is gone.
pub(crate) async fn serve(stream: Stream, peer: SocketAddr, id: ConnectionId, shared: Arc<Shared>) {
    let (outbox, outgoing) = Outbox::new();
    let outbox = Arc::new(outbox);
    let (reader, writer) = stream.split();
    let opened = Command::Opened { connection: id, peer, outbox: outbox.clone() };
    if shared.commands.send((opened, None)).await.is_err() {
        return;
    }
    let mut writing = spawn(write(writer, outgoing, outbox.clone()));
    let mut input = Input { reader, buffer: BytesMut::new(), outbox: outbox.clone(), shared: shared.clone(), id };
    let ended = tokio::select! {
        biased;
        () = outbox.until_cut() => {
            tracing::warn!("{peer} is cut off: it does not read");
            writing.abort();
            End::Closed
        }
        // The writer ends first when the owner closes the connection.
        _ = &mut writing => End::Closed,
        end = input.read() => match end {
            Ok(end) => end,
            Err(Refused::Stranger { length, who }) => {
                tracing::warn!(
                    "closing the connection of {peer}: Len error {length}: it looks like {who}; this port speaks the ZooKeeper protocol"
                );
                End::Closed
            }
            Err(Refused::Io(error)) => {
                tracing::debug!("{peer}: {error}");
                End::Closed
            }
        },
    };
    if matches!(ended, End::Closed) {
        // An owner that is gone needs no notice.
        let _ = shared.commands.send((Command::Closed { connection: id }, None)).await;
    }
    if !writing.is_finished() && tokio::time::timeout(LINGER_TIME_MAX, &mut writing).await.is_err() {
        writing.abort();
    }
    let _ = tokio::time::timeout(LINGER_TIME_MAX, input.discard()).await;
}

/// Why a client is not served any longer.
enum Refused {
    /// It speaks something else, as its first bytes show; `length` is what they are as the length of a frame.
    Stranger { length: i32, who: Stranger },
    /// It broke the protocol, or the socket failed.
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused::Io(error)
    }
}

struct Input {
    reader: ReadHalf,
    buffer: BytesMut,
    outbox: Arc<Outbox>,
    shared: Arc<Shared>,
    id: ConnectionId,
}

impl Input {
    async fn read(&mut self) -> Result<End, Refused> {
        let first = tokio::time::timeout(HANDSHAKE_TIME_MAX, self.first_frame());
        let Ok(first) = first.await else {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake").into());
        };
        let connection = self.id;
        let command = match first? {
            First::Word(word) => {
                let _ = self.shared.commands.send((Command::FourLetterWord { connection, word }, None)).await;
                // The answer closes the connection.
                self.discard().await;
                return Ok(End::Closed);
            }
            First::Frame(frame) => match ConnectRequest::from_body(frame.clone()) {
                Ok(request) => Command::Connect { connection, request },
                Err(_) if strangers::is_kafka_request(&frame) => {
                    let length = i32::try_from(frame.len()).unwrap_or(i32::MAX);
                    return Err(Refused::Stranger { length, who: Stranger::KafkaClient });
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error).into()),
            },
        };
        if self.shared.commands.send((command, None)).await.is_err() {
            return Ok(End::Stopped);
        }
        loop {
            self.outbox.until_readable().await;
            let (frame, permit) = self.frame().await?;
            let at = self.shared.clock.now();
            let (header, request) =
                Request::read(frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let command = Command::Request { connection, header, request, at };
            if self.shared.commands.send((command, permit)).await.is_err() {
                return Ok(End::Stopped);
            }
        }
    }

    async fn first_frame(&mut self) -> Result<First, Refused> {
        self.fill(4).await?;
        let head = [self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]];
        if let Some(word) = FourLetterWord::parse(head) {
            return Ok(First::Word(word));
        }
        if let Some(who) = strangers::by_first_bytes(&head) {
            return Err(Refused::Stranger { length: i32::from_be_bytes(head), who });
        }
        Ok(First::Frame(self.frame().await?.0))
    }

    async fn frame(&mut self) -> io::Result<(Bytes, Option<OwnedSemaphorePermit>)> {
        self.fill(4).await?;
        let prefix = [self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]];
        let length = frame_length(prefix, self.shared.config.frame_bytes_max)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let permit = if length > LARGE_FRAME_BYTES {
            let permits = length.min(LARGE_FRAME_BYTES_MAX) as u32;
            Some(self.shared.large_frames.clone().acquire_many_owned(permits).await.map_err(io::Error::other)?)
        } else {
            None
        };
        self.fill(4 + length).await?;
        self.buffer.advance(4);
        Ok((self.buffer.split_to(length).freeze(), permit))
    }

    /// Reads until the buffer holds `wanted` bytes. Memory grows with what has really come.
    async fn fill(&mut self, wanted: usize) -> io::Result<()> {
        while self.buffer.len() < wanted {
            self.buffer.reserve(READ_BYTES);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads and forgets until the client closes.
    async fn discard(&mut self) {
        loop {
            self.buffer.clear();
            self.buffer.reserve(READ_BYTES);
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

enum First {
    Word(FourLetterWord),
    Frame(Bytes),
}

/// Writes what the owner says, several frames at a time, until told to close.
async fn write(mut writer: WriteHalf, mut outgoing: mpsc::UnboundedReceiver<Outgoing>, outbox: Arc<Outbox>) {
    let mut gathered = BytesMut::new();
    let mut open = true;
    while open {
        let Some(first) = outgoing.recv().await else { break };
        let mut next = Some(first);
        while let Some(outgoing_now) = next {
            match outgoing_now {
                // One large piece alone needs no copy.
                Outgoing::Bytes(bytes) if gathered.is_empty() && bytes.len() >= WRITE_BYTES => {
                    if writer.write_all(&bytes).await.is_err() {
                        return;
                    }
                    outbox.written(bytes.len());
                }
                Outgoing::Bytes(bytes) => gathered.extend_from_slice(&bytes),
                Outgoing::Close => {
                    open = false;
                    break;
                }
            }
            next = if gathered.len() < WRITE_BYTES { outgoing.try_recv().ok() } else { None };
        }
        if !gathered.is_empty() {
            if writer.write_all(&gathered).await.is_err() {
                return;
            }
            outbox.written(gathered.len());
            gathered.clear();
        }
    }
    // The peer may be gone already; there is nothing left to say.
    let _ = writer.shutdown().await;
}
