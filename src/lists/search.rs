//! The way to a buffer that the hot path did not find: sweeps over every list,
//! and the gathering of several buffers.
//!
//! Owns: the order of the search and the proof behind a refusal (see `lists`).
//! Uses: the lists. Used by: `catalog`.

use super::FreeLists;
use super::ledger::{Carry, count};
use crate::cache::{CpuCaches, Refilled, Robbed, Share};
use crate::class::ClassId;
use crate::sync::{Ordering, Patience, fault, fence, spin_loop, yield_now};
use crate::wait::Wakes;
use crate::word::{Batch, Index, Moving};

/// Sweeps in a row that find changes before the searching thread lets others
/// run.
const BUSY_SWEEPS: u32 = 16;

/// What a sweep saw of the lists it found empty.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Evidence {
    /// The sum of all tags and versions: each only grows, so two sums are equal
    /// exactly when nothing changed between them.
    changes: u64,
    /// Carries under way.
    carrying: u64,
}

/// No buffer was found on the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// False: none was free; see the module for what that proves. True: some
    /// thread carried a batch for longer than our patience, and what it carried
    /// was the only free buffers there may have been.
    pub carried: bool,
}

/// What other threads were doing when a search found nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// Nobody carried a batch: every buffer was taken.
    Idle,
    /// Somebody did, and had not put it down when patience ended.
    Carrying,
    /// A task waited and was served, and is to be woken before the search goes on:
    /// the seeker has announced what it holds, so it must end first.
    Waiting,
}

/// Who searches: what it has announced, of several classes at once, and whom it
/// has served on its way. When dropped it ends the announcement, and then wakes
/// them.
pub(super) struct Seeker<'a, C: CpuCaches> {
    lists: &'a FreeLists<C>,
    cpu: usize,
    classes: &'a [ClassId],
    /// Fields are dropped after the seeker.
    wakes: Wakes<'a>,
}

impl<'a, C: CpuCaches> Seeker<'a, C> {
    /// One that holds no more than its caller asked for.
    fn new(lists: &'a FreeLists<C>) -> Self {
        Self::announced(lists, &[])
    }

    /// One that may hold buffers of `classes`.
    pub(super) fn announced(lists: &'a FreeLists<C>, classes: &'a [ClassId]) -> Self {
        let cpu = lists.caches.current();
        for &class in classes {
            std::mem::forget(Carry::begin(lists.ledger(cpu, class)));
        }
        Self {
            lists,
            cpu,
            classes,
            wakes: lists.line.wakes(),
        }
    }

    /// Those to wake afterwards.
    pub(super) fn wakes(&mut self) -> &mut Wakes<'a> {
        &mut self.wakes
    }

    /// How many of the carries that a sweep sees are its own.
    fn carrying(&self) -> u64 {
        self.classes.len() as u64
    }

    /// Wakes those whom it has served, if it may. False: it must end first.
    fn may_go_on(&mut self) -> bool {
        if fault!(WakeEarly, true, self.classes.is_empty()) {
            self.wakes.wake();
        }
        self.wakes.wake_threads();
        !self.wakes.has_tasks()
    }

    /// Ends the announcement; those to wake are the caller's.
    fn end(mut self) -> Wakes<'a> {
        std::mem::replace(&mut self.wakes, self.lists.line.wakes())
    }
}

impl<C: CpuCaches> Drop for Seeker<'_, C> {
    fn drop(&mut self) {
        for &class in self.classes {
            Carry::end(self.lists.ledger(self.cpu, class));
        }
    }
}

impl<C: CpuCaches> FreeLists<C> {
    /// Takes a buffer of `class`: own cache, depot, other processors' caches.
    /// `None` means that each was empty at a moment of its own, which is no
    /// proof that none was free: see `take`.
    pub fn take_from_class(&self, class: ClassId) -> Option<Index> {
        let mut wakes = self.line.wakes();
        loop {
            let index = self.sweep(class, &mut Evidence::default(), &mut wakes)?;
            if !self.goes_to_the_line(class, index, &mut wakes) {
                return Some(index);
            }
            wakes.wake();
        }
    }

