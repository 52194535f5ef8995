//! NUMA: the kernel watches ordinary memory, and leaves a pool where it is.

mod support;

use hugepool::{Pages, Pool, Rung};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use support::nodes::{are_two, cpus_of, leave_alone, of_buffers, placed, with_memory};
use support::process::alone;
use support::{faults, maps, measured, number, pin, skipped};

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

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
