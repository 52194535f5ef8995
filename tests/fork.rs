//! Proves: a child of a fork may drop the pool and the buffers it inherited. Where
//! the segments were there is a hole in its address space, which its own mappings
//! may fill, so nothing may be unmapped there. If it was to inherit the buffers it
//! may use the pool as well, whatever the parent's other threads were doing.
//!
//! Each test in a process of its own, because a fork copies the locks of every
//! other thread as they are.

mod support;

use hugepool::share::{Access, ShareError};
use hugepool::vdi::{Config, Parameters, Set, VD_E_NOTOPEN};
use hugepool::{AllocError, Buffer, BuildError, Pages, Pool, Rung};
#[cfg(feature = "async")]
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::kind::{Kind, both_kinds};
use support::process::{NO_REGISTRATION, alone, in_fork};
use support::{cpus, on_cpu, pin, skipped};

both_kinds! {
    a_child_that_inherits_the_buffers_takes_and_gives_every_one,
    a_child_of_a_process_full_of_thieves_takes_all_but_what_was_in_their_hands,
    a_child_serves_nobody_who_waited_in_its_parent,
    a_child_has_what_is_kept_for_somebody_who_collects_in_its_parent,
}

const SIZE: usize = 4096;

const BYTE: u8 = 0x5a;

/// In the child: fills the hole at `start` and drops the pool. 0 if what it put
/// there is still there; other numbers say what went wrong.
fn child(pool: Pool, buffer: hugepool::Buffer, start: *mut u8, bytes: usize) -> i32 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: NOREPLACE: only where nothing is mapped.
    let own = unsafe { libc::mmap(start.cast(), bytes, access, flags, -1, 0) };
    if own != start.cast() {
        return 2;
    }
    // SAFETY: mapped just now, `bytes` long, and nobody else's.
    let own = unsafe { std::slice::from_raw_parts_mut(start, bytes) };
    own.fill(BYTE);
    drop(buffer);
    drop(pool);
    i32::from(own.iter().any(|&byte| byte != BYTE))
}

#[test]
fn a_child_that_drops_the_pool_unmaps_nothing_of_its_own() {
    let name = "a_child_that_drops_the_pool_unmaps_nothing_of_its_own";
    alone(name, &[], drops_the_pool);
}

fn drops_the_pool() {
    let pool = Pool::builder()
        .reserve(64 << 10, 4096, 32)
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never)
        .build()
        .unwrap();
    let mut buffer = pool.allocate(64 << 10, 4096).unwrap();
    buffer.fill(1);
    let region = pool.regions()[0];
    let mut inherited = Some((pool.clone(), buffer));
    let code = in_fork(|| {
        let (pool, buffer) = inherited.take().unwrap();
        child(pool, buffer, region.start.cast_mut(), region.bytes)
    });
    assert_eq!(code, 0, "1: its memory is gone; 2: no hole");
    let (_, buffer) = inherited.unwrap();
    // The parent's pool goes on.
    assert!(buffer.iter().all(|&byte| byte == 1));
    drop(buffer);
    assert_eq!(pool.available(64 << 10, 4096), 32);
}

#[test]
fn a_child_neither_makes_nor_believes_handles_of_a_shared_pool() {
    alone(
        "a_child_neither_makes_nor_believes_handles_of_a_shared_pool",
        &[],
        handles_in_a_child,
    );
}

fn handles_in_a_child() {
    let builder = Pool::builder().reserve(4096, 4096, 4);
    let pool = builder.shared(Access::Read).build().unwrap();
    let start = pool.allocate_raw(4096, 4096).unwrap();
    let handle = pool.handle(start.as_ptr()).unwrap();
    let told = in_fork(|| {
        let made = pool.handle(start.as_ptr()) == Err(ShareError::Forked);
        let believed = pool.view(handle) == Err(ShareError::Forked);
        let grown = pool.request(4096, 4096, 1) == Err(BuildError::Forked);
        i32::from(!(made && believed && grown))
    });
    assert_eq!(told, 0);
    assert_eq!(pool.view(handle).unwrap().start, start);
    // SAFETY: allocated above, and freed once.
    unsafe { pool.free_raw(start.as_ptr(), 4096) }.unwrap();
}

