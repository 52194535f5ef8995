//! The kind of cache that a pool runs on, chosen when it is built.
//!
//! Owns: the choice. Uses: the kinds. Used by: `pool`.

use super::portable::Portable;
use super::restartable::Restartable;
use super::{CpuCaches, Refilled, Refused, Robbed, Share, Tables};
use crate::class::{ClassId, Line};
use crate::rseq::{self, WhyPortable};
use crate::word::{Batch, Index};
use std::io;
use std::ops::Range;

/// Per-CPU caches of one kind or the other.
pub enum Kind {
    /// On restartable sequences.
    Restartable(Restartable),
    /// On compare-and-swap, and why.
    Portable(Portable, WhyPortable),
}

impl Kind {
    /// Empty caches for `cpus` processors: restartable ones unless `portable`
    /// is wanted or this machine has no others. They divert the hot path for ever if it is to
    /// be `diverted`; portable ones do so anyway. Fails as `mmap` does.
    pub fn new(cpus: usize, portable: bool, diverted: bool) -> io::Result<Self> {
        rseq::prepare();
        let restartable = match (portable, diverted) {
            (true, _) => Err(WhyPortable::Chosen),
            (false, true) => Restartable::off_the_hot_path(cpus)?,
            (false, false) => Restartable::new(cpus)?,
        };
        match restartable {
            Ok(caches) => Ok(Self::Restartable(caches)),
            Err(why) => Ok(Self::Portable(Portable::new(cpus)?, why)),
        }
    }

    /// Why they are portable, if they are.
    pub fn why_portable(&self) -> Option<WhyPortable> {
        match self {
            Self::Restartable(_) => None,
            Self::Portable(_, why) => Some(*why),
        }
    }
}

/// Calls the same on either kind.
macro_rules! either {
    ($of:expr, $call:ident($($given:expr),*)) => {
        match $of {
            Kind::Restartable(caches) => caches.$call($($given),*),
            Kind::Portable(caches, _) => caches.$call($($given),*),
        }
    };
}

impl CpuCaches for Kind {
    fn cpus(&self) -> usize {
        either!(self, cpus())
    }

    fn open(&self, cpus: &Range<usize>) -> io::Result<()> {
        either!(self, open(cpus))
    }

    fn name(&self) -> &'static str {
        either!(self, name())
    }

    fn current(&self) -> usize {
        either!(self, current())
    }

    #[inline(always)]
    fn pop(&self, _tables: &Tables, line: &Line) -> Option<Index> {
        // Whichever it is: without restartable slots the line's limit is zero,
        // and the slower path asks the portable ones.
        rseq::pop(line)
    }

    #[inline(always)]
    fn push(&self, _tables: &Tables, line: &Line, index: Index) -> bool {
        // As above.
        rseq::push(line, index)
    }

    fn pop_again(&self, tables: &Tables, class: ClassId) -> Option<Index> {
        either!(self, pop_again(tables, class))
    }

    fn push_again(&self, tables: &Tables, class: ClassId, index: Index) -> Result<(), Refused> {
        either!(self, push_again(tables, class, index))
    }

    fn refill(&self, tables: &Tables, class: ClassId, batch: Batch) -> Refilled {
        either!(self, refill(tables, class, batch))
    }

    fn flush(&self, tables: &Tables, class: ClassId, count: u32, into: u32) -> Option<Batch> {
        either!(self, flush(tables, class, count, into))
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
        either!(self, rob(tables, cpu, class, quiet, share, announce))
    }

    fn disturbs(&self) -> bool {
        either!(self, disturbs())
    }

    fn shut(&self, tables: &Tables, classes: &[ClassId]) -> Option<u64> {
        either!(self, shut(tables, classes))
    }

    fn unshut(&self, tables: &Tables, class: ClassId, idle: &dyn Fn() -> bool) {
        either!(self, unshut(tables, class, idle));
    }

    fn attach(&self, tables: &Tables, class: ClassId) {
        either!(self, attach(tables, class));
    }

    fn len(&self, tables: &Tables, cpu: usize, class: ClassId) -> u64 {
        either!(self, len(tables, cpu, class))
    }

    fn capacity(&self, cpu: usize, class: ClassId) -> u8 {
        either!(self, capacity(cpu, class))
    }

    fn most(&self) -> u8 {
        either!(self, most())
    }

    fn set_capacity(&self, cpu: usize, class: ClassId, from: u8, to: u8) -> bool {
        either!(self, set_capacity(cpu, class, from, to))
    }

    fn activity(&self, cpu: usize, class: ClassId) -> u64 {
        either!(self, activity(cpu, class))
    }

    fn populate(&self, cpu: usize, class: ClassId) {
        either!(self, populate(cpu, class));
    }

    fn resident(&self) -> io::Result<usize> {
        either!(self, resident())
    }
}
