//! Several buffers at once for those who wait: all of them or none, in line like everyone.

mod support;

use hugepool::{AllocError, Buffer, Pool};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use support::LONG;
use support::small::{
    SIZE, are_apart, builder, in_strict_order, take, until_waiting, with_both_kinds,
    with_both_kinds_of,
};

const FOR_EVER: Duration = Duration::MAX;
const SHORT: Duration = Duration::from_millis(1);

type Many = Result<Vec<Buffer>, AllocError>;

fn wait(pool: &Pool, count: usize) -> Many {
    pool.allocate_many_timeout(SIZE, SIZE, count, FOR_EVER)
}

/// `count` buffers, all at once.
#[track_caller]
fn take_many(pool: &Pool, count: usize) -> Vec<Buffer> {
    pool.allocate_many(SIZE, SIZE, count)
        .expect("they are free")
}

#[track_caller]
fn timed_out(result: Many) {
    assert!(matches!(result, Err(AllocError::TimedOut { .. })));
}

/// That all are free again, and no more than there are.
#[track_caller]
fn all_are_home(pool: &Pool, count: usize) {
    assert_eq!(pool.stats().waiting, 0);
    assert_eq!(pool.available(SIZE, SIZE), count);
    assert_eq!(take_many(pool, count).len(), count);
    assert!(pool.allocate_many(SIZE, SIZE, count + 1).is_err());
}

#[test]
fn what_is_free_is_taken_at_once_all_or_none() {
    with_both_kinds(4, |pool| {
        let class = pool.class(SIZE, SIZE).unwrap();
        let far = Instant::now() + LONG;
        let token = pool.cancel_token();
        for count in 0..=4 {
            let taken: [&dyn Fn() -> Many; 6] = [
                &|| wait(pool, count),
                &|| pool.allocate_many_deadline(SIZE, SIZE, count, far),
                &|| pool.allocate_many_cancellable(SIZE, SIZE, count, FOR_EVER, &token),
                &|| class.allocate_many_timeout(count, FOR_EVER),
                &|| class.allocate_many_deadline(count, far),
                &|| class.allocate_many_cancellable(count, FOR_EVER, &token),
            ];
            let taken = taken.map(|take| {
                let taken = take().expect("they are free");
                are_apart(&taken);
                taken.len()
            });
            assert_eq!(taken, [count; 6]);
        }
        let held = take_many(pool, 2);
        for limit in [Duration::ZERO, SHORT] {
            timed_out(pool.allocate_many_timeout(SIZE, SIZE, 3, limit));
            timed_out(class.allocate_many_timeout(3, limit));
        }
        timed_out(pool.allocate_many_deadline(SIZE, SIZE, 3, Instant::now()));
        timed_out(class.allocate_many_deadline(3, Instant::now() + SHORT));
        assert_eq!(pool.available(SIZE, SIZE), 2, "half of it was kept");
        drop(held);
        all_are_home(pool, 4);
    });
}

#[test]
fn what_could_never_be_is_refused_at_once() {
    with_both_kinds(4, |pool| {
        let _held = take_many(pool, 4);
        let of = |size, alignment, count| {
            pool.allocate_many_timeout(size, alignment, count, FOR_EVER)
                .unwrap_err()
        };
        for count in [5, usize::MAX] {
            let refused = AllocError::NeverEnough { count, capacity: 4 };
            assert_eq!(of(SIZE, SIZE, count), refused);
            let class = pool.class(SIZE, SIZE).unwrap();
            let refused_by_class = class.allocate_many_timeout(count, FOR_EVER);
            assert_eq!(refused_by_class.unwrap_err(), refused);
        }
        for count in [0, 2] {
            assert_eq!(of(0, SIZE, count), AllocError::ZeroSize);
            let bad = AllocError::BadAlignment { alignment: 3 };
            assert_eq!(of(SIZE, 3, count), bad);
            assert!(matches!(
                of(SIZE + 1, SIZE, count),
                AllocError::NoClass { .. }
            ));
            let other = builder(4).build().unwrap();
            let foreign =
                pool.allocate_many_cancellable(SIZE, SIZE, count, FOR_EVER, &other.cancel_token());
            assert_eq!(foreign.unwrap_err(), AllocError::ForeignToken);
        }
        assert_eq!(pool.counters().waits, 0, "somebody stood in line for it");
        assert_eq!(wait(pool, 0).unwrap().len(), 0);
    });
}

