//! What taking a buffer and giving it back costs.
//!
//! **Timed:** one *operation* is one allocate and one free, unless a group says
//! otherwise. Three faces: `pool` (`Pool::allocate`, by size), `class`
//! (`Class::allocate`, resolved before), `raw` (`allocate_raw`, `free_raw`). Size,
//! alignment and pointer pass through `black_box`, so each costs a store and a
//! load that are in the figures.
//!
//! | group | what happens |
//! | --- | --- |
//! | `same` | one buffer, taken and given back; every size and alignment |
//! | `tracked` | as `same`, beside a pool that tracks who takes its buffers, with either kind of caches |
//! | `ring` | 8 buffers held; take one, then give the oldest back |
//! | `burst` | 512 taken, then all given back: the operation with its share of refills and flushes |
//! | `threads` | `same` in T threads at once, on one pool, by class |
//! | `pipeline` | one thread takes and sends, another receives and gives back |
//! | `exhausted` | `steal`: *allocate alone*, one of two free buffers, both in another processor's cache; `climb`: the class is empty and a larger one serves; `refusal`: *allocate alone*, nothing is free; `in-vain`: the same with a wait of no time |
//! | `growth` | `Pool::request` of one segment and `Pool::trim` of it |
//! | `build` | building and dropping a pool of 1 TiB of address space and 1 GiB of memory that is not touched |
//!
//! **Wall and CPU time.** `threads/wall` is measured with the wall clock, and only
//! while there is a processor for each thread; `threads/cpu` adds up
//! `CLOCK_THREAD_CPUTIME_ID`, which threads that wait for a processor do not
//! spend, so 64 threads can be compared with one. Either way the operations are
//! shared out over the threads, which are started together, each thread
//! times its own share, and the figure is the sum of these times for one
//! operation: it stays the same if threads do not disturb each other.
//! `pipeline` is wall time from the first buffer to the last, with the threads
//! pinned to two processors if there are two; `pipeline/ring-alone` passes
//! values of the same size through the same ring without a pool. Everything else
//! is one thread and the wall clock.
//!
//! **Outside the clock:** building pools, starting and pinning threads, filling
//! caches, moving the thread between processors for `steal`.
//!
//! **Not measured:** the buffers' memory. No bench but `growth` touches it, and
//! the pools are not even faulted in (so 64 MiB buffers cost nothing here);
//! `bandwidth` fills buffers. Nor what a cold cache costs, page faults, other
//! allocators (`hugepool bench` runs those), the tail of the distribution, and
//! more than one NUMA node.

mod support;

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/ring.rs"]
mod ring;

use cpu::{Clock, pin, shared_out};
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main,
};
use hugepool::{Buffer, Builder, Class, Machine, Pages, Pool, Rung};
use std::hint::black_box;
use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use support::{build, config, label, skipped};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const SIZES: [usize; 6] = [512, 4 * KIB, 64 * KIB, MIB, 4 * MIB, 64 * MIB];
const ALIGNMENTS: [usize; 3] = [512, 4 * KIB, 2 * MIB];

/// The buffer that most benches take, and its alignment.
const SIZE: usize = 64 * KIB;
const ALIGNMENT: usize = 4 * KIB;

/// A pool whose memory is never touched: the classes are (size, alignment,
/// count).
fn pool(what: &str, classes: &[(usize, usize, usize)]) -> Option<Pool> {
    build(what, &described(classes))
}

fn described(classes: &[(usize, usize, usize)]) -> Builder {
    let mut builder = Pool::builder()
        .prefault(false)
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never)
        .pages(Pages::Transparent, Rung::Never);
    for &(size, alignment, count) in classes {
        builder = builder.reserve(size, alignment, count);
    }
    builder
}

fn resolve(pool: &Pool, size: usize, alignment: usize) -> Class {
    pool.class(size, alignment).expect("declared above")
}

