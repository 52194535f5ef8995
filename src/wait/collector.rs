//! Who collects several buffers, and what is kept for him.
//!
//! Owns: the words that name him, and two chains a place. Uses: the line, `chain`, `record`,
//! `word`. Used by: `lists::collect`, which has the protocol and the proofs.
//!
//! ```text
//!                  stand                begin                    the last one is kept
//!   chain closed ────────▶ chain open ────────▶ chain open, and ─────────────────────▶ chain closed
//!        ▲                     │                the word names him                          │
//!        └──────── close ──────┴──── close ───────────┘                          hand over, or put back
//! ```
//!
//! Somebody who waits for several buffers opens the chain of his place before he stands
//! there. Whoever makes him the collector writes his name into the word. From then until
//! the chain is closed, whoever has a buffer of a class that he accepts may put it onto the
//! chain. It is closed once, together with the taking of all that is on it, by one
//! compare-and-swap: by whoever brings the last buffer of those he asked for, or by himself
//! when he gives up. That one holds what was kept then, and either hands it over or puts it
//! back.
//!
//! The word outlives the collection by a moment: it is over if the chain is closed, or
//! somebody else stands at the place. Whoever finds that clears the word. So nobody who is
//! stopped, or ends, between two of these steps keeps others from collecting.

use super::{Line, Request, Seat, Service, Wake};
use crate::chain::Chain;
use crate::class::Line as Class;
use crate::record::Records;
use crate::sync::{AtomicU64, Ordering, fault};
use crate::table::{Table, Zeroed};
use crate::word::{Collector, Index, Standing};
use crossbeam_utils::CachePadded;
use std::io;

/// Names who collects: a `Collector`, or 0. Changed by compare-and-swap, with AcqRel, read
/// with Acquire: see `lists::collect` and `lists::streams` for what relies on it.
#[derive(Default)]
pub struct Collects {
    word: AtomicU64,
    /// Whose turn went by because somebody else collected: a `Collector`, or 0. Relaxed: it
    /// only chooses among those who wait, and whoever reads it sees whether he still does.
    missed: AtomicU64,
}

// SAFETY: integer atomics alone; all-zero bytes are nobody.
unsafe impl Zeroed for Collects {}

impl Collects {
    /// Who collects, or did a moment ago.
    #[inline]
    pub fn get(&self) -> Option<Collector> {
        Collector::from_word(self.word.load(Ordering::Acquire))
    }

    /// Makes `own` the one that collects. `None`: another one is.
    fn begin(&self, own: Collector) -> Option<Collector> {
        let now = fault!(TwoCollect, self.word.load(Ordering::Relaxed), 0);
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        match (self.word).compare_exchange(now, own.word(), success, failure) {
            Ok(_) => Some(own),
            Err(now) => (now == own.word()).then_some(own),
        }
    }

    /// Nobody collects any more, if `collector` did until now: false if the word says
    /// something else.
    pub fn end(&self, collector: Collector) -> bool {
        self.word
            .compare_exchange(collector.word(), 0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// Who collects.
pub(super) struct Collecting {
    word: CachePadded<Collects>,
    /// What is kept for who stands at each place. A list's flag stands while it is open.
    kept: Table<Chain>,
    /// Of these, what is a stream's own, which he keeps himself. The flag as above.
    own: Table<Chain>,
}

/// Whose turn it was.
pub enum Hand<'a> {
    /// That of this one, who is served.
    Served(Wake<'a>),
    /// That of this one, who collects: what the caller holds is to be kept for him.
    Collects(Collector),
}

/// What came of keeping a buffer for somebody who collects.
pub enum Kept {
    /// It is kept, and others are to come.
    Some,
    /// It was the last one. The caller holds as many as he waits for: the one he brought, and
    /// those that it is linked to.
    All(Whole),
    /// It is of a class that he does not accept, and still the caller's.
    Unfit,
    /// He collects no more; it is still the caller's.
    Over,
}

/// What came of waiting for fewer than before.
pub enum Lessened {
    /// Those are still to come.
    Waits,
    /// As many, or more, were kept: the one on top, which the others are linked below. They
    /// are the caller's.
    Came(Index),
    /// As many as it waited for before are about to be handed over.
    Coming,
}

/// All that somebody waits for.
pub struct Whole {
    collector: Collector,
    standing: Standing,
    /// The buffer on top; the others are linked to it.
    pub top: Index,
}

impl Collecting {
    /// Nobody. Fails as `mmap` does.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            word: CachePadded::new(Collects::default()),
            kept: Table::closed(super::MAX_WAITERS)?,
            own: Table::closed(super::MAX_WAITERS)?,
        })
    }

