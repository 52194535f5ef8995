//! The processors that a pool is used on, and their rows.
//!
//! Owns: when a row is opened, and what a thread on a processor without one uses. Uses: the
//! lists, `cache::Visited`, `sys::cpu`. Used by: every way past the hot path.
//!
//! A row is what is kept of a processor: the slots of its caches, its ledgers, its counts. It
//! takes addresses from the start; its memory may be written, and counts against limits, when a
//! thread comes there, or when the pool touches it for a processor that is there, so that no
//! later call faults a page.

use super::FreeLists;
use crate::cache::CpuCaches;
use crate::class::{ClassId, MAX_CLASSES};
#[cfg(not(hugepool_loom))]
use crate::sync::touch;
use crate::sync::{Ordering, fault};
use crate::sys::clock;
#[cfg(not(hugepool_loom))]
use crate::sys::cpu;
use std::io;
use std::ops::Range;

/// How long after a row could not be opened it is tried again, in nanoseconds.
const AGAIN: u64 = 50_000_000;

/// How many of `cpus` processors are there now.
#[cfg(not(hugepool_loom))]
pub(super) fn there_are(cpus: usize) -> usize {
    let online = cpu::online().into_iter().map(|cpus| cpus.len());
    online.sum::<usize>().clamp(1, cpus)
}

/// In a model, all.
#[cfg(hugepool_loom)]
pub(super) fn there_are(cpus: usize) -> usize {
    cpus
}

impl<C: CpuCaches> FreeLists<C> {
    /// A processor that is in use, the caller's if its row can be opened. What is in its row is
    /// the caller's to write.
    #[inline]
    pub(super) fn here(&self) -> usize {
        let cpu = self.caches.current();
        if self.tables.visited.has(cpu) {
            cpu
        } else {
            self.visit(cpu)
        }
    }

    #[cold]
    #[inline(never)]
    fn visit(&self, cpu: usize) -> usize {
        // Relaxed: a hint. The caller shares another one's row, without its cache, where there
        // is no memory for its own.
        let now = clock::coarse();
        if now < self.no_memory_until.load(Ordering::Relaxed) {
            return self.first;
        }
        if self.open_rows(&(cpu..cpu + 1)).is_err() {
            self.no_memory_until.store(now + AGAIN, Ordering::Relaxed);
            return self.first;
        }
        if fault!(NoVisit, false, self.tables.visited.add(cpu)) {
            self.share_out_anew();
            if self.tables.visited.count() > self.expected {
                // Smaller shares move in smaller batches. Without memory for more of them
                // buffers move one by one.
                let needed = self.batches_for_all(self.tables.visited.count());
                let _ = self.tables.batches.open(needed);
                self.tables.batches.grow(needed);
            }
        }
        cpu
    }

    /// Opens the rows of `cpus`. Enters the kernel only if one of them is not open. Fails, with
    /// nothing lost, if the system has no memory.
    pub(super) fn open_rows(&self, cpus: &Range<usize>) -> io::Result<()> {
        let visited = &self.tables.visited;
        if cfg!(hugepool_loom) || cpus.clone().all(|cpu| visited.is_open(cpu)) {
            return Ok(());
        }
        self.caches.open(cpus)?;
        (self.ledgers).open(&(cpus.start * MAX_CLASSES..cpus.end * MAX_CLASSES))?;
        self.processors.open(cpus)?;
        cpus.clone().for_each(|cpu| visited.opened(cpu));
        Ok(())
    }

    /// Touches what threads will touch of `class` in the rows of the processors that are there.
    #[cfg(not(hugepool_loom))]
    pub(super) fn populate_rows(&self, class: ClassId) {
        for cpus in cpu::online() {
            let cpus = cpus.start.min(self.caches.cpus())..cpus.end.min(self.caches.cpus());
            if self.open_rows(&cpus).is_err() {
                // Who comes there tries again.
                continue;
            }
            for cpu in cpus {
                self.caches.populate(cpu, class);
                touch(&self.ledger(cpu, class).moving);
                touch(&self.processors.get(cpu).spent);
            }
        }
    }

    /// Models fault no pages.
    #[cfg(hugepool_loom)]
    pub(super) fn populate_rows(&self, _class: ClassId) {}

    /// How many processors are in use.
    pub fn cpus_in_use(&self) -> usize {
        self.tables.visited.count()
    }

    /// How many threads may be called at once of those who wait for a class: as many as can
    /// run.
    #[inline]
    pub(super) fn callers(&self) -> u32 {
        self.sharers().min(1 << 16) as u32
    }

    /// Among how many processors the buffers of a class are shared out before long.
    #[inline]
    pub(super) fn sharers(&self) -> usize {
        (self.tables.visited.count()).max(self.expected)
    }

    /// In a model: no processor is in use.
    #[cfg(hugepool_loom)]
    pub fn begin_unvisited(&mut self) {
        self.tables.visited.none();
    }
}
