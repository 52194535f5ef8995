//! NUMA: a pool's memory comes from the nodes that were asked for, and the kernel leaves it
//! where it is; what was asked for and cannot be had is an error that says why, and ends nobody.

mod support;

use hugepool::share::Access;
use hugepool::{BuildError, Builder, Machine, Pages, Pool, Rung, WhyNotPlaced};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use support::filter::refuse;
use support::nodes::{
    Placed, are_two, bind_thread, cpus_of, leave_alone, meminfo, placed, with_memory,
};
use support::process::alone;
use support::{faults, maps, measured, number, pin, skipped};

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

fn small() -> Builder {
    Pool::builder()
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never)
        .reserve(65536, 4096, 64)
}

/// Whether the kernel says what policies mappings have; says so if not.
fn says_policies(what: &str) -> bool {
    let says = placed().is_some();
    if !says {
        skipped(&format!("{what}: this kernel has no numa_maps"));
    }
    says
}

/// The mappings that hold buffers.
fn of_buffers(pool: &Pool) -> Vec<Placed> {
    let regions: Vec<Range<usize>> = pool
        .regions()
        .iter()
        .map(|region| region.start.addr()..region.start.addr() + region.bytes)
        .collect();
    let holds = |placed: &Placed| {
        let overlaps =
            |region: &Range<usize>| placed.map.start < region.end && region.start < placed.map.end;
        regions.iter().any(overlaps) && placed.map.access != "---p"
    };
    placed().unwrap().into_iter().filter(holds).collect()
}

/// The mappings that may be accessed, are private, and are not in `before`.
fn new_since(before: &[Placed]) -> Vec<Placed> {
    let known = |placed: &Placed| {
        let same = |other: &Placed| {
            (other.map.start..other.map.end).contains(&placed.map.start)
                && other.map.access == placed.map.access
        };
        before.iter().any(same)
    };
    let mut placed = placed().unwrap();
    placed.retain(|placed| {
        placed.map.name.is_empty()
            && placed.map.access.ends_with('p')
            && placed.map.access != "---p"
            && !known(placed)
    });
    placed
}

/// Uses every table that a pool has.
fn used() -> Vec<Pool> {
    let use_it = |builder: &Builder| {
        let pool = builder.build().unwrap();
        pool.request(4096, 4096, 5000).unwrap();
        pool.request(1 << 20, 4096, 3).unwrap();
        assert_eq!(pool.trim().segments, 2);
        pool.request(1 << 20, 4096, 3).unwrap();
        let held = pool.allocate_many(65536, 4096, 64).unwrap();
        let waited = pool.allocate_timeout(65536, 4096, Duration::ZERO);
        assert!(waited.is_err() || pool.available(1 << 20, 4096) < 3);
        drop((held, waited));
        let raw = pool.allocate_raw(65536, 4096).unwrap();
        // SAFETY: taken just now with this size.
        unsafe { pool.free_raw(raw.as_ptr(), 65536) }.unwrap();
        pool.stream("one").minimum(65536, 4096, 1).build().unwrap();
        pool
    };
    let shared = small().shared(Access::Read);
    let builders = [
        small(),
        small().prefault(false),
        small().raw_pointers(true).track(true),
        small().portable_caches(true),
        shared,
    ];
    builders.iter().map(use_it).collect()
}

#[test]
fn whatever_of_a_pool_may_be_accessed_has_a_policy_of_its_own() {
    let name = "whatever_of_a_pool_may_be_accessed_has_a_policy_of_its_own";
    alone(name, &[], || {
        if !are_two(name) || !says_policies(name) {
            return;
        }
        // What comes into being once.
        drop(used());
        let before = placed().unwrap();
        let pools = used();
        let new = new_since(&before);
        assert!(new.len() > pools.len(), "{new:#?}");
        let without: Vec<_> = new.iter().filter(|new| new.policy == "default").collect();
        assert!(without.is_empty(), "{without:#?}");
        assert!(new.iter().all(|new| new.policy == "local"), "{new:#?}");
    });
}

#[test]
fn a_pool_keeps_to_the_policy_of_the_thread_that_builds_it() {
    let name = "a_pool_keeps_to_the_policy_of_the_thread_that_builds_it";
    alone(name, &[], || {
        if !are_two(name) || !says_policies(name) {
            return;
        }
        let node = *with_memory().last().unwrap();
        if let Err(why) = bind_thread(node) {
            return skipped(&format!("{name}: set_mempolicy: {why}"));
        }
        drop(used());
        let before = placed().unwrap();
        let pools = used();
        let own = format!("bind:{node}");
        let new = new_since(&before);
        assert!(new.len() > pools.len(), "{new:#?}");
        assert!(new.iter().all(|new| new.policy == own), "{new:#?}");
        let segments = &pools[0].stats().segments;
        assert!(segments.iter().all(|segment| segment.node == Some(node)));
    });
}