#[inline]
fn by_pool(pool: &Pool, size: usize, alignment: usize) -> Buffer {
    let buffer = pool.allocate(black_box(size), black_box(alignment));
    look(buffer.expect("a buffer is free"))
}

#[inline]
fn by_class(class: &Class) -> Buffer {
    look(class.allocate().expect("a buffer is free"))
}

/// Uses the pointer, as any caller would.
#[inline]
fn look(buffer: Buffer) -> Buffer {
    black_box(buffer.as_ptr());
    buffer
}

#[inline]
fn raw(pool: &Pool, size: usize, alignment: usize) -> *mut u8 {
    let start = pool.allocate_raw(black_box(size), black_box(alignment));
    black_box(start.expect("a buffer is free").as_ptr())
}

#[inline]
fn free(pool: &Pool, start: *mut u8, size: usize) {
    // SAFETY: `raw` gave it for this size, and nobody uses it any more.
    unsafe { pool.free_raw(start, black_box(size)) }.expect("it is out");
}

fn same(criterion: &mut Criterion) {
    // Every class in one pool, as an engine would have it.
    let classes: Vec<_> = SIZES
        .iter()
        .flat_map(|&size| ALIGNMENTS.map(|alignment| (size, alignment, 4)))
        .collect();
    let Some(pool) = pool("same", &classes) else {
        return;
    };
    let mut group = criterion.benchmark_group("same");
    for (size, alignment, _) in classes {
        let shape = format!("{}@{}", label(size), label(alignment));
        group.bench_function(BenchmarkId::new("pool", &shape), |bencher| {
            bencher.iter(|| drop(by_pool(&pool, size, alignment)));
        });
        let class = resolve(&pool, size, alignment);
        group.bench_function(BenchmarkId::new("class", &shape), |bencher| {
            bencher.iter(|| drop(by_class(&class)));
        });
        group.bench_function(BenchmarkId::new("raw", &shape), |bencher| {
            bencher.iter(|| free(&pool, raw(&pool, size, alignment), size));
        });
    }
    group.finish();
}

fn tracked(criterion: &mut Criterion) {
    let described = described(&[(SIZE, ALIGNMENT, 4)]);
    let mut group = criterion.benchmark_group("tracked");
    for portable in [false, true] {
        for track in [false, true] {
            let builder = described.clone().portable_caches(portable).track(track);
            let Some(pool) = build("tracked", &builder) else {
                return;
            };
            let caches = pool.stats().cache;
            let shape = format!("{caches}-{}", if track { "tracked" } else { "plain" });
            group.bench_function(BenchmarkId::new("pool", &shape), |bencher| {
                bencher.iter(|| drop(by_pool(&pool, SIZE, ALIGNMENT)));
            });
            let class = resolve(&pool, SIZE, ALIGNMENT);
            group.bench_function(BenchmarkId::new("class", &shape), |bencher| {
                bencher.iter(|| drop(by_class(&class)));
            });
            group.bench_function(BenchmarkId::new("raw", &shape), |bencher| {
                bencher.iter(|| free(&pool, raw(&pool, SIZE, ALIGNMENT), SIZE));
            });
        }
    }
    group.finish();
}

fn ring_of_8(criterion: &mut Criterion) {
    const HELD: usize = 8;
    let mut group = criterion.benchmark_group("ring");
    for size in [SIZE, MIB] {
        let Some(pool) = pool("ring", &[(size, ALIGNMENT, 4 * HELD)]) else {
            continue;
        };
        let shape = label(size);
        {
            let mut held: [Buffer; HELD] = std::array::from_fn(|_| by_pool(&pool, size, ALIGNMENT));
            let mut at = 0;
            group.bench_function(BenchmarkId::new("pool", &shape), |bencher| {
                bencher.iter(|| {
                    held[at] = by_pool(&pool, size, ALIGNMENT);
                    at = (at + 1) % HELD;
                });
            });
        }
        {
            let class = resolve(&pool, size, ALIGNMENT);
            let mut held: [Buffer; HELD] = std::array::from_fn(|_| by_class(&class));
            let mut at = 0;
            group.bench_function(BenchmarkId::new("class", &shape), |bencher| {
                bencher.iter(|| {
                    held[at] = by_class(&class);
                    at = (at + 1) % HELD;
                });
            });
        }
        let mut held: [*mut u8; HELD] = std::array::from_fn(|_| raw(&pool, size, ALIGNMENT));
        let mut at = 0;
        group.bench_function(BenchmarkId::new("raw", &shape), |bencher| {
            bencher.iter(|| {
                let start = raw(&pool, size, ALIGNMENT);
                free(&pool, std::mem::replace(&mut held[at], start), size);
                at = (at + 1) % HELD;
            });
        });
        for start in held {
            free(&pool, start, size);
        }
    }
    group.finish();
}

