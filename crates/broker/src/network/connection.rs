//! The life of one connection: cut a frame, start its request, send answers in order.
//!
//! A connection is one task. A request is started as soon as its frame is whole and the requests before it allow it: produce requests may wait for their acks side by side
//! (they were appended in order when they were started), every other request runs alone. What was read ahead is bounded by [`READ_AHEAD_MAX`] requests and by the budget.
//! How bytes become frames is [`super::input`]'s story.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::api::ApiKey;
use runtime::Clock;
use runtime::clock::Instant;
use runtime::net::{Stream, WriteHalf};
use tokio::sync::watch;

use super::budget::{Budget, PendingShare, Share};
use super::frame;
use super::input::{BUFFER_IDLE, FRAME_STALL_MAX, Input, read_some};
use super::pool::Pool;
use super::response::{Response, send_all};

/// Requests of one connection that may be under way at a time.
pub const READ_AHEAD_MAX: usize = 16;

/// Longest wait for a peer that does not take its response, where `connections.max.idle.ms` sets no limit.
const SEND_STALL_MAX: Duration = Duration::from_secs(600);

/// What became of a request that was started.
pub enum Answer {
    /// Answered at once.
    Ready(Response),
    /// Done, and nothing is sent: produce with acks=0.
    Silent,
    /// The peer cannot be answered: close the connection.
    Close,
    /// The answer comes later.
    Later(PendingAnswer),
}

/// An answer that waits for something.
pub struct PendingAnswer {
    /// Gives the answer; none closes the connection.
    pub future: Pin<Box<dyn Future<Output = Option<Response>> + Send>>,
    /// Whether the next request may start before this one is answered.
    pub next_may_start: bool,
    /// Whether the wait ends when the peer hangs up: only for requests that change nothing.
    pub dropped_on_hang_up: bool,
}

/// Who turns frames into answers.
pub trait Service: Send + Sync + 'static {
    /// What the service keeps about one connection.
    type Session: Send;

    /// A connection was made on the listener of this number.
    fn connected(self: &Arc<Self>, listener: usize, peer: SocketAddr) -> Self::Session;

    /// Starts the request of one frame.
    fn start(self: &Arc<Self>, session: &mut Self::Session, frame: Bytes) -> Answer;

    /// A response is ready, so long after its request was whole.
    fn answered(self: &Arc<Self>, api: ApiKey, took: Duration);

    /// A buffer that the last request needs no more, to be read into again.
    fn take_back(self: &Arc<Self>, session: &mut Self::Session) -> Option<BytesMut>;
}

/// What all connections of a broker share.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// Requests under way per connection.
    pub read_ahead_max: usize,
    /// `connections.max.idle.ms`.
    pub idle_max: Option<Duration>,
    /// The budget of request bytes.
    pub budget: Budget,
    /// Buffers for large frames.
    pub pool: Pool,
    /// Source of the time.
    pub clock: Clock,
}

/// Why a connection ended, where it is worth a line in the log.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Bytes that are no request.
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A frame began and did not go on.
    #[error("a request of {size} bytes did not go on for {} s", FRAME_STALL_MAX.as_secs())]
    Stalled {
        /// Its size.
        size: usize,
    },
    /// The peer does not take its response.
    #[error("the client took no bytes of its response for too long")]
    SendStalled,
}

struct Slot {
    answer: Answer,
    started: Instant,
    _share: Share,
}

