//! Waiting as a future: the same line, polled.
#![cfg(feature = "async")]
#![allow(clippy::disallowed_types, reason = "not the library's lock")]

mod support;

use hugepool::{AllocError, Allocate, Buffer, Pool};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use support::process::alone;
use support::small::{
    SIZE, builder, in_strict_order, take, until_cached, until_waiting, with_both_kinds,
};
use support::task::{Task, Wakes};
use support::{LONG, Random, living_pools};

const ALIGNMENT: usize = SIZE;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_future_is_ready_at_once_if_a_buffer_is_free() {
    with_both_kinds(1, |pool| {
        let buffer = block_on(pool.allocate_async(SIZE, ALIGNMENT)).unwrap();
        assert_eq!(buffer.len(), SIZE);
        let class = pool.class(SIZE, ALIGNMENT).unwrap();
        drop(buffer);
        assert!(block_on(class.allocate_async()).is_ok());
    });
}

#[test]
fn in_strict_order_tasks_are_woken_and_served_as_they_came() {
    in_strict_order(1, |pool| {
        let mut buffer = take(pool);
        let mut tasks: Vec<Task> = (0..5).map(|_| Task::waiting(pool)).collect();
        for served in 0..5 {
            drop(buffer);
            for (at, task) in tasks.iter().enumerate() {
                assert_eq!(task.wakes() > 0, at <= served, "task {at}");
            }
            buffer = tasks[served].result().unwrap();
        }
    });
}

/// One buffer, and each task in its turn.
#[test]
fn every_task_is_woken_and_served_once() {
    with_both_kinds(1, |pool| {
        let mut buffer = take(pool);
        let mut tasks: Vec<Task> = (0..5).map(|_| Task::waiting(pool)).collect();
        while !tasks.is_empty() {
            let before: u64 = tasks.iter().map(Task::wakes).sum();
            drop(buffer);
            let after: u64 = tasks.iter().map(Task::wakes).sum();
            assert_eq!(after - before, 1, "one buffer came back");
            let next = tasks.iter().position(|task| task.wakes() > 0).unwrap();
            buffer = tasks.remove(next).result().unwrap();
        }
        drop(buffer);
        assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
    });
}

/// Which of the tasks growth by three wakes, and which it serves.
fn grow_by_three(pool: &Pool) -> (Vec<bool>, Vec<bool>) {
    let _buffer = take(pool);
    let mut tasks: Vec<Task> = (0..4).map(|_| Task::waiting(pool)).collect();
    let before: Vec<u64> = tasks.iter().map(Task::wakes).collect();
    pool.request(SIZE, ALIGNMENT, 3).unwrap();
    let woken = (tasks.iter().zip(before))
        .map(|(task, before)| task.wakes() > before)
        .collect();
    let polls: Vec<_> = tasks.iter_mut().map(Task::poll).collect();
    (woken, polls.iter().map(Poll::is_ready).collect())
}

#[test]
fn growth_wakes_as_many_tasks_as_it_serves() {
    with_both_kinds(1, |pool| {
        let (woken, served) = grow_by_three(pool);
        let many = |flags: &[bool]| flags.iter().filter(|&&flag| flag).count();
        assert!(many(&woken) >= 3, "{woken:?}");
        assert_eq!(many(&served), 3);
    });
}

#[test]
fn in_strict_order_growth_serves_those_who_came_first() {
    in_strict_order(1, |pool| {
        let (woken, served) = grow_by_three(pool);
        assert!(woken[..3].iter().all(|&woken| woken), "{woken:?}");
        assert_eq!(served, [true, true, true, false]);
    });
}

#[test]
fn an_abort_wakes_every_task() {
    with_both_kinds(1, |pool| {
        let _buffer = take(pool);
        let mut tasks: Vec<Task> = (0..4).map(|_| Task::waiting(pool)).collect();
        pool.abort();
        for task in &mut tasks {
            assert!(task.wakes() > 0, "nobody told it");
            assert!(matches!(task.result(), Err(AllocError::Aborted)));
        }
    });
}

/// Gives a buffer back when it is woken, and looks whether that woke another.
struct Giver {
    buffer: Mutex<Option<Buffer>>,
    other: Arc<Wakes>,
    woken: AtomicU64,
}

