//! P6 and P7: which pages back a pool. What `stats` says is what the kernel says,
//! segment by segment; required, preferred and forbidden kinds of pages are
//! honoured; prefaulted memory faults no more, and memory that is not prefaulted
//! costs nothing until it is touched.
#![allow(
    clippy::disallowed_types,
    reason = "tests that need the huge pages take turns"
)]

mod support;

use hugepool::{BuildError, Builder, Pages, Pool, Rung};
use std::sync::{Mutex, MutexGuard, PoisonError};
use support::reserved::Reserved;
use support::{faults, number, skipped, smaps, that_fit, within};

const MIB: usize = 1 << 20;
const HUGE: usize = 2 << 20;

/// One test at a time sees the machine's huge pages.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn only(kinds: &[Pages], rung: Rung) -> Builder {
    let mut builder = Pool::builder();
    for pages in Pages::ALL {
        let allowed = if kinds.contains(&pages) {
            rung
        } else {
            Rung::Never
        };
        builder = builder.pages(pages, allowed);
    }
    builder
}

/// Bytes of a base page.
fn base_page() -> usize {
    // SAFETY: takes a number only.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Compares every number of every segment with `/proc/self/smaps`.
fn assert_truthful(pool: &Pool) {
    let stats = pool.stats();
    let maps = smaps();
    for segment in &stats.segments {
        let parts = within(&maps, segment.address, segment.bytes);
        let sum = |of: fn(&support::Map) -> usize| parts.iter().map(|map| of(map)).sum::<usize>();
        assert_eq!(
            sum(support::Map::bytes),
            segment.bytes,
            "not whole mappings"
        );
        let page = parts.iter().map(|map| map.kernel_page).min();
        assert_eq!(page, Some(segment.page_size));
        assert_eq!(sum(|map| map.huge + map.hugetlb), segment.huge_bytes);
        assert_eq!(sum(|map| map.rss + map.hugetlb), segment.resident_bytes);
        assert!(parts.iter().all(|map| map.access == "rw-p"));
        let hugetlb = matches!(segment.pages, Pages::Huge1G | Pages::Huge2M);
        assert_eq!(hugetlb, segment.page_size > base_page());
        if segment.resident_bytes == 0 {
            assert_eq!(segment.node, None, "the node of a page that is not there");
        }
    }
    let regions = pool.regions();
    assert_eq!(regions.len(), stats.segments.len());
    for (region, segment) in regions.iter().zip(&stats.segments) {
        assert_eq!(region.start().addr(), segment.address);
        assert_eq!(
            (region.bytes(), region.pages()),
            (segment.bytes, segment.pages)
        );
    }
}

#[test]
fn what_stats_say_is_what_the_kernel_says() {
    let _alone = alone();
    for builder in [
        Pool::builder(),
        Pool::builder().prefault(false),
        only(&[Pages::Base], Rung::Prefer),
        only(&[Pages::Transparent], Rung::Prefer).prefault(false),
        Pool::builder().dump(true).fork(true),
    ] {
        let pool = builder
            .reserve(65536, 4096, 100)
            .reserve(MIB, 4096, 5)
            .build()
            .unwrap();
        assert_truthful(&pool);
        pool.request(65536, 4096, 33).unwrap();
        assert_truthful(&pool);
        // Touch a part, and see that it shows.
        let before = pool.stats().segments[1].resident_bytes;
        let mut one = pool.allocate(MIB, 4096).unwrap();
        one.fill(1);
        let after = pool.stats().segments[1].resident_bytes;
        assert!(after >= before.max(MIB));
        assert_truthful(&pool);
        drop(one);
        assert_eq!(pool.trim().segments, 1);
        assert_truthful(&pool);
    }
}

#[test]
fn base_pages_alone_are_never_merged() {
    let _alone = alone();
    let pool = only(&[Pages::Base], Rung::Require)
        .reserve(MIB, 4096, 16)
        .build()
        .unwrap();
    let stats = pool.stats();
    let segment = &stats.segments[0];
    assert_eq!((segment.pages, segment.huge_bytes), (Pages::Base, 0));
    assert_eq!(
        (segment.page_size, segment.resident_bytes),
        (base_page(), 16 * MIB)
    );
    let maps = smaps();
    for map in within(&maps, segment.address, segment.bytes) {
        assert!(map.flags.iter().any(|flag| flag == "nh"), "{:?}", map.flags);
    }
}

#[test]
fn transparent_pages_are_reported_as_far_as_they_were_granted() {
    let _alone = alone();
    let builder = only(&[Pages::Transparent], Rung::Require).reserve(MIB, 4096, 16);
    match builder.build() {
        Ok(pool) => {
            let stats = pool.stats();
            assert_eq!(stats.segments[0].pages, Pages::Transparent);
            assert_eq!(stats.segments[0].huge_bytes, 16 * MIB);
            assert_truthful(&pool);
        }
        Err(error) => {
            skipped(&format!("transparent huge pages: {error}"));
            assert!(matches!(error, BuildError::PagesNotGranted {
                required: Pages::Transparent, granted, bytes, ..
            } if granted < bytes && bytes == 16 * MIB));
        }
    }
    // Preferred, something lower does.
    let pool = Pool::builder()
        .pages(Pages::Transparent, Rung::Prefer)
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never)
        .reserve(MIB, 4096, 16)
        .build()
        .unwrap();
    let stats = pool.stats();
    let segment = &stats.segments[0];
    let huge = matches!(segment.pages, Pages::Transparent | Pages::Collapsed);
    assert_eq!(huge, segment.huge_bytes > 0);
}

