//! Buffers that other processes map.

mod support;

use hugepool::share::{Access, Client, Handle, ShareError};
use hugepool::{BuildError, Pool, Rung};
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use support::process::alone;

use support::shared::{PREFIX, SIZE, allocate, client, free, handle, pool, sent};

#[test]
fn a_handle_names_the_same_bytes_on_both_sides() {
    // Several segments, one of them with several chunks.
    let pool = pool(Access::Write, 5000);
    pool.request(1 << 20, 1 << 20, 3).unwrap();
    let client = client(&pool);
    let mut held: Vec<(NonNull<u8>, usize)> = (0..5000).map(|_| (allocate(&pool), SIZE)).collect();
    held.extend((0..3).map(|_| (pool.allocate_raw(999_999, 4096).unwrap(), 999_999)));
    let mut handles = HashSet::new();
    for (at, &(start, size)) in held.iter().enumerate() {
        let handle = handle(&pool, start);
        assert!(handles.insert(handle), "two buffers have one handle");
        let view = client.map(handle).unwrap();
        assert_eq!(
            (view.size, view.prefix, view.writable),
            (size, PREFIX, true)
        );
        assert_eq!(client.handle(view.start.as_ptr()), Ok(handle));
        let own = pool.view(handle).unwrap();
        assert_eq!((own.start, own.size, own.prefix), (start, size, PREFIX));
        let alignment = if size == SIZE { 4096 } else { 1 << 20 };
        assert!(view.start.addr().get().is_multiple_of(alignment));
        // SAFETY: both sides are mapped, and nobody else uses the buffer.
        unsafe {
            start.write(at as u8);
            assert_eq!(view.start.read(), at as u8);
            let last = view.size - 1;
            view.start.add(last).write(!(at as u8));
            assert_eq!(start.add(last).read(), !(at as u8));
            // The client's prefix zone.
            view.start.sub(PREFIX).write_bytes(0xee, PREFIX);
            assert_eq!(start.sub(1).read(), 0xee);
        }
    }
    for (start, size) in held {
        // SAFETY: allocated above, and freed once.
        unsafe { pool.free_raw(start.as_ptr(), size) }.unwrap();
    }
}

#[test]
fn a_stale_handle_is_refused() {
    let pool = pool(Access::Read, 1);
    let client = client(&pool);
    let start = allocate(&pool);
    let stale = handle(&pool, start);
    let view = client.map(stale).unwrap();
    free(&pool, start);
    let refused = |handle| {
        let bad = Err(ShareError::BadHandle { handle });
        client.map(handle) == bad && pool.view(handle) == bad
    };
    assert!(refused(stale));
    let address = view.start.addr().get();
    assert_eq!(
        client.handle(view.start.as_ptr()),
        Err(ShareError::NoBuffer { address })
    );
    // Nor does it name the next owner's data, of whom there are a lot.
    for _ in 0..20_000 {
        let again = allocate(&pool);
        assert_eq!(again, start);
        assert_ne!(handle(&pool, again), stale);
        assert!(refused(stale));
        free(&pool, again);
    }
}

#[test]
fn only_the_first_byte_of_a_buffer_that_is_out_has_a_handle() {
    let pool = pool(Access::Read, 2);
    let client = client(&pool);
    let start = allocate(&pool);
    let view = client.map(handle(&pool, start)).unwrap();
    for wrong in [
        std::ptr::null(),
        view.start.as_ptr().wrapping_add(1).cast_const(),
        view.start.as_ptr().wrapping_sub(1),
        start.as_ptr().wrapping_add(1),
        std::ptr::without_provenance(usize::MAX),
    ] {
        let address = wrong.addr();
        let refused = Err(ShareError::NoBuffer { address });
        assert_eq!(client.handle(wrong), refused);
        assert_eq!(pool.handle(wrong), refused);
    }
    free(&pool, start);
    assert!(pool.handle(start.as_ptr()).is_err(), "it is free");
    // A `Buffer` has none, since it can go any time.
    let buffer = pool.allocate(SIZE, 4096).unwrap();
    assert!(pool.handle(buffer.as_ptr()).is_err());
}

