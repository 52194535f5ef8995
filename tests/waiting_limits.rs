//! Waiting at the edges: no time, no end, no room in the line, no word from the
//! kernel, and no thread of one's own.

mod support;

use hugepool::{AllocError, Pool};
use std::cell::Cell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use support::filter::refuse;
use support::kind::{Kind, both_kinds};
use support::process::alone;
use support::small::{SIZE, builder, take, until_cached, until_waiting};
use support::timer::{SIGNAL, Timer, handle};
use support::{LONG, skipped};

both_kinds![
    no_time_at_all_is_a_refusal_like_any_other,
    a_limit_that_is_too_long_for_the_clock_is_for_ever,
    a_waiter_may_hold_the_last_handle_but_one_of_a_pool,
    a_signal_handler_may_serve_the_thread_that_it_interrupts,
];

const ALIGNMENT: usize = SIZE;

fn no_time_at_all_is_a_refusal_like_any_other(kind: Kind) {
    let pool = kind.build(builder(2));
    let held = [take(&pool), take(&pool)];
    for _ in 0..100 {
        let refused = pool.allocate_timeout(SIZE, ALIGNMENT, Duration::ZERO);
        assert!(matches!(refused, Err(AllocError::TimedOut { .. })));
        assert_eq!(pool.stats().waiting, 0);
    }
    drop(held);
    let failures = pool.stats().classes[0].failures;
    assert_eq!(failures, 100, "a refusal was not counted");
    until_cached(&pool, SIZE);
    pool.abort();
    let all = [take(&pool), take(&pool)];
    let refused = pool.allocate_timeout(SIZE, ALIGNMENT, Duration::ZERO);
    assert_eq!(refused.unwrap_err(), AllocError::Aborted);
    drop(all);
    assert!(
        pool.allocate_timeout(SIZE, ALIGNMENT, Duration::ZERO)
            .is_ok()
    );
}

fn a_limit_that_is_too_long_for_the_clock_is_for_ever(kind: Kind) {
    let pool = kind.build(builder(1));
    // What the clock cannot name, what `timespec` cannot, and what the kernel
    // counts in nanoseconds.
    for seconds in [u64::MAX, i64::MAX as u64, 1 << 40] {
        let buffer = take(&pool);
        thread::scope(|scope| {
            let (pool, limit) = (&pool, Duration::from_secs(seconds));
            let waiter =
                scope.spawn(move || pool.allocate_timeout(SIZE, ALIGNMENT, limit).map(drop));
            until_waiting(pool, 1);
            thread::sleep(Duration::from_millis(5));
            assert_eq!(pool.stats().waiting, 1, "{seconds} s are over");
            drop(buffer);
            waiter.join().unwrap().unwrap();
        });
    }
}

/// Every other handle goes while one waits; the buffer that serves it is given
/// back by a thread without one.
fn a_waiter_may_hold_the_last_handle_but_one_of_a_pool(kind: Kind) {
    for _ in 0..200 {
        let pool = kind.build(builder(1));
        let buffer = take(&pool);
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                drop(buffer);
            });
            let waiting = pool.clone();
            drop(pool);
            start.wait();
            let served = waiting.allocate_timeout(SIZE, ALIGNMENT, LONG);
            drop(waiting);
            // Now it is the pool's last buffer, and nobody has a handle.
            assert_eq!(served.unwrap().len(), SIZE);
        });
    }
}

thread_local! {
    static POOL: Cell<*const Pool> = const { Cell::new(std::ptr::null()) };
    /// What the handler is to give back.
    static OUT: AtomicPtr<u8> = const { AtomicPtr::new(std::ptr::null_mut()) };
    static GIVEN: Cell<u64> = const { Cell::new(0) };
}

extern "C" fn give_back(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let out = OUT.with(|out| out.swap(std::ptr::null_mut(), Ordering::Relaxed));
    // SAFETY: the pool is named here only while it is there.
    if let (false, Some(pool)) = (out.is_null(), unsafe { POOL.get().as_ref() }) {
        // SAFETY: taken by `into_raw` with this size, and named here once.
        unsafe { pool.free_raw(out, SIZE) }.unwrap();
        GIVEN.set(GIVEN.get() + 1);
    }
}

/// One buffer. Whenever the thread has it, it leaves it to its signal handler and
/// waits for it.
fn a_signal_handler_may_serve_the_thread_that_it_interrupts(kind: Kind) {
    const ROUNDS: u64 = 2000;
    let pool = kind.build(builder(1));
    handle(SIGNAL, give_back);
    thread::scope(|scope| {
        scope.spawn(|| {
            let timer = Timer::new();
            POOL.set(&raw const pool);
            let mut random = support::Random::new(7);
            for _ in 0..ROUNDS {
                let buffer = pool
                    .allocate_timeout(SIZE, ALIGNMENT, LONG)
                    .expect("the handler gives it back");
                let raw = pool.into_raw(buffer).unwrap().as_ptr();
                OUT.with(|out| out.store(raw, Ordering::Relaxed));
                timer.set(1 + random.below(20_000) as i64);
            }
            // The last one, perhaps.
            while OUT.with(|out| !out.load(Ordering::Relaxed).is_null()) {
                std::hint::spin_loop();
            }
            assert_eq!(GIVEN.get(), ROUNDS);
            POOL.set(std::ptr::null());
        });
    });
    assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
}

