//! Whether this process is a child of the one that was here before.
//!
//! Owns: the count of forks. Uses: libc. Used by: `arena`, `share`, `vdi`.
//!
//! Source: pthread_atfork(3). What `vfork`, or `clone` without the C library, makes is
//! not counted.

use crate::sync::{AtomicU32, Ordering};
use std::io;

/// How many forks this process comes from, since somebody began to count. Relaxed
/// throughout: a child has one thread when it counts.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// 1 once they are counted.
static COUNTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Counts forks from now on.
pub fn watch() -> io::Result<()> {
    if COUNTED.load(Ordering::Relaxed) == 1 {
        return Ok(());
    }
    // Of two threads at once both may do this: then a fork counts twice, which is as good.
    // SAFETY: the handler is there as long as the program, or the shared object, whose
    // handlers go with it; it does what a handler may.
    match unsafe { libc::pthread_atfork(None, None, Some(count)) } {
        0 => {
            COUNTED.store(1, Ordering::Relaxed);
            Ok(())
        }
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// How many that are.
#[inline(always)]
pub fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// The process in which something was made.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Its number. A child may have the same in another namespace.
    process: u32,
    /// `forks()` there. What `clone` made without the C library is not counted.
    forks: u32,
}

impl Origin {
    /// This process.
    pub fn here() -> Self {
        Self {
            process: std::process::id(),
            forks: forks(),
        }
    }

    /// Whether this is a child of it.
    pub fn is_inherited(self) -> bool {
        self.is_forked() || std::process::id() != self.process
    }

    /// As `is_inherited`, for a child that `fork` made. Enters no kernel.
    #[inline(always)]
    pub fn is_forked(self) -> bool {
        forks() != self.forks
    }
}
