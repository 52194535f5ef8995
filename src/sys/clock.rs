//! What time it is: `clock_gettime(2)`, from the page that the kernel shares with
//! every process; enters no kernel where there is one.
//!
//! Owns: the two clocks, and a sleep. Uses: libc. Used by: `rseq`, `wait`, `lists`.

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

/// Sleeps for some nanoseconds, or until a signal was handled. (The standard library's sleep
/// goes on after each signal, by what the kernel says is left; that may be more than before, and
/// with a signal every few µs it never ends.)
#[cfg(not(hugepool_loom))]
pub fn nap(nanoseconds: u32) {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds.into(),
    };
    // SAFETY: reads a variable of ours. What is left is not asked for.
    unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
}

/// Has sleeps of the calling thread end on time, and gives by how much they might have been
/// late before, in ns. Contract: `PR_SET_TIMERSLACK` of prctl(2).
#[cfg(not(hugepool_loom))]
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
pub fn wake_on_time() -> u64 {
    // SAFETY: gives a number.
    let before = unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) };
    wake_within(1);
    u64::try_from(before).unwrap_or(0)
}

/// Lets sleeps of the calling thread be late by so many ns; by 0: by the process's own number.
#[cfg(not(hugepool_loom))]
pub fn wake_within(nanoseconds: u64) {
    // SAFETY: takes a number. If it is refused, sleeps are as late as before.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds as libc::c_ulong) };
}

/// Time stands still in a model.
#[cfg(hugepool_loom)]
pub fn now() -> u64 {
    0
}

/// As `now`.
#[cfg(hugepool_loom)]
pub use now as coarse;
