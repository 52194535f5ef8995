//! The free lists of every class: caches over depots, and the ladder a request
//! goes down before it is refused.
//!
//! Owns: where every free buffer is, what is counted about it, and the closing
//! of the lists. Uses: `sync`, `table`, `batch`, `depot`, `cache`, `home`,
//! `class`. Used by: `catalog`.
//!
//! # Where a buffer is
//!
//! ```text
//!              pop                       refill (a batch, or one buffer)
//!   taken ◀───────── a CPU's cache ◀──────────────────────── depot
//!     │ ▲ ───────────▶     │   ▲                              ▲ │
//!     │ │      push        │   └────── carried ───────────────┘ │
//!     │ │                  │            flush (a batch)         │
//!     │ └──────────────────┴────────────────────────────────────┘
//!     │                    steal, or one from the depot
//!     └─▶ late (its push met a closed list) ─▶ `Home`
//! ```
//!
//! Each arrow is one compare-and-swap, so between any two instructions of any
//! thread a buffer is in one list or in one thread's hands, never in two and
//! never in none.
//!
//! # Why a refusal is exact
//!
//! A request is refused only after two sweeps in a row found every list on its
//! ladder empty and *no list had changed between them*: each list's tag grows
//! with every change, and the sums of the tags were equal. So at any instant
//! between the two sweeps every list was empty, and every buffer was taken or
//! in the hands of a thread carrying a batch between two lists. Threads with
//! more in their hands than their caller asked for announce it first (`Carry`).
//! A sweep that sees an announcement yields and sweeps again, with `Patience`,
//! so that the carrier can put the batch down; a refusal after patience has run
//! out says so. Surplus is only ever carried when the depot is well stocked;
//! otherwise buffers move one by one from list to caller.
//!
//! "Changed between them" must mean the same to every thread: a thread that
//! gives a buffer to one list and then takes one from another must not be seen
//! to have taken before it gave. So every swap that takes is a Release, and
//! every sweep reads with Acquire: who sees the second list's change sees the
//! first's in its next sweep.
//!
//! One sweep would not do: with two buffers always free, one sweep can miss
//! both if they move behind its back.

mod ledger;
mod search;
mod supply;

pub use ledger::Counts;
pub use search::Exhausted;

use crate::cache::{CpuCaches, Refused, Tables};
use crate::class::{ClassId, ClassRef, MAX_CLASSES};
use crate::depot::{Closed, Depot};
use crate::home::Home;
use crate::record::Records;
use crate::sync::{AtomicU64, Ordering, fault, touch};
use crate::table::Table;
use crate::word::Index;
use crossbeam_utils::CachePadded;
use ledger::{Carry, Ledger, Totals, count};
use std::io;

/// Whether the caller gave back the last buffer of a closed pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Given {
    /// The buffer is home. The pool must not be touched again.
    Home,
    /// It was the last one of a closed pool, which the caller must tear down.
    Last,
}

/// The free lists of every class of a pool.
pub struct FreeLists<C> {
    tables: Tables,
    depots: Table<CachePadded<Depot>>,
    /// Where trimming puts what it does not want, so that requests find it.
    asides: Table<CachePadded<Depot>>,
    caches: C,
    ledgers: Table<Ledger>,
    totals: Table<CachePadded<Totals>>,
    home: Home,
    /// 1 while some thread is the first of those that gather several buffers.
    gatherer: AtomicU64,
}

impl<C: CpuCaches> FreeLists<C> {
    /// Empty lists for buffers whose index is below `indices`. Fails as `mmap`
    /// does.
    pub fn new(caches: C, indices: usize) -> io::Result<Self> {
        Ok(Self {
            // A chunk of indices has at least as many bytes of address space.
            tables: Tables::new(indices, indices)?,
            depots: Table::new(MAX_CLASSES)?,
            asides: Table::new(MAX_CLASSES)?,
            ledgers: Table::new(caches.cpus() * MAX_CLASSES)?,
            totals: Table::new(MAX_CLASSES)?,
            caches,
            home: Home::default(),
            gatherer: AtomicU64::new(0),
        })
    }

    /// The records of all buffers.
    pub fn records(&self) -> &Records {
        &self.tables.records
    }

    /// The caches.
    pub fn caches(&self) -> &C {
        &self.caches
    }

    fn depot(&self, class: ClassRef) -> &Depot {
        self.depots.get(class.id.index())
    }

    fn aside(&self, class: ClassRef) -> &Depot {
        self.asides.get(class.id.index())
    }

    fn totals(&self, class: ClassRef) -> &Totals {
        self.totals.get(class.id.index())
    }

    fn ledger(&self, cpu: usize, class: ClassRef) -> &Ledger {
        self.ledgers.get(cpu * MAX_CLASSES + class.id.index())
    }

    fn own_ledger(&self, class: ClassRef) -> &Ledger {
        self.ledger(self.caches.current(), class)
    }

    /// Takes a buffer of `class` from this processor's cache: the hot path.
    /// `None` means that this cache was empty, and nothing more.
    #[inline]
    pub fn take_cached(&self, class: ClassId) -> Option<Index> {
        self.caches.pop(&self.tables, class)
    }

    /// Gives back a buffer of `class`, which the caller holds. The hot path is
    /// one push into this processor's cache. Lock-free.
    ///
    /// The caller may hold no handle of the pool: until its buffer is home the
    /// pool cannot be torn down, and once it is home nothing is touched.
    #[inline]
    pub fn give(&self, class: ClassRef, index: Index) -> Given {
        match self
            .caches
            .push(&self.tables, class.id, index, class.cache_capacity.into())
        {
            Ok(()) => Given::Home,
            Err(refused) => self.give_slow(class, index, refused),
        }
    }

