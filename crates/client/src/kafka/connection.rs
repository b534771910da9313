//! One connection to one broker: requests are pipelined, answers come back in order.
//!
//! Always true:
//! - at most `in_flight_requests_max` requests are under way; the next one waits for a place;
//! - a broker answers in the order it was asked, so the answer at hand belongs to the oldest request, and a correlation id that says otherwise
//!   ends the connection;
//! - a frame's length is checked against `response_bytes_max` before anything is allocated for it;
//! - after the first failure (end of stream, time-out, nonsense) the connection is closed for good and every request under way fails with
//!   it. Nothing is repeated here: whoever sent a request knows whether it may be sent twice.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use protocol::api::ApiKey;
use protocol::error::ErrorCode;
use protocol::frame::{self, SIZE_BYTES};
use protocol::messages::Request;
use protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use protocol::messages::metadata::MetadataRequest;
use protocol::wire::{Piece, Reader, Str, WireError};
use runtime::net::{ReadHalf, Stream, WriteHalf};
use runtime::{Clock, SimHost};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::config::{ClientConfig, HostPort};
use super::error::{ClientError, Result};
use super::versions::{ApiVersions, OldBroker};

/// Name under which this client shows up in a broker's metrics (KIP-511).
const SOFTWARE_NAME: &str = "tidemill";

/// Frames gathered into one write.
const FRAMES_PER_WRITE_MAX: usize = 64;

/// Room taken at once for a response that is still arriving: a frame that claims to be long and never comes costs no more than this.
const READ_CHUNK_BYTES: usize = 8 << 20;

/// Room for responses whose length is not known yet: several small ones come with one read.
const READ_AHEAD_BYTES: usize = 32 << 10;

/// Times a broker must close the connection on ApiVersions before it is looked whether it answers anything else: once may be a restart. Once more after that, and it counts as
/// older than 0.10.
const OLD_BROKER_PROOFS: usize = 2;

/// An open connection. Cheap to clone; it closes when the last clone is dropped and the last answer is in.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    peer: Peer,
    client_id: Str,
    request_timeout: Duration,
    clock: Clock,
    /// Set once the handshake is done.
    versions: OnceLock<ApiVersions>,
    next_correlation_id: AtomicI32,
    places: Arc<Semaphore>,
    shared: Arc<Shared>,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
struct Peer {
    node: i32,
    address: HostPort,
}

/// What the connection's tasks and its users both touch.
struct Shared {
    state: Mutex<State>,
    /// Turns true when the connection is closed; both tasks end then, whatever the peer does.
    closed: watch::Sender<bool>,
}

struct State {
    /// Requests that await an answer, oldest first.
    pending: VecDeque<Pending>,
    /// Frames for the writing task; `None` once the connection is closed.
    outgoing: Option<mpsc::Sender<Outgoing>>,
    /// Why it was closed.
    closed_by: Option<ClientError>,
}

struct Pending {
    correlation_id: i32,
    answer: oneshot::Sender<Result<Bytes>>,
    _place: OwnedSemaphorePermit,
}

struct Outgoing {
    frame: Vec<Bytes>,
    /// Held until the frame is written, by a request that expects no answer.
    sent: Option<(oneshot::Sender<Result<Bytes>>, OwnedSemaphorePermit)>,
}

