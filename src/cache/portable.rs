//! Per-CPU caches for every machine: two tagged words a processor and class.
//!
//! Owns: the slots. Uses: `sync`, `sys::cpu`, `table`, `record`, `batch`,
//! `word`. Used by: `lists`, through `CpuCaches`.
//!
//! ```text
//!   freed  {tag, closed, index} ──▶ a ─next─▶ b ─next─▶ c   what came back here
//!                                   depth 3   depth 2   depth 1
//!
//!   filled {tag, count, batch}  ──▶ [d e f . . .]           what the depot gave
//! ```
//!
//! A buffer that comes back is linked into `freed`; a batch from the depot
//! becomes `filled` as it is. A request takes from `freed` first (it is warm),
//! then from `filled`. Links are written by threads that free on this processor
//! and read by threads that allocate on it, so they stay in its cache; a stream
//! of buffers from one processor to another moves in batches alone.
//!
//! A buffer in a slot is held by nobody; whoever moves the word past it holds
//! it. The depth of the top is the length of `freed`, so no counter is kept.
//! Neither links nor arrays change until their word has moved past them, and
//! then the tag has changed: a compare-and-swap that succeeds proves that all
//! its caller read was current. The processor number is advice: a thread that
//! migrates between reading it and the compare-and-swap merely uses a colder
//! slot.

use super::{CpuCaches, Empty, Handful, Refused, Tables};
use crate::batch::MAX_BATCH;
use crate::class::{ClassId, MAX_CLASSES};
use crate::record::Records;
use crate::sync::{AtomicU64, Ordering, fault, touch};
use crate::sys::cpu;
use crate::table::{Table, Zeroed};
use crate::word::{Batch, Head, Index, Pile};
use std::io;

/// The free buffers of one processor and class.
///
/// Both words are written by compare-and-swap alone. `push` and `refill` release
/// what their thread wrote; every reader acquires. Pops are read-modify-writes,
/// so they continue the release sequence of every earlier push.
#[derive(Default)]
struct Slot {
    /// A `Head`.
    freed: AtomicU64,
    /// A `Pile`; never closed, since only holders of a handle fill it.
    filled: AtomicU64,
}

// SAFETY: integer atomics alone; all-zero bytes are an open, empty slot.
unsafe impl Zeroed for Slot {}

impl Slot {
    fn freed(&self) -> Head {
        // Acquire: pairs with the Release in `push`.
        Head::from_word(self.freed.load(Ordering::Acquire))
    }

    fn swap_freed(&self, old: Head, new: Head, success: Ordering) -> Result<(), Head> {
        // Failure is Acquire for the same reason as `freed`.
        self.freed
            .compare_exchange_weak(old.word(), new.word(), success, Ordering::Acquire)
            .map(drop)
            .map_err(Head::from_word)
    }

    fn filled(&self) -> Pile {
        // Acquire: pairs with the Release in `refill`.
        Pile::from_word(self.filled.load(Ordering::Acquire))
    }

    fn swap_filled(&self, old: Pile, new: Pile, success: Ordering) -> Result<(), Pile> {
        // Failure is Acquire for the same reason as `filled`.
        self.filled
            .compare_exchange_weak(old.word(), new.word(), success, Ordering::Acquire)
            .map(drop)
            .map_err(Pile::from_word)
    }

    #[inline]
    fn pop(&self, tables: &Tables) -> Result<Index, Empty> {
        let mut head = self.freed();
        while let Some(top) = head.top() {
            let rest = tables.records.get(top.raw() as usize).next();
            // Release: whoever sees the buffer gone sees what this thread gave
            // or announced before (`lists`). The Acquire side was done by
            // `freed`, whose value the tag proves to be current.
            let order = fault!(TakeRelaxed, Ordering::Relaxed, Ordering::Release);
            match self.swap_freed(head, head.with_top(rest), order) {
                Ok(()) => return Ok(top),
                Err(now) => head = now,
            }
        }
        self.pop_filled(tables)
            .map_err(|pile| Empty(u64::from(head.tag()) + u64::from(pile.tag())))
    }

    #[inline]
    fn pop_filled(&self, tables: &Tables) -> Result<Index, Pile> {
        let mut pile = self.filled();
        loop {
            let batch = pile.batch();
            let last = match tables.batches.last(batch) {
                Some(last) => last,
                None if batch.is_none() => return Err(pile),
                // The array is being rewritten: the word is stale.
                None => {
                    pile = self.filled();
                    continue;
                }
            };
            let rest = if batch.count() > 1 {
                batch.less_one()
            } else {
                Batch::NONE
            };
            // Release: as in `pop`.
            let order = fault!(TakeRelaxed, Ordering::Relaxed, Ordering::Release);
            match self.swap_filled(pile, pile.with(rest), order) {
                Ok(()) => {
                    if batch.count() == 1 {
                        tables.batches.put(batch.id());
                    }
                    return Ok(last);
                }
                Err(now) => pile = now,
            }
        }
    }

