//! What becomes of a ring's operations when it is dropped.

mod support;

use hugepool::Pool;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use support::filter::refuse;
use support::process::alone;
use support::skipped;
use support::uring::{Temporary, pattern, pipe, ring, without_reserved};

const SIZE: usize = 16 << 10;
const COUNT: usize = 16;

fn pool() -> Pool {
    let builder = Pool::builder().reserve(SIZE, 4096, COUNT);
    without_reserved(builder.address_space(1 << 30))
        .prefault(false)
        .build()
        .unwrap()
}

#[test]
fn a_ring_that_is_dropped_waits_for_its_buffers() {
    let name = "a_ring_that_is_dropped_waits_for_its_buffers";
    let pool = pool();
    let Some(mut ring) = ring(name, &pool, 8) else {
        return;
    };
    let ((waits, mut writer), file) = (pipe(), Temporary::with(name, &pattern(6, SIZE)));
    for at in 0..8 {
        let buffer = pool.allocate(SIZE, 4096).unwrap();
        let from = if at % 2 == 0 { &waits } else { &file.file };
        ring.read(Arc::clone(from), buffer, .., 0, at).unwrap();
    }
    ring.submit().unwrap();
    drop(ring);
    assert_eq!(pool.available(SIZE, 4096), COUNT);
    // Nobody reads the pipe any more.
    drop(waits);
    assert_eq!(
        writer.write(b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn what_was_not_submitted_is_forgotten_with_its_ring() {
    let name = "what_was_not_submitted_is_forgotten_with_its_ring";
    let pool = pool();
    let Some(mut ring) = ring(name, &pool, 8) else {
        return;
    };
    // A pipe takes at once what the kernel is handed.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let target = Arc::new(File::from(OwnedFd::from(writer)));
    let buffer = pool.allocate(SIZE, 4096).unwrap();
    ring.write(Arc::clone(&target), buffer, .., 0, 0).unwrap();
    drop(ring);
    assert_eq!(pool.available(SIZE, 4096), COUNT);
    assert_eq!(Arc::strong_count(&target), 1);
    drop(target);
    let mut written = Vec::new();
    reader.read_to_end(&mut written).unwrap();
    assert_eq!(written, b"");
}

#[test]
fn buffers_that_the_kernel_may_still_write_are_leaked() {
    let name = "buffers_that_the_kernel_may_still_write_are_leaked";
    alone(name, &[], || {
        let pool = pool();
        let Some(mut ring) = ring(name, &pool, 8) else {
            return;
        };
        let (waits, mut writer) = pipe();
        let buffer = pool.allocate(SIZE, 4096).unwrap();
        let address = buffer.as_ptr();
        ring.read(Arc::clone(&waits), buffer, .., 0, 0).unwrap();
        ring.submit().unwrap();
        if let Err(why) = refuse(libc::SYS_io_uring_enter, libc::EPERM) {
            return skipped(&format!("{name}: no filter for system calls: {why}"));
        }
        drop(ring);
        assert_eq!(pool.available(SIZE, 4096), COUNT - 1);
        // The kernel does write it, some time. The memory is there.
        drop(pool);
        writer.write_all(b"late").unwrap();
        // SAFETY: the buffer was leaked, so its pool is there.
        while unsafe { address.read_volatile() } != b'l' {
            std::thread::yield_now();
        }
    });
}

#[test]
fn what_the_kernel_was_not_handed_is_not_leaked() {
    let name = "what_the_kernel_was_not_handed_is_not_leaked";
    alone(name, &[], || {
        let pool = pool();
        let (Some(mut idle), Some(mut busy)) = (ring(name, &pool, 8), ring(name, &pool, 8)) else {
            return;
        };
        let (waits, _writer) = pipe();
        let null = Arc::new(File::open("/dev/null").unwrap());
        let take = || pool.allocate(SIZE, 4096).unwrap();
        busy.read(Arc::clone(&waits), take(), .., 0, 0).unwrap();
        busy.submit().unwrap();
        if let Err(why) = refuse(libc::SYS_io_uring_enter, libc::EPERM) {
            return skipped(&format!("{name}: no filter for system calls: {why}"));
        }
        for ring in [&mut idle, &mut busy] {
            ring.read(Arc::clone(&null), take(), .., 0, 1).unwrap();
            let error = ring.submit().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        }
        drop(idle);
        assert_eq!(pool.available(SIZE, 4096), COUNT - 2);
        drop(busy);
        // The one that the kernel has.
        assert_eq!(pool.available(SIZE, 4096), COUNT - 1);
        let counts = [&null, &waits].map(Arc::strong_count);
        assert_eq!(counts, [1, 2]);
    });
}

/// A file whose owner's code may panic when it is dropped.
struct Faulty {
    file: Arc<File>,
    panics: bool,
}

impl AsFd for Faulty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        assert!(!self.panics, "somebody else's code");
    }
}

#[test]
fn a_ring_is_gone_though_a_file_panics_when_it_is_dropped() {
    let name = "a_ring_is_gone_though_a_file_panics_when_it_is_dropped";
    let pool = pool();
    for submitted in [1, 3] {
        let Some(mut ring) = ring(name, &pool, 4) else {
            return;
        };
        let (waits, mut writer) = pipe();
        for token in 0..4 {
            let file = Faulty {
                file: Arc::clone(&waits),
                // The first of those that are forgotten, or one that is cancelled.
                panics: token == 1,
            };
            let buffer = pool.allocate(SIZE, 4096).unwrap();
            ring.read(file, buffer, .., 0, token).unwrap();
            if token + 1 == submitted {
                ring.submit().unwrap();
            }
        }
        assert!(catch_unwind(AssertUnwindSafe(|| drop(ring))).is_err());
        assert_eq!(pool.available(SIZE, 4096), COUNT);
        drop(waits);
        let error = writer.write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}
