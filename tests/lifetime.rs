//! How long a pool lives: exactly until the last handle is gone and the last
//! buffer is home, whichever comes last and on whichever thread. Raw pointers do
//! not keep it, a panic loses nothing, a forgotten buffer loses only itself.
#![allow(
    clippy::disallowed_types,
    reason = "tests that count mappings take turns"
)]

mod support;

use hugepool::{Buffer, FreeError, IntoRawError, Pool};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use support::kind::{Kind, both_kinds};
use support::{Random, living_pools};

both_kinds! {
    a_pool_without_buffers_out_goes_with_its_last_handle,
    a_buffer_outlives_every_handle_and_takes_the_pool_with_it,
    a_class_is_a_handle,
    the_last_handle_and_the_last_buffers_may_go_at_the_same_time,
    handles_may_go_on_several_threads_at_the_same_time,
    raw_pointers_do_not_keep_the_pool,
    with_raw_pointers_out_too_the_last_buffer_ends_the_pool,
    a_pool_that_grew_and_shrank_goes_with_its_last_buffer,
    a_panic_gives_its_buffers_back,
    a_forgotten_buffer_loses_only_itself,
    raw_and_owned_turn_into_each_other_without_touching_the_contents,
}

const SIZE: usize = 4096;

/// The tests of this file count the pools that are mapped, so they take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pool(kind: Kind, count: usize) -> Pool {
    let builder = Pool::builder().reserve(SIZE, SIZE, count);
    kind.build(builder.prefault(false))
}

fn a_pool_without_buffers_out_goes_with_its_last_handle(kind: Kind) {
    let _alone = alone();
    let before = living_pools();
    let first = pool(kind, 3);
    let second = first.clone();
    drop(first.allocate(SIZE, SIZE).unwrap());
    drop(first);
    assert_eq!(living_pools(), before + 1);
    assert_eq!(second.available(SIZE, SIZE), 3);
    drop(second);
    assert_eq!(living_pools(), before);
}

fn a_buffer_outlives_every_handle_and_takes_the_pool_with_it(kind: Kind) {
    let _alone = alone();
    let before = living_pools();
    let pool = pool(kind, 3);
    let class = pool.class(SIZE, SIZE).unwrap();
    let mut one = pool.allocate(SIZE, SIZE).unwrap();
    let two = class.allocate().unwrap();
    one.fill(7);
    drop((pool, class));
    assert_eq!(
        living_pools(),
        before + 1,
        "the arena went while buffers were out"
    );
    assert!(one.iter().all(|&byte| byte == 7));
    one.fill(8);
    drop(two);
    assert_eq!(living_pools(), before + 1);
    assert_eq!((one[0], one.capacity()), (8, SIZE));
    std::thread::spawn(move || drop(one)).join().unwrap();
    assert_eq!(living_pools(), before);
}

fn a_class_is_a_handle(kind: Kind) {
    let _alone = alone();
    let before = living_pools();
    let class = pool(kind, 2).class(100, 1).unwrap();
    assert_eq!((class.size(), class.alignment()), (SIZE, SIZE));
    let again = class.clone();
    drop(class);
    assert_eq!(living_pools(), before + 1);
    let both = (again.allocate().unwrap(), again.allocate().unwrap());
    assert!(again.allocate().unwrap_err().is_exhausted());
    drop(both);
    assert_eq!(again.available(), 2);
    drop(again);
    assert_eq!(living_pools(), before);
}

fn the_last_handle_and_the_last_buffers_may_go_at_the_same_time(kind: Kind) {
    let _alone = alone();
    const THREADS: usize = 2;
    const ROUNDS: usize = 1500;
    let before = living_pools();
    let started = AtomicUsize::new(0);
    let (done, all_done) = channel();
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..THREADS)
            .map(|at| {
                let (sender, inbox) = channel::<(usize, Vec<Buffer>)>();
                let (started, done) = (&started, done.clone());
                scope.spawn(move || {
                    let mut random = Random::new(at as u64);
                    for (round, buffers) in inbox {
                        while started.load(Ordering::Relaxed) < round {
                            std::thread::yield_now();
                        }
                        for _ in 0..random.below(300) {
                            std::hint::spin_loop();
                        }
                        drop(buffers);
                        done.send(()).unwrap();
                    }
                });
                sender
            })
            .collect();
        let mut random = Random::new(99);
        for round in 1..=ROUNDS {
            let pool = pool(kind, 100);
            for sender in &senders {
                let count = 1 + random.below(40);
                let buffers = pool.allocate_many(SIZE, SIZE, count).unwrap();
                sender.send((round, buffers)).unwrap();
            }
            let clone = pool.clone();
            started.store(round, Ordering::Relaxed);
            for _ in 0..random.below(1000) {
                std::hint::spin_loop();
            }
            drop((pool, clone));
            for _ in 0..THREADS {
                all_done.recv().unwrap();
            }
            if round % 100 == 0 {
                assert_eq!(living_pools(), before, "round {round}");
            }
        }
    });
    assert_eq!(living_pools(), before);
}

