//! The critical sections, in x86-64 assembly. See the parent module for the
//! protocol; each section is
//!
//! ```text
//!   area.rseq_cs = descriptor        ── begins
//!   cpu = area.cpu_id; limit? gate?  ── diverts without a trace
//!   level, entries                   ── reads, and writes above the level
//!   slot.level = new                 ── the commit, its last instruction
//! ```
//!
//! The kernel finds the section by its descriptor, in `__rseq_cs`. The abort
//! handler, out of line behind the signature that the kernel demands, merely
//! goes where a diverted section goes: the caller tries again, or takes another
//! way, so no thread is caught in a section that is always aborted (by a
//! debugger's single steps, say). The descriptor stays named in the thread's
//! area after the section; the code must therefore stay mapped.

use super::Slot;
use super::thread::{SIGNATURE, offset};
use crate::class::{Line, MAX_CLASSES};
use crate::sync::{AtomicU32, AtomicU64};
use crate::word::{Index, Level};
use std::arch::asm;

/// Bytes from one processor's row of slots to the next, as a shift.
const ROW_SHIFT: u32 = (MAX_CLASSES * size_of::<Slot>()).trailing_zeros();
const LIMIT: usize = std::mem::offset_of!(Line, limit);
const SLOTS: usize = std::mem::offset_of!(Line, slots);
const ROOM: usize = std::mem::offset_of!(Slot, gate);
const OPEN: usize = ROOM + 1;
const ENTRIES: usize = std::mem::offset_of!(Slot, entries);
const CHANGE: u64 = Level::CHANGE;

// What the assembly takes for granted.
const _: () = assert!((MAX_CLASSES * size_of::<Slot>()).is_power_of_two());
const _: () = assert!(std::mem::offset_of!(Slot, level) == 0);
const _: () = assert!(size_of::<Index>() == 4);

/// Begins a section: `{t}` is a scratch register, `{off}` the area. Labels: 2
/// begin, 3 descriptor, 4 end, 5 diverted, 6 aborted.
macro_rules! begin {
    () => {
        concat!(
            ".pushsection __rseq_cs, \"aw\"\n",
            ".balign 32\n",
            "3: .long 0, 0\n",
            ".quad 2f, (4f - 2f), 6f\n",
            ".popsection\n",
            "lea {t}, [rip + 3b]\n",
            "mov qword ptr fs:[{off} + 8], {t}\n",
            "2:\n",
        )
    };
}

/// The slot of the processor into `{c}`, or out to label 5.
macro_rules! slot {
    () => {
        concat!(
            "mov {c:e}, dword ptr fs:[{off} + 4]\n",
            "cmp {c:e}, dword ptr [{line} + {LIMIT}]\n",
            "jae 5f\n",
            "shl {c}, {row}\n",
            "add {c}, qword ptr [{line} + {SLOTS}]\n",
        )
    };
}

/// The code behind the kernel's signature, at whose label 6 an aborted section
/// goes on; out of line.
macro_rules! aborted {
    ($($line:literal),+) => {
        concat!(
            ".pushsection .text.unlikely.hugepool, \"ax\"\n",
            ".byte 0x0f, 0xb9, 0x3d\n",
            ".long {signature}\n",
            "6:\n",
            $($line, "\n",)+
            ".popsection\n",
        )
    };
}

/// See the parent module.
#[inline(always)]
pub fn pop(line: &Line) -> Option<Index> {
    let found: u32;
    // SAFETY: the section reads a slot of a processor below the limit, which is in
    // the row that `attach` named before the limit was raised, and entries below
    // its level; it writes that slot's level and the thread's own area. See the
    // module for why nobody else changes the slot meanwhile.
    unsafe {
        asm!(
            begin!(),
            slot!(),
            "movzx {t:e}, byte ptr [{c} + {OPEN}]",
            "mov {w}, qword ptr [{c}]",
            "lea {i:e}, [{w} - 1]",
            "cmp {i:l}, {t:l}",
            "jae 5f",
            "movzx {i:e}, {i:l}",
            "mov {i:e}, dword ptr [{c} + {i:r} * 4 + {ENTRIES}]",
            "add {w}, {lower}",
            "mov qword ptr [{c}], {w}",
            "4:",
            "7:",
            aborted!("5: xor {i:e}, {i:e}", "jmp 7b"),
            off = in(reg) offset(),
            line = in(reg) line,
            t = out(reg) _,
            c = out(reg) _,
            w = out(reg) _,
            i = out(reg) found,
            row = const ROW_SHIFT,
            LIMIT = const LIMIT,
            SLOTS = const SLOTS,
            OPEN = const OPEN,
            ENTRIES = const ENTRIES,
            lower = const CHANGE - 1,
            signature = const SIGNATURE,
            options(nostack),
        );
    }
    Index::from_raw(found)
}

/// See the parent module.
#[inline(always)]
pub fn push(line: &Line, index: Index) -> bool {
    // SAFETY: as in `pop`; the entry that is written is above the level and, with
    // a room of at most `ENTRIES`, in the slot.
    unsafe {
        asm!(
            begin!(),
            slot!(),
            "movzx {t:e}, byte ptr [{c} + {ROOM}]",
            "mov {w}, qword ptr [{c}]",
            "cmp {w:l}, {t:l}",
            "jae {diverted}",
            "movzx {t:e}, {w:l}",
            "mov dword ptr [{c} + {t} * 4 + {ENTRIES}], {index:e}",
            "add {w}, {raise}",
            "mov qword ptr [{c}], {w}",
            "4:",
            aborted!("5: jmp {diverted}"),
            off = in(reg) offset(),
            line = in(reg) line,
            index = in(reg) index.raw(),
            t = out(reg) _,
            c = out(reg) _,
            w = out(reg) _,
            row = const ROW_SHIFT,
            LIMIT = const LIMIT,
            SLOTS = const SLOTS,
            ROOM = const ROOM,
            ENTRIES = const ENTRIES,
            raise = const CHANGE + 1,
            signature = const SIGNATURE,
            diverted = label { return false },
            options(nostack),
        );
    }
    true
}

