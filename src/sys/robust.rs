//! A word in shared memory that the kernel marks when the thread that holds it ends.
//!
//! Owns: `set_robust_list`, and the page with the word. Uses: libc, `map`, `memfd`. Used by:
//! `share`, whose clients look at the word.
//!
//! Source: get_robust_list(2), and the kernel's documentation of robust futexes. A thread
//! names a list to the kernel. When it ends, however that may be (`SIGKILL` and `exec`
//! included), the kernel goes through the list and sets `FUTEX_OWNER_DIED` in each word that
//! has the thread's number. It does so before it closes what the thread has open: so a
//! name, or a lock, that goes with a descriptor of that thread is free only after this.
//!
//! ```text
//!   page of this process, shared         page of a memfd, that others can map and read
//!   ┌──────────────────────────┐         ┌──────────────────────────┐
//!   │ head ──▶ entry ──▶ head  │         │ word: number of the      │
//!   │           └── offset ────┼────────▶│       thread, or died    │
//!   └──────────────────────────┘         └──────────────────────────┘
//! ```
//!
//! What the kernel reads is in shared memory, too: private memory of a process that is being
//! killed may be taken from it before (process_mrelease(2), or for want of memory).

use super::limits::base_page;
use super::map::Mapping;
use super::memfd;
use crate::sync::{AtomicU32, Ordering};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// What the kernel sets in the word (`FUTEX_OWNER_DIED`).
const DIED: u32 = 0x4000_0000;

/// What a thread names to the kernel (`struct robust_list_head`).
#[repr(C)]
struct Head {
    /// The first entry; this head at the end.
    next: *const Entry,
    /// From an entry to its word, in bytes.
    offset: libc::c_long,
    pending: *const Entry,
}

/// One word's entry.
#[repr(C)]
struct Entry {
    next: *const Head,
}

/// Where the entry is in its page, and the word in its own.
const AT: usize = 64;

/// A word that the thread which made this holds.
pub struct Held {
    descriptor: OwnedFd,
    /// The two pages.
    pages: Mapping,
    /// What the thread had named before.
    before: (*const libc::c_void, usize),
    /// It is dropped by the thread that made it.
    _here: PhantomData<*const ()>,
}

impl Held {
    /// A word that the calling thread holds until this is dropped, or the thread ends.
    pub fn by_this_thread() -> io::Result<Self> {
        let page = base_page();
        let descriptor = memfd::create(c"hugepool-server", page, memfd::Kind::Base)?;
        memfd::populate(descriptor.as_fd(), page)?;
        let pages = Mapping::shared(2 * page)?;
        // SAFETY: mapped just now; nobody has a reference.
        unsafe { pages.commit_from(page, page, descriptor.as_fd(), 0, true) }?;
        memfd::seal(descriptor.as_fd(), true)?;
        // If it is refused they may be swapped out, and a reader waits.
        let _ = pages.lock(0, 2 * page);
        let mut before = (std::ptr::null::<libc::c_void>(), 0usize);
        // SAFETY: both places are there to be written.
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &mut before.0, &mut before.1) };
        let held = Self {
            descriptor,
            pages,
            before,
            _here: PhantomData,
        };
        let (head, entry) = (held.head(), held.entry());
        // SAFETY: both are within the first page, aligned, and this thread's alone.
        unsafe {
            entry.write(Entry {
                next: head.as_ptr(),
            });
            head.write(Head {
                next: entry.as_ptr(),
                offset: page as libc::c_long,
                pending: std::ptr::null(),
            });
        }
        let thread = super::files::thread_number();
        // Relaxed: whoever looks at it has been told of it by a message.
        held.word().store(thread as u32, Ordering::Relaxed);
        let named = name(head.as_ptr().cast(), size_of::<Head>());
        named.inspect_err(|_| held.word().store(0, Ordering::Relaxed))?;
        Ok(held)
    }

    fn head(&self) -> NonNull<Head> {
        self.pages.base().cast()
    }

    fn entry(&self) -> NonNull<Entry> {
        // SAFETY: within the first page.
        unsafe { self.pages.base().add(AT) }.cast()
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: within the second page, which is mapped as long as `self`, and aligned.
        unsafe { self.pages.base().add(base_page() + AT).cast().as_ref() }
    }

    /// What others map to look at the word.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Nobody holds it, and nobody has died. Relaxed: as when it was taken.
        self.word().store(0, Ordering::Relaxed);
        // The kernel must not look into pages that are unmapped. It takes what it gave.
        let _ = name(self.before.0, self.before.1);
    }
}

/// Names the calling thread's list.
fn name(head: *const libc::c_void, len: usize) -> io::Result<()> {
    // SAFETY: the list stays until another is named.
    match unsafe { libc::syscall(libc::SYS_set_robust_list, head, len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Somebody's word, mapped to be looked at.
pub struct Watched(Mapping);

impl Watched {
    /// The word in `page`, a mapping of one page of another process's memory, or more.
    pub fn new(page: Mapping) -> Option<Self> {
        (page.len() >= base_page()).then_some(Self(page))
    }

    fn word(&self) -> u32 {
        // SAFETY: within the page, which is mapped as long as `self`, and aligned.
        let word: &AtomicU32 = unsafe { self.0.base().add(AT).cast().as_ref() };
        // Relaxed: who has been told, however that may be, of something that came after
        // the end of the thread sees the mark, which came before.
        word.load(Ordering::Relaxed)
    }

    /// Whether the thread that held it ended without giving it up.
    pub fn has_died(&self) -> bool {
        self.word() & DIED != 0
    }

    /// Whether it was given up.
    pub fn is_given_up(&self) -> bool {
        self.word() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(descriptor: BorrowedFd<'_>) -> Watched {
        let page = base_page();
        let mapping = Mapping::of(descriptor, page, page, false).unwrap();
        Watched::new(mapping).unwrap()
    }

    #[test]
    fn a_word_that_is_given_up_says_so() {
        let word = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let held = Held::by_this_thread().unwrap();
                let word = watched(held.descriptor());
                assert!(!word.has_died() && !word.is_given_up());
                word
            });
            thread.join().unwrap()
        });
        assert!(word.is_given_up() && !word.has_died());
    }

    #[test]
    fn a_word_whose_holder_is_killed_says_so() {
        let (one, other) = super::super::socket::pair().unwrap();
        // SAFETY: the child holds a word, sends its descriptor, and waits for the end.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let held = Held::by_this_thread();
            let sent = held.is_ok_and(|held| {
                let sent = super::super::socket::send(one.as_fd(), b"x", &[held.descriptor()]);
                // The thread does not give it up.
                std::mem::forget(held);
                sent.is_ok()
            });
            loop {
                // SAFETY: the end, or a wait for it.
                unsafe {
                    if !sent {
                        libc::_exit(1);
                    }
                    libc::pause();
                }
            }
        }
        drop(one);
        let (_, descriptors) = super::super::socket::receive(other.as_fd(), &mut [0; 1]).unwrap();
        let word = watched(descriptors[0].as_fd());
        assert!(!word.has_died() && !word.is_given_up());
        // SAFETY: ends the child made above.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        assert!(word.has_died());
    }
}
