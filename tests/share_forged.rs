//! What is forged, exchanged or cut short is refused: handles, layouts, descriptors.

mod support;

use hugepool::share::{Access, Client, Export, Handle, Layout, ShareError};
use proptest::prelude::*;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use support::shared::{SIZE, allocate, client, free, handle, pool};

#[test]
fn a_forged_handle_is_refused() {
    let pool = pool(Access::Read, 4);
    let client = client(&pool);
    let start = allocate(&pool);
    let good = handle(&pool, start).raw();
    for forged in [0, 1 << 20, good ^ 1 << 20, good + 1, good + 4, u32::MAX] {
        let handle = Handle::from_raw(forged);
        let error = client.map(handle).unwrap_err();
        assert_eq!(error, ShareError::BadHandle { handle });
        assert_eq!(pool.view(handle), Err(error));
        assert!(error.to_string().contains(&format!("{forged:#010x}")));
    }
    free(&pool, start);
}

#[test]
fn a_wrong_descriptor_is_refused() {
    let pool = pool(Access::Read, 1);
    let export = || pool.exports().unwrap().remove(0);
    let attach = |export| Client::new().attach(export).unwrap_err();
    // The two exchanged: each has another size.
    let Export {
        layout,
        memory,
        states,
        status,
    } = export();
    let exchanged = attach(Export {
        layout,
        memory: states,
        states: memory,
        status,
    });
    assert!(matches!(exchanged, ShareError::Size { .. }), "{exchanged}");
    // A file, and memory whose size anybody may change.
    let file = File::open("/proc/self/exe").unwrap();
    // SAFETY: a new descriptor, which is nobody else's.
    let open = unsafe {
        let fd = libc::memfd_create(c"open".as_ptr(), libc::MFD_ALLOW_SEALING);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd)
    };
    File::from(open.try_clone().unwrap())
        .set_len(layout.bytes() as u64)
        .unwrap();
    for wrong in [OwnedFd::from(file), open] {
        let error = attach(Export {
            memory: wrong,
            ..export()
        });
        assert_eq!(error, ShareError::NotSealed);
    }
    // Who may write it may not change its size, either.
    let writable = self::pool(Access::Write, 1);
    let export = || writable.exports().unwrap().remove(0);
    let size = File::from(export().memory).metadata().unwrap().len();
    // SAFETY: a new descriptor, which is nobody else's.
    let open = unsafe {
        let fd = libc::memfd_create(c"open".as_ptr(), libc::MFD_ALLOW_SEALING);
        assert!(fd >= 0 && libc::ftruncate(fd, size as i64) == 0);
        OwnedFd::from_raw_fd(fd)
    };
    let error = attach(Export {
        memory: open,
        ..export()
    });
    assert_eq!(error, ShareError::NotSealed);
    // The states may be read alone: others must not be able to write them, or to take their
    // pages.
    let export = || pool.exports().unwrap().remove(0);
    let states = export().states;
    let size = File::from(states).metadata().unwrap().len();
    // SAFETY: a new descriptor, which is nobody else's.
    let open = unsafe {
        let fd = libc::memfd_create(c"open".as_ptr(), libc::MFD_ALLOW_SEALING);
        assert!(fd >= 0 && libc::ftruncate(fd, size as i64) == 0);
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
        assert_eq!(libc::fcntl(fd, libc::F_ADD_SEALS, seals), 0);
        OwnedFd::from_raw_fd(fd)
    };
    let error = attach(Export {
        states: open,
        ..export()
    });
    assert_eq!(error, ShareError::NotSealed);
    // What says whether the pool is there is one page.
    let status = attach(Export {
        status: export().memory,
        ..export()
    });
    assert!(matches!(status, ShareError::Size { .. }), "{status}");
    // The same twice.
    let client = Client::new();
    client.attach(export()).unwrap();
    let twice = client.attach(export()).unwrap_err();
    assert_eq!(twice, ShareError::Slots { first: 1, count: 1 });
}