/// See the parent module.
pub fn push_all(line: &Line, buffers: &[Index]) -> bool {
    if buffers.is_empty() || buffers.len() > super::ENTRIES {
        return false;
    }
    // SAFETY: as in `push`, for `buffers.len()` entries.
    unsafe {
        asm!(
            begin!(),
            slot!(),
            "movzx {t:e}, byte ptr [{c} + {ROOM}]",
            "mov {w}, qword ptr [{c}]",
            "movzx {i:e}, {w:l}",
            "lea {to}, [{c} + {i:r} * 4 + {ENTRIES}]",
            "add {i:e}, {count:e}",
            "cmp {i:e}, {t:e}",
            "ja {diverted}",
            "xor {i:e}, {i:e}",
            "7: mov {t:e}, dword ptr [{from} + {i:r} * 4]",
            "mov dword ptr [{to} + {i:r} * 4], {t:e}",
            "inc {i:e}",
            "cmp {i:e}, {count:e}",
            "jb 7b",
            "lea {w}, [{w} + {i} + {change}]",
            "mov qword ptr [{c}], {w}",
            "4:",
            aborted!("5: jmp {diverted}"),
            off = in(reg) offset(),
            line = in(reg) line,
            from = in(reg) buffers.as_ptr(),
            count = in(reg) buffers.len(),
            t = out(reg) _,
            c = out(reg) _,
            w = out(reg) _,
            i = out(reg) _,
            to = out(reg) _,
            row = const ROW_SHIFT,
            LIMIT = const LIMIT,
            SLOTS = const SLOTS,
            ROOM = const ROOM,
            ENTRIES = const ENTRIES,
            change = const CHANGE,
            signature = const SIGNATURE,
            diverted = label { return false },
            options(nostack),
        );
    }
    true
}

/// See the parent module.
pub fn pop_some(line: &Line, count: u32, into: &mut [u32]) -> usize {
    if count == 0 || count as usize > into.len() {
        return 0;
    }
    let taken: usize;
    // SAFETY: as in `pop`, for up to `count` entries, which `into` has room for.
    unsafe {
        asm!(
            begin!(),
            slot!(),
            "movzx {t:e}, byte ptr [{c} + {OPEN}]",
            "mov {w}, qword ptr [{c}]",
            "lea {i:e}, [{w} - 1]",
            "cmp {i:l}, {t:l}",
            "jae 5f",
            "movzx {i:e}, {w:l}",
            "cmp {i:e}, {n:e}",
            "cmovb {n:e}, {i:e}",
            "sub {i:e}, {n:e}",
            "lea {from}, [{c} + {i:r} * 4 + {ENTRIES}]",
            "xor {i:e}, {i:e}",
            "8: mov {t:e}, dword ptr [{from} + {i:r} * 4]",
            "mov dword ptr [{to} + {i:r} * 4], {t:e}",
            "inc {i:e}",
            "cmp {i:e}, {n:e}",
            "jb 8b",
            "add {w}, {change}",
            "sub {w}, {n}",
            "mov qword ptr [{c}], {w}",
            "4:",
            "7:",
            aborted!("5: xor {n:e}, {n:e}", "jmp 7b"),
            off = in(reg) offset(),
            line = in(reg) line,
            to = in(reg) into.as_mut_ptr(),
            n = inout(reg) count as usize => taken,
            t = out(reg) _,
            c = out(reg) _,
            w = out(reg) _,
            i = out(reg) _,
            from = out(reg) _,
            row = const ROW_SHIFT,
            LIMIT = const LIMIT,
            SLOTS = const SLOTS,
            OPEN = const OPEN,
            ENTRIES = const ENTRIES,
            change = const CHANGE,
            signature = const SIGNATURE,
            options(nostack),
        );
    }
    taken
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
    const TOLD: u32 = 0;
    const MOVED: u32 = 1;
    const EXPIRED: u32 = 2;
    const ABORTED: u32 = 3;
    let end: u32;
    // SAFETY: the section writes the thread's own area, in which the second and third words
    // are there even if it is not registered, and `inside`; it reads `told`. Both are atomics.
    unsafe {
        asm!(
            begin!(),
            "mov {cpu:e}, dword ptr fs:[{off} + 4]",
            "mov {t:e}, {round:e}",
            "shl {t}, 32",
            "or {t}, {cpu}",
            "mov qword ptr [{inside}], {t}",
            "8: pause",
            "cmp dword ptr [{told}], {round:e}",
            "je 9f",
            "dec {left:e}",
            "jnz 8b",
            "mov {end:e}, {EXPIRED}",
            "jmp 4f",
            "9: xor {end:e}, {end:e}",
            "cmp {cpu:e}, dword ptr fs:[{off} + 4]",
            "setne {end:l}",
            "4:",
            "7:",
            aborted!("mov {end:e}, {ABORTED}", "jmp 7b"),
            off = in(reg) area,
            inside = in(reg) inside,
            told = in(reg) told,
            round = in(reg) round,
            t = out(reg) _,
            cpu = out(reg) _,
            left = inout(reg) pauses.max(1) => _,
            end = out(reg) end,
            EXPIRED = const EXPIRED,
            ABORTED = const ABORTED,
            signature = const SIGNATURE,
            options(nostack),
        );
    }
    match end {
        TOLD => Spin::Told,
        MOVED => Spin::Moved,
        EXPIRED => Spin::Expired,
        _ => Spin::Aborted,
    }
}