fn handles_may_go_on_several_threads_at_the_same_time(kind: Kind) {
    let _alone = alone();
    let before = living_pools();
    for _ in 0..200 {
        let pool = pool(kind, 4);
        let buffer = pool.allocate(SIZE, SIZE).unwrap();
        std::thread::scope(|scope| {
            let class = pool.class(SIZE, SIZE).unwrap();
            scope.spawn(move || drop(class));
            scope.spawn(move || drop(pool));
            scope.spawn(move || drop(buffer));
        });
    }
    assert_eq!(living_pools(), before);
}

fn raw_pointers_do_not_keep_the_pool(kind: Kind) {
    let _alone = alone();
    let before = living_pools();
    let pool = pool(kind, 4);
    let raw = pool.allocate_raw(SIZE, SIZE).unwrap();
    let made_raw = pool.into_raw(pool.allocate(10, 1).unwrap()).unwrap();
    assert_ne!(raw, made_raw);
    drop(pool);
    assert_eq!(living_pools(), before);
}

fn with_raw_pointers_out_too_the_last_buffer_ends_the_pool(kind: Kind) {
    let _alone = alone();
    let before = living_pools();
    let pool = pool(kind, 5000);
    pool.request(SIZE, SIZE, 10).unwrap();
    let mut owned = pool.allocate_many(SIZE, SIZE, 5010).unwrap();
    for buffer in owned.drain(..1234) {
        pool.into_raw(buffer).unwrap();
    }
    drop(pool);
    assert_eq!(living_pools(), before + 1);
    let last = owned.pop().unwrap();
    drop(owned);
    assert_eq!(living_pools(), before + 1);
    drop(last);
    assert_eq!(living_pools(), before);
}

fn a_pool_that_grew_and_shrank_goes_with_its_last_buffer(kind: Kind) {
    let _alone = alone();
    let before = living_pools();
    let pool = pool(kind, 2);
    pool.request(1 << 20, SIZE, 3).unwrap();
    pool.request(1 << 16, SIZE, 3).unwrap();
    let out = pool.allocate(1 << 20, SIZE).unwrap();
    assert_eq!(pool.trim().segments, 1);
    drop(pool);
    assert_eq!(living_pools(), before + 1);
    drop(out);
    assert_eq!(living_pools(), before);
}

fn a_panic_gives_its_buffers_back(kind: Kind) {
    let _alone = alone();
    let pool = pool(kind, 3);
    let class = pool.class(SIZE, SIZE).unwrap();
    let panicked = std::thread::spawn({
        let pool = pool.clone();
        move || {
            let _one = pool.allocate(SIZE, SIZE).unwrap();
            let _two = pool.allocate_many(SIZE, SIZE, 2).unwrap();
            assert_eq!(class.available(), 0);
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    })
    .join();
    assert!(panicked.is_err());
    assert_eq!(pool.available(SIZE, SIZE), 3);
    assert_eq!(pool.allocate_many(SIZE, SIZE, 3).unwrap().len(), 3);
}

fn a_forgotten_buffer_loses_only_itself(kind: Kind) {
    let _alone = alone();
    let before = living_pools();
    let pool = pool(kind, 7);
    let forgotten = pool.allocate(SIZE, SIZE).unwrap();
    let start = forgotten.as_ptr();
    std::mem::forget(forgotten);
    for _ in 0..3 {
        assert_eq!(pool.available(SIZE, SIZE), 6);
        let rest = pool.allocate_many(SIZE, SIZE, 6).unwrap();
        assert!(rest.iter().all(|buffer| buffer.as_ptr() != start));
        assert!(pool.allocate(SIZE, SIZE).unwrap_err().is_exhausted());
    }
    drop(pool);
    // It may still be in use, so its memory stays: safe, if never given back.
    assert_eq!(living_pools(), before + 1);
}

fn raw_and_owned_turn_into_each_other_without_touching_the_contents(kind: Kind) {
    let _alone = alone();
    let (pool, other) = (pool(kind, 1), pool(kind, 1));
    let mut buffer = pool.allocate(1234, 1).unwrap();
    buffer.fill(3);
    // Another pool does not take it, and gives it back as it was.
    let Err(IntoRawError::OtherPool(buffer)) = other.into_raw(buffer) else {
        panic!("a pool took another one's buffer");
    };
    assert_eq!((buffer.len(), buffer[1233]), (1234, 3));
    let start = pool.into_raw(buffer).unwrap();
    assert_eq!(pool.available(SIZE, SIZE), 0);
    // SAFETY: refused: it is the other pool's.
    let refused = unsafe { other.from_raw(start.as_ptr(), 1234) };
    assert!(matches!(refused, Err(FreeError::Foreign { .. })));
    // SAFETY: made raw above with this size; not used as a pointer any more.
    let buffer = unsafe { pool.from_raw(start.as_ptr(), 1234) }.unwrap();
    assert!(buffer.len() == 1234 && buffer.iter().all(|&byte| byte == 3));
    drop(buffer);
    assert_eq!(pool.available(SIZE, SIZE), 1);
}

#[test]
fn buffers_and_handles_may_go_to_other_threads_and_stay_for_ever() {
    fn is_free<T: Send + Sync + 'static>() {}
    is_free::<Buffer>();
    is_free::<Pool>();
    is_free::<hugepool::Class>();
}
