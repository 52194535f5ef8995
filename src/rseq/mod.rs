//! Slots that only threads on one processor change, without any atomic
//! read-modify-write: restartable sequences.
//!
//! Owns: the slots, the critical sections over them (assembly here and nowhere
//! else), the stopping of other processors, and the trial whether that works (`probe`).
//! Uses: `sync`, `sys`, `table`, `word`, `class`. Used by: `cache`, `stats`, `machine`.
//!
//! ```text
//!   slot of one processor and class: 4 cache lines
//!   ┌──────────────┬──────────────┬─────┬─────┬─────┬───
//!   │ level        │ gate         │  a  │  b  │  c  │ …      level.count = 3
//!   └──────────────┴──────────────┴─────┴─────┴─────┴───
//!      written by     written by         ▲ pop takes c, push puts after it
//!      the owner      thieves
//! ```
//!
//! # What the kernel guarantees
//!
//! A thread tells the kernel where its critical section begins and ends (one
//! plain store). If the thread is preempted, migrated or gets a signal inside,
//! it does not go on there: it continues at the section's abort handler. So
//! between the first and the last instruction of a section that completes no
//! other thread has run on that processor, and nobody else writes the slot of a
//! processor: the section may read the level, read or write an entry and store
//! the new level, as if it were alone. The last store *commits*: before it the
//! section has changed nothing that counts (an entry above the level is no
//! entry), after it everything is done.
//!
//! Not every kernel keeps this that says it does. So no slots are made before it was tried
//! (`probe`).
//!
//! # Taking from another processor's slot
//!
//! ```text
//!   thief:  gate: one thief more (shut) ── restart(cpu) ── level: compare-and-swap
//!                                                           … gate: one thief fewer
//!   owner:  limit? gate? level … entry … commit level
//! ```
//!
//! `restart` is a `membarrier(2)`: when it returns, each section of that
//! processor that was under way has been aborted or has committed, and its
//! stores are visible. A section that begins later finds the gate shut. So from
//! then on, until the last thief leaves, the level is the thieves' to change, by
//! compare-and-swap; a thief that never leaves keeps the processor away from
//! this slot, and nobody away from its buffers.
//!
//! The section reads *limit and gate before the level*. If it read the level first, it could
//! read it while a thief is at work, find the gate open again, and commit over what the thief
//! took: it began after the thief's `restart`, so nothing would abort it. x86-64 keeps loads in
//! order; on aarch64 these are instructions that do (`section`).
//!
//! # Shutting a class
//!
//! Every section compares its processor's number with the class's limit, which
//! is how a number that no slot belongs to is found (an unregistered thread, a
//! processor that the kernel did not announce). A limit of zero, followed by a
//! `restart` everywhere, therefore shuts a class in all slots at once, at no
//! cost to the sections.
//!
//! # Under loom
//!
//! The sections become sequences of atomics (`model`), with the same loads in
//! the same order. The level carries an epoch: a section that begins, and a
//! `restart`, move it on, and the commit stores only if it is still the
//! section's own.

#[cfg(hugepool_loom)]
mod model;
#[cfg(all(
    not(hugepool_loom),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod probe;
#[cfg(all(
    not(hugepool_loom),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod section;
#[cfg(all(
    not(hugepool_loom),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod spinner;
#[cfg(all(
    not(hugepool_loom),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod thread;
mod why;

pub use why::WhyPortable;

#[cfg(all(
    test,
    not(hugepool_loom),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub use probe::plant::plant;

#[cfg(hugepool_loom)]
use model::{self as section, Entry};

use crate::class::{ClassId, Line, MAX_CLASSES};
#[cfg(not(hugepool_loom))]
use crate::sync::AtomicU32 as Entry;
use crate::sync::{AtomicU64, Ordering, fault, touch};
use crate::table::{Table, Zeroed};
use crate::word::{Gate, Index, Level, Limit};
use std::cell::UnsafeCell;
use std::io;
use std::ops::Range;

/// Buffers a slot has room for.
pub const ENTRIES: usize = if cfg!(hugepool_loom) { 4 } else { 60 };

/// The free buffers of one processor and class.
#[repr(C, align(256))]
pub struct Slot {
    /// A `Level`. While the gate is open: read and stored by the sections of
    /// this processor alone. While it is shut, after a `restart`: changed by
    /// compare-and-swap. Loads are Acquire and changes Release, those of the
    /// sections included.
    level: AtomicU64,
    /// A `Gate`. Changed by compare-and-swap (AcqRel: a thief that leaves
    /// releases its change of the level, and the section that finds the gate
    /// open acquires it).
    gate: AtomicU64,
    /// The buffers below the level. Relaxed: published by the level.
    entries: [Entry; ENTRIES],
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            level: AtomicU64::default(),
            gate: AtomicU64::default(),
            entries: std::array::from_fn(|_| Entry::default()),
        }
    }
}

