//! The line of those who wait for a buffer.
//!
//! Owns: the places in the line, who is next, and the waking. Uses: `sync`,
//! `sys::bell`, `table`, `word`, `class`; event-listener for tasks. Used by:
//! `lists`.
//!
//! # A place
//!
//! ```text
//!            stand                    hand_over
//!   vacant ────────▶ waiting {ticket} ─────────▶ given {buffer} ──▶ vacant
//!      ▲                │      │                                  collect
//!      ├──── cancel ────┘      └── abort ──▶ aborted ──▶ vacant
//!      └─────────────────────────────────────────────────────────────┘
//! ```
//!
//! Each arrow is one compare-and-swap of the place's word, or a store by the only
//! thread that may make it. Whoever moves a place from waiting to given has given
//! its buffer away at that instant; a waiter that would rather cancel finds the
//! buffer there instead. So neither a buffer nor a wake-up is ever lost, whatever
//! ends the wait. Tickets are never used twice, so a word that still says waiting
//! with the same ticket is the same wait.
//!
//! # Who is next
//!
//! The waiter with the smallest ticket among those whose request the buffer's
//! class can serve. All places that were ever in use are looked through, in
//! memory order: nothing is linked, so nothing has to be unlinked when a waiter
//! gives up, and no list can be in pieces. A line of a hundred costs some fifty
//! cache lines a buffer, far less than the waking.
//!
//! # No wake-up is lost
//!
//! A waiter first stands in line, then shuts the lists of the classes that could
//! serve it, and then looks through them. A buffer that comes home either was in
//! a list before that, and is found; or meets a shut list, and then its thread
//! looks at the line. A thread that puts buffers into a shut list all the same
//! (it holds a handle, so it may) looks at the line afterwards. To shut a list is
//! to change its word, even if it was shut; so if the waiter's change came first,
//! the other one acquired it and sees the waiter, and if it came second, the
//! waiter sees the buffer.

#[cfg(feature = "event-listener")]
mod events;

use crate::class::{ClassId, MAX_CLASSES};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fault, fence};
use crate::sys::bell::Bell;
use crate::table::{Table, Zeroed};
use crate::word::{Index, Stack, Standing};
use crossbeam_utils::CachePadded;
use std::io;

/// How many can wait at once.
pub const MAX_WAITERS: usize = if cfg!(hugepool_loom) { 3 } else { 1 << 16 };

/// A place in the line.
#[derive(Default)]
#[repr(C)]
struct Place {
    /// A `Standing`. See the module for who changes it. `stand` and `hand_over`
    /// release; everybody acquires.
    standing: AtomicU64,
    /// The classes that could serve whoever waits, a bit each. Written by the
    /// place's owner while nobody waits there; published by `standing`. (A thread
    /// that reads it late reads that of a later wait, and then the word has
    /// changed.)
    accepts: [AtomicU64; WORDS],
    bell: Bell,
    /// Spare: the number of the next spare place, 0 at the end.
    next: AtomicU32,
}

const WORDS: usize = MAX_CLASSES.div_ceil(64);

// SAFETY: integer atomics alone; all-zero bytes are a vacant place.
unsafe impl Zeroed for Place {}

impl Place {
    fn accepts(&self, class: ClassId) -> bool {
        let (word, bit) = (class.index() / 64, class.index() % 64);
        // Relaxed: see the field.
        let accepts = self.accepts.get(word);
        accepts.is_some_and(|word| word.load(Ordering::Relaxed) >> bit & 1 != 0)
    }

    fn standing(&self) -> Standing {
        Standing::from_word(self.standing.load(Ordering::Acquire))
    }

    /// Moves on from `old` if that still stands there.
    fn advance(&self, old: Standing, new: Standing) -> bool {
        // AcqRel: see `standing`.
        self.standing
            .compare_exchange(old.word(), new.word(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// A place that somebody holds. Whoever has it must `leave`.
#[derive(Debug)]
#[must_use = "a place that nobody leaves is lost, and what it is given with it"]
pub struct Seat {
    id: u32,
    waiting: Standing,
}

impl Seat {
    /// The place's number.
    #[cfg_attr(not(feature = "event-listener"), allow(dead_code))]
    pub fn place(&self) -> u32 {
        self.id
    }
}

/// How a wait stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It goes on.
    Waiting,
    /// It is over, with this buffer.
    Given(ClassId, Index),
    /// It is over, without one.
    Aborted,
}

/// The line.
pub struct Line {
    /// Numbered from 1.
    places: Table<Place>,
    /// The spare ones: a `Stack`. Put with Release, taken with Acquire.
    spare: CachePadded<AtomicU64>,
    /// Places that were ever in use. Grown before the first use (Release), read
    /// with Acquire.
    made: AtomicU64,
    /// The next ticket. Relaxed: the read-modify-write makes them unique.
    tickets: CachePadded<AtomicU64>,
    /// For each class, how many wait that it could serve. Grown before the
    /// waiter shuts the class, shrunk before it opens it.
    waiting: Table<AtomicU64>,
    /// 1 once every wait is to end. Never taken back.
    aborted: AtomicU64,
    /// How often everybody was to look again.
    roused: AtomicU64,
    #[cfg(feature = "event-listener")]
    events: events::Events,
}

impl Line {
    /// Nobody in it. Fails as `mmap` does.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            places: Table::new(MAX_WAITERS + 1)?,
            spare: CachePadded::new(AtomicU64::new(0)),
            made: AtomicU64::new(0),
            tickets: CachePadded::new(AtomicU64::new(0)),
            waiting: Table::new(MAX_CLASSES)?,
            aborted: AtomicU64::new(0),
            roused: AtomicU64::new(0),
            #[cfg(feature = "event-listener")]
            events: events::Events::default(),
        })
    }

