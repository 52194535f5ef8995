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
use hugepool_loom_tests::{Guarded, Model, Shelf, spawn, tests};
use loom::thread::JoinHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

tests![
    one_of_two_late_buffers_or_the_closer_is_the_last,
    a_flush_that_meets_the_closing_loses_nothing,
    two_flushes_that_meet_the_closing_lose_nothing,
    buffers_that_nobody_will_return_are_not_waited_for,
];

const EVERY_FAULT: &[Fault] = &[
    Fault::CloseCountsFirst,
    Fault::IgnoreClosed,
    Fault::SettleStores,
];

/// A pool of one class, and how many threads were told to tear it down.
struct Pool {
    shelf: Shelf<Guarded>,
    told: AtomicU32,
}

impl Pool {
    /// A pool of `count` buffers whose caches hold two, and all its buffers.
    fn new(count: u32) -> (Arc<Self>, Vec<Index>) {
        let pool = Self {
            shelf: Shelf::new(Guarded::new(2), 2, count),
            told: AtomicU32::new(0),
        };
        let held = (0..count).map(|_| pool.shelf.take().unwrap()).collect();
        (Arc::new(pool), held)
    }

    fn heed(&self, given: Given) {
        if given == Given::Last {
            self.shelf.buffers.unmap();
            self.shelf.lists.caches().tear_down();
            self.told.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What dropping a buffer does.
    fn give(&self, index: Index) {
        self.heed(self.shelf.give(index));
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
        self.heed(self.shelf.lists.close(&[self.shelf.class], abandoned));
        for giver in givers {
            giver.join().unwrap();
        }
        assert_eq!(self.told.load(Ordering::Relaxed), 1, "not one is the last");
    }
}

/// Two threads on two processors give one buffer each.
pub fn one_of_two_late_buffers_or_the_closer_is_the_last() -> Model {
    Model::new(3..=4, EVERY_FAULT, || {
        let (pool, held) = Pool::new(2);
        let givers = [pool.giver(0, held[0]), pool.giver(1, held[1])];
        pool.close(0, givers);
    })
}

/// A thread gives a buffer to a full cache, so that it carries a batch when the
/// depot, the cache, or neither has been closed.
pub fn a_flush_that_meets_the_closing_loses_nothing() -> Model {
    Model::new(4..=9, EVERY_FAULT, || {
        let (pool, held) = Pool::new(3);
        pool.give(held[0]);
        pool.give(held[1]);
        let giver = pool.giver(0, held[2]);
        pool.close(0, [giver]);
    })
}

/// Two threads share a full cache.
pub fn two_flushes_that_meet_the_closing_lose_nothing() -> Model {
    Model::new(2..=3, EVERY_FAULT, || {
        let (pool, held) = Pool::new(4);
        pool.give(held[0]);
        pool.give(held[1]);
        let givers = [pool.giver(0, held[2]), pool.giver(0, held[3])];
        pool.close(0, givers);
    })
}

/// One buffer is out as a raw pointer for good.
pub fn buffers_that_nobody_will_return_are_not_waited_for() -> Model {
    Model::new(4..=9, EVERY_FAULT, || {
        let (pool, held) = Pool::new(2);
        let giver = pool.giver(1, held[0]);
        pool.close(1, [giver]);
    })
}
