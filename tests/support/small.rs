//! Small pools of one class, for tests that exhaust them.

use super::kind::Kind;
use hugepool::{Buffer, Builder, Memory, Pool};

/// Bytes of each buffer, and its alignment.
pub const SIZE: usize = 4096;

/// `count` buffers.
pub fn builder(count: usize) -> Builder {
    Pool::builder()
        .reserve(SIZE, SIZE, count)
        .address_space(1 << 30)
        .prefault(false)
}

/// Runs `test` with pools of each kind of caches that this machine has, whose lines are
/// of turns and of strict order.
pub fn with_both_kinds(count: usize, test: impl Fn(&Pool)) {
    for strict in [false, true] {
        with_both_kinds_of(&builder(count).strict_order(strict), &test);
    }
}

/// As above, in strict order alone.
pub fn in_strict_order(count: usize, test: impl Fn(&Pool)) {
    with_both_kinds_of(&builder(count).strict_order(true), test);
}

/// Runs `test` with such a pool of each kind of caches that this machine has.
pub fn with_both_kinds_of(builder: &Builder, test: impl Fn(&Pool)) {
    for kind in Kind::ALL {
        kind.run(|kind| test(&kind.build(builder.clone())));
    }
}

/// Returns when caches keep buffers of `size` bytes again, as they do not while that
/// class runs dry, nor for some time after that. Takes and gives back: one must be free.
#[track_caller]
pub fn until_cached(pool: &Pool, size: usize) {
    let cached = || {
        let classes = pool.stats().classes;
        let class = classes.iter().find(|class| class.size == size);
        class.expect("there is such a class").cached > 0
    };
    while !cached() {
        for _ in 0..64 {
            drop(pool.allocate(size, SIZE).expect("a buffer is free"));
        }
    }
}

/// A buffer, of which there is one.
#[track_caller]
pub fn take(pool: &Pool) -> Buffer {
    pool.allocate(SIZE, SIZE).expect("a buffer is free")
}

/// Returns when `count` wait.
pub fn until_waiting<M: Memory>(pool: &Pool<M>, count: u64) {
    while pool.stats().waiting != count {
        std::thread::yield_now();
    }
}

/// That nobody was given what somebody else has.
#[track_caller]
pub fn are_apart(buffers: &[Buffer]) {
    let mut starts: Vec<_> = buffers.iter().map(|buffer| buffer.as_ptr()).collect();
    starts.sort_unstable();
    starts.dedup();
    assert_eq!(starts.len(), buffers.len(), "a buffer was given twice");
}