/// Whether memory can be placed on nodes here; says so if not.
fn can_place(what: &str) -> bool {
    match Machine::probe().why_not_placed {
        None => true,
        Some(why) => {
            skipped(&format!("{what}: {why}"));
            false
        }
    }
}

#[test]
fn buffers_come_from_the_nodes_that_were_asked_for() {
    let what = "the nodes of buffers";
    if !can_place(what) || !says_policies(what) {
        return;
    }
    let nodes = with_memory();
    let (first, last) = (nodes[0], *nodes.last().unwrap());
    let all: Vec<String> = nodes.iter().map(u32::to_string).collect();
    for (builder, policy, node) in [
        (small().node(last), format!("bind:{last}"), Some(last)),
        (
            small().prefer_node(last),
            format!("prefer:{last}"),
            Some(last),
        ),
        (
            small().interleave(&[first]),
            format!("interleave:{first}"),
            Some(first),
        ),
        (
            small().interleave(&nodes).node(first),
            format!("bind:{first}"),
            Some(first),
        ),
        (
            small().node(first).shared(Access::Read),
            format!("bind:{first}"),
            Some(first),
        ),
    ] {
        let pool = builder.build().unwrap();
        pool.request(1 << 20, 4096, 2).unwrap();
        let found = of_buffers(&pool);
        assert!(!found.is_empty());
        assert!(
            found.iter().all(|found| found.policy == policy),
            "{policy}: {found:#?}"
        );
        let segments = pool.stats().segments;
        assert!(
            segments.iter().all(|segment| segment.node == node),
            "{segments:?}"
        );
    }
    if !are_two("interleaved buffers") {
        return;
    }
    let base = small().pages(Pages::Transparent, Rung::Never);
    let large = small().reserve(1 << 20, 4096, 16);
    let collapsed = large.clone().pages(Pages::Transparent, Rung::Never);
    let collapsed = collapsed.pages(Pages::Collapsed, Rung::Prefer);
    for builder in [
        base,
        large.clone(),
        large.shared(Access::Read),
        collapsed.clone(),
        collapsed.shared(Access::Read),
    ] {
        let pool = builder.interleave(&nodes).build().unwrap();
        let mut pages = vec![0; nodes.len()];
        for found in of_buffers(&pool) {
            assert!(found.policy.starts_with("interleave:"), "{found:?}");
            for (node, count) in found.pages {
                pages[nodes.iter().position(|at| *at == node).unwrap()] += count;
            }
        }
        let fair = pages.iter().sum::<usize>() / nodes.len();
        assert!(
            pages.iter().all(|count| *count > fair / 2),
            "nodes {all:?} have {pages:?}"
        );
    }
}

#[test]
fn what_is_locked_when_it_is_mapped_comes_from_its_node_all_the_same() {
    let name = "what_is_locked_when_it_is_mapped_comes_from_its_node_all_the_same";
    alone(name, &[], || {
        if !are_two(name) || !can_place(name) || !says_policies(name) {
            return;
        }
        // SAFETY: what is mapped from now on is locked.
        if unsafe { libc::mlockall(libc::MCL_FUTURE) } != 0 {
            return skipped(&format!("{name}: memory may not be locked"));
        }
        for node in with_memory() {
            let base = small().pages(Pages::Transparent, Rung::Never);
            for builder in [base.clone(), small(), base.shared(Access::Read)] {
                let pool = builder.node(node).build().unwrap();
                for found in of_buffers(&pool) {
                    let elsewhere = found.pages.iter().any(|(at, _)| *at != node);
                    assert!(!elsewhere && !found.pages.is_empty(), "{node}: {found:?}");
                }
            }
        }
    });
}