const REFUSED: &str = "where_membarrier_is_refused_later_a_waiter_looks_for_itself";

/// A waiter that may not stop other threads cannot be sure to be woken.
#[test]
fn where_membarrier_is_refused_later_a_waiter_looks_for_itself() {
    alone(REFUSED, &[], || {
        Kind::Restartable.run(|kind| {
            let pool = kind.build(builder(2));
            let _held = take(&pool);
            let pool = &pool;
            let stop = AtomicBool::new(false);
            let (turns, served) = (AtomicU64::new(0), AtomicU64::new(0));
            thread::scope(|scope| {
                // Somebody whose frees may be anywhere when a wait begins.
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let _ = pool.allocate(SIZE, ALIGNMENT);
                        turns.fetch_add(1, Ordering::Relaxed);
                    }
                });
                let waiter = scope.spawn(|| {
                    if refuse(libc::SYS_membarrier, libc::EPERM).is_err() {
                        return skipped(&format!("{REFUSED}: there are no filters here"));
                    }
                    for _ in 0..200 {
                        let waited = pool.allocate_timeout(SIZE, ALIGNMENT, LONG);
                        drop(waited.expect("it comes back again and again"));
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                });
                waiter.join().unwrap();
                stop.store(true, Ordering::Relaxed);
            });
            println!(
                "{} waits beside {} turns",
                served.into_inner(),
                turns.into_inner()
            );
            assert_eq!(pool.stats().waiting, 0);
        });
    });
}

#[cfg(feature = "async")]
mod tasks {
    use super::support::living_pools;
    use super::support::small::with_both_kinds_of;
    use super::support::task::Wakes;
    use super::*;
    use hugepool::{Allocate, Buffer};
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    const LIMIT: usize = 65_536;

    fn poll(future: &mut Pin<Box<Allocate>>) -> Poll<Result<Buffer, AllocError>> {
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_line_that_is_full_takes_nobody_and_loses_nobody() {
        for strict in [false, true] {
            with_both_kinds_of(&builder(1).strict_order(strict), |pool| {
                let buffer = take(pool);
                let mut waiting: Vec<_> = (0..LIMIT)
                    .map(|_| Box::pin(pool.allocate_async(SIZE, ALIGNMENT)))
                    .collect();
                for future in &mut waiting {
                    assert!(poll(future).is_pending());
                }
                let expected = AllocError::TooManyWaiters { limit: LIMIT };
                let refused = pool.allocate_timeout(SIZE, ALIGNMENT, LONG);
                assert_eq!(refused.unwrap_err(), expected);
                let mut late = Box::pin(pool.allocate_async(SIZE, ALIGNMENT));
                assert!(matches!(poll(&mut late), Poll::Ready(Err(error)) if error == expected));
                let refusals = pool.counters().refusals;
                assert_eq!((refusals.too_many_waiters, refusals.total()), (2, 2));
                drop(buffer);
                let mut polls = waiting.iter_mut().map(poll).enumerate();
                let Some((at, Poll::Ready(Ok(buffer)))) = polls.find(|polled| polled.1.is_ready())
                else {
                    panic!("nobody in the line was served");
                };
                assert!(!strict || at == 0, "the first was overtaken");
                // There is room for one again.
                let mut late = Box::pin(pool.allocate_async(SIZE, ALIGNMENT));
                assert!(poll(&mut late).is_pending());
                drop(waiting);
                drop(buffer);
                assert!(poll(&mut late).is_ready());
                assert_eq!(pool.stats().waiting, 0);
                assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
            });
        }
    }

    const TASK: &str = "tasks::where_membarrier_is_refused_later_a_task_is_polled_again";

    #[test]
    fn where_membarrier_is_refused_later_a_task_is_polled_again() {
        alone(TASK, &[], || {
            Kind::Restartable.run(|kind| {
                let pool = kind.build(builder(1));
                let buffer = take(&pool);
                if refuse(libc::SYS_membarrier, libc::EPERM).is_err() {
                    return skipped(&format!("{TASK}: there are no filters here"));
                }
                let wakes = Arc::new(Wakes::default());
                let waker = Waker::from(Arc::clone(&wakes));
                let mut future = Box::pin(pool.allocate_async(SIZE, ALIGNMENT));
                let mut poll = || future.as_mut().poll(&mut Context::from_waker(&waker));
                assert!(poll().is_pending());
                assert!(poll().is_pending());
                // Nobody promises to wake it, so it has itself polled.
                assert_eq!(wakes.count(), 2);
                drop(buffer);
                assert!(poll().is_ready());
            });
        });
    }

    #[test]
    fn a_pool_lives_as_long_as_its_last_future() {
        let name = "tasks::a_pool_lives_as_long_as_its_last_future";
        alone(name, &[], || {
            let before = living_pools();
            for kind in Kind::ALL {
                kind.run(|kind| {
                    let pool = kind.build(builder(1).address_space(16 << 30));
                    let buffer = take(&pool);
                    let mut future = Box::pin(pool.allocate_async(SIZE, ALIGNMENT));
                    assert!(poll(&mut future).is_pending());
                    drop(pool);
                    drop(buffer);
                    assert_eq!(living_pools(), before + 1);
                    let Poll::Ready(Ok(buffer)) = poll(&mut future) else {
                        panic!("the last buffer is free");
                    };
                    drop(future);
                    drop(buffer);
                    assert_eq!(living_pools(), before);
                });
            }
        });
    }
}
