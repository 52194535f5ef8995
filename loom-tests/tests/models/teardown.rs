//! The end of a pool whose buffers are still out.
//!
//! Proves: when the last handle closes the free lists while other threads give
//! buffers back, exactly one thread is told that it must tear the pool down, and
//! everything that any thread did with the pool's memory happens before that:
//! with the buffers, and with the caches, every call of which counts as a read
//! of memory that the tear-down unmaps. Every other thread's last touch of the
//! pool is therefore what brought its buffer home.
//!
//! The twins: the closing thread counts what is home and only then closes; a
//! closed list takes buffers all the same; the counter of late buffers is set
//! without regard to those that came before. Each leaves a pool that nobody
//! tears down, or two threads that do.

use hugepool::model::{Fault, Given, Index, run_on};
use hugepool_loom_tests::{Guarded, Kind, Model, Shelf, spawn, tests_of_each_kind};
use loom::thread::JoinHandle;
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

tests_of_each_kind![
    one_of_two_late_buffers_or_the_closer_is_the_last,
    a_flush_that_meets_the_closing_loses_nothing,
    two_flushes_that_meet_the_closing_lose_nothing,
    buffers_that_nobody_will_return_are_not_waited_for,
    a_visitor_or_the_last_handle_closes_the_lists,
    a_flush_that_meets_a_waiter_loses_nothing,
    a_buffer_that_comes_home_where_nobody_was_before_is_counted,
];

const EVERY_FAULT: &[Fault] = &[
    Fault::CloseCountsFirst,
    Fault::IgnoreShut,
    Fault::SettleStores,
];

/// A pool of one class, and how many threads were told to tear it down.
struct Pool<C> {
    /// Dropped by the first thread that is told to.
    shelf: UnsafeCell<ManuallyDrop<Shelf<Guarded<C>>>>,
    told: AtomicU32,
}

// SAFETY: loom runs one thread at a time. It reports an access to what is in the
// shelf that does not happen before the tear-down; until the next execution
// memory that was freed stays as it was (`Quarantine`).
unsafe impl<C> Sync for Pool<C> {}

impl<C: Kind> Pool<C> {
    /// A pool of `count` buffers whose caches hold two, and all its buffers.
    fn new(count: u32) -> (Arc<Self>, Vec<Index>) {
        Self::of(Shelf::new(Guarded::new(C::make(2)), 2, count), count)
    }

    /// A pool of `count` buffers, all of which were taken on processor 0, the only one in use.
    fn unvisited(count: u32) -> (Arc<Self>, Vec<Index>) {
        Self::of(Shelf::unvisited(Guarded::new(C::make(2)), count), count)
    }

    fn of(shelf: Shelf<Guarded<C>>, count: u32) -> (Arc<Self>, Vec<Index>) {
        let held = (0..count).map(|_| shelf.take().unwrap()).collect();
        let pool = Self {
            shelf: UnsafeCell::new(ManuallyDrop::new(shelf)),
            told: AtomicU32::new(0),
        };
        (Arc::new(pool), held)
    }

    fn shelf(&self) -> &Shelf<Guarded<C>> {
        // SAFETY: see `Sync`.
        unsafe { &*self.shelf.get() }
    }

    /// Does what the lists said, of whose buffers `abandoned` will never come.
    fn heed(&self, mut given: Given, abandoned: u64) {
        if given == Given::Close {
            let Shelf { lists, class, .. } = self.shelf();
            given = lists.close(&[*class], abandoned);
        }
        if given == Given::Last {
            self.shelf().buffers.unmap();
            self.shelf().lists.caches().tear_down();
            if self.told.fetch_add(1, Ordering::Relaxed) == 0 {
                // SAFETY: this is the first time; see `Sync`.
                unsafe { ManuallyDrop::drop(&mut *self.shelf.get()) };
            }
        }
    }

    /// What dropping a buffer does.
    fn give(&self, index: Index) {
        self.heed(self.shelf().give(index), 0);
    }

    /// A thread on processor `cpu` that drops `index`.
    fn giver(self: &Arc<Self>, cpu: usize, index: Index) -> JoinHandle<()> {
        let pool = Arc::clone(self);
        spawn(move || {
            run_on(cpu);
            pool.give(index);
        })
    }

    /// What dropping the last handle does, while `givers` drop their buffers.
    fn close(&self, abandoned: u64, givers: impl IntoIterator<Item = JoinHandle<()>>) {
        let given = self.shelf().lists.leave();
        assert_eq!(given, Given::Close, "there was one handle");
        self.heed(given, abandoned);
        self.audit(givers);
    }