impl Wake for Giver {
    fn wake(self: Arc<Self>) {
        let before = self.other.count();
        drop(self.buffer.lock().unwrap().take());
        let woken = self.other.count() - before;
        self.woken.fetch_add(woken, Ordering::Relaxed);
    }
}

#[test]
fn who_is_served_while_another_is_roused_is_woken_at_once() {
    with_both_kinds(1, |pool| {
        let buffer = take(pool);
        // Of a class that its buffer cannot serve.
        pool.request(2 * SIZE, ALIGNMENT, 1).unwrap();
        let _large = pool.allocate(2 * SIZE, ALIGNMENT).unwrap();
        let mut first = Box::pin(pool.allocate_async(2 * SIZE, ALIGNMENT));
        let giver = Arc::new(Giver {
            buffer: Mutex::new(Some(buffer)),
            other: Arc::default(),
            woken: AtomicU64::new(0),
        });
        let waker = Waker::from(Arc::clone(&giver));
        let mut context = Context::from_waker(&waker);
        assert!(first.as_mut().poll(&mut context).is_pending());
        let mut second = Task {
            future: Box::pin(pool.allocate_async(SIZE, ALIGNMENT)),
            wakes: Arc::clone(&giver.other),
        };
        // Serves neither, and is taken away: everybody is roused.
        pool.request(512, 512, 1).unwrap();
        assert!(second.poll().is_pending());
        assert_eq!(pool.trim().segments, 1);
        assert!(giver.buffer.lock().unwrap().is_none(), "nobody roused it");
        assert_eq!(giver.woken.load(Ordering::Relaxed), 1);
        assert!(second.result().is_ok());
    });
}

#[test]
fn a_future_that_is_dropped_passes_on_what_it_was_given() {
    with_both_kinds(1, |pool| {
        let buffer = take(pool);
        let mut tasks = [Task::waiting(pool), Task::waiting(pool)];
        drop(buffer);
        tasks.sort_by_key(Task::wakes);
        let [mut other, woken] = tasks;
        assert_eq!((woken.wakes(), other.wakes()), (1, 0));
        drop(woken);
        assert!(other.wakes() > 0, "a wake-up was lost");
        drop(other.result().unwrap());
        assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
    });
}

#[test]
fn a_future_that_is_dropped_early_leaves_the_line() {
    with_both_kinds(1, |pool| {
        let buffer = take(pool);
        let first = Task::waiting(pool);
        let mut second = Task::waiting(pool);
        drop(first);
        assert_eq!(pool.stats().waiting, 1);
        drop(buffer);
        drop(second.result().unwrap());
        assert_eq!(pool.stats().waiting, 0);
        until_cached(pool, SIZE);
    });
}

#[test]
fn a_future_keeps_its_pool_and_is_served_by_its_last_buffers() {
    for (portable, strict) in [(false, false), (true, false), (false, true), (true, true)] {
        let pool = builder(1).portable_caches(portable).strict_order(strict);
        let pool = pool.build().unwrap();
        let mut buffer = take(&pool);
        let mut task = Task::waiting(&pool);
        drop(pool);
        buffer.fill(3);
        drop(buffer);
        let last = task.result().unwrap();
        drop(task);
        assert!(last.iter().all(|&byte| byte == 3), "another's memory");
    }
}

/// Drops the future it wakes: what an executor does that is shutting down.
#[derive(Default)]
struct DropsItsFuture(Mutex<Option<Pin<Box<Allocate>>>>);

impl Wake for DropsItsFuture {
    fn wake(self: Arc<Self>) {
        let future = self.0.lock().unwrap().take();
        drop(future);
    }
}

#[test]
fn a_waker_may_drop_the_future_it_wakes() {
    with_both_kinds(1, |pool| {
        let buffer = take(pool);
        let cell = Arc::new(DropsItsFuture::default());
        let waker = Waker::from(Arc::clone(&cell));
        let mut future = Box::pin(pool.allocate_async(SIZE, ALIGNMENT));
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        *cell.0.lock().unwrap() = Some(future);
        let mut next = Task::waiting(pool);
        drop(buffer);
        assert!(next.wakes() > 0, "its turn was lost");
        drop(next.result().unwrap());
        assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
    });
}

