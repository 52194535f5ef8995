//! P5, misuse is an error, not damage: every wrong pointer or size that is given
//! to `free_raw` or `from_raw` is refused with an error that names it, nothing
//! changes, and the correct call succeeds afterwards.

mod support;

use hugepool::{FreeError, Pool};
use std::ptr::NonNull;
use support::kind::{Kind, both_kinds};

both_kinds! {
    null_is_foreign,
    memory_that_is_not_the_pools_is_foreign,
    addresses_of_the_range_that_hold_no_buffer_are_foreign,
    an_address_inside_a_buffer_is_interior,
    the_prefix_zone_is_interior,
    a_buffer_that_was_never_taken_is_not_allocated,
    a_second_free_is_not_allocated,
    a_wrong_size_is_refused_with_both_sizes,
    the_size_that_counts_is_the_one_asked_for_not_the_classs,
    a_pointer_that_a_buffer_owns_is_not_allocated,
    a_pointer_of_another_pool_is_foreign_and_stays_valid_there,
    a_pointer_into_a_trimmed_segment_is_foreign_until_the_memory_is_back,
    a_size_of_an_earlier_life_does_not_count,
    misuse_by_some_threads_does_not_harm_the_others,
}

const SIZE: usize = 5000;
const ALIGNMENT: usize = 4096;
const PREFIX: usize = 512;
const COUNT: usize = 5;

fn pool(kind: Kind) -> Pool {
    let builder = Pool::builder()
        .reserve(SIZE, ALIGNMENT, COUNT)
        .reserve(64 << 10, ALIGNMENT, 2)
        .prefix_zone(PREFIX);
    kind.build(builder.prefault(false))
}

/// Gives `start` with `size` to both calls that take raw pointers; each must
/// refuse it with `expected`, naming the address, and change nothing.
#[track_caller]
fn refused(pool: &Pool, start: *mut u8, size: usize, expected: FreeError) {
    let all = || {
        let mut stats = pool.stats();
        // To look at a table for the first time may map a page of zeroes.
        stats.metadata_bytes = 0;
        (stats, pool.available(1, 1))
    };
    let before = all();
    // SAFETY: if it is refused, as it must be, nothing happens.
    let freed = unsafe { pool.free_raw(start, size) };
    assert_eq!(freed, Err(expected));
    // SAFETY: as above.
    let owned = unsafe { pool.from_raw(start, size) }.map(drop);
    assert_eq!(owned, Err(expected));
    assert_eq!(all(), before);
    let text = expected.to_string();
    assert!(text.contains(&format!("{:#x}", start.addr())), "{text}");
}

fn foreign(start: *mut u8) -> FreeError {
    let address = start.addr();
    FreeError::Foreign { address }
}

/// A buffer that is out as a raw pointer, and the proof at the end that it still
/// was.
fn with_a_raw_buffer(kind: Kind, test: impl FnOnce(&Pool, NonNull<u8>)) {
    let pool = pool(kind);
    let start = pool.allocate_raw(SIZE, ALIGNMENT).unwrap();
    test(&pool, start);
    assert_eq!(pool.stats().classes[0].in_use, 1);
    // SAFETY: taken above with this size and not freed since.
    unsafe { pool.free_raw(start.as_ptr(), SIZE) }.unwrap();
    assert_eq!(pool.stats().classes[0].in_use, 0);
    assert_eq!(pool.available(SIZE, ALIGNMENT), COUNT);
}

fn null_is_foreign(kind: Kind) {
    with_a_raw_buffer(kind, |pool, _| {
        let null = std::ptr::null_mut();
        refused(pool, null, SIZE, foreign(null));
        refused(pool, null, 0, foreign(null));
    });
}

fn memory_that_is_not_the_pools_is_foreign(kind: Kind) {
    with_a_raw_buffer(kind, |pool, _| {
        let mut heap = vec![0u8; SIZE];
        let mut stack = [0u8; 64];
        for start in [
            heap.as_mut_ptr(),
            stack.as_mut_ptr(),
            std::ptr::without_provenance_mut(usize::MAX),
            std::ptr::without_provenance_mut(1),
        ] {
            refused(pool, start, SIZE, foreign(start));
        }
    });
}

fn addresses_of_the_range_that_hold_no_buffer_are_foreign(kind: Kind) {
    with_a_raw_buffer(kind, |pool, _| {
        let range = pool.stats().address_space;
        for region in pool.regions() {
            // Of the last granule, which has memory as far as the buffers reach.
            let bytes = region.bytes().next_multiple_of(2 << 20);
            let end = region.start().wrapping_add(bytes).cast_mut();
            for start in [
                // before the first segment: the unused granule
                pool.regions()[0].start().wrapping_sub(1).cast_mut(),
                pool.regions()[0].start().wrapping_sub(2 << 20).cast_mut(),
                // the tail behind the last buffer, with and without memory, and the guard
                // behind that
                end.wrapping_sub(1),
                end.wrapping_sub(PREFIX),
                end,
                end.wrapping_add(4096),
                end.wrapping_add((2 << 20) - 1),
                // reserved, not yet used
                end.wrapping_add(1 << 30),
                // the ends of the range
                pool.regions()[0]
                    .start()
                    .wrapping_add(range - (2 << 20))
                    .cast_mut(),
                pool.regions()[0].start().wrapping_add(range).cast_mut(),
            ] {
                refused(pool, start, SIZE, foreign(start));
                assert!(!pool.contains(start));
            }
        }
    });
}