    #[inline]
    fn push(&self, records: &Records, index: Index, capacity: u32) -> Result<(), Refused> {
        let record = records.get(index.raw() as usize);
        let mut head = self.freed();
        loop {
            if fault!(IgnoreClosed, false, head.is_closed()) {
                return Err(Refused::Closed);
            }
            let depth = Self::depth(head, records);
            if depth >= capacity {
                return Err(Refused::Full);
            }
            record.set(head.top(), depth + 1);
            // Release: whoever acquires this head sees the links and everything
            // this thread did with the buffer.
            let order = fault!(SlotPushRelaxed, Ordering::Relaxed, Ordering::Release);
            match self.swap_freed(head, head.with_top(Some(index)), order) {
                Ok(()) => return Ok(()),
                Err(now) => head = now,
            }
        }
    }

    fn refill(&self, batch: Batch) -> Result<(), Batch> {
        let pile = self.filled();
        if !pile.batch().is_none() {
            return Err(batch);
        }
        // Release: whoever acquires this word sees the array as we got it.
        self.swap_filled(pile, pile.with(batch), Ordering::Release)
            .map_err(|_| batch)
    }

    fn flush(&self, records: &Records, count: u32) -> Option<Handful> {
        let mut head = self.freed();
        loop {
            let first = head.top()?;
            let mut handful = Handful::empty(first);
            let mut rest = Some(first);
            for _ in 0..(count as usize).min(MAX_BATCH) {
                let Some(index) = rest else { break };
                handful.add(index);
                rest = records.get(index.raw() as usize).next();
            }
            // Release: the taker announced the carry before this; whoever sees
            // the buffers gone must see the announcement (`lists::Carry`).
            match self.swap_freed(head, head.with_top(rest), Ordering::Release) {
                Ok(()) => return Some(handful),
                Err(now) => head = now,
            }
        }
    }

    fn unfill(&self) -> Option<Batch> {
        let mut pile = self.filled();
        while !pile.batch().is_none() {
            // Release: as in `flush`.
            match self.swap_filled(pile, pile.with(Batch::NONE), Ordering::Release) {
                Ok(()) => return Some(pile.batch()),
                Err(now) => pile = now,
            }
        }
        None
    }

    fn close(&self, records: &Records) -> u64 {
        let mut head = self.freed();
        // AcqRel: acquires what the last pusher released, since the memory may
        // be unmapped next; releases the counter that late buffers go to.
        while let Err(now) = self.swap_freed(head, head.closed(), Ordering::AcqRel) {
            head = now;
        }
        u64::from(Self::depth(head, records) + self.filled().batch().count())
    }

    fn len(&self, records: &Records) -> u64 {
        u64::from(Self::depth(self.freed(), records)) + u64::from(self.filled().batch().count())
    }

    fn depth(head: Head, records: &Records) -> u32 {
        head.top()
            .map_or(0, |top| records.get(top.raw() as usize).depth())
    }
}

/// Slots for `cpus` processors and every class, a row a processor.
pub struct Portable {
    slots: Table<Slot>,
    cpus: usize,
}

impl Portable {
    /// Empty slots for `cpus` processors. Fails as `mmap` does.
    pub fn new(cpus: usize) -> io::Result<Self> {
        Ok(Self {
            slots: Table::new(cpus * MAX_CLASSES)?,
            cpus,
        })
    }

    #[inline]
    fn slot(&self, cpu: usize, class: ClassId) -> &Slot {
        self.slots.get(cpu * MAX_CLASSES + class.index())
    }

    #[inline]
    fn own(&self, class: ClassId) -> &Slot {
        self.slot(self.current(), class)
    }
}

impl CpuCaches for Portable {
    fn cpus(&self) -> usize {
        self.cpus
    }

    fn name(&self) -> &'static str {
        "portable"
    }

    #[inline]
    fn current(&self) -> usize {
        cpu::current(self.cpus)
    }

    #[inline]
    fn pop(&self, tables: &Tables, class: ClassId) -> Option<Index> {
        self.own(class).pop(tables).ok()
    }

    #[inline]
    fn push(
        &self,
        tables: &Tables,
        class: ClassId,
        index: Index,
        capacity: u32,
    ) -> Result<(), Refused> {
        self.own(class).push(&tables.records, index, capacity)
    }

    fn refill(&self, _tables: &Tables, class: ClassId, batch: Batch) -> Result<(), Batch> {
        self.own(class).refill(batch)
    }

    fn flush(&self, tables: &Tables, cpu: usize, class: ClassId, count: u32) -> Option<Handful> {
        self.slot(cpu, class).flush(&tables.records, count)
    }

    fn unfill(&self, _tables: &Tables, cpu: usize, class: ClassId) -> Option<Batch> {
        self.slot(cpu, class).unfill()
    }

    fn steal(&self, tables: &Tables, cpu: usize, class: ClassId) -> Result<Index, Empty> {
        self.slot(cpu, class).pop(tables)
    }

    fn close(&self, tables: &Tables, cpu: usize, class: ClassId) -> u64 {
        self.slot(cpu, class).close(&tables.records)
    }

    fn len(&self, tables: &Tables, cpu: usize, class: ClassId) -> u64 {
        self.slot(cpu, class).len(&tables.records)
    }

    fn populate(&self, class: ClassId) {
        for cpu in 0..self.cpus {
            touch(&self.slot(cpu, class).freed);
        }
    }

    fn resident(&self) -> io::Result<usize> {
        self.slots.resident(usize::MAX)
    }
}
