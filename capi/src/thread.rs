//! What the library keeps of each thread.
//!
//! Owns: the last failure, and the lease. Uses: `error`, the library. Used by: `call`, `heap`.
//!
//! It lies where no allocation is needed to get there: see `per_thread`.
//!
//! # A failure, and signal handlers
//!
//! ```text
//!             keep                      keep, get
//!   nothing ───────▶ busy ───────▶ whole ───────▶ busy ───▶ whole
//! ```
//!
//! Only the thread itself and its signal handlers come here, and a handler runs from its
//! beginning to its end between two instructions of the thread. If it comes while the word
//! says `busy`, it leaves the failure alone. If it comes before that is written, or after it
//! was taken back, the failure that it leaves is whole, and so is that which the thread
//! writes over it, or reads. The fences keep the compiler to that order; the processor shows
//! a thread its own stores in theirs.

use crate::error::Failure;
use ::pool::per_thread;
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::null;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

/// All of it. All bytes zero is a value: no failure, no lease.
#[repr(C, align(16))]
pub struct Thread {
    /// The last failure.
    pub last: Last,
    /// What a call of this thread may use if the heap is out; null: no such call is under
    /// way. `heap` knows what it points to.
    pub lease: Cell<*const c_void>,
}

per_thread! {
    /// Where the calling thread's is. All zero bytes are the first value.
    fn of_this_thread() -> Thread, symbol "hugepool_thread",
    first Thread {
        last: Last {
            word: AtomicU32::new(NOTHING),
            failure: UnsafeCell::new(MaybeUninit::uninit()),
        },
        lease: Cell::new(null()),
    },
    bytes [".byte 0"]
}

/// What is kept of the calling thread.
#[inline(always)]
pub fn own<'a>() -> &'a Thread {
    // SAFETY: it is there as long as the thread is, was all zero when that started, and no
    // other thread knows of it. (The result is no thread's that it could be sent to: a
    // `Thread` is not `Sync`.)
    unsafe { &*of_this_thread() }
}

/// There was no failure.
const NOTHING: u32 = 0;
/// There is one, and it is whole.
const WHOLE: u32 = 1;
/// It is being written, or read.
const BUSY: u32 = 2;

/// The last failure of a thread.
#[repr(C)]
pub struct Last {
    /// Relaxed throughout: see the module.
    word: AtomicU32,
    /// Written before the word becomes `WHOLE`.
    failure: UnsafeCell<MaybeUninit<Failure>>,
}

impl Last {
    /// Keeps `failure`, unless this is a signal handler that came in between.
    pub fn keep(&self, failure: Failure) {
        if self.word.load(Ordering::Relaxed) == BUSY {
            return;
        }
        self.word.store(BUSY, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        // SAFETY: the word says that it is this call's alone.
        unsafe { (*self.failure.get()).write(failure) };
        compiler_fence(Ordering::SeqCst);
        self.word.store(WHOLE, Ordering::Relaxed);
    }

    /// What was kept. `None`: nothing, or this is a signal handler that came in between.
    pub fn get(&self) -> Option<Failure> {
        if self.word.load(Ordering::Relaxed) != WHOLE {
            return None;
        }
        self.word.store(BUSY, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        // SAFETY: the word said that it is whole, and now that it is this call's alone.
        let failure = unsafe { (*self.failure.get()).assume_init() };
        compiler_fence(Ordering::SeqCst);
        self.word.store(WHOLE, Ordering::Relaxed);
        Some(failure)
    }
}
