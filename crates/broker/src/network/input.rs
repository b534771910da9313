//! The bytes of a connection that are not yet a request.
//!
//! Small frames are cut from a small buffer, several from one read. A large frame gets a buffer of its own from the [`Pool`](super::pool::Pool), is read to its end and not beyond, and so can be patched
//! where it lies: from socket to page cache its records are copied once each way. Nothing is set aside for a size that was only claimed: the share of the budget comes first, and room
//! for more than [`ROOM_AT_ONCE_MAX`] only as the bytes arrive.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use runtime::clock::Instant;
use runtime::net::ReadHalf;
use tokio::io::AsyncReadExt;

use super::budget::{PendingShare, Share};
use super::connection::{Ended, Limits};
use super::frame;

/// Bytes read at a time while the size of the next frame is not known.
const HEAD_BYTES: usize = 2 * 1024;
/// A frame longer than this is read into a buffer of its own. Of what is read before its size is looked at, nothing lies beyond its end.
const SMALL_FRAME_MAX: usize = 2 * HEAD_BYTES;
/// Room that a frame gets before its bytes are there.
const ROOM_AT_ONCE_MAX: usize = 2 << 20;
/// After this much silence an empty buffer is given back.
pub const BUFFER_IDLE: Duration = Duration::from_secs(1);
/// A frame that has begun must get on within this time, so that a stalled sender does not hold its share of the budget.
pub const FRAME_STALL_MAX: Duration = Duration::from_secs(30);

/// Reads at most `read_max` bytes of what has come. Nothing is lost when this is dropped before it is done, and no memory is held while nothing comes after a silence.
pub async fn read_some(reader: &mut ReadHalf, buffer: &mut BytesMut, read_max: usize) -> std::io::Result<usize> {
    if buffer.capacity() == 0 {
        reader.readable().await?;
    }
    buffer.reserve(read_max);
    reader.read_buf(&mut buffer.limit(read_max)).await
}

/// The bytes that have come and are not yet a request.
pub struct Input {
    /// The beginning of the next frame.
    pub buffer: BytesMut,
    /// The share of the frame that is being read; none while its size is not known.
    share: Option<Share>,
    /// That share, while it is on its way.
    pub pending_share: Option<PendingShare>,
    /// When bytes came last.
    pub last_read: Instant,
    limits: Limits,
}

impl Input {
    /// Nothing has come yet.
    pub fn new(limits: Limits) -> Input {
        Input { buffer: BytesMut::new(), share: None, pending_share: None, last_read: limits.clock.now(), limits }
    }

    /// Takes the next whole frame, once it has its share of the budget.
    pub fn next_frame(&mut self) -> Result<Option<(Bytes, Share)>, Ended> {
        let Some(size) = frame::size(&self.buffer, self.limits.request_bytes_max)? else { return Ok(None) };
        if self.share.is_none() {
            match self.limits.budget.try_take(size) {
                Ok(share) => self.share = Some(share),
                Err(pending) => {
                    self.pending_share = Some(pending);
                    return Ok(None);
                }
            }
        }
        if let Some(frame) = frame::take(&mut self.buffer, size) {
            return Ok(self.share.take().map(|share| (frame, share)));
        }
        self.make_room(frame::SIZE_BYTES + size);
        Ok(None)
    }

    /// Room for a frame that has begun, `whole` bytes with its size, as far as it may have it now.
    fn make_room(&mut self, whole: usize) {
        if self.buffer.capacity() >= whole {
            return;
        }
        let room = whole.min(ROOM_AT_ONCE_MAX.max(2 * self.buffer.len()));
        if whole <= SMALL_FRAME_MAX || self.buffer.len() > SMALL_FRAME_MAX {
            self.buffer.reserve(room - self.buffer.len());
            return;
        }
        let mut own = self.limits.pool.take(room);
        own.extend_from_slice(&self.buffer);
        self.buffer = own;
    }

    /// How much may be read now: of a large frame no more than what is missing, else enough for a small one.
    pub fn read_max(&self) -> usize {
        let size = frame::size(&self.buffer, self.limits.request_bytes_max);
        let (Ok(Some(size)), Some(_)) = (size, &self.share) else { return HEAD_BYTES };
        let (whole, held) = (frame::SIZE_BYTES + size, self.buffer.len());
        let missing = whole.saturating_sub(held);
        if whole <= SMALL_FRAME_MAX {
            return missing.max(HEAD_BYTES);
        }
        missing.min(self.buffer.capacity() - held).max(1)
    }