// SAFETY: integer atomics alone; all-zero bytes are an empty slot without room.
unsafe impl Zeroed for Slot {}

/// The slots of every processor and class.
pub struct Slots {
    /// A row of `MAX_CLASSES` a processor. (Boxed, for models, which find it by
    /// its address.)
    slots: Box<Table<Slot>>,
    cpus: usize,
    // As in `Table`: a thread may still be inside a call that was given `&Slots`
    // when another one tears the pool down.
    _shared: UnsafeCell<()>,
}

// SAFETY: the cell holds nothing.
unsafe impl Sync for Slots {}

/// The sections. Each takes effect as a whole or not at all; after the ones that
/// put buffers in, the pool is not touched.
///
/// - `pop`: takes the buffer on top of this processor's slot; `None` if there is
///   none, or the section was diverted or aborted.
/// - `push`: puts a buffer that the caller holds on top; false if there is no
///   room, or the section was diverted or aborted.
/// - `push_all`: puts several on top, the last one uppermost, or none.
/// - `pop_some`: takes up to so many from the top and gives how many; the last
///   was uppermost.
pub use section::{pop, pop_some, push, push_all};
/// The same, for who has `area_of_library` at hand.
#[cfg(not(hugepool_loom))]
pub use section::{pop_by, push_by};
#[cfg(all(
    not(hugepool_loom),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub use thread::area_of_library;

/// What a thread outside a slot's processor came to do could not be done.
#[derive(Debug)]
pub struct Barred;

impl Slots {
    /// Empty slots of `cpus` processors, all shut and closed, or why this machine has none.
    /// Fails as `mmap` does.
    pub fn new(cpus: usize) -> io::Result<Result<Self, WhyPortable>> {
        if let Err(why) = available() {
            return Ok(Err(why));
        }
        Ok(Ok(Self {
            slots: Box::new(Table::readable(cpus * MAX_CLASSES)?),
            cpus,
            _shared: UnsafeCell::new(()),
        }))
    }

    /// Processors that have slots.
    pub fn cpus(&self) -> usize {
        self.cpus
    }

    /// Opens the slots of these. Sections may read the others, which have no room and hold
    /// nothing. Fails, with nothing changed, if the system has no memory for them.
    pub fn open(&self, cpus: &Range<usize>) -> io::Result<()> {
        self.slots
            .open(&(cpus.start * MAX_CLASSES..cpus.end * MAX_CLASSES))
    }

    /// The processor the caller runs on, if it can use its slots.
    pub fn current(&self) -> Option<usize> {
        current().filter(|&cpu| cpu < self.cpus)
    }

    /// Whether the caller runs on `cpu` at one moment within the call. Then no section
    /// that began there before the call commits after it: whoever was inside one was
    /// preempted, and is aborted when it goes on. (What it stored is visible, and a section
    /// that begins later finds what the caller stored: the processor is the same, or the
    /// kernel has moved the caller here, which is a full barrier.)
    #[cfg(not(hugepool_loom))]
    fn is_here(&self, cpu: usize) -> bool {
        self.current() == Some(cpu)
    }

    /// In a model, threads of one processor run side by side.
    #[cfg(hugepool_loom)]
    fn is_here(&self, _cpu: usize) -> bool {
        false
    }

    fn slot(&self, cpu: usize, class: ClassId) -> &Slot {
        self.slots.get(cpu * MAX_CLASSES + class.index())
    }

    /// What the slot of `cpu` holds.
    pub fn level(&self, cpu: usize, class: ClassId) -> Level {
        // Acquire: see `Slot`.
        Level::from_word(self.slot(cpu, class).level.load(Ordering::Acquire))
    }

    /// Who may change the slot of `cpu`.
    pub fn gate(&self, cpu: usize, class: ClassId) -> Gate {
        Gate::from_word(self.slot(cpu, class).gate.load(Ordering::Acquire))
    }

