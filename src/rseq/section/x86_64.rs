//! The critical sections in x86-64 assembly. These processors keep loads in order, and stores:
//! every load is an Acquire and every store a Release.
//!
//! Owns: the instructions. Uses: the parent module's layouts. Used by: the parent module.

use super::super::thread::{SIGNATURE, offset, offset_or};
use super::{ABORTED, CHANGE, ENTRIES, EXPIRED, GATE, LIMIT, ROW_SHIFT, SLOTS};
use crate::class::Line;
use crate::sync::{AtomicU32, AtomicU64};
use crate::word::Index;
use std::arch::asm;

/// The first two bytes of a gate.
const ROOM: usize = GATE;
const OPEN: usize = GATE + 1;

/// Begins a section: `{t}` is a scratch register, `{off}` the area. Labels: 2
/// begin, 3 descriptor, 4 end, 5 diverted, 6 aborted.
macro_rules! begin {
    () => {
        concat!(
            descriptor!(),
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

/// Copies `{n}` words from `{from}` to `{to}`, four at once, then one by one: `{i}`, `{t}` and `{x}`
/// are scratch registers. Whoever reads or writes these words meanwhile does not use them
/// (`batch`: stale; a slot: above its level). Labels: 7, 8, 9.
macro_rules! copy {
    () => {
        concat!(
            "xor {i:e}, {i:e}\n",
            "7: lea {t}, [{i} + 4]\n",
            "cmp {t}, {n}\n",
            "ja 8f\n",
            "movdqu {x}, xmmword ptr [{from} + {i} * 4]\n",
            "movdqu xmmword ptr [{to} + {i} * 4], {x}\n",
            "mov {i}, {t}\n",
            "jmp 7b\n",
            "8: cmp {i}, {n}\n",
            "jae 9f\n",
            "mov {t:e}, dword ptr [{from} + {i} * 4]\n",
            "mov dword ptr [{to} + {i} * 4], {t:e}\n",
            "inc {i}\n",
            "jmp 8b\n",
            "9:\n",
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

/// See `rseq`.
#[inline(always)]
pub fn pop_by(area: isize, line: &Line) -> Option<Index> {
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
            off = in(reg) offset_or(area),
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

/// See `rseq`.
#[inline(always)]
pub fn push_by(area: isize, line: &Line, index: Index) -> bool {
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
            off = in(reg) offset_or(area),
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

/// See `rseq`.
///
/// # Safety
///
/// `buffers` are one at least, and not more than a slot has entries.
pub unsafe fn push_all(line: &Line, buffers: &[AtomicU32]) -> bool {
    // SAFETY: as in `push`, for `buffers.len()` entries.
    unsafe {
        asm!(
            begin!(),
            slot!(),
            "movzx {t:e}, byte ptr [{c} + {ROOM}]",
            "mov {w}, qword ptr [{c}]",
            "movzx {i:e}, {w:l}",
            "lea {to}, [{c} + {i:r} * 4 + {ENTRIES}]",
            "add {i:e}, {n:e}",
            "cmp {i:e}, {t:e}",
            "ja {diverted}",
            copy!(),
            "lea {w}, [{w} + {n} + {change}]",
            "mov qword ptr [{c}], {w}",
            "4:",
            aborted!("5: jmp {diverted}"),
            off = in(reg) offset(),
            line = in(reg) line,
            from = in(reg) buffers.as_ptr(),
            n = in(reg) buffers.len(),
            t = out(reg) _,
            c = out(reg) _,
            w = out(reg) _,
            i = out(reg) _,
            x = out(xmm_reg) _,
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

/// See `rseq`.
///
/// # Safety
///
/// `count` is not 0, and `into` has room for as many.
pub unsafe fn pop_some(line: &Line, count: u32, into: &[AtomicU32]) -> usize {
    let taken: usize;
    // SAFETY: as in `pop`, for up to `count` entries, which `into` has room for; these are
    // atomics, which may be written while others have them.
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
            copy!(),
            "add {w}, {change}",
            "sub {w}, {n}",
            "mov qword ptr [{c}], {w}",
            "4:",
            "7:",
            aborted!("5: xor {n:e}, {n:e}", "jmp 7b"),
            off = in(reg) offset(),
            line = in(reg) line,
            to = in(reg) into.as_ptr(),
            n = inout(reg) count as usize => taken,
            t = out(reg) _,
            c = out(reg) _,
            w = out(reg) _,
            i = out(reg) _,
            x = out(xmm_reg) _,
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

/// See the parent module. `pauses` is not 0.
pub fn spin(area: isize, inside: &AtomicU64, told: &AtomicU32, round: u32, pauses: u32) -> u32 {
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
            left = inout(reg) pauses => _,
            end = out(reg) end,
            EXPIRED = const EXPIRED,
            ABORTED = const ABORTED,
            signature = const SIGNATURE,
            options(nostack),
        );
    }
    end
}
