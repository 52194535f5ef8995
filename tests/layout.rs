//! Where buffers lie: at any alignment and any size the address is aligned,
//! buffers and their prefix zones do not overlap, both are writable to the last
//! byte, and what is written stays; beyond 4096 buffers of a class as well. The
//! memory is kept out of core dumps and forked children unless it was asked for.

mod support;

use hugepool::{Buffer, Builder, Pages, Pool, Rung};
use support::{smaps, within};

const MIB: usize = 1 << 20;

/// Memory that is faulted in where it is touched, by small pages.
fn sparse() -> Builder {
    Pool::builder()
        .prefault(false)
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never)
        .pages(Pages::Transparent, Rung::Never)
}

/// The bytes that belong to each buffer and its prefix zone, by address.
fn extents(buffers: &[Buffer]) -> Vec<(usize, usize)> {
    let mut extents: Vec<(usize, usize)> = buffers
        .iter()
        .map(|buffer| {
            let start = buffer.as_ptr().addr();
            let prefix = buffer.prefix();
            // Right before the data.
            assert_eq!(prefix.as_ptr().addr() + prefix.len(), start);
            (prefix.as_ptr().addr(), start + buffer.capacity())
        })
        .collect();
    extents.sort_unstable();
    extents
}

fn assert_apart(buffers: &[Buffer], pool: &Pool) {
    let extents = extents(buffers);
    for pair in extents.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{:#x?} overlap", pair);
    }
    for (start, end) in extents {
        assert!(
            pool.regions().iter().any(|region| {
                let first = region.start().addr();
                first <= start && end <= first + region.bytes()
            }),
            "{start:#x}..{end:#x} is not in the pool's memory"
        );
        let first: *const u8 = std::ptr::without_provenance(start);
        assert!(pool.contains(first) && pool.contains(first.wrapping_add(end - start - 1)));
    }
}

/// The stretches of a buffer that the tests write: its ends, and the neighbourhood
/// of each MiB.
fn stretches(len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let near = move |at: usize| at.saturating_sub(64).min(len)..(at + 64).min(len);
    (0..=len / MIB)
        .map(move |k| near(k * MIB))
        .chain([near(len)])
}

fn mark(buffer: &mut Buffer, mark: u8) {
    buffer.prefix_mut().fill(!mark);
    for stretch in stretches(buffer.len()) {
        buffer[stretch].fill(mark);
    }
}

fn assert_marked(buffer: &Buffer, mark: u8) {
    assert!(buffer.prefix().iter().all(|&byte| byte == !mark));
    for stretch in stretches(buffer.len()) {
        assert!(buffer[stretch].iter().all(|&byte| byte == mark));
    }
}

#[test]
fn every_alignment_and_size_is_served_aligned_and_apart() {
    let sizes = [
        1,
        511,
        512,
        513,
        4095,
        65536,
        65537,
        MIB,
        MIB + 1,
        3 * MIB - 5,
        64 * MIB,
    ];
    for prefix in [0, 1, 512, 4097] {
        for shift in 0..=26 {
            let alignment = 1 << shift;
            let mut builder = sparse().prefix_zone(prefix).climb(1);
            for size in sizes {
                builder = builder.reserve(size, alignment, 2);
            }
            let pool = builder.build().unwrap();
            let mut buffers = Vec::new();
            for size in sizes {
                for _ in 0..2 {
                    let buffer = pool.allocate(size, alignment).unwrap();
                    assert_eq!(buffer.as_ptr().addr() % alignment, 0);
                    assert_eq!((buffer.len(), buffer.capacity()), (size, size));
                    assert_eq!(buffer.prefix().len(), prefix);
                    buffers.push(buffer);
                }
            }
            assert_apart(&buffers, &pool);
            for (k, buffer) in buffers.iter_mut().enumerate() {
                mark(buffer, k as u8 + 1);
            }
            for (k, buffer) in buffers.iter().enumerate() {
                assert_marked(buffer, k as u8 + 1);
            }
        }
    }
}

#[test]
fn alignments_may_be_mixed_in_one_pool() {
    let classes = [
        (512, 1),
        (4096, 4096),
        (4096, 65536),
        (65536, 512),
        (MIB, 64 * MIB),
        (700, 2 * MIB),
    ];
    let mut builder = sparse().prefix_zone(100);
    for (size, alignment) in classes {
        builder = builder.reserve(size, alignment, 3);
    }
    let pool = builder.build().unwrap();
    let mut all = Vec::new();
    // The largest first, so that nothing climbs into a class still to be taken.
    for (size, alignment) in [
        (MIB, 64 * MIB),
        (65536, 512),
        (4096, 65536),
        (4096, 4096),
        (700, 2 * MIB),
        (512, 1),
    ] {
        for _ in 0..3 {
            let buffer = pool.allocate(size, alignment).unwrap();
            assert_eq!(buffer.as_ptr().addr() % alignment, 0);
            all.push(buffer);
        }
    }
    assert_apart(&all, &pool);
}

#[test]
fn growth_lies_apart_from_what_was_there() {
    let pool = sparse()
        .reserve(5000, 512, 10)
        .prefix_zone(64)
        .build()
        .unwrap();
    let mut all = pool.allocate_many(5000, 512, 10).unwrap();
    for (k, buffer) in all.iter_mut().enumerate() {
        mark(buffer, k as u8);
    }
    for (size, alignment, count) in [
        (5000, 512, 500),
        (MIB, 16 * MIB, 3),
        (5000, 512, 1),
        (512, 8 * MIB, 2),
    ] {
        pool.request(size, alignment, count).unwrap();
        all.extend(pool.allocate_many(size, alignment, count).unwrap());
        assert_apart(&all, &pool);
    }
    for (k, buffer) in all.iter().take(10).enumerate() {
        assert_marked(buffer, k as u8);
    }
}

