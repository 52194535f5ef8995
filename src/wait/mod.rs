//! The line of those who wait for a buffer.
//!
//! Owns: the places in the line, who is next, and the waking. Uses: `sync`,
//! `sys::bell`, `table`, `word`, `class`. Used by: `lists`.
//!
//! # A place
//!
//! ```text
//!            stand                    hand_over
//!   vacant ────────▶ waiting {ticket} ─────────▶ given {buffer} ──▶ vacant
//!      ▲                │      │                                  leave
//!      ├──── leave ─────┘      └── abort ──▶ aborted ──▶ vacant
//!      └─────────────────────────────────────────────────────────────┘
//! ```
//!
//! Each arrow is one compare-and-swap of the place's word, or a store by the only
//! thread that may make it. Whoever moves a place from waiting to given has given
//! its buffer away at that instant; a waiter that would rather leave finds the
//! buffer there instead. So neither a buffer nor a wake-up is ever lost, whatever
//! ends the wait. No two waits have the same ticket, so a word that still says
//! waiting with the same ticket is the same wait.
//!
//! # Who is next
//!
//! The waiter with the smallest ticket among those whose request the buffer's
//! class can serve: each place says what its owner asked for, so a class that is
//! new serves those who wait already, in their order. The places that are
//! occupied are looked through one by one: nothing is linked, so nothing has to
//! be unlinked when a waiter gives up, and no list can be in pieces. A line of a
//! hundred costs a hundred cache lines a buffer, far less than the waking.
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
//!
//! (A thread that stops for ever between moving a place on and waking its owner
//! delays that owner; the buffer is the owner's. A thread looks again now and then,
//! and finds it. A task does not; nor does one that takes the place next if the
//! stopped thread has its waker in hand.)
//!
//! Which classes those are may change. Whoever changes it (growth, a trim, an
//! abort) does so, then passes a full fence, and then looks at the line; a waiter
//! stands, passes a full fence, and then looks at what there is. So either the
//! waiter sees the change, or the other sees the waiter.

mod occupied;
mod waker;

use crate::class::{ClassId, Line as Class};
#[cfg(hugepool_loom)]
use crate::sync::announces_nothing;
use crate::sync::{AtomicU64, Ordering, fault, fence, shield};
use crate::sys::bell::Bell;
use crate::table::{Table, Zeroed};
use crate::word::{Index, Standing};
use crossbeam_utils::CachePadded;
use occupied::Occupied;
use std::io;
#[cfg(any(feature = "event-listener", hugepool_loom))]
use std::task::Waker;
use waker::{Spent, Taken, WakerCell};

/// How many can wait at once.
pub const MAX_WAITERS: usize = if cfg!(hugepool_loom) { 3 } else { 1 << 16 };

/// What somebody waits for: a buffer of any class that serves the request and is
/// no larger than `reach`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// Bytes.
    pub size: usize,
    /// Bytes, a power of two.
    pub alignment: usize,
    /// The largest buffer it may have, in bytes.
    pub reach: usize,
}

impl Request {
    /// Whether a buffer of `size` bytes at `alignment` will do.
    pub fn accepts(&self, size: usize, alignment: usize) -> bool {
        (self.size..=self.reach).contains(&size) && self.alignment <= alignment
    }
}

/// A place in the line: one cache line.
#[derive(Default)]
#[repr(C, align(64))]
struct Place {
    /// A `Standing`. See the module for who changes it. `stand` and `hand_over`
    /// release; everybody acquires.
    standing: AtomicU64,
    /// A `Request`. Written by the place's owner: before it waits, and published
    /// by `standing`; or, the reach, while it waits, and published by the fence
    /// or the shutting of a list that follows. Release and Acquire all the same: a
    /// thread that reads what a later owner wrote then sees that `standing` has
    /// changed since (`takers`).
    size: AtomicU64,
    alignment: AtomicU64,
    reach: AtomicU64,
    /// How a thread is woken.
    bell: Bell,
    /// How a task is woken.
    waker: WakerCell,
}

// SAFETY: integer and pointer atomics alone; all-zero bytes are a vacant place.
unsafe impl Zeroed for Place {}