#[test]
fn a_layout_that_is_truncated_or_of_another_version_is_refused() {
    let pool = pool(Access::Read, 1);
    let bytes = pool.exports().unwrap()[0].layout.to_bytes();
    for given in [0, 1, Layout::BYTES - 1] {
        let needed = Layout::BYTES;
        let refused = Layout::from_bytes(&bytes[..given]);
        assert_eq!(refused, Err(ShareError::Truncated { given, needed }));
    }
    let long = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(
        Layout::from_bytes(&long),
        Err(ShareError::Truncated { .. })
    ));
    let mut other = bytes;
    other[7] += 1;
    assert!(matches!(
        Layout::from_bytes(&other),
        Err(ShareError::Version { .. })
    ));
}

#[test]
fn a_forged_layout_says_what_is_wrong_with_it() {
    let pool = pool(Access::Read, 3);
    let bytes = pool.exports().unwrap()[0].layout.to_bytes();
    // Words from the third on, each with values that no segment has.
    let wrong: [(usize, &str, &[u64]); 14] = [
        (2, "slots", &[0, (1 << 20) - 2, u32::MAX as u64]),
        (2, "first slot", &[1 << 32]),
        (3, "slots", &[1 << 20, u32::MAX as u64]),
        (3, "number of buffers", &[0, 1 << 32]),
        (4, "size", &[0, (1 << 30) + 1, u64::MAX]),
        (4, "stride", &[1 << 20]),
        (5, "alignment", &[0, 3, 1 << 27, u64::MAX]),
        (6, "stride", &[0, 4096, 8192 + 1, u64::MAX]),
        (6, "bytes", &[u64::MAX - 4095]),
        (7, "prefix zone", &[1, 0, u64::MAX]),
        (8, "prefix zone", &[4097, u64::MAX]),
        (9, "bytes", &[0, 3 * 8192 - 1, (2 << 20) + 4096, u64::MAX]),
        (10, "access", &[2, u64::MAX]),
        (12, "handles", &[0, 2, 21, 1 << 32 | 3, u64::MAX]),
    ];
    for (at, what, words) in wrong {
        for word in words {
            let mut forged = bytes;
            forged[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
            let refused = Layout::from_bytes(&forged);
            assert_eq!(refused, Err(ShareError::Forged { what }), "{at}: {word}");
        }
    }
}

/// All segments of a pool split their handles alike: a handle is looked up in all by one rule.
#[test]
fn a_segment_whose_handles_are_split_otherwise_than_the_first_ones_is_refused() {
    /// The word of a layout that says it.
    const SPLIT: usize = 12 * 8;
    let pool = pool(Access::Read, 3);
    pool.request(SIZE, 4096, 3).unwrap();
    let exports = || pool.exports().unwrap();
    let client = Client::new();
    client.attach(exports().remove(0)).unwrap();
    let mut bytes = exports()[1].layout.to_bytes();
    let right = bytes[SPLIT];
    let mut others = 0;
    for other in (0..64).filter(|&other| other != right) {
        bytes[SPLIT] = other;
        // Of numbers that are no split at all, the layout is refused by itself.
        let Ok(layout) = Layout::from_bytes(&bytes) else {
            continue;
        };
        let refused = client.attach(Export {
            layout,
            ..exports().remove(1)
        });
        assert_eq!(refused, Err(ShareError::Forged { what: "handles" }));
        others += 1;
    }
    assert!(others > 0);
    client.attach(exports().remove(1)).unwrap();
}

/// What the server writes of its buffers is not believed, either.
#[test]
fn a_buffer_that_is_out_for_more_than_there_is_has_no_view() {
    let pool = pool(Access::Read, 1);
    let start = allocate(&pool);
    let name = handle(&pool, start);
    let export = || pool.exports().unwrap().remove(0);
    let states = File::from(export().states);
    let size = states.metadata().unwrap().len();
    let mut state = [0; 64];
    states.read_exact_at(&mut state, 0).unwrap();
    let (mut named, mut refused) = (0, 0);
    for bit in 0..64 * 8 {
        let mut forged = state;
        forged[bit / 8] ^= 1 << (bit % 8);
        // SAFETY: a new descriptor, which is nobody else's.
        let states = unsafe {
            let fd = libc::memfd_create(c"forged".as_ptr(), libc::MFD_ALLOW_SEALING);
            assert!(fd >= 0 && libc::ftruncate(fd, size as i64) == 0);
            OwnedFd::from_raw_fd(fd)
        };
        let file = File::from(states.try_clone().unwrap());
        file.write_all_at(&forged, 0).unwrap();
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
        // SAFETY: a plain call.
        let sealed = unsafe { libc::fcntl(states.as_raw_fd(), libc::F_ADD_SEALS, seals) };
        assert_eq!(sealed, 0);
        let client = Client::new();
        client.attach(Export { states, ..export() }).unwrap();
        match client.map(name) {
            Ok(view) => {
                assert!(view.size <= SIZE.next_multiple_of(4096), "bit {bit}");
                named += 1;
            }
            Err(error) => {
                assert_eq!(error, ShareError::BadHandle { handle: name });
                refused += 1;
            }
        }
    }
    assert!(named > 0 && refused > 0, "{named} named, {refused} refused");
    free(&pool, start);
}

proptest! {
    /// Whatever the words are: a layout that is believed can be used without leaving
    /// the memory.
    #[test]
    fn a_forged_layout_is_refused_or_harmless(
        at in 1usize..Layout::BYTES / 8,
        word in prop_oneof![any::<u64>(), 0u64..10_000, (0u32..64).prop_map(|shift| 1 << shift)],
    ) {
        let pool = pool(Access::Read, 3);
        let held: Vec<_> = (0..3).map(|_| allocate(&pool)).collect();
        let export = pool.exports().unwrap().remove(0);
        let mut bytes = export.layout.to_bytes();
        bytes[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
        match Layout::from_bytes(&bytes) {
            Err(error) => {
                let forged = matches!(error, ShareError::Forged { .. });
                prop_assert!(forged, "{}", error);
            }
            Ok(layout) => {
                prop_assert!(layout.count() > 0 && layout.size() > 0);
                let needed = layout.count().checked_mul(layout.size() + layout.prefix());
                prop_assert!(needed.is_some_and(|needed| needed <= layout.bytes()));
                let client = Client::new();
                // The descriptors are right: it is refused, or what it says is there.
                if client.attach(Export { layout, ..export }).is_ok() {
                    for &start in &held {
                        let Ok(view) = client.map(handle(&pool, start)) else { continue };
                        // SAFETY: mapped, prefix zone and all, or this is a fault.
                        unsafe {
                            view.start.sub(view.prefix).read_volatile();
                            view.start.add(view.size - 1).read_volatile();
                        }
                    }
                }
            }
        }
        held.into_iter().for_each(|start| free(&pool, start));
    }
}

proptest! {
    /// Client and server believe the same numbers: those of buffers that are out.
    #[test]
    fn numbers_that_are_no_handles_are_refused_on_both_sides(
        raws in prop::collection::vec(
            prop_oneof![
                any::<u32>(),
                0u32..16,
                (0u32..16, 0u32..16).prop_map(|(g, s)| (g << 3 | s) << 1),
                (0u32..16, 0u32..16).prop_map(|(g, s)| (g << 20 | s) << 1 | 1),
            ],
            64,
        ),
    ) {
        let pool = pool(Access::Read, 4);
        pool.request(4096, 4096, 4).unwrap();
        let client = client(&pool);
        // Some were out before, one is out as a `Buffer`.
        for _ in 0..3 {
            free(&pool, allocate(&pool));
        }
        let _owned = pool.allocate(SIZE, 4096).unwrap();
        let held: Vec<_> = (0..2).map(|_| allocate(&pool)).collect();
        let good: Vec<_> = held.iter().map(|&start| handle(&pool, start)).collect();
        for raw in raws.into_iter().chain(good.iter().map(|good| good.raw())) {
            let handle = Handle::from_raw(raw);
            let start = good.iter().position(|&good| good == handle).map(|at| held[at]);
            prop_assert_eq!(pool.view(handle).ok().map(|view| view.start), start);
            prop_assert_eq!(client.map(handle).is_ok(), start.is_some());
        }
        held.into_iter().for_each(|start| free(&pool, start));
    }
}
