//! Requests that wait for a buffer.
//!
//! Owns: how a thread sleeps until a buffer is handed over. Uses: the pool's
//! shared part. Used by: callers, `many`, `task`.
//!
//! ```text
//!   try ──▶ look a while ──▶ stand in line ──▶ look ──▶ sleep ─┐
//!                                               ▲              │
//!                                               └──────────────┤
//!      buffer, time is up, aborted, cancelled, no such class ◀─┘
//! ```

use super::{Class, Handle, Pool};
use crate::buffer::{Buffer, Memory, Owned};
use crate::catalog::Taken;
use crate::error::AllocError;
use crate::lists::Wait;
use crate::sys::clock;
use crate::track::Taker;
use crate::wait::{Cancel, Line, Outcome, Turn};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// How long a thread sleeps that cannot be sure to be woken (`Wait::is_sure`)
/// before it looks again.
const UNSURE: Duration = Duration::from_millis(1);
/// How long any other sleeps: whoever should wake it may itself have been stopped,
/// or ended, between giving it a buffer and waking it.
const SURE: Duration = Duration::from_millis(100);

/// What somebody waits for: one buffer, or several.
pub trait Goods: Sized {
    /// Ends a wait, and gives what came, of `size` bytes each, `by` whom was waited.
    fn receive(handle: &Handle, wait: Wait, size: usize, by: Option<Taker>) -> Option<Self>;
}

impl Goods for Owned {
    fn receive(handle: &Handle, wait: Wait, size: usize, by: Option<Taker>) -> Option<Self> {
        let (line, index) = handle.shared().catalog.lists().end_wait(wait)?;
        Some(handle.owned(Taken { line, index }, size, by))
    }
}

/// Someone who waits. Dropped before the end, it leaves the line, and what it was
/// given goes to somebody else.
pub struct Waiter<G: Goods = Owned> {
    handle: Handle,
    size: usize,
    /// Until it ends.
    wait: Option<Wait>,
    /// Since when it wants it, in nanoseconds.
    since: u64,
    goods: PhantomData<fn() -> G>,
    /// Who waits, if somebody asks.
    by: Option<Taker>,
}

/// How long somebody would wait.
pub enum Limit {
    /// So long, from when there is nothing to be had at once.
    Within(Duration),
    /// Until then.
    Until(Instant),
}

/// Who would wait.
#[derive(Clone, Copy)]
pub enum Sleeper {
    /// A thread, which wants it since then, in nanoseconds.
    Thread { since: u64 },
    /// A task that is polled, which wants it once it stands in line.
    #[cfg(feature = "async")]
    Task,
}

impl Sleeper {
    pub fn is_task(self) -> bool {
        !matches!(self, Self::Thread { .. })
    }
}

/// From when to when somebody waits.
pub struct Term {
    /// When it began, in nanoseconds: no later than its time began to run.
    since: u64,
    /// How long it is.
    limit: Duration,
    /// `None`: for ever.
    pub deadline: Option<Instant>,
}

impl Limit {
    /// The term that begins now.
    pub fn begin(self) -> Term {
        let since = clock::now();
        let now = Instant::now();
        let (deadline, limit) = match self {
            // A limit that is too far away to be named is none.
            Self::Within(limit) => (now.checked_add(limit), limit),
            Self::Until(deadline) => (Some(deadline), deadline.saturating_duration_since(now)),
        };
        Term {
            since,
            limit,
            deadline,
        }
    }
}

impl Term {
    /// Whether who would wait so long, or until `cancel`, need not begin: nobody stands in
    /// line for nothing.
    pub fn is_over(&self, cancel: Option<&Cancel>) -> bool {
        self.deadline.is_some_and(has_passed) || cancel.is_some_and(Cancel::is_cancelled)
    }

    /// The thread that waits so long.
    pub fn thread(&self) -> Sleeper {
        Sleeper::Thread { since: self.since }
    }

    /// What who asked for `size` bytes is told when it is over.
    pub fn timed_out(&self, size: usize, alignment: usize) -> AllocError {
        AllocError::TimedOut {
            size,
            alignment,
            limit: self.limit,
        }
    }
}

