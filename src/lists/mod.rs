//! The free lists of every class: caches over depots, and the ladder a request
//! goes down before it is refused.
//!
//! Owns: where every free buffer is, those of streams included, what is counted about it,
//! and the closing of the lists. Uses: `sync`, `table`, `batch`, `depot`, `loose`, `cache`, `home`,
//! `class`, `wait`. Used by: `catalog`.
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
//!     ├─▶ loose: its class is shared (`regime`), or its processor's cache could
//!     │          not be used just then
//!     ├─▶ kept for somebody who waits for several, and taken still (`collect`)
//!     └─▶ late (its push met a closed list) ─▶ `Home`
//! ```
//!
//! Each arrow takes effect at one instant (a compare-and-swap, or the commit of a
//! restartable sequence), so between any two instructions of any thread a buffer
//! is in one list or in one thread's hands, never in two and never in none.
//!
//! # Why a refusal is exact
//!
//! A request is refused only while the classes on its ladder are shared, and only after
//! two sweeps in a row found every list on its ladder empty and *no list had changed
//! between them*: each list's tag moves on with every change, and the sums of the tags
//! were equal. So at any instant
//! between the two sweeps every list was empty, and every buffer was taken or
//! in the hands of a thread carrying a batch between two lists. Threads with
//! more in their hands than their caller asked for announce it first (`Carry`).
//! A sweep that sees an announcement yields and sweeps again, with `Patience`,
//! so that the carrier can put the batch down; a refusal after patience has run
//! out says so. Surplus is only ever carried when the depot has a batch or more;
//! otherwise buffers move one by one from list to caller.
//!
//! "Changed between them" must mean the same to every thread: a thread that
//! gives a buffer to one list and then takes one from another must not be seen
//! to have taken before it gave. So whatever takes is a Release, and every sweep
//! reads with Acquire: who sees the second list's change sees the first's in its
//! next sweep.
//!
//! And a free that is over when a request begins must be seen by it, whichever way the
//! one comes before the other: a thread that frees the only buffer and then finds that
//! another has not begun to ask has freed it before that one asks. A restartable
//! sequence commits by a plain store, which may still be on its way then. So nobody is
//! refused while a class is open. To share it ends, on every processor, what was on its
//! way (`membarrier`); from then on a free is a read-modify-write of a loose list's word,
//! and a request changes these words, too, before it looks (`Loose::touch`). If the free's
//! change comes first, the request finds the buffer. If the request's comes first, then
//! the free acquired it, with all that the asking thread did before, and so does what
//! the freeing thread looks at after its free: it finds that the other has begun.
//!
//! One sweep would not do: with two buffers always free, one sweep can miss
//! both if they move behind its back.

mod adapt;
mod collect;
mod give;
mod ledger;
mod linked;
mod marks;
mod refusals;
mod regime;
mod search;
mod streams;
mod supply;
mod visits;
mod waiting;
mod watch;

pub use ledger::Counts;
pub use linked::Several;
pub use search::Exhausted;
pub use streams::{Denied, Found, Limits, MAX_NAME};
pub use waiting::Wait;

use crate::cache::{CpuCaches, Tables};
use crate::chain::Chain;
use crate::class::{ClassId, Classes, Line, MAX_CLASSES};
use crate::depot::Depot;
use crate::home::Home;
use crate::loose::{LISTS, Loose};
#[cfg(not(hugepool_loom))]
use crate::record::Records;
use crate::sync::{AtomicU64, Ordering, fault};
use crate::table::{Table, Zeroed};
use crate::wait::Line as WaitLine;
use crate::word::Index;
use crossbeam_utils::CachePadded;
use ledger::{Ledger, Totals};
use regime::Regime;
use std::io;
use streams::Quotas;

/// What the caller must do who gave back a buffer or a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Given {
    /// Nothing. The pool must not be touched again.
    Home,
    /// Nobody holds a handle any more: close the lists.
    Close,
    /// It was the last buffer of a closed pool: tear it down.
    Last,
}

/// The shared lists of a class that are seldom in use.
#[derive(Default)]
struct Side {
    /// Where trimming puts what it does not want, so that requests find it.
    aside: Depot,
    /// What came back while its processor's cache could not be used.
    loose: Loose,
}

// SAFETY: both are; all-zero bytes are two empty lists.
unsafe impl Zeroed for Side {}

/// What is kept of a processor, whatever the class: two cache lines.
#[derive(Default)]
struct Processor {
    /// The bytes that its caches may hold above the least. Relaxed: see `adapt`.
    spent: AtomicU64,
    refusals: refusals::Row,
}

// SAFETY: integer atomics alone; all zero is nothing spent and nothing refused.
unsafe impl Zeroed for Processor {}

