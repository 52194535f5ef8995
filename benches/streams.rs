//! What a stream's take and give cost beside the pool's.
//!
//! **Timed:** one allocate and one free, one thread, buffers of 64 KiB that nobody
//! touches. `pool` is `Pool::allocate`; `own` is that of a stream that takes one of its
//! own; `claimed` that of a stream that has none of its own and takes one of the pool's.
//! `ring/…`: 8 buffers are held; take one, then give the oldest back.
//!
//! **Not measured:** streams that several threads use at once, whose words they share.

mod support;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hugepool::{Buffer, Pages, Pool, Rung, Stream};
use std::collections::VecDeque;
use std::hint::black_box;
use support::{build, config, label};

const SIZE: usize = 64 << 10;
const ALIGNMENT: usize = 4096;

fn pool() -> Option<Pool> {
    let builder = Pool::builder()
        .prefault(false)
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never)
        .pages(Pages::Transparent, Rung::Never)
        .reserve(SIZE, ALIGNMENT, 64);
    build("streams", &builder)
}

fn streams(criterion: &mut Criterion) {
    let Some(pool) = pool() else { return };
    let own = pool.stream("own").minimum(SIZE, ALIGNMENT, 16).build();
    let claimed = pool.stream("claimed").maximum(SIZE, ALIGNMENT, 16).build();
    let (Ok(own), Ok(claimed)) = (own, claimed) else {
        support::skipped("streams", &"they were not made");
        return;
    };
    let by_pool = || {
        let taken = pool.allocate(black_box(SIZE), black_box(ALIGNMENT));
        black_box(taken.expect("one is free"))
    };
    let by_stream = |stream: &Stream| {
        let taken = stream.allocate(black_box(SIZE), black_box(ALIGNMENT));
        black_box(taken.expect("one is free"))
    };
    let ways: [(&str, &dyn Fn() -> Buffer); 3] = [
        ("pool", &by_pool),
        ("own", &|| by_stream(&own)),
        ("claimed", &|| by_stream(&claimed)),
    ];
    let what = format!("stream/{}", label(SIZE));
    let mut group = criterion.benchmark_group(what);
    for (name, take) in ways {
        group.bench_function(BenchmarkId::new("same", name), |bencher| {
            bencher.iter(|| drop(take()));
        });
        let mut held: VecDeque<Buffer> = (0..8).map(|_| take()).collect();
        group.bench_function(BenchmarkId::new("ring", name), |bencher| {
            bencher.iter(|| {
                held.push_back(take());
                drop(held.pop_front());
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = config();
    targets = streams
}
criterion_main!(benches);