    /// Has memory ready for the chains of the first `count` places. As `Table::open_to`.
    pub(super) fn open_to(&self, count: usize) -> io::Result<()> {
        self.kept.open_to(count)?;
        self.own.open_to(count)
    }

    /// Of how many places it is ready.
    pub(super) fn ready(&self) -> usize {
        self.kept.ready().min(self.own.ready())
    }

    fn chain(&self, place: u32) -> &Chain {
        self.kept.get(place as usize)
    }

    fn own(&self, place: u32) -> &Chain {
        self.own.get(place as usize)
    }

    /// Bytes of memory the chains occupy, read from the kernel.
    pub(super) fn resident(&self) -> io::Result<usize> {
        Ok(self.kept.resident(super::MAX_WAITERS)? + self.own.resident(super::MAX_WAITERS)?)
    }
}

impl Line {
    /// Opens the chains of `place`, which is the caller's, who waits there for several.
    pub(super) fn open_chains(&self, place: u32) {
        self.collecting.chain(place).begin_to_keep();
        self.collecting.own(place).begin_to_keep();
    }

    /// Whether anybody collects, or did a moment ago.
    #[inline]
    pub fn is_collecting(&self) -> bool {
        self.collecting.word.get().is_some()
    }

    /// Who collects, or did a moment ago.
    pub fn collector(&self) -> Option<Collector> {
        self.collecting.word.get()
    }

    /// The word that names him.
    pub(super) fn collects_all(&self) -> &Collects {
        &self.collecting.word
    }

    /// Whether `collector` is a thread or task of a process that this one is a child of.
    pub fn is_inherited(&self, collector: Collector) -> bool {
        !collector.is_kin_of(Self::stamp())
    }

    /// Whether whoever stands at `place`, as `standing` says, for several buffers, may
    /// collect now: `word` names nobody else.
    pub(super) fn may_collect(&self, word: &Collects, place: u32, standing: Standing) -> bool {
        let Standing::Waiting { ticket, .. } = standing else {
            return false;
        };
        // In a line of strict order he may be the first again, while he collects.
        let own = |collector| self.is_strict() && collector == Collector::new(place, ticket);
        self.collecting.chain(place).head().is_shut()
            && fault!(TwoCollect, true, word.get().is_none_or(own))
    }

    /// It is the turn of the wait of `ticket` at `place`: makes it the one that `word` names,
    /// and moves the turn on; or one that came before it, and whose turn went by. `None`: it
    /// names another one. It may have ended before; then whoever looks finds that.
    pub(super) fn begin_to_collect(
        &self,
        word: &Collects,
        service: &Service,
        place: u32,
        ticket: u64,
    ) -> Option<Collector> {
        if let Some(missed) = self.missed(word)
            && missed < ticket
        {
            let named = Collector::from_word(word.missed.load(Ordering::Relaxed))?;
            return match named.is_of(missed) {
                true => word.begin(named),
                // Somebody else was named just now.
                false => None,
            };
        }
        let begun = word.begin(Collector::new(place, ticket))?;
        service.move_to(place);
        Some(begun)
    }

    /// The ticket of who waits, could collect, and was named because his turn went by.
    fn missed(&self, word: &Collects) -> Option<u64> {
        let named = Collector::from_word(word.missed.load(Ordering::Relaxed))?;
        let standing = self.place(named.place()).standing();
        let ticket = standing.ticket().filter(|&ticket| named.is_of(ticket))?;
        let could = !self.is_inherited(named) && self.may_collect(word, named.place(), standing);
        could.then_some(ticket)
    }

