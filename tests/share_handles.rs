//! How long a handle names nothing but its buffer: over reuses, and over growth and trims.

mod support;

use hugepool::Pool;
use hugepool::share::{Access, Client, Handle, Handle64, Peers, ShareError};
use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use support::published::{name, opened, refresh};
use support::shared::client;

/// A pool that is built with `count` buffers of 512 B.
fn pool(count: usize) -> Pool {
    let builder = Pool::builder().reserve(512, 512, count).climb(0);
    let builder = builder.shared(Access::Read).prefault(false);
    builder.address_space(1 << 30).build().unwrap()
}

fn allocate(pool: &Pool, size: usize) -> NonNull<u8> {
    pool.allocate_raw(size, 512).unwrap()
}

fn free(pool: &Pool, start: NonNull<u8>, size: usize) {
    // SAFETY: allocated with that size, and freed once.
    unsafe { pool.free_raw(start.as_ptr(), size) }.unwrap();
}

fn is_refused(pool: &Pool, handle: Handle) -> bool {
    pool.view(handle) == Err(ShareError::BadHandle { handle })
}

#[test]
fn a_handle_of_64_bits_names_the_same_buffer_on_both_sides() {
    let pool = pool(100);
    pool.request(512, 512, 100).unwrap();
    let client = client(&pool);
    let mut made = HashSet::new();
    let held: Vec<_> = (0..200).map(|_| allocate(&pool, 512)).collect();
    for &start in &held {
        let handle = pool.handle64(start.as_ptr()).unwrap();
        assert!(made.insert(handle.raw()) && handle.raw() != 0);
        let handle = Handle64::from_raw(handle.raw());
        let own = pool.view64(handle).unwrap();
        assert_eq!((own.start, own.size), (start, 512));
        let view = client.map64(handle).unwrap();
        assert_eq!((view.size, view.writable), (512, false));
        assert_eq!(client.handle64(view.start.as_ptr()), Ok(handle));
        let short = pool.handle(start.as_ptr()).unwrap();
        assert_eq!(client.map(short), Ok(view));
    }
    let named: Vec<_> = held
        .iter()
        .map(|start| pool.handle64(start.as_ptr()))
        .collect();
    for start in held {
        free(&pool, start, 512);
    }
    let forged = [0, 1, 1 << 20, u64::MAX].map(Handle64::from_raw);
    for handle in named.into_iter().map(Result::unwrap).chain(forged) {
        let bad = Err(ShareError::BadHandle64 { handle });
        assert_eq!((pool.view64(handle), client.map64(handle)), (bad, bad));
    }
}

#[test]
fn the_bound_is_that_of_the_number_of_buffers() {
    for (count, bits) in [(1, 28), (7, 28), (8, 27), (127, 24), (128, 23), (4095, 19)] {
        assert_eq!(pool(count).handle_reuses(), Ok(1 << bits), "{count}");
    }
    let own = Pool::builder().reserve(512, 512, 1).build().unwrap();
    assert_eq!(own.handle_reuses(), Err(ShareError::NotShared));
    // What is added has what is left of the short form, and then the long one.
    let pool = pool(5);
    pool.request(512, 512, 2).unwrap();
    assert_eq!(pool.handle_reuses(), Ok(1 << 28));
    pool.request(512, 512, 1).unwrap();
    assert_eq!(pool.handle_reuses(), Ok(2048));
    assert_eq!(pool.trim().segments, 2);
    assert_eq!(pool.handle_reuses(), Ok(1 << 28));
}

/// Of a buffer with the long form, whose bound is the lowest.
#[test]
fn the_bound_is_met_exactly() {
    let pool = pool(7);
    pool.request(1024, 512, 1).unwrap();
    let client = client(&pool);
    let start = allocate(&pool, 1024);
    let handle = pool.handle(start.as_ptr()).unwrap();
    let handle64 = pool.handle64(start.as_ptr()).unwrap();
    let reuses = pool.handle_reuses().unwrap();
    for _ in 1..reuses {
        free(&pool, start, 1024);
        assert_eq!(allocate(&pool, 1024), start);
        assert!(is_refused(&pool, handle) && client.map(handle).is_err());
    }
    free(&pool, start, 1024);
    assert!(is_refused(&pool, handle) && client.map(handle).is_err());
    assert_eq!(allocate(&pool, 1024), start);
    // As documented.
    assert!(pool.view(handle).is_ok() && client.map(handle).is_ok());
    assert!(pool.view64(handle64).is_err() && client.map64(handle64).is_err());
    free(&pool, start, 1024);
}

