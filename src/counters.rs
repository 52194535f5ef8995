//! Counts to poll, for a dashboard.
//!
//! Owns: their gathering. Uses: `lists`, `wait`. Used by: `pool`, for callers.

use crate::cache::CpuCaches;
use crate::lists::FreeLists;
use crate::wait::BINS;
use std::time::Duration;

/// What a pool has counted since it was built: [`Pool::counters`](crate::Pool::counters).
/// Each count is read at a moment of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
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
    /// Requests that were refused because no buffer was free.
    pub refused: u64,
    /// System calls that put a thread to sleep (`futex(2)`).
    pub sleeps: u64,
    /// System calls that woke a thread (`futex(2)`).
    pub wakes: u64,
    /// System calls that kept other processors from their caches (`membarrier(2)`).
    pub barriers: u64,
}

impl Counters {
    pub(crate) fn of<C: CpuCaches>(lists: &FreeLists<C>) -> Self {
        let line = lists.line();
        let tally = line.tally();
        let [served, timed_out, aborted, cancelled, failed] = tally.ended;
        let mut counters = Self {
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
            refused: 0,
            sleeps: 0,
            wakes: 0,
            barriers: 0,
        };
        for class in lists.classes().ids() {
            let served = line.service(class).served();
            counters.calls += served.calls;
            counters.passed_over += served.in_vain;
            counters.hand_overs += served.hand_overs;
            counters.sleeps += served.sleeps;
            counters.wakes += served.wakes;
            counters.barriers += lists.barriers(class);
            counters.refused += lists.refusals(class);
        }
        counters
    }
}
