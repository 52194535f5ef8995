//! How much the processors' caches hold, and how that moves with use.

mod support;

use hugepool::{Buffer, Builder, ClassStats, Pool};
use std::time::{Duration, Instant};
use support::{LONG, cpus, on_cpu};

const SIZE: usize = 64 << 10;
const ALIGNMENT: usize = 4096;

fn builder() -> Builder {
    Pool::builder().address_space(8 << 30).prefault(false)
}

/// Takes `count` and gives them all back, `times`, on one processor: the cache
/// misses whenever it holds fewer.
fn burst(pool: &Pool, size: usize, count: usize, times: usize) {
    on_cpu(cpus()[0], || {
        for _ in 0..times {
            let held: Vec<Buffer> = (0..count)
                .map(|_| pool.allocate(size, ALIGNMENT).unwrap())
                .collect();
            drop(held);
        }
    });
}

fn class(pool: &Pool, at: usize) -> ClassStats {
    pool.stats().classes[at].clone()
}

/// Pools of both kinds of caches.
fn both(builder: &Builder) -> [Pool; 2] {
    [false, true].map(|portable| builder.clone().portable_caches(portable).build().unwrap())
}

#[test]
fn a_cache_grows_where_it_misses_and_no_further_than_its_bounds() {
    for pool in both(&builder().reserve(SIZE, ALIGNMENT, 4096)) {
        burst(&pool, SIZE, 1, 1);
        let before = class(&pool, 0).cache_capacity;
        let slots = pool.stats().cpus_in_use;
        // From 8; the take missed, and the return, for it was filled up.
        assert!(
            (1..=32 * slots).contains(&before),
            "it begins with {before}"
        );
        burst(&pool, SIZE, 400, 20);
        let after = class(&pool, 0);
        let slots = pool.stats().cpus_in_use;
        assert!(after.cache_capacity > before, "it did not grow");
        assert!(after.cache_capacity <= 60 * slots);
        assert!(after.cached <= after.cache_capacity);
    }
}

#[test]
fn the_caches_of_a_processor_stay_within_their_bytes() {
    const BUDGET: usize = 1 << 20;
    const SIZES: [usize; 3] = [SIZE, 2 * SIZE, 4 * SIZE];
    let mut builder = builder().cpu_cache(BUDGET);
    for size in SIZES {
        builder = builder.reserve(size, ALIGNMENT, 1000);
    }
    for pool in both(&builder) {
        for _ in 0..4 {
            for size in SIZES {
                burst(&pool, size, 200, 10);
            }
        }
        let stats = pool.stats();
        let may: usize = stats
            .classes
            .iter()
            .map(|class| class.cache_capacity * class.stride)
            .sum();
        let least: usize = stats.classes.iter().map(|class| 2 * class.stride).sum();
        assert!(
            may <= stats.cpus_in_use * (BUDGET + least),
            "{may} B on {} CPUs",
            stats.cpus_in_use
        );
        // Those of the processor that all was done on hold the least, each, anyway.
        assert!(may > least, "no cache grew");
        for class in &stats.classes {
            assert!(class.cached <= class.cache_capacity, "{} B", class.size);
        }
    }
}

#[test]
fn capacity_moves_from_an_idle_class_to_one_that_misses() {
    // Room for one large cache.
    let builder = builder()
        .reserve(SIZE, ALIGNMENT, 1000)
        .reserve(2 * SIZE, ALIGNMENT, 1000)
        .cpu_cache(60 * SIZE);
    for pool in both(&builder) {
        burst(&pool, SIZE, 300, 20);
        let first = class(&pool, 0).cache_capacity;
        assert!(first >= 30, "the class in use has {first}");
        burst(&pool, 2 * SIZE, 300, 40);
        let (idle, used) = (
            class(&pool, 0).cache_capacity,
            class(&pool, 1).cache_capacity,
        );
        assert!(idle < first, "the idle class kept its {first}");
        assert!(used > 8, "the class in use has {used}");
        burst(&pool, SIZE, 300, 40);
        assert!(class(&pool, 0).cache_capacity > idle, "it got nothing back");
    }
}

#[test]
fn what_a_class_holds_beyond_its_share_is_there_for_one_that_needs_its_own() {
    const COUNT: usize = 40;
    const SHARE: usize = COUNT / 2;
    // For all of the first class, and a little of the other.
    let builder = builder().cpu_cache(50 * SIZE);
    let builder = builder.reserve(SIZE, ALIGNMENT, COUNT);
    on_cpu(cpus()[0], || {
        for pool in both(&builder.reserve(2 * SIZE, ALIGNMENT, COUNT)) {
            burst(&pool, SIZE, COUNT, 20);
            let first = class(&pool, 0).cache_capacity;
            assert!(first > SHARE, "it kept to its share: {first}");
            // Both are in use.
            for _ in 0..400 {
                burst(&pool, SIZE, 4, 1);
                burst(&pool, 2 * SIZE, SHARE, 1);
            }
            let [first, second] = [0, 1].map(|at| class(&pool, at).cache_capacity);
            assert!(second > SHARE / 2, "it got {second}, the first has {first}");
            assert!(first >= SHARE, "the first has {first}");
        }
    });
}

