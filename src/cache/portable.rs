//! Per-CPU caches for every machine: two tagged words a processor and class.
//!
//! Owns: the slots. Uses: `sync`, `sys::cpu`, `table`, `chain`, `batch`, `word`.
//! Used by: `lists`, through `CpuCaches`.
//!
//! ```text
//!   freed  {tag, shut, index}  ──▶ a ─next─▶ b ─next─▶ c   what came back here
//!
//!   filled {tag, count, batch} ──▶ [d e f . . .]           what the depot gave
//! ```
//!
//! A buffer that comes back is linked into `freed`; a batch from the depot
//! becomes `filled` as it is. A request takes from `freed` first (it is warm),
//! then from `filled`. Links are written by threads that free on this processor
//! and read by threads that allocate on it, so they stay in its cache; a stream
//! of buffers from one processor to another moves in batches alone.
//!
//! A buffer in a slot is held by nobody; whoever moves the word past it holds
//! it. The array of a batch does not change until its word has moved past it,
//! and then the tag has changed: a compare-and-swap that succeeds proves that
//! all its caller read was current. The processor number is advice: a thread
//! that migrates between reading it and the compare-and-swap merely uses a
//! colder slot.

use super::{CpuCaches, Empty, Refilled, Refused, Robbed, Share, Tables};
use crate::batch::{Handful, MAX_BATCH};
use crate::chain::Chain;
use crate::class::{ClassId, Line, MAX_CLASSES};
use crate::sync::{AtomicU64, Ordering, fault};
use crate::sys::cpu;
use crate::table::{Table, Zeroed};
use crate::word::{Batch, Index, Pile};
use std::io;
use std::ops::Range;

/// The free buffers of one processor and class.
#[derive(Default)]
struct Slot {
    freed: Chain,
    /// A `Pile`, written by compare-and-swap alone. `refill` releases what its
    /// thread wrote; every reader acquires.
    filled: AtomicU64,
    /// How many both together may hold. Relaxed: any value it ever had will do.
    capacity: AtomicU64,
}

// SAFETY: integer atomics alone; all-zero bytes are an open, empty slot.
unsafe impl Zeroed for Slot {}

impl Slot {
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
    fn pop(&self, tables: &Tables) -> Option<Index> {
        let freed = self.freed.pop(&tables.records).ok();
        freed.or_else(|| {
            self.unfill(tables, |_| 1, true)
                .ok()?
                .as_slice()
                .first()
                .copied()
        })
    }

    #[inline]
    fn push(&self, tables: &Tables, index: Index) -> Result<(), Refused> {
        let capacity = self.capacity.load(Ordering::Relaxed) as u32;
        let left = capacity.saturating_sub(self.filled().batch().count());
        self.freed.push(&tables.records, index, left)
    }

    /// Takes all of `batch`, if there is room and no other.
    fn refill(&self, tables: &Tables, batch: Batch) -> bool {
        let pile = self.filled();
        let capacity = self.capacity.load(Ordering::Relaxed);
        let freed = self.freed.len(&tables.records);
        if fault!(IgnoreShut, false, pile.is_shut())
            || !pile.batch().is_none()
            || freed + u64::from(batch.count()) > capacity
        {
            return false;
        }
        // Release: whoever acquires this word sees the array as we got it.
        self.swap_filled(pile, pile.with(batch), Ordering::Release)
            .is_ok()
    }

    /// As `Chain::shut`, for both lists.
    fn shut(&self, tables: &Tables) -> u64 {
        let mut pile = self.filled();
        // AcqRel: as in `Depot::shut`.
        let order = fault!(ShutRelaxed, Ordering::Relaxed, Ordering::AcqRel);
        let every = fault!(FilledStaysOpen, false, true);
        while fault!(ShutOnce, !pile.is_shut(), every)
            && let Err(now) = self.swap_filled(pile, pile.with_shut(true), order)
        {
            pile = now;
        }
        self.freed.shut(&tables.records) + u64::from(pile.batch().count())
    }

    /// As `Chain::unshut`, for both lists.
    fn unshut(&self, idle: impl Fn() -> bool) {
        self.freed.unshut(&idle);
        let mut pile = self.filled();
        while pile.is_shut()
            && idle()
            && let Err(now) = self.swap_filled(pile, pile.with_shut(false), Ordering::Release)
        {
            pile = now;
        }
    }

    /// Takes as much of what is left of the batch as `share` says, from its end.
    /// Of one that is shut, whose buffers may have been counted, only who holds a
    /// handle takes.
    fn unfill(
        &self,
        tables: &Tables,
        mut share: impl FnMut(u32) -> u32,
        force: bool,
    ) -> Result<Handful, Pile> {
        let batches = &tables.batches;
        let mut pile = self.filled();
        loop {
            let batch = pile.batch();
            if !force && fault!(IgnoreShut, false, pile.is_shut()) {
                return Err(pile);
            }
            let Some(any) = batches.last(batch) else {
                if batch.is_none() {
                    return Err(pile);
                }
                // The array is being rewritten: the word is stale.
                pile = self.filled();
                continue;
            };
            let mut handful = Handful::of(any);
            let mut rest = batch.less_one();
            for _ in 1..share(batch.count()) {
                // A handful is as large as a batch.
                batches.last(rest).map(|index| handful.add(index));
                rest = rest.less_one();
            }
            let left = if rest.is_none() { Batch::NONE } else { rest };
            // Release: as in `Chain::take`.
            let order = fault!(TakeRelaxed, Ordering::Relaxed, Ordering::Release);
            match self.swap_filled(pile, pile.with(left), order) {
                Ok(()) => {
                    if rest.is_none() {
                        batches.put(batch.id());
                    }
                    return Ok(handful);
                }
                Err(now) => pile = now,
            }
        }
    }

