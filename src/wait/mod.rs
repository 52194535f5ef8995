//! The line of those who wait for a buffer.
//!
//! Owns: the places in the line, whose turn it is, and the waking. Uses: `sync`,
//! `sys`, `table`, `record`, `chain`, `word`, `class`. Used by: `lists`, which says when
//! somebody is to be called or served (`lists::waiting` has the protocol).
//!
//! # A place
//!
//! ```text
//!            stand                call                 uncall
//!   vacant ────────▶ waiting ───────────────▶ called ─────────▶ waiting
//!      ▲              │  │  │                  │  │  │
//!      │              │  │  └─── hand_over ────┘  │  │
//!      │              │  │            ▼           │  │
//!      │              │  │     given {buffer} ────│──│──▶ vacant
//!      │              │  └──────── abort ─────────┘  │
//!      │              │               ▼              │
//!      └─── leave ────┴──────── aborted ─────────────┘
//! ```
//!
//! (For those who wait for their own stream there are two more, `stream`.)
//!
//! Each arrow is one compare-and-swap of the place's word, or a store by the only
//! thread that may make it. (Who waits for several is not called: see `collector`.) A
//! *call* wakes whoever waits: a buffer is free, and it may take it if nobody else is
//! faster. A *hand-over* makes a buffer its own at that instant; a waiter that would
//! rather leave finds the buffer there instead. So neither a buffer nor a wake-up is ever
//! lost, whatever ends the wait. No two waits have the same ticket, so a word that still
//! says waiting with the same ticket is the same wait.
//!
//! # Who is next
//!
//! Turns go round: the next is the first behind the place whose turn it was last, among
//! those whose request the class can serve. So nobody is passed by twice before everybody
//! else had a turn, and to find the next one costs what lies between, not the length of the
//! line. To be handed a buffer, or to begin to collect, is a turn. To be called is none, since
//! it may be in vain: calls go round by themselves. In a line of strict order the next is who came first: the
//! smallest ticket; then every place that is occupied is looked at, which costs a cache
//! line each. Each place says what its owner asked for, so a class that is new serves
//! those who wait already. Nothing is linked, so nothing has to be unlinked when a
//! waiter gives up, and no list can be in pieces.
//!
//! (A thread that stops for ever between moving a place on and waking its owner
//! delays that owner. A thread looks again now and then, and finds it. A task does
//! not.)
//!
//! Which classes could serve a request may change. Whoever changes it (growth, a trim,
//! an abort) does so, then passes a full fence, and then looks at the line; a waiter
//! stands, passes a full fence, and then looks at what there is. So either the
//! waiter sees the change, or the other sees the waiter.
//!
//! A child of a fork has the places of threads that it does not have. Tickets carry the
//! count of forks, and those of another count are nobody's. (A task that
//! the child polls stands in line anew.)

mod cancel;
mod collector;
mod ending;
mod occupied;
mod place;
mod service;
mod stream;
mod tally;
mod wake;
mod waker;

pub use cancel::Cancel;
pub use collector::{Collects, Hand, Kept, Lessened};
pub use place::{By, Left, Request, Seat, Turn};
pub use service::{Served, Service};
pub use stream::{HandOf, Lacking, Those};
pub use tally::{BINS, Outcome, Tally};
pub use wake::Wake;

use crate::class::{ClassId, Line as Class, MAX_CLASSES};
use crate::sync::{AtomicU64, Ordering, fault, fence, shield};
use crate::sys::bell::Bell;
use crate::sys::fork;
use crate::table::Table;
use crate::word::{Index, Standing};
use collector::Collecting;
use crossbeam_utils::CachePadded;
use occupied::Occupied;
use place::Place;
use std::io;
#[cfg(any(feature = "async", hugepool_loom))]
use std::task::Waker;
use tally::Tallies;

/// How many can wait at once.
pub const MAX_WAITERS: usize = if cfg!(hugepool_loom) { 3 } else { 1 << 16 };

