//! What a pool reserves and does not use costs the process nothing that is limited: no
//! data (`RLIMIT_DATA`, which counts what the commit limit counts, too: private memory that
//! may be written), no memory, even if all that is mapped is locked, and a small share of
//! its addresses. And a growth for which the system has no memory changes nothing.

mod support;

use hugepool::share::Access;
use hugepool::{AllocError, BuildError, Builder, Pages, Pool, Rung, StreamError};
use std::time::Duration;
use support::process::{alone, in_fork};
use support::{maps, number, skipped, smaps};

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// What may be taken besides what is used: 2 MiB, and what is kept of each processor that is
/// there, of whatever class.
fn slack() -> usize {
    2 * MIB + (40 << 10) * support::processors()
}

/// A field of `/proc/self/status`, in bytes.
fn status(field: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let rest = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = rest.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
    kib.and_then(|kib| kib.parse::<usize>().ok()).expect(field) * 1024
}

/// Bytes of private memory that may be written.
fn data() -> usize {
    status("VmData")
}

/// Has this process have no more than `bytes` of what `which` limits.
fn limit(which: libc::__rlimit_resource_t, bytes: usize) {
    // SAFETY: the structure is of integers, written by the first call, and read by the
    // second. The hard limit stays what it is.
    let set = unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(which, &mut limit);
        limit.rlim_cur = (bytes as libc::rlim_t).min(limit.rlim_max);
        libc::setrlimit(which, &limit)
    };
    assert_eq!(set, 0, "setrlimit");
}

/// Whether the process can map so much without access.
fn can_map(bytes: usize) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, of which nothing is used.
    unsafe {
        let at = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0);
        at != libc::MAP_FAILED && libc::munmap(at, bytes) == 0
    }
}

fn plain() -> Builder {
    Pool::builder().prefault(false)
}

/// Mappings, but for the heap, which grows and shrinks with this text.
fn mapped() -> Vec<(usize, usize, String)> {
    let maps = maps().into_iter().filter(|map| map.name != "[heap]");
    maps.map(|map| (map.start, map.end, map.access)).collect()
}

/// Does something of everything that a pool can.
fn use_all(pool: &Pool) {
    let buffers = pool.allocate_many(4096, 4096, 4).unwrap();
    let limit = Duration::from_millis(1);
    assert!(pool.allocate_timeout(4096, 4096, limit).is_err());
    assert!(pool.allocate_many_timeout(4096, 4096, 2, limit).is_err());
    drop(buffers);
    let stream = pool.stream("one").minimum(4096, 4096, 1).build().unwrap();
    drop(stream.allocate(4096, 4096).unwrap());
    drop(stream);
    let raw: Vec<_> = (0..4)
        .map(|_| pool.allocate_raw(4096, 4096).unwrap())
        .collect();
    for start in raw {
        // SAFETY: taken above with this size.
        unsafe { pool.free_raw(start.as_ptr(), 4096) }.unwrap();
    }
    assert!(!pool.contains(std::ptr::null()));
    let regions = pool.regions();
    assert!(!pool.contains(regions[0].start().wrapping_add(512 * MIB)));
    assert_eq!(pool.available(4096, 4096), 4);
}

#[test]
fn what_is_reserved_and_not_used_is_no_data() {
    alone("what_is_reserved_and_not_used_is_no_data", &[], || {
        let four = plain().reserve(4096, 4096, 4);
        for (what, builder) in [
            ("by default", four.clone()),
            ("64 GiB", four.clone().address_space(64 * GIB)),
            ("1 TiB", four.clone().address_space(1024 * GIB)),
            ("tracked", four.clone().address_space(64 * GIB).track(true)),
            (
                "shared",
                four.clone().address_space(64 * GIB).shared(Access::Read),
            ),
            (
                "portable",
                four.clone().address_space(64 * GIB).portable_caches(true),
            ),
        ] {
            let before = data();
            let pool = builder.build().unwrap();
            let built = data() - before;
            use_all(&pool);
            let used = data() - before;
            // The buffers are in use; a huge page is.
            let segments = pool.stats().segments;
            let most = slack() + segments.iter().map(|segment| segment.bytes).sum::<usize>();
            drop(pool);
            assert!(built <= most, "{what}: {} KiB of data", built >> 10);
            assert!(used <= most, "{what}: {} KiB of data when used", used >> 10);
            println!(
                "{what}: {} KiB of data, {} when used",
                built >> 10,
                used >> 10
            );
        }
    });
}