#[test]
fn nodes_that_cannot_be_are_refused_by_their_numbers() {
    let refused = |builder: Builder| builder.build().map(drop).unwrap_err();
    let limit = 1023;
    for node in [1024, u32::MAX] {
        let error = BuildError::NodeTooLarge { node, limit };
        for builder in [
            small().node(node),
            small().prefer_node(node),
            small().interleave(&[0, node]),
        ] {
            assert_eq!(refused(builder), error);
        }
        assert!(error.to_string().contains(&node.to_string()), "{error}");
        assert!(error.to_string().contains("1023"), "{error}");
    }
    assert_eq!(refused(small().interleave(&[])), BuildError::NoNodes);
    if !can_place("nodes that do not exist") {
        return;
    }
    let node = 900;
    for builder in [
        small().node(node),
        small().prefer_node(node),
        small().interleave(&[0, node]),
    ] {
        let error = refused(builder);
        assert!(
            matches!(error, BuildError::Node { node: said, why, .. }
            if said == node && why == WhyNotPlaced::NoSuchNode),
            "{error}"
        );
        for part in ["900", "no such node", "mbind"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

#[test]
fn where_a_filter_refuses_it_pools_are_built_and_what_was_asked_for_is_refused_by_name() {
    let name =
        "where_a_filter_refuses_it_pools_are_built_and_what_was_asked_for_is_refused_by_name";
    for number in [libc::EPERM, libc::ENOSYS] {
        // Each in a process of its own, since what is filtered stays so.
        let chosen = std::env::var("HUGEPOOL_TEST_CALL");
        if chosen.is_ok_and(|chosen| chosen != number.to_string()) {
            continue;
        }
        alone(name, &[("HUGEPOOL_TEST_CALL", &number.to_string())], || {
            let nodes = Machine::probe().nodes;
            if let Err(why) = refuse(libc::SYS_mbind, number) {
                return skipped(&format!("no filter for system calls: {why}"));
            }
            let expected = match number {
                libc::ENOSYS if nodes.is_empty() => WhyNotPlaced::NoNuma,
                _ => WhyNotPlaced::Filter,
            };
            drop(used());
            assert_eq!(Machine::probe().why_not_placed, Some(expected));
            for builder in [
                small().node(0),
                small().prefer_node(0),
                small().interleave(&[0]),
            ] {
                let error = builder.build().map(drop).unwrap_err();
                assert!(
                    matches!(error, BuildError::Node { node: 0, why, reason }
                    if why == expected && reason.number == number),
                    "{error}"
                );
                assert!(error.to_string().contains(&expected.to_string()), "{error}");
            }
            let words = WhyNotPlaced::Filter.to_string();
            assert!(words.contains("filter") && words.contains("mbind"));
            // Nor whoever may not ask for the thread's policy.
            refuse(libc::SYS_get_mempolicy, number).unwrap();
            drop(used());
        });
    }
}

#[test]
fn more_than_a_node_has_is_refused_and_ends_nobody() {
    let what = "more memory than a node has";
    if !are_two(what) || !can_place(what) {
        return;
    }
    for node in with_memory() {
        let field = |name| meminfo(node, name).unwrap_or(0);
        let most = field("MemFree")
            + field("Active(file)")
            + field("Inactive(file)")
            + field("SReclaimable");
        let count = most / MIB + 64;
        let all = support::meminfo("MemAvailable").unwrap_or(0);
        if all < (count + 256) * MIB {
            skipped(&format!(
                "{what}: the others have too little besides, for node {node}"
            ));
            continue;
        }
        let many = Pool::builder()
            .pages(Pages::Huge1G, Rung::Never)
            .pages(Pages::Huge2M, Rung::Never)
            .reserve(MIB, 4096, count)
            .node(node);
        let error = many.build().map(drop).unwrap_err();
        // Nor for a thread whose policy leaves it no other.
        let anywhere = Pool::builder()
            .pages(Pages::Huge1G, Rung::Never)
            .pages(Pages::Huge2M, Rung::Never)
            .reserve(MIB, 4096, count);
        let bound = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let bound = bind_thread(node);
                bound.map(|()| anywhere.build().map(drop).unwrap_err())
            });
            thread.join().unwrap()
        });
        match bound {
            Ok(error) => assert!(
                matches!(error, BuildError::NodeMemory { node: said, .. } if said == node),
                "{error}"
            ),
            Err(why) => skipped(&format!("{what}, by a thread's policy: {why}")),
        }
        let BuildError::NodeMemory {
            node: said,
            needed,
            available,
        } = error
        else {
            panic!("{error}")
        };
        assert!(said == node && needed >= count * MIB, "{error}");
        assert!(available < needed, "{error}");
        // What is there can be had, all but what others take meanwhile.
        let fewer = available / MIB - 128;
        let pool = Pool::builder().reserve(MIB, 4096, fewer).node(node);
        let pool = pool
            .pages(Pages::Huge1G, Rung::Never)
            .pages(Pages::Huge2M, Rung::Never);
        let pool = pool.build().unwrap();
        assert_eq!(pool.stats().segments[0].node, Some(node));
        // As much is no matter where other nodes may help out.
        drop(pool);
        let pool = many.prefer_node(node).build().unwrap();
        assert!(pool.stats().segments[0].resident_bytes >= count * MIB);
    }
}

