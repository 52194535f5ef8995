//! Collapsed huge pages: what `MADV_COLLAPSE` gives is read back, whatever the administrator's
//! switches say; where it gives nothing the next kind is had, or, if it was required, an error,
//! and nothing stays behind.
#![allow(
    clippy::disallowed_types,
    reason = "tests that need the huge pages take turns"
)]

mod support;

use hugepool::share::Access;
use hugepool::{BuildError, Builder, Pages, Pool, Rung, SegmentStats};
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use support::filter::{Condition, refuse_where};
use support::group::limited;
use support::process::alone;
use support::{meminfo, number, skipped, smaps, that_fit, within};

const MIB: usize = 1 << 20;
const SWITCHES: &str = "/sys/kernel/mm/transparent_hugepage";
const COLLAPSE: u32 = 25;

/// One test at a time sees the machine's huge pages, and its switches.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collapsed pages as `rung` says, of the kinds below them base pages, and no others.
fn collapsed(rung: Rung) -> Builder {
    without_hugetlb()
        .pages(Pages::Transparent, Rung::Never)
        .pages(Pages::Collapsed, rung)
}

fn without_hugetlb() -> Builder {
    Pool::builder()
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never)
}

/// Private memory, and shared.
fn both(builder: &Builder) -> [Builder; 2] {
    [builder.clone(), builder.clone().shared(Access::Read)]
}

/// A pool that requires them; says so, and what was refused is what should be, if there is
/// none.
fn required(builder: &Builder, bytes: usize) -> Option<Pool> {
    let builder = builder.clone().pages(Pages::Collapsed, Rung::Require);
    match builder.build() {
        Ok(pool) => Some(pool),
        Err(error) => {
            assert_refused(&error, bytes);
            skipped(&format!("collapsed huge pages: {error}"));
            None
        }
    }
}

#[track_caller]
fn assert_refused(error: &BuildError, wanted: usize) -> usize {
    match *error {
        BuildError::PagesNotGranted {
            required: Pages::Collapsed,
            bytes,
            granted,
            ..
        } if bytes == wanted && granted < bytes => granted,
        ref other => panic!("{other}"),
    }
}

fn segment(pool: &Pool) -> SegmentStats {
    pool.stats().segments[0].clone()
}