/// The line.
pub struct Line {
    places: Table<Place>,
    occupied: Occupied,
    /// One a class.
    services: Table<Service>,
    tallies: Tallies,
    collecting: Collecting,
    /// The next ticket. Relaxed: the read-modify-write makes them unique.
    tickets: CachePadded<AtomicU64>,
    /// 1 once every wait is to end. Never taken back.
    aborted: AtomicU64,
    /// First come, first served.
    strict: bool,
}

/// The bits of a ticket that say how many forks its process comes from.
const FORKS: u64 = Standing::MAX_TICKET & !(Standing::MAX_TICKET >> 8);

impl Line {
    /// Nobody in it; `strict`: first come, first served. Fails as `mmap` does.
    pub fn new(strict: bool) -> io::Result<Self> {
        Ok(Self {
            occupied: Occupied::new()?,
            services: Table::new(MAX_CLASSES)?,
            tallies: Tallies::new()?,
            places: Table::closed(MAX_WAITERS)?,
            collecting: Collecting::new()?,
            tickets: CachePadded::new(AtomicU64::new(0)),
            aborted: AtomicU64::new(0),
            strict,
        })
    }

    fn place(&self, id: u32) -> &Place {
        self.places.get(id as usize)
    }

    /// How those who wait for `class` are being served.
    pub fn service(&self, class: ClassId) -> &Service {
        self.services.get(class.index())
    }

    /// The wait at `seat` ends so, after so many nanoseconds. For statistics.
    pub fn note_ended(&self, seat: &Seat, outcome: Outcome, nanoseconds: u64) {
        self.tallies.note_ended(seat.id, outcome, nanoseconds);
    }

    /// How waits went so far.
    pub fn tally(&self) -> Tally {
        self.tallies.read()
    }

    /// Forgets the longest wait so far.
    pub fn reset_longest(&self) {
        self.tallies.reset_longest();
    }

    /// Whether who comes first is served first.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// What tickets of this process say of forks.
    fn stamp() -> u64 {
        u64::from(fork::forks() as u8) << FORKS.trailing_zeros()
    }

    /// A ticket that nobody else has.
    fn ticket(&self) -> u64 {
        let one = fault!(SameTicket, 0, 1);
        let ticket = self.tickets.fetch_add(one, Ordering::Relaxed) & !FORKS | Self::stamp();
        ticket & Standing::MAX_TICKET
    }

    /// How many can wait at once: `MAX_WAITERS`, unless the system has no memory for the
    /// places of more. Told after a wait was refused.
    pub fn limit(&self) -> usize {
        self.places.ready().min(self.collecting.ready())
    }

    /// Has memory ready for whoever stands at `place`; false: the system has none. Enters
    /// the kernel once for a thousand places.
    fn open(&self, place: u32) -> bool {
        let count = place as usize + 1;
        let opened = self.places.open_to(count);
        opened.and_then(|()| self.collecting.open_to(count)).is_ok()
    }

    /// Stands in line for what `request` asks for; a `task` is woken by its waker,
    /// a thread by its bell. `None` if `limit` wait already. The caller
    /// holds a handle until it leaves.
    pub fn stand(&self, request: Request, task: bool) -> Option<Seat> {
        let id = self.occupied.take(|place| self.open(place))?;
        let place = self.place(id);
        place.ask_for(request);
        if request.is_for_several() {
            self.open_chains(id);
        }
        let ticket = self.ticket();
        self.tallies.note_begun(id);
        let seat = Seat {
            id,
            ticket,
            task,
            request,
        };
        // Release: see `Place`.
        (place.standing).store(seat.waiting().word(), Ordering::Release);
        // SeqCst: see the module.
        fault!(NoStandFence, (), fence(Ordering::SeqCst));
        Some(seat)
    }

    /// Whether the wait at `seat` is that of a task in the parent of this process.
    pub fn has_inherited(&self, seat: &Seat) -> bool {
        seat.ticket & FORKS != Self::stamp()
    }

    /// Has the wait at `seat`, which is inherited, stand in line here: if somebody of the
    /// parent's called it, or gave it a claim, it is no longer called. What it was given, it
    /// has. The chains of its place are closed. The caller looks next.
    pub fn stand_anew(&self, seat: &mut Seat) {
        let place = self.place(seat.id);
        let before = place.standing();
        seat.ticket = self.ticket();
        if By::of(before).is_some() || before.sleeps() {
            // Nobody of this process moves it on before it has a ticket of this process.
            place.advance(before, seat.waiting());
            if seat.request.is_for_several() {
                // After that: see `stands_still`.
                self.open_chains(seat.id);
            }
        }
        // SeqCst: as in `stand`.
        fence(Ordering::SeqCst);
    }