/// Maps one page of 2 MiB more than `node` has free, bound to it, and touches them.
fn touch_more_than_free(node: u32, pages: usize) -> i32 {
    let len = pages * 2 * MIB;
    let flags =
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | (21 << libc::MAP_HUGE_SHIFT);
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let mask = [(1 as libc::c_ulong) << node, 0];
    // SAFETY: a new mapping that this process alone has, and ends with.
    unsafe {
        let at = libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0);
        if at == libc::MAP_FAILED {
            return 2;
        }
        if libc::syscall(libc::SYS_mbind, at, len, 2, mask.as_ptr(), 65_usize, 0) != 0 {
            return 3;
        }
        for page in 0..pages {
            at.cast::<u8>().add(page * 2 * MIB).write_volatile(1);
        }
    }
    0
}

#[test]
fn more_huge_pages_than_a_node_has_are_refused_or_others_taken_and_nobody_is_ended() {
    let what = "more huge pages than a node has";
    if !are_two(what) || !can_place(what) {
        return;
    }
    let free = |node: u32| {
        let folder = format!("/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB");
        number(&format!("{folder}/free_hugepages")).unwrap_or(0)
    };
    let all: usize = with_memory().into_iter().map(free).sum();
    for node in with_memory().into_iter().filter(|node| *node < 64) {
        let own = free(node);
        if own < 2 || all < own + 2 {
            skipped(&format!("{what}: of {all}, node {node} has {own}"));
            continue;
        }
        let builder = |count: usize, rung| {
            let builder = Pool::builder()
                .reserve(MIB, 4096, 2 * count)
                .prefault(false);
            let builder = builder.pages(Pages::Huge1G, Rung::Never);
            builder.pages(Pages::Huge2M, rung)
        };
        let error = builder(own + 1, Rung::Require)
            .node(node)
            .build()
            .map(drop)
            .unwrap_err();
        let (needed, available) = ((own + 1) * 2 * MIB, own * 2 * MIB);
        assert_eq!(
            error,
            BuildError::NodeMemory {
                node,
                needed,
                available
            }
        );
        // The next kind, if another will do.
        let pool = builder(own + 1, Rung::Prefer).node(node).build().unwrap();
        assert_ne!(pool.stats().segments[0].pages, Pages::Huge2M);
        drop(pool);
        // As many as there are, at once, whatever `prefault` says.
        let pool = builder(own, Rung::Require).node(node).build().unwrap();
        let segment = &pool.stats().segments[0];
        assert_eq!(
            (segment.resident_bytes, segment.node),
            (own * 2 * MIB, Some(node))
        );
        drop(pool);
        // Others help out where the node is but preferred, or one of several.
        let nodes = with_memory();
        for placed in [
            builder(own + 1, Rung::Require).prefer_node(node),
            builder(own + 1, Rung::Require).interleave(&nodes),
            builder(own + 1, Rung::Require).interleave(&[node]),
        ] {
            let pool = placed.build().unwrap();
            let mut buffers = pool.allocate_many(MIB, 4096, 2 * (own + 1)).unwrap();
            buffers.iter_mut().for_each(|buffer| buffer[0] = 1);
        }
        // What this is about: whoever touches what was promised by all nodes together.
        // SAFETY: the child ends by `_exit`, or by the signal.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            // SAFETY: ends the child.
            unsafe { libc::_exit(touch_more_than_free(node, own + 1)) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
        assert_eq!(
            signal,
            Some(libc::SIGBUS),
            "this proves nothing: {status:x}"
        );
    }
}

/// What the kernel counts in `/proc/vmstat`, all processes together.
fn vmstat(name: &str) -> i64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(found, _)| *found == name);
    found.map_or(0, |(_, count)| count.parse().unwrap())
}

/// Bytes of ordinary memory, and of a pool's, that are compared.
const COMPARED: usize = 8 * MIB;
/// How often all of the ordinary memory is to have been watched.
const ROUNDS: i64 = 2;

/// Has the kernel leave alone what this thread needs besides: its stack and its heap.
fn leave_this_thread_alone() {
    let (stack, heap) = (0_u8, Box::new(0_u8));
    let needed = [(&raw const stack).addr(), (&raw const *heap).addr()];
    for map in maps() {
        if needed.iter().any(|at| (map.start..map.end).contains(at)) {
            leave_alone(&map);
        }
    }
}