impl Connection {
    /// Connects to a broker and learns its versions.
    ///
    /// `node` is the broker's id, or negative for a bootstrap server. A broker that closes the connection on ApiVersions, twice (0.8), or that
    /// never answers it (0.9.0 trips over the key and forgets the request), that answers what every release knows, and then does the same again, is
    /// an old one: it is connected to once more and spoken to by the table of `broker.version.fallback`. One that stood still for a moment, or whose
    /// connections break, is not. `known_old` skips that discovery.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] where no connection comes about, else what went wrong in the handshake.
    pub async fn connect(
        node: i32,
        address: &HostPort,
        config: &ClientConfig,
        known_old: Option<OldBroker>,
        clock: Clock,
    ) -> Result<Connection> {
        let peer = Peer { node, address: address.clone() };
        let assumed = if config.api_version_request { known_old } else { Some(config.broker_version_fallback) };
        if let Some(release) = assumed {
            let connection = open(&peer, config, clock).await?;
            return Ok(connection.with_versions(ApiVersions::from_table(release)));
        }
        let mut proofs = 0;
        loop {
            let connection = open(&peer, config, clock).await?;
            match handshake(&connection, config.api_version_request_timeout).await {
                Ok(versions) => return Ok(connection.with_versions(versions)),
                Err(ClientError::Disconnected { cause, .. }) => {
                    tracing::debug!(%address, cause, "connection closed on ApiVersions");
                    proofs += 1;
                }
                Err(ClientError::RequestTimeout { waited_ms, .. }) => {
                    tracing::debug!(%address, waited_ms, "no answer to ApiVersions");
                    // A wait is long, and is not made more often than it has to be.
                    proofs = OLD_BROKER_PROOFS.max(proofs + 1);
                }
                Err(other) => return Err(other),
            }
            if proofs > OLD_BROKER_PROOFS {
                tracing::warn!(
                    "{peer} does not answer ApiVersions and is taken for one older than 0.10; api.version.request=false spares the wait"
                );
                break;
            }
            if proofs == OLD_BROKER_PROOFS {
                see_alive(&open(&peer, config, clock).await?, config.api_version_request_timeout).await?;
            }
        }
        let release = config.broker_version_fallback;
        tracing::debug!(%address, ?release, "broker has no ApiVersions, falling back to the versions of an old release");
        let connection = open(&peer, config, clock).await?;
        Ok(connection.with_versions(ApiVersions::from_table(release)))
    }

    /// The versions the broker speaks.
    #[must_use]
    pub fn versions(&self) -> &ApiVersions {
        static NONE: LazyLock<ApiVersions> = LazyLock::new(|| ApiVersions::from_broker([]));
        self.inner.versions.get().unwrap_or(&NONE)
    }

    /// The broker's id, or the negative number of a bootstrap server.
    #[must_use]
    pub fn node(&self) -> i32 {
        self.inner.peer.node
    }

    /// Where the broker is.
    #[must_use]
    pub fn address(&self) -> &HostPort {
        &self.inner.peer.address
    }