    /// Changes a gate; `None` from `change` leaves it. Gives what it was.
    fn change_gate(slot: &Slot, change: impl Fn(Gate) -> Option<Gate>) -> Option<Gate> {
        let mut gate = Gate::from_word(slot.gate.load(Ordering::Relaxed));
        loop {
            let next = change(gate)?;
            // AcqRel: see `Slot`.
            match slot.gate.compare_exchange_weak(
                gate.word(),
                next.word(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(gate),
                Err(now) => gate = Gate::from_word(now),
            }
        }
    }

    /// Sets how many buffers pushes put into the slot of `cpu` at most to `to`,
    /// if it is `from`.
    pub fn set_capacity(&self, cpu: usize, class: ClassId, from: u8, to: u8) -> bool {
        let to = to.min(ENTRIES as u8);
        let set = |gate: Gate| {
            let free = fault!(GateForgets, gate.with_no_thieves(), gate);
            (gate.capacity() == from).then(|| free.with_capacity(to))
        };
        Self::change_gate(self.slot(cpu, class), set).is_some()
    }

    /// Takes buffers from the slot of `cpu`, whichever processor the caller runs
    /// on, as many as `share` says of how many there are. The inner `Err` proves
    /// that there was none at one moment, with that level. No processor is disturbed if
    /// `quiet` says that no section of the class is under way. Progress: lock-free
    /// among thieves; the slot's own processor is diverted meanwhile.
    pub fn rob(
        &self,
        cpu: usize,
        class: ClassId,
        quiet: &dyn Fn() -> bool,
        mut share: impl FnMut(u32) -> u32,
        mut take: impl FnMut(Index),
    ) -> Result<Result<(), Level>, Barred> {
        let seen = self.level(cpu, class);
        if seen.count() == 0 {
            return Ok(Err(seen));
        }
        let slot = self.slot(cpu, class);
        Self::change_gate(slot, Gate::entered).ok_or(Barred)?;
        // Asked when the gate is shut: sections that began before the class was diverted
        // have ended then, and one that begins if it is let in again finds the gate.
        let stopped =
            quiet() || self.is_here(cpu) || fault!(NoRestart, true, self.restart(Some(cpu)));
        let robbed = if stopped {
            Ok(self.take_shut(slot, &mut share, &mut take))
        } else {
            Err(Barred)
        };
        Self::change_gate(slot, |gate| {
            Some(fault!(GateForgets, gate.with_no_thieves(), gate.left()))
        });
        robbed
    }

    /// Takes buffers from a slot that the caller has shut.
    fn take_shut(
        &self,
        slot: &Slot,
        share: &mut impl FnMut(u32) -> u32,
        take: &mut impl FnMut(Index),
    ) -> Result<(), Level> {
        // Acquire: see `Slot`.
        let mut level = Level::from_word(slot.level.load(Ordering::Acquire));
        loop {
            let count = level.count();
            let most = share(count).min(count);
            if most == 0 {
                return Err(level);
            }
            let mut entries = [0; ENTRIES];
            let from = (count - most) as usize;
            let above = slot.entries.get(from..count as usize).unwrap_or(&[]);
            for (copy, entry) in entries.iter_mut().zip(above) {
                *copy = entry.load(Ordering::Relaxed);
            }
            // Release: whoever sees the buffers gone sees what this thread
            // announced before (`lists`).
            match slot.level.compare_exchange_weak(
                level.word(),
                level.lowered(most).word(),
                Ordering::Release,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    let taken = entries.iter().take(above.len());
                    taken
                        .for_each(|&entry| Index::from_raw(entry).into_iter().for_each(&mut *take));
                    return Ok(());
                }
                Err(now) => level = Level::from_word(now),
            }
        }
    }

    /// The slot of processor 0.
    fn first(&self, class: ClassId) -> *mut () {
        // The model finds the slots by the table.
        #[cfg(hugepool_loom)]
        let first = {
            let _ = class;
            std::ptr::from_ref(&*self.slots)
        };
        // SAFETY: a class's number is below `MAX_CLASSES`, and there is a row of
        // that many slots at least.
        #[cfg(not(hugepool_loom))]
        let first = unsafe { self.slots.base().add(class.index()) };
        first.cast_mut().cast()
    }

    /// Gives `class`, whose sections read `line`, its slots. Every caller writes the same.
    pub fn attach(&self, line: &Line, class: ClassId) {
        // Release: see `unshut`.
        line.slots.store(self.first(class), Ordering::Release);
    }

    /// Whether sections of a class are diverted on `cpu`.
    pub fn is_shut(line: &Line, cpu: usize) -> bool {
        // Relaxed: a hint.
        Limit::from_word(line.limit.load(Ordering::Relaxed)).cpus() as usize <= cpu
    }

