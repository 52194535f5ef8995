//! NUMA: more memory, and more huge pages, than a node has. That is refused, or comes from
//! elsewhere, and ends nobody.

mod support;

use hugepool::{BuildError, Pages, Pool, Rung};
use support::nodes::{are_two, bind_thread, can_place, meminfo, with_memory};
use support::{number, skipped};

const MIB: usize = 1 << 20;

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
        let fewer = (available / MIB).saturating_sub(128).max(1);
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