    /// What dropping the last handle does while visitors may have others.
    fn leave(&self, visitors: impl IntoIterator<Item = JoinHandle<()>>) {
        self.heed(self.shelf().lists.leave(), 0);
        self.audit(visitors);
    }

    /// Asserts, when all other threads have ended, that one was told to tear the
    /// pool down.
    fn audit(&self, others: impl IntoIterator<Item = JoinHandle<()>>) {
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(self.told.load(Ordering::Relaxed), 1, "not one is the last");
    }
}

/// Two threads on two processors give one buffer each.
pub fn one_of_two_late_buffers_or_the_closer_is_the_last<C: Kind>() -> Model {
    Model::new(3..=4, EVERY_FAULT, || {
        let (pool, held) = Pool::<C>::new(2);
        let givers = [pool.giver(0, held[0]), pool.giver(1, held[1])];
        pool.close(0, givers);
    })
}

/// A thread comes to a processor that has no room yet, with the pool's only buffer.
pub fn a_buffer_that_comes_home_where_nobody_was_before_is_counted<C: Kind>() -> Model {
    const PORTABLE: &[Fault] = &[
        Fault::NoVisit,
        Fault::NoVisitFence,
        Fault::RoomAnyway,
        Fault::CloseOpen,
    ];
    // A limit keeps sections out of all slots, whether or not they have room.
    Model::new(2..=4, C::pick(PORTABLE, &[Fault::NoVisit]), || {
        let (pool, held) = Pool::<C>::unvisited(1);
        let giver = pool.giver(1, held[0]);
        pool.close(0, [giver]);
    })
}

/// A thread gives a buffer to a full cache, so that it carries a batch when the
/// depot, the cache, or neither has been closed.
pub fn a_flush_that_meets_the_closing_loses_nothing<C: Kind>() -> Model {
    const TWINS: &[Fault] = &[
        Fault::CloseCountsFirst,
        Fault::IgnoreShut,
        Fault::LateTouch,
        Fault::SettleStores,
    ];
    Model::new(4..=9, TWINS, || {
        let (pool, held) = Pool::<C>::new(3);
        pool.give(held[0]);
        pool.give(held[1]);
        let giver = pool.giver(0, held[2]);
        pool.close(0, [giver]);
    })
}

/// Two threads share a full cache.
pub fn two_flushes_that_meet_the_closing_lose_nothing<C: Kind>() -> Model {
    Model::new(1..=1, EVERY_FAULT, || {
        let (pool, held) = Pool::<C>::new(4);
        pool.give(held[0]);
        pool.give(held[1]);
        let givers = [pool.giver(0, held[2]), pool.giver(0, held[3])];
        pool.close(0, givers);
    })
    .long(C::pick(true, false))
}

/// One buffer is out as a raw pointer for good.
pub fn buffers_that_nobody_will_return_are_not_waited_for<C: Kind>() -> Model {
    Model::new(4..=9, EVERY_FAULT, || {
        let (pool, held) = Pool::<C>::new(2);
        let giver = pool.giver(1, held[0]);
        pool.close(1, [giver]);
    })
}

/// Somebody waits, so that the lists are shut, and gives up; a thread without a
/// handle gives a buffer meanwhile.
pub fn a_visitor_or_the_last_handle_closes_the_lists<C: Kind>() -> Model {
    const TWINS: &[Fault] = &[Fault::VisitBlind, Fault::SettleStores];
    Model::new(C::pick(6..=9, 3..=5), TWINS, || {
        let (pool, held) = Pool::<C>::new(1);
        pool.shelf().wait_a_moment();
        let giver = pool.giver(0, held[0]);
        pool.leave([giver]);
    })
}

/// Somebody is about to wait, so that the class is shared, while the other thread
/// brings a batch of a full cache to the depot.
pub fn a_flush_that_meets_a_waiter_loses_nothing<C: Kind>() -> Model {
    const TWINS: &[Fault] = &[Fault::VisitBlind];
    Model::new(1..=2, TWINS, || {
        let (pool, held) = Pool::<C>::new(3);
        pool.give(held[0]);
        pool.give(held[1]);
        let giver = pool.giver(0, held[2]);
        pool.shelf().lists.prepare_to_wait(&[pool.shelf().class]);
        pool.leave([giver]);
    })
}