#[test]
fn where_threads_only_give_all_goes_on_and_the_cache_grows_while_others_have_enough() {
    let cpus = cpus();
    if cpus.len() < 2 {
        support::skipped("one that takes and one that gives: this process may run on one CPU");
        return;
    }
    for pool in both(&builder().reserve(SIZE, ALIGNMENT, 64)) {
        let take = || pool.allocate(SIZE, ALIGNMENT).unwrap();
        let held: Vec<Buffer> = on_cpu(cpus[0], || (0..64).map(|_| take()).collect());
        let mut flushes = Vec::new();
        on_cpu(cpus[1], || {
            for buffer in held {
                let before = class(&pool, 0);
                drop(buffer);
                let after = class(&pool, 0);
                if after.flushes > before.flushes {
                    assert_eq!(after.cached, 1, "more is left than what came just now");
                    if flushes.is_empty() {
                        assert_eq!(after.cache_capacity, before.cache_capacity, "it grew");
                    }
                    flushes.push(after.cache_capacity);
                }
            }
        });
        // The first came when the depot had nothing, the others when it had what that brought.
        assert!(flushes.len() > 2, "{flushes:?}");
        assert!(flushes[1] > flushes[0], "{flushes:?}");
    }
}

#[test]
fn a_thread_that_takes_and_gives_a_few_in_turn_moves_no_batches() {
    // Whatever was in the cache before: what tells that threads only give must not come out even.
    for given in 13..=15 {
        // The pool is made there, too: its buffers are for one processor.
        on_cpu(cpus()[0], || {
            for pool in both(&builder().reserve(SIZE, ALIGNMENT, 17)) {
                let take = || pool.allocate(SIZE, ALIGNMENT).unwrap();
                let mut held: Vec<Buffer> = (0..17).map(|_| take()).collect();
                held.truncate(17 - given);
                let few = || drop((0..4).map(|_| take()).collect::<Vec<_>>());
                (0..8).for_each(|_| few());
                let before = class(&pool, 0).flushes;
                (0..100).for_each(|_| few());
                let after = class(&pool, 0);
                let flushes = after.flushes - before;
                assert!(flushes < 10, "{given} given first: {flushes}, {after:?}");
            }
        });
    }
}

#[test]
fn a_cache_holds_all_there_are_while_nobody_else_misses_them() {
    const ALL: usize = 16;
    let cpus = cpus();
    for pool in both(&builder().reserve(SIZE, ALIGNMENT, ALL)) {
        // Others use the pool, too: their share is not this cache's.
        cpus.iter()
            .for_each(|&cpu| on_cpu(cpu, || drop(pool.allocate(SIZE, ALIGNMENT).unwrap())));
        let moves = || {
            let before = class(&pool, 0);
            burst(&pool, SIZE, ALL, 10);
            let after = class(&pool, 0);
            after.flushes + after.refills - before.flushes - before.refills
        };
        // What lies in their caches is stolen, which is forgotten after a while.
        let settle = || {
            let by = Instant::now() + LONG;
            while moves() > 0 {
                assert!(Instant::now() < by, "{:?}", class(&pool, 0));
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        settle();
        assert!(class(&pool, 0).cached >= ALL, "{:?}", class(&pool, 0));
        if cpus.len() < 2 {
            support::skipped("who misses them: this process may run on one CPU only");
            continue;
        }
        let before = class(&pool, 0);
        let all = on_cpu(cpus[1], || {
            let all = (0..ALL).map(|_| pool.allocate(SIZE, ALIGNMENT).unwrap());
            all.collect::<Vec<Buffer>>()
        });
        let after = class(&pool, 0);
        assert!(after.steals > before.steals);
        assert!(
            after.cache_capacity < before.cache_capacity,
            "{before:?}, {after:?}"
        );
        drop(all);
        settle();
    }
}

#[test]
fn a_cache_that_is_robbed_holds_less() {
    let cpus = cpus();
    if cpus.len() < 2 {
        support::skipped("robbing: this process may run on one CPU only");
        return;
    }
    for pool in both(&builder().reserve(SIZE, ALIGNMENT, 1000)) {
        burst(&pool, SIZE, 500, 20);
        let before = class(&pool, 0).cache_capacity;
        // Everything, so that the first processor's cache is robbed.
        let all = on_cpu(cpus[1], || {
            (0..1000)
                .map(|_| pool.allocate(SIZE, ALIGNMENT).unwrap())
                .collect::<Vec<Buffer>>()
        });
        let after = class(&pool, 0);
        assert!(after.steals > 0);
        assert!(after.cache_capacity < before + 60, "nothing shrank");
        drop(all);
    }
}

#[test]
fn one_sided_use_settles_into_large_batches() {
    let cpus = cpus();
    if cpus.len() < 2 {
        support::skipped("one-sided use: this process may run on one CPU only");
        return;
    }
    const ROUNDS: u64 = 400;
    const EACH: u64 = 100;
    for pool in both(&builder().reserve(SIZE, ALIGNMENT, 2000)) {
        let pass = |rounds: u64| {
            for _ in 0..rounds {
                let held: Vec<Buffer> = on_cpu(cpus[0], || {
                    (0..EACH)
                        .map(|_| pool.allocate(SIZE, ALIGNMENT).unwrap())
                        .collect()
                });
                on_cpu(cpus[1], || drop(held));
            }
        };
        pass(20);
        let before = class(&pool, 0);
        pass(ROUNDS);
        let after = class(&pool, 0);
        let moved = ROUNDS * EACH;
        // Batches of 15 at least, where 30 is the most.
        let (flushes, refills) = (
            after.flushes - before.flushes,
            after.refills - before.refills,
        );
        assert!(flushes <= moved / 15, "{flushes} flushes of {moved}");
        assert!(refills <= moved / 15, "{refills} refills of {moved}");
        assert!(after.steals - before.steals <= moved / 100, "ping-pong");
    }
}