    /// Whether it can no longer be used.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.shared.state.lock().outgoing.is_none()
    }

    /// Sends a request in the highest common version.
    ///
    /// # Errors
    /// [`ClientError::UnsupportedVersion`] before anything is sent; else as [`Connection::send_version`].
    pub async fn send<R: Request>(&self, request: &R) -> Result<R::Response> {
        let version = self.version_of::<R>()?;
        self.send_version(request, version).await
    }

    /// The highest version of a request that both sides speak.
    ///
    /// # Errors
    /// [`ClientError::UnsupportedVersion`].
    pub fn version_of<R: Request>(&self) -> Result<i16> {
        self.versions().pick(R::KEY, &R::VERSIONS)
    }

    /// Sends a request in one version and waits for the answer for `request.timeout.ms`.
    ///
    /// # Errors
    /// As [`Connection::send_version_within`].
    pub async fn send_version<R: Request>(&self, request: &R, version: i16) -> Result<R::Response> {
        self.send_version_within(request, version, self.inner.request_timeout).await
    }

    /// Sends a request in one version and waits for the answer for `limit`, counted from when it has a place on the connection.
    ///
    /// # Errors
    /// [`ClientError::RequestTimeout`] after `limit` (the connection is closed then, as Kafka's clients do: its broker is stuck or gone),
    /// [`ClientError::Disconnected`], [`ClientError::Malformed`] where the answer cannot be read, [`ClientError::Unencodable`].
    pub async fn send_version_within<R: Request>(
        &self,
        request: &R,
        version: i16,
        limit: Duration,
    ) -> Result<R::Response> {
        let frame = self.exchange(request, version, limit, true).await?;
        self.decode::<R>(frame, version)
    }

    /// Sends a request to which there is no answer (Produce with `acks=0`) and waits until it is handed to the network.
    ///
    /// # Errors
    /// [`ClientError::Disconnected`], [`ClientError::RequestTimeout`], [`ClientError::Unencodable`].
    pub async fn send_without_answer<R: Request>(&self, request: &R, version: i16) -> Result<()> {
        self.exchange(request, version, self.inner.request_timeout, false).await.map(|_| ())
    }

    /// Closes the connection; requests under way fail.
    pub fn close(&self) {
        self.inner.shared.close(self.inner.peer.disconnected("closed by us"));
    }

    /// Puts a request on its way and returns before the answer is in. Requests begun one after the other reach the broker in that order.
    ///
    /// # Errors
    /// As [`Connection::send_version_within`], except for what only an answer can bring.
    pub async fn begin<R: Request>(&self, request: &R, version: i16, limit: Duration) -> Result<Answer<R>> {
        let receiver = self.put_on_its_way(request, version, limit, true).await?;
        Ok(Answer { connection: self.clone(), receiver, version, limit, request: PhantomData })
    }

    async fn exchange<R: Request>(&self, request: &R, version: i16, limit: Duration, answered: bool) -> Result<Bytes> {
        let answer = self.put_on_its_way(request, version, limit, answered).await?;
        self.await_answer::<R>(answer, limit).await
    }

    async fn put_on_its_way<R: Request>(
        &self,
        request: &R,
        version: i16,
        limit: Duration,
        answered: bool,
    ) -> Result<oneshot::Receiver<Result<Bytes>>> {
        let inner = &*self.inner;
        let place = match inner.clock.timeout(limit, inner.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_closed)) => return Err(inner.shared.closed_by(&inner.peer)),
            Err(_elapsed) => return Err(self.timeout::<R>(limit)),
        };
        let correlation_id = inner.next_correlation_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let frame = encode(request, version, correlation_id, &inner.client_id)
            .map_err(|error| ClientError::Unencodable { what: describe::<R>(version), cause: error.to_string() })?;
        inner.shared.enqueue(&inner.peer, correlation_id, frame, place, answered)
    }

    async fn await_answer<R: Request>(
        &self,
        answer: oneshot::Receiver<Result<Bytes>>,
        limit: Duration,
    ) -> Result<Bytes> {
        match self.inner.clock.timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(self.inner.shared.closed_by(&self.inner.peer)),
            Err(_elapsed) => {
                let error = self.timeout::<R>(limit);
                self.inner.shared.close(error.clone());
                Err(error)
            }
        }
    }

    fn timeout<R: Request>(&self, limit: Duration) -> ClientError {
        let waited_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        ClientError::RequestTimeout { node: self.inner.peer.node, api: R::KEY.name(), waited_ms }
    }

    fn decode<R: Request>(&self, frame: Bytes, version: i16) -> Result<R::Response> {
        let decoded = frame::decode_response::<R>(frame, version);
        decoded.map(|(_header, response)| response).map_err(|error| self.malformed::<R>(version, &error))
    }

    fn malformed<R: Request>(&self, version: i16, error: &WireError) -> ClientError {
        let what = format!("{} response", describe::<R>(version));
        let malformed = ClientError::Malformed { what, broker: self.inner.peer.to_string(), cause: error.to_string() };
        self.inner.shared.close(malformed.clone());
        malformed
    }

    fn with_versions(self, versions: ApiVersions) -> Connection {
        self.inner.versions.get_or_init(|| versions);
        self
    }
}

/// Asks a broker one thing, on a connection of its own. In a simulated world whose requests are messages, without one.
///
/// # Errors
/// As [`Connection::connect`] and [`Connection::send`].
pub async fn ask_once<R: Request>(
    node: i32,
    address: &HostPort,
    config: &ClientConfig,
    request: &R,
    clock: Clock,
) -> Result<R::Response> {
    let Some(host) = SimHost::current().filter(|host| !host.speaks_in_streams()) else {
        return Connection::connect(node, address, config, None, clock).await?.send(request).await;
    };
    let version = *R::VERSIONS.end();
    let unencodable =
        |error: WireError| ClientError::Unencodable { what: describe::<R>(version), cause: error.to_string() };
    let frame = frame::encode_request(request, version, 0, None).map_err(unencodable)?;
    let answer = host.ask(usize::try_from(node).unwrap_or_default(), frame[SIZE_BYTES..].to_vec()).await;
    let peer = Peer { node, address: address.clone() };
    let answer = answer.ok_or_else(|| peer.disconnected("no answer"))?;
    let decoded = frame::decode_response::<R>(Bytes::from(answer).slice(SIZE_BYTES..), version);
    decoded.map(|(_header, response)| response).map_err(|error| ClientError::Malformed {
        what: format!("{} response", describe::<R>(version)),
        broker: peer.to_string(),
        cause: error.to_string(),
    })
}