fn burst(criterion: &mut Criterion) {
    const BURST: u64 = 512;
    let mut group = criterion.benchmark_group("burst");
    for size in [4 * KIB, SIZE, MIB] {
        // Twice as many as are taken: the depot stays well stocked, so that
        // buffers move in batches.
        let Some(pool) = pool("burst", &[(size, ALIGNMENT, 2 * BURST as usize)]) else {
            continue;
        };
        let class = resolve(&pool, size, ALIGNMENT);
        let mut held = Vec::with_capacity(BURST as usize);
        group.bench_function(BenchmarkId::new("class", label(size)), |bencher| {
            bencher.iter_custom(|operations| {
                let start = Instant::now();
                let mut left = operations;
                while left > 0 {
                    let burst = left.min(BURST);
                    held.extend((0..burst).map(|_| by_class(&class)));
                    held.clear();
                    left -= burst;
                }
                start.elapsed()
            });
        });
    }
    group.finish();
}

fn threads(criterion: &mut Criterion) {
    let Some(pool) = pool("threads", &[(SIZE, ALIGNMENT, 4 * 64)]) else {
        return;
    };
    let class = resolve(&pool, SIZE, ALIGNMENT);
    let cpus = cpu::allowed().len();
    let mut group = criterion.benchmark_group("threads");
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(10);
    for threads in [1usize, 2, 8, 64] {
        // Long enough that oversubscribed threads are preempted in the middle:
        // several milliseconds for each in every sample.
        let each = Duration::from_millis(60).max(Duration::from_millis(5) * threads as u32);
        group.measurement_time(each * 10);
        for (name, clock) in [("wall", Clock::Wall), ("cpu", Clock::Cpu)] {
            let what = format!("threads/{name}/{threads}");
            if matches!(clock, Clock::Wall) && threads > cpus {
                skipped(&what, &format_args!("{cpus} processors"));
                continue;
            }
            if let Err(error) = shared_out(threads, 0, clock, |_| ()) {
                skipped(&what, &error);
                continue;
            }
            group.bench_function(BenchmarkId::new(name, threads), |bencher| {
                bencher.iter_custom(|operations| {
                    let elapsed = shared_out(threads, operations, clock, |share| {
                        for _ in 0..share {
                            drop(by_class(&class));
                        }
                    });
                    elapsed.expect("as many threads as before")
                });
            });
        }
    }
    group.finish();
}

/// Passes `operations` values from this thread to another; the time from the
/// first to the last.
fn passed<T: Send>(
    cpus: &[usize],
    operations: u64,
    mut take: impl FnMut() -> T,
    give: impl Fn(T) + Sync,
) -> io::Result<Duration> {
    let (mut sender, mut receiver) = ring::ring(256);
    let (barrier, give) = (&Barrier::new(2), &give);
    let (first, second) = match *cpus {
        [first, second, ..] => (Some(first), Some(second)),
        _ => (None, None),
    };
    // A thread that cannot be pinned runs where it may.
    let pin_to = |cpu: Option<usize>| cpu.map(|cpu| pin(&[cpu]));
    let elapsed = thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, move || {
            let _ = pin_to(second);
            barrier.wait();
            for _ in 0..operations {
                give(receiver.receive());
            }
            Instant::now()
        })?;
        let _ = pin_to(first);
        barrier.wait();
        let start = Instant::now();
        for _ in 0..operations {
            sender.send(take());
        }
        Ok(other.join().expect("the receiver panicked") - start)
    });
    let _ = pin(cpus);
    elapsed
}

