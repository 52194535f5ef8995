//! Threads in a pool that runs dry: nobody is passed over for ever, nobody sleeps beside
//! a free buffer, and in strict order nobody overtakes. (`dry_async`: the same for
//! tasks, which do not look again by themselves, so that each wake-up is shown.)

mod support;

use hugepool::{Buffer, Pool};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use support::kind::{Kind, both_kinds};
use support::rival::Rival;
use support::small::{SIZE, builder, take, until_waiting};

both_kinds![
    a_waiter_is_served_though_another_never_stops,
    several_are_served_though_others_never_stop,
    in_a_crowd_each_thread_gets_its_count,
    a_free_that_races_with_a_wait_serves_it,
    a_free_of_a_larger_class_that_races_with_a_wait_serves_it,
    frees_of_two_classes_that_race_with_waits_serve_both,
    buffers_that_come_at_once_serve_as_many_as_sleep,
    in_strict_order_nobody_overtakes,
];

/// For ever.
const FOR_EVER: Duration = Duration::MAX;
/// Buffers that may go past somebody who waits, by far.
const MOST: u64 = 50_000_000;

fn wait(pool: &Pool, size: usize) -> Buffer {
    let waited = pool.allocate_timeout(size, SIZE, FOR_EVER);
    waited.expect("a buffer came back")
}

/// Both ways to serve a line.
fn in_both_orders(kind: Kind, count: usize, test: impl Fn(&Pool)) {
    for strict in [false, true] {
        test(&kind.build(builder(count).strict_order(strict)));
    }
}

/// Takes and gives back until `enough`; fails if others are passed over meanwhile.
fn never_stop(pool: &Pool, enough: impl Fn() -> bool) {
    let mut taken = 0;
    while !enough() {
        taken += u64::from(pool.allocate(SIZE, SIZE).is_ok());
        assert!(taken < MOST, "somebody is passed over");
    }
}

fn a_waiter_is_served_though_another_never_stops(kind: Kind) {
    in_both_orders(kind, 1, |pool| {
        for _ in 0..50 {
            let held = take(pool);
            let served = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    drop(wait(pool, SIZE));
                    served.store(true, Ordering::Relaxed);
                });
                until_waiting(pool, 1);
                drop(held);
                never_stop(pool, || served.load(Ordering::Relaxed));
            });
        }
    });
}

/// Each of them again and again.
fn several_are_served_though_others_never_stop(kind: Kind) {
    const WAITERS: usize = 6;
    const EACH: usize = 20;
    in_both_orders(kind, 2, |pool| {
        let served = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..WAITERS {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        drop(wait(pool, SIZE));
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..2 {
                let enough = || served.load(Ordering::Relaxed) == WAITERS * EACH;
                scope.spawn(move || never_stop(pool, enough));
            }
        });
    });
}

fn in_a_crowd_each_thread_gets_its_count(kind: Kind) {
    const THREADS: usize = 64;
    const BUFFERS: usize = 4;
    const EACH: usize = 200;
    in_both_orders(kind, BUFFERS, |pool| {
        let start = Barrier::new(THREADS);
        let (held, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for number in 0..THREADS {
                let (start, held, served) = (&start, &held, &served);
                scope.spawn(move || {
                    start.wait();
                    for _ in 0..EACH {
                        let mut buffer = wait(pool, SIZE);
                        let others = held.fetch_add(1, Ordering::Relaxed);
                        assert!(others < BUFFERS, "a buffer was doubled");
                        buffer.fill(number as u8);
                        assert!(buffer.iter().all(|&byte| byte == number as u8));
                        held.fetch_sub(1, Ordering::Relaxed);
                        served.fetch_add(1, Ordering::Relaxed);
                        drop(buffer);
                    }
                });
            }
        });
        assert_eq!(served.into_inner(), THREADS * EACH);
        assert_eq!(pool.stats().waiting, 0);
        assert_eq!(pool.available(SIZE, SIZE), BUFFERS);
    });
}

