//! What a pool says of where its buffers lie, to those who register its memory.

mod support;

use hugepool::share::{Access, Client};
use hugepool::{Buffer, BuildError, Pages, Pool, Region, Rung};
use std::collections::HashSet;
use support::process::{alone, in_fork};

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
    let mut named = regions.iter().filter(|region| region.id() == at.region);
    let region = named.next().expect("it is in one of them");
    assert!(named.next().is_none(), "two of one name");
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
        let cut = limit < region.bytes();
        let all = if cut {
            region.buffers() * stride
        } else {
            region.bytes()
        };
        assert_eq!(end, all, "{limit}");
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

#[test]
fn a_cell_is_the_least_of_a_piece_and_what_no_buffer_reaches_is_in_none() {
    let pool = Pool::builder()
        .reserve(4096, 4096, 3)
        .pages(Pages::Base, Rung::Never)
        .prefault(false)
        .build();
    let Ok(pool) = pool else {
        return support::skipped("a region that is longer than its buffers: no huge pages");
    };
    let region = &pool.regions()[0];
    assert!(region.bytes() > 3 * region.stride());
    assert_eq!(region.pieces(4096).len(), 3);
    assert_eq!(
        region.pieces(8192).map(|piece| piece.bytes).sum::<usize>(),
        3 * 4096
    );
    assert_eq!(
        region.pieces(usize::MAX).next().unwrap().bytes,
        region.bytes()
    );
}

#[test]
fn indices_are_used_again_and_regions_are_in_their_order() {
    let pool = pool();
    pool.request(MIB, 4096, 2).unwrap();
    pool.request(MIB, 4096, 2).unwrap();
    let mut held = all(&pool, MIB);
    held.retain(|buffer| buffer.location().region.index() == 3);
    held.truncate(1);
    assert_eq!(pool.trim().segments, 1);
    let indices = |pool: &Pool| -> Vec<u32> {
        let regions = pool.regions();
        regions.iter().map(|region| region.id().index()).collect()
    };
    assert_eq!(indices(&pool), [0, 1, 3]);
    home(&pool.regions(), &held[0]);
    pool.request(MIB, 4096, 2).unwrap();
    assert_eq!(indices(&pool), [0, 1, 2, 3]);
    let regions = pool.regions();
    all(&pool, MIB)
        .iter()
        .for_each(|buffer| _ = home(&regions, buffer));
    home(&regions, &held[0]);
    assert!(regions[2].id().generation() > regions[3].id().generation());
}

#[test]
fn buffers_far_from_the_first_say_where_they_lie() {
    let builder = Pool::builder().prefault(false).address_space(32 << 30);
    let pool = match builder.build() {
        Ok(pool) => pool,
        Err(error) => return support::skipped(&format!("32 GiB of addresses: {error}")),
    };
    for count in 1..=20 {
        if let Err(error) = pool.request(1 << 30, 4096, 1) {
            return support::skipped(&format!("{count} GiB that are not used: {error}"));
        }
        let regions = pool.regions();
        let held = all(&pool, 1 << 30);
        assert_eq!(held.len(), count);
        held.iter().for_each(|buffer| _ = home(&regions, buffer));
    }
}

#[test]
fn what_is_held_is_counted_and_has_its_addresses() {
    let pool = Pool::builder()
        .prefault(false)
        .address_space(16 * MIB)
        .build()
        .unwrap();
    let mut held = Vec::new();
    let refused = loop {
        if let Err(refused) = pool.request(MIB, 4096, 4) {
            break refused;
        }
        held.extend(pool.regions());
        let trimmed = pool.trim();
        assert_eq!((trimmed.segments, trimmed.bytes), (1, 4 * MIB));
        assert_eq!(pool.stats().held_bytes, held.len() * 4 * MIB);
    };
    assert!(!held.is_empty());
    assert!(
        matches!(refused, BuildError::AddressSpace { .. }),
        "{refused}"
    );
    let copies = held.clone();
    drop(held);
    assert_eq!(pool.stats().held_bytes, copies.len() * 4 * MIB);
    drop(copies);
    assert_eq!(pool.stats().held_bytes, 0);
    pool.request(MIB, 4096, 4).unwrap();
    // What is in the pool is not counted.
    let region = pool.regions();
    assert_eq!(pool.stats().held_bytes, 0);
    drop(region);
}

