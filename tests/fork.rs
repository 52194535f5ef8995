//! Proves: a child of a fork may drop the pool and the buffers it inherited.
//! Where the segments were there is a hole in its address space, which its own
//! mappings may fill, so nothing may be unmapped there.
//!
//! One test, because a fork copies the locks of every other thread as they are.

use hugepool::{Pages, Pool, Rung};

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
    let pool = Pool::builder()
        .reserve(64 << 10, 4096, 32)
        .pages(Pages::Huge1G, Rung::Never)
        .pages(Pages::Huge2M, Rung::Never)
        .build()
        .unwrap();
    let mut buffer = pool.allocate(64 << 10, 4096).unwrap();
    buffer.fill(1);
    let region = pool.regions()[0];
    // SAFETY: the child runs `child` and ends by `_exit`.
    let process = unsafe { libc::fork() };
    assert!(process >= 0, "fork");
    if process == 0 {
        let code = child(pool, buffer, region.start.cast_mut(), region.bytes);
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    assert_eq!(unsafe { libc::waitpid(process, &mut status, 0) }, process);
    assert!(libc::WIFEXITED(status), "the child was killed: {status}");
    assert_eq!(
        libc::WEXITSTATUS(status),
        0,
        "1: its memory is gone; 2: no hole"
    );
    // The parent's pool goes on.
    assert!(buffer.iter().all(|&byte| byte == 1));
    drop(buffer);
    assert_eq!(pool.available(64 << 10, 4096), 32);
}