#[test]
fn who_waits_is_served_when_the_last_one_comes_back() {
    with_both_kinds(8, |pool| {
        let mut held = take_many(pool, 8);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(pool, 5).unwrap());
            until_waiting(pool, 1);
            thread::sleep(Duration::from_millis(2));
            for _ in 0..4 {
                drop(held.pop());
                assert_eq!(pool.stats().waiting, 1, "it was served with too few");
            }
            assert_eq!(pool.available(SIZE, SIZE), 0, "they are kept");
            assert!(pool.allocate(SIZE, SIZE).is_err(), "they are spoken for");
            drop(held.pop());
            let mut all = waiter.join().unwrap();
            assert_eq!(all.len(), 5);
            all.append(&mut held);
            are_apart(&all);
        });
        all_are_home(pool, 8);
    });
}

/// Each of two needs more than half: before, each might have sat on what the other needs.
#[test]
fn two_who_need_five_of_eight_are_served_by_turns() {
    const ROUNDS: u64 = 2000;
    with_both_kinds(8, |pool| {
        let rounds = [AtomicU64::new(0), AtomicU64::new(0)];
        thread::scope(|scope| {
            for own in &rounds {
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        let mut buffers = wait(pool, 5).unwrap();
                        assert_eq!(buffers.len(), 5);
                        buffers.iter_mut().for_each(|buffer| buffer[0] = 1);
                        own.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(
            rounds
                .iter()
                .all(|own| own.load(Ordering::Relaxed) == ROUNDS)
        );
        all_are_home(pool, 8);
    });
}

#[test]
fn half_of_all_is_had_every_time_beside_a_crowd_that_takes_single_ones() {
    const TRIES: usize = 100;
    with_both_kinds(64, |pool| {
        let done = AtomicBool::new(false);
        let single = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let mut buffer = pool.allocate_timeout(SIZE, SIZE, FOR_EVER).unwrap();
                        buffer[0] = 1;
                        single.fetch_add(1, Ordering::Relaxed);
                        thread::yield_now();
                    }
                });
            }
            for _ in 0..TRIES {
                let buffers = wait(pool, 32).unwrap();
                are_apart(&buffers);
                let before = single.load(Ordering::Relaxed);
                drop(buffers);
                // The others have their turns as well.
                while single.load(Ordering::Relaxed) == before {
                    thread::yield_now();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        all_are_home(pool, 64);
    });
}

#[test]
fn singles_and_gatherers_of_every_size_are_all_served() {
    const ROUNDS: usize = 300;
    with_both_kinds(8, |pool| {
        thread::scope(|scope| {
            for count in [1, 1, 1, 2, 3, 5, 8] {
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        let buffers = wait(pool, count).unwrap();
                        are_apart(&buffers);
                        thread::yield_now();
                        drop(buffers);
                        drop(pool.allocate_timeout(SIZE, SIZE, FOR_EVER).unwrap());
                    }
                });
            }
        });
        all_are_home(pool, 8);
    });
}

/// Ends a wait for five of eight, of which so many are kept, in each of the ways there are.
#[test]
fn whoever_gives_up_gives_back_what_was_kept() {
    with_both_kinds(8, |pool| {
        for kept in 0..5 {
            for round in 0..3 {
                let mut held = take_many(pool, 8);
                let token = pool.cancel_token();
                let waits = pool.counters().waits;
                thread::scope(|scope| {
                    let waiter = scope.spawn(|| match round {
                        0 => wait_shortly(pool, 5),
                        1 => pool.allocate_many_cancellable(SIZE, SIZE, 5, FOR_EVER, &token),
                        _ => {
                            let deadline = Instant::now() + Duration::from_millis(20);
                            pool.allocate_many_deadline(SIZE, SIZE, 5, deadline)
                        }
                    });
                    // It may have given up before anybody looks.
                    while pool.counters().waits == waits {
                        thread::yield_now();
                    }
                    (0..kept).for_each(|_| drop(held.pop()));
                    token.cancel();
                    let refused = waiter.join().unwrap();
                    match round {
                        1 => assert_eq!(refused.unwrap_err(), AllocError::Cancelled),
                        _ => timed_out(refused),
                    }
                });
                assert_eq!(pool.available(SIZE, SIZE), kept);
                drop(take_many(pool, kept));
                drop(held);
                all_are_home(pool, 8);
            }
        }
    });
}

