//! P6, truthful: what `stats` counts is what happened, in scripted sequences on one
//! thread at a time; the bookkeeping stays within 64 B per buffer, 640 B per class and
//! 64 KiB per CPU, of which it counts two at least; growth and trimming show; the table that is printed names every class.

mod support;

use hugepool::{Buffer, BuildError, ClassStats, Pages, Pool, Rung};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::process::alone;
use support::{cpus, on_cpu, pin, processors, skipped, stay_off_passing, that_fit, two_cpus};

const SIZE: usize = 4096;

fn pool(count: usize) -> Pool {
    Pool::builder()
        .reserve(SIZE, SIZE, count)
        .prefault(false)
        .build()
        .unwrap()
}

fn class(pool: &Pool) -> ClassStats {
    pool.stats().classes[0].clone()
}

fn take(pool: &Pool, count: usize) -> Vec<Buffer> {
    (0..count)
        .map(|_| pool.allocate(SIZE, SIZE).unwrap())
        .collect()
}

#[test]
fn a_fresh_pool_has_counted_nothing() {
    let pool = Pool::builder()
        .reserve(5000, 2048, 9)
        .prefix_zone(10)
        .prefault(false)
        .build();
    let pool = pool.unwrap();
    let stats = pool.stats();
    let fresh = class(&pool);
    assert_eq!(
        (fresh.size, fresh.alignment, fresh.stride),
        (5000, 2048, 6144 + 2048)
    );
    assert_eq!(
        (fresh.capacity, fresh.in_use, fresh.cached, fresh.high_water),
        (9, 0, 0, 0)
    );
    assert_eq!((fresh.refills, fresh.flushes, fresh.steals), (0, 0, 0));
    assert_eq!((fresh.climbs, fresh.failures), (0, 0));
    assert_eq!(stats.capacity(), 9);
    assert_eq!(stats.segments.len(), 1);
    assert_eq!(
        (stats.segments[0].buffers, stats.segments[0].class_size),
        (9, 5000)
    );
    assert!(!stats.segments[0].grown);
    assert!(stats.cpus >= cpus().len());
    assert!((1..=stats.cpus).contains(&stats.cpus_in_use));
    // Looking changes nothing.
    assert_eq!(pool.stats(), stats);
}

#[test]
fn in_use_and_high_water_follow_what_callers_hold() {
    on_cpu(cpus()[0], || {
        let pool = pool(1000);
        let mut most = 0;
        for held in [1, 2, 31, 64, 65, 500, 3, 1000, 0, 10] {
            let buffers = take(&pool, held);
            let now = class(&pool);
            most = most.max(held);
            assert_eq!(now.in_use, held);
            assert_eq!(now.capacity, 1000);
            assert!(now.in_use + now.cached <= 1000);
            assert!(
                now.high_water >= most,
                "{} after {most} were held",
                now.high_water
            );
            // One CPU's cache at the most above what was held.
            assert!(now.high_water <= most + 64);
            drop(buffers);
            let now = class(&pool);
            assert_eq!(
                (now.in_use, now.failures, now.climbs, now.steals),
                (0, 0, 0, 0)
            );
        }
        assert_eq!(class(&pool).high_water, 1000);
    });
}

#[test]
fn refills_and_flushes_are_counted_once_a_batch() {
    on_cpu(cpus()[0], || {
        let pool = pool(1000);
        let buffers = take(&pool, 500);
        let taken = class(&pool);
        assert!(taken.refills > 0 && taken.flushes == 0);
        // No batch is larger than the cache holds, nor a single buffer.
        assert!((500 / 64..=500 / 2).contains(&(taken.refills as usize)));
        drop(buffers);
        let given = class(&pool);
        assert_eq!(given.refills, taken.refills);
        assert!((400 / 64..=500 / 2).contains(&(given.flushes as usize)));
        assert!(given.cached > 0 && given.cached <= 64);
        // What one cache holds comes and goes without any batch.
        for _ in 0..1000 {
            drop(take(&pool, given.cached));
        }
        let warm = class(&pool);
        assert_eq!((warm.refills, warm.flushes), (given.refills, given.flushes));
    });
}

