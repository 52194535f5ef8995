//! Bad input: each thing that can be wrong with a pool's description, a growth or
//! a request is refused with a typed error of its own, whose text names the value
//! and the limit; a pool whose growth was refused is as it was. (That nothing
//! stays mapped is shown by `mappings.rs`.)

mod support;

use hugepool::share::Access;
use hugepool::{AllocError, BuildError, Builder, Pages, Pool, Rung};
use support::process::{alone, in_fork};
use support::{meminfo, number, skipped};

const GIB: usize = 1 << 30;

fn plain() -> Builder {
    Pool::builder().prefault(false)
}

#[track_caller]
fn refusal(builder: &Builder, texts: &[&str]) -> BuildError {
    let error = builder.build().map(drop).unwrap_err();
    says(&error, texts);
    error
}

#[track_caller]
fn says(error: &impl std::error::Error, texts: &[&str]) {
    let said = error.to_string();
    for text in texts {
        assert!(said.contains(text), "{said:?} does not say {text:?}");
    }
}

#[test]
fn a_class_of_size_zero_is_refused() {
    let error = refusal(&plain().reserve(0, 4096, 1), &["size 0", "1 B"]);
    assert_eq!(error, BuildError::ZeroSize);
}

#[test]
fn a_class_of_no_buffers_is_refused() {
    let error = refusal(
        &plain().reserve(65536, 4096, 0),
        &["64 KiB/4096", "0 buffers", "1"],
    );
    let (size, alignment) = (65536, 4096);
    assert_eq!(error, BuildError::ZeroCount { size, alignment });
}

#[test]
fn an_alignment_that_is_no_power_of_two_is_refused() {
    for alignment in [0, 3, 4095, 4097, usize::MAX, (64 << 20) + 512] {
        let error = refusal(
            &plain().reserve(4096, alignment, 1),
            &[&alignment.to_string()],
        );
        assert_eq!(error, BuildError::BadAlignment { alignment });
    }
}

#[test]
fn too_strict_an_alignment_is_refused() {
    let limit = 64 << 20;
    for (alignment, text) in [(128 << 20, "128 MiB"), (1 << 63, "8796093022208 MiB")] {
        let error = refusal(&plain().reserve(4096, alignment, 1), &[text, "64 MiB"]);
        assert_eq!(error, BuildError::AlignmentTooLarge { alignment, limit });
    }
}

#[test]
fn too_large_a_class_is_refused() {
    let limit = GIB;
    for size in [GIB + 1, 2 * GIB, 1 << 63, usize::MAX] {
        let error = refusal(&plain().reserve(size, 4096, 1), &["the largest is 1"]);
        assert_eq!(error, BuildError::SizeTooLarge { size, limit });
    }
    // One unit for both, in which they can be told apart.
    refusal(
        &plain().reserve(GIB + 1, 1, 1),
        &["1073741825 B", "1073741824 B"],
    );
    refusal(&plain().reserve(2 * GIB, 1, 1), &["2 GiB", "1 GiB"]);
    refusal(
        &plain().reserve(usize::MAX, 1, 1),
        &["18446744073709551615 B"],
    );
}

#[test]
fn too_large_a_prefix_zone_is_refused() {
    let limit = 1 << 20;
    for prefix in [limit + 1, usize::MAX] {
        let builder = plain().reserve(4096, 4096, 1).prefix_zone(prefix);
        let error = refusal(&builder, &[&format!("{prefix} B"), "1048576 B"]);
        assert_eq!(error, BuildError::PrefixTooLarge { prefix, limit });
    }
    let largest = plain().reserve(4096, 4096, 1).prefix_zone(limit);
    drop(largest.build().unwrap());
}