/// An answer to come; see [`Connection::begin`].
pub struct Answer<R> {
    connection: Connection,
    receiver: oneshot::Receiver<Result<Bytes>>,
    version: i16,
    limit: Duration,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Answer<R> {
    /// Waits for it.
    ///
    /// # Errors
    /// As [`Connection::send_version_within`].
    pub async fn wait(self) -> Result<R::Response> {
        let frame = self.connection.await_answer::<R>(self.receiver, self.limit).await?;
        self.connection.decode::<R>(frame, self.version)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close(self.peer.disconnected("closed by us"));
    }
}

/// The frame of a request as pieces to be sent in order: record batches are not copied.
fn encode<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &Str,
) -> Result<Vec<Bytes>, WireError> {
    let pieces = frame::encode_request_pieces(request, version, correlation_id, Some(client_id))?;
    let bytes = |piece| match piece {
        Piece::Bytes(bytes) => Ok(bytes),
        Piece::External { .. } => Err(WireError::ExternalPayload),
    };
    pieces.into_iter().map(bytes).collect()
}

fn describe<R: Request>(version: i16) -> String {
    format!("{} v{version}", R::KEY.name())
}

/// Opens a connection of which only ApiVersions is known.
async fn open(peer: &Peer, config: &ClientConfig, clock: Clock) -> Result<Connection> {
    let stream = Stream::connect(&peer.address.host, peer.address.port, config.connection_setup_timeout)
        .await
        .map_err(|error| ClientError::Unreachable {
            node: peer.node,
            address: peer.address.to_string(),
            cause: error.to_string(),
        })?;
    let in_flight_max = config.in_flight_requests_max.max(1);
    // Room for every request that may be under way, so that a request with a place never finds the queue full.
    let (outgoing, frames) = mpsc::channel(in_flight_max);
    let shared = Arc::new(Shared {
        state: Mutex::new(State { pending: VecDeque::new(), outgoing: Some(outgoing), closed_by: None }),
        closed: watch::Sender::new(false),
    });
    let (reader, writer) = stream.split();
    runtime::spawn(write_frames(writer, frames, shared.clone(), peer.clone()));
    runtime::spawn(read_frames(reader, shared.clone(), peer.clone(), config.response_bytes_max));
    Ok(Connection {
        inner: Arc::new(Inner {
            peer: peer.clone(),
            client_id: Str::from(config.client_id.as_str()),
            request_timeout: config.request_timeout,
            clock,
            versions: OnceLock::new(),
            next_correlation_id: AtomicI32::new(0),
            places: Arc::new(Semaphore::new(in_flight_max)),
            shared,
        }),
    })
}

/// Asks for the broker's versions: in our highest version first, and where the broker does not know that one, in the version its refusal names
/// (KIP-35: the refusal is always in version 0 and carries the supported range).
async fn handshake(connection: &Connection, limit: Duration) -> Result<ApiVersions> {
    let request = ApiVersionsRequest {
        client_software_name: Str::from_static(SOFTWARE_NAME),
        client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
    };
    // Version 4 and above differ only in features that no client of ours uses.
    let highest = (*ApiVersionsRequest::VERSIONS.end()).min(3);
    let response = ask_versions(connection, &request, highest, limit).await?;
    if response.error_code == 0 {
        return Ok(ranges_of(&response));
    }
    if response.error_code != ErrorCode::UNSUPPORTED_VERSION.0 {
        return Err(ClientError::broker(ErrorCode(response.error_code), "ApiVersions"));
    }
    let theirs = response.api_keys.iter().find(|range| range.api_key == ApiKey::ApiVersions as i16);
    let version = theirs.map_or(0, |range| range.max_version).clamp(0, highest);
    let response = ask_versions(connection, &request, version, limit).await?;
    if response.error_code != 0 {
        return Err(ClientError::broker(ErrorCode(response.error_code), "ApiVersions"));
    }
    Ok(ranges_of(&response))
}

