//! Several buffers at once, as a future: the same place in the same line, polled.
#![cfg(feature = "async")]

mod support;

use hugepool::{AllocError, AllocateMany, Buffer, Pool};
use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use support::small::{SIZE, builder, take, until_waiting, with_both_kinds, with_both_kinds_of};
use support::task::Task;

const FOR_EVER: Duration = Duration::MAX;

/// A future for several, which has its place in the line.
#[track_caller]
fn several(pool: &Pool, count: usize) -> Task<AllocateMany> {
    several_of(pool, SIZE, count)
}

/// As above, for buffers of `size` bytes.
#[track_caller]
fn several_of(pool: &Pool, size: usize, count: usize) -> Task<AllocateMany> {
    Task::begun(pool.allocate_many_async(size, SIZE, count))
}

fn take_many(pool: &Pool, count: usize) -> Vec<Buffer> {
    pool.allocate_many(SIZE, SIZE, count)
        .expect("they are free")
}

#[test]
fn a_task_is_woken_once_when_it_has_all() {
    with_both_kinds(4, |pool| {
        let mut held = take_many(pool, 4);
        let mut task = several(pool, 3);
        for _ in 0..2 {
            drop(held.pop());
            assert_eq!(task.wakes.count(), 0, "it was woken for too few");
            assert!(task.poll().is_pending());
        }
        drop(held.pop());
        assert_eq!(task.wakes.count(), 1);
        assert_eq!(task.result().unwrap().len(), 3);
        drop(held);
        assert_eq!(pool.available(SIZE, SIZE), 4);
    });
}

#[test]
fn what_is_free_or_could_never_be_is_told_at_the_first_poll() {
    with_both_kinds(4, |pool| {
        let class = pool.class(SIZE, SIZE).unwrap();
        for count in [0, 1, 4] {
            let mut first = Box::pin(class.allocate_many_async(count));
            let polled = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(Ok(all)) if all.len() == count));
        }
        let mut never = Task::of(pool.allocate_many_async(SIZE, SIZE, 5));
        let refused = AllocError::NeverEnough {
            count: 5,
            capacity: 4,
        };
        assert_eq!(never.result().unwrap_err(), refused);
        assert_eq!(pool.stats().waiting, 0);
    });
}

/// At every moment: before its turn, with some of what it needs, with all.
#[test]
fn a_future_that_is_dropped_puts_everything_back_and_those_behind_are_served() {
    for given in 0..=3 {
        with_both_kinds(3, |pool| {
            let mut held = take_many(pool, 3);
            let first = several(pool, 3);
            let mut single = Task::waiting(pool);
            let mut second = several(pool, 2);
            (0..given).for_each(|_| drop(held.pop()));
            drop(first);
            drop(held);
            // Both have their turns, one after the other.
            let one = single.result().unwrap();
            assert_eq!(second.result().unwrap().len(), 2);
            drop(one);
            assert_eq!(pool.available(SIZE, SIZE), 3);
            assert_eq!(pool.stats().waiting, 0);
        });
    }
}

#[test]
fn a_task_that_is_never_polled_again_keeps_no_others_from_collecting() {
    with_both_kinds(4, |pool| {
        let held = take_many(pool, 4);
        let forgotten = several(pool, 2);
        let mut other = several(pool, 2);
        drop(held);
        assert_eq!(other.result().unwrap().len(), 2);
        assert_eq!(forgotten.wakes.count(), 1);
        assert_eq!(pool.available(SIZE, SIZE), 2);
        drop(forgotten);
        assert_eq!(pool.available(SIZE, SIZE), 4);
    });
}

#[test]
fn a_task_and_a_thread_wait_in_one_line() {
    with_both_kinds(2, |pool| {
        for _ in 0..50 {
            let held = take_many(pool, 2);
            let mut task = several(pool, 2);
            thread::scope(|scope| {
                let waiter = scope.spawn(|| {
                    let both = pool.allocate_many_timeout(SIZE, SIZE, 2, FOR_EVER);
                    both.unwrap().len()
                });
                until_waiting(pool, 2);
                drop(held);
                // One of them has both; the other has them when they come back.
                while !waiter.is_finished() {
                    if let Poll::Ready(both) = task.poll() {
                        assert_eq!(both.unwrap().len(), 2);
                        assert_eq!(waiter.join().unwrap(), 2);
                        return;
                    }
                    thread::yield_now();
                }
                assert_eq!(waiter.join().unwrap(), 2);
                assert_eq!(task.result().unwrap().len(), 2);
            });
            assert_eq!(pool.available(SIZE, SIZE), 2);
        }
    });
}

#[test]
fn an_abort_ends_the_wait() {
    with_both_kinds(2, |pool| {
        let _held = take(pool);
        let mut task = several(pool, 2);
        pool.abort();
        assert_eq!(task.wakes.count(), 1);
        assert_eq!(task.result().unwrap_err(), AllocError::Aborted);
        assert_eq!(pool.available(SIZE, SIZE), 1);
    });
}

/// Larger buffers are lent to who waits for small ones, together with these.
#[test]
fn growth_by_a_larger_class_serves_a_task_that_waits() {
    with_both_kinds_of(&builder(2), |pool| {
        let held = take_many(pool, 2);
        let mut task = several(pool, 2);
        pool.request(2 * SIZE, SIZE, 1).unwrap();
        assert!(task.poll().is_pending());
        pool.request(2 * SIZE, SIZE, 1).unwrap();
        assert_eq!(task.wakes.count(), 1);
        let both = task.result().unwrap();
        assert!(both.iter().all(|buffer| buffer.capacity() == 2 * SIZE));
        drop(held);
    });
}