    /// Takes a buffer of the first class on `ladder` that has one: own cache,
    /// depot, other processors' caches, then the next class. Lock-free; for what
    /// `Err` proves see the module.
    #[cold]
    pub fn take(&self, ladder: &[ClassId]) -> Result<(ClassId, Index), Exhausted> {
        self.obtain(ladder, Patience::new())
            .map_err(|others| self.refused(ladder, others))
    }

    /// As `take`, for a caller that will wait: a refusal is not counted, and
    /// nobody's batch is waited for.
    #[cold]
    pub fn try_take(&self, ladder: &[ClassId]) -> Option<(ClassId, Index)> {
        self.obtain(ladder, Patience::none()).ok()
    }

    /// Searches for a buffer that nobody waits for.
    fn obtain(
        &self,
        ladder: &[ClassId],
        mut patience: Patience,
    ) -> Result<(ClassId, Index), Others> {
        let mut seeker = Seeker::new(self);
        loop {
            let (class, index) = self.search(ladder, &mut seeker, &mut patience)?;
            if !self.goes_to_the_line(class, index, &mut seeker.wakes) {
                self.note_climb(ladder, class);
                return Ok((class, index));
            }
        }
    }

    /// Counts a climb if a request for the first class on `ladder` got a buffer of
    /// `class`, another one.
    fn note_climb(&self, ladder: &[ClassId], class: ClassId) {
        match ladder.first() {
            Some(&first) if first != class => count(&self.own_ledger(first).climbs),
            _ => {}
        }
    }

    /// Counts a refusal.
    fn refused(&self, ladder: &[ClassId], others: Others) -> Exhausted {
        if let Some(&class) = ladder.first() {
            count(&self.own_ledger(class).failures);
        }
        Exhausted {
            carried: others == Others::Carrying,
        }
    }

    /// Takes `many` buffers from the classes on `ladder`, or none. Lock-free.
    ///
    /// What it has gathered so far is announced like any batch in hand. Of
    /// several gatherers at most one at a time is the first: on a shortage it
    /// keeps what it has and waits, with patience, for the others, while they
    /// give everything back and try again once it is done. So two of them cannot
    /// each sit on half of what both need. One that has served a task that waits
    /// gives everything back, too, and tries again once the task is woken. `Err`
    /// proves that at one moment fewer than `many` were free, unless it says
    /// `carried`.
    #[cold]
    pub fn take_many(
        &self,
        ladder: &[ClassId],
        many: usize,
    ) -> Result<Vec<(ClassId, Index)>, Exhausted> {
        let mut patience = Patience::new();
        loop {
            // Relaxed here and below: it only chooses who waits; no data depends
            // on it.
            let is_first = self
                .gatherer
                .compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
            let mut seeker = Seeker::announced(self, ladder);
            let gathered = self.gather(&mut seeker, many, is_first);
            let wakes = seeker.end();
            if is_first {
                self.gatherer.store(0, Ordering::Relaxed);
            }
            // Somebody else's code comes last.
            drop(wakes);
            match gathered {
                Ok(held) => return Ok(held),
                // They have been woken.
                Err(Others::Waiting) => {}
                Err(others) if is_first || others == Others::Idle => {
                    return Err(self.refused(ladder, others));
                }
                Err(others) => loop {
                    if !patience.wait() {
                        return Err(self.refused(ladder, others));
                    }
                    if self.gatherer.load(Ordering::Relaxed) == 0 {
                        break;
                    }
                },
            }
        }
    }

