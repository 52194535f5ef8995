//! Proves: a child of a fork that was to inherit the buffers may use the pool, whatever
//! the parent's other threads were doing.
//!
//! Each test in a process of its own, because a fork copies the locks of every
//! other thread as they are.

mod support;

use hugepool::{AllocError, Buffer, Pool};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::kind::{Kind, both_kinds};
use support::process::{NO_REGISTRATION, alone, in_fork};
use support::{cpus, on_cpu, pin};

both_kinds! {
    a_child_that_inherits_the_buffers_takes_and_gives_every_one,
    a_child_of_a_process_full_of_thieves_takes_all_but_what_was_in_their_hands,
    a_child_serves_nobody_who_waited_in_its_parent,
    a_child_has_what_is_kept_for_somebody_who_collects_in_its_parent,
}

const SIZE: usize = 4096;

/// Runs `body`, a test of `kind` called `name`, with threads that the C library
/// registers for restartable sequences and with threads that it does not.
fn everywhere(kind: Kind, name: &str, body: impl Fn()) {
    let name = format!("{}::{name}", kind.name());
    alone(&name, &[], &body);
    if kind == Kind::Restartable {
        alone(&name, &[NO_REGISTRATION], &body);
    }
}

/// Takes all there is, with a stamp of its own in each, into `held`.
fn take_all(pool: &Pool, held: &mut Vec<Buffer>) -> AllocError {
    let refusal = loop {
        match pool.allocate(SIZE, SIZE) {
            Ok(buffer) => held.push(buffer),
            Err(refusal) => break refusal,
        }
    };
    for buffer in held.iter_mut() {
        let own = buffer.as_ptr().addr().to_ne_bytes();
        buffer.fill(0);
        buffer[..8].copy_from_slice(&own);
    }
    refusal
}

/// Whether no buffer is there twice: each still has its stamp.
fn are_distinct(held: &mut [Buffer]) -> bool {
    let stamped = |buffer: &mut Buffer| {
        let own = buffer.as_ptr().addr().to_ne_bytes();
        let stamped = buffer[..8] == own;
        buffer.fill(0xff);
        stamped
    };
    held.iter_mut().all(stamped)
}

fn a_child_that_inherits_the_buffers_takes_and_gives_every_one(kind: Kind) {
    const COUNT: usize = 64;
    everywhere(
        kind,
        "a_child_that_inherits_the_buffers_takes_and_gives_every_one",
        || {
            let cpus = cpus();
            let builder = Pool::builder().reserve(SIZE, SIZE, COUNT).fork(true);
            let pool = kind.build(builder);
            let mut held = Vec::with_capacity(COUNT);
            // Every processor's cache has some, the parent has one.
            for &cpu in &cpus {
                on_cpu(cpu, || drop(pool.allocate_many(SIZE, SIZE, COUNT).unwrap()));
            }
            let mut own = pool.allocate(SIZE, SIZE).unwrap();
            own.fill(7);
            let mut child = || {
                for &cpu in &cpus {
                    pin(cpu);
                    let refusal = take_all(&pool, &mut held);
                    if held.len() != COUNT - 1 {
                        return 1;
                    }
                    if !matches!(refusal, AllocError::Exhausted { carried: false, .. }) {
                        return 2;
                    }
                    if !are_distinct(&mut held) || own.iter().any(|&byte| byte != 7) {
                        return 3;
                    }
                    held.clear();
                    for _ in 0..20_000 {
                        if pool.allocate(SIZE, SIZE).is_err() {
                            return 4;
                        }
                    }
                }
                // Where there is another cache to take from, that was done.
                let stats = pool.stats();
                let stole = stats.classes[0].steals > 0 || cpus.len() == 1;
                if stole && stats.cache == kind.name() {
                    0
                } else {
                    5
                }
            };
            for _ in 0..3 {
                let code = in_fork(&mut child);
                let why = "1: too few or too many; 2: refused as carried; 3: one twice, or the \
                       parent's changed; 4: refused; 5: nothing stolen";
                assert_eq!(code, 0, "{why}");
            }
            // The parent's pool goes on.
            assert!(own.iter().all(|&byte| byte == 7));
            drop(own);
            take_all(&pool, &mut held);
            assert!(held.len() == COUNT && are_distinct(&mut held));
        },
    );
}

