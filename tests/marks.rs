//! The high-water mark of a class is what callers held at once, give or take what the
//! processors' caches held: however the buffers came and went, and while the class grows
//! and is trimmed.

mod support;

use hugepool::{Buffer, Pool};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use support::cpus;
use support::small::{SIZE, take, until_waiting, with_both_kinds};

/// What the caches of all processors may hold of a class.
fn cached() -> usize {
    64 * cpus().len()
}

fn mark(pool: &Pool) -> usize {
    pool.stats().classes[0].high_water
}

fn take_some(pool: &Pool, count: usize) -> Vec<Buffer> {
    (0..count).map(|_| take(pool)).collect()
}

/// Has buffers go past the caches: the class has run dry.
fn run_dry(pool: &Pool) {
    assert!(pool.allocate(SIZE, SIZE).is_err());
}

#[test]
fn what_is_taken_past_the_caches_moves_the_mark() {
    with_both_kinds(10, |pool| {
        let held = take_some(pool, 10);
        run_dry(pool);
        assert_eq!(mark(pool), 10);
        pool.request(SIZE, SIZE, 100).unwrap();
        let more = take_some(pool, 60);
        assert_eq!(mark(pool), 70);
        drop((held, more));
        let few = take_some(pool, 20);
        assert_eq!(mark(pool), 70);
        drop(few);
    });
}

#[test]
fn what_lies_past_the_caches_is_not_out() {
    with_both_kinds(10, |pool| {
        let held = take_some(pool, 10);
        run_dry(pool);
        pool.request(SIZE, SIZE, 2000).unwrap();
        drop(held);
        // The class goes back to its caches some time after it ran dry. Then depot and
        // caches are in use, and most buffers still lie where they came.
        for _ in 0..4 {
            thread::sleep(Duration::from_millis(60));
            drop(take_some(pool, 300));
            drop(take_some(pool, 200));
        }
        let mark = mark(pool);
        assert!((300..=300 + cached()).contains(&mark), "{mark}");
    });
}

/// Takes and gives back 70 buffers, again and again, while `change` runs, and once before
/// that.
fn while_70_come_and_go(pool: &Pool, change: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    drop(take_some(pool, 70));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(take_some(pool, 70));
            }
        });
        change();
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn buffers_that_are_new_were_not_out() {
    with_both_kinds(1000, |pool| {
        while_70_come_and_go(pool, || {
            for _ in 0..30 {
                pool.request(SIZE, SIZE, 2000).unwrap();
            }
        });
        let mark = mark(pool);
        assert!((70..=100 + 2 * cached()).contains(&mark), "{mark}");
    });
}

#[test]
fn buffers_that_a_trim_looks_at_are_not_out() {
    with_both_kinds(2000, |pool| {
        pool.request(SIZE, SIZE, 4000).unwrap();
        let grown = &pool.regions()[1];
        let is_grown = |buffer: &Buffer| {
            let from = buffer.as_ptr().addr().wrapping_sub(grown.start().addr());
            from < grown.bytes()
        };
        // Some of the new segment stay out, so that it is looked at and kept.
        let mut held = take_some(pool, 6000);
        held.sort_by_key(|buffer| !is_grown(buffer));
        held.truncate(200);
        assert!(held.iter().all(is_grown));
        pool.reset_marks();
        while_70_come_and_go(pool, || {
            for _ in 0..500 {
                assert_eq!(pool.trim().segments, 0);
            }
        });
        let mark = mark(pool);
        assert!((270..=300 + 2 * cached()).contains(&mark), "{mark}");
    });
}

#[test]
fn a_reset_begins_with_what_is_out() {
    with_both_kinds(1000, |pool| {
        let mut held = take_some(pool, 500);
        assert!((500..=500 + cached()).contains(&mark(pool)));
        held.truncate(100);
        pool.reset_marks();
        assert!(
            (100..=100 + cached()).contains(&mark(pool)),
            "{}",
            mark(pool)
        );
        held.extend(take_some(pool, 700));
        assert!((800..=800 + cached()).contains(&mark(pool)));
        held.extend(take_some(pool, 200));
        run_dry(pool);
        // Nothing is in the caches of a class that runs dry: the mark is exact.
        held.truncate(40);
        pool.reset_marks();
        assert_eq!(mark(pool), 40);
        held.extend(take_some(pool, 3));
        held.truncate(10);
        assert_eq!(mark(pool), 43);
    });
}

#[test]
fn what_is_handed_to_those_who_wait_moves_the_mark() {
    with_both_kinds(1, |pool| {
        let _held = take(pool);
        thread::scope(|scope| {
            let wait = || pool.allocate_timeout(SIZE, SIZE, Duration::MAX);
            let waiters = [(); 3].map(|()| scope.spawn(wait));
            until_waiting(pool, 3);
            pool.request(SIZE, SIZE, 10).unwrap();
            let _served = waiters.map(|waiter| waiter.join().unwrap().unwrap());
            assert_eq!(mark(pool), 4);
        });
    });
}