/// The word in brackets.
fn switch(file: &str) -> Option<String> {
    let text = fs::read_to_string(format!("{SWITCHES}/{file}")).ok()?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// Whether the kernel says that it would collapse.
fn known() -> bool {
    // SAFETY: of an empty range nothing is touched.
    unsafe { libc::madvise(std::ptr::null_mut(), 0, COLLAPSE as libc::c_int) == 0 }
}

#[test]
fn collapsed_memory_is_huge_zeroed_and_usable_and_stats_say_so() {
    let _turn = turn();
    let builder = collapsed(Rung::Require).reserve(MIB, 4096, 16);
    for builder in both(&builder) {
        for builder in [builder.clone(), builder.dump(true).fork(true)] {
            let Some(pool) = required(&builder, 16 * MIB) else {
                continue;
            };
            let found = segment(&pool);
            assert_eq!(found.pages, Pages::Collapsed);
            assert_eq!((found.huge_bytes, found.bytes), (16 * MIB, 16 * MIB));
            assert_eq!(found.resident_bytes, 16 * MIB);
            let maps = smaps();
            let parts = within(&maps, found.address, found.bytes);
            assert_eq!(parts.iter().map(|map| map.huge).sum::<usize>(), 16 * MIB);
            assert!(pool.stats().to_string().contains("collapsed huge"));
            let mut all = pool.allocate_many(MIB, 4096, 16).unwrap();
            for (at, buffer) in all.iter_mut().enumerate() {
                assert!(buffer.iter().all(|&byte| byte == 0), "{at} is not zero");
                buffer.fill(at as u8 + 1);
            }
            for (at, buffer) in all.iter().enumerate() {
                assert!(buffer.iter().all(|&byte| byte == at as u8 + 1), "{at}");
            }
            assert_eq!(segment(&pool).huge_bytes, 16 * MIB);
            // What grows is collapsed, too.
            pool.request(MIB, 4096, 4).unwrap();
            let grown = &pool.stats().segments[1];
            assert_eq!((grown.pages, grown.huge_bytes), (Pages::Collapsed, 4 * MIB));
        }
    }
}

#[test]
fn a_kind_of_which_nothing_is_said_goes_by_what_is_said_of_transparent_pages() {
    let _turn = turn();
    for builder in both(&without_hugetlb().reserve(MIB, 4096, 8)) {
        // Who wants no transparent huge pages gets none by another name.
        let none = builder.clone().pages(Pages::Transparent, Rung::Never);
        let found = segment(&none.build().unwrap());
        assert_eq!((found.pages, found.huge_bytes), (Pages::Base, 0));
        // In either order, what is said of them counts.
        let never = builder
            .clone()
            .pages(Pages::Collapsed, Rung::Never)
            .pages(Pages::Transparent, Rung::Never);
        assert_eq!(segment(&never.build().unwrap()).pages, Pages::Base);
        let wanted = builder
            .clone()
            .pages(Pages::Collapsed, Rung::Prefer)
            .pages(Pages::Transparent, Rung::Never);
        let found = segment(&wanted.build().unwrap());
        assert!(matches!(found.pages, Pages::Collapsed | Pages::Base));
        assert_eq!(found.pages == Pages::Collapsed, found.huge_bytes > 0);
        // Without it there are those that the switches grant.
        let forbidden = builder.clone().pages(Pages::Collapsed, Rung::Never);
        let found = segment(&forbidden.build().unwrap());
        assert!(matches!(found.pages, Pages::Transparent | Pages::Base));
        assert_eq!(found.pages == Pages::Transparent, found.huge_bytes > 0);
    }
}

#[test]
fn memory_that_is_not_faulted_in_is_not_collapsed() {
    let _turn = turn();
    for builder in both(&collapsed(Rung::Prefer).reserve(MIB, 4096, 8)) {
        let found = segment(&builder.prefault(false).build().unwrap());
        assert_eq!((found.pages, found.huge_bytes), (Pages::Base, 0));
    }
}

#[test]
fn a_segment_has_the_huge_pages_that_it_fills_and_small_ones_have_none() {
    let _turn = turn();
    // 4 KiB buffers: how many, and bytes of memory and of huge pages on 2 MiB ones.
    for (count, bytes, huge) in [
        (64, 64 << 10, 0),
        (512 + 100, (512 + 100) * 4096, 2 * MIB),
        (512 + 300, 4 * MIB, 4 * MIB),
    ] {
        for builder in both(&collapsed(Rung::Prefer).reserve(4096, 4096, count)) {
            let pool = builder.build().unwrap();
            let found = segment(&pool);
            if found.pages == Pages::Base {
                assert_eq!((found.bytes, found.huge_bytes), (count * 4096, 0));
            } else {
                assert_eq!((found.pages, found.bytes), (Pages::Collapsed, bytes));
                // Less where the system has no more contiguous memory.
                assert!((1..=huge).contains(&found.huge_bytes), "{found:?}");
            }
            assert_eq!(found.resident_bytes, found.bytes);
            let all = pool.allocate_many(4096, 4096, count).unwrap();
            assert!(all.iter().all(|one| one.iter().all(|&byte| byte == 0)));
        }
    }
}

#[test]
fn locked_memory_is_collapsed_and_bound_memory_comes_from_its_node() {
    let _turn = turn();
    for builder in both(&collapsed(Rung::Require).reserve(MIB, 4096, 4)) {
        if let Some(pool) = required(&builder, 4 * MIB) {
            drop(pool);
            match builder.clone().lock(true).build() {
                Ok(pool) => {
                    let found = segment(&pool);
                    assert!(found.locked);
                    assert_eq!(found.huge_bytes, 4 * MIB);
                }
                Err(error @ BuildError::Lock { .. }) => skipped(&format!("mlock: {error}")),
                Err(error) => panic!("{error}"),
            }
        }
        for node in 0..8 {
            if fs::exists(format!("/sys/devices/system/node/node{node}")).is_ok_and(|is| !is) {
                continue;
            }
            let builder = builder.clone().pages(Pages::Collapsed, Rung::Prefer);
            match builder.node(node).build() {
                Ok(pool) => {
                    pool.request(MIB, 4096, 2).unwrap();
                    for segment in pool.stats().segments {
                        assert_eq!(segment.node, Some(node));
                    }
                }
                Err(error @ BuildError::Node { .. }) => skipped(&format!("node {node}: {error}")),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Has `work` run in a process of its own in which `madvise` fails with `error` where
/// `conditions` hold.
fn filtered(name: &str, conditions: &[Condition], error: libc::c_int, work: impl FnOnce()) {
    alone(name, &[], || {
        match refuse_where(libc::SYS_madvise, conditions, error) {
            Ok(()) => work(),
            Err(why) => skipped(&format!("a filter for system calls: {why}")),
        }
    });
}

/// What this process has open, and has mapped.
fn belongings() -> (usize, usize) {
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let shared = maps.lines().filter(|line| line.contains("memfd:hugepool"));
    (open, shared.count())
}

/// Whether the kernel merges what is touched, without being asked to.
fn merges_by_itself(shared: bool) -> bool {
    let word = match shared {
        true => switch("shmem_enabled"),
        false => switch("hugepages-2048kB/enabled")
            .filter(|own| own != "inherit")
            .or_else(|| switch("enabled")),
    };
    word.is_some_and(|word| ["always", "within_size", "force"].contains(&word.as_str()))
}

/// Without collapse there are base pages, and if it is required an error that has what the
/// kernel said.
fn nothing_is_collapsed(errno: libc::c_int) {
    let builders = both(&collapsed(Rung::Prefer).reserve(MIB, 4096, 4));
    for (builder, shared) in builders.into_iter().zip([false, true]) {
        if known() && merges_by_itself(shared) {
            skipped("memory that is not collapsed: the switches say that all is merged");
            continue;
        }
        let found = segment(&builder.build().unwrap());
        assert_eq!((found.pages, found.huge_bytes), (Pages::Base, 0));
        let before = belongings();
        let builder = builder.pages(Pages::Collapsed, Rung::Require);
        let error = builder.build().map(drop).unwrap_err();
        assert_eq!(assert_refused(&error, 4 * MIB), 0);
        let BuildError::PagesNotGranted { reason, .. } = error else {
            panic!("{error}");
        };
        // A kernel that has no such pages says nothing else.
        if let Some(reason) = reason {
            assert_eq!(
                (reason.call, reason.number),
                ("madvise(MADV_COLLAPSE)", errno)
            );
        }
        assert_eq!(belongings(), before);
    }
}

#[test]
fn a_kernel_that_knows_no_collapse_grants_the_next_kind() {
    let name = "a_kernel_that_knows_no_collapse_grants_the_next_kind";
    filtered(name, &[(2, COLLAPSE, true)], libc::EINVAL, || {
        nothing_is_collapsed(libc::EINVAL);
    });
}

#[test]
fn a_filter_that_refuses_to_collapse_has_the_next_kind_granted() {
    let name = "a_filter_that_refuses_to_collapse_has_the_next_kind_granted";
    filtered(name, &[(2, COLLAPSE, true)], libc::EPERM, || {
        nothing_is_collapsed(libc::EPERM);
    });
}

#[test]
fn a_process_that_is_to_have_no_transparent_huge_pages_gets_none() {
    let name = "a_process_that_is_to_have_no_transparent_huge_pages_gets_none";
    alone(name, &[], || {
        // SAFETY: takes numbers only.
        if unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } != 0 {
            return skipped("PR_SET_THP_DISABLE: this kernel does not know it");
        }
        for builder in both(&collapsed(Rung::Prefer).reserve(MIB, 4096, 4)) {
            let found = segment(&builder.clone().build().unwrap());
            assert_eq!((found.pages, found.huge_bytes), (Pages::Base, 0));
            let builder = builder.pages(Pages::Collapsed, Rung::Require);
            let error = builder.build().map(drop).unwrap_err();
            assert_eq!(assert_refused(&error, 4 * MIB), 0);
        }
    });
}

/// Conditions under which something is to be collapsed, and not only asked whether it could.
const AT_WORK: [Condition; 2] = [(2, COLLAPSE, true), (1, 0, false)];

#[test]
fn memory_without_room_for_a_huge_page_has_the_next_kind() {
    let name = "memory_without_room_for_a_huge_page_has_the_next_kind";
    filtered(name, &AT_WORK, libc::ENOMEM, || {
        // On a kernel that does not know it, what is asked first is refused.
        nothing_is_collapsed(if known() { libc::ENOMEM } else { libc::EINVAL });
    });
}

#[test]
fn a_collapse_that_is_granted_and_not_done_is_found_out() {
    let name = "a_collapse_that_is_granted_and_not_done_is_found_out";
    filtered(name, &AT_WORK, 0, || {
        nothing_is_collapsed(if known() { 0 } else { libc::EINVAL });
    });
}

#[test]
fn memory_that_stays_in_use_ends_the_attempt() {
    let name = "memory_that_stays_in_use_ends_the_attempt";
    filtered(name, &AT_WORK, libc::EAGAIN, || {
        nothing_is_collapsed(if known() { libc::EAGAIN } else { libc::EINVAL });
    });
}

/// A segment is collapsed 256 MiB at a time, and what is behind that here is refused.
#[test]
fn what_is_granted_in_part_is_had_unless_all_of_it_is_required() {
    let name = "what_is_granted_in_part_is_had_unless_all_of_it_is_required";
    let (part, rest) = (256 * MIB, 2 * MIB);
    if that_fit("258 buffers of 1 MiB, twice", 516, MIB) < 516 {
        return;
    }
    if meminfo("MemAvailable").is_some_and(|bytes| bytes < 2 * part) {
        return skipped("258 MiB: others have this machine's memory now");
    }
    let conditions = [(2, COLLAPSE, true), (1, rest as u32, true)];
    filtered(name, &conditions, libc::ENOMEM, || {
        for builder in both(&collapsed(Rung::Prefer).reserve(MIB, 4096, 258)) {
            let found = segment(&builder.build().unwrap());
            if found.huge_bytes != part {
                skipped(&format!("{} bytes collapsed of 256 MiB", found.huge_bytes));
                continue;
            }
            assert_eq!(found.pages, Pages::Collapsed);
            assert_eq!(found.resident_bytes, part + rest);
            let before = belongings();
            let builder = builder.pages(Pages::Collapsed, Rung::Require);
            let error = builder.build().map(drop).unwrap_err();
            assert_eq!(assert_refused(&error, part + rest), part, "{error}");
            assert!(error.to_string().contains("madvise(MADV_COLLAPSE)"));
            assert_eq!(belongings(), before);
        }
    });
}

#[test]
fn a_collapse_needs_no_more_than_the_segment_and_a_huge_page() {
    let name = "a_collapse_needs_no_more_than_the_segment_and_a_huge_page";
    let limit = [("memory.limit_in_bytes", "memory.max", 256 * MIB)];
    limited(name, "memory", &limit, |group| {
        let bytes = 128 * MIB;
        let read = |first: &str, second: &str| {
            let number = |file: &str| number(&format!("{}/{file}", group.display()));
            number(first).or_else(|| number(second))
        };
        let used = || read("memory.usage_in_bytes", "memory.current").unwrap();
        for builder in both(&collapsed(Rung::Require).reserve(MIB, 4096, bytes / MIB)) {
            // In version 2 nobody could put the mark back before Linux 6.12: so the first
            // pool's counts for the second as well, which uses no more.
            let before = used();
            let Some(pool) = required(&builder, bytes) else {
                continue;
            };
            let Some(peak) = read("memory.max_usage_in_bytes", "memory.peak") else {
                skipped("the most that a group used: this kernel does not say");
                continue;
            };
            // Tables, bookkeeping, and what each processor has the group charged for in
            // advance; all of it twice would be 128 MiB more.
            let most = bytes + 2 * MIB + 8 * MIB;
            println!("{bytes} bytes: from {before} to {peak}, now {}", used());
            assert!(peak - before <= most, "{peak} - {before}");
            drop(pool);
        }
        // As much as is said to be left can be had in huge pages.
        for builder in both(&collapsed(Rung::Prefer)) {
            let refused = builder.clone().reserve(MIB, 4096, 512).build().unwrap_err();
            let BuildError::GroupLimit { available, .. } = refused else {
                panic!("{refused}");
            };
            let count = available / (2 * MIB) * 2 - 8;
            let pool = builder.reserve(MIB, 4096, count).build().unwrap();
            let mut all = pool.allocate_many(MIB, 4096, count).unwrap();
            all.iter_mut().for_each(|buffer| buffer.fill(7));
        }
    });
}

/// A switch of the administrator's that says something else while this lives.
struct Switched {
    path: String,
    before: String,
}

impl Switched {
    /// `None`, after saying so, if it cannot be.
    fn to(file: &str, word: &str) -> Option<Self> {
        let switched = switch(file).map(|before| Self {
            path: format!("{SWITCHES}/{file}"),
            before,
        });
        let set = switched.filter(|switched| fs::write(&switched.path, word).is_ok());
        if set.is_none() {
            skipped(&format!(
                "{file}: only root can set it to {word}, if there is one"
            ));
        }
        set
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        let _ = fs::write(&self.path, &self.before);
    }
}

/// What a pool has by default, but for pages of the hugetlb pool.
fn by_default(builder: &Builder, expected: Pages) {
    let found = segment(&builder.build().unwrap());
    assert_eq!((found.pages, found.bytes), (expected, 4 * MIB));
    assert_eq!(found.huge_bytes > 0, expected != Pages::Base);
}

#[test]
fn memory_is_collapsed_where_switches_say_never_and_not_where_deny_is_said() {
    let _turn = turn();
    let [private, shared] = both(&without_hugetlb().reserve(MIB, 4096, 4));
    for builder in both(&collapsed(Rung::Require).reserve(MIB, 4096, 4)) {
        if required(&builder, 4 * MIB).is_none() {
            return;
        }
    }
    if let Some(_never) = Switched::to("shmem_enabled", "never") {
        by_default(&shared, Pages::Collapsed);
        let forbidden = shared.clone().pages(Pages::Collapsed, Rung::Never);
        by_default(&forbidden, Pages::Base);
    }
    if let Some(_deny) = Switched::to("shmem_enabled", "deny") {
        by_default(&shared, Pages::Base);
        let builder = shared.clone().pages(Pages::Collapsed, Rung::Require);
        let error = builder.build().map(drop).unwrap_err();
        assert_eq!(assert_refused(&error, 4 * MIB), 0);
        assert!(error.to_string().contains("madvise(MADV_COLLAPSE)"));
    }
    if let Some(_never) = Switched::to("enabled", "never") {
        by_default(&private, Pages::Collapsed);
        let forbidden = private.clone().pages(Pages::Collapsed, Rung::Never);
        by_default(&forbidden, Pages::Base);
    }
    // The switch of the size, with the one for all sizes above it.
    if let Some(_never) = Switched::to("hugepages-2048kB/enabled", "never")
        && let Some(_always) = Switched::to("enabled", "always")
    {
        by_default(&private, Pages::Collapsed);
        let forbidden = private.pages(Pages::Collapsed, Rung::Never);
        by_default(&forbidden, Pages::Base);
    }
}
