//! How fast buffers are filled, by the kind of pages that back them.
//!
//! **Timed:** `memset` (`<[u8]>::fill`) of whole buffers of 64 KiB and 1 MiB,
//! one after another over an arena of 256 MiB, which is more than the caches and
//! the TLB of small pages hold. `sequential` fills them in the order of their
//! addresses, `random` in a shuffled order that is the same in every run.
//!
//! **Outside the clock:** building the pool, faulting its memory in, taking the
//! buffers, sorting and shuffling. One pool at a time, so at most 256 MiB of
//! memory (1 GiB of reserved huge pages for `Huge1G`, of which 256 MiB is used).
//!
//! **Not measured:** allocating and freeing (`latency`), more than one thread,
//! reading, devices, and which stores the C library's `memset` chooses (it may
//! go around the caches). Each kind of pages is *required*, so no figure stands
//! for another kind than its name says; a kind that is not granted is printed as
//! skipped, with the error.

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hugepool::{Buffer, Pages, Pool, Rung};
use std::hint::black_box;
use support::{build, config, label, skipped};

const ARENA: usize = 256 << 20;
const SIZES: [usize; 2] = [64 << 10, 1 << 20];

/// A pool of `size` byte buffers, `ARENA` in all, on `pages` and nothing else.
fn pool_on(pages: Pages, what: &str, size: usize) -> Option<Pool> {
    let mut builder = Pool::builder().reserve(size, 4096, ARENA / size);
    for kind in Pages::ALL {
        builder = builder.pages(kind, Rung::Never);
    }
    build(what, &builder.pages(pages, Rung::Require))
}

/// Shuffles alike in every run (Fisher and Yates, xorshift).
fn shuffle<T>(values: &mut [T]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..values.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        values.swap(at, (state % (at as u64 + 1)) as usize);
    }
}

fn fill(criterion: &mut Criterion) {
    for size in SIZES {
        let mut group = criterion.benchmark_group(format!("fill/{}", label(size)));
        group.throughput(Throughput::Bytes(size as u64));
        for pages in Pages::ALL {
            let what = format!("fill/{}/{pages:?}", label(size));
            let Some(pool) = pool_on(pages, &what, size) else {
                continue;
            };
            let mut buffers: Vec<Buffer> = match pool.allocate_many(size, 4096, ARENA / size) {
                Ok(buffers) => buffers,
                Err(error) => {
                    skipped(&what, &error);
                    continue;
                }
            };
            buffers.sort_unstable_by_key(|buffer| buffer.as_ptr());
            for order in ["sequential", "random"] {
                if order == "random" {
                    shuffle(&mut buffers);
                }
                let mut next = 0;
                group.bench_function(BenchmarkId::new(format!("{pages:?}"), order), |bencher| {
                    bencher.iter(|| {
                        let buffer = &mut buffers[next];
                        buffer.fill(black_box(next as u8));
                        // The bytes are looked at, so they must be written.
                        black_box(&**buffer);
                        next = if next + 1 == buffers.len() {
                            0
                        } else {
                            next + 1
                        };
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = config();
    targets = fill
}
criterion_main!(benches);
