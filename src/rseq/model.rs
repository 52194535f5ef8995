//! The critical sections under loom: see the parent module.
//!
//! A level's upper 16 bits are the slot's epoch. Whatever would abort a section
//! that is under way moves the epoch on: another section of the processor that
//! begins (the first was preempted), and a `restart`. The commit, a plain store
//! on the machine, writes what the section made of the level *it* read, whatever
//! the level is now, but only in its own epoch.
//!
//! Here the thread of an aborted section goes on until it meets the commit. What
//! it reads meanwhile is forgotten. What it writes must not outlast what a later
//! section wrote, so an entry's upper 16 bits are the epoch of its writer, and
//! the latest epoch stays.
//!
//! What the machine promises beyond that is not modelled, and so not relied on:
//! a load gives any value that the loads before it do not rule out, however old;
//! the beginning of a section publishes nothing; and a `restart` orders nothing
//! but the sections of its processors, before and after, with its caller.
#![allow(missing_docs)]

use super::{ENTRIES, Slot, Slots};
use crate::class::{ClassId, Line, MAX_CLASSES};
use crate::sync::{AtomicU32, Ordering, fault};
use crate::sys::cpu;
use crate::table::Table;
use crate::word::{Gate, Index, Level, Limit};

const EPOCH_SHIFT: u32 = 48;
const EPOCH: u64 = 1 << EPOCH_SHIFT;

/// An entry of a slot: `{epoch: 16, index: 16}`.
#[derive(Default)]
pub struct Entry(AtomicU32);

impl Entry {
    const EPOCH_SHIFT: u32 = 16;

    pub fn load(&self, order: Ordering) -> u32 {
        self.0.load(order) & ((1 << Self::EPOCH_SHIFT) - 1)
    }

    fn store(&self, index: Index, epoch: u64) {
        let entry = epoch << Self::EPOCH_SHIFT | u64::from(index.raw());
        assert!(entry >> u32::BITS == 0, "a model has few sections");
        self.0.fetch_max(entry as u32, Ordering::Relaxed);
    }
}

/// A section that is under way.
struct Section<'a> {
    slot: &'a Slot,
    epoch: u64,
    gate: Gate,
    level: Level,
}

impl<'a> Section<'a> {
    /// Begins; `None` if the limit diverts.
    fn begin(line: &'a Line) -> Option<Self> {
        let cpu = cpu::current(usize::MAX);
        let slot = Self::slot(line, cpu);
        let epoch = slot.map(|slot| {
            // Acquire: the sections of one processor come one after the other.
            (slot.level.fetch_add(EPOCH, Ordering::Acquire) >> EPOCH_SHIFT) + 1
        });
        // Loads of the machine are in order: Acquire.
        let limit = Limit::from_word(line.limit.load(Ordering::Acquire));
        if fault!(IgnoreShut, slot.is_none(), cpu as u32 >= limit.cpus()) {
            return None;
        }
        // The machine looks for its slots only now.
        assert!(Self::slot(line, cpu).is_some(), "no slots below the limit");
        // If they came only just now: as if the section had been aborted.
        let (slot, epoch) = slot.zip(epoch)?;
        let early = fault!(LevelFirst, Some(slot.level.load(Ordering::Acquire)), None);
        let gate = Gate::from_word(slot.gate.load(Ordering::Acquire));
        let level = early.unwrap_or_else(|| slot.level.load(Ordering::Acquire));
        Some(Self {
            slot,
            epoch,
            gate,
            level: Level::from_word(level),
        })
    }

