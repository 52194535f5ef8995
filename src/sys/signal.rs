//! Threads of this library's own.
//!
//! Owns: `pthread_create`, and the signals that they block. Uses: libc, `loaded`. Used by:
//! `share`, `arena`, `rseq`, `uring`.
//!
//! Source: pthread_create(3), signal(7). A program that blocks signals to wait for them relies
//! on every thread to do so. Those of the standard library note themselves in thread-local
//! variables, for which the C library asks for memory, and ends the process if there is none:
//! these do not.

use super::loaded;
use crate::sync::shield;
use std::ffi::{CStr, CString, c_void};
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::null_mut;

/// Bytes of a stack: address space that need not be there for longer than the thread.
const STACK: usize = 1 << 20;

type Start = extern "C" fn(*mut c_void) -> *mut c_void;

/// A thread. It goes on if this is dropped.
pub struct Thread(libc::pthread_t);

impl Thread {
    /// Starts one that calls `start` with `argument`, on a stack of `stack` bytes.
    ///
    /// # Safety
    ///
    /// What `start` does with the argument can be done in another thread.
    unsafe fn start(start: Start, argument: *mut c_void, stack: usize) -> io::Result<Self> {
        let mut thread = MaybeUninit::uninit();
        let mut attributes = MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the places can be written; the attributes are made by the first call, and
        // undone by the last; the rest is the caller's promise.
        let error = unsafe {
            libc::pthread_attr_init(attributes);
            // If it is refused, the stack is as large as any.
            libc::pthread_attr_setstacksize(attributes, stack);
            let error = libc::pthread_create(thread.as_mut_ptr(), attributes, start, argument);
            libc::pthread_attr_destroy(attributes);
            error
        };
        match error {
            // SAFETY: written by the call above.
            0 => Ok(Self(unsafe { thread.assume_init() })),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Waits until it has ended.
    pub fn join(self) {
        let thread = ManuallyDrop::new(self);
        // SAFETY: it was neither joined nor detached. It fails only for one that waits for
        // itself.
        unsafe { libc::pthread_join(thread.0, null_mut()) };
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // SAFETY: it was neither joined nor detached.
        unsafe { libc::pthread_detach(self.0) };
    }
}

/// Names the calling thread. The name is cut off at 15 bytes.
pub fn name_thread(name: &CStr) {
    // SAFETY: the name is a string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Starts a thread that blocks every signal and calls `start` with `argument`, on a stack of
/// `stack` bytes. (But `SIGSYS`: a filter of system calls sends it for what the thread itself
/// calls, and if it is blocked, that ends the process.) Allocates nothing itself. The thread may go on for longer than whoever starts
/// it thinks of it, so its code stays loaded.
///
/// # Safety
///
/// What `start` does with the argument can be done in another thread.
pub unsafe fn quiet_start(
    start: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
    stack: usize,
) -> io::Result<Thread> {
    loaded::stay();
    let (mut all, mut before) = (
        MaybeUninit::<libc::sigset_t>::uninit(),
        MaybeUninit::<libc::sigset_t>::uninit(),
    );
    // SAFETY: the first call makes the set that the second reads; that writes the other. A
    // thread inherits what the one that starts it has. The rest is the caller's promise.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigdelset(all.as_mut_ptr(), libc::SIGSYS);
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        let thread = match Thread::start(start, argument, stack) {
            // Too small for what each thread of this program has on its stack.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                Thread::start(start, argument, 0)
            }
            started => started,
        };
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), null_mut());
        thread
    }
}

/// Runs `run` with all signals blocked but `SIGSYS` (see `quiet_start`), those of the C library included. (Another thread's
/// `setuid` waits for this one meanwhile.)
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
pub fn with_all_blocked<R>(run: impl FnOnce() -> R) -> R {
    let set = |new: u64| {
        let mut old = 0u64;
        let how = libc::SIG_SETMASK;
        // SAFETY: both sets are the kernel's, of 64 signals, as the last argument says. The C
        // library's own call would leave out two.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                how,
                &raw const new,
                &raw mut old,
                size_of::<u64>(),
            )
        };
        old
    };
    let before = set(!(1 << (libc::SIGSYS - 1)));
    let result = run();
    set(before);
    result
}

