//! Waiting for a buffer: who gets one, when, and what ends a wait.

mod support;

use hugepool::{AllocError, Buffer, Pool};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::small::{
    SIZE, builder, in_strict_order, take, until_cached, until_waiting, with_both_kinds,
    with_both_kinds_of,
};
use support::{LONG, Random, cpus, on_cpu, pin};

const ALIGNMENT: usize = SIZE;
fn wait(pool: &Pool) -> Result<Buffer, AllocError> {
    pool.allocate_timeout(SIZE, ALIGNMENT, LONG)
}

#[test]
fn a_buffer_that_comes_back_on_any_cpu_serves_who_waits() {
    with_both_kinds(1, |pool| {
        for waits_on in cpus() {
            for frees_on in cpus() {
                let buffer = take(pool);
                thread::scope(|scope| {
                    let waiter = scope.spawn(|| {
                        pin(waits_on);
                        wait(pool)
                    });
                    until_waiting(pool, 1);
                    on_cpu(frees_on, || drop(buffer));
                    drop(waiter.join().unwrap().expect("a buffer came back"));
                });
            }
        }
        assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
    });
}

#[test]
fn in_strict_order_first_come_is_first_served() {
    in_strict_order(1, |pool| {
        let buffer = take(pool);
        let order = AtomicU64::new(0);
        thread::scope(|scope| {
            for number in 0..6 {
                let order = &order;
                scope.spawn(move || {
                    let buffer = wait(pool).expect("a buffer came back");
                    let before = order.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(before, number, "somebody was overtaken");
                    drop(buffer);
                });
                until_waiting(pool, number + 1);
            }
            drop(buffer);
        });
    });
}

#[test]
fn in_strict_order_a_request_that_does_not_wait_overtakes_nobody() {
    in_strict_order(1, |pool| {
        let buffer = take(pool);
        let held = AtomicBool::new(true);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let buffer = wait(pool).expect("a buffer came back");
                while held.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                buffer
            });
            until_waiting(pool, 1);
            drop(buffer);
            // It is the waiter's from that instant, whether or not that runs; or, if the
            // waiter has not looked yet, the request hands it on.
            let refused = pool.allocate(SIZE, ALIGNMENT);
            held.store(false, Ordering::Relaxed);
            assert!(refused.unwrap_err().is_exhausted());
            drop(waiter.join().unwrap());
        });
    });
}

#[test]
fn a_wait_that_is_over_takes_nothing_with_it() {
    with_both_kinds(2, |pool| {
        let held = [take(pool), take(pool)];
        for _ in 0..20 {
            let limit = Duration::from_millis(1);
            let since = Instant::now();
            let refused = pool.allocate_timeout(SIZE, ALIGNMENT, limit);
            assert_eq!(
                refused.unwrap_err(),
                AllocError::TimedOut {
                    size: SIZE,
                    alignment: ALIGNMENT,
                    limit
                }
            );
            assert!(since.elapsed() >= limit, "it did not wait");
        }
        assert_eq!(pool.stats().waiting, 0);
        drop(held);
        assert_eq!(pool.available(SIZE, ALIGNMENT), 2);
        until_cached(pool, SIZE);
    });
}

#[test]
fn a_deadline_in_the_past_takes_what_is_free_and_waits_for_nothing() {
    with_both_kinds(1, |pool| {
        let past = Instant::now() - Duration::from_secs(1);
        let buffer = pool.allocate_deadline(SIZE, ALIGNMENT, past).unwrap();
        let refused = pool.allocate_deadline(SIZE, ALIGNMENT, past);
        let limit = Duration::ZERO;
        let (size, alignment) = (SIZE, ALIGNMENT);
        let expected = AllocError::TimedOut {
            size,
            alignment,
            limit,
        };
        assert_eq!(refused.unwrap_err(), expected);
        let refused = pool.allocate_timeout(SIZE, ALIGNMENT, Duration::ZERO);
        assert_eq!(refused.unwrap_err(), expected);
        drop(buffer);
        assert!(
            pool.allocate_timeout(SIZE, ALIGNMENT, Duration::ZERO)
                .is_ok()
        );
    });
}