fn a_child_of_a_process_full_of_thieves_takes_all_but_what_was_in_their_hands(kind: Kind) {
    /// Free while the process forks: so few that threads steal them from each other.
    const FREE: usize = 8;
    const THIEVES: usize = 3;
    /// The most that a thread has in its hands: one, and what it moves at once.
    const IN_HANDS: usize = 31;
    const COUNT: usize = 400;
    let name = "a_child_of_a_process_full_of_thieves_takes_all_but_what_was_in_their_hands";
    everywhere(kind, name, || {
        let builder = Pool::builder().reserve(SIZE, SIZE, COUNT).fork(true);
        let pool = kind.build(builder);
        let mut held = Vec::with_capacity(COUNT);
        held.extend((FREE..COUNT).map(|_| pool.allocate(SIZE, SIZE).unwrap()));
        let (ended, taken) = (AtomicBool::new(false), AtomicU64::new(0));
        let cpus = cpus();
        std::thread::scope(|scope| {
            for thief in 0..THIEVES {
                let (pool, cpus, ended, taken) = (&pool, &cpus, &ended, &taken);
                scope.spawn(move || {
                    pin(cpus[thief % cpus.len()]);
                    while !ended.load(Ordering::Relaxed) {
                        let some = [(); FREE / 2].map(|()| pool.allocate(SIZE, SIZE).ok());
                        taken.fetch_add(some.iter().flatten().count() as u64, Ordering::Relaxed);
                    }
                });
            }
            for round in 0..30 {
                while taken.load(Ordering::Relaxed) < round * 1000 {
                    std::thread::yield_now();
                }
                let code = in_fork(|| {
                    held.clear();
                    take_all(&pool, &mut held);
                    let least = COUNT - THIEVES * (IN_HANDS + FREE / 2);
                    if !(least..=COUNT).contains(&held.len()) {
                        return 1;
                    }
                    let count = held.len();
                    if !are_distinct(&mut held) {
                        return 2;
                    }
                    // Some gates may be shut, by threads that are no more.
                    for cpu in &cpus {
                        pin(*cpu);
                        held.clear();
                        take_all(&pool, &mut held);
                        if held.len() != count {
                            return 3;
                        }
                    }
                    0
                });
                let why = "1: too few or too many; 2: one twice; 3: another number later";
                assert_eq!(code, 0, "{why}, in round {round}");
            }
            ended.store(true, Ordering::Relaxed);
        });
        drop(held);
        let all = pool.allocate_many(SIZE, SIZE, COUNT).unwrap();
        assert!(pool.allocate(SIZE, SIZE).is_err());
        drop(all);
        println!("{} steals in the parent", pool.stats().classes[0].steals);
    });
}

/// Threads wait in the parent, in turn and in strict order. A child does not have them:
/// what is given back there can all be taken there, by caches that are in use.
fn a_child_serves_nobody_who_waited_in_its_parent(kind: Kind) {
    const COUNT: usize = 8;
    const WAITERS: u64 = 3;
    let name = "a_child_serves_nobody_who_waited_in_its_parent";
    everywhere(kind, name, || {
        for strict in [false, true] {
            let builder = Pool::builder().reserve(SIZE, SIZE, COUNT).fork(true);
            let builder = builder.strict_order(strict);
            let pool = kind.build(builder.prefault(false));
            let held: Vec<Buffer> = (0..COUNT)
                .map(|_| pool.allocate(SIZE, SIZE).unwrap())
                .collect();
            std::thread::scope(|scope| {
                for _ in 0..WAITERS {
                    let wait = || pool.allocate_timeout(SIZE, SIZE, std::time::Duration::MAX);
                    scope.spawn(move || wait().map(drop).expect("a buffer came back"));
                }
                while pool.stats().waiting < WAITERS {
                    std::thread::yield_now();
                }
                let code = in_fork(|| {
                    assert_eq!(pool.stats().waiting, 0, "somebody waits who is not there");
                    for buffer in &held {
                        // SAFETY: the child's copy of a buffer that the parent keeps.
                        drop(unsafe { std::ptr::read(buffer) });
                    }
                    let again: Vec<Buffer> = (0..COUNT)
                        .map_while(|_| pool.allocate(SIZE, SIZE).ok())
                        .collect();
                    assert_eq!(again.len(), COUNT, "one went to who is not there");
                    drop(again);
                    // A class stays shared for a while after somebody waited.
                    while pool.stats().classes[0].cached == 0 {
                        drop(pool.allocate(SIZE, SIZE).unwrap());
                    }
                    0
                });
                assert_eq!(code, 0);
                drop(held);
            });
        }
    });
}

fn a_child_has_what_is_kept_for_somebody_who_collects_in_its_parent(kind: Kind) {
    const COUNT: usize = 8;
    const FOR_EVER: std::time::Duration = std::time::Duration::MAX;
    let name = "a_child_has_what_is_kept_for_somebody_who_collects_in_its_parent";
    everywhere(kind, name, || {
        for strict in [false, true] {
            let builder = Pool::builder().reserve(SIZE, SIZE, COUNT).fork(true);
            let builder = builder.strict_order(strict);
            let pool = kind.build(builder.prefault(false));
            let mut held = pool.allocate_many(SIZE, SIZE, COUNT).unwrap();
            std::thread::scope(|scope| {
                let wait = || pool.allocate_many_timeout(SIZE, SIZE, COUNT, FOR_EVER);
                let waiter = scope.spawn(wait);
                while pool.stats().waiting < 1 {
                    std::thread::yield_now();
                }
                (0..3).for_each(|_| drop(held.pop()));
                // They are kept for him. Until it is his turn, what comes back is anybody's.
                while pool.available(SIZE, SIZE) > 0 {
                    drop(pool.allocate(SIZE, SIZE));
                    std::thread::yield_now();
                }
                for several in [false, true] {
                    let code = in_fork(|| {
                        // What was kept, by whichever way it asks.
                        let mut own = match several {
                            true => pool.allocate_many_timeout(SIZE, SIZE, 3, FOR_EVER).unwrap(),
                            false => (0..3).map(|_| pool.allocate(SIZE, SIZE).unwrap()).collect(),
                        };
                        assert!(pool.allocate(SIZE, SIZE).is_err());
                        for buffer in &held {
                            // SAFETY: the child's copy of a buffer that the parent keeps.
                            own.push(unsafe { std::ptr::read(buffer) });
                        }
                        drop(own);
                        assert_eq!(wait().unwrap().len(), COUNT);
                        0
                    });
                    assert_eq!(code, 0);
                }
                drop(held);
                assert_eq!(waiter.join().unwrap().unwrap().len(), COUNT);
            });
        }
    });
}
