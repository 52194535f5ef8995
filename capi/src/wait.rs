//! Waiting for a buffer.
//!
//! Owns: its calls in C, those that block and those of an event loop. Uses: `call`,
//! `event`, `heap`, `pool`, `token`, the library. Used by: C and C++ programs,
//! `stream`.
//!
//! # A wait in an event loop
//!
//! ```text
//!   hp_wait_begin ──▶ waiting ──── hp_wait_poll: buffer, error ───▶ over
//!        │               │                                            │
//!        └──▶ found ─────│──────── hp_wait_poll: buffer ──────────────┤
//!               │        │                                            │
//!               └────────┴───────────── hp_wait_end ──────────────────┴──▶ gone
//! ```
//!
//! The descriptor is lowered before the future is polled. So whoever gives a buffer
//! either raises it after that, and it is readable; or did so before that, and the poll
//! finds the buffer.

use crate::call::{
    Failure, HP_NOERROR, HP_PENDING, done, failed, is_good, limit, object, put, release,
};
use crate::event::{Event, free_retired, retire};
use crate::heap::{SMALL, leased, unrefused};
use crate::kind::{Allocate, Buffer, Pool};
use crate::pool::{here, hp_pool};
use crate::token::hp_token;
use ::pool::AllocError;
use ::pool::place::{Until, called};
use std::cell::UnsafeCell;
use std::ffi::{CStr, c_void};
use std::future::Future;
use std::pin::Pin;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Makes `call`, which takes a buffer of a pool, and writes it, or null, to its place.
///
/// # Safety
///
/// `pool` points to a pool, `buffer` to a place for a pointer, or they are null.
unsafe fn taking(
    call: &'static CStr,
    pool: *const hp_pool,
    buffer: *mut *mut c_void,
    take: impl FnOnce(&Pool) -> Result<Buffer, Failure>,
) -> u32 {
    // SAFETY: the caller says so.
    let (pool, clear) = unsafe { (object(pool, "pool"), put(buffer, null_mut(), "buffer")) };
    let start = pool.and_then(here).and_then(|pool| {
        clear?;
        raw(&pool.0, called(pool.0.tracks(), call, || take(&pool.0))?)
    });
    // SAFETY: the caller says so.
    done(start.and_then(|start| unsafe { put(buffer, start, "buffer") }))
}

/// A buffer as a raw pointer.
pub fn raw(pool: &Pool, buffer: Buffer) -> Result<*mut c_void, Failure> {
    // It is of this pool.
    let start = pool.into_raw(buffer);
    let start = start.map_err(|_| Failure::Pointer("pool"))?;
    Ok(start.as_ptr().cast())
}

/// As hp_pool_allocate, and waits up to `milliseconds` (0xffffffff: without end) for a buffer
/// if none is free: HP_VD_E_TIMEOUT if none comes in time, HP_VD_E_ABORT after
/// hp_pool_abort, HP_VD_E_BUSY if 65536 requests wait already. Who waits has a turn: no
/// request is passed over without end. Allocates nothing.
///
/// # Safety
///
/// As hp_pool_allocate.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_allocate_timeout(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    milliseconds: u32,
    buffer: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(c"hp_pool_allocate_timeout", pool, buffer, |pool| {
            let taken = pool.allocate_timeout(size, alignment, limit(milliseconds));
            taken.map_err(Failure::Alloc)
        })
    }
}

/// As hp_pool_allocate_timeout, and waits until `deadline`, in nanoseconds on CLOCK_MONOTONIC
/// (UINT64_MAX: without end). If that is past, a buffer that is free is taken, otherwise it
/// is HP_VD_E_TIMEOUT at once.
///
/// # Safety
///
/// As hp_pool_allocate.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_allocate_deadline(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    deadline: u64,
    buffer: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(c"hp_pool_allocate_deadline", pool, buffer, |pool| {
            let taken = match instant(deadline) {
                Ok(deadline) => pool.allocate_deadline(size, alignment, deadline),
                Err(left) => pool.allocate_timeout(size, alignment, left),
            };
            taken.map_err(Failure::Alloc)
        })
    }
}

/// The instant `deadline`, in nanoseconds on CLOCK_MONOTONIC; or how long it is until then,
/// if that cannot be named.
pub(crate) fn instant(deadline: u64) -> Result<Instant, Duration> {
    let left = Duration::from_nanos(deadline.saturating_sub(monotonic()));
    // The clock of both is the same. (In five hundred years' time.)
    Instant::now().checked_add(left).ok_or(left)
}