#[test]
fn segments_that_come_later_are_attached_later() {
    let pool = pool(Access::Read, 1);
    let client = client(&pool);
    pool.request(SIZE, 4096, 2).unwrap();
    let held: Vec<_> = (0..3).map(|_| allocate(&pool)).collect();
    let known = |client: &Client| {
        let known = held
            .iter()
            .filter(|&&start| client.map(handle(&pool, start)).is_ok());
        known.count()
    };
    assert_eq!(known(&client), 1);
    for export in pool.exports().unwrap() {
        let first = client.attach(sent(export));
        assert!(matches!(first, Ok(()) | Err(ShareError::Slots { .. })));
    }
    assert_eq!(known(&client), 3);
    held.into_iter().for_each(|start| free(&pool, start));
}

/// Memory that was trimmed comes again as another segment's, with the same slots.
#[test]
fn a_trimmed_buffers_handle_does_not_name_what_came_in_its_place() {
    let pool = pool(Access::Read, 1);
    let held = allocate(&pool);
    let mut stale = Vec::new();
    for turn in 0..3 {
        // Each time another class, in the same granules.
        let size = 4096 << turn;
        pool.request(size, 4096, 2).unwrap();
        let client = client(&pool);
        let both = [0, 1].map(|_| pool.allocate_raw(size, 4096).unwrap());
        for start in both {
            let handle = handle(&pool, start);
            let own = pool.view(handle).unwrap();
            assert_eq!((own.start, own.size), (start, size));
            assert_eq!(client.map(handle).unwrap().size, size);
            assert!(!stale.contains(&handle), "a handle came again");
            stale.push(handle);
        }
        for &handle in &stale[..2 * turn] {
            let bad = Err(ShareError::BadHandle { handle });
            assert_eq!((client.map(handle), pool.view(handle)), (bad, bad));
        }
        for start in both {
            // SAFETY: allocated above, and freed once.
            unsafe { pool.free_raw(start.as_ptr(), size) }.unwrap();
        }
        assert_eq!(pool.trim().segments, 1);
        for &handle in &stale {
            assert_eq!(pool.view(handle), Err(ShareError::BadHandle { handle }));
        }
    }
    free(&pool, held);
}

/// What a process that has the descriptor alone can map.
fn mappable(fd: &OwnedFd, bytes: usize, access: i32) -> bool {
    // SAFETY: a new mapping, of which nothing is used, and which is unmapped.
    unsafe {
        let at = libc::mmap(
            std::ptr::null_mut(),
            bytes,
            access,
            libc::MAP_SHARED,
            fd.as_raw_fd(),
            0,
        );
        at != libc::MAP_FAILED && libc::munmap(at, bytes) == 0
    }
}

#[test]
fn a_client_can_write_what_is_granted_and_nothing_else() {
    for access in [Access::Read, Access::Write] {
        let pool = pool(access, 4);
        pool.request(4096, 4096, 4).unwrap();
        for export in pool.exports().unwrap() {
            let bytes = export.layout.bytes();
            let write = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(
                mappable(&export.memory, bytes, write),
                access == Access::Write
            );
            assert!(mappable(&export.memory, bytes, libc::PROT_READ));
            assert!(!mappable(&export.states, 4096, write));
            assert!(mappable(&export.states, 4096, libc::PROT_READ));
            for fd in [export.memory, export.states] {
                let file = File::from(fd);
                assert!(file.set_len(0).is_err() && file.set_len(1 << 30).is_err());
            }
        }
    }
}

#[test]
fn a_client_that_writes_everywhere_spoils_nothing_but_contents() {
    const COUNT: usize = 64;
    let pool = pool(Access::Write, COUNT);
    for export in pool.exports().unwrap() {
        let bytes = export.layout.bytes();
        // SAFETY: a new mapping of the whole memory, written as a whole, and unmapped.
        unsafe {
            let at = libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                export.memory.as_raw_fd(),
                0,
            );
            assert_ne!(at, libc::MAP_FAILED);
            at.cast::<u8>().write_bytes(0xff, bytes);
            libc::munmap(at, bytes);
        }
    }
    for _ in 0..2 {
        let held: HashSet<_> = (0..COUNT).map(|_| allocate(&pool)).collect();
        assert_eq!(held.len(), COUNT);
        assert!(pool.allocate_raw(SIZE, 4096).is_err());
        held.into_iter().for_each(|start| free(&pool, start));
    }
}

