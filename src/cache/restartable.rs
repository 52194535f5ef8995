//! Per-CPU caches on restartable sequences.
//!
//! Owns: what the hot path falls back to, and the robbing of slots. Uses: `rseq`,
//! `sys::cpu`, `batch`, `table`. Used by: `lists`, through `CpuCaches`.
//!
//! A buffer in a slot is held by nobody; the commit of a section, or the
//! compare-and-swap of a thief, makes it somebody's. Whenever a section cannot
//! run (a thief is at the slot, the class is shut, the thread has no
//! registration) `lists` goes on with lists of its own; nobody waits for the
//! slot.
//!
//! The hot path, inlined into its callers, works on the line of a class that they know
//! (`Classes`). A pool that tracks who takes its buffers must hear of every take, and one that
//! wipes them of every give: its sections use lines of their own here, and those that callers
//! know have no slots, and a limit of 0, which diverts every call to what is below.

use super::{CpuCaches, Empty, Refilled, Refused, Robbed, Share, Tables};
use crate::batch::{Handful, MAX_BATCH};
#[cfg(not(hugepool_loom))]
use crate::class::MAX_CLASSES;
use crate::class::{ClassId, Line};
use crate::rseq::{self, ENTRIES, Slots, WhyPortable};
use crate::sys::cpu;
use crate::table::Table;
use crate::word::{Batch, Index};
use std::io;
use std::ops::Range;

/// How often a section that was aborted is tried again: each time the scheduler
/// or a signal came between, which is rare unless the thread is single-stepped.
const TRIES: u32 = if cfg!(hugepool_loom) { 1 } else { 8 };

/// Restartable slots for every processor and class.
pub struct Restartable {
    slots: Slots,
    /// In a pool that tracks or wipes: `slots` and `limit` of each class, for the sections; the
    /// rest is not used.
    lines: Option<Table<Line>>,
}

impl Restartable {
    /// Empty slots for `cpus` processors, or why this machine has none. Fails as `mmap` does.
    pub fn new(cpus: usize) -> io::Result<Result<Self, WhyPortable>> {
        Ok(Slots::new(cpus)?.map(|slots| Self { slots, lines: None }))
    }

    /// As `new`; the hot path is diverted for ever.
    #[cfg(not(hugepool_loom))]
    pub fn off_the_hot_path(cpus: usize) -> io::Result<Result<Self, WhyPortable>> {
        let slots = match Slots::new(cpus)? {
            Ok(slots) => slots,
            Err(why) => return Ok(Err(why)),
        };
        let lines = Some(Table::new(MAX_CLASSES)?);
        Ok(Ok(Self { slots, lines }))
    }

    /// What the sections read of `class`.
    #[inline]
    fn line<'a>(&'a self, tables: &'a Tables, class: ClassId) -> &'a Line {
        match &self.lines {
            None => tables.classes.line(class),
            Some(lines) => lines.get(class.index()),
        }
    }

    /// How many more buffers would go into this processor's slot.
    fn room(&self, class: ClassId) -> u32 {
        self.slots.current().map_or(0, |cpu| {
            let room = u32::from(self.slots.gate(cpu, class).room());
            room.saturating_sub(self.slots.level(cpu, class).count())
        })
    }

    /// Whether sections of `class` are diverted here.
    fn is_shut(&self, tables: &Tables, class: ClassId) -> bool {
        let line = self.line(tables, class);
        self.slots
            .current()
            .is_some_and(|cpu| Slots::is_shut(line, cpu))
    }

    /// The slots.
    #[cfg(hugepool_loom)]
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Whether a section may have failed for a reason that has passed: it was
    /// aborted, or the thread had to be registered first.
    fn may_succeed(&self, class: ClassId, ready: impl Fn(u32, u8) -> bool) -> bool {
        if rseq::attend() {
            return true;
        }
        self.slots.current().is_some_and(|cpu| {
            let gate = self.slots.gate(cpu, class);
            gate.is_open() && ready(self.slots.level(cpu, class).count(), gate.room())
        })
    }
}

impl CpuCaches for Restartable {
    fn cpus(&self) -> usize {
        self.slots.cpus()
    }

    fn open(&self, cpus: &Range<usize>) -> io::Result<()> {
        self.slots.open(cpus)
    }