#[test]
fn a_child_that_trims_a_shared_pool_maps_nothing_over_its_own() {
    alone(
        "a_child_that_trims_a_shared_pool_maps_nothing_over_its_own",
        &[],
        trims_in_a_child,
    );
}

fn trims_in_a_child() {
    let pool = Pool::builder().shared(Access::Read).build().unwrap();
    pool.request(SIZE, SIZE, 2000).unwrap();
    let shared = shared_mappings();
    assert_eq!(shared.len(), 2, "the buffers and their states");
    let unharmed = in_fork(|| {
        if !fill_holes(&shared) {
            return 2;
        }
        let trimmed = pool.trim();
        i32::from(trimmed.segments != 0 || !are_whole(&shared))
    });
    assert_eq!(unharmed, 0, "1: its memory is gone; 2: no hole");
    assert_eq!(pool.trim().segments, 1, "it is the parent's");
}

/// Where this process has memory that others can map, and how much.
fn shared_mappings() -> Vec<(usize, usize)> {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .filter(|line| line.contains("memfd:hugepool"))
        .filter_map(|line| line.split_once(' ')?.0.split_once('-'))
        .map(|(start, end)| {
            let start = usize::from_str_radix(start, 16).unwrap();
            (start, usize::from_str_radix(end, 16).unwrap() - start)
        })
        .collect()
}

/// Maps memory of this process's own where there are `holes`, and fills it. False if
/// something is there.
fn fill_holes(holes: &[(usize, usize)]) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    holes.iter().all(|&(start, bytes)| {
        let hole = std::ptr::without_provenance_mut(start);
        // SAFETY: NOREPLACE: only where nothing is mapped.
        let own = unsafe { libc::mmap(hole, bytes, access, flags, -1, 0) };
        if own != hole {
            return false;
        }
        // SAFETY: mapped just now, and so large.
        unsafe { own.cast::<u8>().write_bytes(BYTE, bytes) };
        true
    })
}

/// Whether what `fill_holes` wrote is still there.
fn are_whole(filled: &[(usize, usize)]) -> bool {
    filled.iter().all(|&(start, bytes)| {
        let own: *const u8 = std::ptr::with_exposed_provenance(start);
        // SAFETY: mapped by `fill_holes`, if it still is; otherwise this process ends.
        (0..bytes).all(|at| unsafe { own.add(at).read() } == BYTE)
    })
}

/// The first process of a namespace of its own, twice: both have the number 1.
#[test]
fn a_child_with_its_parents_number_is_known_as_a_child() {
    let name = "a_child_with_its_parents_number_is_known_as_a_child";
    alone(name, &[], || {
        // SAFETY: changes what number the next child has, or fails.
        let apart = || unsafe { libc::unshare(libc::CLONE_NEWPID) } == 0;
        if !apart() {
            skipped("namespaces of processes: this process may not make them");
            return;
        }
        let unharmed = in_fork(|| {
            let builder = Pool::builder().reserve(SIZE, SIZE, 2000);
            let pool = builder.shared(Access::Read).build().unwrap();
            let shared = shared_mappings();
            if std::process::id() != 1 || !apart() {
                return 3;
            }
            let mut inherited = Some(pool);
            in_fork(|| {
                if std::process::id() != 1 || !fill_holes(&shared) {
                    return 2;
                }
                drop(inherited.take());
                i32::from(!are_whole(&shared))
            })
        });
        assert_eq!(unharmed, 0, "1: its memory is gone; 2: no hole");
    });
}

#[test]
fn a_child_is_told_that_a_virtual_device_set_is_not_open_there() {
    alone(
        "a_child_is_told_that_a_virtual_device_set_is_not_open_there",
        &[],
        a_set_in_a_child,
    );
}

