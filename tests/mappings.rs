//! Nothing leaks: a build or growth that fails, a pool that was used and dropped,
//! growing and trimming, and a drop with buffers outstanding each leave exactly
//! the mappings that were there before. One test alone in its process, so that
//! nothing else maps memory meanwhile.

mod support;

use hugepool::{Builder, Pages, Pool, Rung};
use support::{maps, meminfo, number, skipped};

/// Mappings and their bytes. The heap is not counted: it grows and shrinks with
/// what the harness and the maps' own text need.
fn mapped() -> (usize, usize) {
    let maps = maps();
    let counted = maps.iter().filter(|map| map.name != "[heap]");
    (
        counted.clone().count(),
        counted.map(|map| map.bytes()).sum(),
    )
}

/// Runs `action` until everything that it brings into being once is there, and
/// then three times more, which must change nothing.
#[track_caller]
fn leaves_nothing(what: &str, mut action: impl FnMut()) {
    action();
    action();
    let before = mapped();
    for _ in 0..3 {
        action();
        let after = mapped();
        assert_eq!(after, before, "{what}: {:#?}", maps());
    }
}

fn plain() -> Builder {
    Pool::builder().prefault(false)
}

fn refuses_to_build(what: &str, builder: &Builder) {
    leaves_nothing(what, || assert!(builder.build().is_err(), "{what}"));
}

/// Refuses to grow pools that were never refused before: what the first refusal
/// leaves behind, a second one would use again. The first pool warms the code.
fn refuses_to_grow(what: &str, builder: &Builder, size: usize, alignment: usize, count: usize) {
    for round in 0..2 {
        let pool = builder.build().unwrap();
        let before = mapped();
        assert!(pool.request(size, alignment, count).is_err(), "{what}");
        let after = mapped();
        assert!(round == 0 || after == before, "{what}: {:#?}", maps());
    }
    let pool = builder.build().unwrap();
    leaves_nothing(what, || {
        assert!(pool.request(size, alignment, count).is_err(), "{what}");
    });
}

fn builds_that_fail() {
    const GIB: usize = 1 << 30;
    // Some of each succeed in part: the first class is mapped before the second
    // is found wanting.
    let some = plain().reserve(65536, 4096, 64);
    refuses_to_build("size 0", &some.clone().reserve(0, 1, 1));
    refuses_to_build("alignment 3", &some.clone().reserve(1, 3, 1));
    refuses_to_build("too large", &some.clone().reserve(GIB + 1, 1, 1));
    refuses_to_build("overflow", &some.clone().reserve(GIB, 1, usize::MAX));
    refuses_to_build("address space", &some.clone().reserve(GIB, 1, 2048));
    refuses_to_build("a small space", &some.clone().address_space(2 << 20));
    refuses_to_build("prefix", &some.clone().prefix_zone(GIB));
    refuses_to_build("no node", &some.clone().node(1023));
    let mut crowded = some.clone();
    for class in 1..=128 {
        crowded = crowded.reserve(class * 512, 512, 1);
    }
    refuses_to_build("129 classes", &crowded);
    let mut none = some.clone();
    for pages in Pages::ALL {
        none = none.pages(pages, Rung::Never);
    }
    refuses_to_build("no pages", &none);
    if number("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages").unwrap_or(0) == 0 {
        let gigantic = some.clone().pages(Pages::Huge1G, Rung::Require);
        refuses_to_build("1 GiB pages", &gigantic);
    } else {
        skipped("failing for want of 1 GiB pages: there are some");
    }
    let at = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    let free = number(&format!("{at}/free_hugepages")).unwrap_or(0);
    if number(&format!("{at}/nr_overcommit_hugepages")).unwrap_or(0) == 0 {
        let many = plain()
            .pages(Pages::Huge1G, Rung::Never)
            .pages(Pages::Huge2M, Rung::Require)
            .reserve(2 << 20, 4096, free + 8);
        refuses_to_build("2 MiB pages", &many);
    } else {
        skipped("failing for want of 2 MiB pages: they are made on demand");
    }
    let all = meminfo("MemTotal").unwrap_or(0) + meminfo("SwapTotal").unwrap_or(0);
    let count = all / 2 * 3 / GIB + 1;
    if count < 1024 {
        let greedy = some.clone().reserve(GIB, 4096, count);
        refuses_to_build("memory, prefaulted", &greedy.clone().prefault(true));
        if number("/proc/sys/vm/overcommit_memory") == Some(1) {
            skipped("failing for want of unfaulted memory: vm.overcommit_memory is 1");
        } else {
            refuses_to_build("memory", &greedy);
        }
    } else {
        skipped("failing for want of memory: there is as much as a pool can have");
    }
}