/// What a waiter is to do next.
pub enum Next<G = Owned> {
    /// Take this.
    Buffer(G),
    /// Sleep, until it is woken.
    Sleep,
}

/// How a request begins that would wait.
pub enum Begun<G: Goods = Owned> {
    /// It need not.
    Buffer(G),
    /// It stands in line; `advance` is next.
    Waiter(Waiter<G>),
}

impl Handle {
    pub(super) fn line(&self) -> &Line {
        self.shared().catalog.lists().line()
    }

    /// A caller is told `error`. For statistics.
    pub(super) fn note_refusal(&self, error: &AllocError) {
        self.shared().catalog.lists().note_refusal(error);
    }

    /// Who told every wait to end, or those of `cancel`; `None`: nobody.
    pub(super) fn ended(&self, cancel: Option<&Cancel>) -> Option<AllocError> {
        if self.line().is_aborted() {
            return Some(AllocError::Aborted);
        }
        let cancelled = cancel.is_some_and(Cancel::is_cancelled);
        cancelled.then_some(AllocError::Cancelled)
    }

    /// Takes a buffer `by` somebody, or stands in line for one as `sleeper`.
    pub(super) fn begin_wait(
        &self,
        (size, alignment): (usize, usize),
        sleeper: Sleeper,
        by: Option<Taker>,
    ) -> Result<Begun, AllocError> {
        let catalog = &self.shared().catalog;
        let owned = |taken| Begun::Buffer(self.owned(taken, size, by));
        if let Some(taken) = catalog.try_take(size, alignment)? {
            return Ok(owned(taken));
        }
        if self.line().is_aborted() {
            return Err(AllocError::Aborted);
        }
        if !sleeper.is_task() {
            let ladder = catalog.prepare_to_wait(size, alignment)?;
            if let Some(taken) = catalog.lists().watch(ladder.classes()) {
                return Ok(owned(catalog.taken(taken)));
            }
        }
        Ok(Begun::Waiter(self.stand(
            (size, alignment, 1),
            sleeper,
            by,
        )?))
    }

    /// Stands in line for `count` buffers.
    pub(super) fn stand<G: Goods>(
        &self,
        (size, alignment, count): (usize, usize, usize),
        sleeper: Sleeper,
        by: Option<Taker>,
    ) -> Result<Waiter<G>, AllocError> {
        let catalog = &self.shared().catalog;
        let wait = catalog.begin_wait(size, alignment, count, sleeper.is_task())?;
        Ok(self.waiter(wait, size, sleeper, by))
    }

    /// The `sleeper` that has begun to `wait` for `size` bytes, `by` somebody.
    pub(super) fn waiter<G: Goods>(
        &self,
        wait: Wait,
        size: usize,
        sleeper: Sleeper,
        by: Option<Taker>,
    ) -> Waiter<G> {
        let since = match sleeper {
            Sleeper::Thread { since } => since,
            #[cfg(feature = "async")]
            Sleeper::Task => clock::now(),
        };
        Waiter {
            handle: self.clone(),
            size,
            wait: Some(wait),
            since,
            goods: PhantomData,
            by,
        }
    }

    /// The owner of a buffer that was taken past the hot path, `by` somebody.
    pub(super) fn owned(&self, taken: Taken<'_>, size: usize, by: Option<Taker>) -> Owned {
        Owned::new(self.shared().noted(taken, size, by, false), size)
    }
}