    fn rob(&self, tables: &Tables, share: Share, announce: &mut dyn FnMut()) -> Robbed {
        let mut of = |len: u32| {
            let share = share.of(len);
            if share > 1 {
                announce();
            }
            share
        };
        let head = match self.freed.take(&tables.records, &mut of) {
            Ok(handful) => return Robbed::Some(handful),
            Err(head) => head,
        };
        match self.unfill(tables, &mut of, true) {
            Ok(handful) => Robbed::Some(handful),
            Err(pile) => Robbed::None(Empty(u64::from(head.tag()) + u64::from(pile.tag()))),
        }
    }
}

/// Slots for `cpus` processors and every class, a row a processor.
pub struct Portable {
    slots: Table<Slot>,
    cpus: usize,
}

impl Portable {
    /// Empty slots for `cpus` processors, all closed. Fails as `mmap` does.
    pub fn new(cpus: usize) -> io::Result<Self> {
        Ok(Self {
            slots: Table::readable(cpus * MAX_CLASSES)?,
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

    fn open(&self, cpus: &Range<usize>) -> io::Result<()> {
        self.slots
            .open(&(cpus.start * MAX_CLASSES..cpus.end * MAX_CLASSES))
    }

    fn name(&self) -> &'static str {
        "portable"
    }

    #[inline]
    fn current(&self) -> usize {
        cpu::current(self.cpus)
    }

    #[inline]
    fn pop(&self, tables: &Tables, line: &Line) -> Option<Index> {
        self.own(line.id()).pop(tables)
    }

    #[inline]
    fn push(&self, tables: &Tables, line: &Line, index: Index) -> bool {
        self.own(line.id()).push(tables, index).is_ok()
    }

    fn pop_again(&self, tables: &Tables, class: ClassId) -> Option<Index> {
        self.own(class).pop(tables)
    }

    fn push_again(&self, tables: &Tables, class: ClassId, index: Index) -> Result<(), Refused> {
        self.own(class).push(tables, index)
    }

    fn refill(&self, tables: &Tables, class: ClassId, batch: Batch) -> Refilled {
        let slot = self.own(class);
        if !batch.is_none() && slot.refill(tables, batch) {
            return Refilled::Whole;
        }
        // No room for all of it, or there is one: some of it as single buffers.
        let mut rest = batch;
        while let Some(index) = tables.batches.last(rest)
            && slot.push(tables, index).is_ok()
        {
            rest = rest.less_one();
        }
        Refilled::Rest(rest)
    }

    fn flush(&self, tables: &Tables, class: ClassId, count: u32, into: u32) -> Option<Batch> {
        let slot = self.own(class);
        let freed = slot.freed.take_open(&tables.records, count).ok();
        let handful = freed.or_else(|| slot.unfill(tables, |_| count, false).ok())?;
        Some(tables.batches.fill(into, handful.as_slice()))
    }

    fn rob(
        &self,
        tables: &Tables,
        cpu: usize,
        class: ClassId,
        _quiet: &dyn Fn() -> bool,
        share: Share,
        announce: &mut dyn FnMut(),
    ) -> Robbed {
        self.slot(cpu, class).rob(tables, share, announce)
    }

    fn disturbs(&self) -> bool {
        false
    }

    fn shut(&self, tables: &Tables, classes: &[ClassId]) -> Option<u64> {
        let slots = (tables.visited.iter())
            .flat_map(|cpu| classes.iter().map(move |&class| self.slot(cpu, class)));
        Some(slots.map(|slot| slot.shut(tables)).sum())
    }

    fn unshut(&self, tables: &Tables, class: ClassId, idle: &dyn Fn() -> bool) {
        for cpu in tables.visited.iter() {
            self.slot(cpu, class).unshut(idle);
        }
    }

    fn attach(&self, _tables: &Tables, _class: ClassId) {}

    fn len(&self, tables: &Tables, cpu: usize, class: ClassId) -> u64 {
        let slot = self.slot(cpu, class);
        slot.freed.len(&tables.records) + u64::from(slot.filled().batch().count())
    }

    fn capacity(&self, cpu: usize, class: ClassId) -> u8 {
        self.slot(cpu, class).capacity.load(Ordering::Relaxed) as u8
    }

    fn most(&self) -> u8 {
        2 * MAX_BATCH as u8
    }

    fn set_capacity(&self, cpu: usize, class: ClassId, from: u8, to: u8) -> bool {
        let at = &self.slot(cpu, class).capacity;
        at.compare_exchange(from.into(), to.into(), Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn activity(&self, cpu: usize, class: ClassId) -> u64 {
        let slot = self.slot(cpu, class);
        u64::from(slot.freed.tag()) + u64::from(slot.filled().tag())
    }

    fn populate(&self, cpu: usize, class: ClassId) {
        self.slot(cpu, class).freed.populate();
    }

    fn resident(&self) -> io::Result<usize> {
        self.slots.resident(usize::MAX)
    }
}
