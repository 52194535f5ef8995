//! Per-CPU caches for every machine: a tagged free list a processor and class.
//!
//! Owns: the slots. Uses: `sync`, `sys::cpu`, `table`, `record`, `word`. Used
//! by: `lists`, through `CpuCaches`.
//!
//! ```text
//!   slot {tag, closed, index} ──▶ a ─next─▶ b ─next─▶ c
//!                                 depth 3   depth 2   depth 1
//! ```
//!
//! A buffer in the list is held by nobody; whoever moves the head past it holds
//! it. The top's `depth` is the length of the list, so no counter is kept. The
//! links of buffers in the list do not change until the head has moved past
//! them, and then the tag has changed: a compare-and-swap that succeeds proves
//! that every link its caller followed was current. The processor number is
//! advice: a thread that migrates between reading it and the compare-and-swap
//! merely uses a colder slot.

use super::{CpuCaches, Empty, Refused};
use crate::class::{ClassId, MAX_CLASSES};
use crate::record::{Chain, Records};
use crate::sync::{AtomicU64, Ordering, fault};
use crate::sys::cpu;
use crate::table::{Table, Zeroed};
use crate::word::{Head, Index};
use std::io;

/// The free list of one processor and class.
#[derive(Default)]
struct Slot {
    /// A `Head`. Written by compare-and-swap alone. `push` and `refill` release
    /// what their thread wrote; every reader acquires. Pops are
    /// read-modify-writes, so they continue the release sequence of every
    /// earlier push.
    head: AtomicU64,
}

// SAFETY: one integer atomic; all-zero bytes are an open, empty list.
unsafe impl Zeroed for Slot {}

impl Slot {
    fn load(&self) -> Head {
        // Acquire: pairs with the Release in `push` and `refill`.
        Head::from_word(self.head.load(Ordering::Acquire))
    }

    fn swap(&self, old: Head, new: Head, success: Ordering) -> Result<(), Head> {
        // Failure is Acquire for the same reason as `load`.
        self.head
            .compare_exchange_weak(old.word(), new.word(), success, Ordering::Acquire)
            .map(drop)
            .map_err(Head::from_word)
    }

    fn pop(&self, records: &Records) -> Result<Index, Empty> {
        let mut head = self.load();
        loop {
            let top = head.top().ok_or(Empty(u64::from(head.tag())))?;
            let rest = records.get(top.raw() as usize).next();
            // Relaxed on success: `load` acquired this very value (the tag says
            // so), and nothing of this thread needs to be released.
            match self.swap(head, head.with_top(rest), Ordering::Relaxed) {
                Ok(()) => return Ok(top),
                Err(now) => head = now,
            }
        }
    }

    fn push(&self, records: &Records, index: Index, capacity: u32) -> Result<(), Refused> {
        let record = records.get(index.raw() as usize);
        let mut head = self.load();
        loop {
            if fault!(IgnoreClosed, false, head.is_closed()) {
                return Err(Refused::Closed);
            }
            let depth = Self::depth(head, records);
            if depth >= capacity {
                return Err(Refused::Full);
            }
            record.set(head.top(), depth + 1);
            // Release: whoever acquires this head sees the links and everything
            // this thread did with the buffer.
            let order = fault!(SlotPushRelaxed, Ordering::Relaxed, Ordering::Release);
            match self.swap(head, head.with_top(Some(index)), order) {
                Ok(()) => return Ok(()),
                Err(now) => head = now,
            }
        }
    }

    fn refill(&self, records: &Records, chain: Chain) -> Result<(), Chain> {
        let head = self.load();
        if head.is_closed() || head.top().is_some() {
            return Err(chain);
        }
        debug_assert_eq!(records.get(chain.first.raw() as usize).depth(), chain.len);
        // Release: as in `push`.
        self.swap(head, head.with_top(Some(chain.first)), Ordering::Release)
            .map_err(|_| chain)
    }

