//! Counts to poll, for a dashboard.
//!
//! Owns: their gathering. Uses: `lists`, `wait`. Used by: `pool`, for callers; `metrics`.

use crate::cache::CpuCaches;
use crate::class::ClassId;
use crate::lists::FreeLists;
use crate::wait::BINS;
use std::time::Duration;

/// What a pool has counted since it was built: [`Pool::counters`](crate::Pool::counters).
/// Each count is read at a moment of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Threads and tasks that stand in line now.
    pub waiting: u64,
    /// Waits that stood in line, of threads and tasks. (A request that finds a buffer
    /// while it looks, for some microseconds, before it stands in line, is none.)
    pub waits: u64,
    /// Those of them that ended with a buffer.
    pub served: u64,
    /// Those whose time was up.
    pub timed_out: u64,
    /// Those that [`abort`](crate::Pool::abort) ended.
    pub aborted: u64,
    /// Those that a [`CancelToken`](crate::CancelToken) ended, and futures that were
    /// dropped while they waited.
    pub cancelled: u64,
    /// Those that ended because no class could serve them any more.
    pub failed: u64,
    /// How long the waits that have ended took together.
    pub waited: Duration,
    /// How long the longest of them took, since [`reset_marks`](crate::Pool::reset_marks).
    pub longest_wait: Duration,
    /// How many of them took at least 2ⁿ and less than 2ⁿ⁺¹ nanoseconds, n being the
    /// index; the first also counts those that took less, the last those that took more.
    pub wait_histogram: [u64; BINS],
    /// Waiters that were woken because a buffer was free.
    pub calls: u64,
    /// Those of them that found the buffer gone: they were passed over, and waited on.
    pub passed_over: u64,
    /// Buffers that were handed to the waiter whose turn it was.
    pub hand_overs: u64,
    /// Requests that were refused, by what their callers were told.
    pub refusals: Refusals,
    /// System calls that put a thread to sleep (`futex(2)`).
    pub sleeps: u64,
    /// System calls that woke a thread (`futex(2)`).
    pub wakes: u64,
    /// System calls that kept other processors from their caches (`membarrier(2)`).
    pub barriers: u64,
}

/// Requests for buffers that were refused, each counted once, by the
/// [`AllocError`](crate::AllocError) that its caller was told. (What
/// [`Pool::class`](crate::Pool::class) refuses is no request for a buffer. A future that is
/// dropped is told nothing.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusals {
    /// No buffer that fits was free ([`Exhausted`](crate::AllocError::Exhausted)).
    pub exhausted: u64,
    /// As above, and another thread was carrying some all the while (`carried`).
    pub carried: u64,
    /// No buffer that fits came home in time ([`TimedOut`](crate::AllocError::TimedOut)),
    /// whether the request stood in line or had no time to.
    pub timed_out: u64,
    /// [`Pool::abort`](crate::Pool::abort) was called.
    pub aborted: u64,
    /// The request's [`CancelToken`](crate::CancelToken) was cancelled.
    pub cancelled: u64,
    /// No class could ever serve it ([`NoClass`](crate::AllocError::NoClass)), or its stream
    /// has no share of one ([`NoShare`](crate::AllocError::NoShare)).
    pub no_class: u64,
    /// It was for more buffers than there are
    /// ([`NeverEnough`](crate::AllocError::NeverEnough)).
    pub never_enough: u64,
    /// There was no place left in the line
    /// ([`TooManyWaiters`](crate::AllocError::TooManyWaiters)).
    pub too_many_waiters: u64,
    /// A size of zero, an alignment that is no power of two, or another pool's token.
    pub bad_input: u64,
    /// Its stream had as many as it may ([`AtMaximum`](crate::AllocError::AtMaximum)).
    pub at_maximum: u64,
}

impl Refusals {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_kind().iter().map(|(_, count)| count).sum()
    }

    /// Each count, with the name of its field.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = hugepool::Pool::builder().reserve(4096, 4096, 1).prefault(false).build()?;
    /// assert!(pool.allocate(0, 1).is_err());
    /// for (kind, count) in pool.counters().refusals.by_kind() {
    ///     assert_eq!(count, u64::from(kind == "bad_input"));
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn by_kind(&self) -> [(&'static str, u64); 10] {
        [
            ("exhausted", self.exhausted),
            ("carried", self.carried),
            ("timed_out", self.timed_out),
            ("aborted", self.aborted),
            ("cancelled", self.cancelled),
            ("no_class", self.no_class),
            ("never_enough", self.never_enough),
            ("too_many_waiters", self.too_many_waiters),
            ("bad_input", self.bad_input),
            ("at_maximum", self.at_maximum),
        ]
    }
}