fn pipeline(criterion: &mut Criterion) {
    // In the ring, in two caches and in hands: never more than a few hundred.
    let Some(pool) = pool("pipeline", &[(SIZE, ALIGNMENT, 1024)]) else {
        return;
    };
    let class = resolve(&pool, SIZE, ALIGNMENT);
    let cpus = cpu::allowed();
    if let Err(error) = passed(&cpus, 0, || (), drop) {
        skipped("pipeline", &error);
        return;
    }
    let thread = "a second thread, as before";
    let mut group = criterion.benchmark_group("pipeline");
    group.bench_function("ring-alone", |bencher| {
        bencher.iter_custom(|operations| {
            let value = [0u8; size_of::<Buffer>()];
            passed(
                &cpus,
                operations,
                || black_box(value),
                |value| _ = black_box(value),
            )
            .expect(thread)
        });
    });
    group.bench_function("pool", |bencher| {
        bencher.iter_custom(|operations| {
            let take = || by_pool(&pool, SIZE, ALIGNMENT);
            passed(&cpus, operations, take, drop).expect(thread)
        });
    });
    group.bench_function("class", |bencher| {
        bencher.iter_custom(|operations| {
            let take = || by_class(&class);
            passed(&cpus, operations, take, drop).expect(thread)
        });
    });
    group.bench_function("raw", |bencher| {
        bencher.iter_custom(|operations| {
            // As a number, since a pointer is not `Send`.
            let take = || raw(&pool, SIZE, ALIGNMENT).expose_provenance();
            let give = |start| free(&pool, std::ptr::with_exposed_provenance_mut(start), SIZE);
            passed(&cpus, operations, take, give).expect(thread)
        });
    });
    group.finish();
}

fn exhausted(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exhausted");
    steal(&mut group);
    climb(&mut group);
    refusal(&mut group);
    in_vain(&mut group);
    group.finish();
}

/// Every free buffer of the pool is put into one processor's cache and then taken
/// from another processor.
fn steal(group: &mut BenchmarkGroup<'_, WallTime>) {
    // As many as any cache holds, however often it was robbed; a thief takes half
    // of them, that is one, and then the other. The others are out.
    const FREE: usize = 2;
    let possible = Machine::probe().possible_cpus.unwrap_or(1);
    let cpus = cpu::allowed();
    let [first, second, ..] = *cpus else {
        skipped("exhausted/steal", &"one processor, nobody to steal from");
        return;
    };
    if let Err(error) = pin(&cpus) {
        skipped("exhausted/steal", &error);
        return;
    }
    let Some(pool) = pool("exhausted/steal", &[(SIZE, ALIGNMENT, 64 * possible)]) else {
        return;
    };
    let class = resolve(&pool, SIZE, ALIGNMENT);
    let others = pool.available(SIZE, ALIGNMENT) - FREE;
    let _others = pool
        .allocate_many(SIZE, ALIGNMENT, others)
        .expect("all are free");
    let steals = || pool.stats().classes[0].steals;
    let mut held = Vec::with_capacity(FREE);
    // Moving between processors takes far longer than what is timed.
    group.sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(10));
    group.measurement_time(Duration::from_millis(60));
    group.bench_function("steal", |bencher| {
        bencher.iter_custom(|operations| {
            let before = steals();
            let mut elapsed = Duration::ZERO;
            // Always whole caches, so that a few operations cost what many do.
            let rounds = operations.div_ceil(FREE as u64);
            for _ in 0..rounds {
                held.extend((0..FREE).map(|_| by_class(&class)));
                pin(&[first]).expect("it was allowed before");
                held.clear();
                pin(&[second]).expect("it was allowed before");
                let start = Instant::now();
                held.extend((0..FREE).map(|_| by_class(&class)));
                elapsed += start.elapsed();
                held.clear();
            }
            let stolen = rounds * FREE as u64;
            assert!(steals() - before >= stolen, "these were no steals");
            elapsed.mul_f64(operations as f64 / stolen as f64)
        });
    });
    pin(&cpus).expect("it was allowed before");
}

