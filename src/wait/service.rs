//! How those who wait for one class are being served.
//!
//! Owns: the count of those who have been called, who is next, and whose turn. Uses:
//! `sync`, `sys`, `table`. Used by: the line, one a class.

use crate::sync::{AtomicU32, AtomicU64, Ordering, fault};
#[cfg(not(hugepool_loom))]
use crate::sys::clock;
use crate::sys::fork;
use crate::table::Zeroed;

/// Nanoseconds from one turn to the next: so long may buffers of a class go past
/// those who wait before one of them is handed its buffer.
#[cfg(not(hugepool_loom))]
const TURN: u64 = 500_000;
/// In a crowd turns come sooner, so that as many as wait take no longer than this; but no
/// sooner than `LEAST`, for each costs a change of threads.
#[cfg(not(hugepool_loom))]
const ROUND: u64 = 32_000_000;
#[cfg(not(hugepool_loom))]
const LEAST: u64 = 125_000;

/// Those who have been called: `{forks: 16, threads: 24, all: 24}`. A word of
/// another count of forks counts nobody: they are the parent's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Called(u64);

impl Called {
    const BITS: u32 = 24;
    const MASK: u64 = (1 << Self::BITS) - 1;

    /// What `word` says to a process that comes from so many forks.
    fn of(word: u64, forks: u32) -> Self {
        let stamp = u64::from(forks as u16) << (2 * Self::BITS);
        if word >> (2 * Self::BITS) << (2 * Self::BITS) == stamp {
            Self(word)
        } else {
            Self(stamp)
        }
    }

    /// Threads and tasks. A caller is counted a moment after he was called, so one
    /// that leaves at once may leave fewer than none: that is none.
    pub fn all(self) -> u32 {
        Self::at_least_none(self.0)
    }

    /// Threads alone.
    pub fn threads(self) -> u32 {
        Self::at_least_none(self.0 >> Self::BITS)
    }

    fn at_least_none(count: u64) -> u32 {
        let count = count & Self::MASK;
        if count > Self::MASK / 2 {
            0
        } else {
            count as u32
        }
    }

    /// With so many more, or fewer.
    #[must_use]
    fn plus(self, task: bool, change: i64) -> Self {
        let add = |count: u64| (count as i64 + change) as u64 & Self::MASK;
        let all = add(self.0 & Self::MASK);
        let mut threads = self.0 >> Self::BITS & Self::MASK;
        if !task {
            threads = add(threads);
        }
        let stamp = self.0 >> (2 * Self::BITS) << (2 * Self::BITS);
        Self(stamp | threads << Self::BITS | all)
    }
}

/// What is kept of a class for those who wait for it: one cache line.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Service {
    /// A `Called`. AcqRel on every change; see `lists::waiting` for what relies on it.
    called: AtomicU64,
    /// The place whose turn it was last, and the one that was called last. Relaxed: they
    /// choose among those who wait.
    hand: AtomicU32,
    last_called: AtomicU32,
    /// When that was, in nanoseconds; in a model, how often it was asked. Relaxed,
    /// and changed by compare-and-swap, so that a turn comes once.
    turn: AtomicU64,
    /// Counts, for statistics alone: Relaxed. Calls, and those that found nothing;
    /// hand-overs; threads woken, by a system call each, and put to sleep, by another.
    calls: AtomicU64,
    in_vain: AtomicU64,
    hand_overs: AtomicU64,
    wakes: AtomicU64,
    sleeps: AtomicU64,
}

/// What was counted of a class's waits since the pool was built.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// Waiters woken because a buffer was free.
    pub calls: u64,
    /// Those of them who found that somebody else had taken it.
    pub in_vain: u64,
    /// Buffers handed to a waiter.
    pub hand_overs: u64,
    /// `futex(2)` calls that woke a thread.
    pub wakes: u64,
    /// `futex(2)` calls in which a thread slept.
    pub sleeps: u64,
}

// SAFETY: integer atomics alone; all-zero bytes are nobody called, in the process that
// comes from no fork.
unsafe impl Zeroed for Service {}

impl Served {
    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            in_vain: self.in_vain + other.in_vain,
            hand_overs: self.hand_overs + other.hand_overs,
            wakes: self.wakes + other.wakes,
            sleeps: self.sleeps + other.sleeps,
        }
    }
}