/// What a pool has counted of one class:
/// [`Pool::class_counters`](crate::Pool::class_counters). Each count is read at a moment of
/// its own; those of buffers are exact while no other thread takes or gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassCounters {
    /// Bytes of each buffer.
    pub size: usize,
    /// What each buffer's address is a multiple of, in bytes.
    pub alignment: usize,
    /// Buffers there are.
    pub capacity: u64,
    /// Buffers that callers hold.
    pub in_use: u64,
    /// Buffers that are free, wherever they are. (Those that
    /// [`request`](crate::Pool::request) is just adding, or [`trim`](crate::Pool::trim) is
    /// looking at, are neither.)
    pub free: u64,
    /// Free ones that are in processors' caches.
    pub cached: u64,
    /// The most buffers that were out at once since
    /// [`reset_marks`](crate::Pool::reset_marks): held by callers or in processors' caches.
    /// Not below the most that callers held, and above it by no more than the caches held;
    /// exact while the class runs dry. While several threads take and give back at once, a
    /// peak may be missed that is over before the thread that took the last buffer has
    /// looked, and buffers that a thread moves from one free list to another may count as
    /// out.
    pub high_water: u64,
    /// Requests for this class that were refused for lack of a free buffer, at once or
    /// after a wait.
    pub refused: u64,
    /// Requests for this class that a larger one served.
    pub climbs: u64,
    /// Times a processor's cache was filled with a batch.
    pub refills: u64,
    /// Times a full cache gave back a batch.
    pub flushes: u64,
    /// Buffers taken from another processor's cache.
    pub steals: u64,
    /// Waiters that were woken because a buffer of this class was free.
    pub calls: u64,
    /// Those of them that found the buffer gone.
    pub passed_over: u64,
    /// Buffers of this class that were handed to the waiter whose turn it was.
    pub hand_overs: u64,
    /// System calls that kept other processors from their caches (`membarrier(2)`).
    pub barriers: u64,
}

impl Counters {
    pub(crate) fn of<C: CpuCaches>(lists: &FreeLists<C>) -> Self {
        let line = lists.line();
        let tally = line.tally();
        let [served, timed_out, aborted, cancelled, failed] = tally.ended;
        let mut counters = Self {
            waiting: line.waiters(),
            waits: tally.begun,
            served,
            timed_out,
            aborted,
            cancelled,
            failed,
            waited: Duration::from_nanos(tally.nanoseconds),
            longest_wait: Duration::from_nanos(tally.longest),
            wait_histogram: tally.bins,
            calls: 0,
            passed_over: 0,
            hand_overs: 0,
            refusals: Refusals::of(lists),
            sleeps: 0,
            wakes: 0,
            barriers: 0,
        };
        for class in lists.classes().ids() {
            let served = lists.served(class);
            counters.calls += served.calls;
            counters.passed_over += served.in_vain;
            counters.hand_overs += served.hand_overs;
            counters.sleeps += served.sleeps;
            counters.wakes += served.wakes;
            counters.barriers += lists.barriers(class);
        }
        counters
    }
}

impl Refusals {
    fn of<C: CpuCaches>(lists: &FreeLists<C>) -> Self {
        // The order of `lists::refusals`.
        let [
            exhausted,
            carried,
            timed_out,
            aborted,
            cancelled,
            no_class,
            never_enough,
            too_many_waiters,
            bad_input,
            at_maximum,
        ] = lists.refusals();
        Self {
            exhausted,
            carried,
            timed_out,
            aborted,
            cancelled,
            no_class,
            never_enough,
            too_many_waiters,
            bad_input,
            at_maximum,
        }
    }
}

impl ClassCounters {
    pub(crate) fn all<C: CpuCaches>(lists: &FreeLists<C>) -> impl Iterator<Item = Self> + '_ {
        let classes = lists.classes().ids();
        let counters = classes.map(|class| Self::of(lists, class));
        // One that is just being declared has no size yet.
        counters.filter(|counters| counters.size > 0)
    }

    fn of<C: CpuCaches>(lists: &FreeLists<C>, class: ClassId) -> Self {
        let line = lists.classes().line(class);
        let (level, counts) = (lists.level(class), lists.counts(class));
        let served = lists.served(class);
        Self {
            size: line.size(),
            alignment: line.alignment(),
            capacity: level.capacity,
            in_use: level.in_use,
            free: level.free,
            cached: level.cached,
            high_water: counts.high_water,
            refused: counts.failures,
            climbs: counts.climbs,
            refills: counts.refills,
            flushes: counts.flushes,
            steals: counts.steals,
            calls: served.calls,
            passed_over: served.in_vain,
            hand_overs: served.hand_overs,
            barriers: lists.barriers(class),
        }
    }
}