#[test]
fn the_bound_holds_over_trims_each_of_which_counts_as_a_return() {
    let pool = pool(7);
    pool.request(1024, 512, 1).unwrap();
    let mut start = allocate(&pool, 1024);
    let handle = pool.handle(start.as_ptr()).unwrap();
    let reuses = pool.handle_reuses().unwrap();
    for turn in 1..=reuses / 2 {
        free(&pool, start, 1024);
        assert!(is_refused(&pool, handle));
        assert_eq!(pool.trim().segments, 1);
        assert!(is_refused(&pool, handle));
        pool.request(1024, 512, 1).unwrap();
        assert!(is_refused(&pool, handle));
        start = allocate(&pool, 1024);
        assert_eq!(pool.view(handle).is_ok(), turn == reuses / 2, "{turn}");
    }
    free(&pool, start, 1024);
}

/// As many as there are slots, and more.
#[test]
fn growth_and_trims_go_on_for_ever() {
    const ROUNDS: usize = 300;
    const COUNT: usize = 4096;
    let pool = pool(1);
    let held = allocate(&pool, 512);
    for round in 0..ROUNDS {
        let grown = pool.request(512, 512, COUNT);
        grown.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let start = allocate(&pool, 512);
        let handle = pool.handle(start.as_ptr()).unwrap();
        assert_eq!(pool.view(handle).unwrap().start, start);
        free(&pool, start, 512);
        assert!(is_refused(&pool, handle));
        assert_eq!(pool.trim().segments, 1);
    }
    free(&pool, held, 512);
}

#[test]
fn a_client_that_refreshes_maps_what_is_new_and_nothing_that_is_old() {
    let pool = pool(2);
    let name = name("growth and trims");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    let client = opened(&name, &Peers::default()).unwrap();
    let late = opened(&name, &Peers::default()).unwrap();
    let mut stale: Vec<(Handle, Handle64)> = Vec::new();
    for round in 1..30 {
        // Slots that overlap those of before in every way.
        let counts = [round % 5 + 1, round % 3 + 1];
        for (at, count) in counts.into_iter().enumerate() {
            pool.request(1024 << at, 512, count).unwrap();
        }
        assert_eq!(refresh(&client), Ok(2));
        assert_eq!(refresh(&client), Ok(0));
        let sizes = [1024, 2048].into_iter().zip(counts);
        let held: Vec<_> = sizes
            .flat_map(|(size, count)| (0..count).map(move |_| size))
            .map(|size| (allocate(&pool, size), size))
            .collect();
        let mut made = Vec::new();
        for (at, &(start, size)) in held.iter().enumerate() {
            // SAFETY: it is ours.
            unsafe { start.as_ptr().write_bytes((round + at) as u8, size) };
            let handle = pool.handle(start.as_ptr()).unwrap();
            let handle64 = pool.handle64(start.as_ptr()).unwrap();
            let view = client.map(handle).unwrap();
            assert_eq!((view.size, client.map64(handle64)), (size, Ok(view)));
            assert_eq!(client.handle(view.start.as_ptr()), Ok(handle));
            // SAFETY: mapped while the client lives, and not written now.
            let last = unsafe { view.start.add(size - 1).read() };
            assert_eq!(last, (round + at) as u8, "another buffer");
            // Who has not asked knows nothing of it.
            assert!(late.map(handle).is_err() && late.map64(handle64).is_err());
            made.push((handle, handle64));
        }
        let refused = |&(handle, handle64): &(Handle, Handle64)| {
            let clients = [&client, &late].into_iter();
            let mut short = clients.clone().map(|client| client.map(handle));
            let mut long = clients.map(|client| client.map64(handle64));
            (short.all(|mapped| mapped == Err(ShareError::BadHandle { handle })))
                && long.all(|mapped| mapped == Err(ShareError::BadHandle64 { handle: handle64 }))
                && is_refused(&pool, handle)
                && pool.view64(handle64).is_err()
        };
        assert!(stale.iter().all(refused), "round {round}");
        held.into_iter()
            .for_each(|(start, size)| free(&pool, start, size));
        assert_eq!(pool.trim().segments, 2);
        stale.extend(made);
        assert!(stale.iter().all(refused), "round {round}");
    }
    // What was there all the time still is.
    let start = allocate(&pool, 512);
    let handle = pool.handle(start.as_ptr()).unwrap();
    assert!(client.map(handle).is_ok() && late.map(handle).is_ok());
    free(&pool, start, 512);
}