/// One collects of the small class, another waits for several of the large one, which lie free,
/// and does not look before the collection has ended.
#[test]
fn who_was_passed_over_has_his_buffers_when_the_collection_has_ended() {
    for served in [false, true] {
        with_both_kinds_of(&builder(2).reserve(16 * SIZE, SIZE, 2), |pool| {
            let mut small = take_many(pool, 2);
            let large = pool.allocate_many(16 * SIZE, SIZE, 2).unwrap();
            let first = several(pool, 2);
            // It collects.
            drop(small.pop());
            let mut second = several_of(pool, 16 * SIZE, 2);
            drop(large);
            if served {
                drop(small.pop());
            }
            drop(first);
            assert!(second.wakes.count() > 0, "its turn was lost");
            assert_eq!(second.result().unwrap().len(), 2);
        });
    }
}

/// One collects, and waits for what another one holds, who waits for several of another class.
#[test]
fn who_is_passed_over_for_a_collection_of_another_class_takes_what_is_free() {
    for strict in [false, true] {
        let described = builder(3).reserve(4 * SIZE, SIZE, 2).climb(1);
        with_both_kinds_of(&described.strict_order(strict), |pool| {
            let own = pool.allocate_many(SIZE, SIZE, 2).unwrap();
            let others = pool.allocate_many(4 * SIZE, SIZE, 2).unwrap();
            let mut collects = several_of(pool, SIZE, 2);
            let mut waits = several_of(pool, 4 * SIZE, 2);
            drop(others);
            assert!(waits.wakes.count() > 0, "it sleeps beside all it waits for");
            assert_eq!(waits.result().unwrap().len(), 2);
            drop(own);
            assert!(collects.wakes.count() > 0);
            assert_eq!(collects.result().unwrap().len(), 2);
        });
    }
}

/// Somebody else collects, of another class, so that what is free stays free.
#[test]
fn who_waits_for_more_than_a_new_stream_leaves_is_woken_and_told() {
    const OTHER: usize = 16 * SIZE;
    with_both_kinds_of(&builder(4).reserve(OTHER, SIZE, 2), |pool| {
        let held = take(pool);
        let other = pool.allocate(OTHER, SIZE).unwrap();
        let _collects = several_of(pool, OTHER, 2);
        let mut task = several(pool, 4);
        assert_eq!(task.wakes.count(), 0, "it was woken for too few");
        let stream = pool.stream("one").minimum(SIZE, SIZE, 1).build().unwrap();
        assert_eq!(task.wakes.count(), 1, "it waits for what will never be");
        let never = AllocError::NeverEnough {
            count: 4,
            capacity: 3,
        };
        assert_eq!(task.result().unwrap_err(), never);
        drop((held, other, stream));
        assert_eq!(pool.available(SIZE, SIZE), 4);
    });
}

/// One collects the middle class; two wait for several of the small one, which come back.
#[test]
fn who_was_woken_because_another_one_collects_sees_to_the_next_when_it_leaves() {
    for (strict, served) in [(false, false), (false, true), (true, false), (true, true)] {
        let builder = builder(4)
            .reserve(2 * SIZE, SIZE, 1)
            .reserve(4 * SIZE, SIZE, 1)
            .strict_order(strict);
        with_both_kinds_of(&builder, |pool| {
            let _large = pool.allocate(4 * SIZE, SIZE).unwrap();
            let _collects = several_of(pool, 2 * SIZE, 2);
            let mut held = take_many(pool, 4);
            let mut first = several(pool, 2);
            let mut second = several(pool, 2);
            if served {
                // Two for each.
                drop(held);
                assert_eq!(first.result().unwrap().len(), 2);
            } else {
                held.truncate(2);
                drop(first);
            }
            assert!(second.wakes() > 0, "it sleeps beside what it could have");
            assert_eq!(second.result().unwrap().len(), 2);
        });
    }
}

/// One after the other collects a large class, whose buffers come one by one; so do those of a
/// small one, for which somebody waits for one, and somebody for two.
#[test]
fn who_waits_for_several_is_not_passed_over_for_ever_by_those_who_collect_another_class() {
    const LARGE: usize = 64 * SIZE;
    let builder = builder(4)
        .reserve(LARGE, SIZE, 2)
        .address_space(1 << 32)
        .strict_order(false);
    with_both_kinds_of(&builder, |pool| {
        let mut large = pool.allocate_many(LARGE, SIZE, 2).unwrap();
        let mut small = take_many(pool, 4);
        let mut collects = several_of(pool, LARGE, 2);
        drop(large.pop());
        let mut two = several(pool, 2);
        let mut one = Task::waiting(pool);
        for _ in 0..100 {
            // A turn is due.
            std::thread::sleep(Duration::from_micros(600));
            drop(small.pop());
            let Poll::Ready(taken) = one.poll() else {
                break;
            };
            small.push(taken.unwrap());
            one = Task::waiting(pool);
            drop(large.pop());
            let Poll::Ready(taken) = collects.poll() else {
                break;
            };
            large = taken.unwrap();
            collects = several_of(pool, LARGE, 2);
            drop(large.pop());
        }
        drop(small.pop());
        assert!(two.wakes() > 0, "a hundred went to the one behind it");
        assert_eq!(two.result().unwrap().len(), 2);
    });
}