/// Asks what brokers of all releases answer.
async fn see_alive(connection: &Connection, limit: Duration) -> Result<()> {
    let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
    connection.exchange(&request, 0, limit, true).await.map(|_| ())
}

async fn ask_versions(
    connection: &Connection,
    request: &ApiVersionsRequest,
    version: i16,
    limit: Duration,
) -> Result<ApiVersionsResponse> {
    let frame = connection.exchange(request, version, limit, true).await?;
    // The error code stands first in every version, after the correlation id; a refusal is in version 0 whatever was asked.
    let refused = frame.get(4..6) == Some(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
    let version = if refused { 0 } else { version };
    connection.decode::<ApiVersionsRequest>(frame, version)
}

fn ranges_of(response: &ApiVersionsResponse) -> ApiVersions {
    ApiVersions::from_broker(
        response.api_keys.iter().map(|range| (range.api_key, range.min_version, range.max_version)),
    )
}

impl Peer {
    fn malformed(&self, cause: String) -> ClientError {
        ClientError::Malformed { what: "response".to_string(), broker: self.to_string(), cause }
    }

    fn disconnected(&self, cause: &str) -> ClientError {
        ClientError::Disconnected { broker: self.to_string(), cause: cause.to_string() }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let role = if self.node < 0 { "Bootstrap broker" } else { "Broker" };
        write!(f, "{role} {} (id: {} rack: null)", self.address, self.node)
    }
}

impl Shared {
    /// Puts a frame on its way. Both queues are filled under one lock, so that they stay in the same order.
    fn enqueue(
        &self,
        peer: &Peer,
        correlation_id: i32,
        frame: Vec<Bytes>,
        place: OwnedSemaphorePermit,
        answered: bool,
    ) -> Result<oneshot::Receiver<Result<Bytes>>> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        let Some(outgoing) = &state.outgoing else {
            drop(state);
            return Err(self.closed_by(peer));
        };
        let pending = if answered {
            outgoing
                .try_send(Outgoing { frame, sent: None })
                .map(|()| Some(Pending { correlation_id, answer, _place: place }))
        } else {
            outgoing.try_send(Outgoing { frame, sent: Some((answer, place)) }).map(|()| None)
        };
        match pending {
            Ok(pending) => {
                state.pending.extend(pending);
                Ok(receiver)
            }
            Err(_gone) => Err(peer.disconnected("the writing task ended")),
        }
    }

    /// Closes the connection and fails what is under way. Only the first reason counts.
    fn close(&self, reason: ClientError) {
        let pending = {
            let mut state = self.state.lock();
            state.outgoing = None;
            state.closed_by.get_or_insert_with(|| reason.clone());
            std::mem::take(&mut state.pending)
        };
        self.closed.send_replace(true);
        for request in pending {
            // A requester that no longer waits is no loss.
            let _ = request.answer.send(Err(reason.clone()));
        }
    }

    fn closed_by(&self, peer: &Peer) -> ClientError {
        match &self.state.lock().closed_by {
            // Whoever comes late did not wait for that request; to them the broker is just gone.
            Some(ClientError::Disconnected { broker, cause }) => {
                ClientError::Disconnected { broker: broker.clone(), cause: cause.clone() }
            }
            Some(other) => peer.disconnected(&other.to_string()),
            None => peer.disconnected("connection closed"),
        }
    }
}