/// As `instant`, for a request for several.
pub fn until(deadline: u64) -> Until<'static> {
    instant(deadline).map_or_else(Until::Within, Until::Deadline)
}

/// CLOCK_MONOTONIC in nanoseconds.
fn monotonic() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the time can be written. Every Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// As hp_pool_allocate_timeout, and also ends when hp_token_cancel was called for `token`, one
/// of this pool: with HP_E_CANCELLED. With a token that was cancelled before, a buffer that
/// is free is taken, otherwise it is HP_E_CANCELLED at once. HP_VD_E_INVALID if the token is
/// that of another pool.
///
/// # Safety
///
/// As hp_pool_allocate; `token` points to a token, or is null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_pool_allocate_cancellable(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    milliseconds: u32,
    token: *const hp_token,
    buffer: *mut *mut c_void,
) -> u32 {
    // SAFETY: the caller says so.
    unsafe {
        taking(c"hp_pool_allocate_cancellable", pool, buffer, |pool| {
            let token = &object(token, "token")?.0;
            let limit = limit(milliseconds);
            let taken = pool.allocate_cancellable(size, alignment, limit, token);
            taken.map_err(Failure::Alloc)
        })
    }
}

/// A wait for a buffer in an event loop, for which no thread sleeps.
pub struct hp_wait {
    pool: Pool,
    event: Arc<Event>,
    /// The process that began it, by the system's number, which a child may have in another
    /// namespace, and by the library's.
    process: (u32, u32),
    /// True while a thread has `state`. Acquire and Release.
    polled: AtomicBool,
    state: UnsafeCell<State>,
}

impl Drop for hp_wait {
    fn drop(&mut self) {
        // It leaves the line, and from then on nobody gets the event.
        *self.state.get_mut() = State::Over;
        free_retired();
        retire(&self.event);
    }
}

enum State {
    Waiting(Allocate),
    /// This came when it began.
    Found(Buffer),
    Over,
}

/// Polls the future of a wait.
fn poll(future: &mut Allocate, event: &Arc<Event>) -> Poll<Result<Buffer, AllocError>> {
    let waker = Waker::from(Arc::clone(event));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

impl hp_wait {
    /// Begins a wait for what `future` will give, a buffer of `pool`.
    pub fn begin(pool: &Pool, mut future: Allocate) -> Result<Self, Failure> {
        free_retired();
        let event = Arc::new(Event::new()?);
        let state = match poll(&mut future, &event) {
            Poll::Pending => State::Waiting(future),
            Poll::Ready(found) => {
                let found = found.map_err(Failure::Alloc)?;
                event.raise();
                State::Found(found)
            }
        };
        Ok(Self {
            pool: pool.clone(),
            event,
            process: (std::process::id(), ::pool::Pool::process_number()),
            polled: AtomicBool::new(false),
            state: UnsafeCell::new(state),
        })
    }

    /// What has come. `None`: nothing yet.
    fn poll(&self) -> Result<Option<*mut c_void>, Failure> {
        if self.is_inherited() {
            return Err(Failure::Forked);
        }
        if self.polled.swap(true, Ordering::Acquire) {
            return Err(Failure::Polled);
        }
        // SAFETY: nobody else has it until the store below.
        let state = unsafe { &mut *self.state.get() };
        let polled = self.step(state);
        self.polled.store(false, Ordering::Release);
        polled
    }

    fn step(&self, state: &mut State) -> Result<Option<*mut c_void>, Failure> {
        if let State::Waiting(future) = state {
            // Before the look at what it is raised for.
            self.event.lower();
            match poll(future, &self.event) {
                Poll::Pending => return Ok(None),
                Poll::Ready(Ok(buffer)) => *state = State::Found(buffer),
                Poll::Ready(Err(error)) => {
                    *state = State::Over;
                    return Err(Failure::Alloc(error));
                }
            }
        }
        match std::mem::replace(state, State::Over) {
            State::Found(buffer) => raw(&self.pool, buffer).map(Some),
            _ => Err(Failure::Over),
        }
    }

    /// Whether this is a child of a fork, which has neither the wait nor, for itself, the
    /// descriptor.
    fn is_inherited(&self) -> bool {
        self.process != (std::process::id(), ::pool::Pool::process_number())
    }
}

/// Begins a wait for a buffer of `size` bytes at `alignment`, and does not block:
/// hp_wait_poll is next, at once or when the wait's descriptor is readable. The wait ends
/// with hp_wait_end, and has its place and its turn among those who wait until then. `*wait`
/// is null if it fails: as hp_pool_allocate_timeout, and HP_VD_E_UNEXPECTED if the system has
/// no descriptor for it. It keeps the pool's memory; call hp_wait_end before hp_pool_release,
/// after which a buffer that comes could not be freed. Allocates.
///
/// # Safety
///
/// `pool` points to a pool, `wait` to a place for a pointer, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_wait_begin(
    pool: *const hp_pool,
    size: usize,
    alignment: usize,
    wait: *mut *mut hp_wait,
) -> u32 {
    // SAFETY: the caller says so.
    let (pool, clear) = unsafe { (object(pool, "pool"), put(wait, null_mut(), "wait")) };
    done(pool.and_then(here).and_then(|pool| {
        clear?;
        let begun = leased(SMALL, || {
            let begin = || pool.0.allocate_async(size, alignment);
            let future = called(pool.0.tracks(), c"hp_wait_begin", begin);
            Ok(Box::into_raw(Box::new(hp_wait::begin(&pool.0, future)?)))
        })?;
        // SAFETY: the caller says so.
        unsafe { put(wait, begun, "wait") }
    }))
}

