//! The way to a buffer that the hot path did not find: sweeps over every list,
//! and the gathering of several buffers.
//!
//! Owns: the order of the search and the proof behind a refusal (see `lists`).
//! Uses: the lists. Used by: `catalog`.

use super::FreeLists;
use super::ledger::{Carry, count};
use super::linked::Linked;
use super::waiting::Owed;
use crate::batch::Handful;
use crate::cache::{CpuCaches, Refilled, Robbed, Share};
use crate::class::ClassId;
use crate::loose::Popped;
use crate::sync::{Ordering, Patience, fault, spin_loop, yield_now};
use crate::sys::fork;
use crate::wait::Wake;
use crate::word::{Batch, Index, Moving};

/// Sweeps in a row that find changes before the searching thread lets others
/// run.
const BUSY_SWEEPS: u32 = 16;
/// How many changes of a shared list there are from one look at the clock to the next.
const LOOKS: u32 = 16;

/// What a sweep saw of the lists it found empty.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// The sum of what counts the changes of each list: tags and versions, modulo their
    /// widths. Each list adds one to the sum with every change and never takes any away,
    /// so two sums are equal exactly when nothing changed between them, but for a
    /// thread that sleeps through a multiple of 2³⁰ changes. A slot that no thread may
    /// look into (`Robbed::Barred`) adds nothing; it counts as carried.
    changes: u64,
    /// Carries under way.
    carrying: u64,
}

impl Evidence {
    fn add(&mut self, changes: impl Into<u64>) {
        self.changes = self.changes.wrapping_add(changes.into());
    }
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
    /// In a line of strict order: somebody waited for what was found, and is to be woken
    /// before the search goes on.
    Waiting,
}

/// The announcement of somebody who may hold buffers of several classes. Ends when
/// dropped.
pub(super) struct Announced<'a, C: CpuCaches, I: Iterator<Item = ClassId> + Clone> {
    lists: &'a FreeLists<C>,
    cpu: usize,
    classes: I,
}

impl<'a, C: CpuCaches, I: Iterator<Item = ClassId> + Clone> Announced<'a, C, I> {
    pub(super) fn begin(lists: &'a FreeLists<C>, classes: I) -> Self {
        let cpu = lists.here();
        for class in classes.clone() {
            std::mem::forget(Carry::begin(lists.ledger(cpu, class)));
        }
        Self {
            lists,
            cpu,
            classes,
        }
    }
}

impl<C: CpuCaches, I: Iterator<Item = ClassId> + Clone> Drop for Announced<'_, C, I> {
    fn drop(&mut self) {
        for class in self.classes.clone() {
            Carry::end(self.lists.ledger(self.cpu, class));
        }
    }
}

impl<C: CpuCaches> FreeLists<C> {
    /// Takes a buffer of `class`: from the list that all processors share, if the class
    /// is shared; own cache, depot, other processors' caches. `None` means that each was
    /// empty at a moment of its own, which is no proof that none was free: see `take`.
    #[inline]
    pub fn take_from_class(&self, class: ClassId) -> Option<Index> {
        self.try_take(&[class]).map(|(_, index)| index)
    }

    /// As `take_from_class`, of the first class on `ladder` that has one.
    pub fn try_take(&self, ladder: &[ClassId]) -> Option<(ClassId, Index)> {
        let mut owed = Owed::default();
        let found = loop {
            let found = self.find(ladder, &mut owed);
            match found {
                Some((class, index)) if self.goes_to_the_line(class, index) => {}
                found => break found,
            }
        };
        self.settle(owed);
        let (class, _) = found?;
        self.note_climb(ladder, class);
        found
    }

    /// Takes a buffer of the first class on `ladder` that has one: own cache,
    /// depot, other processors' caches, then the next class. Lock-free; for what
    /// `Err` proves see the module.
    #[cold]
    pub fn take(&self, ladder: &[ClassId]) -> Result<(ClassId, Index), Exhausted> {
        if let Some(taken) = self.try_take(ladder) {
            return Ok(taken);
        }
        if fault!(OneSweep, true, false) {
            return Err(self.refused(ladder, Others::Idle));
        }
        let mut patience = Patience::new();
        loop {
            let mut owed = Owed::default();
            let sought = self.prove(ladder, 0, &mut patience, &mut owed);
            self.settle(owed);
            match sought {
                Ok((class, index)) if self.goes_to_the_line(class, index) => {}
                Ok((class, index)) => {
                    self.note_climb(ladder, class);
                    return Ok((class, index));
                }
                Err(others) => return Err(self.refused(ladder, others)),
            }
        }
    }