fn a_set_in_a_child() {
    let client = Config {
        device_count: 1,
        ..Config::default()
    };
    let server = Parameters {
        features: 0,
        block_size: 4096,
        alignment: 0,
        max_transfer_size: 1 << 20,
        time_out: 0,
    };
    let set = Set::new();
    set.open(&client).unwrap();
    set.begin_configuration(&server).unwrap();
    set.request_buffers(4096, 0, 2000).unwrap();
    set.end_configuration().unwrap();
    // Nothing is out: the end of it tears everything down. In the child what it does not
    // inherit is a hole, which its own mappings fill.
    let shared = shared_mappings();
    assert_eq!(shared.len(), 2, "the buffers and their states");
    let unharmed = in_fork(|| {
        if !fill_holes(&shared) {
            return 2;
        }
        // SAFETY: read once, and never used again in this process.
        drop(unsafe { std::ptr::read(&set) });
        i32::from(!are_whole(&shared))
    });
    assert_eq!(unharmed, 0);
    let start = set.allocate_buffer(4096, 0).unwrap().as_ptr();
    let told = in_fork(|| {
        // SAFETY: it is refused.
        let freed = unsafe { set.free_buffer(start, 4096) };
        let results = [
            set.open(&client),
            set.configuration().map(drop),
            set.begin_configuration(&server),
            set.request_buffers(4096, 0, 1),
            set.query_available_buffers(4096, 0).map(drop),
            set.end_configuration(),
            set.open_device(),
            set.close_device(),
            set.allocate_buffer(4096, 0).map(drop),
            freed,
            set.signal_abort(),
            set.close(),
        ];
        let told = results
            .iter()
            .all(|result| matches!(result, Err(error) if error.code() == VD_E_NOTOPEN));
        let nothing = !set.is_shared_buffer(start) && set.exports().is_err();
        // Nor does the end of it there harm anybody.
        // SAFETY: read once, and never used again in this process.
        drop(unsafe { std::ptr::read(&set) });
        i32::from(!(told && nothing))
    });
    assert_eq!(told, 0);
    assert_eq!(set.query_available_buffers(4096, 0), Ok(1999));
    // SAFETY: allocated above, and freed once.
    unsafe { set.free_buffer(start, 4096) }.unwrap();
    assert_eq!(set.query_available_buffers(4096, 0), Ok(2000));
    set.close().unwrap();
}

/// Runs `body`, a test of `kind` called `name`, with threads that the C library
/// registers for restartable sequences and with threads that it does not.
fn everywhere(kind: Kind, name: &str, body: impl Fn()) {
    let name = format!("{}::{name}", kind.name());
    alone(&name, &[], &body);
    if kind == Kind::Restartable {
        alone(&name, &[NO_REGISTRATION], &body);
    }
}

/// Takes all there is, with a stamp of its own in each, into `held`.
fn take_all(pool: &Pool, held: &mut Vec<Buffer>) -> AllocError {
    let refusal = loop {
        match pool.allocate(SIZE, SIZE) {
            Ok(buffer) => held.push(buffer),
            Err(refusal) => break refusal,
        }
    };
    for buffer in held.iter_mut() {
        let own = buffer.as_ptr().addr().to_ne_bytes();
        buffer.fill(0);
        buffer[..8].copy_from_slice(&own);
    }
    refusal
}

/// Whether no buffer is there twice: each still has its stamp.
fn are_distinct(held: &mut [Buffer]) -> bool {
    let stamped = |buffer: &mut Buffer| {
        let own = buffer.as_ptr().addr().to_ne_bytes();
        let stamped = buffer[..8] == own;
        buffer.fill(0xff);
        stamped
    };
    held.iter_mut().all(stamped)
}

fn a_child_that_inherits_the_buffers_takes_and_gives_every_one(kind: Kind) {
    const COUNT: usize = 64;
    everywhere(
        kind,
        "a_child_that_inherits_the_buffers_takes_and_gives_every_one",
        || {
            let cpus = cpus();
            let builder = Pool::builder().reserve(SIZE, SIZE, COUNT).fork(true);
            let pool = kind.build(builder);
            let mut held = Vec::with_capacity(COUNT);
            // Every processor's cache has some, the parent has one.
            for &cpu in &cpus {
                on_cpu(cpu, || drop(pool.allocate_many(SIZE, SIZE, COUNT).unwrap()));
            }
            let mut own = pool.allocate(SIZE, SIZE).unwrap();
            own.fill(7);
            let mut child = || {
                for &cpu in &cpus {
                    pin(cpu);
                    let refusal = take_all(&pool, &mut held);
                    if held.len() != COUNT - 1 {
                        return 1;
                    }
                    if !matches!(refusal, AllocError::Exhausted { carried: false, .. }) {
                        return 2;
                    }
                    if !are_distinct(&mut held) || own.iter().any(|&byte| byte != 7) {
                        return 3;
                    }
                    held.clear();
                    for _ in 0..20_000 {
                        if pool.allocate(SIZE, SIZE).is_err() {
                            return 4;
                        }
                    }
                }
                // Where there is another cache to take from, that was done.
                let stats = pool.stats();
                let stole = stats.classes[0].steals > 0 || cpus.len() == 1;
                if stole && stats.cache == kind.name() {
                    0
                } else {
                    5
                }
            };
            for _ in 0..3 {
                let code = in_fork(&mut child);
                let why = "1: too few or too many; 2: refused as carried; 3: one twice, or the \
                       parent's changed; 4: refused; 5: nothing stolen";
                assert_eq!(code, 0, "{why}");
            }
            // The parent's pool goes on.
            assert!(own.iter().all(|&byte| byte == 7));
            drop(own);
            take_all(&pool, &mut held);
            assert!(held.len() == COUNT && are_distinct(&mut held));
        },
    );
}