#[test]
fn sums_that_overflow_are_refused() {
    // One class by itself, and two that overflow only together.
    let half = usize::MAX / 2 / GIB + 1;
    for (builder, count) in [
        (plain().reserve(GIB, 1, usize::MAX), usize::MAX),
        (plain().reserve(GIB, 1, half).reserve(GIB, 1, half), half),
        (
            plain().reserve(GIB, 64 << 20, half).reserve(GIB, 512, half),
            half,
        ),
    ] {
        let error = refusal(&builder, &[&count.to_string(), "1 GiB", "64"]);
        assert_eq!(error, BuildError::Overflow { size: GIB, count });
    }
    let count = usize::MAX;
    let error = refusal(&plain().reserve(1, 1, count), &["1 B"]);
    assert_eq!(error, BuildError::Overflow { size: 1, count });
}

#[test]
fn more_than_the_address_space_is_refused() {
    // Pages of 1 GiB would begin at one, which takes more.
    let builder = plain().pages(Pages::Huge1G, Rung::Never);
    let error = refusal(
        &builder.reserve(GIB, 1, 4096),
        &["4194308 MiB", "1048576 MiB"],
    );
    assert!(matches!(error, BuildError::AddressSpace { needed, limit }
        if needed > 4 << 40 && limit >= 1 << 40));
    // What the builder was told is the limit, and the granules in between are
    // not the caller's business.
    let error = refusal(
        &plain().reserve(1 << 20, 4096, 64).address_space(32 << 20),
        &["MiB"],
    );
    assert!(matches!(error, BuildError::AddressSpace { needed, limit }
        if needed == 64 << 20 && limit == 32 << 20));
    let enough = plain().reserve(1 << 20, 4096, 64).address_space(64 << 20);
    drop(enough.build().unwrap());
    for bytes in [(1 << 40) + (2 << 30), usize::MAX] {
        let builder = plain().reserve(4096, 4096, 1).address_space(bytes);
        let error = refusal(&builder, &["1 TiB"]);
        assert!(matches!(error, BuildError::AddressSpace { needed, limit }
            if needed == bytes && limit == 1 << 40));
    }
    let pool = plain()
        .reserve(1 << 20, 4096, 1)
        .address_space(16 << 20)
        .build()
        .unwrap();
    let error = pool.request(1 << 20, 4096, 64).unwrap_err();
    assert!(matches!(error, BuildError::AddressSpace { .. }), "{error}");
}

#[test]
fn more_memory_than_there_is_is_refused() {
    let (Some(total), Some(swap)) = (meminfo("MemTotal"), meminfo("SwapTotal")) else {
        return skipped("more memory than there is: no /proc/meminfo");
    };
    let bytes = (total + swap) / 2 * 3 / GIB * GIB + GIB;
    if bytes >= 1 << 40 {
        return skipped("more memory than there is: this machine has as much as a pool can");
    }
    let builder = Pool::builder().reserve(GIB, 4096, bytes / GIB);
    // In the unit of both numbers, which is that of the smaller one.
    let texts =
        [(GIB, "GiB"), (GIB >> 10, "MiB")].map(|(of, unit)| format!("{} {unit}", bytes / of));
    let refused = |builder: &Builder| {
        let error = refusal(builder, &[]);
        let said = error.to_string();
        assert!(texts.iter().any(|text| said.contains(text)), "{said:?}");
        error
    };
    let error = refused(&builder);
    match error {
        BuildError::OutOfMemory {
            needed,
            available: Some(available),
        } => assert!(needed == bytes && available <= total, "{error}"),
        // This process is in a control group that allows less than there is.
        BuildError::GroupLimit {
            needed, available, ..
        } => assert!(needed == bytes && available < needed, "{error}"),
        _ => panic!("{error}"),
    }
    if number("/proc/sys/vm/overcommit_memory") == Some(1) {
        return skipped("more unfaulted memory than there is: vm.overcommit_memory is 1");
    }
    let error = refused(&builder.prefault(false));
    // A system that promises no more than it has says how much that is.
    assert!(
        matches!(error, BuildError::OutOfMemory { needed, available }
        if needed == bytes && available.is_none_or(|available| available < needed))
    );
}