#[test]
fn a_steal_is_counted_where_a_buffer_came_from_another_cache() {
    let Some((here, there)) = two_cpus("steals") else {
        return;
    };
    let pool = pool(2);
    // A cache keeps two of so few.
    on_cpu(here, || drop(take(&pool, 2)));
    assert_eq!((class(&pool).steals, class(&pool).cached), (0, 2));
    let held = on_cpu(there, || take(&pool, 2));
    assert_eq!((class(&pool).steals, class(&pool).cached), (2, 0));
    on_cpu(here, || drop(held));
    on_cpu(here, || drop(take(&pool, 2)));
    assert_eq!((class(&pool).steals, class(&pool).failures), (2, 0));
}

#[test]
fn climbs_and_failures_are_counted_to_the_class_that_was_asked_for() {
    let pool = Pool::builder()
        .reserve(4096, 4096, 2)
        .reserve(8192, 4096, 3)
        .reserve(1 << 20, 4096, 1)
        .prefault(false)
        .build()
        .unwrap();
    let counts = || -> Vec<(usize, u64, u64)> {
        let classes = pool.stats().classes;
        classes
            .iter()
            .map(|c| (c.in_use, c.climbs, c.failures))
            .collect()
    };
    let held = take(&pool, 5);
    assert_eq!(counts(), [(2, 3, 0), (3, 0, 0), (0, 0, 0)]);
    for _ in 0..4 {
        assert!(pool.allocate(1, 1).is_err());
        assert!(pool.allocate_raw(SIZE, SIZE).is_err());
    }
    assert!(pool.allocate(8192, 1).is_err());
    assert!(pool.allocate_many(SIZE, 1, 2).is_err());
    assert_eq!(counts(), [(2, 3, 9), (3, 0, 1), (0, 0, 0)]);
    // What could never be served is no failure of a class.
    assert!(pool.allocate(2 << 20, 1).is_err());
    assert!(pool.allocate(0, 1).is_err());
    assert!(pool.allocate_many(SIZE, 1, 6).is_err());
    assert_eq!(counts(), [(2, 3, 9), (3, 0, 1), (0, 0, 0)]);
    drop(held);
    assert_eq!(counts(), [(0, 3, 9), (0, 0, 1), (0, 0, 0)]);
}

#[test]
fn high_water_is_never_below_what_was_held_whoever_took_it() {
    let Some((here, there)) = two_cpus("high water under a race") else {
        return;
    };
    // Many classes of two buffers: in each, two threads take both at once.
    const CLASSES: usize = 100;
    for round in 0..8 {
        let mut builder = Pool::builder().prefault(false).climb(0);
        for class in 1..=CLASSES {
            builder = builder.reserve(class * 512, 512, 2);
        }
        let pool = builder.build().unwrap();
        let arrived = AtomicUsize::new(0);
        let takers = &|cpu| {
            pin(cpu);
            (1..=CLASSES)
                .map(|class| {
                    arrived.fetch_add(1, Ordering::Relaxed);
                    let mut spins = 0;
                    while arrived.load(Ordering::Relaxed) < 2 * class {
                        std::hint::spin_loop();
                        spins += 1;
                        if spins % 10_000 == 0 {
                            // The other one may have no CPU.
                            std::thread::yield_now();
                        }
                    }
                    pool.allocate(class * 512, 512).unwrap()
                })
                .collect::<Vec<_>>()
        };
        let held = std::thread::scope(|scope| {
            let workers = [here, there].map(|cpu| scope.spawn(move || takers(cpu)));
            workers.map(|worker| worker.join().unwrap())
        });
        for class in pool.stats().classes {
            assert_eq!(class.in_use, 2);
            assert!(
                class.high_water >= 2,
                "round {round}: 2 buffers of {} B are held, high water {}",
                class.size,
                class.high_water
            );
        }
        drop(held);
    }
}

