//! The budget of request bytes that all connections share (`queued.max.request.bytes`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Frames up to this size need no share: they fit the buffer every connection may have anyway.
pub const FREE_BYTES_MAX: usize = 4 * 1024;

/// Shares are counted in units, so that a budget of terabytes still fits the semaphore's counter.
const UNIT_BYTES: usize = 1024;

/// Hands out shares of memory in the order they are asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    units: Arc<Semaphore>,
    units_total: usize,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub struct Share {
    _permit: Option<OwnedSemaphorePermit>,
}

/// A share that is on its way.
pub type PendingShare = Pin<Box<dyn Future<Output = Share> + Send>>;

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Budget {
        let units_total = (bytes / UNIT_BYTES).clamp(1, u32::MAX as usize >> 3);
        Budget { units: Arc::new(Semaphore::new(units_total)), units_total }
    }

    /// A share for a frame, at once if there is one and nobody waits before.
    pub fn try_take(&self, bytes: usize) -> Result<Share, PendingShare> {
        if bytes <= FREE_BYTES_MAX {
            return Ok(Share { _permit: None });
        }
        let units = self.units_for(bytes);
        match self.units.clone().try_acquire_many_owned(units) {
            Ok(permit) => Ok(Share { _permit: Some(permit) }),
            Err(_) => {
                let waiting = self.units.clone();
                Err(Box::pin(async move { Share { _permit: waiting.acquire_many_owned(units).await.ok() } }))
            }
        }
    }

    /// A frame larger than the whole budget takes all of it, rather than wait for ever.
    fn units_for(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES).min(self.units_total)).unwrap_or(u32::MAX >> 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_waits_until_another_gives_its_share_back() {
        let budget = Budget::new(1 << 20);
        let Ok(first) = budget.try_take(900 << 10) else { panic!("the budget is untouched") };
        let Err(waiting) = budget.try_take(500 << 10) else { panic!("only 124 KiB are left") };
        assert!(budget.try_take(FREE_BYTES_MAX).is_ok(), "small frames never wait");
        drop(first);
        let _second = waiting.await;
    }

    #[test]
    fn a_frame_over_the_whole_budget_still_passes_alone() {
        assert!(Budget::new(1 << 20).try_take(100 << 20).is_ok());
    }
}