#[test]
fn the_tables_of_many_buffers_are_no_more_data_than_they_use() {
    alone(
        "the_tables_of_many_buffers_are_no_more_data_than_they_use",
        &[],
        || {
            // Chunks of 4096 buffers that lie side by side, and far apart.
            for (size, count) in [(512, 200_000), (4096, 100_000), (65536, 10_000)] {
                let builder = plain()
                    .address_space(64 * GIB)
                    .pages(Pages::Huge1G, Rung::Never);
                let builder = builder.pages(Pages::Huge2M, Rung::Never);
                let before = data();
                let pool = builder.reserve(size, 512, count).build().unwrap();
                let taken = data() - before;
                let memory: usize = pool.regions().iter().map(|region| region.bytes()).sum();
                // A record, a state, and the batches that it could be in.
                let used = memory + count * (32 + 64 + 13);
                assert!(
                    taken <= used + slack(),
                    "{size}: {taken} bytes, of which {used} are used"
                );
            }
        },
    );
}

#[test]
fn a_pool_works_where_data_are_limited_and_one_too_large_changes_nothing() {
    alone(
        "a_pool_works_where_data_are_limited_and_one_too_large_changes_nothing",
        // One heap, which `mapped` leaves out.
        &[("MALLOC_ARENA_MAX", "1")],
        || {
            let unlimited = || limit(libc::RLIMIT_DATA, libc::RLIM_INFINITY as usize);
            limit(libc::RLIMIT_DATA, data() + 4 * MIB);
            let pool = plain()
                .reserve(4096, 4096, 4)
                .address_space(1024 * GIB)
                .build();
            if pool.is_err() {
                // To say so takes memory.
                unlimited();
            }
            let pool = pool.unwrap();
            use_all(&pool);
            let held = pool.allocate(4096, 4096).unwrap();
            // 24 MiB of buffers, and some 5 MiB for what is known of them.
            let (size, count) = (512, 50_000);
            let request = |more: usize| {
                limit(libc::RLIMIT_DATA, data() + more);
                let requested = pool.request(size, 512, count);
                unlimited();
                requested
            };
            assert!(request(MIB).is_err());
            let (stats, before) = (pool.stats(), mapped());
            let mut refusals = [0; 2];
            for more in (1..).map(|halves| halves * MIB / 2) {
                match request(more) {
                    Ok(()) => break,
                    Err(error @ BuildError::OutOfMemory { .. }) => {
                        let buffers = more > size * count;
                        refusals[usize::from(buffers)] += 1;
                        assert_eq!(mapped(), before, "{error}");
                        let now = pool.stats();
                        assert_eq!(
                            (now.classes, now.segments),
                            (stats.classes.clone(), stats.segments.clone())
                        );
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            assert!(refusals.iter().all(|&count| count > 1), "{refusals:?}");
            assert_eq!(pool.allocate_many(size, 512, count).unwrap().len(), count);
            drop(held);
            assert_eq!(pool.trim().segments, 1);
            use_all(&pool);
        },
    );
}

#[test]
fn a_wait_or_a_stream_for_which_there_is_no_memory_is_refused_and_may_come_again() {
    let name = "a_wait_or_a_stream_for_which_there_is_no_memory_is_refused_and_may_come_again";
    alone(name, &[], || {
        let pool = plain().reserve(4096, 4096, 4).build().unwrap();
        let held = pool.allocate_many(4096, 4096, 4).unwrap();
        let free = plain().reserve(4096, 4096, 4).build().unwrap();
        limit(libc::RLIMIT_DATA, data());
        let wait = pool.allocate_timeout(4096, 4096, Duration::from_secs(60));
        let stream = free.stream("one").minimum(4096, 4096, 1).build();
        limit(libc::RLIMIT_DATA, libc::RLIM_INFINITY as usize);
        let refused = AllocError::TooManyWaiters { limit: 0 };
        assert_eq!(wait.map(drop).unwrap_err(), refused);
        let refused = StreamError::TooManyShares { limit: 0 };
        assert_eq!(stream.map(drop).unwrap_err(), refused);
        assert_eq!((pool.stats().waiting, free.available(4096, 4096)), (0, 4));
        drop(held);
        use_all(&pool);
        use_all(&free);
    });
}

#[test]
fn a_child_of_a_fork_grows_its_own_tables() {
    alone("a_child_of_a_fork_grows_its_own_tables", &[], || {
        let pool = plain().fork(true).reserve(4096, 4096, 4).build().unwrap();
        let code = in_fork(|| {
            pool.request(512, 512, 5000).unwrap();
            assert_eq!(pool.allocate_many(512, 512, 5000).unwrap().len(), 5000);
            use_all(&pool);
            0
        });
        assert_eq!(code, 0);
        pool.request(512, 512, 5000).unwrap();
        assert_eq!(pool.allocate_many(512, 512, 5000).unwrap().len(), 5000);
        use_all(&pool);
    });
}

#[test]
fn where_all_that_is_mapped_is_locked_a_pool_is_no_larger_than_it_is_used() {
    let name = "where_all_that_is_mapped_is_locked_a_pool_is_no_larger_than_it_is_used";
    alone(name, &[], || {
        // SAFETY: what is mapped from now on is locked.
        if unsafe { libc::mlockall(libc::MCL_FUTURE) } != 0 {
            return skipped(&format!("{name}: memory may not be locked"));
        }
        let resident = || smaps().iter().map(|map| map.rss).sum::<usize>();
        resident();
        for (what, builder) in [
            ("prefaulted", Pool::builder()),
            ("unfaulted", plain()),
            ("tracked", plain().track(true)),
            ("shared", plain().shared(Access::Read)),
        ] {
            let builder = builder
                .pages(Pages::Huge1G, Rung::Never)
                .pages(Pages::Huge2M, Rung::Never)
                .address_space(GIB)
                .reserve(512, 512, 8);
            let before = resident();
            let pool = match builder.build() {
                Ok(pool) => pool,
                Err(error) => return skipped(&format!("{name}: {error}")),
            };
            let taken = resident() - before;
            assert!(taken <= slack(), "{what}: {} KiB are resident", taken >> 10);
            println!("{what}: {} KiB are resident", taken >> 10);
            drop(pool);
        }
    });
}

#[test]
fn a_class_has_no_more_memory_than_its_buffers_reach() {
    let without_hugetlb = Pool::builder()
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never);
    let base = without_hugetlb
        .clone()
        .pages(Pages::Transparent, Rung::Never);
    let pages = |bytes: usize| bytes.next_multiple_of(4096);
    for (size, count) in [(512, 8), (4096, 4), (700, 100), (3 * MIB, 3), (512, 5000)] {
        let used = size.next_multiple_of(512) * count;
        for (builder, merged) in [(&base, false), (&without_hugetlb, true)] {
            for builder in [builder.clone(), builder.clone().shared(Access::Read)] {
                let pool = builder.reserve(size, 512, count).build().unwrap();
                pool.request(size, 512, count).unwrap();
                for segment in pool.stats().segments {
                    // Huge pages, of which the last is used by half at least, or base pages.
                    let most = if merged && used % (2 * MIB) >= MIB {
                        used.next_multiple_of(2 * MIB)
                    } else {
                        pages(used)
                    };
                    assert!(
                        segment.bytes >= used && segment.bytes <= most,
                        "{segment:?}"
                    );
                    assert!(segment.resident_bytes >= used, "{segment:?}");
                    assert!(segment.resident_bytes <= most, "{segment:?}");
                }
                let mut all = pool.allocate_many(size, 512, 2 * count).unwrap();
                all.iter_mut().for_each(|buffer| buffer.fill(1));
            }
        }
    }
}

#[test]
fn thousands_of_pools_leave_most_addresses_to_others() {
    alone(
        "thousands_of_pools_leave_most_addresses_to_others",
        &[],
        || {
            const POOLS: usize = 1_700;
            let name = "thousands_of_pools_leave_most_addresses_to_others";
            if !can_map(64 * 1024 * GIB) {
                return skipped(&format!("{name}: there are less than 64 TiB of addresses"));
            }
            if number("/proc/sys/vm/max_map_count").is_none_or(|most| most < 14 * POOLS) {
                return skipped(&format!("{name}: vm.max_map_count is too small"));
            }
            let builder = plain().reserve(4096, 4096, 4);
            let mut pools = Vec::with_capacity(POOLS);
            for at in 0..POOLS {
                match builder.build() {
                    Ok(pool) => pools.push(pool),
                    Err(error) => panic!("pool {at}: {error}"),
                }
            }
            for pool in pools.iter().step_by(100) {
                // Room to grow is left to each.
                pool.request(4096, 4096, 64).unwrap();
            }
            assert!(can_map(1024 * GIB), "{} KiB mapped", status("VmSize") >> 10);
            let each = status("VmSize") / POOLS;
            println!(
                "{} MiB of addresses a pool, {} mappings, {} KiB in memory",
                each >> 20,
                maps().len() / POOLS,
                (status("VmRSS") / POOLS) >> 10
            );
        },
    );
}

#[test]
fn where_addresses_are_limited_a_pool_takes_a_share_of_what_is_left() {
    let name = "where_addresses_are_limited_a_pool_takes_a_share_of_what_is_left";
    alone(name, &[], || {
        if !can_map(64 * GIB) {
            return skipped(&format!("{name}: they are limited already"));
        }
        limit(libc::RLIMIT_AS, status("VmSize") + 8 * GIB);
        let mut pools = Vec::new();
        for at in 1..=10 {
            let pool = plain().reserve(4096, 4096, 4).build().unwrap();
            assert!(pool.stats().address_space >= 64 * MIB, "no room to grow");
            pools.push(pool);
            assert!(can_map(2 * GIB), "{at} pools took the rest");
        }
        for pool in &pools {
            pool.request(65536, 4096, 256).unwrap();
        }
    });
}

#[test]
fn the_default_room_is_in_proportion_and_its_end_says_how_to_have_more() {
    let empty = plain().build().unwrap();
    let room = empty.stats().address_space;
    assert!((8 * GIB..9 * GIB).contains(&room), "{room}");
    // No more than small machines promise.
    let large = plain()
        .reserve(MIB, 4096, 640)
        .pages(Pages::Huge1G, Rung::Never)
        .build()
        .unwrap();
    let room = large.stats().address_space;
    assert!((10 * GIB..11 * GIB).contains(&room), "{room}");
    let error = empty.request(GIB, 4096, 16).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, BuildError::AddressSpace { needed, limit }
        if needed >= 16 * GIB && limit == empty.stats().address_space));
    for part in ["16384 MiB", "address_space", "1 TiB"] {
        assert!(text.contains(part), "{text}");
    }
    let wide = plain().address_space(17 * GIB).build().unwrap();
    wide.request(256 * MIB, 4096, 1).unwrap();
}

/// States that others read are behind a descriptor, and do not count. Nor does what comes in
/// their place when they are trimmed.
#[test]
fn a_shared_pool_has_no_more_that_counts_after_a_trim_than_before() {
    alone(
        "a_shared_pool_has_no_more_that_counts_after_a_trim_than_before",
        &[],
        || {
            let builder = plain().reserve(512, 512, 4).shared(Access::Read);
            let pool = builder.address_space(16 * GIB).build().unwrap();
            let grow = || pool.request(512, 512, 200_000).unwrap();
            // What growth leaves ready stays.
            grow();
            assert_eq!(pool.trim().segments, 1);
            grow();
            let before = data();
            assert_eq!(pool.trim().segments, 1);
            let after = data();
            // Less than a third of the states.
            assert!(after < before + 4 * MIB, "{before} B, and then {after} B");
        },
    );
}