#[test]
fn raw_pointers_cost_bookkeeping_where_they_are_asked_for() {
    const COUNT: usize = 4096;
    const STATES: usize = 64 * COUNT;
    let builder = Pool::builder().prefault(false).reserve(512, 512, COUNT);
    let bytes = |pool: &Pool| pool.stats().metadata_bytes;
    let cpus = |pool: &Pool| pool.stats().cpus_in_use;
    // A processor costs some, too, and may come on line or go in between.
    stay_off_passing();
    let (plain, raw) = loop {
        let plain = builder.clone().build().unwrap();
        let raw = builder.clone().raw_pointers(true).build().unwrap();
        if cpus(&plain) == cpus(&raw) {
            break (plain, raw);
        }
    };
    // Tables begin anywhere in a page.
    let states = bytes(&raw) - bytes(&plain);
    assert!((STATES..=STATES + (8 << 10)).contains(&states), "{states}");
    let before = bytes(&plain);
    let all: Vec<_> = (0..COUNT)
        .map(|_| plain.allocate_raw(512, 512).unwrap())
        .collect();
    let states = bytes(&plain) - before;
    assert!((STATES..=STATES + (8 << 10)).contains(&states), "{states}");
    for start in all {
        // SAFETY: allocated above, and freed once.
        unsafe { plain.free_raw(start.as_ptr(), 512) }.unwrap();
    }
}

fn assert_lean(what: &str, pool: &Pool, touch: bool) {
    let stats = pool.stats();
    // The records of a segment, and what is kept for its memory, begin in the midst of a page,
    // which the allowance for processors covers unless there are many segments.
    let segments = stats.segments.len();
    let pages = if segments > 20 { segments << 13 } else { 0 };
    let classes = 640 * stats.classes.len();
    let processors = processors().max(2);
    // Memory, and what lies between.
    let granules: usize = (stats.segments.iter())
        .map(|segment| 64 * segment.bytes.div_ceil(2 << 20))
        .sum();
    let own = 24 << 10;
    let limit = own + 64 * stats.capacity() + classes + (64 << 10) * processors + pages + granules;
    println!("{what}: {} of {limit} B", stats.metadata_bytes);
    assert!(stats.metadata_bytes > 0);
    assert!(
        stats.metadata_bytes <= limit,
        "{what}: {} B of bookkeeping, at most {limit} are promised",
        stats.metadata_bytes
    );
    if touch {
        // Nor after every buffer has been out.
        for class in &stats.classes {
            let free = pool.available(class.size, class.alignment);
            drop(
                pool.allocate_many(class.size, class.alignment, free)
                    .unwrap(),
            );
        }
        assert_lean(what, pool, false);
    }
}

#[test]
fn the_bookkeeping_stays_within_its_bound() {
    let unfaulted = || Pool::builder().prefault(false);
    let one = unfaulted().reserve(65536, 4096, 1).build().unwrap();
    assert_lean("1 buffer", &one, true);
    let two = unfaulted()
        .reserve(65536, 4096, 1024)
        .reserve(1 << 20, 4096, 16);
    assert_lean("1040 buffers in 2 classes", &two.build().unwrap(), true);
    let many = unfaulted().reserve(4096, 4096, 100_000).build().unwrap();
    assert_lean("100000 buffers", &many, true);
    let mut classes = unfaulted();
    for class in 1..=20 {
        classes = classes.reserve(class * 4096, 4096, 64);
    }
    assert_lean("20 classes of 64", &classes.build().unwrap(), true);
    // Of 128 MiB, with the prefix zone before each.
    let count = that_fit("32 buffers of 64 MiB", 32, 128 << 20);
    let large = unfaulted()
        .reserve(64 << 20, 64 << 20, count)
        .prefix_zone(512)
        .build()
        .unwrap();
    assert_lean("buffers of 64 MiB", &large, true);
    let count = that_fit("1024 buffers of 1 MiB", 1024, 1 << 20);
    let space = unfaulted()
        .address_space(1 << 40)
        .reserve(1 << 20, 4096, count)
        .build()
        .unwrap();
    assert_lean("1 TiB of address space", &space, true);
}

