//! What zeroing buffers that come home costs ([`Builder::wipe`]).
//!
//! **Timed:** one *operation* is one take and one give of the same buffer, by class. `alone`:
//! nothing is done with it in between. `filled`: all of it is written in between, as a reader
//! of a device does, so that it is in the processor's cache when it is wiped. Each for a pool
//! that does not wipe (`plain`) and one that does (`wiped`).
//!
//! **Outside the clock:** building the pools, and their page faults: all memory is faulted in.
//!
//! **Not measured:** what a wiped buffer displaces from the cache of somebody else.

mod support;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hugepool::{Builder, Pool};
use std::hint::black_box;
use support::{build, config, label};

const SIZES: [usize; 4] = [4 << 10, 64 << 10, 1 << 20, 4 << 20];
const ALIGNMENT: usize = 4 << 10;

fn described(size: usize) -> Builder {
    Pool::builder().reserve(size, ALIGNMENT, 4)
}

fn wipe(criterion: &mut Criterion) {
    for (name, filled) in [("alone", false), ("filled", true)] {
        let mut group = criterion.benchmark_group(name);
        for size in SIZES {
            for (kind, wipe) in [("plain", false), ("wiped", true)] {
                let Some(pool) = build("wipe", &described(size).wipe(wipe)) else {
                    return;
                };
                let class = pool.class(size, ALIGNMENT).expect("declared above");
                group.bench_function(BenchmarkId::new(kind, label(size)), |bencher| {
                    bencher.iter(|| {
                        let mut buffer = class.allocate().expect("a buffer is free");
                        if filled {
                            buffer.fill(black_box(1));
                        }
                        black_box(buffer.as_ptr());
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
    targets = wipe
}
criterion_main!(benches);
