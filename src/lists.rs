//! The free lists of every class: caches over depots, and the ladder a request
//! goes down before it is refused.
//!
//! Owns: where every free buffer is, what is counted about it, and the closing
//! of the lists. Uses: `sync`, `table`, `record`, `depot`, `cache`, `home`,
//! `class`. Used by: `pool`, `buffer`.
//!
//! # Where a buffer is
//!
//! ```text
//!              pop                       refill (one, or a batch)
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
//! A sweep that sees an announcement yields and sweeps again, up to
//! [`PATIENCE`] times, so that the carrier can put the batch down. Surplus is
//! only ever carried when the depot is well stocked; otherwise buffers move one
//! by one from list to caller.
//!
//! One sweep would not do: with two buffers always free, one sweep can miss
//! both if they move behind its back.

use crate::cache::{CpuCaches, Refused};
use crate::class::{ClassId, ClassRef, MAX_CLASSES};
use crate::depot::{Closed, Depot};
use crate::home::Home;
use crate::record::{Chain, Records};
use crate::sync::{AtomicU64, Ordering, fault, spin_loop, yield_now};
use crate::table::{Table, Zeroed};
use crate::word::{Index, Moving};
use crossbeam_utils::CachePadded;
use std::io;

/// How many sweeps in a row may find everything empty and some thread carrying
/// a batch before the request is refused all the same.
pub const PATIENCE: u32 = if cfg!(hugepool_loom) { 2 } else { 256 };

/// Cold counts of one processor and class, and its announcements.
#[derive(Default)]
#[repr(C, align(64))]
struct Ledger {
    /// A `Moving`. Changed by `Carry` alone; see there for the orderings.
    moving: AtomicU64,
    /// Events, for statistics alone: `Relaxed` everywhere, nothing is read
    /// through them.
    refills: AtomicU64,
    flushes: AtomicU64,
    steals: AtomicU64,
    climbs: AtomicU64,
    failures: AtomicU64,
}

// SAFETY: integer atomics alone; all zero is nothing counted or announced.
unsafe impl Zeroed for Ledger {}

/// What is kept of a class beside its lists.
#[derive(Default)]
struct Totals {
    /// Buffers the class has. Changed by `stock` and `retire`, read for
    /// statistics and errors; Relaxed, since it guards nothing.
    capacity: AtomicU64,
    /// The most that were ever outside the depot. Relaxed, as above.
    high_water: AtomicU64,
}

// SAFETY: integer atomics alone; all zero is a class without buffers.
unsafe impl Zeroed for Totals {}

/// An announcement that the caller is about to hold more buffers of a class
/// than it was asked for. Ends when dropped.
///
/// Begun before the compare-and-swap that takes the surplus (that one is a
/// Release: who sees the buffers gone sees the announcement), ended with
/// Release after the one that puts it down (who sees it ended sees the buffers
/// back).
struct Carry<'a>(Option<&'a AtomicU64>);

impl<'a> Carry<'a> {
    fn begin(ledger: &'a Ledger) -> Self {
        let moving = fault!(NoAnnounce, None, Some(&ledger.moving));
        if let Some(moving) = moving {
            // Relaxed: published by the Release of the taking swap.
            moving.fetch_add(Moving::BEGIN, Ordering::Relaxed);
        }
        Self(moving)
    }
}

impl Drop for Carry<'_> {
    fn drop(&mut self) {
        if let Some(moving) = self.0 {
            // Release: see the type.
            moving.fetch_sub(Moving::END, Ordering::Release);
        }
    }
}

/// What a sweep saw of the lists it found empty.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Evidence {
    /// The sum of all tags and versions: each only grows, so two sums are equal
    /// exactly when nothing changed between them.
    changes: u64,
    /// Carries under way.
    carrying: u64,
}

/// No buffer was free on the ladder; see the module for what that proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

/// What other threads were doing when a search found nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    /// Nobody carried a batch: every buffer was taken.
    Idle,
    /// Somebody did, and had not put it down when patience ended.
    Carrying,
}

/// Whether the caller gave back the last buffer of a closed pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Given {
    /// The buffer is home. The pool must not be touched again.
    Home,
    /// It was the last one of a closed pool, which the caller must tear down.
    Last,
}

/// What is counted about one class.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Buffers the class has.
    pub capacity: u64,
    /// Free buffers in the depot.
    pub depot: u64,
    /// Free buffers in processors' caches.
    pub cached: u64,
    /// The most that were ever outside the depot.
    pub high_water: u64,
    /// Times a cache was filled with a batch from the depot.
    pub refills: u64,
    /// Times a full cache gave a batch to the depot.
    pub flushes: u64,
    /// Buffers taken from another processor's cache.
    pub steals: u64,
    /// Requests for this class that a larger one served.
    pub climbs: u64,
    /// Requests for this class that were refused.
    pub failures: u64,
}