fn an_address_inside_a_buffer_is_interior(kind: Kind) {
    with_a_raw_buffer(kind, |pool, start| {
        let data = start.as_ptr();
        for by in [1, 7, 512, 4095, 4096, SIZE - 1, SIZE] {
            let start = data.wrapping_add(by);
            let expected = FreeError::Interior {
                address: start.addr(),
                start: data.addr(),
            };
            refused(pool, start, SIZE, expected);
            assert!(expected.to_string().contains(&format!("{data:p}")));
            assert!(pool.contains(start));
        }
    });
}

fn the_prefix_zone_is_interior(kind: Kind) {
    with_a_raw_buffer(kind, |pool, start| {
        let data = start.as_ptr();
        for by in [1, PREFIX - 1, PREFIX, ALIGNMENT] {
            let start = data.wrapping_sub(by);
            let expected = FreeError::Interior {
                address: start.addr(),
                start: data.addr(),
            };
            refused(pool, start, SIZE, expected);
        }
    });
}

fn a_buffer_that_was_never_taken_is_not_allocated(kind: Kind) {
    with_a_raw_buffer(kind, |pool, start| {
        // Find the other buffers by their addresses: take and give back.
        let mut others = Vec::new();
        while let Ok(other) = pool.allocate(SIZE, ALIGNMENT) {
            others.push(other);
        }
        let starts: Vec<*mut u8> = others.iter_mut().map(|b| b.as_mut_ptr()).collect();
        assert!(!starts.contains(&start.as_ptr()));
        drop(others);
        for start in starts {
            let address = start.addr();
            refused(pool, start, SIZE, FreeError::NotAllocated { address });
            refused(pool, start, 0, FreeError::NotAllocated { address });
        }
    });
}

fn a_second_free_is_not_allocated(kind: Kind) {
    with_a_raw_buffer(kind, |pool, _| {
        let twice = pool.allocate_raw(SIZE, ALIGNMENT).unwrap().as_ptr();
        // SAFETY: taken just now with this size.
        unsafe { pool.free_raw(twice, SIZE) }.unwrap();
        let address = twice.addr();
        refused(pool, twice, SIZE, FreeError::NotAllocated { address });
        refused(pool, twice, SIZE, FreeError::NotAllocated { address });
    });
}

fn a_wrong_size_is_refused_with_both_sizes(kind: Kind) {
    with_a_raw_buffer(kind, |pool, start| {
        for given in [
            0,
            1,
            SIZE - 1,
            SIZE + 1,
            8192,
            64 << 10,
            1 << 32,
            SIZE + (1 << 32),
            usize::MAX,
        ] {
            let expected = FreeError::WrongSize {
                address: start.as_ptr().addr(),
                given,
                allocated: SIZE,
            };
            refused(pool, start.as_ptr(), given, expected);
            assert!(expected.to_string().contains("5000 B"), "{expected}");
        }
    });
}

fn the_size_that_counts_is_the_one_asked_for_not_the_classs(kind: Kind) {
    let pool = pool(kind);
    let start = pool.allocate_raw(4097, ALIGNMENT).unwrap().as_ptr();
    let expected = FreeError::WrongSize {
        address: start.addr(),
        given: SIZE,
        allocated: 4097,
    };
    refused(&pool, start, SIZE, expected);
    // SAFETY: taken above with this size.
    unsafe { pool.free_raw(start, 4097) }.unwrap();
    assert_eq!(pool.available(SIZE, ALIGNMENT), COUNT);
}

fn a_pointer_that_a_buffer_owns_is_not_allocated(kind: Kind) {
    with_a_raw_buffer(kind, |pool, start| {
        let mut owner = pool.allocate(SIZE, ALIGNMENT).unwrap();
        let address = owner.as_ptr().addr();
        refused(
            pool,
            owner.as_mut_ptr(),
            SIZE,
            FreeError::NotAllocated { address },
        );
        owner.fill(9);
        drop(owner);
        // Raw, then owned: no longer out as a raw pointer.
        // SAFETY: taken with this size; the pointer comes back below.
        let owner = unsafe { pool.from_raw(start.as_ptr(), SIZE) }.unwrap();
        let address = start.as_ptr().addr();
        refused(
            pool,
            start.as_ptr(),
            SIZE,
            FreeError::NotAllocated { address },
        );
        assert_eq!(pool.into_raw(owner).unwrap(), start);
    });
}

fn a_pointer_of_another_pool_is_foreign_and_stays_valid_there(kind: Kind) {
    with_a_raw_buffer(kind, |pool, start| {
        with_a_raw_buffer(kind, |other, theirs| {
            refused(pool, theirs.as_ptr(), SIZE, foreign(theirs.as_ptr()));
            refused(other, start.as_ptr(), SIZE, foreign(start.as_ptr()));
        });
    });
}

