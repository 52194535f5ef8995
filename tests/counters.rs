//! The counts that a dashboard polls say what happened.

mod support;

use hugepool::{AllocError, Counters, Pool};
use std::thread;
use std::time::Duration;
use support::small::{SIZE, take, until_waiting, with_both_kinds};

const LONG: Duration = Duration::from_secs(60);
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
        waits(pool, SHORT).unwrap_err();
        let token = pool.cancel_token();
        thread::scope(|scope| {
            let served = scope.spawn(|| waits(pool, LONG));
            until_waiting(pool, 1);
            let cancelled = scope.spawn(|| pool.allocate_cancellable(SIZE, SIZE, LONG, &token));
            until_waiting(pool, 2);
            token.cancel();
            let refused = cancelled.join().unwrap().unwrap_err();
            assert_eq!(refused, AllocError::Cancelled);
            drop(buffer);
            served.join().unwrap().expect("a buffer came back");
        });
        let _held = take(pool);
        thread::scope(|scope| {
            let aborted = scope.spawn(|| waits(pool, LONG));
            until_waiting(pool, 1);
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

#[test]
fn refusals_are_counted_beside_waits() {
    with_both_kinds(1, |pool| {
        let _held = take(pool);
        for _ in 0..3 {
            assert!(pool.allocate(SIZE, SIZE).is_err());
        }
        let counters = pool.counters();
        assert_eq!((counters.refused, counters.waits), (3, 0));
    });
}