impl Place {
    fn request(&self) -> Request {
        let read = |field: &AtomicU64| field.load(Ordering::Acquire) as usize;
        Request {
            size: read(&self.size),
            alignment: read(&self.alignment),
            reach: read(&self.reach),
        }
    }

    fn ask_for(&self, request: Request) {
        let write = |field: &AtomicU64, value| field.store(value as u64, Ordering::Release);
        write(&self.size, request.size);
        write(&self.alignment, request.alignment);
        write(&self.reach, request.reach);
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
    request: Request,
}

impl Seat {
    /// What is waited for.
    pub fn request(&self) -> Request {
        self.request
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

/// Those who are to be woken, and are when this is dropped. Tasks are woken by
/// somebody else's code, which may use the pool: nothing may be announced then.
#[must_use = "dropping it runs somebody else's code"]
pub struct Wakes<'a> {
    line: &'a Line,
    /// The place of a thread.
    thread: Option<u32>,
    tasks: Taken,
}

impl Wakes<'_> {
    /// Adds whoever stands at place `id`, or stands there by now.
    fn add(&mut self, id: u32, standing: Standing) {
        if fault!(NoWake, true, false) {
            return;
        }
        if let Standing::Waiting { task: true, .. } = standing {
            self.line.place(id).waker.take(&mut self.tasks);
        } else if let Some(before) = self.thread.replace(id) {
            // There is room for one. A bell is nobody else's code.
            self.line.place(before).bell.ring();
        }
    }

    /// Whether there are tasks to wake.
    pub fn has_tasks(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Wakes threads.
    pub fn wake_threads(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.line.place(thread).bell.ring();
        }
    }

    /// Wakes everybody. The caller announces nothing: what a waker looks for in
    /// vain would seem to be in its own thread's hands.
    pub fn wake(&mut self) {
        #[cfg(hugepool_loom)]
        assert!(
            !self.has_tasks() || announces_nothing(),
            "a waker is run by a thread that announces something"
        );
        self.wake_threads();
        self.tasks.wake(&self.line.spent);
    }
}

impl Drop for Wakes<'_> {
    fn drop(&mut self) {
        // loom's report unwinds through here; a second panic would abort.
        if !cfg!(hugepool_loom) || !std::thread::panicking() {
            self.wake();
        }
    }
}

/// The line.
pub struct Line {
    places: Table<Place>,
    occupied: Occupied,
    /// The next ticket. Relaxed: the read-modify-write makes them unique.
    tickets: CachePadded<AtomicU64>,
    /// 1 once every wait is to end. Never taken back.
    aborted: AtomicU64,
    spent: Spent,
}