async fn write_frames(mut writer: WriteHalf, mut frames: mpsc::Receiver<Outgoing>, shared: Arc<Shared>, peer: Peer) {
    let mut closed = shared.closed.subscribe();
    let mut batch = Vec::with_capacity(FRAMES_PER_WRITE_MAX);
    while frames.recv_many(&mut batch, FRAMES_PER_WRITE_MAX).await > 0 {
        let mut pieces = VecDeque::with_capacity(batch.len());
        let mut written = Vec::new();
        for outgoing in batch.drain(..) {
            pieces.extend(outgoing.frame);
            written.extend(outgoing.sent);
        }
        let outcome = tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => return,
            outcome = write_pieces(&mut writer, pieces) => outcome,
        };
        if let Err(error) = outcome {
            shared.close(peer.disconnected(&error.to_string()));
            return;
        }
        for (answer, _place) in written {
            let _ = answer.send(Ok(Bytes::new()));
        }
    }
}

/// Writes pieces in order with as few calls as the kernel allows.
async fn write_pieces(writer: &mut WriteHalf, mut pieces: VecDeque<Bytes>) -> io::Result<()> {
    /// `IOV_MAX` is 1,024 on Linux; more slices than this gain nothing.
    const SLICES_MAX: usize = 64;
    while !pieces.is_empty() {
        let slices: Vec<io::IoSlice<'_>> =
            pieces.iter().take(SLICES_MAX).map(|piece| io::IoSlice::new(piece)).collect();
        let mut written = writer.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while written > 0 {
            let Some(first) = pieces.front_mut() else { break };
            let part = written.min(first.len());
            first.advance(part);
            written -= part;
            if first.is_empty() {
                pieces.pop_front();
            }
        }
        while pieces.front().is_some_and(Bytes::is_empty) {
            pieces.pop_front();
        }
    }
    writer.flush().await
}

async fn read_frames(mut reader: ReadHalf, shared: Arc<Shared>, peer: Peer, frame_bytes_max: usize) {
    let mut closed = shared.closed.subscribe();
    let mut buffer = BytesMut::new();
    let reason = loop {
        let read = tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => return,
            read = read_frame(&mut reader, &mut buffer, frame_bytes_max) => read,
        };
        let frame = match read {
            Ok(frame) => frame,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => break peer.malformed(error.to_string()),
            Err(error) => break peer.disconnected(&error.to_string()),
        };
        let correlation_id = Reader::new(frame.clone()).i32().unwrap_or(-1);
        let oldest = shared.state.lock().pending.pop_front();
        match oldest {
            Some(request) if request.correlation_id == correlation_id => {
                let _ = request.answer.send(Ok(frame));
            }
            Some(request) => {
                let due = request.correlation_id;
                let reason = peer.malformed(format!("correlation id {correlation_id} where {due} was due"));
                let _ = request.answer.send(Err(reason.clone()));
                break reason;
            }
            None => break peer.malformed(format!("an answer to nothing, correlation id {correlation_id}")),
        }
    };
    shared.close(reason);
}

/// One frame without its length. Bytes behind it stay in `buffer` for the next one.
///
/// Room grows as bytes arrive, up to the checked length: a length alone never makes us allocate it all.
async fn read_frame(reader: &mut ReadHalf, buffer: &mut BytesMut, frame_bytes_max: usize) -> io::Result<Bytes> {
    loop {
        let mut room = READ_AHEAD_BYTES;
        if let Some(&length) = buffer.first_chunk::<SIZE_BYTES>() {
            let length = checked_length(i32::from_be_bytes(length), frame_bytes_max)?;
            if buffer.len() >= SIZE_BYTES + length {
                buffer.advance(SIZE_BYTES);
                return Ok(buffer.split_to(length).freeze());
            }
            room = (SIZE_BYTES + length - buffer.len()).min(READ_CHUNK_BYTES);
        }
        buffer.reserve(room);
        if reader.read_buf(buffer).await? == 0 {
            let what = if buffer.is_empty() {
                "the broker closed the connection"
            } else {
                "the broker closed the connection within a response"
            };
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
    }
}

fn checked_length(length: i32, frame_bytes_max: usize) -> io::Result<usize> {
    usize::try_from(length).ok().filter(|length| (4..=frame_bytes_max).contains(length)).ok_or_else(|| {
        let what = format!("a response of {length} bytes; 4 to {frame_bytes_max} are allowed");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

#[cfg(test)]
mod tests;
