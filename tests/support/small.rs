//! Small pools of one class, for tests that exhaust them.

use super::kind::Kind;
use hugepool::{Buffer, Builder, Pool};

/// Bytes of each buffer, and its alignment.
pub const SIZE: usize = 4096;

/// `count` buffers.
pub fn builder(count: usize) -> Builder {
    Pool::builder()
        .reserve(SIZE, SIZE, count)
        .address_space(1 << 30)
        .prefault(false)
}

/// Runs `test` with pools of each kind of caches that this machine has.
pub fn with_both_kinds(count: usize, test: impl Fn(&Pool)) {
    for kind in Kind::ALL {
        kind.run(|kind| test(&kind.build(builder(count))));
    }
}

/// A buffer, of which there is one.
#[track_caller]
pub fn take(pool: &Pool) -> Buffer {
    pool.allocate(SIZE, SIZE).expect("a buffer is free")
}

/// Returns when `count` wait.
pub fn until_waiting(pool: &Pool, count: u64) {
    while pool.stats().waiting != count {
        std::thread::yield_now();
    }
}