#[test]
fn the_bookkeeping_of_many_small_segments_stays_within_its_bound_too() {
    let mut classes = Pool::builder().prefault(false);
    for class in 1..=50 {
        classes = classes.reserve(class * 4096, 4096, 1);
    }
    assert_lean("50 classes of 1", &classes.build().unwrap(), true);
    let grown = pool(1);
    for _ in 0..50 {
        grown.request(SIZE, SIZE, 1).unwrap();
    }
    assert_lean("51 segments of 1", &grown, true);
    // As many addresses as a process may have are not there everywhere; nor may it map more
    // than a small machine has. (On pages of 1 GiB a segment has two of them, and where they
    // begin.)
    let far = || {
        let far = Pool::builder()
            .prefault(false)
            .address_space(256 << 30)
            .build()?;
        for _ in 0..100 {
            far.request(1 << 30, 4096, 1)?;
        }
        Ok::<_, BuildError>(far)
    };
    match far() {
        Ok(far) => assert_lean("100 segments of one buffer of 1 GiB", &far, false),
        Err(error @ (BuildError::AddressSpace { .. } | BuildError::OutOfMemory { .. })) => {
            skipped(&format!("100 segments of 1 GiB: {error}"));
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn growth_and_trimming_show() {
    let pool = pool(4);
    let before = pool.stats();
    pool.request(SIZE, SIZE, 600).unwrap();
    pool.request(1 << 20, 4096, 3).unwrap();
    let grown = pool.stats();
    assert_eq!(grown.capacity(), 607);
    let capacities: Vec<usize> = grown.classes.iter().map(|class| class.capacity).collect();
    assert_eq!(capacities, [604, 3]);
    let segments: Vec<(bool, usize)> = grown
        .segments
        .iter()
        .map(|s| (s.grown, s.buffers))
        .collect();
    assert_eq!(segments, [(false, 4), (true, 600), (true, 3)]);
    assert_eq!(grown.address_space, before.address_space);
    assert_lean("a grown pool", &pool, true);
    let held = pool.allocate(1 << 20, 1).unwrap();
    let trimmed = pool.trim();
    assert_eq!(
        (trimmed.segments, trimmed.bytes),
        (1, grown.segments[1].bytes)
    );
    assert_eq!(pool.stats().capacity(), 7);
    assert_eq!(pool.stats().segments.len(), 2);
    drop(held);
    assert_eq!(pool.trim().segments, 1);
    assert_eq!(pool.trim(), hugepool::Trimmed::default());
    let after = pool.stats();
    assert_eq!(after.segments, before.segments);
    assert_eq!((after.capacity(), after.classes[0].in_use), (4, 0));
    assert_eq!(pool.available(SIZE, SIZE), 4);
}

#[test]
fn available_counts_what_one_caller_could_take() {
    let pool = Pool::builder()
        .reserve(4096, 4096, 5)
        .reserve(16384, 512, 3)
        .reserve(65536, 4096, 2)
        .prefault(false)
        .build()
        .unwrap();
    for (size, alignment) in [
        (1, 1),
        (4096, 4096),
        (4096, 512),
        (5000, 512),
        (16384, 4096),
        (65536, 1),
    ] {
        let said = pool.available(size, alignment);
        let had = std::iter::from_fn(|| pool.allocate(size, alignment).ok()).collect::<Vec<_>>();
        assert_eq!(had.len(), said, "{size}/{alignment}");
        assert_eq!(pool.available(size, alignment), 0);
    }
    assert_eq!(pool.available(65537, 1), 0);
    assert_eq!(pool.available(0, 1), 0);
    assert_eq!(pool.available(1, 3), 0);
}

#[test]
fn the_printed_table_names_classes_segments_and_metadata() {
    let pool = Pool::builder()
        .reserve(64 << 10, 4096, 7)
        .reserve(1000, 512, 12345)
        .pages(Pages::Transparent, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never)
        .pages(Pages::Huge1G, Rung::Never)
        .prefault(false)
        .build()
        .unwrap();
    let _held = pool.allocate_many(64 << 10, 4096, 3).unwrap();
    let text = pool.stats().to_string();
    let line = |start: &str| -> Vec<&str> {
        let line = text.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start}:\n{text}"))
            .split_whitespace()
            .collect()
    };
    assert_eq!(line("64 KiB/4096")[2..4], ["7", "3"]);
    assert_eq!(line("1000 B/512")[2..4], ["12345", "0"]);
    for segment in pool.stats().segments {
        assert!(line(&format!("{:#x}", segment.address)).contains(&"base"));
    }
    let metadata = line("metadata");
    assert_eq!(metadata[1], pool.stats().metadata_bytes.to_string());
    assert!(text.contains("12352 buffers"), "{text}");
}

/// Makes neighbouring mappings that the kernel does not merge, as far as there may be any.
fn many_mappings(count: usize) {
    for at in 0..count {
        let access = [libc::PROT_NONE, libc::PROT_READ][at % 2];
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, which is left to the process's end.
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, flags, -1, 0) };
    }
}

