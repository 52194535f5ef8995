//! What of a pool is in a ring's table of fixed buffers, for rings of one's own and others.

mod support;

use hugepool::uring::{Registry, Report, Ring, WhyUnregistered};
use hugepool::{Buffer, Pool};
use io_uring::{IoUring, opcode, types};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use support::filter::refuse_where;
use support::process::alone;
use support::uring::{Temporary, all, next, pattern, ring, without_reserved};
use support::{meminfo, skipped};

const SIZE: usize = 16 << 10;
const COUNT: usize = 16;
const PREFIX: usize = 512;
const MIB: usize = 1 << 20;

fn pool() -> Pool {
    let builder = Pool::builder().reserve(SIZE, 4096, COUNT);
    let builder = builder.prefix_zone(PREFIX).address_space(1 << 30);
    without_reserved(builder).prefault(false).build().unwrap()
}

/// A ring and a registry that has registered all; `None`, after saying so, where that cannot
/// be.
fn registered(what: &str, pool: &Pool) -> Option<(IoUring, Registry)> {
    let ring = match IoUring::new(8) {
        Ok(ring) => ring,
        Err(why) => {
            skipped(&format!("{what}: no io_uring: {why}"));
            return None;
        }
    };
    let mut registry = Registry::new(pool);
    assert_eq!(*registry.report(), Report::default());
    let report = *registry.refresh(&ring.submitter());
    match report.why {
        None => {
            assert!(report.registered > 0 && report.unregistered == 0);
            Some((ring, registry))
        }
        Some(WhyUnregistered::NoTable { .. } | WhyUnregistered::Memory { .. }) => {
            skipped(&format!("{what}: {report}"));
            None
        }
        Some(why) => panic!("{why}"),
    }
}

/// Reads into prefix zone and data of a buffer by entry `entry`: what the kernel says.
fn read_fixed(ring: &mut IoUring, from: &Temporary, buffer: &mut Buffer, entry: u16) -> i32 {
    let fd = types::Fd(from.file.as_raw_fd());
    let start = buffer.as_mut_ptr().wrapping_sub(PREFIX);
    let len = (PREFIX + buffer.len()) as u32;
    let read = opcode::ReadFixed::new(fd, start, len, entry).build();
    // SAFETY: file and buffer are there until it has completed, which is waited for. (Not
    // `as_mut_ptr` of the prefix: the address is the kernel's alone.)
    unsafe { ring.submission().push(&read).unwrap() };
    ring.submit_and_wait(1).unwrap();
    ring.completion().next().unwrap().result()
}

#[test]
fn every_buffer_is_in_the_entry_that_is_said_prefix_and_all() {
    let name = "every_buffer_is_in_the_entry_that_is_said_prefix_and_all";
    let pool = pool();
    pool.request(SIZE, 4096, 3 * COUNT).unwrap();
    let Some((mut ring, mut registry)) = registered(name, &pool) else {
        return;
    };
    let file = Temporary::with(name, &pattern(1, PREFIX + SIZE));
    let mut check = |registry: &Registry, count: usize| {
        let mut buffers = all(&pool, SIZE);
        assert_eq!(buffers.len(), count);
        for buffer in &mut buffers {
            buffer.fill(0);
            let entry = registry.entry(buffer).unwrap();
            let read = read_fixed(&mut ring, &file, buffer, entry);
            assert_eq!(read, (PREFIX + SIZE) as i32);
            let wanted = pattern(1, PREFIX + SIZE);
            assert_eq!(buffer.prefix(), &wanted[..PREFIX]);
            assert_eq!(&buffer[..], &wanted[PREFIX..]);
        }
    };
    check(&registry, 4 * COUNT);
    assert_eq!(registry.report().entries, 2);
    drop(registry);
    // Of those that are added later, too.
    let Some((other, late)) = registered(name, &pool) else {
        return;
    };
    (ring, registry) = (other, late);
    pool.request(SIZE, 4096, COUNT).unwrap();
    let held = all(&pool, SIZE);
    let unknown = held.iter().filter(|&buffer| !registry.knows(buffer));
    assert_eq!(unknown.count(), COUNT);
    assert!(held.iter().any(|buffer| registry.entry(buffer).is_none()));
    registry.follow(&ring.submitter());
    assert!(held.iter().all(|buffer| registry.entry(buffer).is_some()));
}

#[test]
fn another_pools_buffers_are_in_no_entry() {
    let name = "another_pools_buffers_are_in_no_entry";
    let (pool, other) = (pool(), pool());
    let Some((_ring, registry)) = registered(name, &pool) else {
        return;
    };
    let (own, foreign) = (all(&pool, SIZE), all(&other, SIZE));
    // They have the same names.
    assert_eq!(own[0].location().region, foreign[0].location().region);
    assert!(own.iter().all(|buffer| registry.entry(buffer).is_some()));
    assert!(
        foreign
            .iter()
            .all(|buffer| registry.entry(buffer).is_none())
    );
    assert!(foreign.iter().all(|buffer| registry.knows(buffer)));
}

