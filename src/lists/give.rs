//! The way home for a buffer that the hot path did not bring there.
//!
//! Owns: what is tried, and in which order. Uses: the lists. Used by: the hot
//! path of `give`.

use super::ledger::{Carry, count};
use super::{FreeLists, Given};
use crate::cache::{CpuCaches, Refused};
use crate::class::ClassId;
use crate::depot::Shut;
use crate::sync::fault;
use crate::word::{Batch, Index};

/// What came of making room in a processor's cache.
enum Flushed<'a> {
    /// There is some.
    Room,
    /// There was no spare batch to move buffers in, or nothing to move.
    Nothing,
    /// The depot is shut; the batch is the caller's, and announced.
    Shut(Batch, Carry<'a>),
}

impl<C: CpuCaches> FreeLists<C> {
    /// Gives back a buffer that this processor's cache did not take.
    #[cold]
    #[inline(never)]
    pub fn give_slow(&self, class: ClassId, index: Index) -> Given {
        loop {
            // `index` is still ours, so the pool is still there.
            match self.caches.push_again(&self.tables, class, index) {
                Ok(()) => return Given::Home,
                Err(Refused::Shut) => return self.give_shut(class, index, None),
                Err(Refused::Diverted) => return self.give_loose(class, index),
                Err(Refused::Full) => match self.flush(class) {
                    Flushed::Room => {}
                    Flushed::Nothing => return self.give_loose(class, index),
                    Flushed::Shut(batch, carry) => {
                        return self.give_shut(class, index, Some((batch, carry)));
                    }
                },
            }
        }
    }

    fn give_loose(&self, class: ClassId, index: Index) -> Given {
        let loose = self.loose(class);
        match loose.push(&self.tables.records, index, u32::MAX) {
            Ok(()) => Given::Home,
            Err(_) => self.give_shut(class, index, None),
        }
    }

    /// Gives back a buffer whose list is shut, and a batch that the caller
    /// announced.
    fn give_shut(&self, class: ClassId, index: Index, batch: Option<(Batch, Carry<'_>)>) -> Given {
        let (batch, carry) = batch.unzip();
        let visiting = self.home.visit();
        let mut wakes = self.line.wakes();
        if visiting {
            // The one in hand goes first: a buffer of the batch would have to be
            // taken out of it.
            self.put_back(class, index, &mut wakes);
            if let Some(batch) = batch {
                self.depot(class).force(&self.tables.batches, batch);
                self.serve(class, &mut wakes);
            }
            // That may have been the last who waited.
            self.unshut(class);
        }
        // The announcement ends before what may be the last touch of the pool.
        let _late = fault!(LateTouch, carry, {
            drop(carry);
            None::<Carry<'_>>
        });
        drop(wakes);
        if visiting {
            return self.leave();
        }
        // The pool is closing: they are late.
        let count = 1 + batch.map_or(0, Batch::count);
        if self.home.came(count.into()) {
            Given::Last
        } else {
            Given::Home
        }
    }

    /// Gives up a handle.
    pub fn leave(&self) -> Given {
        if self.home.leave() {
            Given::Close
        } else {
            Given::Home
        }
    }

    /// Moves a batch from this processor's cache to the depot. The caller holds
    /// a buffer of the pool, so the pool outlives the call.
    fn flush(&self, class: ClassId) -> Flushed<'_> {
        let batches = &self.tables.batches;
        let Some(id) = batches.take() else {
            return Flushed::Nothing;
        };
        let cpu = self.caches.current();
        let ledger = self.ledger(cpu, class);
        let carry = Carry::begin(ledger);
        // What is above the capacity, which may have shrunk, goes at once.
        let held = self.caches.len(&self.tables, cpu, class) as u32;
        let above = held.saturating_sub(self.caches.capacity(cpu, class).into());
        let some = above.max(self.batch_size(cpu, class));
        let Some(handful) = self.caches.flush(&self.tables, class, some) else {
            batches.put(id);
            return Flushed::Nothing;
        };
        count(&ledger.flushes);
        self.missed(cpu, class, None);
        let batch = batches.fill(id, handful.as_slice());
        match self.depot(class).push(batches, batch) {
            Ok(()) => Flushed::Room,
            Err(Shut(batch)) => Flushed::Shut(batch, carry),
        }
    }

    /// How many buffers move at once between the cache of `cpu` and the depot.
    pub(super) fn batch_size(&self, cpu: usize, class: ClassId) -> u32 {
        u32::from(self.caches.capacity(cpu, class) / 2).max(1)
    }
}