fn a_child_of_a_process_full_of_thieves_takes_all_but_what_was_in_their_hands(kind: Kind) {
    /// Free while the process forks: so few that threads steal them from each other.
    const FREE: usize = 8;
    const THIEVES: usize = 3;
    /// The most that a thread has in its hands: one, and what it moves at once.
    const IN_HANDS: usize = 31;
    const COUNT: usize = 400;
    let name = "a_child_of_a_process_full_of_thieves_takes_all_but_what_was_in_their_hands";
    everywhere(kind, name, || {
        let builder = Pool::builder().reserve(SIZE, SIZE, COUNT).fork(true);
        let pool = kind.build(builder);
        let mut held = Vec::with_capacity(COUNT);
        held.extend((FREE..COUNT).map(|_| pool.allocate(SIZE, SIZE).unwrap()));
        let (ended, taken) = (AtomicBool::new(false), AtomicU64::new(0));
        let cpus = cpus();
        std::thread::scope(|scope| {
            for thief in 0..THIEVES {
                let (pool, cpus, ended, taken) = (&pool, &cpus, &ended, &taken);
                scope.spawn(move || {
                    pin(cpus[thief % cpus.len()]);
                    while !ended.load(Ordering::Relaxed) {
                        let some = [(); FREE / 2].map(|()| pool.allocate(SIZE, SIZE).ok());
                        taken.fetch_add(some.iter().flatten().count() as u64, Ordering::Relaxed);
                    }
                });
            }
            for round in 0..30 {
                while taken.load(Ordering::Relaxed) < round * 1000 {
                    std::thread::yield_now();
                }
                let code = in_fork(|| {
                    held.clear();
                    take_all(&pool, &mut held);
                    let least = COUNT - THIEVES * (IN_HANDS + FREE / 2);
                    if !(least..=COUNT).contains(&held.len()) {
                        return 1;
                    }
                    let count = held.len();
                    if !are_distinct(&mut held) {
                        return 2;
                    }
                    // Some gates may be shut, by threads that are no more.
                    for cpu in &cpus {
                        pin(*cpu);
                        held.clear();
                        take_all(&pool, &mut held);
                        if held.len() != count {
                            return 3;
                        }
                    }
                    0
                });
                let why = "1: too few or too many; 2: one twice; 3: another number later";
                assert_eq!(code, 0, "{why}, in round {round}");
            }
            ended.store(true, Ordering::Relaxed);
        });
        drop(held);
        let all = pool.allocate_many(SIZE, SIZE, COUNT).unwrap();
        assert!(pool.allocate(SIZE, SIZE).is_err());
        drop(all);
        println!("{} steals in the parent", pool.stats().classes[0].steals);
    });
}

