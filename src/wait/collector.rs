//! Who collects several buffers, and what is kept for him.
//!
//! Owns: the word that names him, and a chain a place. Uses: the line, `chain`, `record`,
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

use super::{Line, Request, Seat, Wake};
use crate::chain::Chain;
use crate::class::Line as Class;
use crate::record::Records;
use crate::sync::{AtomicU64, Ordering, fault};
use crate::table::Table;
use crate::word::{Collector, Index, Standing};
use crossbeam_utils::CachePadded;
use std::io;

/// Who collects.
pub(super) struct Collecting {
    /// A `Collector`, or 0. Changed by compare-and-swap, with AcqRel, read with Acquire: see
    /// `lists::collect` for what relies on it.
    word: CachePadded<AtomicU64>,
    /// What is kept for who stands at each place. A list's flag stands while it is open.
    kept: Table<Chain>,
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
            word: CachePadded::new(AtomicU64::new(0)),
            kept: Table::new(super::MAX_WAITERS)?,
        })
    }

    fn chain(&self, place: u32) -> &Chain {
        self.kept.get(place as usize)
    }

    /// Bytes of memory the chains occupy, read from the kernel.
    pub(super) fn resident(&self) -> io::Result<usize> {
        self.kept.resident(super::MAX_WAITERS)
    }
}

impl Line {
    /// Opens the chain of `place`, which is the caller's, who will stand there for several.
    pub(super) fn open_chain(&self, place: u32) {
        self.collecting.chain(place).begin_to_keep();
    }

    /// Whether anybody collects, or did a moment ago.
    #[inline]
    pub fn is_collecting(&self) -> bool {
        self.collecting.word.load(Ordering::Acquire) != 0
    }

    /// Who collects, or did a moment ago.
    pub fn collector(&self) -> Option<Collector> {
        Collector::from_word(self.collecting.word.load(Ordering::Acquire))
    }

    /// Whether `collector` is a thread or task of a process that this one is a child of.
    pub fn is_inherited(&self, collector: Collector) -> bool {
        !collector.is_kin_of(Self::stamp())
    }

    /// Whether whoever stands at `place`, as `standing` says, for several buffers, may
    /// collect now: nobody else does.
    pub(super) fn may_collect(&self, place: u32, standing: Standing) -> bool {
        let Standing::Waiting { ticket, .. } = standing else {
            return false;
        };
        // In a line of strict order he may be the first again, while he collects.
        let own = |collector| self.is_strict() && collector == Collector::new(place, ticket);
        self.collecting.chain(place).head().is_shut()
            && fault!(TwoCollect, true, self.collector().is_none_or(own))
    }

    /// Makes the wait of `ticket` at `place` the one that collects. `None`: another one is.
    /// It may have ended before; then whoever looks finds that.
    pub(super) fn begin_to_collect(&self, place: u32, ticket: u64) -> Option<Collector> {
        let own = Collector::new(place, ticket);
        let word = &self.collecting.word;
        let now = fault!(TwoCollect, word.load(Ordering::Relaxed), 0);
        // AcqRel: see the field.
        match word.compare_exchange(now, own.word(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(own),
            Err(now) => (now == own.word()).then_some(own),
        }
    }

    /// Nobody collects any more, if `collector` did until now: false if the word says
    /// something else.
    pub fn end_to_collect(&self, collector: Collector) -> bool {
        // AcqRel: see the field.
        (self.collecting.word)
            .compare_exchange(collector.word(), 0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// What `collector` waits for, and how he stands. `None`: he collects no more. The chain
    /// of his place was read before.
    fn collects(&self, collector: Collector) -> Option<(Request, Standing)> {
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
            let most = u32::try_from(request.count).unwrap_or(u32::MAX);
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
                && request.count <= free as usize
                && request.accepts(class)
                && collector != Collector::new(id, ticket);
            could.then_some((id, task))
        })?;
        Some(self.wake(id, task))
    }

    /// What the wait at `seat` is called that collects.
    pub fn collector_at(&self, seat: &Seat) -> Collector {
        Collector::new(seat.id, seat.ticket)
    }

    /// Closes the chain of `collector`, who is the caller or does not exist in this process,
    /// and takes what is kept: the top, which the others are linked to.
    pub fn close_chain(&self, collector: Collector) -> Option<Index> {
        self.collecting.chain(collector.place()).end_keeping()
    }
}