/// The free lists of every class of a pool.
pub struct FreeLists<C> {
    records: Records,
    depots: Table<CachePadded<Depot>>,
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
            records: Records::new(indices)?,
            depots: Table::new(MAX_CLASSES)?,
            ledgers: Table::new(caches.cpus() * MAX_CLASSES)?,
            totals: Table::new(MAX_CLASSES)?,
            caches,
            home: Home::default(),
            gatherer: AtomicU64::new(0),
        })
    }

    /// The records of all buffers.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The caches.
    pub fn caches(&self) -> &C {
        &self.caches
    }

    fn depot(&self, class: ClassRef) -> &Depot {
        self.depots.get(class.id.index())
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
        self.caches.pop(&self.records, class)
    }

    /// Takes a buffer of `class`: own cache, depot, other processors' caches.
    /// `None` means that each was empty at a moment of its own, which is no
    /// proof that none was free: see `take`.
    pub fn take_from_class(&self, class: ClassRef) -> Option<Index> {
        self.sweep(class, &mut Evidence::default())
    }

    /// Takes a buffer of the first class on `ladder` that has one: own cache,
    /// depot, other processors' caches, then the next class. Lock-free; for what `Err` proves see the module.
    #[cold]
    pub fn take(&self, ladder: &[ClassRef]) -> Result<(ClassId, Index), Exhausted> {
        let taken = self.search(ladder, 0, PATIENCE);
        if taken.is_err()
            && let Some(&class) = ladder.first()
        {
            count(&self.own_ledger(class).failures);
        }
        taken.map_err(|_| Exhausted)
    }

    /// Takes `many` buffers from the classes on `ladder`, or none. Lock-free.
    ///
    /// What it has gathered so far is announced like any batch in hand. Of
    /// several gatherers at most one at a time is the first: on a shortage it
    /// keeps what it has and waits, with patience, for the others, while they
    /// give everything back before they try again. So two of them cannot each
    /// sit on half of what both need. `Err` proves that at one moment fewer than
    /// `many` were free, not counting those in the hands of a thread that kept
    /// carrying throughout our patience.
    #[cold]
    pub fn take_many(
        &self,
        ladder: &[ClassRef],
        many: usize,
    ) -> Result<Vec<(ClassId, Index)>, Exhausted> {
        // Relaxed: it only chooses who waits; no data depends on it.
        let is_first = self
            .gatherer
            .compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        let mut held = Vec::with_capacity(many);
        let mut result = Err(Exhausted);
        for _ in 0..PATIENCE {
            let carries: Vec<Carry<'_>> = ladder
                .iter()
                .map(|&class| Carry::begin(self.own_ledger(class)))
                .collect();
            let patience = if is_first { PATIENCE } else { 0 };
            let mut shortage = None;
            while held.len() < many {
                match self.search(ladder, carries.len() as u64, patience) {
                    Ok(taken) => held.push(taken),
                    Err(others) => {
                        shortage = Some(others);
                        break;
                    }
                }
            }
            if shortage.is_none() {
                result = Ok(held);
                break;
            }
            for (id, index) in held.drain(..) {
                if let Some(&class) = ladder.iter().find(|class| class.id == id) {
                    // Home: our caller holds a handle, so the pool is open.
                    let _home = self.give(class, index);
                }
            }
            drop(carries);
            if is_first || shortage == Some(Others::Idle) {
                break;
            }
            yield_now();
        }
        if is_first {
            // Relaxed: as above.
            self.gatherer.store(0, Ordering::Relaxed);
        }
        if result.is_err()
            && let Some(&class) = ladder.first()
        {
            count(&self.own_ledger(class).failures);
        }
        result
    }

    /// Sweeps until it finds a buffer or has proof that there is none. `own` of
    /// the carries it sees are the caller's.
    fn search(
        &self,
        ladder: &[ClassRef],
        own: u64,
        mut patience: u32,
    ) -> Result<(ClassId, Index), Others> {
        let mut before: Option<Evidence> = None;
        loop {
            let mut seen = Evidence::default();
            for (rung, &class) in ladder.iter().enumerate() {
                if let Some(index) = self.sweep(class, &mut seen) {
                    if rung > 0 {
                        count(&self.own_ledger(ladder[0]).climbs);
                    }
                    return Ok((class.id, index));
                }
            }
            let stable = fault!(OneSweep, true, before == Some(seen));
            before = Some(seen);
            if !stable {
                spin_loop();
                continue;
            }
            if seen.carrying <= own {
                return Err(Others::Idle);
            }
            if patience == 0 {
                return Err(Others::Carrying);
            }
            patience -= 1;
            yield_now();
        }
    }

    /// Looks once at every list of one class.
    fn sweep(&self, class: ClassRef, seen: &mut Evidence) -> Option<Index> {
        let cpus = self.caches.cpus();
        let own = self.caches.current();
        match self.caches.steal(&self.records, own, class.id) {
            Ok(index) => return Some(index),
            Err(empty) => seen.changes = seen.changes.wrapping_add(empty.0),
        }
        match self.take_from_depot(class) {
            Ok(index) => return Some(index),
            Err(tag) => seen.changes = seen.changes.wrapping_add(u64::from(tag)),
        }
        for step in 0..cpus {
            let cpu = (own + step) % cpus;
            // The announcements of a processor belong to the evidence. Acquire:
            // pairs with the Release that ends a carry.
            let moving = Moving::from_word(self.ledger(cpu, class).moving.load(Ordering::Acquire));
            seen.changes = seen.changes.wrapping_add(u64::from(moving.version()));
            seen.carrying += u64::from(moving.carrying());
            if step == 0 || fault!(NoSteal, true, false) {
                continue;
            }
            match self.caches.steal(&self.records, cpu, class.id) {
                Ok(index) => {
                    count(&self.ledger(own, class).steals);
                    return Some(index);
                }
                Err(empty) => seen.changes = seen.changes.wrapping_add(empty.0),
            }
        }
        None
    }

    /// Takes one buffer from the depot, and if that is well stocked a batch,
    /// whose rest goes to this processor's cache. `Err` proves that the depot
    /// was empty at one moment, and gives its tag then.
    fn take_from_depot(&self, class: ClassRef) -> Result<Index, u32> {
        let depot = self.depot(class);
        let stocked = depot.len(&self.records);
        self.note_out(class, stocked);
        if class.batch > 1 && stocked >= 2 * u64::from(class.batch) {
            let ledger = self.own_ledger(class);
            let _carry = Carry::begin(ledger);
            if let Ok(chain) = depot.pop_batch(&self.records) {
                count(&ledger.refills);
                let (index, rest) = chain.split_first(&self.records);
                if let Some(rest) = rest
                    && let Err(rest) = self.caches.refill(&self.records, class.id, rest)
                {
                    // Somebody filled the slot meanwhile. The depot is open,
                    // since our caller holds a handle of the pool.
                    let pushed = depot.push(&self.records, rest);
                    debug_assert!(pushed.is_ok());
                }
                return Ok(index);
            }
        }
        depot.pop_one(&self.records).map_err(|head| head.tag())
    }

    /// Notes how many buffers are out of the depot once a request has taken
    /// from it.
    fn note_out(&self, class: ClassRef, stocked: u64) {
        let totals = self.totals(class);
        // Relaxed: statistics.
        let capacity = totals.capacity.load(Ordering::Relaxed);
        let leaving = if stocked >= 2 * u64::from(class.batch) {
            u64::from(class.batch)
        } else {
            1
        };
        let out = capacity.saturating_sub(stocked) + leaving.min(stocked);
        if out > totals.high_water.load(Ordering::Relaxed) {
            totals.high_water.fetch_max(out, Ordering::Relaxed);
        }
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
            .push(&self.records, class.id, index, class.cache_capacity)
        {
            Ok(()) => Given::Home,
            Err(refused) => self.give_slow(class, index, refused),
        }
    }

    #[cold]
    fn give_slow(&self, class: ClassRef, index: Index, mut refused: Refused) -> Given {
        while refused == Refused::Full {
            self.flush(class);
            // `index` is still ours, so the pool is still there.
            match self
                .caches
                .push(&self.records, class.id, index, class.cache_capacity)
            {
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

    /// Moves a batch from this processor's cache to the depot. The caller holds
    /// a buffer of the pool, so the pool outlives the call.
    fn flush(&self, class: ClassRef) {
        let ledger = self.own_ledger(class);
        let _carry = Carry::begin(ledger);
        if let Some(chain) = self.caches.flush(&self.records, class.id, class.batch) {
            count(&ledger.flushes);
            if let Err(Closed(chain)) = self.depot(class).push(&self.records, chain) {
                // The pool closed between the two: the batch is late. It cannot
                // be the last, since the caller's own buffer is still out.
                let last = self.home.came(u64::from(chain.len));
                debug_assert!(!last);
            }
        }
    }

    /// Adds `count` new buffers to `class`, of which `nth` names each. The
    /// caller holds them and a handle. The first ones will come out first.
    pub fn stock(&self, class: ClassRef, count: usize, nth: impl Fn(usize) -> Option<Index>) {
        // Relaxed: statistics.
        self.totals(class)
            .capacity
            .fetch_add(count as u64, Ordering::Relaxed);
        let batch = class.batch.max(1) as usize;
        let mut indices = Vec::with_capacity(batch);
        for start in (0..count).step_by(batch).rev() {
            indices.clear();
            indices.extend((start..count.min(start + batch)).filter_map(&nth));
            self.put_down(class, &indices);
        }
    }

    /// Puts buffers that the caller holds into the depot, so that they come out
    /// in their order. The caller holds a handle.
    fn put_down(&self, class: ClassRef, indices: &[Index]) {
        for batch in indices.rchunks(class.batch.max(1) as usize) {
            if let Some(chain) = Chain::of(&self.records, batch) {
                // Open: the caller holds a handle.
                let pushed = self.depot(class).push(&self.records, chain);
                debug_assert!(pushed.is_ok());
            }
        }
    }

    /// Takes out of circulation every group of buffers that is completely home.
    /// `group` names the group of a buffer, if it may be taken, and `complete`
    /// says how many the group has. Buffers of incomplete groups go back.
    ///
    /// While this runs the free buffers of the class are in the caller's hands;
    /// requests that find nothing wait for them as for any carry.
    pub fn retire<K: Copy + Eq + std::hash::Hash>(
        &self,
        class: ClassRef,
        group: impl Fn(Index) -> Option<K>,
        complete: impl Fn(K) -> usize,
    ) -> Vec<K> {
        let _carry = Carry::begin(self.own_ledger(class));
        let mut held = Vec::new();
        for cpu in 0..self.caches.cpus() {
            if let Some(chain) = self.caches.drain(&self.records, cpu, class.id) {
                chain.for_each(&self.records, |index| held.push(index));
            }
        }
        self.depot(class).grab(&self.records, |chain| {
            chain.for_each(&self.records, |index| held.push(index));
        });
        let mut groups: std::collections::HashMap<K, usize> = std::collections::HashMap::new();
        for &index in &held {
            if let Some(key) = group(index) {
                *groups.entry(key).or_default() += 1;
            }
        }
        groups.retain(|&key, &mut home| home == complete(key));
        let taken = |index: &Index| group(*index).is_some_and(|key| groups.contains_key(&key));
        let gone = held.iter().filter(|index| taken(index)).count();
        held.retain(|index| !taken(index));
        // Relaxed: statistics.
        self.totals(class)
            .capacity
            .fetch_sub(gone as u64, Ordering::Relaxed);
        self.put_down(class, &held);
        groups.into_keys().collect()
    }

    /// How many buffers `class` has.
    pub fn capacity(&self, class: ClassRef) -> u64 {
        // Relaxed: statistics.
        self.totals(class).capacity.load(Ordering::Relaxed)
    }

    /// Free buffers of `class` anywhere: exact while no other thread allocates
    /// or frees, otherwise a sum of counts read one after another.
    pub fn free(&self, class: ClassRef) -> u64 {
        let cached: u64 = (0..self.caches.cpus())
            .map(|cpu| self.caches.len(&self.records, cpu, class.id))
            .sum();
        self.depot(class).len(&self.records) + cached
    }

    /// What is counted about `class`.
    pub fn counts(&self, class: ClassRef) -> Counts {
        let totals = self.totals(class);
        // Relaxed throughout: statistics.
        let mut counts = Counts {
            capacity: totals.capacity.load(Ordering::Relaxed),
            depot: self.depot(class).len(&self.records),
            high_water: totals.high_water.load(Ordering::Relaxed),
            ..Counts::default()
        };
        for cpu in 0..self.caches.cpus() {
            let ledger = self.ledger(cpu, class);
            counts.cached += self.caches.len(&self.records, cpu, class.id);
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
        for cpu in 0..self.caches.cpus() {
            // A read-modify-write that changes nothing, to make the page
            // present. Relaxed: no data depends on it.
            self.ledger(cpu, class)
                .moving
                .fetch_or(0, Ordering::Relaxed);
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
                let closed = self.caches.close(&self.records, cpu, class.id);
                home += fault!(CloseCountsFirst, 0, closed);
            }
            let closed = self.depot(class).close(&self.records);
            home += fault!(CloseCountsFirst, 0, closed);
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
        Ok(self.records.resident(indices)?
            + self.depots.resident(usize::MAX)?
            + self.ledgers.resident(usize::MAX)?
            + self.totals.resident(usize::MAX)?)
    }
}

#[cold]
fn count(counter: &AtomicU64) {
    // Relaxed: statistics.
    counter.fetch_add(1, Ordering::Relaxed);
}