    /// One attempt to take `many` buffers of the classes that `seeker` announced;
    /// puts back what it got if they are too few.
    fn gather(
        &self,
        seeker: &mut Seeker<'_, C>,
        many: usize,
        is_first: bool,
    ) -> Result<Vec<(ClassId, Index)>, Others> {
        let ladder = seeker.classes;
        let mut held = Vec::with_capacity(many);
        while held.len() < many {
            let mut patience = if is_first {
                Patience::new()
            } else {
                Patience::none()
            };
            let others = match self.search(ladder, seeker, &mut patience) {
                Ok((class, index)) => {
                    if !self.goes_to_the_line(class, index, &mut seeker.wakes) {
                        held.push((class, index));
                    }
                    continue;
                }
                Err(others) => others,
            };
            for &class in ladder {
                let of_class = held.iter().filter(|taken| taken.0 == class);
                let indices: Vec<Index> = of_class.map(|taken| taken.1).collect();
                // Our caller holds a handle, and what we hold is announced.
                self.put_down(class, self.depot(class), &indices, &mut seeker.wakes);
            }
            return Err(others);
        }
        for &(class, _) in &held {
            self.note_climb(ladder, class);
        }
        Ok(held)
    }

    /// Sweeps until it finds a buffer, which may be wanted by somebody who waits,
    /// or has proof that there is none.
    pub(super) fn search(
        &self,
        ladder: &[ClassId],
        seeker: &mut Seeker<'_, C>,
        patience: &mut Patience,
    ) -> Result<(ClassId, Index), Others> {
        // SeqCst: what the caller did before this, and then the search. Two threads
        // that each gave what the other looks for do not both miss it; nor do a
        // waiter, who stands in line, and whoever ends every wait.
        // (A twin whose takes release nothing does without: here this would do it
        // for them.)
        fault!(
            NoSearchFence,
            (),
            fault!(TakeRelaxed, (), fence(Ordering::SeqCst))
        );
        let mut before: Option<Evidence> = None;
        let mut changing = 0;
        loop {
            if !seeker.may_go_on() {
                return Err(Others::Waiting);
            }
            let mut seen = Evidence::default();
            for &class in ladder {
                if let Some(index) = self.sweep(class, &mut seen, &mut seeker.wakes) {
                    return Ok((class, index));
                }
            }
            let stable = fault!(OneSweep, true, before == Some(seen));
            before = Some(seen);
            if !stable {
                changing += 1;
                if changing % BUSY_SWEEPS == 0 {
                    yield_now();
                } else {
                    spin_loop();
                }
                continue;
            }
            if seen.carrying <= seeker.carrying() {
                return Err(Others::Idle);
            }
            if !patience.wait() {
                return Err(Others::Carrying);
            }
        }
    }

    /// Looks once at every list of one class.
    fn sweep(&self, class: ClassId, seen: &mut Evidence, wakes: &mut Wakes<'_>) -> Option<Index> {
        let cpus = self.caches.cpus();
        let own = self.caches.current();
        if let Some(index) = self.caches.pop_again(&self.tables, class) {
            return Some(index);
        }
        match self.take_from_depot(class, wakes) {
            Ok(index) => return Some(index),
            Err(tag) => seen.changes = seen.changes.wrapping_add(u64::from(tag)),
        }
        match self.aside(class).pop_one(&self.tables.batches) {
            Ok((index, _)) => return Some(index),
            Err(pile) => seen.changes = seen.changes.wrapping_add(u64::from(pile.tag())),
        }
        match self.loose(class).pop(&self.tables.records) {
            Ok(index) => return Some(index),
            Err(head) => seen.changes = seen.changes.wrapping_add(u64::from(head.tag())),
        }
        for step in 0..cpus {
            let cpu = (own + step) % cpus;
            // The announcements of a processor belong to the evidence. Acquire:
            // pairs with the Release that ends a carry.
            let moving = Moving::from_word(self.ledger(cpu, class).moving.load(Ordering::Acquire));
            seen.changes = seen.changes.wrapping_add(u64::from(moving.version()));
            seen.carrying += u64::from(moving.carrying());
            if step > 0 && fault!(NoSteal, true, false) {
                continue;
            }
            if let Some(index) = self.rob(cpu, class, seen, wakes) {
                if step > 0 {
                    count(&self.ledger(own, class).steals);
                    self.robbed(cpu, class);
                }
                return Some(index);
            }
        }
        None
    }