    /// Waits for buffers of up to `reach` bytes, too, from now on.
    pub fn reach(&self, seat: &mut Seat, reach: usize) {
        seat.request.reach = reach;
        self.place(seat.id).ask_for(seat.request);
        // SeqCst: as in `stand`.
        fault!(NoStandFence, (), fence(Ordering::SeqCst));
    }

    /// The places that somebody stands at, or did a moment ago, and how; beginning
    /// with `from`, round.
    fn standing(&self, from: u32) -> impl Iterator<Item = (u32, Standing)> {
        let stamp = Self::stamp();
        self.occupied
            .iter_from(from)
            .map(|id| (id, self.place(id).standing()))
            .filter(move |(_, standing)| {
                // A child of a fork does not have those who waited in its parent.
                standing
                    .ticket()
                    .is_some_and(|ticket| ticket & FORKS == stamp)
            })
    }

    /// The next in turn behind place `hand` whose request `fits` and who may be
    /// `eligible`, and whether he waits for several buffers. With `ready`, whoever may not
    /// collect now, since that word names somebody else, is passed over.
    fn next_behind(
        &self,
        hand: u32,
        ready: Option<&Collects>,
        fits: impl Fn(&Request) -> bool,
        eligible: impl Fn(Standing) -> bool,
    ) -> Option<(u32, Standing, bool)> {
        let from = match self.strict {
            true => 0,
            false => hand.wrapping_add(1) % MAX_WAITERS as u32,
        };
        let takers = self
            .standing(from)
            .filter(|&(_, standing)| eligible(standing));
        let mut takers = takers.filter_map(|(id, standing)| {
            let place = self.place(id);
            let request = place.request();
            // The request was that of one wait. A call in between changes none, and passes
            // nobody over.
            let same = || place.standing().ticket() == standing.ticket();
            let whole = fits(&request) && fault!(TornRequest, true, same());
            let several = request.is_for_several();
            let waits = |word| several && !self.may_collect(word, id, standing);
            let passed = ready.is_some_and(waits);
            (whole && !passed).then_some((id, standing, several))
        });
        if !self.strict {
            return takers.next();
        }
        takers.min_by_key(|&(_, standing, _)| {
            let ticket = standing.ticket().unwrap_or(u64::MAX);
            fault!(LastFirst, u64::MAX - ticket, ticket)
        })
    }

    /// The next behind the last who was called whom `class` could serve, who has not been
    /// called, and who waits for one buffer.
    fn next_to_call(&self, class: &Class) -> Option<(u32, Standing)> {
        if self.occupied.is_empty() {
            return None;
        }
        let fits = |request: &Request| !request.is_for_several() && request.accepts(class);
        let from = self.service(class.id()).last_called();
        let (id, standing, _) = self.next_behind(from, None, fits, Standing::sleeps)?;
        Some((id, standing))
    }

    /// The next in turn whom `class` could serve and who may be `eligible`.
    fn next(
        &self,
        class: &Class,
        ready: bool,
        eligible: impl Fn(Standing) -> bool,
    ) -> Option<(u32, Standing, bool)> {
        if self.occupied.is_empty() {
            return None;
        }
        let fits = |request: &Request| request.accepts(class);
        let ready = ready.then(|| self.collects_all());
        self.next_behind(self.service(class.id()).hand(), ready, fits, eligible)
    }

    /// Whether anybody waits whom `class` could serve, and has not been called.
    pub fn is_wanted(&self, class: &Class) -> bool {
        self.next(class, false, Standing::sleeps).is_some()
    }

    /// As above, and could serve now: it may be that somebody else collects first.
    pub fn is_wanted_now(&self, class: &Class) -> bool {
        self.next(class, true, Standing::sleeps).is_some()
    }