    /// Somebody's turn goes by whose request `fits`, because `word` names somebody else: the
    /// oldest of such is to be the next, unless an older one is.
    pub(super) fn note_missed(&self, word: &Collects, fits: impl Fn(&Request) -> bool) {
        let Some(collector) = word.get() else { return };
        let waits = |&(id, standing): &(u32, Standing)| {
            let own = |ticket| collector == Collector::new(id, ticket);
            let request = self.place(id).request();
            matches!(standing, Standing::Waiting { .. })
                && request.is_for_several()
                && fits(&request)
                && !standing.ticket().is_some_and(own)
        };
        let tickets = self.standing(0).filter(waits);
        let tickets = tickets.filter_map(|(id, standing)| Some((standing.ticket()?, id)));
        let Some((ticket, id)) = tickets.min() else {
            return;
        };
        let named = Collector::from_word(word.missed.load(Ordering::Relaxed));
        let own = named.filter(|&named| !self.is_inherited(named));
        let older = own.and_then(|named| {
            let ticket = self.place(named.place()).standing().ticket()?;
            named.is_of(ticket).then_some(ticket)
        });
        if older.is_none_or(|older| ticket < older) {
            let named = Collector::new(id, ticket).word();
            (word.missed).store(named, Ordering::Relaxed);
        }
    }

    /// Nobody collects any more, if `collector` did until now: false if the word says
    /// something else.
    pub fn end_to_collect(&self, collector: Collector) -> bool {
        self.collecting.word.end(collector)
    }

    /// What `collector` waits for, and how he stands. `None`: he collects no more. The chain
    /// of his place was read before.
    pub(super) fn collects(&self, collector: Collector) -> Option<(Request, Standing)> {
        let place = self.place(collector.place());
        let standing = place.standing();
        let Standing::Waiting { ticket, .. } = standing else {
            return None;
        };
        let request = place.request();
        // The request was that of this wait.
        let is_his = collector.is_of(ticket) && place.standing() == standing;
        is_his.then_some((request, standing))
    }

    /// Whether `collector` accepts buffers of `class`. `None`: he collects no more.
    pub fn is_collected(&self, collector: Collector, class: &Class) -> Option<bool> {
        let open = self.collecting.chain(collector.place()).head().is_shut();
        let (request, _) = self.collects(collector).filter(|_| open)?;
        Some(request.accepts(class))
    }

    /// Keeps `index` of `class`, which the caller holds, for `collector`. Calls `announce`
    /// before the caller holds more than that. The caller holds a handle. Lock-free.
    pub fn keep(
        &self,
        collector: Collector,
        class: &Class,
        records: &Records,
        index: Index,
        announce: &mut dyn FnMut(),
    ) -> Kept {
        let chain = self.collecting.chain(collector.place());
        loop {
            // Before the look at who stands there: if the chain is still so when the buffer is
            // put onto it, that one has not left.
            let head = chain.head();
            let Some((request, standing)) = self.collects(collector) else {
                return Kept::Over;
            };
            if fault!(KeepAnyway, false, !head.is_shut()) {
                return Kept::Over;
            }
            if !request.accepts(class) {
                return Kept::Unfit;
            }
            (records.get(index.raw() as usize)).note_class(class.id().index() as u8);
            // There are fewer buffers than that in any pool.
            let most = u32::try_from(request.missing()).unwrap_or(u32::MAX);
            match chain.keep(records, index, head, most, announce) {
                Ok(None) => return Kept::Some,
                Ok(Some(top)) => {
                    return Kept::All(Whole {
                        collector,
                        standing,
                        top,
                    });
                }
                Err(_) => {}
            }
        }
    }

