//! What a pool says of where its buffers lie, to those who register its memory.

mod support;

use hugepool::{Buffer, Pool, Region};
use std::collections::HashSet;

const MIB: usize = 1 << 20;

fn pool() -> Pool {
    Pool::builder()
        .reserve(4096, 4096, 64)
        .reserve(MIB, 4096, 3)
        .prefix_zone(512)
        .address_space(1 << 30)
        .prefault(false)
        .build()
        .unwrap()
}

/// Takes every buffer of `size`.
fn all(pool: &Pool, size: usize) -> Vec<Buffer> {
    let class = pool.class(size, 4096).unwrap();
    std::iter::from_fn(|| class.allocate().ok()).collect()
}

/// The region that a buffer says it is in, which must hold it, prefix and all.
fn home<'a>(regions: &'a [Region], buffer: &Buffer) -> &'a Region {
    let at = buffer.location();
    let region = &regions[at.region.index() as usize];
    assert_eq!(region.id(), at.region);
    assert_eq!(region.start().wrapping_add(at.offset), buffer.as_ptr());
    assert!(at.offset >= buffer.prefix().len() && at.offset + buffer.capacity() <= region.bytes());
    assert!(buffer.capacity() == region.buffer_size());
    region
}

#[test]
fn every_buffer_says_where_it_lies_those_that_came_by_growth_too() {
    let pool = pool();
    // More than a chunk of the smaller ones.
    pool.request(4096, 4096, 10_000).unwrap();
    pool.request(MIB, 4096, 2).unwrap();
    let regions = pool.regions();
    let indices: Vec<u32> = regions.iter().map(|region| region.id().index()).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    let (small, large) = (all(&pool, 4096), all(&pool, MIB));
    let mut seen = HashSet::new();
    let mut counts = [0; 4];
    for buffer in small.iter().chain(&large) {
        let region = home(&regions, buffer);
        counts[region.id().index() as usize] += 1;
        assert!(seen.insert(buffer.location()), "two buffers in one place");
        // Whoever has an address alone is told the same.
        for at in [0, buffer.capacity() - 1] {
            let told = pool.locate(buffer.as_ptr().wrapping_add(at)).unwrap();
            assert_eq!(told.region, region.id());
            assert_eq!(told.offset, buffer.location().offset + at);
        }
    }
    let held: Vec<usize> = regions.iter().map(Region::buffers).collect();
    assert_eq!(counts.to_vec(), held);
}

#[test]
fn what_is_in_no_buffer_lies_nowhere() {
    let pool = pool();
    let region = &pool.regions()[0];
    for address in [
        std::ptr::null(),
        &0u8,
        region.start().wrapping_sub(1),
        // The guard, and what is reserved and not used.
        region.start().wrapping_add(2 * MIB),
        region.start().wrapping_add(512 * MIB),
        region.start().wrapping_add(4 << 30),
    ] {
        assert_eq!(pool.locate(address), None, "{address:?}");
    }
}

#[test]
fn a_region_that_comes_where_one_was_trimmed_is_another() {
    let pool = pool();
    pool.request(MIB, 4096, 4).unwrap();
    let first = pool.regions().pop().unwrap();
    let (id, start) = (first.id(), first.start().addr());
    drop(first);
    assert_eq!(pool.trim().segments, 1);
    assert_eq!(pool.regions().len(), 2);
    pool.request(MIB, 4096, 4).unwrap();
    let second = pool.regions().pop().unwrap();
    assert_eq!(
        (second.start().addr(), second.id().index()),
        (start, id.index())
    );
    assert!(second.id() != id && second.id().generation() > id.generation());
    let held = all(&pool, MIB);
    let there = held
        .iter()
        .filter(|buffer| buffer.location().region == second.id());
    assert_eq!(there.count(), 4);
}

#[test]
fn memory_that_is_trimmed_stays_while_somebody_has_its_region() {
    let pool = pool();
    pool.request(MIB, 4096, 4).unwrap();
    let region = pool.regions().pop().unwrap();
    let mut held = all(&pool, MIB);
    held.retain(|buffer| buffer.location().region == region.id());
    for buffer in &mut held {
        buffer.fill(7);
    }
    let stale = held[0].as_ptr();
    drop(held);
    assert_eq!(pool.trim().segments, 1);
    // The pool does not know the buffers any more.
    assert_eq!((pool.locate(stale), pool.contains(stale)), (None, false));
    assert!(!pool.regions().contains(&region));
    // Nor has anything else come where they were.
    pool.request(MIB, 4096, 4).unwrap();
    let other = pool.regions().pop().unwrap();
    assert_ne!(other.start(), region.start());
    let bytes = |region: &Region| {
        // SAFETY: the region holds its memory, and nobody has its buffers.
        unsafe { std::slice::from_raw_parts(region.start(), region.bytes()) }
    };
    let sevens = bytes(&region).iter().filter(|&&byte| byte == 7).count();
    assert_eq!(sevens, 4 * MIB);
    // With the last of them it goes, and its addresses are free again.
    let start = region.start().addr();
    let copy = region.clone();
    drop(region);
    assert_eq!(bytes(&copy).len(), copy.bytes());
    drop(copy);
    pool.request(MIB, 4096, 4).unwrap();
    assert!(
        pool.regions()
            .iter()
            .any(|region| region.start().addr() == start)
    );
}

#[test]
fn a_region_outlives_its_pool() {
    let pool = pool();
    let mut buffer = pool.allocate(4096, 4096).unwrap();
    buffer.fill(7);
    let (at, region) = (buffer.location(), pool.regions()[0].clone());
    drop((buffer, pool));
    // On another thread, too.
    std::thread::spawn(move || {
        assert_eq!(region.id(), at.region);
        // SAFETY: the region holds its memory, and nobody has its buffers.
        assert_eq!(unsafe { *region.start().wrapping_add(at.offset) }, 7);
    })
    .join()
    .unwrap();
}

#[test]
fn pieces_hold_whole_buffers_and_all_of_the_region() {
    let pool = pool();
    pool.request(MIB, 4096, 7).unwrap();
    let buffers = all(&pool, MIB);
    let region = pool.regions().pop().unwrap();
    let stride = region.stride();
    for limit in [
        0,
        1,
        stride,
        2 * stride - 1,
        3 * stride + 5,
        region.bytes() - 1,
        region.bytes(),
        usize::MAX,
    ] {
        let each = region.piece_bytes(limit);
        assert!(each <= limit || each == stride, "{limit}");
        let pieces: Vec<_> = region.pieces(limit).collect();
        let mut end = 0;
        for piece in &pieces {
            assert_eq!(piece.offset, end);
            assert_eq!(piece.start, region.start().wrapping_add(end));
            assert!(piece.bytes > 0 && piece.bytes <= each);
            end += piece.bytes;
        }
        assert_eq!(end, region.bytes(), "{limit}");
        for buffer in &buffers {
            if buffer.location().region != region.id() {
                continue;
            }
            let offset = buffer.location().offset;
            let (start, end) = (offset - buffer.prefix().len(), offset + buffer.capacity());
            let piece = &pieces[offset / each];
            let within = piece.offset..piece.offset + piece.bytes;
            assert!(within.contains(&start) && end <= within.end, "{limit}");
        }
    }
}
