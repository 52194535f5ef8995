//! The counts by which a thread learns that it holds the last handle, or brought
//! the last buffer.
//!
//! Proves: whatever the order in which the closing thread settles and late
//! buffers come, exactly one of them is told that it was the last, and all that
//! the others did with the memory happens before. While a thread without a
//! handle visits, nobody closes; of the visitors and the holders of handles
//! exactly one is told to close, and what the others did happens before.
//!
//! The twins: the counter of late buffers is set instead of added to, which
//! forgets the buffers that came first; a visitor does not look whether there is
//! a handle; a handle is given up without releasing what was done through it.

use hugepool::model::{Fault, Home};
use hugepool_loom_tests::{Model, spawn, tests};
use loom::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

tests![
    exactly_one_is_the_last,
    a_visitor_or_the_last_handle_closes,
    two_visitors_and_two_handles_close_once,
];

/// The counters, the memory they guard, and how many were told to close the pool
/// and to unmap it.
struct Pool {
    home: Home,
    /// What holders of buffers and handles read, until it is unmapped.
    memory: UnsafeCell<()>,
    /// What only holders of handles read, until the pool closes.
    open: UnsafeCell<()>,
    /// Buffers in some list. std's atomics: loom does not see them, so they order
    /// nothing.
    stocked: AtomicU32,
    closers: AtomicU32,
    told: AtomicU32,
}

// SAFETY: loom runs one thread at a time, and reports accesses to the cell that
// are not ordered; there is nothing in it to be torn.
unsafe impl Sync for Pool {}

impl Pool {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            home: Home::default(),
            memory: UnsafeCell::new(()),
            open: UnsafeCell::new(()),
            stocked: AtomicU32::new(0),
            closers: AtomicU32::new(0),
            told: AtomicU32::new(0),
        })
    }

    fn heed(&self, last: bool) {
        if last {
            self.memory.with_mut(|_| ());
            self.told.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn bring(&self, count: u64) {
        self.memory.with(|_| ());
        self.heed(self.home.came(count));
    }

    /// Gives up a handle of a pool of `buffers`, and closes the pool if that was
    /// the last one.
    fn leave(&self, buffers: u32) {
        self.memory.with(|_| ());
        self.open.with(|_| ());
        if self.home.leave() {
            self.open.with_mut(|_| ());
            self.closers.fetch_add(1, Ordering::Relaxed);
            let out = buffers - self.stocked.load(Ordering::Relaxed);
            self.heed(self.home.settle(out.into()));
        }
    }

    /// Gives back one of `buffers` to a list that is shut.
    fn visit(&self, buffers: u32) {
        self.memory.with(|_| ());
        if self.home.visit() {
            self.stocked.fetch_add(1, Ordering::Relaxed);
            self.leave(buffers);
        } else {
            self.bring(1);
        }
    }

    /// Asserts that it was closed once and unmapped once.
    fn audit(&self) {
        let (closers, told) = (&self.closers, &self.told);
        assert_eq!(closers.load(Ordering::Relaxed), 1, "not one closes");
        assert_eq!(told.load(Ordering::Relaxed), 1, "not one is the last");
    }
}

pub fn exactly_one_is_the_last() -> Model {
    Model::new(4..=9, &[Fault::SettleStores], || {
        let pool = Pool::new();
        let threads: Vec<_> = [1, 1, 2]
            .map(|count| {
                let pool = Arc::clone(&pool);
                spawn(move || pool.bring(count))
            })
            .into();
        pool.memory.with(|_| ());
        pool.heed(pool.home.settle(4));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(pool.told.load(Ordering::Relaxed), 1, "not one is the last");
    })
}

const VISIT_TWINS: &[Fault] = &[Fault::VisitBlind, Fault::LeaveRelaxed, Fault::SettleStores];

/// One thread gives up the only handle, another gives back the only buffer.
pub fn a_visitor_or_the_last_handle_closes() -> Model {
    Model::new(6..=9, VISIT_TWINS, || {
        let pool = Pool::new();
        let visitor = Arc::clone(&pool);
        let thread = spawn(move || visitor.visit(1));
        pool.leave(1);
        thread.join().unwrap();
        pool.audit();
    })
}

/// Two threads give up a handle each, two others give back a buffer each.
pub fn two_visitors_and_two_handles_close_once() -> Model {
    Model::new(2..=3, VISIT_TWINS, || {
        let pool = Pool::new();
        pool.home.enter();
        let runs: [fn(&Pool); 3] = [
            |pool| pool.visit(2),
            |pool| pool.visit(2),
            |pool| pool.leave(2),
        ];
        let threads = runs.map(|run| {
            let pool = Arc::clone(&pool);
            spawn(move || run(&pool))
        });
        pool.leave(2);
        for thread in threads {
            thread.join().unwrap();
        }
        pool.audit();
    })
}
