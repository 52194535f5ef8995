//! The sections, counted: under `--cfg hugepool_counted`.
//!
//! Owns: what each section says to `sync::counted` of its loads and stores, which the assembly
//! does without it. Uses: the assembly, the layouts. Used by: the parent module, in place of the
//! assembly.
//!
//! When a section has ended, its loads are done once more, by atomics that count, in its order;
//! its stores are said. The slot is that of the processor on which the thread runs then, as it is
//! then: exact for a thread that is kept on a processor, and nearly so if another thread of the
//! processor runs in between. (What it stores into the thread's own area is nobody else's.)

use super::super::{ENTRIES, Slot, thread};
use super::processor;
use crate::class::{Line, MAX_CLASSES};
use crate::sync::{AtomicU32, Ordering, counted};
use crate::word::{Index, Level, Limit};

/// Which way buffers went.
#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}

/// Says what a section did that moved `count` buffers, none if it was diverted.
fn note(line: &Line, way: Way, count: usize) {
    let limit = Limit::from_word(line.limit.load(Ordering::Relaxed));
    let Some(cpu) = thread::cpu().filter(|&cpu| (cpu as u64) < u64::from(limit.cpus())) else {
        return;
    };
    let slots = line.slots.load(Ordering::Relaxed).cast::<Slot>();
    // SAFETY: the processor is below the limit, which says that the class has slots, as many
    // rows as it names; `slots` is the first of the class. They are there as long as the class.
    let slot = unsafe { &*slots.add(cpu * MAX_CLASSES) };
    slot.gate.load(Ordering::Relaxed);
    let level = Level::from_word(slot.level.load(Ordering::Relaxed)).count() as usize;
    if count == 0 {
        return;
    }
    let from = match way {
        Way::In => level.saturating_sub(count),
        Way::Out => level,
    };
    for entry in &slot.entries[from.min(ENTRIES)..(from + count).min(ENTRIES)] {
        match way {
            Way::In => counted::stored(entry),
            Way::Out => counted::loaded(entry),
        }
    }
    counted::stored(&slot.level);
}

/// See `rseq`.
pub fn pop_by(area: isize, line: &Line) -> Option<Index> {
    let found = processor::pop_by(area, line);
    note(line, Way::Out, usize::from(found.is_some()));
    found
}

/// See `rseq`.
pub fn push_by(area: isize, line: &Line, index: Index) -> bool {
    let pushed = processor::push_by(area, line, index);
    note(line, Way::In, usize::from(pushed));
    pushed
}

/// See `rseq`.
///
/// # Safety
///
/// As the assembly's.
pub unsafe fn push_all(line: &Line, buffers: &[AtomicU32]) -> bool {
    // SAFETY: the caller says so.
    let pushed = unsafe { processor::push_all(line, buffers) };
    let some = if pushed { buffers.len() } else { 0 };
    note(line, Way::In, some);
    // What the assembly read.
    buffers.iter().take(some).for_each(counted::loaded);
    pushed
}

/// See `rseq`.
///
/// # Safety
///
/// As the assembly's.
pub unsafe fn pop_some(line: &Line, count: u32, into: &[AtomicU32]) -> usize {
    // SAFETY: the caller says so.
    let some = unsafe { processor::pop_some(line, count, into) };
    note(line, Way::Out, some);
    // What the assembly wrote.
    into.iter().take(some).for_each(counted::stored);
    some
}
