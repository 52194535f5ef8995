//! Waits that a token ends: those that have it, whenever that comes, and no others.

mod support;

use hugepool::{AllocError, Buffer, CancelToken, Pool};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use support::calls::Watch;
use support::process::alone;
use support::small::{SIZE, builder, take, until_waiting, with_both_kinds};
use support::{Random, cpus, heap, living_pools, on_cpu};

const ALIGNMENT: usize = SIZE;
const FOR_EVER: Duration = Duration::MAX;

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

fn wait(pool: &Pool, token: &CancelToken) -> Result<Buffer, AllocError> {
    pool.allocate_cancellable(SIZE, ALIGNMENT, FOR_EVER, token)
}

#[track_caller]
fn is_cancelled(result: Result<Buffer, AllocError>) {
    assert_eq!(result.unwrap_err(), AllocError::Cancelled);
}

#[test]
fn a_token_ends_its_wait_and_the_others_go_on() {
    with_both_kinds(1, |pool| {
        let buffer = take(pool);
        let (token, other) = (pool.cancel_token(), pool.cancel_token());
        thread::scope(|scope| {
            let plain = scope.spawn(|| pool.allocate_timeout(SIZE, ALIGNMENT, FOR_EVER).map(drop));
            let second = scope.spawn(|| wait(pool, &other).map(drop));
            until_waiting(pool, 2);
            let first = scope.spawn(|| wait(pool, &token));
            until_waiting(pool, 3);
            token.cancel();
            is_cancelled(first.join().unwrap());
            assert_eq!(pool.stats().waiting, 2);
            assert!(!other.is_cancelled() && !pool.is_aborted());
            drop(buffer);
            plain.join().unwrap().expect("a buffer came back");
            second.join().unwrap().expect("a buffer came back");
        });
        assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
    });
}

#[test]
fn whoever_sleeps_is_woken() {
    with_both_kinds(1, |pool| {
        let _held = take(pool);
        for _ in 0..20 {
            let token = pool.cancel_token();
            thread::scope(|scope| {
                let waiter = scope.spawn(|| wait(pool, &token));
                until_waiting(pool, 1);
                thread::sleep(Duration::from_millis(3));
                token.cancel();
                is_cancelled(waiter.join().unwrap());
            });
        }
        assert_eq!(pool.stats().waiting, 0);
    });
}

#[test]
fn a_token_that_was_cancelled_before_takes_what_is_free_and_waits_for_nothing() {
    with_both_kinds(2, |pool| {
        let token = pool.cancel_token();
        token.cancel();
        let first = wait(pool, &token).expect("a buffer is free");
        // In the cache of any processor.
        for cpu in cpus() {
            on_cpu(cpu, || drop(take(pool)));
            let second = wait(pool, &token).expect("a buffer is free");
            is_cancelled(wait(pool, &token));
            drop(second);
        }
        drop(first);
        assert_eq!(pool.available(SIZE, ALIGNMENT), 2);
        assert_eq!(pool.stats().waiting, 0);
    });
}

#[test]
fn one_token_ends_every_wait_that_has_it_and_stays_cancelled() {
    const WAITERS: u64 = 6;
    with_both_kinds(1, |pool| {
        let held = take(pool);
        let token = pool.cancel_token();
        let class = pool.class(SIZE, ALIGNMENT).unwrap();
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..WAITERS)
                .map(|number| {
                    let (token, class) = (token.clone(), &class);
                    scope.spawn(move || match number % 2 {
                        0 => wait(pool, &token),
                        _ => class.allocate_cancellable(FOR_EVER, &token),
                    })
                })
                .collect();
            until_waiting(pool, WAITERS);
            token.cancel();
            for waiter in waiters {
                is_cancelled(waiter.join().unwrap());
            }
        });
        token.cancel();
        is_cancelled(wait(pool, &token));
        is_cancelled(class.allocate_cancellable(FOR_EVER, &token.clone()));
        // Another one is not.
        let limit = Duration::from_millis(1);
        let refused = class.allocate_cancellable(limit, &pool.cancel_token());
        assert!(matches!(refused, Err(AllocError::TimedOut { .. })));
        drop(held);
        assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
    });
}

