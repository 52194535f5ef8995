//! While a class runs dry its caches are shut: what stays in reach, who gets it, and
//! that they are in use again afterwards.
#![cfg(feature = "async")]

mod support;

use hugepool::AllocError;
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::Poll;
use std::time::Duration;
use support::filter::refuse;
use support::kind::{Kind, both_kinds};
use support::process::alone;
use support::small::{SIZE, builder, take, until_cached, until_waiting};
use support::task::Task;
use support::{LONG, on_cpu, pin, skipped, two_cpus};

both_kinds![
    what_growth_gave_to_a_future_that_is_dropped_goes_to_the_next,
    after_a_wait_the_caches_are_in_use_again,
    after_a_refusal_the_caches_are_in_use_again,
    when_the_last_waiter_is_served_the_caches_are_in_use_again,
];

/// Growth serves one of two, which never looks at the new class.
fn what_growth_gave_to_a_future_that_is_dropped_goes_to_the_next(kind: Kind) {
    for strict in [false, true] {
        let pool = kind.build(builder(1).strict_order(strict));
        let _held = take(&pool);
        let mut tasks = [Task::waiting(&pool), Task::waiting(&pool)];
        pool.request(2 * SIZE, SIZE, 1).unwrap();
        if strict {
            assert!(tasks[0].wakes() > 0, "it came first");
        }
        tasks.sort_by_key(Task::wakes);
        let [mut other, woken] = tasks;
        assert!(woken.wakes() > 0 && other.wakes() == 0);
        drop(woken);
        assert!(other.wakes() > 0, "its wake-up was lost");
        let Poll::Ready(Ok(buffer)) = other.poll() else {
            panic!("it still waits")
        };
        assert_eq!(buffer.capacity(), 2 * SIZE);
    }
}

fn after_a_wait_the_caches_are_in_use_again(kind: Kind) {
    let pool = kind.build(builder(1));
    let held = take(&pool);
    let refused = pool.allocate_timeout(SIZE, SIZE, Duration::from_millis(1));
    assert!(matches!(refused, Err(AllocError::TimedOut { .. })));
    drop(held);
    until_cached(&pool, SIZE);
}

fn after_a_refusal_the_caches_are_in_use_again(kind: Kind) {
    let pool = kind.build(builder(1));
    let held = take(&pool);
    assert!(pool.allocate(SIZE, SIZE).is_err());
    drop(held);
    until_cached(&pool, SIZE);
}

/// Even if that one does not come to take what it was given.
fn when_the_last_waiter_is_served_the_caches_are_in_use_again(kind: Kind) {
    let pool = kind.build(builder(2));
    let (one, two) = (take(&pool), take(&pool));
    let task = Task::waiting(&pool);
    drop(one);
    assert_eq!(task.wakes(), 1);
    drop(two);
    until_cached(&pool, SIZE);
    drop(task);
}

const PASSED_ON: &str = "in_strict_order_a_request_gives_what_it_finds_to_who_waits";

/// A waiter that `membarrier` is refused to cannot reach another CPU's cache; a
/// request that can hands the buffer over.
#[test]
fn in_strict_order_a_request_gives_what_it_finds_to_who_waits() {
    alone(PASSED_ON, &[], || {
        let Some((here, there)) = two_cpus(PASSED_ON) else {
            return;
        };
        Kind::Restartable.run(|kind| {
            let pool = kind.build(builder(1).strict_order(true));
            on_cpu(there, || drop(take(&pool)));
            assert_eq!(pool.stats().classes[0].cached, 1);
            let mut task = on_cpu(here, || {
                if refuse(libc::SYS_membarrier, libc::EPERM).is_err() {
                    skipped(PASSED_ON);
                    return None;
                }
                Some(Task::waiting(&pool))
            });
            let Some(task) = &mut task else { return };
            let before = task.wakes();
            // From a thread without the filter.
            let refused = pool.allocate(SIZE, SIZE);
            assert!(refused.is_err(), "it overtook who waits");
            assert!(task.wakes() > before);
            assert!(task.poll().is_ready());
        });
    });
}

const UNSURE: &str = "a_waiter_finds_what_lies_in_the_cache_of_its_own_cpu";

/// `membarrier` is refused to it, so what another CPU's cache holds is out of its
/// reach; when it runs there, it is not.
#[test]
fn a_waiter_finds_what_lies_in_the_cache_of_its_own_cpu() {
    alone(UNSURE, &[], || {
        let Some((here, there)) = two_cpus(UNSURE) else {
            return;
        };
        Kind::Restartable.run(|kind| {
            let pool = kind.build(builder(1));
            on_cpu(there, || drop(take(&pool)));
            assert_eq!(pool.stats().classes[0].cached, 1);
            let waiter = AtomicI32::new(0);
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    if refuse(libc::SYS_membarrier, libc::EPERM).is_err() {
                        return skipped(UNSURE);
                    }
                    pin(here);
                    // SAFETY: takes nothing and gives a number.
                    waiter.store(unsafe { libc::gettid() }, Ordering::Relaxed);
                    let waited = pool.allocate_timeout(SIZE, SIZE, LONG);
                    drop(waited.expect("it was moved to where the buffer is"));
                });
                while pool.stats().waiting == 0 && !waiting.is_finished() {
                    std::thread::yield_now();
                }
                let mut set: libc::cpu_set_t = {
                    // SAFETY: all-zero bytes are an empty set.
                    unsafe { std::mem::zeroed() }
                };
                // SAFETY: the number is below the size of the set.
                unsafe { libc::CPU_SET(there, &mut set) };
                let thread = waiter.load(Ordering::Relaxed);
                // SAFETY: `set` is readable and as large as we say. (The thread may
                // have ended; then nothing happens.)
                unsafe { libc::sched_setaffinity(thread, size_of_val(&set), &set) };
            });
        });
    });
}

const SILENT: &str = "a_waiter_finds_what_it_was_given_though_nobody_wakes_it";

/// Whoever gave it the buffer was stopped before it could wake anybody. (As if: the
/// kernel refuses it the call.)
#[test]
fn a_waiter_finds_what_it_was_given_though_nobody_wakes_it() {
    alone(SILENT, &[], || {
        for kind in Kind::ALL {
            kind.run(|kind| {
                let pool = kind.build(builder(1));
                let buffer = take(&pool);
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let waited = pool.allocate_timeout(SIZE, SIZE, Duration::MAX);
                        drop(waited.expect("it was given one"));
                    });
                    until_waiting(&pool, 1);
                    // It sleeps.
                    std::thread::sleep(Duration::from_millis(20));
                    scope.spawn(|| {
                        if refuse(libc::SYS_futex, libc::EPERM).is_err() {
                            skipped(SILENT);
                        }
                        drop(buffer);
                    });
                });
            });
        }
    });
}