fn wait_shortly(pool: &Pool, count: usize) -> Many {
    pool.allocate_many_timeout(SIZE, SIZE, count, Duration::from_millis(20))
}

#[test]
fn an_abort_ends_the_wait_and_what_was_kept_is_free() {
    with_both_kinds(4, |pool| {
        let mut held = take_many(pool, 4);
        thread::scope(|scope| {
            let waiters = [(); 2].map(|()| scope.spawn(|| wait(pool, 4)));
            until_waiting(pool, 2);
            (0..2).for_each(|_| drop(held.pop()));
            pool.abort();
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap().unwrap_err(), AllocError::Aborted);
            }
        });
        drop(held);
        assert_eq!(wait(pool, 4).unwrap().len(), 4, "they are free");
        let _held = take(pool);
        assert_eq!(wait(pool, 4).unwrap_err(), AllocError::Aborted);
    });
}

/// What one who gave up had goes to those behind him, whether they wait for one or several.
#[test]
fn what_goes_back_serves_who_waits_behind() {
    for behind in [1, 3] {
        with_both_kinds(4, |pool| {
            let mut held = take_many(pool, 4);
            let token = pool.cancel_token();
            thread::scope(|scope| {
                let first =
                    scope.spawn(|| pool.allocate_many_cancellable(SIZE, SIZE, 4, FOR_EVER, &token));
                until_waiting(pool, 1);
                let second = scope.spawn(|| wait(pool, behind));
                until_waiting(pool, 2);
                (0..3).for_each(|_| drop(held.pop()));
                token.cancel();
                let ended = first.join().unwrap();
                assert_eq!(ended.unwrap_err(), AllocError::Cancelled);
                assert_eq!(second.join().unwrap().unwrap().len(), behind);
            });
            drop(held);
            all_are_home(pool, 4);
        });
    }
}

#[test]
fn in_strict_order_who_came_first_is_served_first_however_many_he_wants() {
    in_strict_order(4, |pool| {
        let mut held = take_many(pool, 4);
        let (order, served) = mpsc::channel();
        thread::scope(|scope| {
            for (at, count) in [3, 1, 2, 1].into_iter().enumerate() {
                let order = order.clone();
                scope.spawn(move || {
                    let buffers = wait(pool, count).unwrap();
                    order.send((at, buffers)).unwrap();
                });
                until_waiting(pool, at as u64 + 1);
            }
            for (next, count) in [3, 1, 2, 1].into_iter().enumerate() {
                for _ in 0..count {
                    let buffer = held.pop().unwrap();
                    assert!(served.try_recv().is_err(), "somebody overtook");
                    drop(buffer);
                }
                let (at, mut buffers) = served.recv().unwrap();
                assert_eq!((at, buffers.len()), (next, count));
                held.append(&mut buffers);
            }
        });
        drop(held);
        all_are_home(pool, 4);
    });
}

#[test]
fn larger_classes_make_up_for_what_the_own_one_lacks() {
    let both = builder(3).reserve(2 * SIZE, SIZE, 3);
    with_both_kinds_of(&both, |pool| {
        let mut small = take_many(pool, 3);
        let mut large: Vec<Buffer> = (0..3)
            .map(|_| pool.allocate(2 * SIZE, SIZE).unwrap())
            .collect();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(pool, 4).unwrap());
            until_waiting(pool, 1);
            for turn in 0..4 {
                assert!(!waiter.is_finished());
                let held = if turn % 2 == 0 {
                    &mut small
                } else {
                    &mut large
                };
                drop(held.pop());
            }
            let buffers = waiter.join().unwrap();
            are_apart(&buffers);
            let mut capacities: Vec<_> = buffers.iter().map(Buffer::capacity).collect();
            capacities.sort_unstable();
            assert_eq!(capacities, [SIZE, SIZE, 2 * SIZE, 2 * SIZE]);
            assert!(buffers.iter().all(|buffer| buffer.len() == SIZE));
        });
        drop((small, large));
        assert_eq!(pool.available(SIZE, SIZE), 6);
    });
}