#[test]
fn what_is_registered_keeps_its_place_until_it_is_let_go() {
    let name = "what_is_registered_keeps_its_place_until_it_is_let_go";
    let pool = pool();
    pool.request(SIZE, 4096, COUNT).unwrap();
    let Some((ring, mut registry)) = registered(name, &pool) else {
        return;
    };
    let start = || pool.regions().last().map(|region| region.start().addr());
    let first = start();
    let before = *registry.report();
    for refresh in [false, true] {
        assert_eq!(pool.trim().segments, 1);
        if refresh {
            let report = registry.refresh(&ring.submitter());
            assert_eq!(report.entries, before.entries - 1);
            assert!(report.registered < before.registered);
        }
        pool.request(SIZE, 4096, COUNT).unwrap();
        assert_eq!(start() == first, refresh);
        let stale = all(&pool, SIZE);
        let known = stale.iter().filter(|&buffer| registry.knows(buffer));
        assert_eq!(known.count(), COUNT);
        let entered = stale.iter().filter(|&b| registry.entry(b).is_some());
        assert_eq!(entered.count(), COUNT);
    }
    registry.refresh(&ring.submitter());
    assert_eq!(*registry.report(), before);
}

#[test]
fn what_is_released_can_be_registered_again() {
    let name = "what_is_released_can_be_registered_again";
    let pool = pool();
    let Some((mut ring, mut registry)) = registered(name, &pool) else {
        return;
    };
    let file = Temporary::with(name, &pattern(1, PREFIX + SIZE));
    let mut buffer = pool.allocate(SIZE, 4096).unwrap();
    let entry = registry.entry(&buffer).unwrap();
    registry.release(&ring.submitter()).unwrap();
    assert_eq!(registry.entry(&buffer), None);
    assert_eq!(*registry.report(), Report::default());
    // The kernel has it no more.
    assert!(read_fixed(&mut ring, &file, &mut buffer, entry) < 0);
    registry.refresh(&ring.submitter());
    let entry = registry.entry(&buffer).unwrap();
    assert!(read_fixed(&mut ring, &file, &mut buffer, entry) > 0);
}

#[test]
fn what_has_no_entry_left_is_used_without_and_said_to_be() {
    let name = "what_has_no_entry_left_is_used_without_and_said_to_be";
    let pool = pool();
    pool.request(SIZE, 4096, COUNT).unwrap();
    let Some(all_registered) = registered(name, &pool) else {
        return;
    };
    drop(all_registered);
    let mut ring = Ring::with_registry(Registry::with_entries(&pool, 1), 64).unwrap();
    let report = *ring.report();
    assert_eq!(report.why, Some(WhyUnregistered::Entries { limit: 1 }));
    assert!(report.entries == 1 && report.registered > 0 && report.unregistered > 0);
    every_buffer_reads(name, &pool, &mut ring);
    assert_eq!(*ring.report(), report);
}

/// Reads into every buffer of the pool; how many of them are registered.
fn every_buffer_reads(name: &str, pool: &Pool, ring: &mut Ring) -> usize {
    let file = Temporary::with(name, &pattern(2, SIZE));
    let mut registered = 0;
    for mut buffer in all(pool, SIZE) {
        buffer.fill(0xee);
        ring.read(Arc::clone(&file.file), buffer, .., 0, 0).unwrap();
        let done = next(ring);
        assert_eq!(done.result.unwrap(), SIZE);
        assert!(done.buffer[..] == pattern(2, SIZE));
        registered += usize::from(ring.registry().entry(&done.buffer).is_some());
    }
    registered
}

#[test]
fn where_there_is_no_table_everything_is_used_without() {
    let name = "where_there_is_no_table_everything_is_used_without";
    alone(name, &[], || {
        let pool = pool();
        if ring::<Arc<std::fs::File>, _>(name, &pool, 4).is_none() {
            return;
        }
        // IORING_REGISTER_BUFFERS2, as a kernel says that does not know it.
        let done = refuse_where(libc::SYS_io_uring_register, &[(1, 15, true)], libc::EINVAL);
        if let Err(why) = done {
            return skipped(&format!("{name}: no filter for system calls: {why}"));
        }
        let mut ring = Ring::new(&pool, 4).unwrap();
        let report = *ring.report();
        let Some(WhyUnregistered::NoTable { error }) = report.why else {
            panic!("{report}");
        };
        assert_eq!((error.number, report.registered), (libc::EINVAL, 0));
        assert_eq!(report.unregistered, pool.regions()[0].bytes());
        assert_eq!(every_buffer_reads(name, &pool, &mut ring), 0);
        // It holds nothing either.
        pool.request(SIZE, 4096, COUNT).unwrap();
        let start = pool.regions()[1].start();
        assert_eq!(every_buffer_reads(name, &pool, &mut ring), 0);
        assert_eq!(pool.trim().segments, 1);
        pool.request(SIZE, 4096, COUNT).unwrap();
        assert_eq!(pool.regions()[1].start(), start);
    });
}

