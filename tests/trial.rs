//! The trial of restartable sequences, by which the first pool of a process finds out whether
//! the kernel restarts them, in processes that make it hard. (What it says of kernels that
//! restart nothing: `src/rseq/probe.rs`.)

mod support;

use hugepool::{Pool, WhyPortable};
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::filter::{refuse, trap};
use support::kind::Kind;
use support::process::alone;
use support::{cpus, pin, skipped};

fn built() -> Pool {
    let builder = Pool::builder().reserve(4096, 4096, 8).prefault(false);
    builder.build().unwrap()
}

/// Why the process's first pool has the caches that it has.
fn first() -> Option<WhyPortable> {
    built().stats().why_portable
}

/// Runs `body` in a process of its own, where sequences are restarted.
#[track_caller]
fn where_restarted(name: &str, body: impl FnOnce()) {
    alone(name, &[], || match Kind::Restartable.lacking() {
        Some(why) => skipped(&format!("{name}: {why}")),
        None => body(),
    });
}

/// As a kernel that restarts whoever is preempted and nobody else, and says otherwise.
#[test]
fn a_kernel_whose_barriers_do_nothing_is_found_out_by_a_thread_that_is_kept_on_a_processor() {
    let name =
        "a_kernel_whose_barriers_do_nothing_is_found_out_by_a_thread_that_is_kept_on_a_processor";
    where_restarted(name, || {
        let cpus = cpus();
        if cpus.len() < 2 {
            return skipped(&format!("{name}: one processor"));
        }
        let found = std::thread::spawn(move || {
            if let Err(why) = refuse(libc::SYS_membarrier, 0) {
                return skipped(&format!("no filter for system calls: {why}"));
            }
            pin(cpus[0]);
            match first() {
                Some(WhyPortable::NoTime) => skipped("the trial: the machine is busy"),
                found => assert_eq!(found, Some(WhyPortable::NotRestarted)),
            }
        });
        found.join().unwrap();
    });
}

extern "C" fn refused(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the context of what it interrupted, whose result this is.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        context.uc_mcontext.gregs[libc::REG_RAX as usize] = -i64::from(libc::EPERM);
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        context.uc_mcontext.regs[0] = -i64::from(libc::EPERM) as u64;
    }
}

#[test]
fn a_filter_that_answers_with_a_signal_ends_no_process_that_handles_it() {
    let name = "a_filter_that_answers_with_a_signal_ends_no_process_that_handles_it";
    for call in [
        "getrusage",
        "sched_getaffinity",
        "sched_setaffinity",
        "prctl",
    ] {
        // Each in a process of its own, since what is filtered stays so.
        let chosen = std::env::var("HUGEPOOL_TEST_CALL");
        if chosen.as_ref().is_ok_and(|chosen| chosen != call) {
            continue;
        }
        alone(name, &[("HUGEPOOL_TEST_CALL", call)], || {
            // SAFETY: all-zero bytes are an action; the handler does what one may.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void) =
                    refused;
                action.sa_sigaction = handler as usize;
                action.sa_flags = libc::SA_SIGINFO;
                assert_eq!(
                    libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut()),
                    0
                );
            }
            let number = match call {
                "getrusage" => libc::SYS_getrusage,
                "sched_getaffinity" => libc::SYS_sched_getaffinity,
                "sched_setaffinity" => libc::SYS_sched_setaffinity,
                _ => libc::SYS_prctl,
            };
            match trap(number) {
                Ok(()) => println!("{call}: {:?}", first()),
                Err(why) => skipped(&format!("no filter for system calls: {why}")),
            }
        });
    }
}

/// What the hooks of this program wait for before a thread may end.
static HELD: AtomicBool = AtomicBool::new(false);
/// Threads that have come to their end.
static ENDING: AtomicUsize = AtomicUsize::new(0);

type Start = extern "C" fn(*mut c_void) -> *mut c_void;

extern "C" fn hooked(argument: *mut c_void) -> *mut c_void {
    // SAFETY: it was made of a box below, for this.
    let (start, argument) = *unsafe { Box::from_raw(argument.cast::<(Start, usize)>()) };
    let result = start(std::ptr::with_exposed_provenance_mut(argument));
    ENDING.fetch_add(1, Ordering::Relaxed);
    while HELD.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    result
}

/// In the place of the C library's, as a profiler puts its own there.
///
/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> libc::c_int {
    type Create = unsafe extern "C" fn(
        *mut libc::pthread_t,
        *const libc::pthread_attr_t,
        Start,
        *mut c_void,
    ) -> libc::c_int;
    let argument = Box::new((start, argument.expose_provenance()));
    // SAFETY: the C library's own, which has this type; the rest is the caller's promise.
    unsafe {
        let own = libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr());
        assert!(!own.is_null());
        let own = std::mem::transmute::<*mut c_void, Create>(own);
        own(thread, attributes, hooked, Box::into_raw(argument).cast())
    }
}

#[test]
fn a_thread_that_a_programs_hook_keeps_from_its_end_is_not_waited_for_without_end() {
    let name = "a_thread_that_a_programs_hook_keeps_from_its_end_is_not_waited_for_without_end";
    where_restarted(name, || {
        HELD.store(true, Ordering::Release);
        let before = ENDING.load(Ordering::Relaxed);
        let pool = built();
        assert!(ENDING.load(Ordering::Relaxed) > before, "there was a trial");
        HELD.store(false, Ordering::Release);
        match pool.stats().why_portable {
            Some(WhyPortable::NoTime) => skipped("the trial: the machine is busy"),
            found => assert_eq!(found, None),
        }
    });
}
