//! The counts that a dashboard polls say what happened.

mod support;

use hugepool::{AllocError, Builder, ClassCounters, Counters, Pool, Refusals};
use std::thread;
use std::time::{Duration, Instant};
use support::LONG;
use support::small::{SIZE, builder, take, until_waiting, with_both_kinds, with_both_kinds_of};
#[cfg(feature = "async")]
use support::task::Task;

const SHORT: Duration = Duration::from_millis(1);

fn ended(counters: &Counters) -> u64 {
    let in_vain = counters.timed_out + counters.aborted + counters.cancelled + counters.failed;
    counters.served + in_vain
}

fn waits(pool: &Pool, limit: Duration) -> Result<(), AllocError> {
    pool.allocate_timeout(SIZE, SIZE, limit).map(drop)
}

#[test]
fn each_wait_is_counted_by_how_it_ended() {
    with_both_kinds(1, |pool| {
        let buffer = take(pool);
        assert_eq!(pool.counters().waits, 0, "nobody has waited");
        // Who is out of time before he stands in line has not waited.
        while pool.counters().waits == 0 {
            waits(pool, SHORT).unwrap_err();
        }
        // The one above may have been out of time before it slept.
        let before = pool.counters().sleeps;
        let until_asleep = |pool: &Pool, count| {
            while pool.counters().sleeps < before + count {
                thread::yield_now();
            }
        };
        let token = pool.cancel_token();
        thread::scope(|scope| {
            let served = scope.spawn(|| waits(pool, LONG));
            until_asleep(pool, 1);
            let cancelled = scope.spawn(|| pool.allocate_cancellable(SIZE, SIZE, LONG, &token));
            until_asleep(pool, 2);
            token.cancel();
            let refused = cancelled.join().unwrap().unwrap_err();
            assert_eq!(refused, AllocError::Cancelled);
            drop(buffer);
            served.join().unwrap().expect("a buffer came back");
        });
        let _held = take(pool);
        thread::scope(|scope| {
            let aborted = scope.spawn(|| waits(pool, LONG));
            until_asleep(pool, 3);
            pool.abort();
            assert_eq!(aborted.join().unwrap(), Err(AllocError::Aborted));
        });
        let counters = pool.counters();
        assert_eq!((counters.waits, ended(&counters)), (4, 4));
        assert_eq!((counters.timed_out, counters.served), (1, 1));
        assert_eq!((counters.cancelled, counters.aborted), (1, 1));
        assert_eq!(counters.wait_histogram.iter().sum::<u64>(), 4);
        assert!(counters.longest_wait >= SHORT && counters.waited >= counters.longest_wait);
        assert!(counters.sleeps >= 3 && counters.calls + counters.hand_overs >= 1);
        pool.reset_marks();
        assert_eq!(pool.counters().longest_wait, Duration::ZERO);
        assert_eq!(pool.counters().waited, counters.waited);
    });
}

/// A wait takes as long as its limit at least, whoever the processor is taken from.
#[test]
fn a_wait_that_times_out_is_counted_with_all_of_its_time() {
    const ROUNDS: usize = 2000;
    with_both_kinds(2, |pool| {
        let stream = pool.stream("empty").maximum(SIZE, SIZE, 1).build().unwrap();
        let _both = pool.allocate_many(SIZE, SIZE, 2).unwrap();
        let limits = (1..=ROUNDS as u64).map(|round| Duration::from_nanos(10 * round));
        for limit in limits {
            for way in 0..3 {
                pool.reset_marks();
                let before = pool.counters().timed_out;
                let refused = match way {
                    0 => pool.allocate_timeout(SIZE, SIZE, limit).map(drop),
                    1 => pool.allocate_many_timeout(SIZE, SIZE, 1, limit).map(drop),
                    _ => stream.allocate_timeout(SIZE, SIZE, limit).map(drop),
                };
                assert!(matches!(refused, Err(AllocError::TimedOut { .. })));
                let counters = pool.counters();
                let stood_in_line = counters.timed_out != before;
                assert!(!stood_in_line || counters.longest_wait >= limit);
            }
        }
        assert_ne!(pool.counters().timed_out, 0, "nobody stood in line");
    });
}

/// Calls `request`, which is refused.
fn refuse<T>(told: &mut u64, request: Result<T, AllocError>) -> AllocError {
    *told += 1;
    let Err(error) = request else {
        panic!("it was served");
    };
    error
}

