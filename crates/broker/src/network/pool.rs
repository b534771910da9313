//! Buffers for large frames, shared by all connections and never zeroed.
//!
//! A large frame is read into a buffer of its own, so that its batches can be patched and written where they lie. The buffer used last is used next: its pages are mapped and
//! perhaps still in the processor's cache. A connection that is silent holds none.

use std::sync::Arc;

use bytes::BytesMut;
use parking_lot::Mutex;

/// Buffers kept for later; more are freed.
const BUFFERS_MAX: usize = 16;
/// A buffer larger than this is freed after its frame.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// Room is made in multiples of this, so that frames of nearly the same size fit each other's buffers.
const ROOM_STEP_BYTES: usize = 64 << 10;

/// Buffers that wait for the next large frame. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    free: Arc<Mutex<Vec<BytesMut>>>,
}

impl Pool {
    /// An empty buffer with room for so many bytes.
    #[must_use]
    pub fn take(&self, bytes: usize) -> BytesMut {
        let found = {
            let mut free = self.free.lock();
            let fits = free.iter().rposition(|buffer| buffer.capacity() >= bytes);
            fits.map(|at| free.remove(at))
        };
        found.unwrap_or_else(|| BytesMut::with_capacity(bytes.next_multiple_of(ROOM_STEP_BYTES)))
    }

    /// Takes a buffer whose frame is of no more use.
    pub fn give(&self, mut buffer: BytesMut) {
        buffer.clear();
        // The size that stood before the frame lies before it in the same room; this takes its bytes back.
        let whole_room = buffer.capacity().next_multiple_of(ROOM_STEP_BYTES);
        let _ = buffer.try_reclaim(whole_room);
        if !(ROOM_STEP_BYTES..=BUFFER_BYTES_MAX).contains(&buffer.capacity()) {
            return;
        }
        let mut free = self.free.lock();
        if free.len() < BUFFERS_MAX {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_used_last_is_used_next_and_none_is_kept_beyond_the_bounds() {
        let pool = Pool::default();
        let mut first = pool.take(100_000);
        first.extend_from_slice(&[1; 100_000]);
        let place = first.as_ptr();
        pool.give(first);
        let again = pool.take(100_004);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(again.capacity() >= 100_004);
        pool.give(again);
        assert!(pool.take(500_000).capacity() >= 500_000, "one that is too small is left to others");
        assert_eq!(pool.free.lock().len(), 1);
        for _ in 0..100 {
            pool.give(BytesMut::with_capacity(ROOM_STEP_BYTES));
        }
        assert_eq!(pool.free.lock().len(), BUFFERS_MAX);
        let empty = Pool::default();
        empty.give(BytesMut::with_capacity(BUFFER_BYTES_MAX + 1));
        empty.give(BytesMut::new());
        assert!(empty.free.lock().is_empty());
    }
}