/// Allocates, frees and polls where it is woken.
struct UsesThePool {
    pool: Pool,
    /// How often it was woken, and how many buffers it found.
    wakes: AtomicU64,
    found: AtomicU64,
}

impl Wake for UsesThePool {
    fn wake(self: Arc<Self>) {
        let mut future = Box::pin(self.pool.allocate_async(SIZE, ALIGNMENT));
        let mut context = Context::from_waker(Waker::noop());
        let polled = future.as_mut().poll(&mut context).is_ready();
        let taken = self.pool.allocate(SIZE, ALIGNMENT).is_ok();
        let found = u64::from(polled) + u64::from(taken);
        self.found.fetch_add(found, Ordering::Relaxed);
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }
}

/// Gives back the only buffer while one waits whose waker uses the pool, again and again;
/// gives how many buffers the waker found.
fn found_by_a_waker(pool: &Pool) -> u64 {
    let user = Arc::new(UsesThePool {
        pool: pool.clone(),
        wakes: AtomicU64::new(0),
        found: AtomicU64::new(0),
    });
    let waker = Waker::from(Arc::clone(&user));
    let mut context = Context::from_waker(&waker);
    for round in 1..=100 {
        let buffer = take(pool);
        let mut future = Box::pin(pool.allocate_async(SIZE, ALIGNMENT));
        assert!(future.as_mut().poll(&mut context).is_pending());
        drop(buffer);
        assert_eq!(user.wakes.load(Ordering::Relaxed), round);
        // The waker gave back what it found.
        assert!(future.as_mut().poll(&mut context).is_ready());
        assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
    }
    user.found.load(Ordering::Relaxed)
}

#[test]
fn a_waker_may_use_the_pool() {
    with_both_kinds(1, |pool| _ = found_by_a_waker(pool));
}

#[test]
fn in_strict_order_a_waker_does_not_overtake_its_task() {
    in_strict_order(1, |pool| assert_eq!(found_by_a_waker(pool), 0));
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics: this message is expected");
    }
}