impl<G: Goods> Waiter<G> {
    /// Gets on as far as is possible without sleeping. Whatever would wake it is
    /// set up before. It ends if `cancel` says so, which its place is marked with.
    pub fn advance(&mut self, cancel: Option<&Cancel>) -> Result<Next<G>, AllocError> {
        let catalog = &self.handle.shared().catalog;
        let line = catalog.lists().line();
        let Some(wait) = &mut self.wait else {
            return Ok(Next::Sleep);
        };
        let is_served = |turn| matches!(turn, Turn::Given(..) | Turn::Aborted);
        let looked = match is_served(line.turn(wait.seat())) {
            true => Ok(()),
            false => catalog.look(wait),
        };
        let goes_on = !wait.is_over()
            && !is_served(line.turn(wait.seat()))
            && self.handle.ended(cancel).is_none();
        if goes_on && looked.is_ok() {
            return Ok(Next::Sleep);
        }
        // A buffer may have come whatever else happened.
        let error = match looked {
            Ok(()) => self.handle.ended(cancel).unwrap_or(AllocError::Aborted),
            Err(error) => error,
        };
        let outcome = match error {
            AllocError::Aborted => Outcome::Aborted,
            AllocError::Cancelled => Outcome::Cancelled,
            _ => Outcome::Failed,
        };
        self.end(outcome).map(Next::Buffer).ok_or(error)
    }

    /// Leaves the line, with what came meanwhile, or in vain because of `outcome`.
    fn end(&mut self, outcome: Outcome) -> Option<G> {
        let wait = self.wait.take()?;
        let catalog = &self.handle.shared().catalog;
        let lists = catalog.lists();
        let served = wait.is_over() || matches!(lists.line().turn(wait.seat()), Turn::Given(..));
        let outcome = if served { Outcome::Served } else { outcome };
        if outcome == Outcome::TimedOut {
            catalog.note_timed_out(&wait);
        }
        let waited = clock::now().saturating_sub(self.since);
        lists.line().note_ended(wait.seat(), outcome, waited);
        G::receive(&self.handle, wait, self.size, self.by)
    }

    /// How often the bell rang for which a thread listens.
    fn rings(&self) -> u32 {
        let line = self.handle.line();
        let wait = self.wait.as_ref();
        wait.map_or(0, |wait| line.bell(wait.seat()).rings())
    }

    /// Sleeps until the bell has rung since it rang `rings` times, until
    /// `deadline` has passed, or it is time to look again.
    fn sleep(&self, rings: u32, deadline: Option<Instant>) {
        let Some(wait) = &self.wait else { return };
        let soon = Instant::now() + if wait.is_sure() { SURE } else { UNSURE };
        let until = deadline.map_or(soon, |deadline| deadline.min(soon));
        self.handle.shared().catalog.note_sleep(wait);
        self.handle
            .line()
            .bell(wait.seat())
            .sleep(rings, Some(until));
    }

    /// Waits until `deadline`, for ever without one, or until `cancel` says that it is to
    /// end. `None`: the deadline has passed.
    pub(super) fn block(
        mut self,
        deadline: Option<Instant>,
        cancel: Option<&Cancel>,
    ) -> Result<Option<G>, AllocError> {
        if let (Some(wait), Some(cancel)) = (&self.wait, cancel) {
            self.handle.line().mark(wait.seat(), cancel);
        }
        loop {
            // Before the look at what it rings for.
            let rings = self.rings();
            match self.advance(cancel)? {
                Next::Buffer(buffer) => return Ok(Some(buffer)),
                Next::Sleep if deadline.is_some_and(has_passed) => {
                    // One may have come in the last moment.
                    return Ok(self.end(Outcome::TimedOut));
                }
                Next::Sleep => self.sleep(rings, deadline),
            }
        }
    }
}

#[cfg(feature = "async")]
impl<G: Goods> Waiter<G> {
    /// Gets on as far as is possible for a task, which is woken for the rest. `None`: that is
    /// to come.
    pub fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Result<Option<G>, AllocError> {
        if let Some(wait) = &self.wait {
            self.handle.line().register(wait.seat(), cx.waker());
        }
        match self.advance(None)? {
            Next::Buffer(goods) => return Ok(Some(goods)),
            Next::Sleep if self.wait.as_ref().is_none_or(Wait::is_sure) => {}
            // Nobody may wake it: it is polled again and again.
            Next::Sleep => cx.waker().wake_by_ref(),
        }
        Ok(None)
    }

    /// Whoever waits is told `error`. For statistics.
    pub fn note_refusal(&self, error: &AllocError) {
        self.handle.note_refusal(error);
    }
}

