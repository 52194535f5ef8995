//! What copies into and out of buffers cost that another process may write, beside those
//! of plain ones, with criterion: `cargo bench --bench volatile`.
//!
//! One operation is one copy of that many bytes between a buffer and memory of this
//! program: `read_at` and `write_at` of a `Buffer<Volatile>`, and `copy_from_slice`
//! (`memcpy`) out of and into a `Buffer`. Small ones stay in the caches of the processor;
//! of large ones there are so many buffers that each is out of them when its turn comes.
//! `odd` copies begin and end within a word. Nobody else writes meanwhile.

mod support;

use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use hugepool::{Buffer, Pool, Volatile};
use std::hint::black_box;
use support::{build, config, label};

const ALIGNMENT: usize = 4096;
/// Bytes of all buffers of a size that is to be out of the caches.
const TOGETHER: usize = 256 << 20;

/// Copies by `copy`, each time with the next of `buffers`.
fn copies<B>(bencher: &mut Bencher, buffers: &mut [B], mut copy: impl FnMut(&mut B)) {
    let mut turn = 0;
    bencher.iter(|| {
        turn = (turn + 1) % buffers.len();
        copy(black_box(&mut buffers[turn]));
    });
}

fn volatile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("volatile");
    for (size, odd) in [
        (64, false),
        (61, true),
        (4 << 10, false),
        (64 << 10, false),
        (1 << 20, false),
    ] {
        let count = if size < 1 << 20 { 1 } else { TOGETHER / size };
        let builder = Pool::builder().reserve(size, ALIGNMENT, count);
        let Some(pool) = build(&format!("volatile/{size}"), &builder) else {
            continue;
        };
        let offset = usize::from(odd);
        let mut own = vec![1; size - offset];
        let name = |call: &str| match odd {
            true => format!("{call}/{} odd", label(size)),
            false => format!("{call}/{}", label(size)),
        };
        group.throughput(Throughput::Bytes(own.len() as u64));
        let mut plain = pool
            .allocate_many(size, ALIGNMENT, count)
            .expect("all are free");
        group.bench_function(name("memcpy out"), |bencher| {
            copies(bencher, &mut plain, |buffer| {
                own.copy_from_slice(&buffer[offset..]);
                black_box(&mut own);
            });
        });
        group.bench_function(name("memcpy in"), |bencher| {
            copies(bencher, &mut plain, |buffer| {
                buffer[offset..].copy_from_slice(black_box(&own));
            });
        });
        let plain = plain.into_iter().map(Buffer::into_volatile);
        let mut buffers: Vec<Buffer<Volatile>> = plain.collect();
        group.bench_function(name("read_at"), |bencher| {
            copies(bencher, &mut buffers, |buffer| {
                let read = buffer.read_at(offset, &mut own);
                read.expect("it is within the buffer");
                black_box(&mut own);
            });
        });
        group.bench_function(name("write_at"), |bencher| {
            copies(bencher, &mut buffers, |buffer| {
                let written = buffer.write_at(offset, black_box(&own));
                written.expect("it is within the buffer");
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = config();
    targets = volatile
}
criterion_main!(benches);