fn growths_that_fail() {
    let small = plain().address_space(1 << 30).reserve(512, 512, 1);
    refuses_to_grow("address space", &small, 1 << 30, 1, 1);
    refuses_to_grow("count 0", &small, 512, 512, 0);
    // Here the memory is mapped before the growth is refused.
    let full = (1..=128).fold(plain(), |builder, class| {
        builder.reserve(class * 512, 512, 1)
    });
    refuses_to_grow("the 129th class", &full, 1 << 20, 4096, 8);
    // And here it is mapped before it turns out that it cannot be bound.
    refuses_to_grow("no node", &plain().node(1023), 1 << 20, 4096, 8);
}

fn pools_that_succeed() {
    let builder = plain()
        .reserve(65536, 4096, 64)
        .reserve(1 << 20, 1 << 20, 3);
    for (what, builder) in [
        ("unfaulted", builder.clone()),
        ("prefaulted", builder.clone().prefault(true)),
        ("dump and fork", builder.clone().dump(true).fork(true)),
        ("prefix", builder.clone().prefix_zone(4096)),
        ("a small space", builder.clone().address_space(64 << 20)),
    ] {
        leaves_nothing(what, || {
            let pool = builder.build().unwrap();
            let mut buffers = pool.allocate_many(65536, 4096, 40).unwrap();
            buffers.iter_mut().for_each(|buffer| buffer[0] = 1);
            let raw = pool.allocate_raw(1 << 20, 4096).unwrap();
            assert_eq!(pool.stats().classes[0].in_use, 40);
            drop(buffers);
            // SAFETY: taken above with this size.
            unsafe { pool.free_raw(raw.as_ptr(), 1 << 20) }.unwrap();
        });
    }
    leaves_nothing("buffers and raw pointers outstanding", || {
        let pool = builder.build().unwrap();
        let buffers = pool.allocate_many(65536, 4096, 64).unwrap();
        pool.allocate_raw(1 << 20, 4096).unwrap();
        drop(pool);
        drop(buffers);
    });
    leaves_nothing("a drop on another thread", || {
        let pool = builder.build().unwrap();
        let buffer = pool.allocate(65536, 4096).unwrap();
        std::thread::spawn(move || drop(pool)).join().unwrap();
        std::thread::spawn(move || drop(buffer)).join().unwrap();
    });
}

fn growing_and_trimming() {
    for prefault in [false, true] {
        let pool = plain()
            .prefault(prefault)
            .reserve(4096, 4096, 8)
            .build()
            .unwrap();
        leaves_nothing("growing and trimming", || {
            for (size, count) in [(4096, 100), (65536, 64), (3 << 20, 2), (4096, 5000)] {
                pool.request(size, 4096, count).unwrap();
            }
            let one = pool.allocate(3 << 20, 4096).unwrap();
            assert_eq!(pool.trim().segments, 3);
            assert_eq!(pool.trim().segments, 0);
            drop(one);
            assert_eq!(pool.trim().segments, 1);
            assert_eq!(pool.regions().len(), 1);
            assert_eq!(pool.available(4096, 4096), 8);
        });
    }
}

#[test]
fn whatever_succeeds_or_fails_leaves_the_mappings_as_they_were() {
    builds_that_fail();
    growths_that_fail();
    pools_that_succeed();
    growing_and_trimming();
}