    /// Whether anybody waits whom `class` could serve, called or not.
    pub fn is_waited_for(&self, class: &Class) -> bool {
        let waits = |standing| !matches!(standing, Standing::Entitled { .. });
        self.next(class, false, waits).is_some()
    }

    /// Calls somebody whom `class` can serve and who has not been called, each in turn:
    /// whoever drops what this gives wakes him. That is no turn, for he may find nothing. If
    /// it is the turn of somebody who waits for several, he collects from now on. `None`:
    /// there is nobody. Lock-free.
    pub fn call(&self, class: &Class) -> Option<Hand<'_>> {
        let service = self.service(class.id());
        let number = class.id().index() as u8;
        loop {
            let next = self.next(class, true, Self::has_turns(number));
            if let Some((id, Standing::Waiting { ticket, .. }, true)) = next {
                let word = self.collects_all();
                if let Some(collector) = self.begin_to_collect(word, service, id, ticket) {
                    return Some(Hand::Collects(collector));
                }
                continue;
            }
            let (id, standing) = self.next_to_call(class)?;
            let Standing::Waiting { ticket, task } = standing else {
                return None;
            };
            let called = Standing::Called {
                ticket,
                task,
                class: number,
            };
            if self.place(id).advance(standing, called) {
                service.note_called(task);
                service.move_calls_to(id);
                if !task {
                    service.note_wake();
                }
                return Some(Hand::Served(self.wake(id, task)));
            }
        }
    }

    /// Who has turns at the class with that number: who has been called for another one is
    /// left to that.
    fn has_turns(number: u8) -> impl Fn(Standing) -> bool {
        move |standing| match standing {
            Standing::Waiting { .. } => true,
            Standing::Called { class, .. } => class == number,
            _ => false,
        }
    }

    /// As `hand_over`, if the next in turn is a task and has not been called: to be handed
    /// a buffer costs a task no more than to be called, for it waits for no processor.
    pub fn hand_to_task(&self, class: &Class, index: Index) -> Option<Hand<'_>> {
        match self.next(class, true, Standing::sleeps)? {
            (_, Standing::Waiting { task: true, .. }, false) => self.hand_over(class, index),
            _ => None,
        }
    }

    /// Gives `index`, which the caller holds, to the next in turn whom `class` can
    /// serve; whoever drops what this gives wakes him. One who waits for several collects
    /// from now on, and it is still the caller's, to be kept for him. `None`: there was
    /// nobody, and it is still the caller's. The caller holds a handle, and looks at the
    /// class's service afterwards. Lock-free.
    pub fn hand_over(&self, class: &Class, index: Index) -> Option<Hand<'_>> {
        let service = self.service(class.id());
        let number = class.id().index() as u8;
        if self.is_collecting()
            && let Some((id, standing, true)) = self.next(class, false, Self::has_turns(number))
            && !self.may_collect(self.collects_all(), id, standing)
        {
            self.note_missed(self.collects_all(), |request| request.accepts(class));
        }
        loop {
            let (id, standing, several) = self.next(class, true, Self::has_turns(number))?;
            let task = match standing {
                Standing::Waiting { ticket, .. } if several => {
                    let word = self.collects_all();
                    if let Some(collector) = self.begin_to_collect(word, service, id, ticket) {
                        return Some(Hand::Collects(collector));
                    }
                    continue;
                }
                Standing::Waiting { task, .. } | Standing::Called { task, .. } => task,
                _ => return None,
            };
            let given = Standing::Given {
                class: number,
                index,
            };
            if !self.place(id).advance(standing, given) {
                continue;
            }
            if let Standing::Called { .. } = standing {
                service.note_settled(task);
            }
            service.move_to(id);
            service.note_hand_over();
            if !task {
                service.note_wake();
            }
            return Some(Hand::Served(self.wake(id, task)));
        }
    }

    fn wake(&self, id: u32, task: bool) -> Wake<'_> {
        let place = self.place(id);
        Wake { place, task }
    }

    /// Has the task that waits at `seat` woken by `waker`. It looks at its turn
    /// afterwards.
    #[cfg(any(feature = "async", hugepool_loom))]
    pub fn register(&self, seat: &Seat, waker: &Waker) {
        self.place(seat.id).waker.register(waker);
    }

    /// How the wait at `seat` stands.
    pub fn turn(&self, seat: &Seat) -> Turn {
        let class = |number: u8| ClassId::new(number.into()).unwrap_or(ClassId::FIRST);
        match self.place(seat.id).standing() {
            Standing::Given { class: of, index } | Standing::Own { class: of, index } => {
                Turn::Given(class(of), index)
            }
            Standing::Called {
                class: Standing::STREAM,
                ..
            }
            | Standing::Entitled { .. } => Turn::CalledByStream,
            Standing::Called { class: of, .. } => Turn::Called(class(of)),
            Standing::Aborted => Turn::Aborted,
            Standing::Vacant | Standing::Waiting { .. } => Turn::Waiting,
        }
    }

    /// The bell of a thread that waits at `seat`.
    pub fn bell(&self, seat: &Seat) -> &Bell {
        &self.place(seat.id).bell
    }

    /// Who waits at `seat` is no longer called, if he was: he looks at the lists
    /// afterwards, when he has shown that he waits. Gives by whom he was; what his stream
    /// counts, the caller settles.
    pub fn uncall(&self, seat: &Seat) -> Option<By> {
        let place = self.place(seat.id);
        let standing = place.standing();
        let by = By::of(standing)?;
        if !place.advance(standing, seat.waiting()) {
            return None;
        }
        if let By::Class(class) = by {
            self.service(class).note_settled(seat.task);
        }
        Some(by)
    }

    /// Ends the wait at `seat`.
    pub fn leave(&self, seat: Seat) -> Left {
        let place = self.place(seat.id);
        // Relaxed: read with the standing that the next owner of the place releases.
        place.mark.store(0, Ordering::Relaxed);
        let mut left = Left::default();
        loop {
            let standing = place.standing();
            match standing {
                Standing::Waiting { .. } | Standing::Called { .. } | Standing::Entitled { .. } => {
                    let gone = fault!(
                        CancelStores,
                        {
                            (place.standing).store(Standing::Vacant.word(), Ordering::Release);
                            true
                        },
                        place.advance(standing, Standing::Vacant)
                    );
                    if !gone {
                        continue;
                    }
                    // In a child of a fork the call is its parent's.
                    if !self.has_inherited(&seat) {
                        left.called = By::of(standing);
                    }
                    if let Some(By::Class(class)) = left.called {
                        self.service(class).note_settled(seat.task);
                    }
                }
                Standing::Given { class, index } | Standing::Own { class, index } => {
                    let class = ClassId::new(class.into()).unwrap_or(ClassId::FIRST);
                    left.given = Some((class, index));
                    left.own = matches!(standing, Standing::Own { .. });
                    // Nobody else moves a place on from there.
                    (place.standing).store(Standing::Vacant.word(), Ordering::Release);
                }
                // As above.
                _ => (place.standing).store(Standing::Vacant.word(), Ordering::Release),
            }
            break;
        }
        let waker = place.waker.take();
        self.occupied.put(seat.id);
        // Last, for it is somebody else's code.
        shield(move || drop(waker));
        left
    }

    /// Whether every wait is to end.
    pub fn is_aborted(&self) -> bool {
        // Acquire: what was done before the abort.
        self.aborted.load(Ordering::Acquire) != 0
    }

    /// Whether so many stand in line, or more. Costs a few loads.
    pub fn is_crowded(&self, many: u32) -> bool {
        self.occupied.count() >= many.into()
    }

    /// Whether it is time to hand what comes back to the next in turn of those whom `service`
    /// serves; true for one of those who ask.
    pub fn is_due(&self, service: &Service) -> bool {
        service.is_due(|| self.occupied.count())
    }

    /// How many wait.
    pub fn waiters(&self) -> u64 {
        if self.occupied.is_empty() {
            return 0;
        }
        self.standing(0).count() as u64
    }

    /// Bytes of memory the line occupies, read from the kernel.
    pub fn resident(&self) -> io::Result<usize> {
        Ok(self.places.resident(MAX_WAITERS)?
            + self.occupied.resident()?
            + self.services.resident(MAX_CLASSES)?
            + self.tallies.resident()?
            + self.collecting.resident()?)
    }
}