#[test]
fn each_refusal_is_counted_once_by_what_the_caller_was_told() {
    let stranger = Pool::builder().reserve(SIZE, SIZE, 1).prefault(false);
    let stranger = stranger.build().unwrap();
    with_both_kinds(2, |pool| {
        let class = pool.class(SIZE, SIZE).unwrap();
        let _held = [take(pool), take(pool)];
        let mut told = 0;
        assert_eq!(pool.counters().refusals, Refusals::default());
        for _ in 0..3 {
            refuse(&mut told, pool.allocate(SIZE, SIZE));
            refuse(&mut told, pool.allocate_raw(1, 1));
            refuse(&mut told, pool.allocate_many(SIZE, SIZE, 2));
            refuse(&mut told, class.allocate());
            refuse(&mut told, class.allocate_raw());
            refuse(&mut told, class.allocate_many(1));
        }
        for _ in 0..2 {
            refuse(&mut told, pool.allocate_many(SIZE, SIZE, 3));
            refuse(&mut told, class.allocate_many(usize::MAX));
            refuse(&mut told, pool.allocate(1 << 30, 1));
            refuse(&mut told, pool.allocate_raw(SIZE, 2 * SIZE));
            refuse(&mut told, pool.allocate_many(1 << 30, 1, 1));
            refuse(&mut told, pool.allocate_timeout(1 << 30, 1, LONG));
        }
        let foreign = stranger.cancel_token();
        refuse(&mut told, pool.allocate(0, 1));
        refuse(&mut told, pool.allocate_raw(SIZE, 0));
        refuse(&mut told, pool.allocate_many(SIZE, 3, 1));
        refuse(&mut told, pool.allocate_timeout(0, 1, LONG));
        refuse(
            &mut told,
            pool.allocate_cancellable(SIZE, SIZE, LONG, &foreign),
        );
        // In line, without the time to stand there, and too late.
        refuse(&mut told, pool.allocate_timeout(SIZE, SIZE, SHORT));
        refuse(&mut told, class.allocate_timeout(SHORT));
        refuse(&mut told, pool.allocate_timeout(SIZE, SIZE, Duration::ZERO));
        refuse(
            &mut told,
            pool.allocate_deadline(SIZE, SIZE, Instant::now()),
        );
        let token = pool.cancel_token();
        token.cancel();
        refuse(
            &mut told,
            pool.allocate_cancellable(SIZE, SIZE, LONG, &token),
        );
        pool.abort();
        refuse(&mut told, pool.allocate_timeout(SIZE, SIZE, LONG));
        refuse(&mut told, class.allocate_timeout(Duration::ZERO));
        let refusals = pool.counters().refusals;
        assert_eq!((refusals.exhausted, refusals.carried), (18, 0));
        assert_eq!((refusals.never_enough, refusals.no_class), (4, 8));
        assert_eq!((refusals.bad_input, refusals.timed_out), (5, 4));
        assert_eq!((refusals.cancelled, refusals.aborted), (1, 2));
        assert_eq!(refusals.too_many_waiters, 0);
        assert_eq!(refusals.total(), told);
    });
}

#[test]
fn what_asks_for_no_buffer_or_is_served_is_no_refusal() {
    with_both_kinds(1, |pool| {
        pool.class(1 << 30, 1).unwrap_err();
        assert_eq!((pool.available(0, 0), pool.available(1 << 30, 1)), (0, 0));
        assert!(pool.request(0, 1, 1).is_err());
        let buffer = take(pool);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| waits(pool, LONG));
            until_waiting(pool, 1);
            drop(buffer);
            waiter.join().unwrap().expect("a buffer came back");
        });
        waits(pool, Duration::ZERO).expect("one is free");
        assert_eq!(pool.counters().refusals, Refusals::default());
    });
}

#[test]
fn who_waits_now_is_counted_while_he_does() {
    with_both_kinds(1, |pool| {
        let buffer = take(pool);
        assert_eq!(pool.counters().waiting, 0);
        thread::scope(|scope| {
            let waiters = [(); 3].map(|()| scope.spawn(|| waits(pool, LONG)));
            until_waiting(pool, 3);
            assert_eq!((pool.counters().waiting, pool.counters().waits), (3, 3));
            drop(buffer);
            for waiter in waiters {
                waiter.join().unwrap().expect("it came back each time");
            }
        });
        assert_eq!(pool.counters().waiting, 0);
    });
}