/// Gives this process a limit of `bytes` that no other process uses, if it is root; if not it
/// shares the limit with the user's other processes.
fn limit_memlock(bytes: usize) -> bool {
    let limit = libc::rlimit {
        rlim_cur: bytes as libc::rlim_t,
        rlim_max: bytes as libc::rlim_t,
    };
    // SAFETY: takes the structure.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) }, 0);
    // Nobody has this number. The capability to lock any amount goes with root's.
    let user = 500_000 + std::process::id();
    // SAFETY: changes who the process is.
    unsafe { libc::geteuid() == 0 && libc::setresuid(user, user, user) == 0 }
}

#[test]
fn what_the_limit_of_locked_memory_forbids_is_used_without() {
    let name = "what_the_limit_of_locked_memory_forbids_is_used_without";
    alone(name, &[], || {
        // The file comes first: another user may not write where it lies.
        let pool = pool();
        let limit = pool.regions()[0].bytes() + 4 * MIB;
        pool.request(MIB, 4096, 16).unwrap();
        let file = Temporary::with(name, &pattern(2, MIB));
        let is_alone = limit_memlock(limit);
        let Some(mut ring) = ring(name, &pool, 4) else {
            return;
        };
        let report = *ring.report();
        if matches!(report.why, Some(WhyUnregistered::NoTable { .. })) {
            return skipped(&format!("{name}: {report}"));
        }
        if report.why.is_none() {
            return skipped(&format!("{name}: this process may lock what it likes"));
        }
        println!("{report}");
        let Some(WhyUnregistered::Memory { error, limit: said }) = report.why else {
            panic!("{report}");
        };
        assert_eq!((error.number, said), (libc::ENOMEM, Some(limit as u64)));
        let bytes: usize = pool.regions().iter().map(|region| region.bytes()).sum();
        assert_eq!(report.registered + report.unregistered, bytes);
        assert!(report.registered <= limit);
        if is_alone {
            assert!(report.registered > 0, "{report}");
        }
        let mut registered = 0;
        for mut buffer in all(&pool, MIB) {
            buffer.fill(0);
            ring.read(Arc::clone(&file.file), buffer, .., 0, 0).unwrap();
            let done = next(&mut ring);
            assert_eq!(done.result.unwrap(), MIB);
            assert!(done.buffer[..] == pattern(2, MIB));
            registered += usize::from(ring.registry().entry(&done.buffer).is_some());
        }
        assert!(registered < 16);
        assert_eq!(*ring.report(), report);
    });
}

#[test]
fn a_pool_of_1500_mib_is_registered() {
    let name = "a_pool_of_1500_mib_is_registered";
    const BYTES: usize = 1500 * MIB;
    // Registering faults it in. Other tests run beside this one.
    if meminfo("MemAvailable").unwrap_or(0) < 3 * BYTES {
        return skipped(&format!("{name}: too little memory is free"));
    }
    let builder = Pool::builder().reserve(MIB, 4096, BYTES / MIB);
    let pool = without_reserved(builder).prefault(false).build().unwrap();
    let Some((ring, registry)) = registered(name, &pool) else {
        return;
    };
    let report = *registry.report();
    println!("{report}");
    assert_eq!((report.registered, report.unregistered), (BYTES, 0));
    // One if the kernel takes it whole.
    assert!((1..=2).contains(&report.entries), "{report}");
    drop((ring, registry));
    let mut ring = Ring::new(&pool, 4).unwrap();
    let file = Temporary::with(name, &pattern(3, MIB));
    // Those where it is cut are among them.
    for mut buffer in all(&pool, MIB) {
        let at = buffer.location().offset;
        if at % (256 * MIB) >= 2 * MIB && at + 2 * MIB < BYTES {
            continue;
        }
        buffer.fill(0);
        ring.read(Arc::clone(&file.file), buffer, .., 0, 0).unwrap();
        let done = next(&mut ring);
        assert!(ring.registry().entry(&done.buffer).is_some());
        assert_eq!(done.result.unwrap(), MIB);
        assert!(done.buffer[..] == pattern(3, MIB));
    }
}

#[test]
fn the_example_copies_a_file_with_buffers_that_came_by_growth() {
    let name = "the_example_copies_a_file_with_buffers_that_came_by_growth";
    let own = std::env::current_exe().unwrap();
    let program = own.parent().unwrap().parent().unwrap();
    let program = program.join("examples/uring_copy");
    if !program.is_file() {
        // Run with this test file alone, cargo builds no examples.
        return skipped("the example: build it with `cargo build --example uring_copy`");
    }
    if ring::<Arc<std::fs::File>, _>(name, &pool(), 4).is_none() {
        return;
    }
    // Longer than what is there before; of whole blocks, not of whole blocks, and empty.
    for len in [8 * MIB, 5 * MIB + 1234, 0] {
        let from = Temporary::with("uring-copy-from", &pattern(4, len));
        let to = Temporary::with("uring-copy-to", &pattern(5, 6 * MIB));
        let output = std::process::Command::new(&program)
            .args([&from.path, &to.path])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(said.contains("at first: ") && said.contains("at the end: "));
        assert!(to.bytes() == pattern(4, len), "{len}");
    }
}
