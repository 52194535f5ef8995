//! The critical sections. See the parent module for the protocol; each section is
//!
//! ```text
//!   area.rseq_cs = descriptor        ── begins
//!   cpu = area.cpu_id; limit? gate?  ── diverts without a trace
//!   level, entries                   ── reads, and writes above the level
//!   slot.level = new                 ── the commit, its last instruction
//! ```
//!
//! Owns: what the assembly of all processors has in common. Uses: `class`, `word`, `thread`.
//! Used by: the parent module, `probe`.
//!
//! The kernel finds the section by its descriptor, in `__rseq_cs`. The abort
//! handler, out of line behind the signature that the kernel demands, merely
//! goes where a diverted section goes: the caller tries again, or takes another
//! way, so no thread is caught in a section that is always aborted (by a
//! debugger's single steps, say). The descriptor stays named in the thread's
//! area after the section; the code must therefore stay mapped.
//!
//! The instructions are in a file for each kind of processor, which also says why loads and
//! stores happen in the order that the protocol needs: the loads of limit, gate and level are
//! Acquire, the commit is Release (`model` has the same).

use super::Slot;
use crate::class::{Line, MAX_CLASSES};
use crate::sync::{AtomicU32, AtomicU64};
use crate::word::{Index, Level};

/// Bytes from one processor's row of slots to the next, as a shift.
const ROW_SHIFT: u32 = (MAX_CLASSES * size_of::<Slot>()).trailing_zeros();
const LIMIT: usize = std::mem::offset_of!(Line, limit);
const SLOTS: usize = std::mem::offset_of!(Line, slots);
const GATE: usize = std::mem::offset_of!(Slot, gate);
const ENTRIES: usize = std::mem::offset_of!(Slot, entries);
const CHANGE: u64 = Level::CHANGE;

// What the assembly takes for granted.
const _: () = assert!((MAX_CLASSES * size_of::<Slot>()).is_power_of_two());
const _: () = assert!(std::mem::offset_of!(Slot, level) == 0);
const _: () = assert!(size_of::<Index>() == 4);

/// The descriptor of a section. Labels: 2 begin, 3 descriptor, 4 end, 6 aborted.
macro_rules! descriptor {
    () => {
        concat!(
            ".pushsection __rseq_cs, \"aw\"\n",
            ".balign 32\n",
            "3: .long 0, 0\n",
            ".quad 2f, (4f - 2f), 6f\n",
            ".popsection\n",
        )
    };
}

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as processor;
#[cfg(target_arch = "x86_64")]
use x86_64 as processor;

#[cfg(hugepool_counted)]
mod counted;
#[cfg(hugepool_counted)]
use counted as sections;
#[cfg(not(hugepool_counted))]
use processor as sections;

use super::thread::area_of_library;
pub use sections::{pop_by, push_by};

/// See the parent module.
#[inline(always)]
pub fn pop(line: &Line) -> Option<Index> {
    pop_by(area_of_library(), line)
}

/// See the parent module.
#[inline(always)]
pub fn push(line: &Line, index: Index) -> bool {
    push_by(area_of_library(), line, index)
}

/// See the parent module.
pub fn push_all(line: &Line, buffers: &[AtomicU32]) -> bool {
    if buffers.is_empty() || buffers.len() > super::ENTRIES {
        return false;
    }
    // SAFETY: as many as there is room for in a slot, and one at least. (They are buffers: the
    // caller's batch counts them.)
    unsafe { sections::push_all(line, buffers) }
}

/// See the parent module.
pub fn pop_some(line: &Line, count: u32, into: &[AtomicU32]) -> usize {
    if count == 0 || count as usize > into.len() {
        return 0;
    }
    // SAFETY: there is room for as many, and they are one at least.
    unsafe { sections::pop_some(line, count, into) }
}

/// How `spin` ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spin {
    /// It was told to.
    Told,
    /// It was told to, and had begun on another processor: it was not aborted, and should have
    /// been.
    Moved,
    /// By itself.
    Expired,
    /// The kernel aborted it.
    Aborted,
}

/// A section that takes a long time and changes nothing: says by `inside` that it has begun,
/// as `{round: 32, processor: 32}`, and ends when `told` is `round`, or after so many `pauses`
/// of some 3 to 45 ns each. `area` is where the thread tells the kernel of its sections, from
/// its thread pointer.
#[inline(never)]
pub fn spin(area: isize, inside: &AtomicU64, told: &AtomicU32, round: u32, pauses: u32) -> Spin {
    match processor::spin(area, inside, told, round, pauses.max(1)) {
        TOLD => Spin::Told,
        MOVED => Spin::Moved,
        EXPIRED => Spin::Expired,
        _ => Spin::Aborted,
    }
}

// What the assembly gives.
const TOLD: u32 = 0;
const MOVED: u32 = 1;
const EXPIRED: u32 = 2;
const ABORTED: u32 = 3;
const _: () = assert!(TOLD == 0 && MOVED == 1);