/// Serves a connection until it ends.
///
/// # Errors
/// Why it ended, if neither the peer nor the broker closed it in good order.
pub async fn serve<S: Service>(
    service: Arc<S>,
    mut session: S::Session,
    stream: Stream,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), Ended> {
    let (mut reader, mut writer) = stream.split();
    let mut input = Input::new(limits.clone());
    let mut slots: VecDeque<Slot> = VecDeque::new();
    let mut last_activity = limits.clock.now();
    let mut timer = Box::pin(limits.clock.sleep_until(last_activity + BUFFER_IDLE));
    let mut hung_up = false;
    loop {
        while may_start(&slots, &limits) && input.pending_share.is_none() {
            let Some((frame, share)) = input.next_frame()? else { break };
            last_activity = limits.clock.now();
            let answer = service.start(&mut session, frame);
            if let Some(buffer) = service.take_back(&mut session) {
                limits.pool.give(buffer);
            }
            slots.push_back(Slot { answer, started: last_activity, _share: share });
        }
        if send_ready(&service, &mut slots, &mut writer, &limits).await? == Next::Close {
            return Ok(());
        }
        if hung_up && (slots.is_empty() || dropped_on_hang_up(&slots)) {
            return Ok(());
        }
        let wants_bytes = !hung_up && input.wants_bytes(may_start(&slots, &limits));
        let read_max = input.read_max();
        let Input { buffer, pending_share, .. } = &mut input;
        let event = tokio::select! {
            biased;
            response = front_answer(&mut slots), if !slots.is_empty() => Event::Answer(response),
            share = share_of(pending_share), if pending_share.is_some() => Event::Share(share),
            read = read_some(&mut reader, buffer, read_max), if wants_bytes => Event::Read(read?),
            () = &mut timer => Event::Timer,
            _ = shutdown.changed() => return Ok(()),
        };
        match event {
            Event::Answer(response) => {
                last_activity = limits.clock.now();
                if let Some(front) = slots.front_mut() {
                    front.answer = response.map_or(Answer::Close, Answer::Ready);
                }
            }
            Event::Share(share) => input.share_came(share),
            Event::Read(0) => hung_up = true,
            Event::Read(_) => input.last_read = limits.clock.now(),
            Event::Timer => match input.on_timer(limits.clock.now(), last_activity, slots.is_empty())? {
                Some(deadline) => timer = Box::pin(limits.clock.sleep_until(deadline)),
                None => return Ok(()),
            },
        }
    }
}

enum Event {
    Answer(Option<Response>),
    Share(Share),
    Read(usize),
    Timer,
}

#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Close,
}

fn may_start(slots: &VecDeque<Slot>, limits: &Limits) -> bool {
    slots.len() < limits.read_ahead_max
        && slots.back().is_none_or(|slot| match &slot.answer {
            Answer::Later(pending) => pending.next_may_start,
            Answer::Close => false,
            Answer::Ready(response) => !response.close_after,
            Answer::Silent => true,
        })
}

fn dropped_on_hang_up(slots: &VecDeque<Slot>) -> bool {
    matches!(slots.front(), Some(Slot { answer: Answer::Later(pending), .. }) if pending.dropped_on_hang_up)
}

async fn front_answer(slots: &mut VecDeque<Slot>) -> Option<Response> {
    match slots.front_mut() {
        Some(Slot { answer: Answer::Later(pending), .. }) => pending.future.as_mut().await,
        // `send_ready` has taken every other kind off the front.
        _ => std::future::pending().await,
    }
}

async fn share_of(pending: &mut Option<PendingShare>) -> Share {
    match pending {
        Some(share) => share.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn send_ready<S: Service>(
    service: &Arc<S>,
    slots: &mut VecDeque<Slot>,
    writer: &mut WriteHalf,
    limits: &Limits,
) -> Result<Next, Ended> {
    if slots.front().is_none_or(|slot| matches!(slot.answer, Answer::Later(_))) {
        return Ok(Next::GoOn);
    }
    let mut ready = Vec::new();
    let mut next = Next::GoOn;
    let now = limits.clock.now();
    while next == Next::GoOn && slots.front().is_some_and(|slot| !matches!(slot.answer, Answer::Later(_))) {
        let Some(slot) = slots.pop_front() else { break };
        match slot.answer {
            Answer::Ready(response) => {
                if response.close_after {
                    next = Next::Close;
                }
                service.answered(response.api, now.saturating_duration_since(slot.started));
                ready.push(response);
            }
            Answer::Close => next = Next::Close,
            Answer::Silent | Answer::Later(_) => {}
        }
    }
    if !ready.is_empty() {
        let limit = limits.idle_max.unwrap_or(SEND_STALL_MAX);
        tokio::select! {
            biased;
            sent = send_all(ready, writer) => sent?,
            () = limits.clock.sleep(limit) => return Err(Ended::SendStalled),
        }
    }
    Ok(next)
}
