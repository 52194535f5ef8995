//! The counter by which the last buffer learns that it is the last.
//!
//! Proves: whatever the order in which the closing thread settles and late
//! buffers come, exactly one of them is told that it was the last, and all that
//! the others did with the memory happens before. The twin sets the counter
//! instead of adding to it, which forgets the buffers that came first.

use hugepool::model::{Fault, Home};
use hugepool_loom_tests::{Model, spawn, tests};
use loom::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

tests![exactly_one_is_the_last];

/// The counter, the memory it guards, and how many were told to unmap it.
struct Pool {
    home: Home,
    memory: UnsafeCell<()>,
    told: AtomicU32,
}

// SAFETY: loom runs one thread at a time, and reports accesses to the cell that
// are not ordered; there is nothing in it to be torn.
unsafe impl Sync for Pool {}

impl Pool {
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
}

pub fn exactly_one_is_the_last() -> Model {
    Model::new(4..=9, &[Fault::SettleStores], || {
        let pool = Arc::new(Pool {
            home: Home::default(),
            memory: UnsafeCell::new(()),
            told: AtomicU32::new(0),
        });
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