/// Counts an event. (Models are spared what nothing depends on.)
fn count(counter: &AtomicU64) {
    if !cfg!(hugepool_loom) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether it is time for the next turn in a `crowd`, so long after the last one.
#[cfg(not(hugepool_loom))]
fn is_time(since: u64, crowd: impl FnOnce() -> u64) -> bool {
    since >= TURN || since >= LEAST && since.saturating_mul(crowd()) >= ROUND
}

impl Service {
    /// Those who have been called and have not looked yet.
    pub fn called(&self) -> Called {
        // Acquire: see the field.
        Called::of(self.called.load(Ordering::Acquire), fork::forks())
    }

    /// Counts one more, or one fewer.
    fn change(&self, task: bool, change: i64) {
        let forks = fork::forks();
        let next = |word| Some(Called::of(word, forks).plus(task, change).0);
        // It always changes it.
        let _ = self
            .called
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// Somebody has been called.
    pub fn note_called(&self, task: bool) {
        count(&self.calls);
        self.change(task, 1);
    }

    /// Somebody who had been called looks now, or leaves.
    pub fn note_settled(&self, task: bool) {
        self.change(task, fault!(NeverSettled, 0, -1));
    }

    /// Somebody is handed a buffer.
    pub fn note_hand_over(&self) {
        count(&self.hand_overs);
    }

    /// A thread is woken.
    pub fn note_wake(&self) {
        count(&self.wakes);
    }

    /// A thread goes to sleep.
    pub fn note_sleep(&self) {
        count(&self.sleeps);
    }

    /// Somebody who was called found nothing.
    pub fn note_in_vain(&self) {
        count(&self.in_vain);
    }

    /// What was counted.
    pub fn served(&self) -> Served {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Served {
            calls: read(&self.calls),
            in_vain: read(&self.in_vain),
            hand_overs: read(&self.hand_overs),
            wakes: read(&self.wakes),
            sleeps: read(&self.sleeps),
        }
    }

    /// As `served`, with those of `others` besides.
    pub fn served_with<'a>(&self, others: impl Iterator<Item = &'a Self>) -> Served {
        others.map(Self::served).fold(self.served(), Served::plus)
    }

    /// The place whose turn it was last.
    pub fn hand(&self) -> u32 {
        self.hand.load(Ordering::Relaxed)
    }

    /// It is the turn of `place`.
    pub fn move_to(&self, place: u32) {
        self.hand.store(place, Ordering::Relaxed);
    }

    /// The place that was called last.
    pub fn last_called(&self) -> u32 {
        self.last_called.load(Ordering::Relaxed)
    }

    /// `place` is called. That is no turn: it may be in vain.
    pub fn move_calls_to(&self, place: u32) {
        fault!(CallIsTurn, self.move_to(place), ());
        self.last_called.store(place, Ordering::Relaxed);
    }

    /// Whether it is time to hand a buffer to the next in turn of a `crowd`; true for one
    /// of those who ask.
    #[cfg(not(hugepool_loom))]
    pub fn is_due(&self, crowd: impl FnOnce() -> u64) -> bool {
        let (now, last) = (clock::now(), self.turn.load(Ordering::Relaxed));
        is_time(now.saturating_sub(last), crowd)
            && (self.turn)
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Every second time.
    #[cfg(hugepool_loom)]
    pub fn is_due(&self, _crowd: impl FnOnce() -> u64) -> bool {
        let asked = self.turn.fetch_add(1, Ordering::Relaxed);
        let due = asked % 2 == 1;
        // (A twin whose calls are never settled would be helped out by turns.)
        fault!(NeverDue, false, fault!(NeverSettled, false, due))
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn those_who_are_called_are_counted_by_kind() {
        let service = Service::default();
        service.note_called(false);
        service.note_called(true);
        service.note_called(true);
        assert_eq!((service.called().all(), service.called().threads()), (3, 1));
        service.note_settled(false);
        service.note_settled(true);
        assert_eq!((service.called().all(), service.called().threads()), (1, 0));
    }

    #[test]
    fn one_who_settles_before_he_is_counted_counts_as_nobody() {
        let service = Service::default();
        service.note_settled(false);
        assert_eq!((service.called().all(), service.called().threads()), (0, 0));
        service.note_called(false);
        assert_eq!((service.called().all(), service.called().threads()), (0, 0));
    }

    #[test]
    fn turns_come_every_half_millisecond_and_sooner_in_a_crowd() {
        let first = |crowd| {
            let times = (0..=1000).map(|time| time * 1000);
            times.clone().find(|&time| is_time(time, || crowd))
        };
        assert_eq!(first(0), Some(500_000));
        assert_eq!(first(64), Some(500_000));
        assert_eq!(first(128), Some(250_000));
        assert_eq!(first(256), Some(125_000));
        assert_eq!(first(65_536), Some(125_000));
    }

    #[test]
    fn those_of_another_count_of_forks_are_nobody() {
        let called = Called::of(0, 7).plus(false, 3);
        assert_eq!(Called::of(called.0, 7).all(), 3);
        assert_eq!(Called::of(called.0, 8).all(), 0);
        assert_eq!(Called::of(called.0, 8).plus(false, 1).all(), 1);
    }
}
