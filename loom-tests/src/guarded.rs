//! Per-CPU caches that know when they must not be touched any more.

use hugepool::model::{
    Batch, ClassId, CpuCaches, Index, Line, Refilled, Refused, Robbed, Share, Tables,
};
use loom::cell::UnsafeCell;
use std::io;
use std::ops::Range;

/// Caches of any kind, every call of which counts as a read of the pool's
/// memory. loom reports a call that does not happen before the tear-down.
pub struct Guarded<C> {
    caches: C,
    memory: UnsafeCell<()>,
}

// SAFETY: loom runs one thread at a time, and reports accesses to `memory` that
// are not ordered; there is nothing in it to be torn.
unsafe impl<C: Sync> Sync for Guarded<C> {}

impl<C> Guarded<C> {
    /// Guards `caches`.
    pub fn new(caches: C) -> Self {
        Self {
            caches,
            memory: UnsafeCell::new(()),
        }
    }

    /// The pool's memory is unmapped.
    pub fn tear_down(&self) {
        self.memory.with_mut(|_| ());
    }

    fn touched(&self) -> &C {
        self.memory.with(|_| ());
        &self.caches
    }
}

impl<C: CpuCaches> CpuCaches for Guarded<C> {
    fn open(&self, cpus: &Range<usize>) -> io::Result<()> {
        self.touched().open(cpus)
    }

    fn cpus(&self) -> usize {
        self.touched().cpus()
    }

    fn name(&self) -> &'static str {
        self.touched().name()
    }

    fn current(&self) -> usize {
        self.touched().current()
    }

    fn pop(&self, tables: &Tables, line: &Line) -> Option<Index> {
        self.touched().pop(tables, line)
    }

    fn push(&self, tables: &Tables, line: &Line, index: Index) -> bool {
        self.touched().push(tables, line, index)
    }

    fn pop_again(&self, tables: &Tables, class: ClassId) -> Option<Index> {
        self.touched().pop_again(tables, class)
    }

    fn push_again(&self, tables: &Tables, class: ClassId, index: Index) -> Result<(), Refused> {
        self.touched().push_again(tables, class, index)
    }

    fn refill(&self, tables: &Tables, class: ClassId, batch: Batch) -> Refilled {
        self.touched().refill(tables, class, batch)
    }

    fn flush(&self, tables: &Tables, class: ClassId, count: u32, into: u32) -> Option<Batch> {
        self.touched().flush(tables, class, count, into)
    }

    fn rob(
        &self,
        tables: &Tables,
        cpu: usize,
        class: ClassId,
        quiet: &dyn Fn() -> bool,
        share: Share,
        announce: &mut dyn FnMut(),
    ) -> Robbed {
        self.touched()
            .rob(tables, cpu, class, quiet, share, announce)
    }

    fn disturbs(&self) -> bool {
        self.touched().disturbs()
    }

    fn shut(&self, tables: &Tables, classes: &[ClassId]) -> Option<u64> {
        self.touched().shut(tables, classes)
    }

    fn unshut(&self, tables: &Tables, class: ClassId, idle: &dyn Fn() -> bool) {
        self.touched().unshut(tables, class, idle);
    }

    fn attach(&self, tables: &Tables, class: ClassId) {
        self.touched().attach(tables, class);
    }

    fn len(&self, tables: &Tables, cpu: usize, class: ClassId) -> u64 {
        self.touched().len(tables, cpu, class)
    }

    fn capacity(&self, cpu: usize, class: ClassId) -> u8 {
        self.touched().capacity(cpu, class)
    }

    fn set_capacity(&self, cpu: usize, class: ClassId, from: u8, to: u8) -> bool {
        self.touched().set_capacity(cpu, class, from, to)
    }

    fn activity(&self, cpu: usize, class: ClassId) -> u64 {
        self.touched().activity(cpu, class)
    }

    fn most(&self) -> u8 {
        self.touched().most()
    }

    fn populate(&self, cpu: usize, class: ClassId) {
        self.touched().populate(cpu, class);
    }

    fn resident(&self) -> io::Result<usize> {
        self.touched().resident()
    }
}