#[test]
fn required_gigantic_pages_that_there_are_not_are_refused() {
    let free = "/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages";
    if number(free).unwrap_or(0) > 0 {
        return skipped("1 GiB pages refused: this machine has some");
    }
    let builder = plain()
        .reserve(1 << 20, 4096, 3)
        .pages(Pages::Huge1G, Rung::Require);
    let error = refusal(
        &builder,
        &["1 GiB huge", "required for 1 GiB", "granted for 0 GiB"],
    );
    assert!(matches!(
        error,
        BuildError::PagesNotGranted {
            required: Pages::Huge1G,
            granted: 0,
            bytes: GIB,
            reason: Some(_),
        }
    ));
}

#[test]
fn more_required_huge_pages_than_are_free_are_refused() {
    let at = |file: &str| number(&format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{file}"));
    if at("nr_overcommit_hugepages").unwrap_or(0) > 0 {
        return skipped("2 MiB pages refused: this machine makes more on demand");
    }
    let pages = at("free_hugepages").unwrap_or(0) + 16;
    let expected = pages * (2 << 20);
    let builder = plain()
        .reserve(2 << 20, 4096, pages)
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Require);
    let error = refusal(&builder, &["2 MiB huge", "MiB", "granted for 0 MiB"]);
    assert!(matches!(error, BuildError::PagesNotGranted {
        required: Pages::Huge2M, granted: 0, bytes, reason: Some(_),
    } if bytes == expected));
}

#[test]
fn no_allowed_kind_of_page_is_refused() {
    let mut none = plain();
    for pages in Pages::ALL {
        none = none.pages(pages, Rung::Never);
    }
    let error = refusal(&none.clone().reserve(1 << 20, 4096, 2), &["2 MiB", "never"]);
    let (bytes, reason) = (2 << 20, None);
    assert_eq!(error, BuildError::NoPages { bytes, reason });
    let empty = none.build().unwrap();
    assert_eq!(
        empty.request(4096, 4096, 1).unwrap_err(),
        BuildError::NoPages { bytes, reason }
    );
}

#[test]
fn required_transparent_and_collapsed_pages_without_prefault_are_refused() {
    for (required, name) in [
        (Pages::Transparent, "transparent"),
        (Pages::Collapsed, "collapsed"),
    ] {
        let builder = plain()
            .reserve(4096, 4096, 1)
            .pages(required, Rung::Require);
        let error = refusal(&builder, &[name, "prefault"]);
        assert_eq!(error, BuildError::RequireNeedsPrefault { required });
    }
}

#[test]
fn more_locked_memory_than_the_limit_is_refused() {
    const CAP_IPC_LOCK: u32 = 1 << 14;
    let limit: usize = 1 << 20;
    // The limit is the process's; no other test of this file locks anything.
    let mut old = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `old` is writable and of the type the call fills in.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut old) };
    assert_eq!(got, 0);
    let new = libc::rlimit {
        rlim_cur: limit as u64,
        ..old
    };
    // SAFETY: `new` is a limit no higher than the hard one.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &new) } != 0 {
        return skipped("RLIMIT_MEMLOCK: it cannot be set to 1 MiB");
    }
    // The privilege to ignore the limit is the thread's: this one drops it.
    let mut header = [0x2008_0522u32, 0];
    let mut sets = [0u32; 6];
    // SAFETY: version 3 of the call: a header of two words, sets of six.
    let got = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    assert_eq!(got, 0);
    sets[0] &= !CAP_IPC_LOCK;
    // SAFETY: as above; giving up a privilege is always allowed.
    let set = unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr()) };
    if set != 0 {
        return skipped("RLIMIT_MEMLOCK: the privilege to ignore it cannot be dropped");
    }
    let builder = plain().reserve(4 << 20, 4096, 1).lock(true);
    let error = refusal(&builder, &["4 MiB", "1 MiB", "RLIMIT_MEMLOCK", "mlock"]);
    assert!(
        matches!(error, BuildError::Lock { bytes, limit: Some(said), .. }
        if bytes == 4 << 20 && said == limit)
    );
    // SAFETY: the limit that was in force before.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &old) };
}

