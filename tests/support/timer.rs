//! A timer that sends its own thread a signal a few microseconds from now.

/// The signal.
pub const SIGNAL: libc::c_int = libc::SIGUSR1;

/// What a handler gets: the signal, what is known of it, and the registers.
pub type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Makes `handler` answer `signal` in every thread of this process.
pub fn handle(signal: libc::c_int, handler: Handler) {
    // SAFETY: all-zero bytes are a value of this structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: `action` is whole, and names a handler of the type that its flags
    // say.
    let done = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    assert_eq!(done, 0, "sigaction");
}

/// The instruction at which the thread will go on when its handler returns.
///
/// # Safety
///
/// `context` is the third argument of a handler that is running.
#[cfg(target_arch = "x86_64")]
pub unsafe fn interrupted_at(context: *mut libc::c_void) -> usize {
    let context: *const libc::ucontext_t = context.cast_const().cast();
    // SAFETY: the caller's.
    unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] as usize }
}

/// The instruction at which the thread will go on when its handler returns.
///
/// # Safety
///
/// `context` is the third argument of a handler that is running.
#[cfg(target_arch = "aarch64")]
pub unsafe fn interrupted_at(context: *mut libc::c_void) -> usize {
    let context: *const libc::ucontext_t = context.cast_const().cast();
    // SAFETY: the caller's.
    unsafe { (*context).uc_mcontext.pc as usize }
}

/// A timer of the thread that made it.
pub struct Timer(libc::c_int);

impl Timer {
    /// A timer that is not set.
    pub fn new() -> Self {
        // SAFETY: all-zero bytes are a value of this structure.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = SIGNAL;
        // SAFETY: takes nothing and gives a number.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut id: libc::c_int = 0;
        let (clock, call) = (libc::CLOCK_MONOTONIC, libc::SYS_timer_create);
        // SAFETY: `event` is readable and `id` writable.
        let made = unsafe { libc::syscall(call, clock, &raw const event, &raw mut id) };
        assert_eq!(made, 0, "timer_create");
        Self(id)
    }

    /// Sends the signal once, so many nanoseconds (below 10⁹) from now, instead of
    /// when it was to come before; 0: never.
    pub fn set(&self, nanoseconds: i64) {
        let time = |tv_nsec| libc::timespec { tv_sec: 0, tv_nsec };
        let when = libc::itimerspec {
            it_interval: time(0),
            it_value: time(nanoseconds),
        };
        let (call, none) = (
            libc::SYS_timer_settime,
            std::ptr::null_mut::<libc::itimerspec>(),
        );
        // SAFETY: `when` is readable; the old value is not asked for.
        let set = unsafe { libc::syscall(call, self.0, 0, &raw const when, none) };
        assert_eq!(set, 0, "timer_settime");
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: takes a number only.
        unsafe { libc::syscall(libc::SYS_timer_delete, self.0) };
    }
}