    /// Diverts every section of some classes from now on. Changes the limits even
    /// if they were shut: see `unshut`. False if the kernel would not stop the
    /// sections that are under way.
    pub fn shut<'a>(&self, lines: impl IntoIterator<Item = &'a Line>) -> bool {
        for line in lines {
            self.set_limit(line, 0, &|| true);
        }
        self.restart(None)
    }

    /// Lets sections of a class in again if `idle` still holds after the limit
    /// was read, and the class has slots. A thread that makes `idle` false and
    /// then calls `shut` is not undone by this: either `idle` sees that, or the
    /// limit has changed.
    pub fn unshut(&self, line: &Line, idle: &dyn Fn() -> bool) {
        // Acquire: pairs with the Release in `attach`; the limit passes it on.
        if fault!(
            OpenFirst,
            true,
            !line.slots.load(Ordering::Acquire).is_null()
        ) {
            self.set_limit(line, self.cpus as u32, idle);
        }
    }

    fn set_limit(&self, line: &Line, cpus: u32, still: &dyn Fn() -> bool) {
        let word = &line.limit;
        // Acquire here and AcqRel below: who finds a limit that somebody shut
        // finds what that one did before.
        let mut limit = Limit::from_word(word.load(Ordering::Acquire));
        let order = fault!(ShutRelaxed, Ordering::Relaxed, Ordering::AcqRel);
        while fault!(
            ShutOnce,
            limit.cpus() != cpus,
            cpus == 0 || limit.cpus() == 0
        ) && still()
        {
            match word.compare_exchange_weak(
                limit.word(),
                limit.with_cpus(cpus).word(),
                order,
                Ordering::Acquire,
            ) {
                Ok(_) => return,
                Err(now) => limit = Limit::from_word(now),
            }
        }
    }

    /// Touches the slot of `cpu`, so that no later call faults a page.
    pub fn populate(&self, cpu: usize, class: ClassId) {
        touch(&self.slot(cpu, class).level);
    }

    /// Bytes of memory the slots occupy, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        self.slots.resident(usize::MAX)
    }

    /// Ends every section that is under way on `cpu`, or anywhere. False if the
    /// kernel refuses.
    #[cfg(not(hugepool_loom))]
    fn restart(&self, cpu: Option<usize>) -> bool {
        use crate::sys::membarrier::restart;
        // For all at once the kernel may need memory that it does not have.
        restart(cpu).is_ok()
            || cpu.is_none() && (0..self.cpus).all(|cpu| restart(Some(cpu)).is_ok())
    }
}

/// Registers the calling thread if it needs that. True if it did so just now.
#[cfg(all(
    not(hugepool_loom),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub fn attend() -> bool {
    thread::attend()
}

/// Readies the process for sections, which begin on the hot path of every pool, whether or
/// not it has slots: finds out where the areas of threads are, if the C library registered
/// them, and has the code stay loaded that an area goes on naming.
#[cfg(all(
    not(hugepool_loom),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub fn prepare() {
    crate::sys::loaded::stay();
    thread::locate();
}

#[cfg(all(
    not(hugepool_loom),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
fn current() -> Option<usize> {
    thread::cpu()
}

/// Whether sections can be relied on: all calls are granted, and do what they say. Starts a
/// thread if that was not tried before, and waits for it a second at most.
#[cfg(all(
    not(hugepool_loom),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub fn available() -> Result<(), WhyPortable> {
    prepare();
    let registered = crate::sys::membarrier::register();
    registered.map_err(|_| WhyPortable::NoBarrier)?;
    match thread::available() {
        true => probe::tried(),
        false => Err(WhyPortable::NotRegistered),
    }
}

#[cfg(hugepool_loom)]
pub use model::attend;
#[cfg(hugepool_loom)]
use model::{available, current};

/// Other processors have no sections, so no slots are ever made.
#[cfg(all(
    not(hugepool_loom),
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
mod section {
    #![allow(missing_docs)]
    use super::{Index, Line};
    use crate::sync::AtomicU32;

    pub fn pop(_: &Line) -> Option<Index> {
        None
    }

    pub fn push(_: &Line, _: Index) -> bool {
        false
    }

    pub fn area_of_library() -> isize {
        0
    }

    pub fn pop_by(_: isize, _: &Line) -> Option<Index> {
        None
    }

    pub fn push_by(_: isize, _: &Line, _: Index) -> bool {
        false
    }

    pub fn push_all(_: &Line, _: &[AtomicU32]) -> bool {
        false
    }

    pub fn pop_some(_: &Line, _: u32, _: &[AtomicU32]) -> usize {
        0
    }

    pub fn prepare() {}

    pub fn attend() -> bool {
        false
    }

    pub fn current() -> Option<usize> {
        None
    }

    pub fn available() -> Result<(), super::WhyPortable> {
        Err(super::WhyPortable::NoSequences)
    }
}
#[cfg(all(
    not(hugepool_loom),
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
use section::current;
#[cfg(all(
    not(hugepool_loom),
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
pub use section::{area_of_library, attend, available, prepare};