#[test]
fn what_no_class_could_ever_serve_is_not_waited_for() {
    with_both_kinds(1, |pool| {
        let _held = take(pool);
        for (size, alignment) in [(SIZE + 1, ALIGNMENT), (SIZE, 2 * ALIGNMENT)] {
            let refused = pool.allocate_timeout(size, alignment, Duration::MAX);
            assert!(matches!(refused, Err(AllocError::NoClass { .. })));
        }
        let refused = pool.allocate_timeout(0, ALIGNMENT, Duration::MAX);
        assert_eq!(refused.unwrap_err(), AllocError::ZeroSize);
        let refused = pool.allocate_timeout(SIZE, 3, Duration::MAX);
        assert_eq!(
            refused.unwrap_err(),
            AllocError::BadAlignment { alignment: 3 }
        );
    });
}

#[test]
fn abort_ends_every_wait_and_every_later_one() {
    with_both_kinds(1, |pool| {
        let buffer = take(pool);
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| wait(pool))).collect();
            until_waiting(pool, 4);
            pool.abort();
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap().unwrap_err(), AllocError::Aborted);
            }
        });
        assert_eq!(wait(pool).unwrap_err(), AllocError::Aborted);
        drop(buffer);
        // Who need not wait is served.
        assert!(wait(pool).is_ok());
        assert_eq!(pool.stats().waiting, 0);
    });
}

#[test]
fn a_larger_class_serves_who_waits_within_the_climb() {
    for strict in [false, true] {
        let sizes = builder(1)
            .strict_order(strict)
            .reserve(4 * SIZE, ALIGNMENT, 1);
        with_both_kinds_of(&sizes.reserve(8 * SIZE, ALIGNMENT, 1), |pool| {
            let _small = take(pool);
            let medium = pool.allocate(4 * SIZE, ALIGNMENT).unwrap();
            let large = pool.allocate(8 * SIZE, ALIGNMENT).unwrap();
            thread::scope(|scope| {
                let waiter = scope.spawn(|| wait(pool));
                until_waiting(pool, 1);
                // Eight times as large is beyond the climb.
                drop(large);
                assert_eq!(pool.available(8 * SIZE, ALIGNMENT), 1);
                drop(medium);
                let served = waiter.join().unwrap().unwrap();
                assert_eq!((served.len(), served.capacity()), (SIZE, 4 * SIZE));
            });
        });
    }
}

#[test]
fn a_buffer_goes_past_those_whom_it_cannot_serve() {
    for strict in [false, true] {
        let sizes = builder(1).strict_order(strict);
        with_both_kinds_of(&sizes.reserve(64 * SIZE, ALIGNMENT, 1), |pool| {
            let small = take(pool);
            let large = pool.allocate(64 * SIZE, ALIGNMENT).unwrap();
            thread::scope(|scope| {
                let wants_large =
                    scope.spawn(|| pool.allocate_timeout(64 * SIZE, ALIGNMENT, LONG).map(drop));
                until_waiting(pool, 1);
                let wants_small = scope.spawn(|| wait(pool).map(drop));
                until_waiting(pool, 2);
                drop(small);
                wants_small.join().unwrap().expect("the small one was free");
                assert_eq!(pool.stats().waiting, 1);
                drop(large);
                wants_large.join().unwrap().expect("the large one was free");
            });
        });
    }
}

#[test]
fn growth_serves_who_waits() {
    // Of the class that is waited for, and of one that is new.
    for size in [SIZE, 2 * SIZE] {
        with_both_kinds(1, |pool| {
            let _held = take(pool);
            thread::scope(|scope| {
                let waiter = scope.spawn(|| wait(pool));
                until_waiting(pool, 1);
                pool.request(size, ALIGNMENT, 1).unwrap();
                let served = waiter.join().unwrap().expect("the pool has grown");
                assert_eq!(served.capacity(), size);
            });
        });
    }
}

