//! The critical sections under loom: see the parent module.
//!
//! A level's upper 16 bits are the slot's epoch. Whatever would abort a section
//! that is under way moves the epoch on: another section of the processor that
//! begins (the first was preempted), and a `restart`. The commit, a plain store
//! on the machine, writes what the section made of the level *it* read, whatever
//! the level is now, but only in its own epoch.
#![allow(missing_docs)]

use super::{ENTRIES, Slot, Slots};
use crate::class::{ClassId, Line, MAX_CLASSES};
use crate::sync::{Ordering, fault, fence};
use crate::sys::cpu;
use crate::table::Table;
use crate::word::{Gate, Index, Level, Limit};

const EPOCH_SHIFT: u32 = 48;
const EPOCH: u64 = 1 << EPOCH_SHIFT;

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
        let slots = line.slots.load(Ordering::Relaxed).cast::<Table<Slot>>();
        // SAFETY: `attach` named the table, which stays where it is as long as
        // the model's pool.
        let slots = unsafe { slots.as_ref() }?;
        let cpu = cpu::current(usize::MAX);
        let slot = slots.get(cpu * MAX_CLASSES + line.id().index());
        let epoch = (slot.level.fetch_add(EPOCH, Ordering::AcqRel) >> EPOCH_SHIFT) + 1;
        // Loads of the machine are in order: Acquire.
        let limit = Limit::from_word(line.limit.load(Ordering::Acquire));
        if fault!(IgnoreShut, false, cpu as u32 >= limit.cpus()) {
            return None;
        }
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

    fn count(&self) -> usize {
        self.level.count() as usize
    }

    fn read(&self, at: usize) -> u32 {
        self.slot.entries[at].load(Ordering::Relaxed)
    }

    fn write(&self, at: usize, index: Index) {
        self.slot.entries[at].store(index.raw(), Ordering::Relaxed);
    }

    /// The last instruction. False: the section was aborted before it.
    fn commit(self, level: Level) -> bool {
        let mut now = self.slot.level.load(Ordering::Relaxed);
        while now >> EPOCH_SHIFT == self.epoch {
            let next = self.epoch << EPOCH_SHIFT | level.word() & (EPOCH - 1);
            // Stores of the machine are in order: Release.
            let order = fault!(SectionRelaxed, Ordering::Relaxed, Ordering::Release);
            match self
                .slot
                .level
                .compare_exchange(now, next, order, Ordering::Relaxed)
            {
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
    let level = section.level.lowered(1);
    section.commit(level).then(|| Index::from_raw(entry))?
}

pub fn push(line: &Line, index: Index) -> bool {
    push_all(line, &[index])
}

pub fn push_all(line: &Line, buffers: &[Index]) -> bool {
    let Some(section) = Section::begin(line) else {
        return false;
    };
    let room = fault!(IgnoreGate, ENTRIES, usize::from(section.gate.room()));
    if section.count() + buffers.len() > room {
        return false;
    }
    for (at, &index) in buffers.iter().enumerate() {
        section.write(section.count() + at, index);
    }
    let level = section.level.raised(buffers.len() as u32);
    section.commit(level)
}

pub fn pop_some(line: &Line, count: u32, into: &mut [u32]) -> usize {
    let Some(section) = Section::begin(line) else {
        return 0;
    };
    let count = section.count().min(count as usize);
    if fault!(IgnoreGate, false, !section.gate.is_open()) || count == 0 {
        return 0;
    }
    let from = section.count() - count;
    for (at, copy) in into.iter_mut().enumerate().take(count) {
        *copy = section.read(from + at);
    }
    let level = section.level.lowered(count as u32);
    if section.commit(level) { count } else { 0 }
}

impl Slots {
    /// The `membarrier(2)`.
    pub(super) fn restart(&self, cpu: Option<usize>) -> bool {
        fence(Ordering::SeqCst);
        let cpus = cpu.map_or(0..self.cpus, |cpu| cpu..cpu + 1);
        for cpu in cpus {
            for class in 0..MAX_CLASSES {
                let slot = ClassId::new(class).map(|class| self.slot(cpu, class));
                if let Some(slot) = slot {
                    slot.level.fetch_add(EPOCH, Ordering::AcqRel);
                }
            }
        }
        fence(Ordering::SeqCst);
        true
    }
}

pub fn attend() -> bool {
    false
}

pub fn available() -> bool {
    true
}

pub fn current() -> Option<usize> {
    Some(cpu::current(usize::MAX))
}
