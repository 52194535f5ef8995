//! The system calls of one thread, caught before the kernel serves them (syscall
//! user dispatch, Linux 5.11): to count them, or to stop the thread at one.
//!
//! While a thread is watched each of its system calls becomes a signal, whose
//! handler counts the call and then lets it be made.

use super::skipped;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};

const SET_DISPATCH: libc::c_int = 59;
const ON: libc::c_ulong = 1;
const OFF: libc::c_ulong = 0;
const ALLOW: u8 = 0;
const CATCH: u8 = 1;

/// Where a thread stops.
#[derive(Default)]
pub struct Stop {
    /// The system call.
    pub call: libc::c_long,
    /// Whether the kernel has served it then.
    pub after: bool,
    /// Set by the thread when it has stopped.
    pub reached: AtomicBool,
    /// Set by others to let it go on.
    pub released: AtomicBool,
}

impl Stop {
    /// Waits until the thread has stopped, or until `gone`.
    pub fn wait(&self, gone: impl Fn() -> bool) {
        while !self.reached.load(Ordering::Acquire) && !gone() {
            std::thread::yield_now();
        }
    }

    /// Lets the thread go on.
    pub fn release(&self) {
        self.released.store(true, Ordering::Release);
    }
}

/// What is known of a watched thread. The kernel reads the first byte whenever
/// the thread makes a system call.
#[derive(Default)]
#[repr(C)]
pub struct Watch<'a> {
    selector: AtomicU8,
    calls: AtomicU64,
    first: AtomicI64,
    stop: Option<&'a Stop>,
}

thread_local! {
    static WATCH: Cell<*const Watch<'static>> = const { Cell::new(std::ptr::null()) };
}

impl<'a> Watch<'a> {
    /// Catches the next system call of this thread. (Not those after it: until
    /// this is said again they are served as ever.)
    #[inline(always)]
    pub fn catch(&self) {
        self.selector.store(CATCH, Ordering::Relaxed);
    }

    /// Catches none from now on.
    pub fn end(&self) {
        self.selector.store(ALLOW, Ordering::Relaxed);
    }

    /// Forgets what was caught.
    pub fn forget(&self) {
        self.calls.store(0, Ordering::Relaxed);
    }

    /// Runs `work` with this thread watched, and gives what was caught: how many
    /// calls, and the number of the first. `None`, after saying so, where threads
    /// cannot be watched.
    pub fn over(
        what: &str,
        stop: Option<&'a Stop>,
        work: impl FnOnce(&Self),
    ) -> Option<(u64, i64)> {
        let watch = Self {
            stop,
            ..Self::default()
        };
        #[cfg(target_arch = "x86_64")]
        super::timer::handle(libc::SIGSYS, on_call);
        WATCH.set((&raw const watch).cast());
        let selector = &raw const watch.selector;
        // SAFETY: the kernel reads the byte until it is told to stop, by `Watched`
        // at the latest, which goes before the byte does.
        let on = unsafe { libc::prctl(SET_DISPATCH, ON, 0, 0, selector) };
        let watched = Watched(&watch.selector);
        if on != 0 || !cfg!(target_arch = "x86_64") {
            skipped(&format!("{what}: this kernel catches no system calls"));
            return None;
        }
        work(&watch);
        drop(watched);
        let calls = watch.calls.load(Ordering::Relaxed);
        Some((calls, watch.first.load(Ordering::Relaxed)))
    }
}

/// Ends the watching of this thread when dropped.
struct Watched<'a>(&'a AtomicU8);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.store(ALLOW, Ordering::Relaxed);
        // SAFETY: takes numbers only.
        unsafe { libc::prctl(SET_DISPATCH, OFF, 0, 0, 0) };
        WATCH.set(std::ptr::null());
    }
}

#[cfg(target_arch = "x86_64")]
extern "C" fn on_call(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    /// Bytes of the instruction that makes a system call.
    const INSTRUCTION: i64 = 2;
    // SAFETY: a watch is named here only while it is there.
    let Some(watch) = (unsafe { WATCH.get().as_ref() }) else {
        return;
    };
    watch.selector.store(ALLOW, Ordering::Relaxed);
    let context: *mut libc::ucontext_t = context.cast();
    // SAFETY: the third argument of a handler is its thread's context, which is
    // its own.
    let registers = unsafe { &mut (*context).uc_mcontext.gregs };
    let call = registers[libc::REG_RAX as usize];
    if watch.calls.fetch_add(1, Ordering::Relaxed) == 0 {
        watch.first.store(call, Ordering::Relaxed);
    }
    let stop = watch.stop.filter(|stop| stop.call == call);
    if stop.is_some_and(|stop| stop.after) {
        let argument = |register: libc::c_int| registers[register as usize];
        let (first, second) = (argument(libc::REG_RDI), argument(libc::REG_RSI));
        // SAFETY: the call that the thread was about to make; none of those that
        // tests stop at has more arguments.
        let result = unsafe { libc::syscall(call, first, second, argument(libc::REG_RDX)) };
        let number = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        registers[libc::REG_RAX as usize] = if result < 0 {
            -i64::from(number)
        } else {
            result
        };
    } else {
        // It will be made once more, and served then.
        registers[libc::REG_RIP as usize] -= INSTRUCTION;
    }
    if let Some(stop) = stop {
        stop.reached.store(true, Ordering::Release);
        while !stop.released.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }
}