#[test]
fn a_pool_that_is_not_shared_has_nothing_to_export() {
    let pool = Pool::builder().reserve(SIZE, 4096, 1).build().unwrap();
    assert_eq!(pool.exports().unwrap_err(), ShareError::NotShared);
    let start = allocate(&pool);
    assert_eq!(pool.handle(start.as_ptr()), Err(ShareError::NotShared));
    assert_eq!(pool.view(Handle::from_raw(1)), Err(ShareError::NotShared));
    free(&pool, start);
}

#[test]
fn more_buffers_than_handles_can_name_are_refused() {
    let many = Pool::builder()
        .reserve(512, 512, 1 << 20)
        .shared(Access::Read)
        .prefault(false);
    let limit = (1 << 20) - 1;
    assert_eq!(
        many.build().map(drop),
        Err(BuildError::TooManySlots { limit })
    );
    let pool = Pool::builder().shared(Access::Read).prefault(false);
    let pool = pool.reserve(512, 512, limit).build().unwrap();
    let error = pool.request(512, 512, 1).unwrap_err();
    assert_eq!(error, BuildError::TooManySlots { limit });
    assert_eq!(pool.available(512, 512), limit);
}

/// In a process of its own: it counts mappings.
#[test]
fn growth_that_is_refused_leaves_no_mapping_and_no_slot() {
    const NAME: &str = "growth_that_is_refused_leaves_no_mapping_and_no_slot";
    alone(NAME, &[], refused_growth);
}

fn refused_growth() {
    let mappings = || {
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .count()
    };
    let builder = Pool::builder().shared(Access::Read).prefault(false);
    let mut builder = builder.address_space(1 << 40);
    // As many classes as there can be.
    for class in 1..=128 {
        builder = builder.reserve(class * 512, 512, 1);
    }
    let pool = builder.build().unwrap();
    let before = mappings();
    // More than slots can name, and one class too many.
    let limit = (1 << 20) - 1;
    let refused = pool.request(512, 512, 1 << 21).unwrap_err();
    assert_eq!(refused, BuildError::TooManySlots { limit });
    for _ in 0..40 {
        let refused = pool.request(1 << 20, 512, 50_000).unwrap_err();
        assert_eq!(refused, BuildError::TooManyClasses { limit: 128 });
    }
    let more = mappings().saturating_sub(before);
    assert!(more < 20, "{more} more mappings");
    pool.request(512, 512, 50_000).unwrap();
    // What is trimmed is the table's own again.
    assert_eq!(pool.trim().segments, 1);
}

#[test]
fn growth_that_fails_takes_no_states_from_growth_beside_it() {
    let builder = Pool::builder().shared(Access::Read).prefault(false);
    let mut builder = builder.address_space(1 << 30).climb(0);
    for class in 1..=128 {
        builder = builder.reserve(class * 512, 512, 1);
    }
    let pool = builder.build().unwrap();
    let held = pool.allocate_raw(512, 512).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // One class too many, in the granules that the other will want.
            while !done.load(Ordering::Relaxed) {
                assert!(pool.request(1 << 20, 512, 1).is_err());
            }
        });
        for _ in 0..2000 {
            pool.request(512, 512, 1).unwrap();
            let start = pool.allocate_raw(512, 512).unwrap();
            let name = handle(&pool, start);
            let newest = pool.exports().unwrap().pop().unwrap();
            let client = Client::new();
            client.attach(sent(newest)).unwrap();
            let known = client.map(name).is_ok();
            // SAFETY: allocated above, and freed once.
            unsafe { pool.free_raw(start.as_ptr(), 512) }.unwrap();
            if !known {
                done.store(true, Ordering::Relaxed);
                panic!("the client does not see what the server writes");
            }
            pool.trim();
        }
        done.store(true, Ordering::Relaxed);
    });
    // SAFETY: allocated above, and freed once.
    unsafe { pool.free_raw(held.as_ptr(), 512) }.unwrap();
}

#[test]
fn handles_of_what_is_out_name_nothing_once_the_pool_is_gone() {
    let pool = pool(Access::Read, 2);
    let client = client(&pool);
    let start = allocate(&pool);
    let handle = handle(&pool, start);
    assert!(client.map(handle).is_ok());
    drop(pool);
    assert_eq!(client.map(handle), Err(ShareError::Closed));
}