    #[cold]
    fn give_slow(&self, class: ClassRef, index: Index, mut refused: Refused) -> Given {
        while refused == Refused::Full {
            // Without a spare batch the cache takes more than it should.
            let capacity = if self.flush(class) {
                class.cache_capacity.into()
            } else {
                u32::MAX
            };
            // `index` is still ours, so the pool is still there.
            match self.caches.push(&self.tables, class.id, index, capacity) {
                Ok(()) => return Given::Home,
                Err(again) => refused = again,
            }
        }
        if self.home.came(1) {
            Given::Last
        } else {
            Given::Home
        }
    }

    /// Moves a batch from this processor's cache to the depot. False if there
    /// was no spare batch to move it in. The caller holds a buffer of the pool,
    /// so the pool outlives the call.
    fn flush(&self, class: ClassRef) -> bool {
        let batches = &self.tables.batches;
        let Some(id) = batches.take() else {
            return false;
        };
        let cpu = self.caches.current();
        let ledger = self.ledger(cpu, class);
        let _carry = Carry::begin(ledger);
        let Some(handful) = self
            .caches
            .flush(&self.tables, cpu, class.id, class.batch.into())
        else {
            batches.put(id);
            return true;
        };
        count(&ledger.flushes);
        let batch = batches.fill(id, handful.as_slice());
        if let Err(Closed(batch)) = self.depot(class).push(batches, batch) {
            // The pool closed between the two: the batch is late. It cannot be
            // the last, since the caller's own buffer is still out.
            let last = self.home.came(u64::from(batch.count()));
            debug_assert!(!last);
        }
        true
    }

    /// How many buffers `class` has.
    pub fn capacity(&self, class: ClassRef) -> u64 {
        // Relaxed: statistics.
        self.totals(class).capacity.load(Ordering::Relaxed)
    }

    /// Free buffers of `class` anywhere: exact while no other thread allocates
    /// or frees, an estimate otherwise.
    pub fn free(&self, class: ClassRef) -> u64 {
        let cached: u64 = (0..self.caches.cpus())
            .map(|cpu| self.caches.len(&self.tables, cpu, class.id))
            .sum();
        (self.stocked(class) + cached).min(self.capacity(class))
    }

    fn stocked(&self, class: ClassRef) -> u64 {
        let batches = &self.tables.batches;
        self.depot(class).len(batches) + self.aside(class).len(batches)
    }

    /// What is counted about `class`.
    pub fn counts(&self, class: ClassRef) -> Counts {
        let totals = self.totals(class);
        // Relaxed throughout: statistics.
        let mut counts = Counts {
            capacity: totals.capacity.load(Ordering::Relaxed),
            depot: self.stocked(class),
            high_water: totals.high_water.load(Ordering::Relaxed),
            ..Counts::default()
        };
        for cpu in 0..self.caches.cpus() {
            let ledger = self.ledger(cpu, class);
            counts.cached += self.caches.len(&self.tables, cpu, class.id);
            counts.refills += ledger.refills.load(Ordering::Relaxed);
            counts.flushes += ledger.flushes.load(Ordering::Relaxed);
            counts.steals += ledger.steals.load(Ordering::Relaxed);
            counts.climbs += ledger.climbs.load(Ordering::Relaxed);
            counts.failures += ledger.failures.load(Ordering::Relaxed);
        }
        counts
    }

    /// Touches what the hot path of `class` will touch.
    pub fn populate(&self, class: ClassRef) {
        self.caches.populate(class.id);
        self.depot(class).populate();
        self.aside(class).populate();
        for cpu in 0..self.caches.cpus() {
            touch(&self.ledger(cpu, class).moving);
        }
    }

    /// Closes the lists of every class in `classes`, of which `abandoned` of the
    /// buffers that are out will never come. The caller dropped the last handle.
    /// `Given::Last`: nothing is out, the caller tears the pool down.
    pub fn close(&self, classes: &[ClassRef], abandoned: u64) -> Given {
        let mut capacity = 0;
        let mut home = 0;
        for &class in classes {
            // Relaxed: no growth is under way without a handle, and the last
            // handle's drop ordered all earlier ones before this.
            capacity += self.totals(class).capacity.load(Ordering::Relaxed);
            home += fault!(CloseCountsFirst, self.free(class), 0);
            for cpu in 0..self.caches.cpus() {
                let closed = self.caches.close(&self.tables, cpu, class.id);
                home += fault!(CloseCountsFirst, 0, closed);
            }
            for depot in [self.depot(class), self.aside(class)] {
                let closed = depot.close(&self.tables.batches);
                home += fault!(CloseCountsFirst, 0, closed);
            }
        }
        let out = capacity - home - abandoned;
        if self.home.settle(out) {
            Given::Last
        } else {
            Given::Home
        }
    }

    /// Bytes of memory that the bookkeeping of buffers below index `indices`
    /// occupies, read from the kernel.
    pub fn resident(&self, indices: usize) -> io::Result<usize> {
        Ok(self.tables.records.resident(indices)?
            + self.tables.batches.resident()?
            + self.caches.resident()?
            + self.asides.resident(usize::MAX)?
            + self.depots.resident(usize::MAX)?
            + self.ledgers.resident(usize::MAX)?
            + self.totals.resident(usize::MAX)?)
    }
}