#[test]
fn more_classes_than_128_are_refused_and_the_pool_keeps_its_own() {
    let mut builder = plain();
    for class in 1..=128 {
        builder = builder.reserve(class * 512, 512, 1);
    }
    let pool = builder.build().unwrap();
    let limit = 128;
    let error = refusal(&builder.reserve(129 * 512, 512, 1), &["128 classes"]);
    assert_eq!(error, BuildError::TooManyClasses { limit });
    let before = pool.stats();
    let error = pool.request(129 * 512, 512, 1).unwrap_err();
    assert_eq!(error, BuildError::TooManyClasses { limit });
    assert_eq!(pool.stats(), before);
    pool.request(512, 512, 3).unwrap();
    assert_eq!(pool.stats().classes[0].capacity, 4);
    assert_eq!(pool.allocate(128 * 512, 512).unwrap().len(), 65536);
}

#[test]
fn a_refused_growth_leaves_the_pool_as_it_was_and_usable() {
    let pool = plain()
        .reserve(65536, 4096, 4)
        .address_space(GIB)
        .build()
        .unwrap();
    let held = pool.allocate(65536, 4096).unwrap();
    let before = (pool.stats(), pool.regions(), pool.available(1, 1));
    for (size, alignment, count, expected) in [
        (0, 4096, 1, BuildError::ZeroSize),
        (512, 0, 1, BuildError::BadAlignment { alignment: 0 }),
        (512, 5, 1, BuildError::BadAlignment { alignment: 5 }),
        (
            512,
            512,
            0,
            BuildError::ZeroCount {
                size: 512,
                alignment: 512,
            },
        ),
        (
            usize::MAX,
            1,
            1,
            BuildError::SizeTooLarge {
                size: usize::MAX,
                limit: GIB,
            },
        ),
        (
            1,
            1 << 40,
            1,
            BuildError::AlignmentTooLarge {
                alignment: 1 << 40,
                limit: 64 << 20,
            },
        ),
        (
            GIB,
            1,
            usize::MAX,
            BuildError::Overflow {
                size: GIB,
                count: usize::MAX,
            },
        ),
    ] {
        assert_eq!(pool.request(size, alignment, count).unwrap_err(), expected);
    }
    let error = pool.request(GIB, 1, 2).unwrap_err();
    assert!(matches!(error, BuildError::AddressSpace { .. }), "{error}");
    assert_eq!((pool.stats(), pool.regions(), pool.available(1, 1)), before);
    pool.request(65536, 4096, 2).unwrap();
    drop(held);
    assert_eq!(pool.allocate_many(65536, 4096, 6).unwrap().len(), 6);
}

#[test]
fn a_bad_request_is_refused_by_every_way_of_taking() {
    let pool = plain()
        .reserve(65536, 4096, 2)
        .reserve(512, 1 << 20, 1)
        .build()
        .unwrap();
    let largest = 65536;
    let no_class = |size, alignment, largest| AllocError::NoClass {
        size,
        alignment,
        largest,
    };
    for (size, alignment, expected, texts) in [
        (0, 4096, AllocError::ZeroSize, ["size 0", "1 B"]),
        (
            1,
            0,
            AllocError::BadAlignment { alignment: 0 },
            ["0", "power of two"],
        ),
        (
            1,
            4097,
            AllocError::BadAlignment { alignment: 4097 },
            ["4097", "power of two"],
        ),
        (
            65537,
            1,
            no_class(65537, 1, largest),
            ["65537 B", "65536 B"],
        ),
        (
            2 * GIB,
            1,
            no_class(2 * GIB, 1, largest),
            ["2097152 KiB", "64 KiB"],
        ),
        (
            usize::MAX,
            1,
            no_class(usize::MAX, 1, largest),
            ["18446744073709551615", "65536 B"],
        ),
        (513, 8192, no_class(513, 8192, 512), ["513 B", "8192"]),
        (1, 1 << 21, no_class(1, 1 << 21, 0), ["1 B", "2097152"]),
        (
            1,
            1 << 63,
            no_class(1, 1 << 63, 0),
            ["1 B", "9223372036854775808"],
        ),
    ] {
        let refusals = [
            pool.allocate(size, alignment).map(drop).unwrap_err(),
            pool.allocate_raw(size, alignment).map(drop).unwrap_err(),
            pool.allocate_many(size, alignment, 1)
                .map(drop)
                .unwrap_err(),
            pool.class(size, alignment).map(drop).unwrap_err(),
        ];
        assert_eq!(refusals, [expected; 4]);
        assert!(!expected.is_exhausted());
        says(&expected, &texts);
        assert_eq!(pool.available(size, alignment), 0);
    }
    let held = pool.allocate_many(65536, 4096, 2).unwrap();
    let error = pool.allocate(40_000, 512).unwrap_err();
    assert_eq!(
        error,
        AllocError::Exhausted {
            size: 40_000,
            alignment: 512,
            class_size: 65536,
            class_alignment: 4096,
            in_use: 2,
            capacity: 2,
            climb_limit: 160_000,
            carried: false,
        }
    );
    says(
        &error,
        &["40000 B", "512", "class 65536 B/4096", "2 of 2", "160000 B"],
    );
    drop(held);
    assert_eq!(pool.available(65536, 4096), 2);
}