#[test]
fn a_handle_that_is_made_beside_a_free_is_never_the_next_owners() {
    const OWNERS: usize = 3000;
    for _ in 0..20 {
        let pool = pool(Access::Read, 1);
        let client = client(&pool);
        let start = allocate(&pool);
        let view = client.map(handle(&pool, start)).unwrap();
        free(&pool, start);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..OWNERS {
                    let start = allocate(&pool);
                    free(&pool, start);
                }
                done.store(true, Ordering::Relaxed);
            });
            // Each was that of an owner who was there, so none is that of the next.
            let mut made = HashSet::new();
            let address = view.start.as_ptr().addr();
            while !done.load(Ordering::Relaxed) {
                made.extend(client.handle(std::ptr::without_provenance(address)));
            }
            assert!(made.iter().all(|&handle| client.map(handle).is_err()));
            let start = allocate(&pool);
            let next = handle(&pool, start);
            assert!(!made.contains(&next), "{next} was made before");
            free(&pool, start);
        });
    }
}

#[test]
fn shared_memory_says_which_pages_it_is_on() {
    for pages in hugepool::Pages::ALL {
        let builder = Pool::builder()
            .reserve(1 << 20, 4096, 4)
            .shared(Access::Read);
        let better = hugepool::Pages::ALL
            .into_iter()
            .filter(|&other| other < pages);
        let builder = better.fold(builder, |builder, other| builder.pages(other, Rung::Never));
        match builder.pages(pages, Rung::Require).build() {
            Ok(pool) => {
                let segment = &pool.stats().segments[0];
                println!("{pages}: {} of {} huge", segment.huge_bytes, segment.bytes);
                assert_eq!(segment.pages, pages);
                assert_eq!(segment.resident_bytes, segment.bytes);
                let client = client(&pool);
                let start = pool.allocate_raw(1 << 20, 4096).unwrap();
                assert!(client.map(handle(&pool, start)).is_ok());
            }
            Err(error) => println!("skipped: {error}"),
        }
    }
}

/// The one buffer of a pool goes from owner to owner, each of whom fills it with its own
/// number. Whoever reads by the handle of one gets what that one wrote, or is refused.
#[test]
fn a_copy_by_handle_has_nothing_of_a_later_owner() {
    const ROUNDS: u64 = 20_000;
    let pool = pool(Access::Write, 1);
    let client = client(&pool);
    // The owner's number, and the handle.
    let out = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut read, mut copy) = (0, vec![0; SIZE]);
            loop {
                let now = out.load(Ordering::Acquire);
                let (owner, handle) = ((now >> 32) as u8, Handle::from_raw(now as u32));
                match now {
                    0 => {}
                    u64::MAX => return read,
                    _ => match client.read(handle, 0, &mut copy) {
                        Ok(()) => {
                            assert!(copy.iter().all(|&byte| byte == owner), "{copy:?}");
                            read += 1;
                        }
                        Err(error) => assert_eq!(error, ShareError::BadHandle { handle }),
                    },
                }
            }
        });
        for round in 1..=ROUNDS {
            let start = allocate(&pool);
            // SAFETY: allocated just now with this size.
            unsafe { start.as_ptr().write_bytes(round as u8, SIZE) };
            let handle = handle(&pool, start);
            out.store(
                (round % 256) << 32 | u64::from(handle.raw()),
                Ordering::Release,
            );
            if round % 64 == 0 {
                std::thread::yield_now();
            }
            free(&pool, start);
        }
        out.store(u64::MAX, Ordering::Release);
        println!("{} copies", reader.join().unwrap());
    });
}

#[test]
fn a_clients_write_is_refused_once_the_buffer_was_freed() {
    let pool = pool(Access::Write, 1);
    let client = client(&pool);
    let start = allocate(&pool);
    let handle = handle(&pool, start);
    client.write(handle, 0, &[1]).unwrap();
    free(&pool, start);
    let stale = Err(ShareError::BadHandle { handle });
    assert_eq!(client.write(handle, 0, &[2]), stale);
    assert_eq!(client.read(handle, 0, &mut [0]), stale);
    let mut now = [0];
    let buffer = pool.allocate(SIZE, 4096).unwrap();
    buffer.read_at(0, &mut now).unwrap();
    assert_eq!(now, [1], "the refused write changed nothing");
}