/// One thread waits, one cancels and one gives a buffer back, all at once.
#[test]
fn a_wait_that_is_cancelled_while_a_buffer_comes_loses_nothing() {
    const ROUNDS: usize = 2000;
    with_both_kinds(1, |pool| {
        let (start, served) = (Barrier::new(3), AtomicU64::new(0));
        let (tokens, to_cancel) = std::sync::mpsc::channel::<CancelToken>();
        let (buffers, to_drop) = std::sync::mpsc::channel::<Buffer>();
        thread::scope(|scope| {
            let start = &start;
            scope.spawn(move || {
                for token in to_cancel {
                    start.wait();
                    token.cancel();
                    start.wait();
                }
            });
            scope.spawn(move || {
                let mut random = Random::new(1);
                for buffer in to_drop {
                    start.wait();
                    (0..random.below(4)).for_each(|_| thread::yield_now());
                    drop(buffer);
                    start.wait();
                }
            });
            for _ in 0..ROUNDS {
                let token = pool.cancel_token();
                tokens.send(token.clone()).unwrap();
                buffers.send(take(pool)).unwrap();
                start.wait();
                match wait(pool, &token) {
                    Ok(buffer) => {
                        served.fetch_add(1, Ordering::Relaxed);
                        drop(buffer);
                    }
                    Err(error) => assert_eq!(error, AllocError::Cancelled),
                }
                start.wait();
                assert_eq!(pool.available(SIZE, ALIGNMENT), 1, "a buffer was lost");
                assert_eq!(pool.stats().waiting, 0);
            }
            drop((tokens, buffers));
        });
        println!("{} of {ROUNDS} were served", served.into_inner());
    });
}

/// Whoever is called and then cancelled does not keep the others asleep.
#[test]
fn whoever_waits_beside_a_wait_that_is_cancelled_is_served() {
    const ROUNDS: usize = 500;
    with_both_kinds(1, |pool| {
        for _ in 0..ROUNDS {
            let buffer = take(pool);
            let token = pool.cancel_token();
            thread::scope(|scope| {
                let cancelled = scope.spawn(|| wait(pool, &token).map(drop));
                let other =
                    scope.spawn(|| pool.allocate_timeout(SIZE, ALIGNMENT, FOR_EVER).map(drop));
                until_waiting(pool, 2);
                let canceller = scope.spawn(|| token.cancel());
                drop(buffer);
                canceller.join().unwrap();
                other.join().unwrap().expect("a buffer came back");
                if let Err(error) = cancelled.join().unwrap() {
                    assert_eq!(error, AllocError::Cancelled);
                }
            });
            assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
        }
    });
}

#[test]
fn a_token_of_another_pool_is_refused_and_takes_nothing() {
    with_both_kinds(1, |pool| {
        let other = builder(1).build().unwrap();
        let token = other.cancel_token();
        let class = pool.class(SIZE, ALIGNMENT).unwrap();
        for cancelled in [false, true] {
            for _held in [None, Some(take(pool))] {
                let results = [
                    wait(pool, &token),
                    class.allocate_cancellable(FOR_EVER, &token),
                ];
                for result in results {
                    let error = result.unwrap_err();
                    assert_eq!(error, AllocError::ForeignToken);
                    assert!(error.to_string().contains("another pool"), "{error}");
                    assert!(!error.is_exhausted());
                }
            }
            assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
            if !cancelled {
                token.cancel();
            }
        }
        // Every handle of the pool is its own.
        let own = class.pool().cancel_token();
        assert!(wait(&pool.clone(), &own).is_ok());
    });
}

#[test]
fn what_ended_a_wait_is_said_in_a_fixed_order() {
    with_both_kinds(1, |pool| {
        let token = pool.cancel_token();
        let held = take(pool);
        let refuse = |size, limit| {
            let refused = pool.allocate_cancellable(size, ALIGNMENT, limit, &token);
            refused.map(drop).unwrap_err()
        };
        let timed_out = refuse(SIZE, Duration::ZERO);
        assert!(matches!(timed_out, AllocError::TimedOut { .. }));
        token.cancel();
        for limit in [Duration::ZERO, Duration::from_nanos(1), FOR_EVER] {
            assert_eq!(refuse(SIZE, limit), AllocError::Cancelled);
            // What waiting cannot cure.
            let never = refuse(SIZE + 1, limit);
            assert!(matches!(never, AllocError::NoClass { .. }));
            assert_eq!(refuse(0, limit), AllocError::ZeroSize);
        }
        assert!(AllocError::Cancelled.to_string().contains("cancelled"));
        assert!(!AllocError::Cancelled.is_exhausted());
        pool.abort();
        assert_eq!(refuse(SIZE, FOR_EVER), AllocError::Aborted);
        drop(held);
        assert!(wait(pool, &token).is_ok());
    });
}

