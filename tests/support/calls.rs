//! The system calls of one thread, caught before the kernel serves them (syscall
//! user dispatch, Linux 5.11): to count them, or to stop the thread at one.
//!
//! While a thread is watched each of its system calls becomes a signal, whose
//! handler counts the call and then lets it be made, or makes it.

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
    /// This call is counted, however many there are of others.
    only: Option<libc::c_long>,
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
        watch.watched(what, || work(&watch))?;
        let calls = watch.calls.load(Ordering::Relaxed);
        Some((calls, watch.first.load(Ordering::Relaxed)))
    }

    /// How often this thread makes the system call `call` while `work` runs; and what
    /// that gives. No number, after saying so, where threads cannot be watched.
    pub fn count<R>(
        what: &str,
        call: libc::c_long,
        work: impl FnOnce() -> R,
    ) -> (Option<u64>, Option<R>) {
        let watch = Watch {
            only: Some(call),
            ..Watch::default()
        };
        let counted = watch.watched(what, || {
            watch.catch();
            let result = work();
            watch.end();
            result
        });
        let calls = watch.calls.load(Ordering::Relaxed);
        (counted.is_some().then_some(calls), counted)
    }

    fn watched<R>(&self, what: &str, work: impl FnOnce() -> R) -> Option<R> {
        #[cfg(target_arch = "x86_64")]
        super::timer::handle(libc::SIGSYS, on_call);
        WATCH.set((&raw const *self).cast());
        let selector = &raw const self.selector;
        // The call that ends a handler is never caught.
        let (end, bytes) = restorer();
        // SAFETY: the kernel reads the byte until it is told to stop, by `Watched`
        // at the latest, which goes before the byte does.
        let on = unsafe { libc::prctl(SET_DISPATCH, ON, end, bytes, selector) };
        let watched = Watched(&self.selector);
        if on != 0 || !cfg!(target_arch = "x86_64") {
            skipped(&format!("{what}: this kernel catches no system calls"));
            return None;
        }
        let result = work();
        drop(watched);
        Some(result)
    }
}

/// Where the code begins that ends a signal handler, and how long it is at most.
fn restorer() -> (usize, usize) {
    /// What the kernel keeps of a signal.
    #[derive(Default)]
    #[repr(C)]
    struct Action {
        handler: usize,
        flags: libc::c_ulong,
        restorer: usize,
        mask: u64,
    }
    let mut action = Action::default();
    let (call, none) = (libc::SYS_rt_sigaction, std::ptr::null::<Action>());
    let (old, bytes) = (&raw mut action, size_of::<u64>());
    // SAFETY: writes what the kernel keeps of the signal, whose mask has so many bytes.
    unsafe { libc::syscall(call, libc::SIGSYS, none, old, bytes) };
    (action.restorer, 16)
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

/// Makes the system call that a thread was about to make; gives what the kernel does.
#[cfg(target_arch = "x86_64")]
fn make(call: i64, registers: &[i64]) -> i64 {
    // SAFETY: the thread's own.
    let number = unsafe { &mut *libc::__errno_location() };
    let before = *number;
    let argument = |register: libc::c_int| registers[register as usize];
    let (first, second) = (argument(libc::REG_RDI), argument(libc::REG_RSI));
    let (third, fourth) = (argument(libc::REG_RDX), argument(libc::REG_R10));
    let (fifth, sixth) = (argument(libc::REG_R8), argument(libc::REG_R9));
    // SAFETY: with the arguments that it was about to be made with.
    let result = unsafe { libc::syscall(call, first, second, third, fourth, fifth, sixth) };
    match result {
        ..0 => -i64::from(std::mem::replace(number, before)),
        _ => result,
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
    if let Some(only) = watch.only {
        let counts = call == only;
        watch.calls.fetch_add(counts.into(), Ordering::Relaxed);
        registers[libc::REG_RAX as usize] = make(call, registers);
        return watch.catch();
    }
    if watch.calls.fetch_add(1, Ordering::Relaxed) == 0 {
        watch.first.store(call, Ordering::Relaxed);
    }
    let stop = watch.stop.filter(|stop| stop.call == call);
    if stop.is_some_and(|stop| stop.after) {
        registers[libc::REG_RAX as usize] = make(call, registers);
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
