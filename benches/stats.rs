//! What `stats` and `request` cost in a process that has much else: `cargo bench --bench stats`.
//!
//! The process has 20,000 mappings and, if there is as much memory, 4 GiB of small pages
//! beside a pool of 256 buffers of 64 KiB, which is faulted in. `request` adds a segment of 16
//! buffers, and `trim` gives it back.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use hugepool::Pool;
use std::hint::black_box;
use support::{build, config, label};

const SIZE: usize = 64 << 10;
const MAPPINGS: usize = 20_000;
const BESIDE: usize = 4 << 30;

fn map(bytes: usize, access: i32) -> *mut libc::c_void {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, which is left to the process's end.
    unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) }
}

/// Bytes of small pages that were faulted in.
fn fill() -> usize {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = available.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok());
    let bytes = BESIDE.min(kib.map_or(0, |kib: usize| kib << 9));
    let start = map(bytes, libc::PROT_READ | libc::PROT_WRITE);
    assert_ne!(start, libc::MAP_FAILED);
    // SAFETY: mapped just now.
    unsafe {
        libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE);
        (0..bytes)
            .step_by(4096)
            .for_each(|at| start.cast::<u8>().add(at).write(1));
    }
    bytes
}

fn crowded(criterion: &mut Criterion) {
    let builder = Pool::builder()
        .reserve(SIZE, 4096, 256)
        .address_space(1 << 30);
    let Some(pool) = build("stats", &builder) else {
        return;
    };
    let mut group = criterion.benchmark_group("stats");
    let mut measure = |beside: &str| {
        group.bench_function(format!("stats/{beside}"), |bencher| {
            bencher.iter(|| black_box(pool.stats()));
        });
        group.bench_function(format!("request, trim/{beside}"), |bencher| {
            bencher.iter(|| {
                pool.request(SIZE, 4096, 16).expect("there is memory");
                pool.trim()
            });
        });
    };
    measure("nothing beside it");
    for at in 0..MAPPINGS {
        map(4096, [libc::PROT_NONE, libc::PROT_READ][at % 2]);
    }
    let bytes = fill();
    measure(&format!(
        "{MAPPINGS} mappings and {} beside it",
        label(bytes)
    ));
    group.finish();
}

criterion_group! {
    name = benches;
    config = config();
    targets = crowded
}
criterion_main!(benches);
