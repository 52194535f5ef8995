//! What a pool counts, for a dashboard.
//!
//! Owns: its calls in C. Uses: `call`, `pool`, `sized`, `vdi`, the library. Used by: C and C++ programs.

use crate::call::{Failure, done, object};
use crate::kind::Pool;
use crate::pool::hp_pool;
use crate::sized::{HasSize, Place};
use crate::vdi::{hp_vdi, pool_of};
use ::pool::{ClassCounters, Counters};
use std::time::Duration;

/// Powers of two that hp_counters sorts waits by.
pub const HP_WAIT_BINS: usize = 40;

/// What a pool has counted since it was built. Durations are in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_counters {
    /// Set by the caller to sizeof(hp_counters); by the call to how many bytes it wrote,
    /// which are fewer if the library is older than the header.
    pub size: usize,
    /// Classes there are: see hp_pool_class_counters.
    pub classes: u64,
    /// Threads and tasks that stand in line now.
    pub waiting: u64,
    /// Waits that stood in line.
    pub waits: u64,
    /// Those of them that ended with a buffer.
    pub served: u64,
    /// Those that ended because their time was up.
    pub timed_out: u64,
    /// Those that hp_pool_abort ended.
    pub aborted: u64,
    /// Those that a token ended, or hp_wait_end.
    pub cancelled: u64,
    /// Those that ended because no class could serve them any more.
    pub failed: u64,
    /// How long the waits that have ended took together.
    pub waited: u64,
    /// How long the longest of them took, since hp_pool_reset_marks.
    pub longest_wait: u64,
    /// How many of them took at least 2^n and less than 2^(n+1), n being the index; the first
    /// also counts those that took less, the last those that took more.
    pub wait_histogram: [u64; HP_WAIT_BINS],
    /// Waiters that were woken because a buffer was free.
    pub calls: u64,
    /// Those of them that found the buffer gone, and waited on.
    pub passed_over: u64,
    /// Buffers that were handed to the waiter whose turn it was.
    pub hand_overs: u64,
    /// System calls that put a thread to sleep.
    pub sleeps: u64,
    /// System calls that woke a thread.
    pub wakes: u64,
    /// System calls that kept other processors from their caches.
    pub barriers: u64,
    /// Requests that were refused because no buffer that fits was free.
    pub refused_exhausted: u64,
    /// As above, and another thread was carrying some all the while.
    pub refused_carried: u64,
    /// Because none came home in time, whether they stood in line or had no time to.
    pub refused_timed_out: u64,
    /// Because of hp_pool_abort.
    pub refused_aborted: u64,
    /// Because of their token.
    pub refused_cancelled: u64,
    /// Because no class could ever serve them.
    pub refused_no_class: u64,
    /// Because they were for more buffers than there are.
    pub refused_never_enough: u64,
    /// Because there was no place left in the line.
    pub refused_too_many_waiters: u64,
    /// A size of zero, an alignment that is no power of two, or another pool's token. (A
    /// call with a null pointer is none of a pool's requests.)
    pub refused_bad_input: u64,
    /// Because their stream had as many buffers as it may.
    pub refused_at_maximum: u64,
}

/// What a pool has counted of one class. The first numbers, of buffers, are of now.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hp_class_counters {
    /// Set by the caller to sizeof(hp_class_counters); by the call to how many bytes it wrote,
    /// which are fewer if the library is older than the header.
    pub size: usize,
    /// Bytes of each buffer.
    pub buffer_size: usize,
    /// What each buffer's address is a multiple of, in bytes.
    pub alignment: usize,
    /// Buffers there are.
    pub capacity: u64,
    /// Buffers that callers hold.
    pub in_use: u64,
    /// Buffers that are free.
    pub free: u64,
    /// Free ones that are in processors' caches.
    pub cached: u64,
    /// The most buffers that were out at once since hp_pool_reset_marks: with callers or in
    /// processors' caches.
    pub high_water: u64,
    /// Requests for this class that were refused for lack of a free buffer, at once or after
    /// a wait.
    pub refused: u64,
    /// Requests for this class that a larger one served.
    pub climbs: u64,
    /// Times a processor's cache was filled with a batch.
    pub refills: u64,
    /// Times a full cache gave back a batch.
    pub flushes: u64,
    /// Buffers taken from another processor's cache.
    pub steals: u64,
    /// Waiters that were woken because a buffer of this class was free.
    pub calls: u64,
    /// Those of them that found the buffer gone.
    pub passed_over: u64,
    /// Buffers of this class that were handed to the waiter whose turn it was.
    pub hand_overs: u64,
    /// System calls that kept other processors from their caches.
    pub barriers: u64,
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

impl hp_counters {
    fn of(pool: &Pool) -> Self {
        let Counters {
            waiting,
            waits,
            served,
            timed_out,
            aborted,
            cancelled,
            failed,
            waited,
            longest_wait,
            wait_histogram,
            calls,
            passed_over,
            hand_overs,
            refusals,
            sleeps,
            wakes,
            barriers,
            ..
        } = pool.counters();
        Self {
            size: 0,
            classes: pool.class_counters().count() as u64,
            waiting,
            waits,
            served,
            timed_out,
            aborted,
            cancelled,
            failed,
            waited: nanoseconds(waited),
            longest_wait: nanoseconds(longest_wait),
            wait_histogram,
            calls,
            passed_over,
            hand_overs,
            sleeps,
            wakes,
            barriers,
            refused_exhausted: refusals.exhausted,
            refused_carried: refusals.carried,
            refused_timed_out: refusals.timed_out,
            refused_aborted: refusals.aborted,
            refused_cancelled: refusals.cancelled,
            refused_no_class: refusals.no_class,
            refused_never_enough: refusals.never_enough,
            refused_too_many_waiters: refusals.too_many_waiters,
            refused_bad_input: refusals.bad_input,
            refused_at_maximum: refusals.at_maximum,
        }
    }
}