/// In whichever order a client gets them.
#[test]
fn of_segments_with_the_same_slots_the_later_one_counts() {
    let pool = pool(1);
    pool.request(1024, 512, 3).unwrap();
    let mut before = pool.exports().unwrap();
    let client = Client::new();
    client.attach(before.remove(0)).unwrap();
    let trimmed = before.remove(0);
    assert_eq!(pool.trim().segments, 1);
    pool.request(2048, 512, 1).unwrap();
    let start = allocate(&pool, 2048);
    let handle = pool.handle(start.as_ptr()).unwrap();
    assert!(client.map(handle).is_err());
    client.attach(pool.exports().unwrap().remove(1)).unwrap();
    assert_eq!(client.map(handle).unwrap().size, 2048);
    let late = client.attach(trimmed);
    assert_eq!(late, Err(ShareError::Slots { first: 2, count: 3 }));
    assert_eq!(client.map(handle).unwrap().size, 2048);
    free(&pool, start, 2048);
}

/// A client that was given a segment by hand is not kept from those before it.
#[test]
fn what_is_attached_by_hand_hides_nothing_that_the_server_has() {
    let pool = pool(1);
    let name = name("attached by hand");
    let _publication = pool.publish(&name, Peers::default()).unwrap();
    let client = opened(&name, &Peers::default()).unwrap();
    pool.request(1024, 512, 1).unwrap();
    pool.request(2048, 512, 1).unwrap();
    client.attach(pool.exports().unwrap().remove(2)).unwrap();
    assert_eq!(refresh(&client), Ok(1));
    for size in [512, 1024, 2048] {
        let start = allocate(&pool, size);
        let handle = pool.handle(start.as_ptr()).unwrap();
        assert_eq!(client.map(handle).unwrap().size, size);
        free(&pool, start, size);
    }
    assert_eq!(refresh(&client), Ok(0));
}

/// Stale handles are looked up, and addresses of buffers that are nobody's, while segments
/// come and go.
#[test]
fn beside_growth_and_trims_no_stale_handle_is_believed() {
    let pool = pool(1);
    let done = AtomicBool::new(false);
    pool.request(1024, 512, 8).unwrap();
    let held: Vec<_> = (0..8).map(|_| allocate(&pool, 1024)).collect();
    let stale: Vec<_> = held
        .iter()
        .map(|start| {
            (
                pool.handle(start.as_ptr()).unwrap(),
                pool.handle64(start.as_ptr()).unwrap(),
            )
        })
        .collect();
    let addresses: Vec<_> = held.iter().map(|start| start.as_ptr().addr()).collect();
    held.into_iter().for_each(|start| free(&pool, start, 1024));
    assert_eq!(pool.trim().segments, 1);
    std::thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut made: HashSet<Handle64> = HashSet::new();
            while !done.load(Ordering::Relaxed) {
                for &(handle, handle64) in &stale {
                    assert_eq!(pool.view(handle), Err(ShareError::BadHandle { handle }));
                    let refused = ShareError::BadHandle64 { handle: handle64 };
                    assert_eq!(pool.view64(handle64), Err(refused));
                }
                let starts = addresses.iter().map(|&at| std::ptr::without_provenance(at));
                for start in starts {
                    let Ok(handle) = pool.handle64(start) else {
                        continue;
                    };
                    // What it names by now is what was asked about, or nothing.
                    if let Ok(view) = pool.view64(handle) {
                        assert_eq!(view.start.as_ptr().addr(), start.addr());
                    }
                    made.insert(handle);
                }
            }
            made
        });
        // The last of eight slots have the long form of a handle. Two rounds of eight bring them
        // back, by a return and by a trim: fewer times than such handles are told apart.
        let rounds = 3000;
        assert!((rounds / 8 * 4) < pool.handle_reuses().unwrap() as usize);
        for round in 0..rounds {
            let size = 1024 << (round % 2);
            let count = 1 + round % 8;
            pool.request(size, 512, count).unwrap();
            let held: Vec<_> = (0..count).map(|_| allocate(&pool, size)).collect();
            held.into_iter().for_each(|start| free(&pool, start, size));
            assert_eq!(pool.trim().segments, 1);
        }
        done.store(true, Ordering::Relaxed);
        let made = looker.join().unwrap();
        // None of them is that of who comes now.
        pool.request(1024, 512, 8).unwrap();
        let held: Vec<_> = (0..8).map(|_| allocate(&pool, 1024)).collect();
        for &start in &held {
            let handle = pool.handle64(start.as_ptr()).unwrap();
            assert!(!made.contains(&handle), "{handle} was made before");
        }
        held.into_iter().for_each(|start| free(&pool, start, 1024));
    });
}
