//! What the names of buffers between processes cost, with criterion: `cargo bench --bench handles`.
//!
//! One operation is one look-up in the pool, or in a client of it that is in this process:
//! `handle` makes the number of a buffer that is out (GetBufferHandle), `view` and `map`
//! find the buffer of a number (MapBufferHandle, in the server and in the client). Each
//! with the buffers in one segment and in 64, the last of which the buffer is in, and the
//! first. Not measured: the channel over which the number goes.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use hugepool::Pool;
use hugepool::share::{Access, Client};
use std::hint::black_box;
use support::{build, config, label};

const SIZE: usize = 64 << 10;
const ALIGNMENT: usize = 4096;

fn handles(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handles");
    for segments in [1, 64] {
        let builder = Pool::builder()
            .reserve(SIZE, ALIGNMENT, 1)
            .shared(Access::Read)
            .prefault(false)
            .address_space(1 << 30);
        let Some(pool) = build(&format!("handles/{segments}"), &builder) else {
            continue;
        };
        let first = pool.allocate_raw(SIZE, ALIGNMENT).expect("one is free");
        for _ in 1..segments {
            let grown = pool.request(SIZE, ALIGNMENT, 1);
            grown.expect("there is address space");
        }
        let client = Client::new();
        for export in pool.exports().expect("the pool is shared") {
            client.attach(export).expect("it is as it says");
        }
        let mut held = vec![first];
        while let Ok(start) = pool.allocate_raw(SIZE, ALIGNMENT) {
            held.push(start);
        }
        assert_eq!(held.len(), segments);
        // Handles ascend with the segments.
        let handle =
            |start: &std::ptr::NonNull<u8>| pool.handle(start.as_ptr()).expect("it is out");
        held.sort_by_key(|start| handle(start).raw());
        for (start, which) in [(held[0], "first"), (held[segments - 1], "last")] {
            let name = |what| format!("{what}/{}/{which} of {segments}", label(SIZE));
            let number = handle(&start);
            let view = client.map(number).expect("it is out");
            group.bench_function(name("pool.handle"), |bencher| {
                bencher.iter(|| pool.handle(black_box(start.as_ptr())));
            });
            group.bench_function(name("pool.view"), |bencher| {
                bencher.iter(|| pool.view(black_box(number)));
            });
            group.bench_function(name("client.map"), |bencher| {
                bencher.iter(|| client.map(black_box(number)));
            });
            group.bench_function(name("client.handle"), |bencher| {
                bencher.iter(|| client.handle(black_box(view.start.as_ptr())));
            });
            if segments == 1 {
                break;
            }
        }
        for start in held {
            // SAFETY: allocated above, and freed once.
            let freed = unsafe { pool.free_raw(start.as_ptr(), SIZE) };
            freed.expect("it is out");
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = config();
    targets = handles
}
criterion_main!(benches);