/// The free lists of every class of a pool.
pub struct FreeLists<C> {
    caches: C,
    tables: Tables,
    depots: Table<CachePadded<Depot>>,
    sides: Table<CachePadded<Side>>,
    ledgers: Table<Ledger>,
    /// One a processor.
    processors: Table<CachePadded<Processor>>,
    /// What that may come to.
    budget: usize,
    totals: Table<CachePadded<Totals>>,
    /// One a class.
    regimes: Table<Regime>,
    home: Home,
    line: WaitLine,
    quotas: Quotas,
    /// How many processors were there when the pool was made.
    expected: usize,
    /// How many loose lists each class has: one for each of these, if they are not too many.
    loose_lists: usize,
    /// No row is opened before that, on the coarse clock: there is no memory. Relaxed: a hint.
    no_memory_until: AtomicU64,
    /// A processor whose row is open, for threads on others whose rows cannot be.
    first: usize,
    /// While some thread is the first of those that gather several buffers, the count of
    /// forks and 1.
    gatherer: AtomicU64,
}

impl<C: CpuCaches> FreeLists<C> {
    /// Empty lists for buffers of `classes` whose index is below `indices`. Caches
    /// that hold more than the least hold no more than `budget` bytes a
    /// processor. Who waits is served in `strict` order, or else in turn. Fails as
    /// `mmap` and `mprotect` do.
    pub fn new(
        caches: C,
        classes: Classes,
        indices: usize,
        budget: usize,
        strict: bool,
    ) -> io::Result<Self> {
        let cpus = caches.cpus();
        let expected = visits::there_are(cpus);
        let lists = Self {
            // A chunk of indices has at least as many bytes of address space.
            tables: Tables::new(classes, indices, indices, cpus)?,
            depots: Table::new(MAX_CLASSES)?,
            sides: Table::new(MAX_CLASSES)?,
            ledgers: Table::readable(cpus * MAX_CLASSES)?,
            processors: Table::readable(cpus)?,
            budget,
            totals: Table::new(MAX_CLASSES)?,
            regimes: Table::new(MAX_CLASSES)?,
            expected,
            loose_lists: expected.min(LISTS),
            no_memory_until: AtomicU64::new(0),
            first: caches.current(),
            caches,
            home: Home::default(),
            line: WaitLine::new(strict)?,
            quotas: Quotas::new()?,
            gatherer: AtomicU64::new(0),
        };
        lists.open_rows(&(lists.first..lists.first + 1))?;
        lists.tables.visited.add(lists.first);
        Ok(lists)
    }

    /// The classes.
    #[inline]
    pub fn classes(&self) -> &Classes {
        &self.tables.classes
    }

    /// The caches.
    pub fn caches(&self) -> &C {
        &self.caches
    }

    /// How long the pool lives.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// What is kept of each buffer by index, to be opened for new ones.
    #[cfg(not(hugepool_loom))]
    pub fn records(&self) -> &Records {
        &self.tables.records
    }

    fn depot(&self, class: ClassId) -> &Depot {
        self.depots.get(class.index())
    }

    fn aside(&self, class: ClassId) -> &Depot {
        &self.sides.get(class.index()).aside
    }

    fn loose(&self, class: ClassId) -> &Loose {
        &self.sides.get(class.index()).loose
    }

    fn totals(&self, class: ClassId) -> &Totals {
        self.totals.get(class.index())
    }

    fn ledger(&self, cpu: usize, class: ClassId) -> &Ledger {
        self.ledgers.get(cpu * MAX_CLASSES + class.index())
    }

    fn own_ledger(&self, class: ClassId) -> &Ledger {
        self.ledger(self.here(), class)
    }

    /// The loose list of `class` that this processor's buffers go to.
    fn own_loose(&self, class: ClassId) -> &Chain {
        (self.loose(class)).own(self.caches.current(), self.loose_lists)
    }

    /// Takes a buffer of the class of `line` from this processor's cache: the hot
    /// path. `None` proves nothing.
    #[inline(always)]
    pub fn take_cached(&self, line: &Line) -> Option<Index> {
        self.caches.pop(&self.tables, line)
    }

    /// As `take_cached`, for a pool whose hot path is diverted, of a class that is open.
    #[cfg(not(hugepool_loom))]
    #[inline]
    pub fn take_cached_again(&self, class: ClassId) -> Option<Index> {
        let open = self.is_open(class);
        open.then(|| self.caches.pop_again(&self.tables, class))?
    }

