//! The critical sections in aarch64 assembly.
//!
//! Owns: the instructions. Uses: the parent module's layouts. Used by: the parent module.
//!
//! These processors do any two accesses in either order, unless an instruction says otherwise.
//! Two do: `ldar` is done before whatever comes after it (Acquire), and `stlr` after whatever
//! came before it (Release). A section's accesses, in the order of the program:
//!
//! | access | instruction | what comes before what |
//! | --- | --- | --- |
//! | limit | `ldar` | before the slots' address: who finds a limit above 0 finds the slots that were attached before it was raised. Before gate and level: who finds a class open finds what was done while it was shut |
//! | gate | `ldar` | before the level: who finds the gate open finds what the thieves left |
//! | level | `ldar` | before the entries, and before whatever is done with the buffer: who finds the level that a thief stored finds what that one did before |
//! | entries, read or written | plain | between level and commit |
//! | commit | `stlr` | after the entries: a thief that finds the level finds the entries below it. After all that the thread did before: a thief that takes a buffer finds it as it was given back, and who sees buffers gone sees what was announced before |
//!
//! So each of them has the order that it has in `model`, and nothing more is relied on.
//! (`stlr` and a later `ldar` stay in order too, which is not needed. The instruction without
//! that, `ldapr`, is not one that every such processor has.) Whatever another section of the
//! same processor did needs no order: it is the same processor's, which sees its own accesses
//! in the order of the program, and the kernel orders them when it moves a thread to another.
//!
//! A `membarrier` interrupts the processor between two instructions. Those before are done
//! then, and the kernel's handler is a full barrier between them and those after. If the store
//! of the descriptor is among those before, and the commit is not, the section is aborted. If
//! the store comes after, so do the loads of limit and gate.
//!
//! Words are read whole, as they are written by others, and then taken apart.

use super::super::thread::{SIGNATURE, offset, offset_or};
use super::{ABORTED, CHANGE, ENTRIES, EXPIRED, GATE, LIMIT, ROW_SHIFT, SLOTS};
use crate::class::Line;
use crate::sync::{AtomicU32, AtomicU64};
use crate::word::Index;
use std::arch::asm;

/// Begins a section: `{t}` is a scratch register, `{area}` the area's distance from the thread
/// pointer, and its address from here on. Labels: 2 begin, 3 descriptor, 4 end, 5 diverted,
/// 6 aborted.
macro_rules! begin {
    () => {
        concat!(
            descriptor!(),
            "mrs {t}, tpidr_el0\n",
            "add {area}, {area}, {t}\n",
            "adrp {t}, 3b\n",
            "add {t}, {t}, :lo12:3b\n",
            "str {t}, [{area}, 8]\n",
            "2:\n",
        )
    };
}

/// The slot of the processor into `{c}`, its gate into `{t}` and its level into `{w}`, or out
/// to label 5.
macro_rules! slot {
    () => {
        concat!(
            "ldr {c:w}, [{area}, 4]\n",
            "add {t}, {line}, {LIMIT}\n",
            "ldar {t}, [{t}]\n",
            "cmp {c:w}, {t:w}\n",
            "b.hs 5f\n",
            "ldr {t}, [{line}, {SLOTS}]\n",
            "add {c}, {t}, {c}, lsl {row}\n",
            "add {t}, {c}, {GATE}\n",
            "ldar {t}, [{t}]\n",
            "ldar {w}, [{c}]\n",
        )
    };
}

/// The code behind the kernel's signature, at whose label 6 an aborted section
/// goes on; behind the function, where a conditional jump reaches it.
macro_rules! aborted {
    ($($line:literal),+) => {
        concat!(
            ".subsection 1\n",
            ".balign 4\n",
            ".long {signature}\n",
            "6:\n",
            $($line, "\n",)+
            ".previous\n",
        )
    };
}

