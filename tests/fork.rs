//! Proves: a child of a fork may drop the pool and the buffers it inherited. Where
//! the segments were there is a hole in its address space, which its own mappings
//! may fill, so nothing may be unmapped there.
//!
//! Each test in a process of its own, because a fork copies the locks of every
//! other thread as they are.

mod support;

use hugepool::share::{Access, ShareError};
use hugepool::vdi::{Config, Parameters, Set, VD_E_NOTOPEN};
use hugepool::{BuildError, Pages, Pool, Rung};
use support::process::{alone, in_fork};
use support::skipped;

const SIZE: usize = 4096;

const BYTE: u8 = 0x5a;

/// In the child: fills the hole at `start` and drops the pool. 0 if what it put
/// there is still there; other numbers say what went wrong.
fn child(pool: Pool, buffer: hugepool::Buffer, start: *mut u8, bytes: usize) -> i32 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: NOREPLACE: only where nothing is mapped.
    let own = unsafe { libc::mmap(start.cast(), bytes, access, flags, -1, 0) };
    if own != start.cast() {
        return 2;
    }
    // SAFETY: mapped just now, `bytes` long, and nobody else's.
    let own = unsafe { std::slice::from_raw_parts_mut(start, bytes) };
    own.fill(BYTE);
    drop(buffer);
    drop(pool);
    i32::from(own.iter().any(|&byte| byte != BYTE))
}

#[test]
fn a_child_that_drops_the_pool_unmaps_nothing_of_its_own() {
    let name = "a_child_that_drops_the_pool_unmaps_nothing_of_its_own";
    alone(name, &[], drops_the_pool);
}

fn drops_the_pool() {
    let pool = Pool::builder()
        .reserve(64 << 10, 4096, 32)
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never)
        .build()
        .unwrap();
    let mut buffer = pool.allocate(64 << 10, 4096).unwrap();
    buffer.fill(1);
    let (start, bytes) = {
        let region = &pool.regions()[0];
        (region.start().cast_mut(), region.bytes())
    };
    let mut inherited = Some((pool.clone(), buffer));
    let code = in_fork(|| {
        let (pool, buffer) = inherited.take().unwrap();
        child(pool, buffer, start, bytes)
    });
    assert_eq!(code, 0, "1: its memory is gone; 2: no hole");
    let (_, buffer) = inherited.unwrap();
    // The parent's pool goes on.
    assert!(buffer.iter().all(|&byte| byte == 1));
    drop(buffer);
    assert_eq!(pool.available(64 << 10, 4096), 32);
}

#[test]
fn a_child_neither_makes_nor_believes_handles_of_a_shared_pool() {
    alone(
        "a_child_neither_makes_nor_believes_handles_of_a_shared_pool",
        &[],
        handles_in_a_child,
    );
}

fn handles_in_a_child() {
    let builder = Pool::builder().reserve(4096, 4096, 4);
    let pool = builder.shared(Access::Read).build().unwrap();
    let start = pool.allocate_raw(4096, 4096).unwrap();
    let handle = pool.handle(start.as_ptr()).unwrap();
    let told = in_fork(|| {
        let made = pool.handle(start.as_ptr()) == Err(ShareError::Forked);
        let believed = pool.view(handle) == Err(ShareError::Forked);
        let grown = pool.request(4096, 4096, 1) == Err(BuildError::Forked);
        i32::from(!(made && believed && grown))
    });
    assert_eq!(told, 0);
    assert_eq!(pool.view(handle).unwrap().start, start);
    // SAFETY: allocated above, and freed once.
    unsafe { pool.free_raw(start.as_ptr(), 4096) }.unwrap();
}

#[test]
fn a_child_that_trims_a_shared_pool_maps_nothing_over_its_own() {
    alone(
        "a_child_that_trims_a_shared_pool_maps_nothing_over_its_own",
        &[],
        trims_in_a_child,
    );
}

fn trims_in_a_child() {
    let pool = Pool::builder().shared(Access::Read).build().unwrap();
    pool.request(SIZE, SIZE, 2000).unwrap();
    let shared = shared_mappings();
    assert_eq!(shared.len(), 2, "the buffers and their states");
    let unharmed = in_fork(|| {
        if !fill_holes(&shared) {
            return 2;
        }
        let trimmed = pool.trim();
        i32::from(trimmed.segments != 0 || !are_whole(&shared))
    });
    assert_eq!(unharmed, 0, "1: its memory is gone; 2: no hole");
    assert_eq!(pool.trim().segments, 1, "it is the parent's");
}

/// Where this process has memory that others can map, and how much; less the page that
/// says how a pool stands, which a child inherits.
fn shared_mappings() -> Vec<(usize, usize)> {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .filter(|line| line.contains("memfd:hugepool") && !line.contains("hugepool-status"))
        .filter_map(|line| line.split_once(' ')?.0.split_once('-'))
        .map(|(start, end)| {
            let start = usize::from_str_radix(start, 16).unwrap();
            (start, usize::from_str_radix(end, 16).unwrap() - start)
        })
        .collect()
}

/// Maps memory of this process's own where there are `holes`, and fills it. False if
/// something is there.
fn fill_holes(holes: &[(usize, usize)]) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    holes.iter().all(|&(start, bytes)| {
        let hole = std::ptr::without_provenance_mut(start);
        // SAFETY: NOREPLACE: only where nothing is mapped.
        let own = unsafe { libc::mmap(hole, bytes, access, flags, -1, 0) };
        if own != hole {
            return false;
        }
        // SAFETY: mapped just now, and so large.
        unsafe { own.cast::<u8>().write_bytes(BYTE, bytes) };
        true
    })
}