#[test]
fn a_pool_says_whether_it_was_aborted() {
    with_both_kinds(1, |pool| {
        let other = pool.clone();
        assert!(!pool.is_aborted());
        pool.cancel_token().cancel();
        assert!(!pool.is_aborted());
        other.abort();
        assert!(pool.is_aborted() && other.is_aborted());
    });
}

#[test]
fn cancelling_allocates_nothing() {
    with_both_kinds(1, |pool| {
        let _held = take(pool);
        let token = pool.cancel_token();
        thread::scope(|scope| {
            let waiters = [(); 3].map(|()| scope.spawn(|| wait(pool, &token)));
            until_waiting(pool, 3);
            let before = heap::calls();
            token.cancel();
            let _ = token.is_cancelled();
            assert_eq!(heap::calls(), before);
            for waiter in waiters {
                is_cancelled(waiter.join().unwrap());
            }
        });
    });
}

/// A waiter that nobody wakes finds out in the end, so this looks who is woken.
#[test]
fn cancelling_wakes_those_who_have_the_token_and_nobody_else() {
    with_both_kinds(1, |pool| {
        let _held = take(pool);
        let other = pool.cancel_token();
        let calls = |token: &CancelToken| {
            Watch::over("who is woken", None, |watch| {
                watch.catch();
                token.cancel();
                watch.end();
            })
        };
        for _ in 0..100 {
            let token = pool.cancel_token();
            let (first, second) = thread::scope(|scope| {
                let waiter = scope.spawn(|| wait(pool, &token));
                until_waiting(pool, 1);
                thread::sleep(Duration::from_millis(1));
                let both = (calls(&other), calls(&token));
                is_cancelled(waiter.join().unwrap());
                both
            });
            let (Some((none, _)), Some((one, number))) = (first, second) else {
                return;
            };
            assert_eq!(none, 0, "somebody else was woken");
            // It may have had a place and no mark yet.
            if one == 1 {
                assert_eq!(number, libc::SYS_futex);
                return;
            }
        }
        panic!("nobody was woken");
    });
}

#[test]
fn a_token_is_a_handle_of_its_pool() {
    alone("a_token_is_a_handle_of_its_pool", &[], || {
        for portable in [false, true] {
            let pool = Pool::builder()
                .reserve(SIZE, ALIGNMENT, 1)
                .prefault(false)
                .portable_caches(portable)
                .build()
                .unwrap();
            let token = pool.cancel_token();
            let clone = token.clone();
            drop((pool, token));
            assert_eq!(living_pools(), 1);
            clone.cancel();
            assert!(clone.is_cancelled());
            assert!(format!("{clone:?}").contains("is_cancelled: true"));
            drop(clone);
            assert_eq!(living_pools(), 0);
        }
    });
}

/// Many threads, few buffers, and tokens that end waits whenever it may be.
#[test]
fn nothing_is_lost_however_tokens_end_waits() {
    const THREADS: u64 = 6;
    const BUFFERS: usize = 2;
    const EACH: usize = 500;
    with_both_kinds(BUFFERS, |pool| {
        let holders = AtomicU64::new(0);
        let (sender, receiver) = std::sync::mpsc::channel::<CancelToken>();
        thread::scope(|scope| {
            scope.spawn(move || receiver.into_iter().for_each(|token| token.cancel()));
            for number in 0..THREADS {
                let (holders, sender) = (&holders, sender.clone());
                scope.spawn(move || {
                    let mut random = Random::new(number);
                    for _ in 0..EACH {
                        let token = pool.cancel_token();
                        let cancels = random.below(2) == 0;
                        if cancels {
                            sender.send(token.clone()).unwrap();
                        }
                        match wait(pool, &token) {
                            Ok(buffer) => {
                                let others = holders.fetch_add(1, Ordering::Relaxed);
                                assert!(others < BUFFERS as u64, "a buffer was doubled");
                                if random.below(2) == 0 {
                                    thread::yield_now();
                                }
                                holders.fetch_sub(1, Ordering::Relaxed);
                                drop(buffer);
                            }
                            Err(error) => {
                                assert_eq!(error, AllocError::Cancelled);
                                assert!(cancels, "somebody else's token ended it");
                            }
                        }
                    }
                });
            }
            drop(sender);
        });
        assert_eq!(pool.stats().waiting, 0);
        assert_eq!(pool.available(SIZE, ALIGNMENT), BUFFERS);
        let all: Vec<Buffer> = (0..BUFFERS).map(|_| take(pool)).collect();
        assert!(pool.allocate(SIZE, ALIGNMENT).is_err());
        drop(all);
    });
}