    fn name(&self) -> &'static str {
        "restartable"
    }

    fn current(&self) -> usize {
        self.slots
            .current()
            .unwrap_or_else(|| cpu::current(self.slots.cpus()))
    }

    #[inline(always)]
    fn pop(&self, _tables: &Tables, line: &Line) -> Option<Index> {
        rseq::pop(line)
    }

    #[inline(always)]
    fn push(&self, _tables: &Tables, line: &Line, index: Index) -> bool {
        rseq::push(line, index)
    }

    fn pop_again(&self, tables: &Tables, class: ClassId) -> Option<Index> {
        // Not past the limit: whoever finds the class shared relies on it that no
        // section begins (`Slots::rob`).
        let line = self.line(tables, class);
        for _ in 0..TRIES {
            if let Some(index) = rseq::pop(line) {
                return Some(index);
            }
            let ready = |count, _| count > 0;
            if self.is_shut(tables, class) || !self.may_succeed(class, ready) {
                break;
            }
        }
        None
    }

    fn push_again(&self, tables: &Tables, class: ClassId, index: Index) -> Result<(), Refused> {
        let line = self.line(tables, class);
        for _ in 0..TRIES {
            if rseq::push(line, index) {
                return Ok(());
            }
            // `index` is still ours, so the pool is still there.
            let ready = |count, room| count < u32::from(room);
            if self.is_shut(tables, class) || !self.may_succeed(class, ready) {
                break;
            }
        }
        let Some(cpu) = self.slots.current() else {
            return Err(Refused::Diverted);
        };
        let gate = self.slots.gate(cpu, class);
        let full = gate.is_open() && self.slots.level(cpu, class).count() >= gate.room().into();
        Err(if full {
            Refused::Full
        } else {
            Refused::Diverted
        })
    }

    fn refill(&self, tables: &Tables, class: ClassId, batch: Batch) -> Refilled {
        let count = batch.count();
        let entries = tables.batches.entries(batch.id());
        for _ in 0..TRIES {
            // What comes out next goes on top.
            let some = self.room(class).min(count);
            let upper = entries.get((count - some) as usize..count as usize);
            match upper {
                Some(upper) if some > 0 => {
                    if rseq::push_all(self.line(tables, class), upper) {
                        return Refilled::Rest(batch.less(some));
                    }
                }
                _ => break,
            }
        }
        Refilled::Rest(batch)
    }

    fn flush(&self, tables: &Tables, class: ClassId, count: u32, into: u32) -> Option<Batch> {
        let line = self.line(tables, class);
        let entries = tables.batches.entries(into);
        for _ in 0..TRIES {
            let taken = rseq::pop_some(line, count.min(MAX_BATCH as u32), entries);
            if taken > 0 {
                return Some(Batch::new(into, taken as u32));
            }
            let ready = |count, _| count > 0;
            if self.is_shut(tables, class) || !self.may_succeed(class, ready) {
                break;
            }
        }
        None
    }

    fn rob(
        &self,
        _tables: &Tables,
        cpu: usize,
        class: ClassId,
        quiet: &dyn Fn() -> bool,
        share: Share,
        announce: &mut dyn FnMut(),
    ) -> Robbed {
        let mut taken: Option<Handful> = None;
        let robbed = self.slots.rob(
            cpu,
            class,
            quiet,
            |count| {
                let share = share.of(count).min(MAX_BATCH as u32);
                if share > 1 {
                    announce();
                }
                share
            },
            |index| match &mut taken {
                Some(handful) => _ = handful.add(index),
                None => taken = Some(Handful::of(index)),
            },
        );
        match (robbed, taken) {
            (Ok(Ok(())), Some(handful)) => Robbed::Some(handful),
            (Ok(Err(level)), _) => Robbed::None(Empty(level.changes())),
            _ => Robbed::Barred,
        }
    }

    fn disturbs(&self) -> bool {
        true
    }

    fn shut(&self, tables: &Tables, classes: &[ClassId]) -> Option<u64> {
        let lines = classes.iter().map(|&class| self.line(tables, class));
        let stopped = self.slots.shut(lines);
        // After the sections have ended: whoever began one had set his processor's bit.
        let held = (tables.visited.iter())
            .flat_map(|cpu| classes.iter().map(move |&class| (cpu, class)))
            .map(|(cpu, class)| self.len(tables, cpu, class));
        stopped.then(|| held.sum())
    }

    fn unshut(&self, tables: &Tables, class: ClassId, idle: &dyn Fn() -> bool) {
        self.slots.unshut(self.line(tables, class), idle);
    }

    fn attach(&self, tables: &Tables, class: ClassId) {
        self.slots.attach(self.line(tables, class), class);
    }

    fn len(&self, _tables: &Tables, cpu: usize, class: ClassId) -> u64 {
        self.slots.level(cpu, class).count().into()
    }

    fn capacity(&self, cpu: usize, class: ClassId) -> u8 {
        self.slots.gate(cpu, class).capacity()
    }

    fn most(&self) -> u8 {
        ENTRIES as u8
    }

    fn set_capacity(&self, cpu: usize, class: ClassId, from: u8, to: u8) -> bool {
        self.slots.set_capacity(cpu, class, from, to)
    }

    fn activity(&self, cpu: usize, class: ClassId) -> u64 {
        self.slots.level(cpu, class).changes()
    }

    fn populate(&self, cpu: usize, class: ClassId) {
        self.slots.populate(cpu, class);
    }

    fn resident(&self) -> io::Result<usize> {
        let lines = self.lines.as_ref();
        let lines = lines.map_or(Ok(0), |lines| lines.resident(usize::MAX))?;
        Ok(self.slots.resident()? + lines)
    }
}