fn a_free_that_races_with_a_wait_serves_it(kind: Kind) {
    in_both_orders(kind, 1, |pool| {
        Rival::with(|rival| {
            for _ in 0..5000 {
                let held = take(pool);
                drop(rival.race(move || drop(held), || wait(pool, SIZE)));
            }
        });
    });
}

/// A buffer of a size, and one of twice that.
fn two_classes(kind: Kind, strict: bool) -> Pool {
    let small = builder(1).strict_order(strict);
    kind.build(small.reserve(2 * SIZE, SIZE, 1))
}

fn a_free_of_a_larger_class_that_races_with_a_wait_serves_it(kind: Kind) {
    for strict in [false, true] {
        let pool = two_classes(kind, strict);
        let _small = take(&pool);
        Rival::with(|rival| {
            for _ in 0..5000 {
                let large = pool.allocate(2 * SIZE, SIZE).unwrap();
                let served = rival.race(move || drop(large), || wait(&pool, SIZE));
                assert_eq!(served.capacity(), 2 * SIZE);
            }
        });
    }
}

fn frees_of_two_classes_that_race_with_waits_serve_both(kind: Kind) {
    for strict in [false, true] {
        let pool = &two_classes(kind, strict);
        Rival::with(|rival| {
            for round in 0..2000 {
                let mut held = vec![take(pool), pool.allocate(2 * SIZE, SIZE).unwrap()];
                if round % 2 == 0 {
                    held.reverse();
                }
                let waits = || {
                    thread::scope(|scope| {
                        // The small one may be served by either buffer, and gives it back.
                        scope.spawn(|| drop(wait(pool, SIZE)));
                        assert_eq!(wait(pool, 2 * SIZE).len(), 2 * SIZE);
                    });
                };
                rival.race(move || drop(held), waits);
            }
        });
        assert_eq!(pool.stats().waiting, 0);
    }
}

/// Nobody gives back before each has one.
fn buffers_that_come_at_once_serve_as_many_as_sleep(kind: Kind) {
    const MANY: usize = 24;
    in_both_orders(kind, MANY, |pool| {
        for givers in [1, 4] {
            for _ in 0..20 {
                let mut held: Vec<Buffer> = (0..MANY).map(|_| take(pool)).collect();
                let (served, start) = (Barrier::new(MANY), Barrier::new(givers));
                thread::scope(|scope| {
                    for _ in 0..MANY {
                        scope.spawn(|| {
                            let buffer = wait(pool, SIZE);
                            served.wait();
                            drop(buffer);
                        });
                    }
                    until_waiting(pool, MANY as u64);
                    for _ in 0..givers {
                        let theirs = held.split_off(held.len() - MANY / givers);
                        let start = &start;
                        scope.spawn(move || {
                            start.wait();
                            drop(theirs);
                        });
                    }
                });
            }
        }
        assert_eq!(pool.available(SIZE, SIZE), MANY);
    });
}

/// Beside others that ask without waiting.
fn in_strict_order_nobody_overtakes(kind: Kind) {
    const WAITERS: u64 = 8;
    let pool = &kind.build(builder(1).strict_order(true));
    for _ in 0..20 {
        let held = take(pool);
        let served = AtomicU64::new(0);
        thread::scope(|scope| {
            for number in 0..WAITERS {
                let served = &served;
                scope.spawn(move || {
                    let buffer = wait(pool, SIZE);
                    let before = served.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(before, number, "it was overtaken");
                    drop(buffer);
                });
                until_waiting(pool, number + 1);
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    while served.load(Ordering::Relaxed) < WAITERS {
                        let Ok(buffer) = pool.allocate(SIZE, SIZE) else {
                            continue;
                        };
                        let before = served.load(Ordering::Relaxed);
                        drop(buffer);
                        assert_eq!(before, WAITERS, "it overtook somebody");
                    }
                });
            }
            drop(held);
        });
    }
}