    /// The slot of `cpu`, if there is one.
    fn slot(line: &'a Line, cpu: usize) -> Option<&'a Slot> {
        let slots = line.slots.load(Ordering::Relaxed).cast::<Table<Slot>>();
        // SAFETY: `attach` named the table, which stays where it is as long as
        // the model's pool.
        let slots = unsafe { slots.as_ref() }?;
        let at = cpu * MAX_CLASSES + line.id().index();
        (at < slots.len()).then(|| slots.get(at))
    }

    fn count(&self) -> usize {
        self.level.count() as usize
    }

    fn read(&self, at: usize) -> u32 {
        self.slot.entries[at].load(Ordering::Relaxed)
    }

    fn write(&self, at: usize, index: Index) {
        self.slot.entries[at].store(index, self.epoch);
    }

    /// The last instruction: `some` more. False: the section was aborted before
    /// it.
    fn commit_more(self, some: u32) -> bool {
        let level = self.level.raised(some);
        // Stores of the machine are in order: Release.
        self.commit(
            level,
            fault!(SectionRelaxed, Ordering::Relaxed, Ordering::Release),
        )
    }

    /// As `commit_more`: `some` fewer.
    fn commit_fewer(self, some: u32) -> bool {
        let level = self.level.lowered(some);
        self.commit(
            level,
            fault!(TakeRelaxed, Ordering::Relaxed, Ordering::Release),
        )
    }

    fn commit(self, level: Level, order: Ordering) -> bool {
        let word = |level: Level| self.epoch << EPOCH_SHIFT | level.word() & (EPOCH - 1);
        let mut now = word(self.level);
        while fault!(NoAbort, true, now >> EPOCH_SHIFT == self.epoch) {
            let next = word(level);
            let at = &self.slot.level;
            match at.compare_exchange(now, next, order, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }
}

pub fn pop(line: &Line) -> Option<Index> {
    let section = Section::begin(line)?;
    if fault!(IgnoreGate, false, !section.gate.is_open()) || section.count() == 0 {
        return None;
    }
    let entry = section.read(section.count() - 1);
    section.commit_fewer(1).then(|| Index::from_raw(entry))?
}

pub fn push(line: &Line, index: Index) -> bool {
    push_each(line, std::iter::once(Some(index)))
}

pub fn push_all(line: &Line, buffers: &[AtomicU32]) -> bool {
    // A batch has a buffer for each it counts; one that was missing would be missed.
    let indices = buffers.iter();
    push_each(
        line,
        indices.map(|buffer| Index::from_raw(buffer.load(Ordering::Relaxed))),
    )
}

fn push_each(line: &Line, buffers: impl ExactSizeIterator<Item = Option<Index>>) -> bool {
    let Some(section) = Section::begin(line) else {
        return false;
    };
    let room = fault!(IgnoreGate, ENTRIES, usize::from(section.gate.room()));
    let some = buffers.len();
    if section.count() + some > room {
        return false;
    }
    for (at, index) in buffers.enumerate() {
        if let Some(index) = index {
            section.write(section.count() + at, index);
        }
    }
    section.commit_more(some as u32)
}

pub fn pop_some(line: &Line, count: u32, into: &[AtomicU32]) -> usize {
    let Some(section) = Section::begin(line) else {
        return 0;
    };
    let count = section.count().min(count as usize);
    if fault!(IgnoreGate, false, !section.gate.is_open()) || count == 0 {
        return 0;
    }
    let from = section.count() - count;
    for (at, copy) in into.iter().enumerate().take(count) {
        copy.store(section.read(from + at), Ordering::Relaxed);
    }
    if section.commit_fewer(count as u32) {
        count
    } else {
        0
    }
}

impl Slots {
    /// The `membarrier(2)`.
    pub(super) fn restart(&self, cpu: Option<usize>) -> bool {
        let cpus = cpu.map_or(0..self.cpus, |cpu| cpu..cpu + 1);
        for cpu in cpus {
            for class in 0..MAX_CLASSES {
                let slot = ClassId::new(class).map(|class| self.slot(cpu, class));
                if let Some(slot) = slot {
                    slot.level.fetch_add(EPOCH, Ordering::AcqRel);
                }
            }
        }
        true
    }
}

pub fn attend() -> bool {
    false
}

pub fn available() -> Result<(), super::WhyPortable> {
    Ok(())
}

pub fn current() -> Option<usize> {
    Some(cpu::current(usize::MAX))
}