pub(super) fn has_passed(deadline: Instant) -> bool {
    deadline <= Instant::now()
}

impl<G: Goods> Drop for Waiter<G> {
    fn drop(&mut self) {
        // A buffer that came meanwhile is dropped, and goes to the next in line.
        drop(self.end(Outcome::Cancelled));
    }
}

impl Handle {
    /// `limit` begins when there is nothing to be had at once. `cancel` may end the wait
    /// before that.
    #[track_caller]
    pub(super) fn allocate_limit(
        &self,
        size: usize,
        alignment: usize,
        limit: Limit,
        cancel: Option<&Cancel>,
    ) -> Result<Owned, AllocError> {
        let (front, catalog) = (&self.shared().front, &self.shared().catalog);
        if let Some(taken) = front.take(size, alignment) {
            return Ok(Owned::new(taken, size));
        }
        let by = self.shared().taker();
        if let Some(taken) = catalog.take_shared(size, alignment) {
            return Ok(self.owned(taken, size, by));
        }
        let waited = self.allocate_late((size, alignment, by), &limit.begin(), cancel);
        waited.inspect_err(|error| self.note_refusal(error))
    }

    /// The rest of that, when there was nothing to be had at once.
    fn allocate_late(
        &self,
        (size, alignment, by): (usize, usize, Option<Taker>),
        term: &Term,
        cancel: Option<&Cancel>,
    ) -> Result<Owned, AllocError> {
        let catalog = &self.shared().catalog;
        let timed_out = term.timed_out(size, alignment);
        if term.is_over(cancel) {
            return match catalog.take_or_refuse(size, alignment) {
                Ok(taken) => Ok(self.owned(taken, size, by)),
                Err(AllocError::Exhausted { .. }) => Err(self.ended(cancel).unwrap_or(timed_out)),
                Err(other) => Err(other),
            };
        }
        match self.begin_wait((size, alignment), term.thread(), by)? {
            Begun::Buffer(buffer) => Ok(buffer),
            Begun::Waiter(waiter) => waiter.block(term.deadline, cancel)?.ok_or(timed_out),
        }
    }
}