    /// The share of the budget that was waited for.
    pub fn share_came(&mut self, share: Share) {
        self.pending_share = None;
        self.share = Some(share);
    }

    /// Whether more bytes should be read: while a request may start, and else only to notice that the peer hung up.
    pub fn wants_bytes(&self, may_start: bool) -> bool {
        self.pending_share.is_none() && (may_start || self.buffer.len() < HEAD_BYTES)
    }

    /// Gives memory of a silent connection back and says when to look again; none once it was silent for too long.
    pub fn on_timer(
        &mut self,
        now: Instant,
        last_activity: Instant,
        nothing_under_way: bool,
    ) -> Result<Option<Instant>, Ended> {
        let last_activity = last_activity.max(self.last_read);
        if !self.buffer.is_empty() && nothing_under_way && self.pending_share.is_none() {
            if now >= self.last_read + FRAME_STALL_MAX {
                let size = frame::size(&self.buffer, self.limits.request_bytes_max)?.unwrap_or_default();
                return Err(Ended::Stalled { size });
            }
            return Ok(Some(self.last_read + FRAME_STALL_MAX));
        }
        if now < last_activity + BUFFER_IDLE {
            return Ok(Some(last_activity + BUFFER_IDLE));
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        // Looking again soon after the next activity would cost a timer per request; within this time the buffer of a woken connection may linger.
        const LOOK_AGAIN: Duration = Duration::from_secs(30);
        match self.limits.idle_max {
            Some(idle_max) if nothing_under_way && now >= last_activity + idle_max => Ok(None),
            Some(idle_max) if nothing_under_way => Ok(Some((last_activity + idle_max).min(now + LOOK_AGAIN))),
            _ => Ok(Some(now + LOOK_AGAIN)),
        }
    }
}

#[cfg(test)]
mod tests {
    use runtime::Clock;

    use super::super::budget::Budget;
    use super::super::pool::Pool;
    use super::*;

    fn input() -> Input {
        Input::new(Limits {
            request_bytes_max: 16 << 20,
            read_ahead_max: 16,
            idle_max: None,
            budget: Budget::new(64 << 20),
            pool: Pool::default(),
            clock: Clock::real(),
        })
    }

    fn frame_of(size: usize) -> Vec<u8> {
        let mut bytes = (size as u32).to_be_bytes().to_vec();
        bytes.extend((0..size).map(|at| (at % 251) as u8));
        bytes
    }

    /// Hands the bytes over as a socket does, at most `packet` at a time, and gives the sizes of the frames that come out; each must be whole, and a large one alone.
    fn sizes_of(wire: &[u8], packet: usize) -> Vec<usize> {
        let mut input = input();
        let mut rest = wire;
        let mut sizes = Vec::new();
        loop {
            while let Some((frame, _share)) = input.next_frame().unwrap() {
                assert_eq!(frame, frame_of(frame.len())[frame::SIZE_BYTES..]);
                sizes.push(frame.len());
                if frame.len() > SMALL_FRAME_MAX {
                    let own = frame.try_into_mut().expect("nothing else lies in a large frame's buffer");
                    input.limits.pool.give(own);
                }
            }
            if rest.is_empty() {
                assert!(input.buffer.is_empty());
                return sizes;
            }
            let (now, later) = rest.split_at(input.read_max().min(packet).min(rest.len()));
            assert!(!now.is_empty(), "a read of nothing would look like the end");
            input.buffer.extend_from_slice(now);
            rest = later;
        }
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let sizes =
            [100, 8, 3_000, SMALL_FRAME_MAX - 4, SMALL_FRAME_MAX, 20_000, 9, 9, 1_000_000, 5_000_000, 50, 70_000];
        let wire: Vec<u8> = sizes.iter().flat_map(|size| frame_of(*size)).collect();
        for packet in [1, 7, 1_448, 65_536, usize::MAX] {
            // One byte at a time is slow for the large ones, and shows nothing that seven do not.
            let sizes = if packet == 1 { &sizes[..3] } else { &sizes[..] };
            let whole: usize = sizes.iter().map(|size| size + frame::SIZE_BYTES).sum();
            assert_eq!(sizes_of(&wire[..whole], packet), sizes);
        }
    }

    #[test]
    fn a_claimed_size_alone_takes_little_memory() {
        let mut input = input();
        input.buffer.extend_from_slice(&(15u32 << 20).to_be_bytes());
        assert!(input.next_frame().unwrap().is_none());
        assert!(input.buffer.capacity() <= ROOM_AT_ONCE_MAX);
    }
}