/// Every byte of the region.
fn bytes(region: &Region) -> &[u8] {
    // SAFETY: the region holds its memory, and nobody has its buffers.
    unsafe { std::slice::from_raw_parts(region.start(), region.bytes()) }
}

#[test]
fn a_child_that_drops_a_region_unmaps_nothing_of_its_own() {
    alone(
        "a_child_that_drops_a_region_unmaps_nothing_of_its_own",
        &[],
        || {
            for shared in [false, true] {
                let builder = Pool::builder().prefault(false).address_space(1 << 30);
                let pool = match shared {
                    true => builder.shared(Access::Read).build().unwrap(),
                    false => builder.build().unwrap(),
                };
                pool.request(MIB, 4096, 4).unwrap();
                let region = pool.regions().pop().unwrap();
                assert_eq!(pool.trim().segments, 1);
                let (start, len) = (region.start().cast_mut(), region.bytes());
                // SAFETY: the region holds its memory, and nobody has its buffers.
                unsafe { start.write_bytes(7, len) };
                let mut inherited = Some((pool.clone(), region));
                let code = in_fork(|| {
                    let own = inherited.take().unwrap();
                    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
                    let access = libc::PROT_READ | libc::PROT_WRITE;
                    // SAFETY: a new mapping, where nothing else is.
                    let mapped = unsafe { libc::mmap(start.cast(), len, access, flags, -1, 0) };
                    if mapped != start.cast() {
                        return 2;
                    }
                    // SAFETY: mapped just now.
                    let mine = unsafe { std::slice::from_raw_parts_mut(start, len) };
                    mine.fill(9);
                    drop(own);
                    i32::from(mine.iter().any(|&byte| byte != 9))
                });
                assert_eq!(code, 0, "1: its mapping is not whole; 2: no hole");
                let (_, region) = inherited.unwrap();
                drop(pool);
                assert!(bytes(&region).iter().all(|&byte| byte == 7));
            }
        },
    );
}

#[test]
fn what_is_shared_and_trimmed_is_nobodys_while_it_is_held() {
    let builder = Pool::builder().reserve(4096, 4096, 4).prefault(false);
    let pool = builder.shared(Access::Read).build().unwrap();
    let mut stale = Vec::new();
    let client = Client::new();
    for round in 0..4 {
        pool.request(MIB, 4096, 4).unwrap();
        for export in pool.exports().unwrap() {
            // Those that it has are refused.
            let _ = client.attach(export);
        }
        let region = pool.regions().pop().unwrap();
        let start = pool.allocate_raw(MIB, 4096).unwrap();
        let handle = pool.handle(start.as_ptr()).unwrap();
        assert!(
            pool.view(handle).is_ok() && client.map(handle).is_ok(),
            "{round}"
        );
        // SAFETY: taken above with this size.
        unsafe { pool.free_raw(start.as_ptr(), MIB) }.unwrap();
        assert_eq!(pool.trim().segments, 1);
        // SAFETY: the region holds its memory, and nobody has its buffers.
        unsafe { region.start().cast_mut().write_bytes(round, region.bytes()) };
        stale.push((region, handle, start));
        for (at, (region, handle, start)) in stale.iter().enumerate() {
            assert!(pool.view(*handle).is_err() && client.map(*handle).is_err());
            // SAFETY: it is not out: this must be refused.
            assert!(unsafe { pool.free_raw(start.as_ptr(), MIB) }.is_err());
            assert!(bytes(region).iter().all(|&byte| usize::from(byte) == at));
        }
    }
    drop(pool);
    for (at, (region, ..)) in stale.iter().enumerate() {
        assert!(bytes(region).iter().all(|&byte| usize::from(byte) == at));
    }
}

#[test]
fn pool_buffers_and_regions_may_end_in_any_order() {
    for _ in 0..300 {
        let pool = pool();
        pool.request(MIB, 4096, 2).unwrap();
        let (regions, more) = (pool.regions(), pool.regions());
        let buffer = pool.allocate(MIB, 4096).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || drop(pool));
            scope.spawn(move || drop(regions));
            scope.spawn(move || drop(more));
            scope.spawn(move || drop(buffer));
        });
    }
}
