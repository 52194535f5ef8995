//! Per-CPU caches of free buffers.
//!
//! Owns: the contract that every kind of per-CPU cache keeps, the kinds, and which processors
//! are in use.
//! Uses: `sync`, `sys`, `table`, `chain`, `batch`, `rseq`. Used by: `lists`,
//! which refills them from the depots, flushes them into the depots, and steals
//! from them.
//!
//! One slot a processor and class. A slot is touched almost only by threads
//! that run on its processor; stealing, counting and shutting come from others.
//!
//! | kind | a pop or push is | needs |
//! | --- | --- | --- |
//! | `restartable` | a restartable sequence: loads and stores, no read-modify-write | x86-64 or aarch64, Linux, `rseq` and `membarrier` |
//! | `portable` | one compare-and-swap | nothing |

#[cfg(not(hugepool_loom))]
mod kind;
pub mod portable;
pub mod restartable;
mod visited;

pub use crate::chain::Refused;
#[cfg(not(hugepool_loom))]
pub use kind::Kind;
pub use visited::Visited;

use crate::batch::{Batches, Handful};
use crate::class::{ClassId, Classes, Line};
use crate::record::Records;
use crate::word::{Batch, Index};
use std::io;
use std::ops::Range;

/// The tables that lists are made of: what is kept per buffer and per class, and
/// the batches.
pub struct Tables {
    /// The classes.
    pub classes: Classes,
    /// What is kept per buffer.
    pub records: Records,
    /// The batches.
    pub batches: Batches,
    /// The processors in use, whose slots may hold buffers.
    pub visited: Visited,
}

impl Tables {
    /// Tables for buffers of `classes` whose index is below `indices`, at most
    /// `buffers` of them, and for `cpus` processors. Neither records nor batches are open.
    /// Fails as `mmap` does.
    pub fn new(classes: Classes, indices: usize, buffers: usize, cpus: usize) -> io::Result<Self> {
        Ok(Self {
            classes,
            records: Records::closed(indices)?,
            batches: Batches::new(buffers)?,
            visited: Visited::new(cpus)?,
        })
    }
}

/// Proof that a slot was empty at one moment within the call. Two proofs of one
/// slot are equal if and only if nothing was put into or taken from the slot
/// between them, and they never decrease (modulo the width of a tag), so sums of
/// them can be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Empty(pub u64);

/// How much of a slot to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// One buffer. (Models ask for that.)
    #[cfg_attr(not(hugepool_loom), allow(dead_code))]
    One,
    /// Half of what is there, rounded up, and no more than a batch.
    Half,
    /// All that is there, and no more than a batch.
    All,
}

impl Share {
    /// How many of `len` buffers that is.
    pub fn of(self, len: u32) -> u32 {
        match self {
            Self::One => len.min(1),
            Self::Half => len.div_ceil(2),
            Self::All => len,
        }
    }
}

/// What is left of a batch after a refill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refilled {
    /// Nothing, and its array belongs to the slot now.
    Whole,
    /// This, maybe nothing. Its array is the caller's.
    Rest(Batch),
}

/// What came of robbing a slot.
#[derive(Debug)]
pub enum Robbed {
    /// These buffers, at least one; they are the caller's.
    Some(Handful),
    /// There was none.
    None(Empty),
    /// The kernel would not say that the slot's processor keeps away, so nothing
    /// could be taken. There were some.
    Barred,
}

/// What a kind of per-CPU cache does for the free lists.
///
/// No call blocks on another thread. Each takes effect at one instant or not at
/// all: a thread that stops forever between any two instructions of one of these
/// calls holds at most what the call would have returned, and stops no other
/// thread. What a thread wrote to a buffer before it put the buffer in is
/// visible to whoever takes it out.
pub trait CpuCaches: Sync {
    /// Processors that there may be, each of which has a row of slots: closed until `open`.
    fn cpus(&self) -> usize;

    /// Opens the slots of these processors, all of which there may be. Fails, with nothing
    /// changed, if the system has no memory for them.
    fn open(&self, cpus: &Range<usize>) -> io::Result<()>;

