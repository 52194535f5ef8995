//! What a processor's cache really holds, against what it may.

mod support;

use hugepool::{Buffer, Pool};
use support::kind::{Kind, both_kinds};
use support::small::{SIZE, builder, take};
use support::{cpus, on_cpu, two_cpus};

both_kinds![
    a_cache_holds_no_more_than_its_capacity,
    a_class_in_use_keeps_its_capacity,
];

/// `count` buffers taken on `cpu`.
fn some(pool: &Pool, cpu: usize, count: usize) -> Vec<Buffer> {
    on_cpu(cpu, || (0..count).map(|_| take(pool)).collect())
}

/// A cache of `cpu` that may hold 60, on a machine of few CPUs.
fn grown(pool: &Pool, cpu: usize) {
    for _ in 0..40 {
        let held = some(pool, cpu, 400);
        on_cpu(cpu, || drop(held));
    }
}

/// All buffers taken, but for a batch in the cache of `here` and some in the depot.
fn with_a_batch(kind: Kind, (here, there): (usize, usize)) -> (Pool, Vec<Buffer>) {
    const ALL: usize = 1000;
    let pool = kind.build(builder(ALL));
    let cached = || pool.stats().classes[0].cached;
    grown(&pool, there);
    grown(&pool, here);
    let mut all = some(&pool, here, ALL);
    // Batches into the depot.
    let back = all.split_off(ALL - 150);
    on_cpu(there, || drop(back));
    all.extend(some(&pool, there, cached()));
    assert_eq!(cached(), 0);
    all.extend(some(&pool, here, 1));
    assert_eq!(cached(), 29, "a batch less one");
    (pool, all)
}

/// (A batch that fills a restartable slot is single buffers there, which a thief
/// halves each time.)
#[test]
fn a_portable_cache_above_its_capacity_is_flushed_at_once() {
    let kind = Kind::Portable;
    let Some((here, there)) = two_cpus("flush") else {
        return;
    };
    let (pool, mut all) = with_a_batch(kind, (here, there));
    let stats = || pool.stats().classes[0].clone();
    let eight = all.split_off(all.len() - 8);
    on_cpu(here, || drop(eight));
    // It is robbed again and again, of half of what was freed there.
    let depot = pool.available(SIZE, SIZE) - 37;
    all.extend(some(&pool, there, depot));
    for _ in 0..8 {
        all.extend(some(&pool, there, 1));
    }
    let before = stats();
    assert_eq!(before.cached, 29);
    let last = all.pop();
    on_cpu(here, || drop(last));
    let after = stats();
    // What is above its capacity, of 3 or less, went in one batch.
    assert!(after.cached <= 8, "{} cached", after.cached);
    assert_eq!(after.flushes - before.flushes, 1);
}

fn a_cache_holds_no_more_than_its_capacity(kind: Kind) {
    let Some(two) = two_cpus("capacity") else {
        return;
    };
    let (pool, mut all) = with_a_batch(kind, two);
    let back = all.split_off(all.len() - 100);
    on_cpu(two.0, || drop(back));
    // Of one CPU alone.
    let cached = pool.stats().classes[0].cached;
    assert!(cached <= 60, "{cached} in one cache");
}

fn a_class_in_use_keeps_its_capacity(kind: Kind) {
    let cpu = cpus()[0];
    let builder = builder(1000).reserve(2 * SIZE, SIZE, 1000);
    let pool = kind.build(builder.cpu_cache(60 * SIZE));
    grown(&pool, cpu);
    let before = pool.stats().classes[0].cache_capacity;
    on_cpu(cpu, || {
        for _ in 0..200 {
            // A few misses of the other class, for which there is no budget.
            let held: Vec<_> = (0..4).map(|_| pool.allocate(2 * SIZE, SIZE)).collect();
            drop(held);
            drop(take(&pool));
        }
    });
    let after = pool.stats().classes[0].cache_capacity;
    assert_eq!(before, after, "it was in use all the time");
}