/// One collects of the small class, another waits for several of the large one, which lie
/// free: his turn comes when the first is done, or has given up.
#[test]
fn who_was_passed_over_is_served_when_the_collection_ends() {
    for served in [false, true] {
        let both = builder(2).reserve(16 * SIZE, SIZE, 2);
        with_both_kinds_of(&both, |pool| {
            let mut small = take_many(pool, 2);
            let large = [(); 2].map(|()| pool.allocate(16 * SIZE, SIZE).unwrap());
            let token = pool.cancel_token();
            thread::scope(|scope| {
                let first =
                    scope.spawn(|| pool.allocate_many_cancellable(SIZE, SIZE, 2, FOR_EVER, &token));
                until_waiting(pool, 1);
                // He collects.
                drop(small.pop());
                let second = scope.spawn(|| {
                    pool.allocate_many_timeout(16 * SIZE, SIZE, 2, FOR_EVER)
                        .unwrap()
                });
                until_waiting(pool, 2);
                drop(large);
                match served {
                    true => drop(small.pop()),
                    false => token.cancel(),
                }
                assert_eq!(first.join().unwrap().is_ok(), served);
                assert_eq!(second.join().unwrap().len(), 2);
            });
        });
    }
}

#[test]
fn growth_serves_who_waits_for_several() {
    with_both_kinds(4, |pool| {
        let held = take_many(pool, 2);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(pool, 4).unwrap());
            until_waiting(pool, 1);
            // Of another class.
            pool.request(2 * SIZE, SIZE, 1).unwrap();
            assert_eq!(pool.stats().waiting, 1);
            pool.request(SIZE, SIZE, 1).unwrap();
            assert_eq!(waiter.join().unwrap().len(), 4);
        });
        drop(held);
        assert_eq!(pool.available(SIZE, SIZE), 6);
    });
}

#[test]
fn a_trim_takes_nothing_of_what_is_kept_and_what_it_takes_is_missed_at_once() {
    with_both_kinds(2, |pool| {
        pool.request(SIZE, SIZE, 2).unwrap();
        let mut held = take_many(pool, 4);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(pool, 4));
            until_waiting(pool, 1);
            (0..3).for_each(|_| drop(held.pop()));
            assert_eq!(pool.trim().segments, 0);
            drop(held);
            assert_eq!(waiter.join().unwrap().unwrap().len(), 4);
        });
        assert_eq!(pool.trim().segments, 1);
        let capacity = 2;
        let refused = AllocError::NeverEnough { count: 3, capacity };
        assert_eq!(wait(pool, 3).unwrap_err(), refused);
    });
}

#[test]
fn waits_for_several_are_counted_like_others() {
    with_both_kinds(2, |pool| {
        let held = take(pool);
        timed_out(pool.allocate_many_timeout(SIZE, SIZE, 2, SHORT));
        let token = pool.cancel_token();
        thread::scope(|scope| {
            let served = scope.spawn(|| wait(pool, 2).unwrap());
            until_waiting(pool, 1);
            let cancelled =
                scope.spawn(|| pool.allocate_many_cancellable(SIZE, SIZE, 2, FOR_EVER, &token));
            until_waiting(pool, 2);
            token.cancel();
            assert!(cancelled.join().unwrap().is_err());
            drop(held);
            drop(served.join().unwrap());
        });
        let counters = pool.counters();
        assert_eq!((counters.waits, counters.timed_out), (3, 1));
        assert_eq!((counters.served, counters.cancelled), (1, 1));
        let refusals = &counters.refusals;
        assert_eq!((refusals.timed_out, refusals.total()), (1, 2));
    });
}