#[test]
fn an_empty_pool_refuses_until_it_grows() {
    let pool = plain().build().unwrap();
    let refusal = AllocError::NoClass {
        size: 4096,
        alignment: 1,
        largest: 0,
    };
    assert_eq!(pool.allocate(4096, 1).map(drop).unwrap_err(), refusal);
    pool.request(4096, 4096, 1).unwrap();
    assert_eq!(pool.allocate(4096, 1).unwrap().len(), 4096);
    pool.trim();
    assert_eq!(pool.allocate(4096, 1).map(drop).unwrap_err(), refusal);
}

#[test]
fn thousands_of_segments_come_and_go() {
    let builder = plain().reserve(512, 512, 1).address_space(32 << 30);
    let pool = builder.build().unwrap();
    for _ in 1..5000 {
        pool.request(512, 512, 1).unwrap();
    }
    assert_eq!(pool.available(512, 512), 5000);
    assert_eq!(pool.trim().segments, 4999);
    pool.request(512, 512, 1).unwrap();
    assert_eq!(pool.available(512, 512), 2);
}

#[test]
fn shared_memory_that_is_too_large_for_a_file_is_refused_and_no_signal_is_sent() {
    let name = "shared_memory_that_is_too_large_for_a_file_is_refused_and_no_signal_is_sent";
    alone(name, &[], too_large_for_a_file);
}

fn too_large_for_a_file() {
    const MIB: usize = 1 << 20;
    let shared = |count| plain().shared(Access::Read).reserve(MIB, 4096, count);
    let code = in_fork(|| {
        let limit = libc::rlimit {
            rlim_cur: 4 << 20,
            rlim_max: 4 << 20,
        };
        // SAFETY: the limit can be read.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) }, 0);
        let error = refusal(&shared(9), &["RLIMIT_FSIZE", "is 4 MiB", "10 MiB of"]);
        let (needed, limit) = (10 * MIB, 4 * MIB);
        assert_eq!(error, BuildError::FileSize { needed, limit });
        let pool = shared(2).build().unwrap();
        let error = pool.request(MIB, 4096, 5).unwrap_err();
        let (needed, limit) = (6 * MIB, 4 * MIB);
        assert_eq!(error, BuildError::FileSize { needed, limit });
        pool.request(MIB, 4096, 4).unwrap();
        // A signal that the program itself blocks, and waits for, stays pending.
        // SAFETY: the set is made before it is read, and sent to this thread alone.
        let pending = unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGXFSZ);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            libc::raise(libc::SIGXFSZ);
            assert!(pool.request(MIB, 4096, 5).is_err());
            libc::sigpending(&mut set);
            libc::sigismember(&set, libc::SIGXFSZ)
        };
        assert_eq!(pending, 1);
        0
    });
    assert_eq!(code, 0);
}