    /// Gives back a buffer, which the caller holds, to this processor's cache: the hot
    /// path. False leaves the buffer to the caller, and to `give_slow`.
    ///
    /// The caller may hold no handle of the pool: until its buffer is home the
    /// pool cannot be torn down, and once it is home nothing is touched.
    #[inline(always)]
    pub fn give_cached(&self, line: &Line, index: Index) -> bool {
        self.caches.push(&self.tables, line, index)
    }

    /// Gives back a buffer, which the caller holds, to its class. Lock-free. (`pool` makes
    /// the same two calls for what its callers held, and notes between them who no longer
    /// has it.)
    #[inline]
    pub fn give(&self, line: &Line, index: Index) -> Given {
        if self.give_cached(line, index) {
            Given::Home
        } else {
            self.give_slow(line.id(), index)
        }
    }

    /// How many buffers `class` has.
    pub fn capacity(&self, class: ClassId) -> u64 {
        // Relaxed: statistics.
        self.totals(class).capacity.load(Ordering::Relaxed)
    }

    /// Free buffers of `class` anywhere: exact while no other thread allocates
    /// or frees, an estimate otherwise.
    pub fn free(&self, class: ClassId) -> u64 {
        let cached: u64 = (self.tables.visited.iter())
            .map(|cpu| self.caches.len(&self.tables, cpu, class))
            .sum();
        (self.stocked(class) + cached).min(self.capacity(class))
    }

    /// Free buffers outside the caches.
    fn stocked(&self, class: ClassId) -> u64 {
        let Tables {
            batches, records, ..
        } = &self.tables;
        self.depot(class).len(batches)
            + self.aside(class).len(batches)
            + self.loose(class).len(records, self.loose_lists)
    }

    /// What is counted about `class`.
    pub fn counts(&self, class: ClassId) -> Counts {
        let totals = self.totals(class);
        // Relaxed throughout: statistics.
        let mut counts = Counts {
            capacity: totals.capacity.load(Ordering::Relaxed),
            depot: self.stocked(class),
            high_water: totals.high_water.load(Ordering::Relaxed),
            ..Counts::default()
        };
        for cpu in self.tables.visited.iter() {
            let ledger = self.ledger(cpu, class);
            counts.cached += self.caches.len(&self.tables, cpu, class);
            counts.cache_capacity += u64::from(self.caches.capacity(cpu, class));
            counts.refills += ledger.refills.load(Ordering::Relaxed);
            counts.flushes += ledger.flushes.load(Ordering::Relaxed);
            counts.steals += ledger.steals.load(Ordering::Relaxed);
            counts.climbs += ledger.climbs.load(Ordering::Relaxed);
            counts.failures += ledger.failures.load(Ordering::Relaxed);
        }
        counts
    }

    /// Touches what the hot path of `class` will touch, on all processors that are there.
    pub fn populate(&self, class: ClassId) {
        self.depot(class).populate();
        self.aside(class).populate();
        self.loose(class).populate(self.loose_lists);
        self.regime(class).populate();
        self.populate_rows(class);
    }

    /// Shuts the lists that all processors share, and gives how many buffers were
    /// in them.
    fn shut_shared(&self, class: ClassId) -> u64 {
        let (records, batches) = (&self.tables.records, &self.tables.batches);
        self.loose(class).shut(records, self.loose_lists)
            + self.depot(class).shut(batches)
            + self.aside(class).shut(batches)
    }

    /// Closes the lists of every class in `classes`, of which `abandoned` of the
    /// buffers that are out will never come. The caller gave up the last handle.
    /// `Given::Last`: nothing is out, the caller tears the pool down.
    pub fn close(&self, classes: &[ClassId], abandoned: u64) -> Given {
        let mut capacity = 0;
        let mut home = 0;
        for &class in classes {
            // No slot gets room from now on that `shut` does not find.
            self.shut_for_good(class);
            // Relaxed: no growth is under way without a handle, and the last
            // handle's end ordered all earlier ones before this.
            capacity += self.totals(class).capacity.load(Ordering::Relaxed);
            home += fault!(CloseCountsFirst, self.free(class), 0);
        }
        let Some(cached) = self.caches.shut(&self.tables, classes) else {
            // Some push may still be on its way into a slot, and the kernel
            // will not say when it has ended: the pool stays for good.
            return Given::Home;
        };
        let shared: u64 = classes.iter().map(|&class| self.shut_shared(class)).sum();
        home += fault!(CloseCountsFirst, 0, cached + shared);
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
            + self.sides.resident(usize::MAX)?
            + self.depots.resident(usize::MAX)?
            + self.line.resident()?
            + self.quotas.resident()?
            + self.ledgers.resident(usize::MAX)?
            + self.processors.resident(usize::MAX)?
            + self.tables.visited.resident()?
            + self.regimes.resident(usize::MAX)?
            + self.totals.resident(usize::MAX)?)
    }
}