    /// Hands over all that somebody waits for, `whole`, whose top is of `class`: whoever
    /// drops what this gives wakes him. `None`: he has left, and it is still the caller's.
    pub fn hand_whole(&self, whole: &Whole, class: &Class) -> Option<Wake<'_>> {
        let Standing::Waiting { task, .. } = whole.standing else {
            return None;
        };
        let id = whole.collector.place();
        let given = Standing::Given {
            class: class.id().index() as u8,
            index: whole.top,
        };
        if !self.place(id).advance(whole.standing, given) {
            return None;
        }
        let service = self.service(class.id());
        service.note_hand_over();
        if !task {
            service.note_wake();
        }
        Some(self.wake(id, task))
    }

    /// Wakes one of those who wait for several of `class`, no more than are `free`, and are
    /// passed over because somebody else collects. `None`: there is nobody.
    pub fn passed_over(&self, class: &Class, free: u32) -> Option<Wake<'_>> {
        let collector = self.collector()?;
        let (id, task) = self.standing(0).find_map(|(id, standing)| {
            let Standing::Waiting { ticket, task } = standing else {
                return None;
            };
            let request = self.place(id).request();
            let could = request.is_for_several()
                && request.missing() <= free as usize
                && request.accepts(class)
                && collector != Collector::new(id, ticket);
            could.then_some((id, task))
        })?;
        Some(self.wake(id, task))
    }

    /// Somebody who waits at `seat` for several has so many of his stream's own by now, and
    /// waits for fewer of the pool's. Lock-free.
    pub fn lessen(&self, seat: &mut Seat, own: usize, records: &Records) -> Lessened {
        self.note_own(seat, own);
        // Who read before that how many he waited for, puts nothing onto the chain any more
        // unless he reads it again.
        let chain = self.collecting.chain(seat.id);
        let head = fault!(NoLessenTouch, chain.head(), chain.touch());
        if !head.is_shut() {
            return Lessened::Coming;
        }
        match Chain::depth(head, records) as usize >= seat.request.missing() {
            false => Lessened::Waits,
            true => (chain.end_keeping(|| true)).map_or(Lessened::Coming, Lessened::Came),
        }
    }

    /// Somebody who waits at `seat` for several has so many of his stream's own by now.
    pub fn note_own(&self, seat: &mut Seat, own: usize) {
        seat.request.own = own;
        self.place(seat.id).ask_for(seat.request);
    }

    /// What the wait at `seat` is called that collects.
    pub fn collector_at(&self, seat: &Seat) -> Collector {
        Collector::new(seat.id, seat.ticket)
    }

    /// Closes the chain of the wait at `seat`, and takes what is kept: the top, which the
    /// others are linked to.
    pub fn close_chain(&self, seat: &Seat) -> Option<Index> {
        self.collecting.chain(seat.id).end_keeping(|| true)
    }

    /// Keeps `index`, one of his stream's own, for who waits at `seat`, the caller.
    pub fn keep_own(&self, seat: &Seat, records: &Records, index: Index) {
        self.collecting.own(seat.id).force(records, index);
    }

    /// Closes the chain of his stream's own, as `close_chain`. Before he leaves.
    pub fn close_own(&self, seat: &Seat) -> Option<Index> {
        self.collecting.own(seat.id).end_keeping(|| true)
    }

    /// As `close_chain`, of `collector`, who is a thread or task of the parent of this
    /// process; nothing if he has stood anew.
    pub fn close_inherited_chain(&self, collector: Collector) -> Option<Index> {
        let stands = || self.stands_still(collector);
        self.collecting.chain(collector.place()).end_keeping(stands)
    }

    /// As `close_own`, of such a one.
    pub fn close_inherited_own(&self, collector: Collector) -> Option<Index> {
        let stands = || self.stands_still(collector);
        self.collecting.own(collector.place()).end_keeping(stands)
    }

    /// Whether the wait of `collector` goes on. (Who stands anew says so before he opens his
    /// chains: whoever read one of these after that finds it here.)
    fn stands_still(&self, collector: Collector) -> bool {
        let ticket = self.place(collector.place()).standing().ticket();
        ticket.is_some_and(|ticket| collector.is_of(ticket))
    }
}