/// A write by the handle of a buffer that was freed meanwhile, and is another owner's by now,
/// does not succeed: whoever is told that it did has written nothing to that owner's.
#[test]
fn a_write_that_succeeds_has_written_nothing_to_a_later_owner() {
    const ROUNDS: usize = 200;
    const LARGE: usize = 8 << 20;
    const LAST: usize = 4096;
    let builder = Pool::builder().reserve(LARGE, 4096, 1);
    let pool = builder.shared(Access::Write).build_volatile().unwrap();
    let client = client(&pool);
    let allocate = || pool.allocate_raw(LARGE, 4096).unwrap();
    // SAFETY: allocated by `allocate`, and freed once.
    let free = |start: NonNull<u8>| unsafe { pool.free_raw(start.as_ptr(), LARGE) }.unwrap();
    let from = vec![1; LARGE];
    let (mut done, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let start = allocate();
        let handle = handle(&pool, start);
        // SAFETY: of this owner's buffer; nobody refers to it.
        let first = unsafe { &*start.as_ptr().cast::<AtomicU8>() };
        first.store(0, Ordering::Relaxed);
        let (written, start) = std::thread::scope(|scope| {
            let written = scope.spawn(|| client.write(handle, 0, &from));
            // Freed in the middle, at the start, or when all is done.
            while round % 8 != 0 && first.load(Ordering::Relaxed) == 0 {
                std::hint::spin_loop();
            }
            free(start);
            let start = allocate();
            // SAFETY: allocated just now with this size.
            unsafe { start.as_ptr().add(LARGE - LAST).write_bytes(2, LAST) };
            (written.join().unwrap(), start)
        });
        match written {
            Ok(()) => {
                // SAFETY: as above, and nobody writes it.
                let last = (LARGE - LAST..LARGE).map(|at| unsafe { start.add(at).read() });
                assert!(last.eq([2; LAST]), "in round {round}");
                done += 1;
            }
            Err(error) => {
                assert_eq!(error, ShareError::BadHandle { handle });
                refused += 1;
            }
        }
        free(start);
    }
    println!("{done} done, {refused} refused");
}

/// A `Pool` gives references to such memory: whoever has the descriptor may not change a
/// byte of it, by a write, a new mapping, or by giving pages back.
#[test]
fn what_is_shared_for_reading_is_changed_by_nobody_else() {
    for pages in hugepool::Pages::ALL {
        let builder = Pool::builder()
            .reserve(1 << 20, 4096, 2)
            .shared(Access::Read);
        let better = hugepool::Pages::ALL
            .into_iter()
            .filter(|&other| other < pages);
        let builder = better.fold(builder, |builder, other| builder.pages(other, Rung::Never));
        let pool = match builder.pages(pages, Rung::Require).build() {
            Ok(pool) => pool,
            Err(error) => {
                println!("skipped: {error}");
                continue;
            }
        };
        let mut buffer = pool.allocate(1 << 20, 4096).unwrap();
        buffer.fill(7);
        let export = pool.exports().unwrap().remove(0);
        let bytes = export.layout.bytes();
        assert!(!mappable(&export.memory, bytes, libc::PROT_WRITE));
        let path = format!("/proc/self/fd/{}", export.memory.as_raw_fd());
        let opened = File::options().read(true).write(true).open(path).unwrap();
        for file in [File::from(export.memory), opened] {
            assert!(file.write_all_at(&[1; 4096], 0).is_err(), "{pages}");
            for mode in [
                libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
                libc::FALLOC_FL_ZERO_RANGE,
                libc::FALLOC_FL_COLLAPSE_RANGE,
            ] {
                // SAFETY: a plain call.
                let gone =
                    unsafe { libc::fallocate(file.as_raw_fd(), mode, 0, bytes as libc::off_t) };
                assert_ne!(gone, 0, "{pages}: mode {mode}");
            }
        }
        assert!(buffer.iter().all(|&byte| byte == 7), "{pages}");
    }
}