    /// Takes a buffer from the slot of `cpu`, and some more for this processor's
    /// cache if there are.
    fn rob(
        &self,
        cpu: usize,
        class: ClassId,
        seen: &mut Evidence,
        wakes: &mut Wakes<'_>,
    ) -> Option<Index> {
        let mut carry = None;
        let mut announce = || {
            carry.get_or_insert_with(|| Carry::begin(self.own_ledger(class)));
        };
        let robbed = self
            .caches
            .rob(&self.tables, cpu, class, Share::Half, &mut announce);
        match robbed {
            Robbed::Some(handful) => {
                let (&first, rest) = handful.as_slice().split_first()?;
                for &index in rest {
                    self.keep(class, index, wakes);
                }
                return Some(first);
            }
            Robbed::None(empty) => seen.changes = seen.changes.wrapping_add(empty.0),
            // What is there is out of reach, as if somebody carried it.
            Robbed::Barred => seen.carrying += 1,
        }
        None
    }

    /// Puts a buffer that the caller holds where requests find it: into this
    /// processor's cache, or else among the loose ones. The caller holds a
    /// handle.
    pub(super) fn keep(&self, class: ClassId, index: Index, wakes: &mut Wakes<'_>) {
        if self.caches.push_again(&self.tables, class, index).is_err() {
            self.put_back(class, index, wakes);
        }
    }

    /// Takes one buffer from the depot, and if there are enough a batch, whose rest
    /// goes to this processor's cache. `Err` proves that the depot
    /// was empty at one moment, and gives its tag then.
    fn take_from_depot(&self, class: ClassId, wakes: &mut Wakes<'_>) -> Result<Index, u32> {
        let (depot, batches) = (self.depot(class), &self.tables.batches);
        let cpu = self.caches.current();
        let batch = self.batch_size(cpu, class);
        // An estimate: it only chooses the way.
        let stocked = depot.len(batches) >= u64::from(batch);
        if stocked {
            self.missed(cpu, class, Some(wakes));
        }
        if stocked && batch > 1 {
            let ledger = self.ledger(cpu, class);
            let _carry = Carry::begin(ledger);
            if let Ok((batch, left)) = depot.pop_batch(batches) {
                count(&ledger.refills);
                self.note_left(class, left);
                if let Some(index) = self.open(class, batch, wakes) {
                    return Ok(index);
                }
            }
        }
        let (index, left) = depot.pop_one(batches).map_err(|pile| pile.tag())?;
        self.note_left(class, left);
        Ok(index)
    }

    /// Takes one buffer out of a batch in the caller's hands and puts the rest
    /// into this processor's cache, or back.
    fn open(&self, class: ClassId, batch: Batch, wakes: &mut Wakes<'_>) -> Option<Index> {
        let batches = &self.tables.batches;
        let index = batches.last(batch);
        match self.caches.refill(&self.tables, class, batch.less_one()) {
            Refilled::Whole => {}
            Refilled::Rest(rest) if rest.is_none() => batches.put(batch.id()),
            Refilled::Rest(rest) => {
                // No room for it. Our caller holds a handle of the pool, and has
                // announced what it carries.
                self.depot(class).force(batches, rest);
                self.serve(class, wakes);
            }
        }
        index
    }

    /// Notes that a request left `left` buffers in the depot.
    fn note_left(&self, class: ClassId, left: u32) {
        let totals = self.totals(class);
        // Relaxed: statistics.
        let capacity = totals.capacity.load(Ordering::Relaxed);
        let out = capacity.saturating_sub(u64::from(left));
        if out > totals.high_water.load(Ordering::Relaxed) {
            totals.high_water.fetch_max(out, Ordering::Relaxed);
        }
    }
}