impl<M: Memory> Pool<M> {
    /// Takes a buffer as [`allocate`](Self::allocate) does, and waits up to
    /// `limit` for one to come back if none is free. A limit too long for the
    /// clock is for ever.
    ///
    /// The call looks for a buffer for some microseconds, and then stands in line and
    /// sleeps (`futex`). A buffer that comes back, on any thread, may be taken by whoever
    /// asks for it first, and one of those who wait is woken for it. So that nobody is
    /// passed over for ever, every half millisecond the next buffer that comes back (one
    /// of the next four, if others have just been woken) is handed to one of those who
    /// wait for it, each in turn: a caller with n others in the line is handed a buffer by
    /// the (n + 1)th of these at the latest. (If more than 64 wait, turns come sooner, so
    /// that a turn of each takes 32 ms: every eighth of a millisecond from 256 on.)
    /// [`strict_order`](crate::Builder::strict_order) serves who came first, always.
    ///
    /// The line costs nothing while nobody waits. When somebody does, and for 50 ms after
    /// that, frees of the classes in question go past the caches, to one list that all
    /// processors share. Other threads' allocations and frees never wait for the caller.
    /// Growth serves those who wait, too; a trim takes nothing that is waited for.
    ///
    /// # Errors
    ///
    /// Those of [`allocate`](Self::allocate) that waiting cannot cure, at once;
    /// [`AllocError::TimedOut`], if `limit` is zero as soon as `allocate` would
    /// refuse;
    /// [`AllocError::Aborted`] after [`abort`](Self::abort);
    /// [`AllocError::TooManyWaiters`] if there are 65536 in the line, those among
    /// them who were served and have not noticed yet.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hugepool::AllocError;
    /// use std::time::Duration;
    ///
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// let buffer = pool.allocate_timeout(4096, 4096, Duration::from_secs(1))?;
    /// let refused = pool.allocate_timeout(4096, 4096, Duration::from_millis(1));
    /// assert!(matches!(refused, Err(AllocError::TimedOut { .. })));
    /// let waiter = {
    ///     let pool = pool.clone();
    ///     std::thread::spawn(move || pool.allocate_timeout(4096, 4096, Duration::MAX))
    /// };
    /// drop(buffer); // goes to the waiter
    /// assert!(waiter.join().unwrap().is_ok());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_timeout(
        &self,
        size: usize,
        alignment: usize,
        limit: Duration,
    ) -> Result<Buffer<M>, AllocError> {
        let taken = (self.handle).allocate_limit(size, alignment, Limit::Within(limit), None);
        taken.map(Buffer::of)
    }

    /// As [`allocate_timeout`](Self::allocate_timeout), waiting until `deadline`.
    /// One in the past: a buffer that is free is taken, otherwise the call fails
    /// as soon as `allocate` would.
    ///
    /// # Errors
    ///
    /// As [`allocate_timeout`](Self::allocate_timeout).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// use std::time::{Duration, Instant};
    ///
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// let buffer = pool.allocate_deadline(4096, 4096, deadline)?;
    /// assert!(pool.allocate_deadline(4096, 4096, deadline).is_err());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_deadline(
        &self,
        size: usize,
        alignment: usize,
        deadline: Instant,
    ) -> Result<Buffer<M>, AllocError> {
        let taken = (self.handle).allocate_limit(size, alignment, Limit::Until(deadline), None);
        taken.map(Buffer::of)
    }

    /// Ends every wait that is under way, and every one to come, with
    /// [`AllocError::Aborted`]. Requests that find a buffer free are served as
    /// before. There is no way back. Lock-free; wakes whoever waits.
    /// [`CancelToken::cancel`](super::CancelToken::cancel) ends some waits, and not the
    /// others.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hugepool::AllocError;
    /// use std::time::Duration;
    ///
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// let buffer = pool.allocate(4096, 4096)?;
    /// pool.abort();
    /// let refused = pool.allocate_timeout(4096, 4096, Duration::MAX);
    /// assert_eq!(refused.unwrap_err(), AllocError::Aborted);
    /// # Ok(()) }
    /// ```
    pub fn abort(&self) {
        self.handle.line().abort();
    }

    /// Whether [`abort`](Self::abort) was called: who waits, on whatever thread, is told to
    /// end. One load; never blocks.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// assert!(!pool.is_aborted());
    /// pool.abort();
    /// assert!(pool.is_aborted());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.handle.line().is_aborted()
    }
}

impl<M: Memory> Class<M> {
    /// Takes a buffer as [`allocate`](Self::allocate) does, and waits up to
    /// `limit` for one: see [`Pool::allocate_timeout`].
    ///
    /// # Errors
    ///
    /// As [`Pool::allocate_timeout`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// use std::time::Duration;
    ///
    /// let class = pool.class(4096, 4096)?;
    /// let buffer = class.allocate_timeout(Duration::from_secs(1))?;
    /// assert!(class.allocate_timeout(Duration::from_millis(1)).is_err());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_timeout(&self, limit: Duration) -> Result<Buffer<M>, AllocError> {
        let limit = Limit::Within(limit);
        let taken = (self.handle).allocate_limit(self.size, self.alignment, limit, None);
        taken.map(Buffer::of)
    }

    /// As [`allocate_timeout`](Self::allocate_timeout), waiting until `deadline`: see
    /// [`Pool::allocate_deadline`].
    ///
    /// # Errors
    ///
    /// As [`Pool::allocate_timeout`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// use std::time::{Duration, Instant};
    ///
    /// let class = pool.class(4096, 4096)?;
    /// let buffer = class.allocate_deadline(Instant::now() + Duration::from_secs(1))?;
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn allocate_deadline(&self, deadline: Instant) -> Result<Buffer<M>, AllocError> {
        let limit = Limit::Until(deadline);
        let taken = (self.handle).allocate_limit(self.size, self.alignment, limit, None);
        taken.map(Buffer::of)
    }
}
