//! NUMA: a pool's memory comes from the nodes that were asked for; what was asked for and cannot
//! be had is an error that says why.

mod support;

use hugepool::share::Access;
use hugepool::{BuildError, Builder, Machine, Pages, Pool, Rung, WhyNotPlaced};
use std::time::Duration;
use support::filter::refuse;
use support::nodes::{Placed, are_two, bind_thread, can_place, of_buffers, placed, with_memory};
use support::process::alone;
use support::skipped;

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
        drop(pool.stream("one").minimum(65536, 4096, 1).build().unwrap());
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