    /// Counts a climb if a request for the first class on `ladder` got a buffer of
    /// `class`, another one.
    pub(super) fn note_climb(&self, ladder: &[ClassId], class: ClassId) {
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
        for &class in ladder {
            self.note_left(class, 0);
            self.linger(class);
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
    /// each sit on half of what both need. `Err` proves that at one moment fewer than
    /// `many` were free, unless it says `carried`.
    #[cold]
    pub fn take_many(&self, ladder: &[ClassId], many: usize) -> Result<Linked, Exhausted> {
        let mut patience = Patience::new();
        loop {
            let is_first = self.begin_to_gather();
            let mut owed = Owed::default();
            let mut wake = None;
            let announced = Announced::begin(self, ladder.iter().copied());
            let gathered = self.gather(ladder, many, is_first, &mut owed, &mut wake);
            fault!(WakeEarly, drop(wake.take()), ());
            drop(announced);
            if is_first {
                self.gatherer.store(0, Ordering::Relaxed);
            }
            // Somebody else's code comes last.
            drop(wake);
            self.settle(owed);
            match gathered {
                Ok(held) => return Ok(held),
                // They have been seen to.
                Err(Others::Waiting) => {}
                Err(others) if is_first || others == Others::Idle => {
                    return Err(self.refused(ladder, others));
                }
                Err(others) => loop {
                    if !patience.wait() {
                        return Err(self.refused(ladder, others));
                    }
                    if !self.is_gathering(self.gatherer.load(Ordering::Relaxed)) {
                        break;
                    }
                },
            }
        }
    }

    /// Whether the word of the first gatherer says that there is one. (One of another
    /// count of forks is a thread of a parent.)
    fn is_gathering(&self, gatherer: u64) -> bool {
        gatherer == u64::from(fork::forks()) << 1 | 1
    }

    /// Makes the caller the first gatherer, if there is none.
    fn begin_to_gather(&self) -> bool {
        // Relaxed, wherever it is read or written: it only chooses who waits; no data
        // depends on it.
        let (word, relaxed) = (&self.gatherer, Ordering::Relaxed);
        let now = word.load(relaxed);
        let own = u64::from(fork::forks()) << 1 | 1;
        !self.is_gathering(now) && word.compare_exchange(now, own, relaxed, relaxed).is_ok()
    }

    /// One attempt to take `many` buffers of the classes on `ladder`, which the caller
    /// announced; puts back what it got if they are too few.
    fn gather<'a>(
        &'a self,
        ladder: &[ClassId],
        many: usize,
        is_first: bool,
        owed: &mut Owed,
        wake: &mut Option<Wake<'a>>,
    ) -> Result<Linked, Others> {
        let mut held = Linked::default();
        while held.len() < many {
            let mut patience = if is_first {
                Patience::new()
            } else {
                Patience::none()
            };
            let own = ladder.len() as u64;
            let sought = match self.find(ladder, owed) {
                Some(found) => Ok(found),
                None => self.prove(ladder, own, &mut patience, owed),
            };
            let others = match sought {
                Ok((class, index)) => {
                    match self.for_the_line(class, index, owed) {
                        Ok(woken) => *wake = woken,
                        Err(index) => {
                            held.push(&self.tables.records, class, index);
                            continue;
                        }
                    }
                    Others::Waiting
                }
                Err(others) => others,
            };
            self.put_down_all(ladder, held, owed);
            return Err(others);
        }
        self.note_climbs(ladder, &held);
        Ok(held)
    }

    /// Puts back what somebody `held` of the classes on `ladder`, and announced. The caller
    /// holds a handle.
    pub(super) fn put_down_all(&self, ladder: &[ClassId], mut held: Linked, owed: &mut Owed) {
        let records = &self.tables.records;
        for &class in ladder {
            let mut others = Linked::default();
            let mut put = |batch: Option<Handful>| {
                if let Some(batch) = batch {
                    self.put_down(class, self.depot(class), batch.as_slice(), owed);
                }
            };
            let mut batch: Option<Handful> = None;
            while let Some((of, index)) = held.pop(records) {
                if of != class {
                    others.push(records, of, index);
                } else if !batch.as_mut().is_some_and(|batch| batch.add(index)) {
                    put(batch.replace(Handful::of(index)));
                }
            }
            put(batch);
            held = others;
        }
        debug_assert_eq!(held.len(), 0, "all are of the ladder's classes");
    }

    /// As `note_climb`, for each that somebody `held`.
    pub(super) fn note_climbs(&self, ladder: &[ClassId], held: &Linked) {
        for (class, _) in self.linked(held.top()) {
            self.note_climb(ladder, class);
        }
    }

    /// Looks once through the classes on `ladder`. `None` proves nothing.
    pub(super) fn find(&self, ladder: &[ClassId], owed: &mut Owed) -> Option<(ClassId, Index)> {
        ladder.iter().find_map(|&class| {
            let index = self.sweep(class, &mut Evidence::default(), owed)?;
            Some((class, index))
        })
    }

    /// Sweeps until it finds a buffer, or has proof that there is none, while all the
    /// classes on `ladder` are shared. `own` of the carries that it sees are the
    /// caller's.
    fn prove(
        &self,
        ladder: &[ClassId],
        own: u64,
        patience: &mut Patience,
        owed: &mut Owed,
    ) -> Result<(ClassId, Index), Others> {
        let mut before: Option<Evidence> = None;
        let mut changing = 0;
        // To share a class changes its lists: where the kernel refuses it, once is enough.
        let mut refused = false;
        self.see_to_the_inheritance(owed);
        loop {
            let mut seen = Evidence::default();
            for &class in ladder {
                if !self.is_shared(class) && (!refused || self.is_open(class)) {
                    refused |= !self.share(class, owed);
                }
                // Then some push may be on its way unseen, as if somebody carried it.
                seen.carrying += u64::from(!self.is_shared(class));
                if before.is_none() {
                    // Whoever gives a buffer back either comes before this, and it is
                    // found, or sees what the caller did before it asked (`lists`).
                    fault!(NoTouch, (), self.touch_loose(class));
                }
                // A class that was opened meanwhile is not the one that was swept.
                seen.add(self.regime(class).mode().openings());
                if let Some(index) = self.sweep(class, &mut seen, owed) {
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
            if seen.carrying <= own {
                return Err(Others::Idle);
            }
            if !patience.wait() {
                return Err(Others::Carrying);
            }
        }
    }

    /// Looks once at every list of one class.
    fn sweep(&self, class: ClassId, seen: &mut Evidence, owed: &mut Owed) -> Option<Index> {
        let own = self.here();
        let open = self.is_open(class);
        if open {
            if let Some(index) = self.caches.pop_again(&self.tables, class) {
                return Some(index);
            }
            match self.take_from_depot(class, owed) {
                Ok(index) => return Some(index),
                Err(tag) => seen.add(tag),
            }
        }
        if let Some(index) = self.pop_loose(class, seen, owed) {
            return Some(index);
        }
        if !open {
            match self.depot(class).pop_one(&self.tables.batches) {
                Ok((index, left)) => {
                    self.note_left(class, left);
                    return Some(index);
                }
                Err(pile) => seen.add(pile.tag()),
            }
        }
        match self.aside(class).pop_one(&self.tables.batches) {
            Ok((index, left)) => {
                self.note_left(class, left);
                return Some(index);
            }
            Err(pile) => seen.add(pile.tag()),
        }
        // Looked up anew in each sweep: see `Visited`.
        for cpu in self.tables.visited.iter_from(own) {
            // The announcements of a processor belong to the evidence. Acquire:
            // pairs with the Release that ends a carry.
            let moving = Moving::from_word(self.ledger(cpu, class).moving.load(Ordering::Acquire));
            seen.add(moving.version());
            seen.carrying += u64::from(moving.carrying(fork::forks()));
            if cpu != own && fault!(NoSteal, true, false) {
                continue;
            }
            if let Some(index) = self.rob(cpu, class, seen, owed) {
                return Some(index);
            }
        }
        None
    }

    /// Takes a buffer from the lists of those that are in no cache and no batch.
    #[inline]
    pub(super) fn pop_loose(
        &self,
        class: ClassId,
        seen: &mut Evidence,
        owed: &mut Owed,
    ) -> Option<Index> {
        let (cpu, lists) = (self.here(), self.loose_lists);
        let mut carry = None;
        let mut announce = || {
            carry.get_or_insert_with(|| Carry::begin(self.ledger(cpu, class)));
        };
        let (loose, records) = (self.loose(class), &self.tables.records);
        match loose.pop(records, cpu, lists, &mut announce) {
            Popped::Own(index, head) => {
                self.note_left(class, loose.left_below(records, index));
                let seldom = (head.tag() >> 1).is_multiple_of(LOOKS);
                if seldom && !head.is_shut() && !self.is_open(class) {
                    self.reopen_if_idle(class);
                }
                Some(index)
            }
            Popped::Moved(index, shut) => {
                self.note_left(class, loose.left_below(records, index));
                if shut {
                    Self::owe(class, owed);
                }
                Some(index)
            }
            Popped::Empty(tags) => {
                seen.add(tags);
                None
            }
        }
    }

    /// Changes the words of the loose lists of `class`, and nothing else.
    fn touch_loose(&self, class: ClassId) {
        let _ = (self.loose(class)).touch(&self.tables.records, self.loose_lists);
    }

    /// Takes a buffer from the slot of `cpu`, and some more for this processor's cache if there
    /// are; or one that was moved from there to where all find it.
    fn rob(
        &self,
        cpu: usize,
        class: ClassId,
        seen: &mut Evidence,
        owed: &mut Owed,
    ) -> Option<Index> {
        let disturbs = || {
            let held = self.caches.len(&self.tables, cpu, class) > 0;
            held && cpu != self.caches.current() && self.is_open(class)
        };
        if disturbs()
            && let Some(index) = self.await_flush(cpu, class, owed)
        {
            return Some(index);
        }
        if disturbs() && !self.may_steal(class) {
            // That moves what is there to the loose list.
            self.share(class, owed);
            if let Some(index) = self.pop_loose(class, &mut Evidence::default(), owed) {
                return Some(index);
            }
        }
        if disturbs() {
            self.note_barrier(class);
        }
        let mut carry = None;
        let mut announce = || {
            carry.get_or_insert_with(|| Carry::begin(self.own_ledger(class)));
        };
        let quiet = || self.is_shared(class);
        let (tables, share) = (&self.tables, Share::Half);
        let robbed = (self.caches).rob(tables, cpu, class, &quiet, share, &mut announce);
        match robbed {
            Robbed::Some(handful) => {
                let own = self.here();
                if cpu != own {
                    count(&self.ledger(own, class).steals);
                    self.robbed(cpu, class);
                }
                let (&first, rest) = handful.as_slice().split_first()?;
                for &index in rest {
                    self.keep(class, index, owed);
                }
                return Some(first);
            }
            Robbed::None(empty) => seen.add(empty.0),
            // What is there is out of reach, as if somebody carried it.
            Robbed::Barred => seen.carrying += 1,
        }
        None
    }

    /// Puts a buffer that the caller holds where requests find it: into this
    /// processor's cache, or else among the loose ones. The caller holds a
    /// handle.
    pub(super) fn keep(&self, class: ClassId, index: Index, owed: &mut Owed) {
        if self.caches.push_again(&self.tables, class, index).is_err() {
            self.put_loose(class, index, owed);
        }
    }

    /// Takes one buffer from the depot, and if there are enough a batch, whose rest
    /// goes to this processor's cache. `Err` proves that the depot
    /// was empty at one moment, and gives its tag then.
    pub(super) fn take_from_depot(&self, class: ClassId, owed: &mut Owed) -> Result<Index, u32> {
        let (depot, batches) = (self.depot(class), &self.tables.batches);
        let cpu = self.here();
        self.give_room(cpu, class);
        let share = u32::from(self.share_of(class));
        let batch = self.batch_size(cpu, class).min((share / 2).max(1));
        // An estimate: it only chooses the way.
        let stocked = depot.len(batches) >= u64::from(batch);
        if stocked {
            self.missed(cpu, class, Some(owed));
        }
        // Somebody else's row: there is no cache to put the rest of a batch into.
        let cached = cpu == self.caches.current();
        if stocked && batch > 1 && cached {
            let ledger = self.ledger(cpu, class);
            let _carry = Carry::begin(ledger);
            // Where the array goes when it is empty.
            batches.soon();
            if let Ok((batch, left)) = depot.pop_batch(batches) {
                count(&ledger.refills);
                self.note_left(class, left);
                let opened = self.open(class, batch, owed);
                self.refilled(cpu, class);
                if let Some(index) = opened {
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
    fn open(&self, class: ClassId, batch: Batch, owed: &mut Owed) -> Option<Index> {
        let batches = &self.tables.batches;
        let index = batches.last(batch);
        match self.caches.refill(&self.tables, class, batch.less_one()) {
            Refilled::Whole => {}
            Refilled::Rest(rest) if rest.is_none() => batches.put(batch.id()),
            Refilled::Rest(rest) => {
                // No room for it. Our caller holds a handle of the pool, and has
                // announced what it carries.
                self.put_batch(class, rest, owed);
            }
        }
        index
    }
}