#[test]
fn more_than_4096_buffers_of_a_class_lie_apart_at_any_stride() {
    // size, alignment, prefix, count: strides of 1, 2, 3, 5, 9 … sectors.
    for (size, alignment, prefix, count) in [
        (512, 512, 0, 4097),
        (513, 1, 0, 9000),
        (1000, 512, 512, 8192),
        (2100, 512, 0, 8193),
        (4097, 512, 1, 5000),
        (4096, 4096, 512, 4500),
        (20000, 8192, 0, 4100),
    ] {
        let pool = sparse()
            .reserve(size, alignment, count)
            .prefix_zone(prefix)
            .build()
            .unwrap();
        let mut all = pool.allocate_many(size, alignment, count).unwrap();
        let stride = pool.stats().classes[0].stride;
        assert_eq!(stride % 512, 0);
        let extents = extents(&all);
        for (k, pair) in extents.windows(2).enumerate() {
            assert_eq!(pair[1].0 - pair[0].0, stride, "behind buffer {k}");
        }
        assert!(
            all.iter()
                .all(|buffer| buffer.as_ptr().addr() % alignment == 0)
        );
        for (k, buffer) in all.iter_mut().enumerate() {
            let number = (k as u32).to_le_bytes();
            let end = size - 4;
            buffer[..4].copy_from_slice(&number);
            buffer[end..].copy_from_slice(&number);
        }
        // Each address leads back to its own buffer, whichever it is.
        for (k, buffer) in all.into_iter().enumerate() {
            let number = (k as u32).to_le_bytes();
            assert_eq!(
                (&buffer[..4], &buffer[size - 4..]),
                (&number[..], &number[..])
            );
            let start = pool.into_raw(buffer).unwrap().as_ptr();
            for inside in [1, size - 1, size] {
                let address = start.wrapping_add(inside);
                // SAFETY: refused, as it must be.
                assert!(unsafe { pool.free_raw(address, size) }.is_err());
            }
            // SAFETY: made raw just now with this size.
            unsafe { pool.free_raw(start, size) }.unwrap();
        }
        assert_eq!(pool.available(size, alignment), count);
    }
}

#[test]
fn contents_survive_a_stay_in_the_pool_and_begin_as_zero() {
    let pool = sparse()
        .reserve(10_000, 512, 50)
        .prefix_zone(512)
        .build()
        .unwrap();
    let mut all = pool.allocate_many(10_000, 512, 50).unwrap();
    assert!(
        all.iter()
            .all(|buffer| buffer.iter().chain(buffer.prefix()).all(|&byte| byte == 0))
    );
    let mut marks = std::collections::HashMap::new();
    for (k, buffer) in all.iter_mut().enumerate() {
        buffer.fill(k as u8 + 1);
        buffer.prefix_mut().fill(k as u8 + 101);
        marks.insert(buffer.as_ptr(), k as u8 + 1);
    }
    drop(all);
    // Bookkeeping never touches a buffer: not while it is in a list, not when it
    // moves between lists.
    for buffer in pool.allocate_many(10_000, 512, 50).unwrap() {
        let mark = marks[&buffer.as_ptr()];
        assert!(buffer.iter().all(|&byte| byte == mark));
        assert!(buffer.prefix().iter().all(|&byte| byte == mark + 100));
    }
}

#[test]
fn regions_hold_every_buffer_and_nothing_overlaps_between_them() {
    let pool = sparse()
        .reserve(512, 512, 9000)
        .reserve(MIB, 4 * MIB, 5)
        .build()
        .unwrap();
    pool.request(4096, 4096, 3).unwrap();
    let mut regions = pool.regions();
    regions.sort_by_key(|region| region.start().addr());
    assert_eq!(regions.len(), 3);
    for pair in regions.windows(2) {
        // A guard between: an overrun faults before it reaches the next segment.
        assert!(pair[0].start().addr() + pair[0].bytes() + 2 * MIB <= pair[1].start().addr());
    }
    let maps = smaps();
    for region in regions {
        assert_eq!(
            (region.start().addr() % (2 * MIB), region.bytes() % 4096),
            (0, 0)
        );
        let end = region.start().addr() + region.bytes();
        let behind = maps
            .iter()
            .find(|map| map.start <= end && end < map.end)
            .unwrap();
        assert_eq!(behind.access, "---p", "no guard behind a segment");
    }
}

#[test]
fn memory_is_kept_from_core_dumps_and_forks_unless_asked_for() {
    for (dump, fork) in [(false, false), (true, false), (false, true), (true, true)] {
        for prefault in [false, true] {
            let pool = Pool::builder()
                .reserve(65536, 4096, 64)
                .prefault(prefault)
                .dump(dump)
                .fork(fork)
                .build()
                .unwrap();
            pool.request(MIB, 4096, 4).unwrap();
            let maps = smaps();
            for region in pool.regions() {
                let parts = within(&maps, region.start().addr(), region.bytes());
                assert_eq!(
                    parts.iter().map(|map| map.bytes()).sum::<usize>(),
                    region.bytes()
                );
                for map in parts {
                    let has = |flag: &str| map.flags.iter().any(|other| other == flag);
                    assert_eq!(has("dd"), !dump, "core dump: {:?}", map.flags);
                    assert_eq!(has("dc"), !fork, "fork: {:?}", map.flags);
                }
            }
        }
    }
}