/// Writes the descriptor of a wait to `*descriptor`, for poll(2), epoll(7) and the like,
/// level-triggered or edge-triggered: it is readable when hp_wait_poll should be called. It is
/// one of eventfd(2), closed on exec and non-blocking. It belongs to the wait: the program must
/// not read, write or close it, nor use it after hp_wait_end. -1 if it fails.
///
/// # Safety
///
/// `wait` points to a wait, `descriptor` to a place for a number, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_wait_descriptor(wait: *const hp_wait, descriptor: *mut i32) -> u32 {
    // SAFETY: the caller says so.
    let (wait, clear) = unsafe { (object(wait, "wait"), put(descriptor, -1, "descriptor")) };
    done(wait.and_then(|wait| {
        clear?;
        // SAFETY: the caller says so.
        unsafe { put(descriptor, wait.event.number(), "descriptor") }
    }))
}

/// Asks whether a buffer has come, and does not block. HP_NOERROR: `*buffer` is the caller's,
/// as one of hp_pool_allocate, and the wait is over. HP_PENDING: `*buffer` is null; the
/// descriptor is readable when it is time for the next poll. Any other code is one of
/// hp_pool_allocate_timeout, and the wait is over; a poll after that is HP_VD_E_PROTOCOL. A
/// null `buffer` is HP_VD_E_INVALID, two polls of one wait at the same time are HP_VD_E_BUSY,
/// and a poll in a child of a fork is HP_VD_E_NOTOPEN; they change nothing. Allocates nothing.
///
/// # Safety
///
/// `wait` points to a wait, `buffer` to a place for a pointer, or they are null.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_wait_poll(wait: *const hp_wait, buffer: *mut *mut c_void) -> u32 {
    // SAFETY: the caller says so.
    let (wait, clear) = unsafe { (object(wait, "wait"), put(buffer, null_mut(), "buffer")) };
    let polled = wait.and_then(|wait| {
        clear?;
        wait.poll()
    });
    match polled {
        Ok(Some(start)) => {
            // SAFETY: the caller says so; it was written above.
            unsafe { buffer.write(start) };
            HP_NOERROR
        }
        Ok(None) => HP_PENDING,
        Err(failure) => failed(&failure),
    }
}

/// Ends a wait, whatever has become of it, and closes its descriptor (or, if a thread is
/// raising it at that moment, the next call that begins or ends a wait does). A buffer that came and
/// that hp_wait_poll has not given goes back, to the next who waits if there is one. No
/// thread may poll the wait at that time, and it must not be used after this. Never blocks.
/// Null is nothing; in a child of a fork, where the wait is the parent's, the call does
/// nothing.
///
/// # Safety
///
/// `wait` came from hp_wait_begin, nobody polls it, and it is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hp_wait_end(wait: *mut hp_wait) {
    if !is_good(wait) {
        return;
    }
    // SAFETY: the caller says so.
    let inherited = unsafe { &*wait }.is_inherited();
    if !inherited {
        // SAFETY: the caller says so.
        unrefused(|| unsafe { release(wait) });
    }
}