    /// A word that names this kind in statistics.
    fn name(&self) -> &'static str;

    /// The processor the caller ran on at one moment within the call, below
    /// [`cpus`](Self::cpus).
    fn current(&self) -> usize;

    /// Takes a buffer from this processor's slot: the hot path. `None` proves
    /// nothing.
    fn pop(&self, tables: &Tables, line: &Line) -> Option<Index>;

    /// Puts a buffer into this processor's slot: the hot path. False: it is
    /// still the caller's, and `push_again` says why. True: that was the last
    /// touch of the pool.
    fn push(&self, tables: &Tables, line: &Line, index: Index) -> bool;

    /// As `pop`, and tries harder.
    fn pop_again(&self, tables: &Tables, class: ClassId) -> Option<Index>;

    /// As `push`, tries harder, and says why not.
    fn push_again(&self, tables: &Tables, class: ClassId, index: Index) -> Result<(), Refused>;

    /// Puts buffers of `batch`, which the caller holds, into this processor's
    /// slot, from its end, as many as there is room for, and gives what is left
    /// of it. The caller holds a handle of the pool.
    fn refill(&self, tables: &Tables, class: ClassId, batch: Batch) -> Refilled;

    /// Takes up to `count` buffers from this processor's slot into the caller's array `into`, at
    /// once, without disturbing anybody. `None`, which leaves the array with the caller, proves
    /// nothing.
    fn flush(&self, tables: &Tables, class: ClassId, count: u32, into: u32) -> Option<Batch>;

    /// Takes `share` of the slot of processor `cpu`, at once, whichever
    /// processor the caller runs on; calls `announce` before it takes more than
    /// one buffer. `quiet` says whether the class has been `shut`, so that no
    /// processor need be disturbed. The caller holds a handle of the pool.
    fn rob(
        &self,
        tables: &Tables,
        cpu: usize,
        class: ClassId,
        quiet: &dyn Fn() -> bool,
        share: Share,
        announce: &mut dyn FnMut(),
    ) -> Robbed;

    /// Whether robbing a slot of a class that is not shut disturbs the slot's
    /// processor (a system call).
    fn disturbs(&self) -> bool;

    /// Diverts every push into slots of `classes` of the processors in use from now on, and
    /// gives how many buffers were in them: a push that came before is counted, one that comes
    /// after is refused. `None`: the kernel would not say that all that came
    /// before have ended. (`lists` sees to the other processors.)
    fn shut(&self, tables: &Tables, classes: &[ClassId]) -> Option<u64>;

    /// Lets pushes of `class` in again if `idle` still holds and it has slots. A
    /// thread that makes `idle` false and then calls `shut` is not undone by
    /// this.
    fn unshut(&self, tables: &Tables, class: ClassId, idle: &dyn Fn() -> bool);

    /// Gives `class`, which has just been defined, its slots. Every caller does
    /// the same.
    fn attach(&self, tables: &Tables, class: ClassId);

    /// How many buffers the slot of processor `cpu` holds: exact while nobody
    /// changes it, an estimate otherwise.
    fn len(&self, tables: &Tables, cpu: usize, class: ClassId) -> u64;

    /// How many buffers `push` puts into the slot of processor `cpu` at most.
    fn capacity(&self, cpu: usize, class: ClassId) -> u8;

    /// Sets that to `to`, at most `most()`, if it is `from`. What is in the slot
    /// stays there.
    fn set_capacity(&self, cpu: usize, class: ClassId, from: u8, to: u8) -> bool;

    /// A number that changes whenever the slot of processor `cpu` does.
    fn activity(&self, cpu: usize, class: ClassId) -> u64;

    /// The largest capacity a slot can have.
    fn most(&self) -> u8;

    /// Touches the slot of `cpu`, which is open, so that no later call faults a page.
    fn populate(&self, cpu: usize, class: ClassId);

    /// Bytes of memory the slots occupy, read from the kernel.
    fn resident(&self) -> io::Result<usize>;
}