/// See `rseq`.
#[inline(always)]
pub fn pop_by(area: isize, line: &Line) -> Option<Index> {
    let found: u32;
    // SAFETY: the section reads a slot of a processor below the limit, which is in
    // the row that `attach` named before the limit was raised, and entries below
    // its level; it writes that slot's level and the thread's own area. See `rseq`
    // for why nobody else changes the slot meanwhile.
    unsafe {
        asm!(
            begin!(),
            slot!(),
            // The gate's second byte is above the level less one, modulo 256.
            "ubfx {t:w}, {t:w}, 8, 8",
            "sub {i:w}, {w:w}, 1",
            "cmp {t:w}, {i:w}, uxtb",
            "b.ls 5f",
            "add {i:x}, {c}, {i:w}, uxtb 2",
            "ldr {i:w}, [{i:x}, {ENTRIES}]",
            "add {w}, {w}, {lower}",
            "stlr {w}, [{c}]",
            "4:",
            "7:",
            aborted!("5: mov {i:w}, wzr", "b 7b"),
            area = inout(reg) offset_or(area) => _,
            line = in(reg) line,
            t = out(reg) _,
            c = out(reg) _,
            w = out(reg) _,
            i = out(reg) found,
            row = const ROW_SHIFT,
            LIMIT = const LIMIT,
            SLOTS = const SLOTS,
            GATE = const GATE,
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
            // The gate's first byte is above the level.
            "and {t:w}, {t:w}, 0xff",
            "cmp {t:w}, {w:w}, uxtb",
            "b.ls 5f",
            "add {t}, {c}, {w:w}, uxtb 2",
            "str {index:w}, [{t}, {ENTRIES}]",
            "add {w}, {w}, {raise}",
            "stlr {w}, [{c}]",
            "4:",
            aborted!("5: b {diverted}"),
            area = inout(reg) offset_or(area) => _,
            line = in(reg) line,
            index = in(reg) index.raw(),
            t = out(reg) _,
            c = out(reg) _,
            w = out(reg) _,
            row = const ROW_SHIFT,
            LIMIT = const LIMIT,
            SLOTS = const SLOTS,
            GATE = const GATE,
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
            "and {t:w}, {t:w}, 0xff",
            "and {i:w}, {w:w}, 0xff",
            "add {to}, {c}, {i}, lsl 2",
            "add {to}, {to}, {ENTRIES}",
            "add {i:w}, {i:w}, {count:w}",
            "cmp {i:w}, {t:w}",
            "b.hi 5f",
            "mov {i}, xzr",
            "7: ldr {t:w}, [{from}, {i}, lsl 2]",
            "str {t:w}, [{to}, {i}, lsl 2]",
            "add {i}, {i}, 1",
            "cmp {i}, {count}",
            "b.lo 7b",
            "add {w}, {w}, {i}",
            "add {w}, {w}, {change}",
            "stlr {w}, [{c}]",
            "4:",
            aborted!("5: b {diverted}"),
            area = inout(reg) offset() => _,
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
            GATE = const GATE,
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
            "ubfx {t:w}, {t:w}, 8, 8",
            "sub {i:w}, {w:w}, 1",
            "cmp {t:w}, {i:w}, uxtb",
            "b.ls 5f",
            "and {i:w}, {w:w}, 0xff",
            "cmp {i}, {n}",
            "csel {n}, {i}, {n}, lo",
            "sub {i}, {i}, {n}",
            "add {from}, {c}, {i}, lsl 2",
            "add {from}, {from}, {ENTRIES}",
            "mov {i}, xzr",
            "8: ldr {t:w}, [{from}, {i}, lsl 2]",
            "str {t:w}, [{to}, {i}, lsl 2]",
            "add {i}, {i}, 1",
            "cmp {i}, {n}",
            "b.lo 8b",
            "add {w}, {w}, {change}",
            "sub {w}, {w}, {n}",
            "stlr {w}, [{c}]",
            "4:",
            "7:",
            aborted!("5: mov {n}, xzr", "b 7b"),
            area = inout(reg) offset() => _,
            line = in(reg) line,
            to = in(reg) into.as_ptr(),
            n = inout(reg) count as usize => taken,
            t = out(reg) _,
            c = out(reg) _,
            w = out(reg) _,
            i = out(reg) _,
            from = out(reg) _,
            row = const ROW_SHIFT,
            LIMIT = const LIMIT,
            SLOTS = const SLOTS,
            GATE = const GATE,
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
            "ldr {cpu:w}, [{area}, 4]",
            "orr {t}, {cpu:x}, {round:x}, lsl 32",
            "stlr {t}, [{inside}]",
            "8: isb",
            "ldar {t:w}, [{told}]",
            "cmp {t:w}, {round:w}",
            "b.eq 9f",
            "subs {left:w}, {left:w}, 1",
            "b.ne 8b",
            "mov {end:w}, {EXPIRED}",
            "b 4f",
            // After `told`, which is an Acquire.
            "9: ldr {t:w}, [{area}, 4]",
            "cmp {t:w}, {cpu:w}",
            "cset {end:w}, ne",
            "4:",
            "7:",
            aborted!("mov {end:w}, {ABORTED}", "b 7b"),
            area = inout(reg) area => _,
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