#[test]
fn what_a_gatherer_gives_up_serves_who_waits() {
    with_both_kinds(3, |pool| {
        let held = [take(pool), take(pool)];
        let third = take(pool);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(pool).map(drop));
            until_waiting(pool, 1);
            let gatherer = scope.spawn(|| pool.allocate_many(SIZE, ALIGNMENT, 2).map(drop));
            drop(third);
            // In vain, or with what the waiter gave back.
            let _ = gatherer.join().unwrap();
            waiter.join().unwrap().expect("a buffer came back");
        });
        drop(held);
        assert_eq!(pool.available(SIZE, ALIGNMENT), 3);
    });
}

#[test]
fn raw_pointers_serve_who_waits() {
    with_both_kinds(1, |pool| {
        let start = pool.allocate_raw(SIZE, ALIGNMENT).unwrap();
        let address = start.as_ptr().addr();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(pool));
            until_waiting(pool, 1);
            // SAFETY: taken above with this size, freed once.
            unsafe { pool.free_raw(start.as_ptr(), SIZE) }.unwrap();
            let served = waiter.join().unwrap().expect("a buffer came back");
            assert_eq!(served.as_ptr().addr(), address);
        });
    });
}

/// Many threads, few buffers, short and long waits, frees on other threads.
#[test]
fn nobody_starves_and_nothing_is_lost_however_waits_end() {
    const THREADS: usize = 12;
    const BUFFERS: usize = 3;
    const EACH: usize = 400;
    with_both_kinds(BUFFERS, |pool| {
        let start = Barrier::new(THREADS);
        let (served, expired) = (AtomicU64::new(0), AtomicU64::new(0));
        let holders = AtomicU64::new(0);
        thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel::<Buffer>();
            scope.spawn(move || receiver.into_iter().for_each(drop));
            for number in 0..THREADS {
                let sender = sender.clone();
                let (start, served, expired, holders) = (&start, &served, &expired, &holders);
                scope.spawn(move || {
                    let mut random = Random::new(number as u64);
                    start.wait();
                    let mut got = 0;
                    while got < EACH {
                        let limit = match random.below(3) {
                            0 => Duration::from_micros(random.below(200) as u64),
                            _ => LONG,
                        };
                        match pool.allocate_timeout(SIZE, ALIGNMENT, limit) {
                            Ok(mut buffer) => {
                                let others = holders.fetch_add(1, Ordering::Relaxed);
                                assert!(others < BUFFERS as u64, "a buffer was doubled");
                                buffer.fill(number as u8);
                                if random.below(2) == 0 {
                                    thread::yield_now();
                                }
                                assert!(buffer.iter().all(|&byte| byte == number as u8));
                                holders.fetch_sub(1, Ordering::Relaxed);
                                got += 1;
                                served.fetch_add(1, Ordering::Relaxed);
                                if random.below(4) == 0 {
                                    sender.send(buffer).unwrap();
                                }
                            }
                            Err(AllocError::TimedOut { .. }) if limit < LONG => {
                                expired.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(other) => panic!("{other}"),
                        }
                    }
                });
            }
        });
        assert_eq!(served.into_inner(), (THREADS * EACH) as u64);
        println!("{} waits expired", expired.into_inner());
        assert_eq!(pool.stats().waiting, 0);
        let all: Vec<Buffer> = (0..BUFFERS).map(|_| take(pool)).collect();
        assert!(pool.allocate(SIZE, ALIGNMENT).is_err());
        drop(all);
    });
}

/// One buffer goes round among threads that all wait for it: a wake-up that is
/// lost stops everything.
#[test]
fn no_wake_up_is_lost() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 3000;
    with_both_kinds(1, |pool| {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        drop(wait(pool).expect("a buffer came back"));
                    }
                });
            }
        });
    });
}