/// In a process of its own: it counts what that reads, and has many mappings.
#[test]
fn what_a_pool_says_of_itself_does_not_depend_on_what_else_the_process_has_mapped() {
    const TEST: &str =
        "what_a_pool_says_of_itself_does_not_depend_on_what_else_the_process_has_mapped";
    alone(TEST, &[], || {
        let read = || {
            let io = std::fs::read_to_string("/proc/self/io").ok()?;
            let line = io.lines().find_map(|line| line.strip_prefix("rchar: "))?;
            line.parse::<usize>().ok()
        };
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release
            .split(['.', '-'])
            .map(|part| part.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < (6, 7) || read().is_none() {
            return skipped("pages of a range alone: needs Linux 6.7 and /proc/self/io");
        }
        let pool = pool(4);
        many_mappings(20_000);
        let before = read().unwrap();
        let stats = pool.stats();
        pool.request(SIZE, SIZE, 4).unwrap();
        let all = read().unwrap() - before;
        assert_eq!(stats.segments.len(), 1);
        assert!(all < 1 << 18, "{all} bytes were read");
    });
}

/// The first thread of a process, which `/proc/self` is, may end before the others.
#[test]
fn what_the_kernel_says_is_read_though_the_first_thread_has_ended() {
    const TEST: &str = "what_the_kernel_says_is_read_though_the_first_thread_has_ended";
    alone(TEST, &[], || {
        let groups = hugepool::Machine::probe().control_groups.len();
        // SAFETY: the child starts a thread, and ends by `_exit`, whatever that finds.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let first = std::process::id();
            std::thread::spawn(move || {
                let state = || std::fs::read_to_string(format!("/proc/{first}/stat"));
                while !state().is_ok_and(|state| state.contains(") Z ")) {
                    std::thread::yield_now();
                }
                let builder = Pool::builder().reserve(SIZE, SIZE, 64);
                let builder = builder.pages(Pages::Huge2M, Rung::Never);
                let stats = builder.build().unwrap().stats();
                let segment = &stats.segments[0];
                let whole = segment.resident_bytes == segment.bytes && segment.page_size > 0;
                let seen = hugepool::Machine::probe().control_groups.len();
                let code = i32::from(!whole) + 2 * i32::from(seen != groups);
                // SAFETY: ends the process.
                unsafe { libc::_exit(code) };
            });
            // SAFETY: ends this thread alone, and runs nothing of what it has on its stack.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!(status >> 8, 0, "1: its pages; 2: its groups ({status:#x})");
        assert_eq!(status, 0);
    });
}