    fn place(&self, id: u32) -> &Place {
        self.places.get(id as usize)
    }

    /// A ticket, later than all before.
    pub fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// A vacant place, the caller's.
    fn vacant(&self) -> Option<u32> {
        // Acquire: see `spare`.
        let mut head = Stack::from_word(self.spare.load(Ordering::Acquire));
        while head.top() != 0 {
            // Relaxed: covered by the head's Acquire.
            let next = self.place(head.top()).next.load(Ordering::Relaxed);
            match self.spare.compare_exchange_weak(
                head.word(),
                head.with_top(next).word(),
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(head.top()),
                Err(now) => head = Stack::from_word(now),
            }
        }
        // Release: see `made`.
        let made = self
            .made
            .fetch_update(Ordering::Release, Ordering::Relaxed, |made| {
                (made < MAX_WAITERS as u64).then_some(made + 1)
            });
        made.ok().map(|made| made as u32 + 1)
    }

    fn put_spare(&self, id: u32) {
        let mut head = Stack::from_word(self.spare.load(Ordering::Relaxed));
        loop {
            // Relaxed: published by the Release below.
            self.place(id).next.store(head.top(), Ordering::Relaxed);
            match self.spare.compare_exchange_weak(
                head.word(),
                head.with_top(id).word(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = Stack::from_word(now),
            }
        }
    }

    /// Stands in line for a buffer of any of `classes`, as who came with
    /// `ticket`; a `task` is woken by its event, a thread by its bell. `None` if
    /// `MAX_WAITERS` wait already. The caller holds a handle until it leaves.
    pub fn stand(&self, classes: &[ClassId], ticket: u64, task: bool) -> Option<Seat> {
        let id = self.vacant()?;
        let place = self.place(id);
        for (at, word) in place.accepts.iter().enumerate() {
            let bits = classes
                .iter()
                .filter(|class| class.index() / 64 == at)
                .map(|class| 1 << (class.index() % 64))
                .fold(0, |all, bit| all | bit);
            word.store(bits, Ordering::Relaxed);
        }
        for class in classes {
            // AcqRel: pairs with `is_wanted` of whoever opens the class.
            let waiting = self.waiting.get(class.index());
            waiting.fetch_add(1, Ordering::AcqRel);
        }
        let waiting = Standing::Waiting { ticket, task };
        place.standing.store(waiting.word(), Ordering::Release);
        Some(Seat { id, waiting })
    }

    /// Whether anybody waits that `class` could serve. `false` proves it of one
    /// moment within the call.
    pub fn is_wanted(&self, class: ClassId) -> bool {
        // Acquire: see `stand`.
        self.waiting.get(class.index()).load(Ordering::Acquire) > 0
    }

    /// Whether anybody waits that `class` could serve.
    pub fn has_taker(&self, class: ClassId) -> bool {
        self.is_wanted(class) && self.first(class).is_some()
    }

    /// The first in line that `class` can serve.
    fn first(&self, class: ClassId) -> Option<(u32, Standing)> {
        let mut first: Option<(u64, u32, Standing)> = None;
        // Acquire: see `made`.
        for id in 1..=self.made.load(Ordering::Acquire) as u32 {
            let place = self.place(id);
            let standing = place.standing();
            if let Standing::Waiting { ticket, .. } = standing
                && place.accepts(class)
                && first.is_none_or(|(other, ..)| fault!(LastFirst, ticket > other, ticket < other))
            {
                first = Some((ticket, id, standing));
            }
        }
        first.map(|(_, id, standing)| (id, standing))
    }

    /// Gives `index`, which the caller holds, to the first in line that `class`
    /// can serve. False: there was nobody, and it is still the caller's. The
    /// caller holds a handle. Lock-free.
    pub fn hand_over(&self, class: ClassId, index: Index) -> bool {
        while let Some((id, standing)) = self.first(class) {
            let given = Standing::Given {
                class: class.index() as u8,
                index,
            };
            if self.place(id).advance(standing, given) {
                self.wake(id, standing);
                return true;
            }
        }
        false
    }

    /// Wakes whoever stands at a place, or stands there by now.
    fn wake(&self, id: u32, standing: Standing) {
        #[cfg(feature = "event-listener")]
        if let Standing::Waiting { task: true, .. } = standing {
            self.events.ring(id);
            return;
        }
        let _a_thread = standing;
        if fault!(NoWake, false, true) {
            self.place(id).bell.ring();
        }
    }

    /// Listens for what happens to the task that waits at `seat`.
    #[cfg(feature = "event-listener")]
    pub fn listen(&self, seat: &Seat) -> Option<event_listener::EventListener> {
        self.events.listen(seat.id)
    }

    /// How the wait at `seat` stands.
    pub fn turn(&self, seat: &Seat) -> Turn {
        match self.place(seat.id).standing() {
            Standing::Given { class, index } => {
                let class = ClassId::new(class.into()).unwrap_or(ClassId::FIRST);
                Turn::Given(class, index)
            }
            Standing::Aborted => Turn::Aborted,
            Standing::Waiting { .. } | Standing::Vacant => Turn::Waiting,
        }
    }

    /// The bell of a thread that waits at `seat`.
    pub fn bell(&self, seat: &Seat) -> &Bell {
        &self.place(seat.id).bell
    }

    /// Ends the wait at `seat` for `classes`, whose count of waiters shrinks.
    /// Gives the buffer that came meanwhile, if one did; it is the caller's.
    pub fn leave(&self, seat: Seat, classes: &[ClassId]) -> Option<(ClassId, Index)> {
        let place = self.place(seat.id);
        let cancelled = fault!(
            CancelStores,
            false,
            place.advance(seat.waiting, Standing::Vacant)
        );
        let turn = if cancelled {
            Turn::Waiting
        } else {
            let turn = fault!(CancelStores, Turn::Waiting, self.turn(&seat));
            // Nobody else moves a place on from there.
            place
                .standing
                .store(Standing::Vacant.word(), Ordering::Release);
            turn
        };
        for class in classes {
            // AcqRel: see `stand`.
            let waiting = self.waiting.get(class.index());
            waiting.fetch_sub(1, Ordering::AcqRel);
        }
        self.put_spare(seat.id);
        match turn {
            Turn::Given(class, index) => Some((class, index)),
            Turn::Waiting | Turn::Aborted => None,
        }
    }

    /// Whether every wait is to end.
    pub fn is_aborted(&self) -> bool {
        // Acquire: what was done before the abort.
        self.aborted.load(Ordering::Acquire) != 0
    }

    /// Ends every wait, and every one to come.
    pub fn abort(&self) {
        self.aborted.store(1, Ordering::Release);
        // SeqCst: the flag before the places; a waiter stands, searches the lists,
        // which begins with such a fence, and then looks at the flag.
        fence(Ordering::SeqCst);
        self.for_each_waiting(|id, standing| {
            if self.place(id).advance(standing, Standing::Aborted) {
                self.wake(id, standing);
            }
        });
    }

    /// How often everybody was to look again. A waiter that reads this before it
    /// finds out what could serve it, and finds it unchanged once it stands in
    /// line, will be roused when there is more.
    pub fn roused(&self) -> u64 {
        self.roused.load(Ordering::Acquire)
    }

    /// Makes everybody who waits look again at what could serve them.
    pub fn rouse(&self) {
        // AcqRel: what could serve them was published before.
        self.roused.fetch_add(1, Ordering::AcqRel);
        // SeqCst: as in `abort`.
        fence(Ordering::SeqCst);
        self.for_each_waiting(|id, standing| self.wake(id, standing));
    }

    fn for_each_waiting(&self, mut visit: impl FnMut(u32, Standing)) {
        // Acquire: see `made`.
        for id in 1..=self.made.load(Ordering::Acquire) as u32 {
            let standing = self.place(id).standing();
            if matches!(standing, Standing::Waiting { .. }) {
                visit(id, standing);
            }
        }
    }

    /// How many wait.
    pub fn len(&self) -> u64 {
        let mut count = 0;
        self.for_each_waiting(|_, _| count += 1);
        count
    }

    /// Bytes of memory the line occupies, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        let made = self.made.load(Ordering::Relaxed) as usize;
        Ok(self.places.resident(made + 1)? + self.waiting.resident(usize::MAX)?)
    }
}
