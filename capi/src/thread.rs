//! What the library keeps of each thread.
//!
//! Owns: where that lies, and the last failure. Uses: `error`. Used by: `call`, `heap`.
//!
//! # Where it lies
//!
//! The variables that the compiler makes thread-local are found by a call of the dynamic
//! linker, `__tls_get_addr`. In a library that was opened by `dlopen` the first such call of
//! a thread locks a mutex and allocates, and ends the process if there is no memory. So these
//! are laid out by hand, in the block that the C library has ready for a thread before it
//! starts: the relocation `GOTTPOFF` asks for that ("initial-exec" in *ELF Handling For
//! Thread-Local Storage*). It takes some of the room that glibc keeps for libraries that are
//! opened later; what this library has in it is a few hundred bytes. On other processors they
//! are the compiler's.
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

impl Thread {
    #[cfg_attr(
        target_arch = "x86_64",
        allow(dead_code, reason = "zero bytes are one")
    )]
    const fn new() -> Self {
        Self {
            last: Last {
                word: AtomicU32::new(NOTHING),
                failure: UnsafeCell::new(MaybeUninit::uninit()),
            },
            lease: Cell::new(null()),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod place {
    use super::Thread;
    use std::arch::{asm, global_asm};

    // Hidden: nobody else's, and no part of what the library exports.
    global_asm!(
        ".pushsection .tbss.hugepool_thread,\"awT\",@nobits",
        ".globl hugepool_thread",
        ".hidden hugepool_thread",
        ".type hugepool_thread,@object",
        ".size hugepool_thread, {size}",
        ".balign {align}",
        "hugepool_thread:",
        ".zero {size}",
        ".popsection",
        size = const size_of::<Thread>(),
        align = const align_of::<Thread>(),
    );

    /// Where the calling thread's is.
    #[inline(always)]
    pub fn of_this_thread() -> *const Thread {
        let place;
        // SAFETY: the first word that the thread pointer points to is the thread pointer
        // itself, and the relocation gives the distance from there to the variable.
        unsafe {
            asm!(
                "mov {place}, qword ptr fs:[0]",
                "add {place}, qword ptr [rip + hugepool_thread@GOTTPOFF]",
                place = out(reg) place,
                options(nostack, pure, readonly)
            );
        }
        place
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod place {
    use super::Thread;

    thread_local! {
        static OWN: Thread = const { Thread::new() };
    }

    /// Where the calling thread's is.
    pub fn of_this_thread() -> *const Thread {
        // Nothing has to be done at its end, so it is there until then.
        OWN.with(std::ptr::from_ref)
    }
}

/// What is kept of the calling thread.
#[inline(always)]
pub fn own<'a>() -> &'a Thread {
    // SAFETY: it is there as long as the thread is, was all zero when that started, and no
    // other thread knows of it. (The result is no thread's that it could be sent to: a
    // `Thread` is not `Sync`.)
    unsafe { &*place::of_this_thread() }
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