impl Line {
    /// Nobody in it. Fails as `mmap` does.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            places: Table::new(MAX_WAITERS)?,
            occupied: Occupied::new()?,
            tickets: CachePadded::new(AtomicU64::new(0)),
            aborted: AtomicU64::new(0),
            spent: Spent::default(),
        })
    }

    fn place(&self, id: u32) -> &Place {
        self.places.get(id as usize)
    }

    /// Stands in line for what `request` asks for; a `task` is woken by its waker,
    /// a thread by its bell. `None` if `MAX_WAITERS` wait already. The caller
    /// holds a handle until it leaves.
    pub fn stand(&self, request: Request, task: bool) -> Option<Seat> {
        let id = self.occupied.take()?;
        let place = self.place(id);
        place.ask_for(request);
        let one = fault!(SameTicket, 0, 1);
        let ticket = self.tickets.fetch_add(one, Ordering::Relaxed);
        let waiting = Standing::Waiting { ticket, task };
        place.standing.store(waiting.word(), Ordering::Release);
        fault!(NoStandFence, (), fence(Ordering::SeqCst));
        Some(Seat {
            id,
            waiting,
            request,
        })
    }

    /// Waits for buffers of up to `reach` bytes, too, from now on.
    pub fn reach(&self, seat: &mut Seat, reach: usize) {
        seat.request.reach = reach;
        self.place(seat.id).ask_for(seat.request);
        fault!(NoStandFence, (), fence(Ordering::SeqCst));
    }

    /// Nobody to wake so far.
    pub fn wakes(&self) -> Wakes<'_> {
        Wakes {
            line: self,
            thread: None,
            tasks: Taken::default(),
        }
    }

    /// Those who wait, or did a moment ago: place and standing.
    fn waiting(&self) -> impl Iterator<Item = (u32, Standing)> {
        self.occupied
            .iter()
            .map(|id| (id, self.place(id).standing()))
            .filter(|(_, standing)| matches!(standing, Standing::Waiting { .. }))
    }

    fn takers(&self, class: &Class) -> impl Iterator<Item = (u32, Standing)> {
        let (size, alignment) = (class.size(), class.alignment());
        self.waiting().filter(move |&(id, standing)| {
            let place = self.place(id);
            place.request().accepts(size, alignment)
                // The request was that of one wait.
                && fault!(TornRequest, true, place.standing() == standing)
        })
    }

    /// Whether anybody waits whom `class` could serve.
    pub fn is_wanted(&self, class: &Class) -> bool {
        self.takers(class).next().is_some()
    }

    /// Gives `index`, which the caller holds, to the first in line whom `class`
    /// can serve, and who is then woken with `wakes`. False: there was nobody, and
    /// it is still the caller's. The caller holds a handle. Lock-free.
    pub fn hand_over(&self, class: &Class, index: Index, wakes: &mut Wakes<'_>) -> bool {
        let ticket = |standing| match standing {
            Standing::Waiting { ticket, .. } => fault!(LastFirst, u64::MAX - ticket, ticket),
            _ => u64::MAX,
        };
        let given = Standing::Given {
            class: class.id().index() as u8,
            index,
        };
        let first = || {
            self.takers(class)
                .min_by_key(|&(_, standing)| ticket(standing))
        };
        while let Some((id, standing)) = first() {
            if self.place(id).advance(standing, given) {
                wakes.add(id, standing);
                return true;
            }
        }
        false
    }

    /// Has the task that waits at `seat` woken by `waker`. It looks at its turn
    /// afterwards.
    #[cfg(any(feature = "event-listener", hugepool_loom))]
    pub fn register(&self, seat: &Seat, waker: &Waker) {
        self.place(seat.id).waker.register(waker, &self.spent);
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

    /// Ends the wait at `seat`. Gives the buffer that came meanwhile, if one did;
    /// it is the caller's.
    pub fn leave(&self, seat: Seat) -> Option<(ClassId, Index)> {
        let place = self.place(seat.id);
        let left = fault!(
            CancelStores,
            false,
            place.advance(seat.waiting, Standing::Vacant)
        );
        let turn = if left {
            Turn::Waiting
        } else {
            let turn = fault!(CancelStores, Turn::Waiting, self.turn(&seat));
            // Nobody else moves a place on from there.
            place
                .standing
                .store(Standing::Vacant.word(), Ordering::Release);
            turn
        };
        let note = place.waker.clear();
        self.occupied.put(seat.id);
        // Last, for it is somebody else's code.
        shield(move || drop(note));
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
        // SeqCst: see the module.
        fence(Ordering::SeqCst);
        let mut wakes = self.wakes();
        for (id, standing) in self.waiting() {
            if self.place(id).advance(standing, Standing::Aborted) {
                wakes.add(id, standing);
                wakes.wake();
            }
        }
    }

    /// Makes everybody who waits look again at what could serve them, which the
    /// caller has changed.
    pub fn rouse(&self) {
        // SeqCst: see the module.
        fence(Ordering::SeqCst);
        let mut wakes = self.wakes();
        for (id, standing) in self.waiting() {
            fault!(NoRouse, (), wakes.add(id, standing));
            // One by one: who serves the next finds its waker in its place.
            wakes.wake();
        }
    }

    /// How many wait.
    pub fn waiters(&self) -> u64 {
        self.waiting().count() as u64
    }

    /// Bytes of memory the line occupies, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        Ok(self.places.resident(MAX_WAITERS)? + self.occupied.resident()?)
    }
}
