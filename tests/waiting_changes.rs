//! Waiting while the pool's classes come and go.

mod support;

use hugepool::{AllocError, Buffer, Builder, Pool};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use support::filter::refuse;
use support::kind::{Kind, both_kinds};
use support::process::alone;
use support::small::{SIZE, until_cached, until_waiting};
use support::{LONG, on_cpu, pin, skipped, two_cpus};

both_kinds![
    a_new_class_serves_those_who_wait,
    in_strict_order_a_new_class_serves_who_came_first,
    what_a_new_class_gave_comes_back_to_the_next_in_line,
    a_class_that_is_beyond_the_climb_serves_nobody_who_waits,
    a_trim_beside_a_wait_leaves_what_is_out,
    classes_of_one_size_beyond_the_climb_serve_alike,
];

const ALIGNMENT: usize = SIZE;
fn builder() -> Builder {
    Pool::builder().address_space(8 << 30).prefault(false)
}

fn wait(pool: &Pool) -> Result<Buffer, AllocError> {
    pool.allocate_timeout(SIZE, ALIGNMENT, LONG)
}

/// Two wait, and two classes come; which class served whom, as they came.
fn served_by_new_classes(pool: &Pool) -> [usize; 2] {
    let _held = pool.allocate(SIZE, ALIGNMENT).unwrap();
    let release = AtomicBool::new(false);
    let served = thread::scope(|scope| {
        let hold = || {
            let buffer = wait(pool).expect("a class came for it");
            while !release.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            buffer.capacity()
        };
        let first = scope.spawn(hold);
        until_waiting(pool, 1);
        let second = scope.spawn(hold);
        until_waiting(pool, 2);
        for size in [2 * SIZE, 4 * SIZE] {
            pool.request(size, ALIGNMENT, 1).unwrap();
        }
        until_waiting(pool, 0);
        release.store(true, Ordering::Relaxed);
        [first.join().unwrap(), second.join().unwrap()]
    });
    assert_eq!(pool.stats().classes.len(), 3);
    served
}

fn a_new_class_serves_those_who_wait(kind: Kind) {
    let pool = kind.build(builder().reserve(SIZE, ALIGNMENT, 1));
    let mut served = served_by_new_classes(&pool);
    served.sort();
    assert_eq!(served, [2 * SIZE, 4 * SIZE]);
    for size in [SIZE, 2 * SIZE, 4 * SIZE] {
        until_cached(&pool, size);
    }
}

fn in_strict_order_a_new_class_serves_who_came_first(kind: Kind) {
    let pool = kind.build(builder().reserve(SIZE, ALIGNMENT, 1).strict_order(true));
    assert_eq!(served_by_new_classes(&pool), [2 * SIZE, 4 * SIZE]);
    for size in [SIZE, 2 * SIZE, 4 * SIZE] {
        until_cached(&pool, size);
    }
}

fn what_a_new_class_gave_comes_back_to_the_next_in_line(kind: Kind) {
    let pool = kind.build(builder().reserve(SIZE, ALIGNMENT, 1));
    let _held = pool.allocate(SIZE, ALIGNMENT).unwrap();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| wait(&pool).expect("it goes round").capacity()))
            .collect();
        until_waiting(&pool, 4);
        pool.request(2 * SIZE, ALIGNMENT, 1).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), 2 * SIZE);
        }
    });
}

fn a_class_that_is_beyond_the_climb_serves_nobody_who_waits(kind: Kind) {
    let pool = kind.build(builder().climb(2).reserve(SIZE, ALIGNMENT, 1));
    let held = pool.allocate(SIZE, ALIGNMENT).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(&pool).unwrap().capacity());
        until_waiting(&pool, 1);
        pool.request(4 * SIZE, ALIGNMENT, 1).unwrap();
        pool.request(SIZE - 512, 512, 1).unwrap();
        assert_eq!(pool.available(4 * SIZE, ALIGNMENT), 1);
        assert_eq!(pool.stats().waiting, 1);
        drop(held);
        assert_eq!(waiter.join().unwrap(), SIZE);
    });
}

/// What a request accepts when it waits is what it looks for.
fn classes_of_one_size_beyond_the_climb_serve_alike(kind: Kind) {
    let builder = builder().climb(4).reserve(8192, 512, 1);
    let pool = kind.build(builder.reserve(8192, 4096, 1));
    assert_eq!(pool.available(512, 512), 2);
    let _first = pool.allocate(512, 512).unwrap();
    let limit = Duration::from_millis(1);
    let second = pool.allocate_timeout(512, 512, limit).expect("one is free");
    assert_eq!(second.capacity(), 8192);
    match pool.allocate(512, 512) {
        Err(AllocError::Exhausted { climb_limit, .. }) => assert_eq!(climb_limit, 8192),
        other => panic!("{other:?}"),
    }
}

fn a_trim_beside_a_wait_leaves_what_is_out(kind: Kind) {
    let pool = kind.build(builder().reserve(64 * SIZE, ALIGNMENT, 1));
    pool.request(SIZE, ALIGNMENT, 2).unwrap();
    let held: Vec<Buffer> = (0..2)
        .map(|_| pool.allocate(SIZE, ALIGNMENT).unwrap())
        .collect();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(&pool).map(drop));
        until_waiting(&pool, 1);
        assert_eq!(pool.trim().segments, 0, "its buffers are out");
        drop(held);
        waiter.join().unwrap().expect("a buffer came back");
    });
    assert_eq!(pool.trim().segments, 1);
}

const WANTED: &str = "a_trim_takes_nothing_that_is_waited_for";

/// What lies in another CPU's cache is out of reach for a waiter to whom
/// `membarrier` is refused; a trim finds it. (A wait that begins beside a trim is
/// for the models: `changing`.)
#[test]
fn a_trim_takes_nothing_that_is_waited_for() {
    alone(WANTED, &[], || {
        let Some((here, there)) = two_cpus(WANTED) else {
            return;
        };
        Kind::Restartable.run(|kind| {
            let pool = kind.build(builder().reserve(64 * SIZE, ALIGNMENT, 1));
            pool.request(SIZE, ALIGNMENT, 1).unwrap();
            on_cpu(there, || drop(pool.allocate(SIZE, ALIGNMENT).unwrap()));
            let cached: usize = pool.stats().classes.iter().map(|c| c.cached).sum();
            assert_eq!(cached, 1);
            thread::scope(|scope| {
                let waiter = scope.spawn(|| {
                    if refuse(libc::SYS_membarrier, libc::EPERM).is_err() {
                        skipped(WANTED);
                        return None;
                    }
                    pin(here);
                    Some(wait(&pool).map(drop))
                });
                while pool.stats().waiting == 0 && !waiter.is_finished() {
                    thread::yield_now();
                }
                let trimmed = pool.trim().segments;
                if let Some(served) = waiter.join().unwrap() {
                    served.expect("a buffer was free");
                    assert_eq!(trimmed, 0, "somebody waited for it");
                }
            });
            assert_eq!(pool.trim().segments, 1);
        });
    });
}
