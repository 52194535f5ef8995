//! The way home for a buffer that the hot path did not bring there.
//!
//! Owns: what is tried, and in which order. Uses: the lists. Used by: the hot
//! path of `give`.

use super::ledger::{Carry, count};
use super::waiting::Owed;
use super::{FreeLists, Given};
use crate::cache::{CpuCaches, Refused};
use crate::chain::Chain;
use crate::class::ClassId;
use crate::depot::Shut;
use crate::sync::fault;
use crate::word::{Batch, Head, Index};

/// How many changes of a list there are from one look at the clock to the next, while
/// enough of those who wait have been called.
const LOOKS: u32 = if cfg!(hugepool_loom) { 1 } else { 4 };

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
    /// Gives back a buffer that this processor's cache did not take. (Inlined, so
    /// that the hot path of `pool`, which wraps it in a function of its own, makes one call
    /// and not two.)
    #[cold]
    #[inline]
    pub fn give_slow(&self, class: ClassId, index: Index) -> Given {
        // `index` is ours until it is home, so the pool is still there.
        while self.is_open(class) {
            self.give_room(self.here(), class);
            match self.caches.push_again(&self.tables, class, index) {
                Ok(()) => return Given::Home,
                Err(Refused::Shut | Refused::Diverted) => break,
                Err(Refused::Full) => match self.flush(class) {
                    Flushed::Room => {}
                    Flushed::Nothing => break,
                    Flushed::Shut(batch, carry) => {
                        return self.give_batch(class, index, batch, carry);
                    }
                },
            }
        }
        self.give_loose(class, index)
    }

    /// Puts a buffer onto the list that all processors share.
    fn give_loose(&self, class: ClassId, index: Index) -> Given {
        let loose = self.own_loose(class);
        let records = &self.tables.records;
        let mut head = loose.head();
        loop {
            if fault!(IgnoreShut, false, head.is_shut())
                && let Some(due) = self.must_be_seen(class, head)
            {
                return self.give_seen(class, index, due);
            }
            // See `waiting` for why nobody misses it.
            match loose.push_onto(records, index, head) {
                Ok(()) => return Given::Home,
                Err(now) => head = now,
            }
        }
    }

    /// Whether a buffer that comes to a list that is shut, and is `head`, must be shown
    /// to those who wait; and then, whether it is to be handed over.
    fn must_be_seen(&self, class: ClassId, head: Head) -> Option<bool> {
        let service = self.line.service(class);
        let free = Chain::depth(head, &self.tables.records);
        let called = service.called();
        // A task may never look, so that one more is called for each buffer; a thread
        // that was called does, and attends to the others.
        let enough = called.threads() >= self.callers()
            || called.threads() == called.all() && called.all() > free;
        if !enough || self.line.is_collecting() {
            return Some(self.line.is_strict() || self.line.is_due(service));
        }
        ((head.tag() >> 1).is_multiple_of(LOOKS) && self.line.is_due(service)).then_some(true)
    }

    /// Gives back a buffer to a list that is shut: somebody waits, or the pool closes.
    /// `due`: it is to be handed to the next in turn.
    #[cold]
    fn give_seen(&self, class: ClassId, index: Index, due: bool) -> Given {
        if !self.home.visit() {
            return self.give_late(1);
        }
        let mut owed = Owed::default();
        Self::owe(class, &mut owed);
        match self.serve(class, index, due, &mut owed) {
            Ok(wake) => drop(wake),
            Err(index) => {
                self.own_loose(class).force(&self.tables.records, index);
            }
        }
        self.settle(owed);
        self.leave()
    }

    /// Gives back a buffer, and a batch that the caller announced, to a depot that is
    /// shut.
    #[cold]
    fn give_batch(&self, class: ClassId, index: Index, batch: Batch, carry: Carry<'_>) -> Given {
        if !self.home.visit() {
            // The announcement ends before what may be the last touch of the pool.
            let _late = fault!(LateTouch, Some(carry), {
                drop(carry);
                None::<Carry<'_>>
            });
            return self.give_late(1 + u64::from(batch.count()));
        }
        let mut owed = Owed::default();
        self.unpack(class, batch, &mut owed);
        self.put_loose(class, index, &mut owed);
        drop(carry);
        self.settle(owed);
        self.leave()
    }

    /// Buffers that come when the pool is closing.
    fn give_late(&self, count: u64) -> Given {
        if self.home.came(count) {
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
        self.depot(class).soon();
        batches.soon();
        let Some(id) = batches.take() else {
            return Flushed::Nothing;
        };
        let cpu = self.here();
        let ledger = self.ledger(cpu, class);
        let carry = Carry::begin(ledger);
        let some = self.share_to_flush(cpu, class);
        let Some(batch) = self.caches.flush(&self.tables, class, some, id) else {
            batches.put(id);
            return Flushed::Nothing;
        };
        count(&ledger.flushes);
        self.flushed(cpu, class);
        match self.depot(class).push(batches, batch) {
            Ok(()) => Flushed::Room,
            Err(Shut(batch)) => Flushed::Shut(batch, carry),
        }
    }

    /// How many buffers move at once between the cache of `cpu` and the depot.
    pub(super) fn batch_size(&self, cpu: usize, class: ClassId) -> u32 {
        u32::from(self.caches.capacity(cpu, class) / 2).max(1)
    }

    /// Puts a batch that the caller holds into the depot, or its buffers onto the loose
    /// list if the depot is shut. The caller holds a handle.
    pub(super) fn put_batch(&self, class: ClassId, batch: Batch, owed: &mut Owed) {
        if let Err(Shut(batch)) = self.depot(class).push(&self.tables.batches, batch) {
            self.unpack(class, batch, owed);
        }
    }

    /// Puts the buffers of a batch that the caller holds onto the loose list.
    pub(super) fn unpack(&self, class: ClassId, batch: Batch, owed: &mut Owed) {
        (self.tables.batches).empty(batch, |index| self.put_loose(class, index, owed));
    }
}