/// All that a wait costs but the sleep: into the line, the lists shut and looked
/// through, out of the line, the lists opened.
fn in_vain(group: &mut BenchmarkGroup<'_, WallTime>) {
    let Some(pool) = pool("exhausted/in-vain", &[(SIZE, ALIGNMENT, 4)]) else {
        return;
    };
    let class = resolve(&pool, SIZE, ALIGNMENT);
    let _held: Vec<_> = (0..4).map(|_| by_class(&class)).collect();
    plain(group);
    group.bench_function("in-vain", |bencher| {
        bencher.iter(|| {
            let refused = class.allocate_timeout(Duration::ZERO);
            black_box(refused.expect_err("all are taken"))
        });
    });
}

fn climb(group: &mut BenchmarkGroup<'_, WallTime>) {
    let classes = [(SIZE, ALIGNMENT, 4), (2 * SIZE, ALIGNMENT, 4)];
    let Some(pool) = pool("exhausted/climb", &classes) else {
        return;
    };
    let class = resolve(&pool, SIZE, ALIGNMENT);
    let _held: Vec<_> = (0..4).map(|_| by_class(&class)).collect();
    plain(group);
    group.bench_function("climb", |bencher| {
        bencher.iter(|| drop(by_class(&class)));
    });
    let stats = pool.stats();
    assert!(stats.classes[0].failures == 0 && stats.classes[1].in_use == 0);
}

fn refusal(group: &mut BenchmarkGroup<'_, WallTime>) {
    let Some(pool) = pool("exhausted/refusal", &[(SIZE, ALIGNMENT, 4)]) else {
        return;
    };
    let class = resolve(&pool, SIZE, ALIGNMENT);
    let _held: Vec<_> = (0..4).map(|_| by_class(&class)).collect();
    plain(group);
    group.bench_function("refusal", |bencher| {
        bencher.iter(|| black_box(class.allocate().expect_err("all are taken")));
    });
}

/// The settings of `support::config`, after those of `steal`.
fn plain(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.sample_size(20);
    group.sampling_mode(SamplingMode::Auto);
    group.warm_up_time(Duration::from_millis(100));
    group.measurement_time(Duration::from_millis(300));
}

/// The default pages of this machine, as a caller would get them.
fn growth(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("growth");
    for (name, prefault, count) in [
        ("2MiB-untouched", false, 2),
        ("2MiB-faulted-in", true, 2),
        ("64MiB-untouched", false, 64),
        ("64MiB-faulted-in", true, 64),
    ] {
        let what = format!("growth/{name}");
        let builder = Pool::builder()
            .reserve(MIB, ALIGNMENT, 2)
            .prefault(prefault);
        let Some(pool) = build(&what, &builder) else {
            continue;
        };
        if let Err(error) = pool.request(MIB, ALIGNMENT, count) {
            skipped(&what, &error);
            continue;
        }
        assert_eq!(pool.trim().bytes, count * MIB);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let grown = pool.request(MIB, ALIGNMENT, count);
                grown.expect("there was memory for it before");
                black_box(pool.trim());
            });
        });
    }
    group.finish();
}

fn building(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    let name = "1TiB-reserved-1GiB-untouched";
    let builder = Pool::builder()
        .reserve(MIB, ALIGNMENT, 1024)
        .address_space(1 << 40)
        .prefault(false);
    if build(&format!("build/{name}"), &builder).is_some() {
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(builder.build().expect("it was built before")));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = config();
    targets = same, tracked, ring_of_8, burst, threads, pipeline, exhausted, growth, building
}
criterion_main!(benches);