/// Threads wait in the parent, in turn and in strict order. A child does not have them:
/// what is given back there can all be taken there, by caches that are in use.
fn a_child_serves_nobody_who_waited_in_its_parent(kind: Kind) {
    const COUNT: usize = 8;
    const WAITERS: u64 = 3;
    let name = "a_child_serves_nobody_who_waited_in_its_parent";
    everywhere(kind, name, || {
        for strict in [false, true] {
            let builder = Pool::builder().reserve(SIZE, SIZE, COUNT).fork(true);
            let builder = builder.strict_order(strict);
            let pool = kind.build(builder.prefault(false));
            let held: Vec<Buffer> = (0..COUNT)
                .map(|_| pool.allocate(SIZE, SIZE).unwrap())
                .collect();
            std::thread::scope(|scope| {
                for _ in 0..WAITERS {
                    let wait = || pool.allocate_timeout(SIZE, SIZE, std::time::Duration::MAX);
                    scope.spawn(move || wait().map(drop).expect("a buffer came back"));
                }
                while pool.stats().waiting < WAITERS {
                    std::thread::yield_now();
                }
                let code = in_fork(|| {
                    assert_eq!(pool.stats().waiting, 0, "somebody waits who is not there");
                    for buffer in &held {
                        // SAFETY: the child's copy of a buffer that the parent keeps.
                        drop(unsafe { std::ptr::read(buffer) });
                    }
                    let again: Vec<Buffer> = (0..COUNT)
                        .map_while(|_| pool.allocate(SIZE, SIZE).ok())
                        .collect();
                    assert_eq!(again.len(), COUNT, "one went to who is not there");
                    drop(again);
                    // A class stays shared for a while after somebody waited.
                    while pool.stats().classes[0].cached == 0 {
                        drop(pool.allocate(SIZE, SIZE).unwrap());
                    }
                    0
                });
                assert_eq!(code, 0);
                drop(held);
            });
        }
    });
}

fn a_child_has_what_is_kept_for_somebody_who_collects_in_its_parent(kind: Kind) {
    const COUNT: usize = 8;
    const FOR_EVER: std::time::Duration = std::time::Duration::MAX;
    let name = "a_child_has_what_is_kept_for_somebody_who_collects_in_its_parent";
    everywhere(kind, name, || {
        for strict in [false, true] {
            let builder = Pool::builder().reserve(SIZE, SIZE, COUNT).fork(true);
            let builder = builder.strict_order(strict);
            let pool = kind.build(builder.prefault(false));
            let mut held = pool.allocate_many(SIZE, SIZE, COUNT).unwrap();
            std::thread::scope(|scope| {
                let wait = || pool.allocate_many_timeout(SIZE, SIZE, COUNT, FOR_EVER);
                let waiter = scope.spawn(wait);
                while pool.stats().waiting < 1 {
                    std::thread::yield_now();
                }
                (0..3).for_each(|_| drop(held.pop()));
                assert_eq!(pool.available(SIZE, SIZE), 0, "they are kept");
                for several in [false, true] {
                    let code = in_fork(|| {
                        // What was kept, by whichever way it asks.
                        let mut own = match several {
                            true => pool.allocate_many_timeout(SIZE, SIZE, 3, FOR_EVER).unwrap(),
                            false => (0..3).map(|_| pool.allocate(SIZE, SIZE).unwrap()).collect(),
                        };
                        assert!(pool.allocate(SIZE, SIZE).is_err());
                        for buffer in &held {
                            // SAFETY: the child's copy of a buffer that the parent keeps.
                            own.push(unsafe { std::ptr::read(buffer) });
                        }
                        drop(own);
                        assert_eq!(wait().unwrap().len(), COUNT);
                        0
                    });
                    assert_eq!(code, 0);
                }
                drop(held);
                assert_eq!(waiter.join().unwrap().unwrap().len(), COUNT);
            });
        }
    });
}

#[cfg(feature = "async")]
#[test]
fn a_task_that_waits_for_several_is_served_in_a_child_that_polls_it() {
    use std::task::{Context, Poll, Waker};
    let name = "a_task_that_waits_for_several_is_served_in_a_child_that_polls_it";
    alone(name, &[], || {
        let pool = Pool::builder().reserve(SIZE, SIZE, 4).fork(true);
        let pool = pool.prefault(false).build().unwrap();
        let mut held = pool.allocate_many(SIZE, SIZE, 4).unwrap();
        let mut future = Box::pin(pool.allocate_many_async(SIZE, SIZE, 3));
        let mut poll = || {
            future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        };
        assert!(poll().is_pending());
        (0..2).for_each(|_| drop(held.pop()));
        let code = in_fork(|| {
            assert!(poll().is_pending());
            // SAFETY: the child's copy of a buffer that the parent keeps.
            drop(unsafe { std::ptr::read(&held[0]) });
            let Poll::Ready(Ok(all)) = poll() else {
                return 1;
            };
            i32::from(all.len() != 3)
        });
        assert_eq!(code, 0, "1: it waits for ever");
        drop(held);
        assert!(matches!(poll(), Poll::Ready(Ok(all)) if all.len() == 3));
    });
}