    fn flush(&self, records: &Records, count: u32) -> Option<Chain> {
        let mut head = self.load();
        loop {
            let first = head.top()?;
            let mut last = first;
            let mut len = 1;
            let rest = loop {
                let next = records.get(last.raw() as usize).next();
                match next {
                    Some(below) if len < count => {
                        last = below;
                        len += 1;
                    }
                    rest => break rest,
                }
            };
            // Release: the taker announced the carry before this; whoever sees
            // the buffers gone must see the announcement (`lists::Carry`).
            match self.swap(head, head.with_top(rest), Ordering::Release) {
                Ok(()) => {
                    let mut at = Some(first);
                    for depth in (1..=len).rev() {
                        let Some(index) = at else { break };
                        let record = records.get(index.raw() as usize);
                        at = record.next();
                        record.set(if depth == 1 { None } else { at }, depth);
                    }
                    return Some(Chain { first, len });
                }
                Err(now) => head = now,
            }
        }
    }

    fn close(&self, records: &Records) -> u64 {
        let mut head = self.load();
        // AcqRel: acquires what the last pusher released, since the memory may
        // be unmapped next; releases the counter that late buffers go to.
        while let Err(now) = self.swap(head, head.closed(), Ordering::AcqRel) {
            head = now;
        }
        u64::from(Self::depth(head, records))
    }

    fn len(&self, records: &Records) -> u64 {
        let mut head = self.load();
        loop {
            let depth = Self::depth(head, records);
            // The depth was current if the head is still the same.
            let now = self.load();
            if now == head {
                return u64::from(depth);
            }
            head = now;
        }
    }

    fn depth(head: Head, records: &Records) -> u32 {
        head.top()
            .map_or(0, |top| records.get(top.raw() as usize).depth())
    }
}

/// Slots for `cpus` processors and every class, a row a processor.
pub struct Portable {
    slots: Table<Slot>,
    cpus: usize,
}

impl Portable {
    /// Empty slots for `cpus` processors. Fails as `mmap` does.
    pub fn new(cpus: usize) -> io::Result<Self> {
        Ok(Self {
            slots: Table::new(cpus * MAX_CLASSES)?,
            cpus,
        })
    }

    #[inline]
    fn slot(&self, cpu: usize, class: ClassId) -> &Slot {
        self.slots.get(cpu * MAX_CLASSES + class.index())
    }

    #[inline]
    fn own(&self, class: ClassId) -> &Slot {
        self.slot(self.current(), class)
    }

    /// Bytes of memory the slots occupy.
    pub fn resident(&self) -> io::Result<usize> {
        self.slots.resident(usize::MAX)
    }
}

impl CpuCaches for Portable {
    fn cpus(&self) -> usize {
        self.cpus
    }

    fn name(&self) -> &'static str {
        "portable"
    }

    #[inline]
    fn current(&self) -> usize {
        cpu::current(self.cpus)
    }

    #[inline]
    fn pop(&self, records: &Records, class: ClassId) -> Option<Index> {
        self.own(class).pop(records).ok()
    }

    #[inline]
    fn push(
        &self,
        records: &Records,
        class: ClassId,
        index: Index,
        capacity: u32,
    ) -> Result<(), Refused> {
        self.own(class).push(records, index, capacity)
    }

    fn refill(&self, records: &Records, class: ClassId, chain: Chain) -> Result<(), Chain> {
        self.own(class).refill(records, chain)
    }

    fn flush(&self, records: &Records, class: ClassId, count: u32) -> Option<Chain> {
        self.own(class).flush(records, count)
    }

    fn steal(&self, records: &Records, cpu: usize, class: ClassId) -> Result<Index, Empty> {
        self.slot(cpu, class).pop(records)
    }

    fn drain(&self, records: &Records, cpu: usize, class: ClassId) -> Option<Chain> {
        self.slot(cpu, class).flush(records, u32::MAX)
    }

    fn close(&self, records: &Records, cpu: usize, class: ClassId) -> u64 {
        self.slot(cpu, class).close(records)
    }

    fn len(&self, records: &Records, cpu: usize, class: ClassId) -> u64 {
        self.slot(cpu, class).len(records)
    }

    fn populate(&self, class: ClassId) {
        for cpu in 0..self.cpus {
            // A store that changes nothing; it makes the page present.
            // Relaxed: no data depends on it.
            self.slot(cpu, class).head.fetch_or(0, Ordering::Relaxed);
        }
    }
}