fn a_pointer_into_a_trimmed_segment_is_foreign_until_the_memory_is_back(kind: Kind) {
    with_a_raw_buffer(kind, |pool, _| {
        let size = 100 << 10;
        pool.request(size, ALIGNMENT, 3).unwrap();
        let start = pool.allocate_raw(size, ALIGNMENT).unwrap().as_ptr();
        assert_eq!(pool.trim().segments, 0, "a segment in use was trimmed");
        // SAFETY: taken above with this size.
        unsafe { pool.free_raw(start, size) }.unwrap();
        refused(
            pool,
            start,
            size,
            FreeError::NotAllocated {
                address: start.addr(),
            },
        );
        assert_eq!(pool.trim().segments, 1);
        refused(pool, start, size, foreign(start));
        assert!(!pool.contains(start));
        // The same addresses again: nothing of the old life counts.
        pool.request(size, ALIGNMENT, 3).unwrap();
        let again: Vec<_> = (0..3)
            .map(|_| pool.allocate(size, ALIGNMENT).unwrap())
            .collect();
        assert!(again.iter().any(|b| b.as_ptr() == start.cast_const()));
        refused(
            pool,
            start,
            size,
            FreeError::NotAllocated {
                address: start.addr(),
            },
        );
    });
}

fn a_size_of_an_earlier_life_does_not_count(kind: Kind) {
    let pool = pool(kind);
    // One buffer, taken with two sizes in turn.
    let held: Vec<_> = (1..COUNT)
        .map(|_| pool.allocate(SIZE, ALIGNMENT).unwrap())
        .collect();
    let first = pool.allocate_raw(4500, ALIGNMENT).unwrap().as_ptr();
    // SAFETY: taken above with this size.
    unsafe { pool.free_raw(first, 4500) }.unwrap();
    let again = pool.allocate_raw(4600, ALIGNMENT).unwrap().as_ptr();
    assert_eq!(first, again);
    let expected = FreeError::WrongSize {
        address: first.addr(),
        given: 4500,
        allocated: 4600,
    };
    refused(&pool, first, 4500, expected);
    // SAFETY: taken above with this size.
    unsafe { pool.free_raw(again, 4600) }.unwrap();
    drop(held);
    assert_eq!(pool.available(SIZE, ALIGNMENT), COUNT);
}

fn misuse_by_some_threads_does_not_harm_the_others(kind: Kind) {
    let pool = pool(kind);
    let held = pool.allocate_raw(64 << 10, ALIGNMENT).unwrap();
    let address = held.as_ptr().addr();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    if let Ok(start) = pool.allocate_raw(SIZE, ALIGNMENT) {
                        // SAFETY: taken just now with this size.
                        unsafe { pool.free_raw(start.as_ptr(), SIZE) }.unwrap();
                    }
                }
            });
            scope.spawn(|| {
                for by in 1..20_000 {
                    let inside = std::ptr::without_provenance_mut(address + by);
                    // SAFETY: refused, as it must be.
                    let refused = unsafe { pool.free_raw(inside, 64 << 10) };
                    assert!(matches!(refused, Err(FreeError::Interior { .. })));
                    let whole = std::ptr::without_provenance_mut(address);
                    // SAFETY: refused, as it must be.
                    let refused = unsafe { pool.free_raw(whole, by) };
                    assert!(matches!(refused, Err(FreeError::WrongSize { .. })));
                }
            });
        }
    });
    // SAFETY: taken above with this size.
    unsafe { pool.free_raw(held.as_ptr(), 64 << 10) }.unwrap();
    assert_eq!(pool.available(SIZE, ALIGNMENT), COUNT);
    assert_eq!(pool.available(64 << 10, ALIGNMENT), 2);
}

/// A pointer that was kept over a trim may lie in a buffer of another class by then, and lead by
/// the division to one that is out with the same size.
#[test]
fn a_pointer_of_a_trimmed_class_is_not_taken_for_a_buffer_of_the_next_one_there() {
    const BYTES: usize = 5120;
    let pool = Pool::builder().prefault(false).build().unwrap();
    let fill = |size| {
        pool.request(size, 512, 400).unwrap();
        let mut all = Vec::new();
        while let Ok(start) = pool.allocate_raw(BYTES, 512) {
            all.push(start.as_ptr());
        }
        assert!(all.len() >= 400);
        all
    };
    // SAFETY: each was allocated with this size, and what is freed once more is refused.
    let free = |start: *mut u8| unsafe { pool.free_raw(start, BYTES) };
    let stale = fill(6144);
    for &start in &stale {
        free(start).unwrap();
    }
    assert_eq!(pool.trim().segments, 1);
    let held = fill(5632);
    let mut refused = 0;
    for &start in stale.iter().filter(|start| !held.contains(start)) {
        assert!(free(start).is_err(), "{start:p}");
        refused += 1;
    }
    assert!(refused > 100, "{refused}");
    for start in held {
        free(start).unwrap();
    }
}
