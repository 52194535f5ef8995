//! Whether this process is a child of the one that was here before.
//!
//! Owns: the number of a process among those that it comes from. Uses: libc. Used by:
//! `arena`, `lists`, `share`, `vdi`, `wait`.
//!
//! Source: madvise(2) under `MADV_WIPEONFORK`, pthread_atfork(3). Whatever makes a child with
//! a copy of the memory, `_Fork` and `clone` without the C library included, the kernel gives
//! it the page below all zero. Where the kernel does not know of that (before Linux 4.14, or
//! under valgrind), the C library is asked to count, and then what is made without it is not
//! counted. What `vfork`, or `clone` with `CLONE_VM`, makes is the same process for this.
//!
//! ```text
//!   parent:  word n ──────────────────────────────────────────▶ word n
//!                │ a copy of its memory, but for the page
//!   child:       └──▶ word 0 ── whoever asks first ──▶ word m > n
//! ```

use crate::sync::{AtomicU32, Ordering};
use std::io;

/// As large as a page, and alone in it. (Where pages are larger, the C library counts.)
#[repr(C, align(4096))]
struct Page {
    /// One more than the number of this process; 0: it has none yet. What is made in a
    /// process keeps it, so this being another one says that the process is another.
    ///
    /// Relaxed throughout: only equality counts, and it is written once in a process.
    word: AtomicU32,
    rest: [u8; 4092],
}

// All zero bytes, so that it is memory without a file behind it, as the kernel asks.
static PAGE: Page = Page {
    word: AtomicU32::new(0),
    rest: [0; 4092],
};

/// No process that this one comes from, nor this one, had a larger word. Relaxed: whoever
/// raises it does so before he gives the process its word, in one thread, and a child has
/// both stores or the first of them.
static LARGEST: AtomicU32 = AtomicU32::new(0);
/// 1 once a child will be told apart.
static WATCHED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count() {
    PAGE.word.store(0, Ordering::Relaxed);
}

/// Has children that are made from now on told apart.
pub fn watch() -> io::Result<()> {
    if WATCHED.load(Ordering::Relaxed) == 1 {
        return Ok(());
    }
    // Before any child is made that would find 0 here and there.
    let _own = forks();
    // Of two threads at once both may do this: to the same effect.
    if !wipe_on_fork()? {
        // SAFETY: the handler is there as long as the program, or the shared object, whose
        // handlers go with it; it does what a handler may.
        match unsafe { libc::pthread_atfork(None, None, Some(count)) } {
            0 => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
    WATCHED.store(1, Ordering::Relaxed);
    Ok(())
}

/// Asks the kernel to give children the page all zero; false if it does not know how. An
/// error if it could not now.
fn wipe_on_fork() -> io::Result<bool> {
    let (start, len) = ((&raw const PAGE).cast_mut().cast(), size_of::<Page>());
    if super::limits::base_page() != len {
        return Ok(false);
    }
    // SAFETY: changes nothing but what children find in the page: a word for which 0 is a
    // value, and bytes that nobody reads.
    if unsafe { libc::madvise(start, len, libc::MADV_WIPEONFORK) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        // No memory for one more mapping, say: not a reason to do without for good.
        error => Err(error),
    }
}

/// How many processes this one comes from, of those that asked, since somebody began to
/// watch. (Of two numbers that are given away at once, in a child that has several threads
/// before it first asks, one is skipped.)
#[inline(always)]
pub fn forks() -> u32 {
    match PAGE.word.load(Ordering::Relaxed) {
        0 => begin(),
        word => word - 1,
    }
}

/// Gives this process its word. Of several threads that do so at once one does.
#[cold]
#[inline(never)]
fn begin() -> u32 {
    // Before the word: a child that is made in between has this from here, and so a word
    // that is not its parent's. (It may be one that another thread gives the parent; nothing
    // that the child has a copy of was made under that.)
    let own = LARGEST.fetch_add(1, Ordering::Relaxed) + 1;
    let given = (PAGE.word).compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed);
    given.map_or_else(|other| other, |_| own) - 1
}

/// The process in which something was made, if it was watched. To compare costs one plain
/// load: a child that has no word yet has not this one.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u32);

impl Mark {
    /// This process.
    pub fn here() -> Self {
        Self(forks() + 1)
    }

    /// Whether this is a child of it. Enters no kernel.
    #[inline(always)]
    pub fn is_forked(self) -> bool {
        PAGE.word.load(Ordering::Relaxed) != self.0
    }
}

/// As `Mark`, also told by the number that the system has for it.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// A child may have the same in another namespace.
    process: u32,
    mark: Mark,
}

impl Origin {
    /// This process.
    pub fn here() -> Self {
        Self {
            process: std::process::id(),
            mark: Mark::here(),
        }
    }

    /// Whether this is a child of it.
    pub fn is_inherited(self) -> bool {
        self.is_forked() || std::process::id() != self.process
    }

    /// As `is_inherited`, by the mark alone. Enters no kernel.
    #[inline(always)]
    pub fn is_forked(self) -> bool {
        self.mark.is_forked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child that the C library knows nothing of. Calls `work` there, and gives what it
    /// gave.
    fn in_clone(work: impl FnOnce() -> i32) -> i32 {
        let (none, flags) = (std::ptr::null::<u8>(), libc::SIGCHLD);
        // SAFETY: the child, which has a copy of the memory and one thread, does what it may
        // and ends by `_exit`.
        let child = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
        assert!(child >= 0, "clone");
        if child == 0 {
            let code = work();
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(child as i32, &mut status, 0) };
        assert!(libc::WIFEXITED(status), "the child was killed: {status}");
        libc::WEXITSTATUS(status)
    }

    #[test]
    fn whatever_makes_a_child_it_has_a_number_of_its_own() {
        watch().unwrap();
        if !wipe_on_fork().unwrap() {
            println!("skipped: the kernel does not wipe pages for children");
            return;
        }
        let (own, mark, origin) = (forks(), Mark::here(), Origin::here());
        let code = in_clone(|| {
            // Before anybody asks for its number, too.
            let first = mark.is_forked() && origin.is_forked();
            let second = (forks(), Mark::here());
            let is_new = second.0 > own && second.0 == forks() && !second.1.is_forked();
            let grandchild = in_clone(|| {
                i32::from(!(mark.is_forked() && second.1.is_forked() && forks() > second.0))
            });
            i32::from(!(first && is_new && mark.is_forked())) + 2 * grandchild
        });
        assert_eq!(code, 0, "1: the child, 2: its child");
        assert!(!mark.is_forked() && !origin.is_inherited() && forks() == own);
    }

    #[test]
    fn who_is_counted_by_the_c_library_has_a_number_of_its_own_too() {
        let code = in_clone(|| {
            let (own, mark) = (forks(), Mark::here());
            // What it calls in a child.
            count();
            i32::from(!(mark.is_forked() && forks() > own && !Mark::here().is_forked()))
        });
        assert_eq!(code, 0);
    }
}