#[test]
fn a_waker_that_panics_costs_nobody_a_buffer() {
    let name = "a_waker_that_panics_costs_nobody_a_buffer";
    alone(name, &[], || {
        let pools = living_pools();
        for portable in [false, true] {
            let pool = builder(2).address_space(16 << 30);
            let pool = &pool.portable_caches(portable).build().unwrap();
            assert_eq!(living_pools(), pools + 1);
            let (first, second) = (take(pool), take(pool));
            let waker = Waker::from(Arc::new(Panics));
            let mut future = Box::pin(pool.allocate_async(SIZE, ALIGNMENT));
            let mut context = Context::from_waker(&waker);
            assert!(future.as_mut().poll(&mut context).is_pending());
            let mut next = Task::waiting(pool);
            drop(first);
            drop(second);
            assert!(future.as_mut().poll(&mut context).is_ready());
            drop(next.result().unwrap());
            assert_eq!(pool.available(SIZE, ALIGNMENT), 2);
        }
        assert_eq!(living_pools(), pools, "a pool was never torn down");
    });
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_woken() {
    with_both_kinds(1, |pool| {
        let buffer = take(pool);
        let mut task = Task::waiting(pool);
        let before = Arc::clone(&task.wakes);
        task.wakes = Arc::default();
        assert!(task.poll().is_pending());
        assert!(task.poll().is_pending());
        drop(buffer);
        assert_eq!((before.count(), task.wakes()), (0, 1));
        drop(task.result().unwrap());
        // A waker lives no longer than its wait.
        assert_eq!(Arc::strong_count(&before), 1);
        assert_eq!(Arc::strong_count(&task.wakes), 1);
    });
}

#[test]
fn a_future_may_be_polled_on_one_thread_and_finished_on_another() {
    with_both_kinds(1, |pool| {
        let buffer = take(pool);
        let task = Task::waiting(pool);
        let finished = thread::spawn(move || {
            let Task { future, wakes } = task;
            (block_on(future).map(drop), wakes)
        });
        // It has come when that thread has polled it with a waker of its own.
        drop(buffer);
        let (result, _) = finished.join().unwrap();
        result.unwrap();
        assert_eq!(pool.available(SIZE, ALIGNMENT), 1);
    });
}

#[test]
fn in_strict_order_growth_keeps_the_line() {
    in_strict_order(1, |pool| {
        let _held = take(pool);
        let mut first = Task::waiting(pool);
        let mut second = Task::waiting(pool);
        pool.request(2 * SIZE, ALIGNMENT, 1).unwrap();
        assert!(second.poll().is_pending(), "it overtook");
        let served = first.result().unwrap();
        assert_eq!(served.capacity(), 2 * SIZE);
        drop(served);
        assert!(second.wakes() > 0, "what came back went past it");
        drop(second.result().unwrap());
    });
}

#[test]
fn threads_and_tasks_stand_in_one_line() {
    with_both_kinds(1, |pool| {
        let buffer = take(pool);
        let first = Task::waiting(pool);
        thread::scope(|scope| {
            let second = scope.spawn(|| pool.allocate_timeout(SIZE, ALIGNMENT, LONG).map(drop));
            until_waiting(pool, 2);
            drop(buffer);
            // Whoever is served gives it back, to the other.
            drop(block_on(first.future).unwrap());
            second.join().unwrap().expect("the buffer came back");
        });
    });
}

#[test]
fn in_strict_order_a_thread_does_not_overtake_a_task() {
    in_strict_order(1, |pool| {
        let buffer = take(pool);
        let mut first = Task::waiting(pool);
        thread::scope(|scope| {
            let second = scope.spawn(|| pool.allocate_timeout(SIZE, ALIGNMENT, LONG).map(drop));
            until_waiting(pool, 2);
            drop(buffer);
            assert_eq!(pool.stats().waiting, 1);
            drop(first.result().unwrap());
            second.join().unwrap().expect("the first gave it back");
        });
    });
}

#[test]
fn abort_and_impossible_requests_end_a_future_with_an_error() {
    with_both_kinds(1, |pool| {
        let refused = block_on(pool.allocate_async(SIZE + 1, ALIGNMENT));
        assert!(matches!(refused, Err(AllocError::NoClass { .. })));
        let _held = take(pool);
        let mut task = Task::waiting(pool);
        pool.abort();
        assert!(task.wakes() > 0);
        assert_eq!(task.result().unwrap_err(), AllocError::Aborted);
        let refused = block_on(pool.allocate_async(SIZE, ALIGNMENT));
        assert_eq!(refused.unwrap_err(), AllocError::Aborted);
    });
}

#[test]
fn growth_wakes_a_task_that_a_new_class_could_serve() {
    with_both_kinds(1, |pool| {
        let _held = take(pool);
        let mut task = Task::waiting(pool);
        pool.request(2 * SIZE, ALIGNMENT, 1).unwrap();
        assert!(task.wakes() > 0);
        assert_eq!(task.result().unwrap().capacity(), 2 * SIZE);
    });
}

/// Threads that wait as futures, of which many are dropped half-way.
#[test]
fn nothing_is_lost_however_futures_end() {
    const THREADS: u64 = 8;
    const BUFFERS: usize = 2;
    const EACH: usize = 500;
    with_both_kinds(BUFFERS, |pool| {
        let holders = AtomicU64::new(0);
        thread::scope(|scope| {
            for number in 0..THREADS {
                let holders = &holders;
                scope.spawn(move || {
                    let mut random = Random::new(number);
                    for _ in 0..EACH {
                        if random.below(3) == 0 {
                            let waker = Waker::noop();
                            let mut future = Box::pin(pool.allocate_async(SIZE, ALIGNMENT));
                            let _ = future.as_mut().poll(&mut Context::from_waker(waker));
                            thread::yield_now();
                            continue;
                        }
                        let buffer = block_on(pool.allocate_async(SIZE, ALIGNMENT)).unwrap();
                        let others = holders.fetch_add(1, Ordering::Relaxed);
                        assert!(others < BUFFERS as u64, "a buffer was doubled");
                        if random.below(2) == 0 {
                            thread::yield_now();
                        }
                        holders.fetch_sub(1, Ordering::Relaxed);
                        drop(buffer);
                    }
                });
            }
        });
        assert_eq!(pool.stats().waiting, 0);
        let all: Vec<Buffer> = (0..BUFFERS).map(|_| take(pool)).collect();
        assert!(pool.allocate(SIZE, ALIGNMENT).is_err());
        drop(all);
    });
}