/// Ordinary memory on base pages, each of which was touched.
fn ordinary() -> Range<usize> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, which lasts as long as the process.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), COMPARED, access, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: the mapping made above, of which nobody knows yet.
    unsafe {
        libc::madvise(at, COMPARED, libc::MADV_NOHUGEPAGE);
        at.write_bytes(1, COMPARED);
    }
    let start = at.expose_provenance();
    start..start + COMPARED
}

/// Reads a byte of each page. Gives the page faults of that.
fn read_pages(range: &Range<usize>) -> i64 {
    let before = faults();
    for at in range.clone().step_by(PAGE) {
        // SAFETY: mapped, readable, and not written meanwhile.
        unsafe { std::ptr::with_exposed_provenance::<u8>(at).read_volatile() };
    }
    faults() - before
}

/// Takes buffers and gives them back, by way of the caches and of the lists behind them, and
/// reads all of each. Gives the page faults of that.
fn use_pool(pool: &Pool) -> i64 {
    let before = faults();
    for _ in 0..4 {
        let buffers = [(); 48].map(|()| pool.allocate(65536, 4096));
        for buffer in buffers.iter().flatten() {
            for at in (0..buffer.len()).step_by(PAGE) {
                std::hint::black_box(buffer[at]);
            }
        }
    }
    faults() - before
}

/// Runs `work` on a thread of each node, until it has said on one of them that it is done.
fn on_each_node(work: &(impl Fn() -> bool + Sync)) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for cpu in with_memory()
            .into_iter()
            .filter_map(|node| cpus_of(node).first().copied())
        {
            let done = &done;
            scope.spawn(move || {
                pin(cpu as usize);
                leave_this_thread_alone();
                while !done.load(Ordering::Relaxed) {
                    done.fetch_or(work(), Ordering::Relaxed);
                }
            });
        }
    });
}

/// How long the kernel may take to watch ordinary memory, before nothing can be said of it: it
/// does so ever more seldom where it finds nothing to move.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn the_kernel_watches_ordinary_memory_and_leaves_a_pool_alone() {
    let name = "the_kernel_watches_ordinary_memory_and_leaves_a_pool_alone";
    alone(name, &[], || {
        if !are_two(name) {
            return;
        }
        if number("/proc/sys/kernel/numa_balancing").unwrap_or(0) == 0 {
            return skipped(&format!("{name}: kernel.numa_balancing is 0"));
        }
        // What this program has besides, so that it is the pool that is compared.
        for placed in placed().unwrap_or_default() {
            if placed.map.access.starts_with("rw") && placed.policy == "default" {
                leave_alone(&placed.map);
            }
        }
        // The kernel looks for a while at what is new, and later on at what is used.
        let ordinary = ordinary();
        let only = |pages: Pages| {
            let rung = |kind| {
                if kind == pages {
                    Rung::Prefer
                } else {
                    Rung::Never
                }
            };
            let kinds = Pages::ALL.into_iter();
            let builder = kinds.fold(Pool::builder(), |builder, kind| {
                builder.pages(kind, rung(kind))
            });
            builder.reserve(65536, 4096, COMPARED / 65536).build()
        };
        let pools = [Pages::Transparent, Pages::Base].map(only);
        let (there, here) = (AtomicI64::new(0), AtomicI64::new(0));
        let (since, before) = (Instant::now(), vmstat("numa_hint_faults"));
        let watched = ROUNDS * (COMPARED / PAGE) as i64;
        on_each_node(&|| {
            let used: i64 = pools.iter().flatten().map(use_pool).sum();
            here.fetch_add(used, Ordering::Relaxed);
            let seen = read_pages(&ordinary);
            there.fetch_add(seen, Ordering::Relaxed) + seen >= watched || since.elapsed() > PATIENCE
        });
        let hinted = vmstat("numa_hint_faults") - before;
        let (there, here) = (there.into_inner(), here.into_inner());
        measured(&format!(
            "a thread on each node uses 8 MiB of ordinary memory, and as much of pools on transparent \
             huge pages and on base pages: {there} page faults in the one, {here} in the others; \
             numa_hint_faults grew by {hinted}"
        ));
        let own: Vec<_> = pools.iter().flatten().flat_map(of_buffers).collect();
        assert!(own.iter().all(|own| own.policy == "local"), "{own:#?}");
        if there < watched {
            return skipped(&format!(
                "{name}: the kernel watched {there} ordinary pages"
            ));
        }
        // A pool that is watched faults for each page of its tables, and of its buffers.
        assert!(
            here * 64 < there,
            "{here} of {there} page faults are in the pools"
        );
    });
}