impl hp_class_counters {
    fn of(class: &ClassCounters) -> Self {
        Self {
            size: 0,
            buffer_size: class.size,
            alignment: class.alignment,
            capacity: class.capacity,
            in_use: class.in_use,
            free: class.free,
            cached: class.cached,
            high_water: class.high_water,
            refused: class.refused,
            climbs: class.climbs,
            refills: class.refills,
            flushes: class.flushes,
            steals: class.steals,
            calls: class.calls,
            passed_over: class.passed_over,
            hand_overs: class.hand_overs,
            barriers: class.barriers,
        }
    }
}

// SAFETY: words alone, the first of which is the size.
unsafe impl HasSize for hp_counters {
    fn size(&mut self) -> &mut usize {
        &mut self.size
    }
}

// SAFETY: as above.
unsafe impl HasSize for hp_class_counters {
    fn size(&mut self) -> &mut usize {
        &mut self.size
    }
}

/// Writes what `pool` has counted.
///
/// # Safety
///
/// `counters` points to `counters->size` bytes, or is null.
unsafe fn count(pool: Result<&Pool, Failure>, counters: *mut hp_counters) -> Result<(), Failure> {
    // SAFETY: the caller says so.
    let place = unsafe { Place::at(counters, "counters") };
    let (pool, place) = (pool?, place?);
    place.put(hp_counters::of(pool));
    Ok(())
}

/// Writes what `pool` has counted of class `number`.
///
/// # Safety
///
/// As `count`.
unsafe fn count_class(
    pool: Result<&Pool, Failure>,
    number: usize,
    counters: *mut hp_class_counters,
) -> Result<(), Failure> {
    // SAFETY: the caller says so.
    let place = unsafe { Place::at(counters, "counters") };
    let (pool, place) = (pool?, place?);
    let class = pool.class_counters().nth(number);
    let class = class.ok_or_else(|| Failure::Number {
        name: "number",
        given: number.try_into().unwrap_or(u32::MAX),
        limit: pool.class_counters().count() as u32,
    })?;
    place.put(hp_class_counters::of(&class));
    Ok(())
}

/// What the pool has counted: waits and how they ended, refusals, system calls. The caller
/// sets `counters->size` before. No system call, no allocation, no look at a segment: may be
/// polled. Writes nothing if it fails.
///
/// # Safety
///
/// `pool` points to a pool, `counters` to `counters->size` bytes, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_counters(pool: *const hp_pool, counters: *mut hp_counters) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        let pool = object(pool, "pool").map(|pool| &pool.0);
        done(count(pool, counters))
    }
}

/// As hp_pool_counters, for a set: HP_VD_E_PROTOCOL before its buffers are mapped and after
/// Close.
///
/// # Safety
///
/// `set` points to a set, `counters` to `counters->size` bytes, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_counters(set: *const hp_vdi, counters: *mut hp_counters) -> u32 {
    // SAFETY: the caller says so.
    unsafe { done(count(pool_of(set), counters)) }
}

/// What the pool has counted of one class, and how many of its buffers are where. Classes are
/// numbered from 0 in the order in which they were declared; hp_counters says how many there
/// are, which only grows. The caller sets `counters->size` before. HP_VD_E_INVALID if there is
/// no such class. May be polled, as hp_pool_counters.
///
/// # Safety
///
/// `pool` points to a pool, `counters` to `counters->size` bytes, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_class_counters(
    pool: *const hp_pool,
    number: usize,
    counters: *mut hp_class_counters,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        let pool = object(pool, "pool").map(|pool| &pool.0);
        done(count_class(pool, number, counters))
    }
}

/// As hp_pool_class_counters, for a set: HP_VD_E_PROTOCOL as for hp_vdi_counters.
///
/// # Safety
///
/// `set` points to a set, `counters` to `counters->size` bytes, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_class_counters(
    set: *const hp_vdi,
    number: usize,
    counters: *mut hp_class_counters,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe { done(count_class(pool_of(set), number, counters)) }
}

/// Has the marks begin again: forgets the longest wait so far, and sets the high-water mark of
/// each class to what is out now. Never blocks.
///
/// # Safety
///
/// `pool` points to a pool, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_reset_marks(pool: *const hp_pool) -> u32 {
    // SAFETY: the caller says so.
    let pool = unsafe { object(pool, "pool") };
    done(pool.map(|pool| pool.0.reset_marks()))
}

/// As hp_pool_reset_marks, for a set: HP_VD_E_PROTOCOL as for hp_vdi_counters.
///
/// # Safety
///
/// `set` points to a set, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_vdi_reset_marks(set: *const hp_vdi) -> u32 {
    // SAFETY: the caller says so.
    done(unsafe { pool_of(set) }.map(Pool::reset_marks))
}
