//! Kept partitions of one RDD.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::error::TaskError;

pub(super) struct Cache<T> {
    slots: RwLock<Option<Arc<Slots<T>>>>,
    cut: AtomicBool,
}

/// One slot per partition. A slot's lock is held while its partition is computed, so that a partition wanted by two tasks is computed once.
/// Lineages have no cycles, so the locks taken on the way up have none either.
pub(super) struct Slots<T> {
    slots: Vec<Mutex<Option<Arc<Vec<T>>>>>,
    filled: AtomicUsize,
}

impl<T> Default for Cache<T> {
    fn default() -> Cache<T> {
        Cache { slots: RwLock::new(None), cut: AtomicBool::new(false) }
    }
}

impl<T> Cache<T> {
    pub(super) fn keep(&self, partitions: usize) {
        self.slots.write().get_or_insert_with(|| {
            let slots = (0..partitions).map(|_| Mutex::new(None)).collect();
            Arc::new(Slots { slots, filled: AtomicUsize::new(0) })
        });
    }

    pub(super) fn forget(&self) {
        *self.slots.write() = None;
    }

    pub(super) fn slots(&self) -> Option<Arc<Slots<T>>> {
        self.slots.read().clone()
    }

    pub(super) fn cut_lineage(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// The blocks of all partitions, where the lineage is to be cut and all are there.
    pub(super) fn complete_cut(&self, slots: &Slots<T>) -> Option<Vec<Arc<Vec<T>>>> {
        if !self.cut.load(Ordering::SeqCst) || !slots.is_full() {
            return None;
        }
        slots.slots.iter().map(|slot| slot.lock().clone()).collect()
    }
}

impl<T> Slots<T> {
    pub(super) fn is_full(&self) -> bool {
        self.filled.load(Ordering::SeqCst) == self.slots.len()
    }

    pub(super) fn get_or_compute(
        &self,
        partition: usize,
        compute: impl FnOnce() -> Result<Vec<T>, TaskError>,
    ) -> Result<Arc<Vec<T>>, TaskError> {
        let mut slot = self.slots[partition].lock();
        if let Some(block) = &*slot {
            return Ok(block.clone());
        }
        let block = Arc::new(compute()?);
        *slot = Some(block.clone());
        self.filled.fetch_add(1, Ordering::SeqCst);
        Ok(block)
    }
}