#[test]
fn two_mib_pages_are_obtained_reported_and_given_back() {
    let _alone = alone();
    let Some(_reserved) = Reserved::free(8) else {
        return;
    };
    let free = || number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").unwrap();
    for (prefault, rung) in [(true, Rung::Require), (false, Rung::Prefer)] {
        let pool = only(&[Pages::Huge2M, Pages::Base], Rung::Prefer)
            .pages(Pages::Huge2M, rung)
            .prefault(prefault)
            .reserve(MIB, 4096, 8)
            .build()
            .unwrap();
        let stats = pool.stats();
        let segment = &stats.segments[0];
        assert_eq!((segment.pages, segment.page_size), (Pages::Huge2M, HUGE));
        let present = if prefault { 8 * MIB } else { 0 };
        assert_eq!(
            (segment.huge_bytes, segment.resident_bytes),
            (present, present)
        );
        assert_truthful(&pool);
        assert!(stats.to_string().contains("2 MiB huge"));
        // All of it can be written, without running out: the mapping holds the
        // pages even where they are not there yet.
        pool.allocate_many(MIB, 4096, 8)
            .unwrap()
            .iter_mut()
            .for_each(|b| b.fill(1));
        assert_eq!(free(), 4);
        drop(pool);
        assert_eq!(free(), 8);
    }
}

#[test]
fn on_a_shortage_of_huge_pages_prefer_takes_the_next_kind_and_require_fails() {
    let _alone = alone();
    let Some(_reserved) = Reserved::free(4) else {
        return;
    };
    let builder = only(&[Pages::Huge2M, Pages::Base], Rung::Prefer).reserve(MIB, 4096, 16);
    let pool = builder.build().unwrap();
    let stats = pool.stats();
    assert_eq!(
        (stats.segments[0].pages, stats.segments[0].huge_bytes),
        (Pages::Base, 0)
    );
    assert_truthful(&pool);
    // Growth that fits gets them; each segment says its own.
    pool.request(MIB, 4096, 8).unwrap();
    let kinds: Vec<Pages> = pool.stats().segments.iter().map(|s| s.pages).collect();
    assert_eq!(kinds, [Pages::Base, Pages::Huge2M]);
    assert_truthful(&pool);
    assert_eq!(pool.trim().segments, 1);
    let refusal = builder
        .pages(Pages::Huge2M, Rung::Require)
        .build()
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(refusal, BuildError::PagesNotGranted {
        required: Pages::Huge2M, granted: 0, bytes, ..
    } if bytes == 16 * MIB),
        "{refusal}"
    );
    // Nor may anything else take them when they are forbidden.
    let none = only(&[Pages::Base], Rung::Prefer)
        .reserve(MIB, 4096, 2)
        .build()
        .unwrap();
    assert_eq!(none.stats().segments[0].pages, Pages::Base);
}

#[test]
fn prefaulted_memory_is_there_and_faults_no_more() {
    let _alone = alone();
    for builder in [Pool::builder(), only(&[Pages::Base], Rung::Prefer)] {
        // Enough that it is faulted in by several threads.
        let pool = builder
            .reserve(MIB, 4096, 300)
            .reserve(512, 512, 5000)
            .build()
            .unwrap();
        pool.request(MIB, 4096, 4).unwrap();
        for segment in pool.stats().segments {
            assert_eq!(segment.resident_bytes, segment.bytes);
        }
        let mut all = pool.allocate_many(MIB, 4096, 304).unwrap();
        all.extend(pool.allocate_many(512, 512, 5000).unwrap());
        let before = faults();
        for buffer in &mut all {
            for at in (0..buffer.len()).step_by(512) {
                buffer[at] = 1;
            }
        }
        let during = faults() - before;
        assert!(during <= 4, "{during} page faults in prefaulted memory");
    }
}

#[test]
fn a_tebibyte_is_reserved_and_a_gibibyte_committed_without_touching_memory() {
    let _alone = alone();
    let count = that_fit("1024 buffers of 1 MiB", 1024, MIB);
    let pool = Pool::builder()
        .address_space(1 << 40)
        .reserve(MIB, 4096, count)
        .prefault(false)
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never)
        .build()
        .unwrap();
    let stats = pool.stats();
    assert!(stats.address_space >= 1 << 40);
    assert_eq!(
        (stats.segments[0].bytes, stats.segments[0].resident_bytes),
        (count.next_multiple_of(2) * MIB, 0)
    );
    // Taking and giving back touches no buffer either.
    drop(pool.allocate_many(MIB, 4096, count).unwrap());
    assert_eq!(pool.stats().segments[0].resident_bytes, 0);
    assert_eq!(pool.available(MIB, 4096), count);
    assert_truthful(&pool);
}

#[test]
fn locked_memory_is_reported_as_locked() {
    let _alone = alone();
    let builder = only(&[Pages::Base], Rung::Prefer).reserve(65536, 4096, 32);
    let unlocked = builder.build().unwrap();
    assert!(!unlocked.stats().segments[0].locked);
    for prefault in [true, false] {
        match builder.clone().prefault(prefault).lock(true).build() {
            Ok(pool) => {
                let stats = pool.stats();
                let segment = &stats.segments[0];
                // Locking brings the memory in whether it was prefaulted or not.
                assert!(segment.locked);
                assert_eq!(segment.resident_bytes, segment.bytes);
                assert_truthful(&pool);
            }
            Err(error @ BuildError::Lock { .. }) => skipped(&format!("mlock: {error}")),
            Err(error) => panic!("{error}"),
        }
    }
}
