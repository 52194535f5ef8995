//! Per-CPU caches that know when they must not be touched any more.

use hugepool::model::{
    Batch, ClassId, CpuCaches, Empty, Handful, Index, Portable, Refused, Tables,
};
use loom::cell::UnsafeCell;

/// The portable caches, every call of which counts as a read of the pool's
/// memory. loom reports a call that does not happen before the tear-down.
pub struct Guarded {
    caches: Portable,
    memory: UnsafeCell<()>,
}

// SAFETY: loom runs one thread at a time, and reports accesses to `memory` that
// are not ordered; there is nothing in it to be torn.
unsafe impl Sync for Guarded {}

impl Guarded {
    /// Caches of `cpus` processors.
    pub fn new(cpus: usize) -> Self {
        Self {
            caches: Portable::new(cpus).unwrap(),
            memory: UnsafeCell::new(()),
        }
    }

    /// The pool's memory is read.
    pub fn touch(&self) {
        self.memory.with(|_| ());
    }

    /// The pool's memory is unmapped.
    pub fn tear_down(&self) {
        self.memory.with_mut(|_| ());
    }

    fn touched(&self) -> &Portable {
        self.touch();
        &self.caches
    }
}

impl CpuCaches for Guarded {
    fn cpus(&self) -> usize {
        self.touched().cpus()
    }

    fn name(&self) -> &'static str {
        self.touched().name()
    }

    fn current(&self) -> usize {
        self.touched().current()
    }

    fn pop(&self, tables: &Tables, class: ClassId) -> Option<Index> {
        self.touched().pop(tables, class)
    }

    fn push(
        &self,
        tables: &Tables,
        class: ClassId,
        index: Index,
        capacity: u32,
    ) -> Result<(), Refused> {
        self.touched().push(tables, class, index, capacity)
    }

    fn refill(&self, tables: &Tables, class: ClassId, batch: Batch) -> Result<(), Batch> {
        self.touched().refill(tables, class, batch)
    }

    fn flush(&self, tables: &Tables, cpu: usize, class: ClassId, count: u32) -> Option<Handful> {
        self.touched().flush(tables, cpu, class, count)
    }

    fn unfill(&self, tables: &Tables, cpu: usize, class: ClassId) -> Option<Batch> {
        self.touched().unfill(tables, cpu, class)
    }

    fn steal(&self, tables: &Tables, cpu: usize, class: ClassId) -> Result<Index, Empty> {
        self.touched().steal(tables, cpu, class)
    }

    fn close(&self, tables: &Tables, cpu: usize, class: ClassId) -> u64 {
        self.touched().close(tables, cpu, class)
    }

    fn len(&self, tables: &Tables, cpu: usize, class: ClassId) -> u64 {
        self.touched().len(tables, cpu, class)
    }

    fn populate(&self, class: ClassId) {
        self.touched().populate(class);
    }

    fn resident(&self) -> std::io::Result<usize> {
        self.touched().resident()
    }
}
