//! What time it is: `clock_gettime(2)`, from the page that the kernel shares with
//! every process; enters no kernel where there is one.
//!
//! Owns: the two clocks. Uses: libc. Used by: `wait`, `lists`.

/// Nanoseconds of the monotonic clock.
#[cfg(not(hugepool_loom))]
pub fn now() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// The same as it was at the kernel's last tick, 1 to 10 ms ago, at a third of the
/// cost.
#[cfg(not(hugepool_loom))]
pub fn coarse() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

#[cfg(not(hugepool_loom))]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the time is written to a variable of ours. Neither clock is missing
    // on any Linux.
    unsafe { libc::clock_gettime(clock, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000) + time.tv_nsec as u64
}

/// Time stands still in a model.
#[cfg(hugepool_loom)]
pub fn now() -> u64 {
    0
}

/// As `now`.
#[cfg(hugepool_loom)]
pub use now as coarse;