#[test]
fn a_wait_that_times_out_is_a_failure_of_the_class_it_asked_for() {
    with_both_kinds_of(&two_classes(), |pool| {
        let _held = [take(pool), take(pool), take(pool)];
        for _ in 0..3 {
            waits(pool, SHORT).unwrap_err();
        }
        waits(pool, Duration::ZERO).unwrap_err();
        assert!(pool.allocate(SIZE, SIZE).is_err());
        assert!(pool.allocate_timeout(2 * SIZE, SIZE, SHORT).is_err());
        let refused: Vec<u64> = pool.class_counters().map(|class| class.refused).collect();
        assert_eq!(refused, [5, 1]);
        let classes = pool.stats().classes;
        let failures: Vec<u64> = classes.iter().map(|class| class.failures).collect();
        assert_eq!(failures, refused);
    });
}

fn two_classes() -> Builder {
    builder(2).reserve(2 * SIZE, SIZE, 1)
}

fn classes(pool: &Pool) -> [ClassCounters; 2] {
    let classes: Vec<_> = pool.class_counters().collect();
    classes.try_into().expect("there are two")
}

#[test]
fn each_class_counts_its_own_buffers() {
    with_both_kinds_of(&two_classes(), |pool| {
        let [small, large] = classes(pool);
        assert_eq!((small.size, small.alignment), (SIZE, SIZE));
        assert_eq!((large.size, large.alignment), (2 * SIZE, SIZE));
        assert_eq!((small.capacity, small.free, small.in_use), (2, 2, 0));
        assert_eq!((large.capacity, large.free, large.in_use), (1, 1, 0));
        let mut held = vec![take(pool), take(pool), take(pool)];
        let [small, large] = classes(pool);
        assert_eq!((small.free, small.in_use, small.climbs), (0, 2, 1));
        assert_eq!((large.free, large.in_use, large.climbs), (0, 1, 0));
        assert_eq!((small.high_water, large.high_water), (2, 1));
        // The larger one goes first.
        drop(held.swap_remove(2));
        let [small, large] = classes(pool);
        assert_eq!((small.in_use, large.in_use, large.free), (2, 0, 1));
        held.clear();
        let [small, large] = classes(pool);
        assert_eq!((small.in_use, small.free), (0, 2));
        assert!(small.cached <= 2 && large.cached <= 1);
        pool.request(SIZE, SIZE, 10).unwrap();
        pool.request(4 * SIZE, SIZE, 1).unwrap();
        let all: Vec<_> = pool.class_counters().collect();
        assert_eq!((all.len(), all[0].capacity, all[2].free), (3, 12, 1));
        pool.trim();
        let all: Vec<_> = pool.class_counters().collect();
        assert_eq!((all.len(), all[0].free, all[2].capacity), (3, 2, 0));
    });
}

#[test]
fn hand_overs_and_calls_are_counted_to_the_class_that_served() {
    with_both_kinds_of(&two_classes(), |pool| {
        let mut held = vec![take(pool), take(pool), take(pool)];
        thread::scope(|scope| {
            let waiter = scope.spawn(|| waits(pool, LONG));
            until_waiting(pool, 1);
            // Of the larger class.
            held.pop();
            waiter.join().unwrap().expect("a buffer came back");
        });
        let (whole, [small, large]) = (pool.counters(), classes(pool));
        assert_eq!(small.calls + small.hand_overs, 0);
        assert_eq!(whole.calls, large.calls);
        assert_eq!(whole.hand_overs, large.hand_overs);
        assert_eq!(whole.passed_over, large.passed_over);
        assert_eq!(whole.barriers, small.barriers + large.barriers);
    });
}

#[cfg(feature = "async")]
#[test]
fn a_future_is_refused_when_it_says_so_and_not_when_it_is_dropped() {
    with_both_kinds(1, |pool| {
        let _held = take(pool);
        drop(Task::waiting(pool));
        assert_eq!(pool.counters().cancelled, 1);
        assert_eq!(pool.counters().refusals, Refusals::default());
        assert!(Task::new(pool, 0).poll().is_ready());
        assert!(Task::new(pool, 1 << 30).poll().is_ready());
        let mut task = Task::waiting(pool);
        pool.abort();
        assert!(task.poll().is_ready());
        assert!(Task::new(pool, SIZE).poll().is_ready());
        let refusals = pool.counters().refusals;
        assert_eq!((refusals.bad_input, refusals.no_class), (1, 1));
        assert_eq!((refusals.aborted, refusals.total()), (2, 4));
    });
}