/// Starts a thread that blocks every signal. If it cannot be had, `run` is dropped.
pub fn quiet_thread<F: FnOnce() + Send + 'static>(name: &str, run: F) -> io::Result<Thread> {
    extern "C" fn start<F: FnOnce()>(argument: *mut c_void) -> *mut c_void {
        // SAFETY: it was made of a box below, for this.
        let both = unsafe { Box::from_raw(argument.cast::<(CString, F)>()) };
        let (name, run) = *both;
        name_thread(&name);
        drop(name);
        shield(run);
        null_mut()
    }
    let name = CString::new(name).unwrap_or_default();
    let argument = Box::into_raw(Box::new((name, run)));
    // SAFETY: what it is given is `Send`.
    let thread = unsafe { quiet_start(start::<F>, argument.cast(), STACK) };
    if thread.is_err() {
        // SAFETY: no thread has it.
        drop(unsafe { Box::from_raw(argument) });
    }
    thread
}

/// The most threads that `side_by_side` has at once, the caller's included.
pub const SIDES: usize = 16;

/// Calls `run` with each of `parts`, `SIDES` at most, in threads of their own as far as there
/// are any to be had, and otherwise in the caller's; returns when all have ended. Allocates
/// nothing itself.
pub fn side_by_side<T: Send, F: Fn(&mut T) + Sync>(parts: &mut [T], run: &F) {
    struct Job<'a, T, F>(&'a mut T, &'a F);

    extern "C" fn start<T, F: Fn(&mut T)>(argument: *mut c_void) -> *mut c_void {
        // SAFETY: it is one of `jobs` below, which are there until all threads have ended,
        // and no other thread's.
        let Job(part, run) = unsafe { &mut *argument.cast::<Job<'_, T, F>>() };
        run(part);
        null_mut()
    }
    debug_assert!(parts.len() <= SIDES);
    let mut jobs = [const { None }; SIDES];
    for (job, part) in jobs.iter_mut().zip(parts) {
        *job = Some(Job(part, run));
    }
    let mut threads = [const { None }; SIDES];
    let mut all = threads.iter_mut().zip(jobs.iter_mut().flatten());
    let own = all.next();
    for (thread, job) in all {
        let argument = std::ptr::from_mut(job).cast();
        // SAFETY: a part may be sent to another thread, and `run` called by several.
        match unsafe { Thread::start(start::<T, F>, argument, STACK) } {
            Ok(started) => *thread = Some(started),
            Err(_) => run(job.0),
        }
    }
    if let Some((_, job)) = own {
        run(job.0);
    }
    threads.into_iter().flatten().for_each(Thread::join);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_done_once_and_all_have_ended() {
        for count in 0..=SIDES {
            let mut parts = vec![0; count];
            side_by_side(&mut parts, &|part: &mut u32| {
                std::thread::yield_now();
                *part += 1;
            });
            assert_eq!(parts, vec![1; count]);
        }
    }

    fn blocked() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let blocked = status
            .lines()
            .find_map(|line| line.strip_prefix("SigBlk:\t"));
        u64::from_str_radix(blocked.unwrap(), 16).unwrap()
    }

    #[test]
    fn all_signals_that_can_be_are_blocked_for_a_while() {
        let before = blocked();
        let all = with_all_blocked(blocked);
        let never = [libc::SIGKILL, libc::SIGSTOP, libc::SIGSYS];
        let never = never
            .iter()
            .fold(0, |never, signal| never | 1 << (signal - 1));
        assert_eq!(all, !never);
        assert_eq!(blocked(), before);
    }

    #[test]
    fn a_quiet_thread_has_its_name_blocks_signals_and_survives_a_panic_as_its_program_does() {
        let (sender, said) = std::sync::mpsc::channel();
        let thread = quiet_thread("hugepool-test", move || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            sender.send(status).unwrap();
            // No hook of the harness's is called.
            std::panic::resume_unwind(Box::new(()));
        });
        thread.unwrap().join();
        let status = said.recv().unwrap();
        assert!(status.contains("Name:\thugepool-test\n"), "{status}");
        let blocked = status
            .lines()
            .find_map(|line| line.strip_prefix("SigBlk:\t"));
        // All but two of the C library's own, SIGKILL, SIGSTOP and SIGSYS.
        let blocked = u64::from_str_radix(blocked.unwrap(), 16).unwrap();
        assert!(blocked.count_ones() >= 59, "{blocked:x}");
    }
}