/// Whether what `fill_holes` wrote is still there.
fn are_whole(filled: &[(usize, usize)]) -> bool {
    filled.iter().all(|&(start, bytes)| {
        let own: *const u8 = std::ptr::with_exposed_provenance(start);
        // SAFETY: mapped by `fill_holes`, if it still is; otherwise this process ends.
        (0..bytes).all(|at| unsafe { own.add(at).read() } == BYTE)
    })
}

/// The first process of a namespace of its own, twice: both have the number 1.
#[test]
fn a_child_with_its_parents_number_is_known_as_a_child() {
    let name = "a_child_with_its_parents_number_is_known_as_a_child";
    alone(name, &[], || {
        // SAFETY: changes what number the next child has, or fails.
        let apart = || unsafe { libc::unshare(libc::CLONE_NEWPID) } == 0;
        if !apart() {
            skipped("namespaces of processes: this process may not make them");
            return;
        }
        let unharmed = in_fork(|| {
            let builder = Pool::builder().reserve(SIZE, SIZE, 2000);
            let pool = builder.shared(Access::Read).build().unwrap();
            let shared = shared_mappings();
            if std::process::id() != 1 || !apart() {
                return 3;
            }
            let mut inherited = Some(pool);
            in_fork(|| {
                if std::process::id() != 1 || !fill_holes(&shared) {
                    return 2;
                }
                drop(inherited.take());
                i32::from(!are_whole(&shared))
            })
        });
        assert_eq!(unharmed, 0, "1: its memory is gone; 2: no hole");
    });
}

/// A child that the C library knows nothing of is told apart by a page that the kernel
/// clears, for which it needs a mapping more.
#[test]
fn want_of_memory_once_is_no_reason_to_do_without_telling_children_apart() {
    let name = "want_of_memory_once_is_no_reason_to_do_without_telling_children_apart";
    alone(name, &[], || {
        let page = 4096;
        let map = |access| {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new mapping.
            unsafe { libc::mmap(std::ptr::null_mut(), page, access, flags, -1, 0) }
        };
        let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        if limit > 1 << 20 {
            return skipped("a process without mappings: it may have too many here");
        }
        // Neighbours that may not be merged.
        let mut maps = Vec::with_capacity(limit + 1);
        loop {
            match map([libc::PROT_NONE, libc::PROT_READ][maps.len() % 2]) {
                libc::MAP_FAILED => break,
                mapped => maps.push(mapped),
            }
        }
        // It asks for the page, which cannot be had.
        let _ = Set::new();
        for mapped in maps {
            // SAFETY: mapped above.
            unsafe { libc::munmap(mapped, page) };
        }
        let pool = Pool::builder().reserve(SIZE, SIZE, 1).build().unwrap();
        let (none, flags) = (std::ptr::null::<u8>(), libc::SIGCHLD);
        // SAFETY: the child, which has a copy of the memory and one thread, looks and ends.
        let child = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
        if child == 0 {
            // SAFETY: ends this process.
            unsafe { libc::_exit(i32::from(!pool.is_left_behind())) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(child as i32, &mut status, 0) };
        assert_eq!(status, 0, "the child takes its parent's pool for its own");
    });
}

#[test]
fn a_child_is_told_that_a_virtual_device_set_is_not_open_there() {
    alone(
        "a_child_is_told_that_a_virtual_device_set_is_not_open_there",
        &[],
        a_set_in_a_child,
    );
}

fn a_set_in_a_child() {
    let client = Config {
        device_count: 1,
        ..Config::default()
    };
    let server = Parameters {
        features: 0,
        block_size: 4096,
        alignment: 0,
        max_transfer_size: 1 << 20,
        time_out: 0,
    };
    let set = Set::new();
    set.open(&client).unwrap();
    set.begin_configuration(&server).unwrap();
    set.request_buffers(4096, 0, 2000).unwrap();
    set.end_configuration().unwrap();
    // Nothing is out: the end of it tears everything down. In the child what it does not
    // inherit is a hole, which its own mappings fill.
    let shared = shared_mappings();
    assert_eq!(shared.len(), 2, "the buffers and their states");
    let unharmed = in_fork(|| {
        if !fill_holes(&shared) {
            return 2;
        }
        // SAFETY: read once, and never used again in this process.
        drop(unsafe { std::ptr::read(&set) });
        i32::from(!are_whole(&shared))
    });
    assert_eq!(unharmed, 0);
    let start = set.allocate_buffer(4096, 0).unwrap().as_ptr();
    let told = in_fork(|| {
        // SAFETY: it is refused.
        let freed = unsafe { set.free_buffer(start, 4096) };
        let results = [
            set.open(&client),
            set.configuration().map(drop),
            set.begin_configuration(&server),
            set.request_buffers(4096, 0, 1),
            set.query_available_buffers(4096, 0).map(drop),
            set.end_configuration(),
            set.open_device(),
            set.close_device(),
            set.allocate_buffer(4096, 0).map(drop),
            freed,
            set.signal_abort(),
            set.close(),
        ];
        let told = results
            .iter()
            .all(|result| matches!(result, Err(error) if error.code() == VD_E_NOTOPEN));
        let nothing = !set.is_shared_buffer(start) && set.exports().is_err();
        // Nor does the end of it there harm anybody.
        // SAFETY: read once, and never used again in this process.
        drop(unsafe { std::ptr::read(&set) });
        i32::from(!(told && nothing))
    });
    assert_eq!(told, 0);
    assert_eq!(set.query_available_buffers(4096, 0), Ok(1999));
    // SAFETY: allocated above, and freed once.
    unsafe { set.free_buffer(start, 4096) }.unwrap();
    assert_eq!(set.query_available_buffers(4096, 0), Ok(2000));
    set.close().unwrap();
}
