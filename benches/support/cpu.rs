//! Which processor a thread runs on, and how long it ran there.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The processors that the calling thread may run on.
pub fn allowed() -> Vec<usize> {
    // SAFETY: all-zero bytes are an empty set of processors.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most `size_of_val(&set)` bytes to it.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if result != 0 {
        return Vec::new();
    }
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the number is below `CPU_SETSIZE`.
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

/// Lets the calling thread run on `cpus` alone, from when this returns.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: all-zero bytes are an empty set of processors.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus.iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize) {
        // SAFETY: the number is below `CPU_SETSIZE`.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the kernel reads `size_of_val(&set)` bytes of it.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What a thread's time is measured with.
#[derive(Clone, Copy)]
pub enum Clock {
    /// The time that passed.
    Wall,
    /// The time that the calling thread ran on a processor.
    Cpu,
}

impl Clock {
    /// Calls `work` and says how long it took the calling thread.
    pub fn time(self, work: impl FnOnce()) -> Duration {
        match self {
            Self::Wall => {
                let start = Instant::now();
                work();
                start.elapsed()
            }
            Self::Cpu => {
                let start = thread_time();
                work();
                thread_time().saturating_sub(start)
            }
        }
    }
}

fn thread_time() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one `timespec`.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    assert_eq!(result, 0, "CLOCK_THREAD_CPUTIME_ID");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Shares `operations` out evenly over `threads` threads that start together,
/// and adds up what each of them measured. `work(n)` does `n` operations. Each
/// thread does one before the start, outside the clock. Fails, with no thread
/// left, if the system does not give that many threads.
pub fn shared_out(
    threads: usize,
    operations: u64,
    clock: Clock,
    work: impl Fn(u64) + Sync,
) -> io::Result<Duration> {
    let ready = AtomicUsize::new(0);
    let gate = AtomicU8::new(SHUT);
    let (work, ready, gate) = (&work, &ready, &gate);
    thread::scope(|scope| {
        let mut workers = Vec::with_capacity(threads);
        let mut result = Ok(());
        for number in 0..threads as u64 {
            let threads = threads as u64;
            let share = operations / threads + u64::from(number < operations % threads);
            let worker = thread::Builder::new().spawn_scoped(scope, move || {
                work(1);
                ready.fetch_add(1, Ordering::Release);
                while gate.load(Ordering::Acquire) == SHUT {
                    thread::park();
                }
                match gate.load(Ordering::Acquire) {
                    OPEN => clock.time(|| work(share)),
                    _ => Duration::ZERO,
                }
            });
            match worker {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        while ready.load(Ordering::Acquire) < workers.len()
            && !workers.iter().any(|worker| worker.is_finished())
        {
            thread::yield_now();
        }
        let start = if result.is_ok() { OPEN } else { ABANDONED };
        gate.store(start, Ordering::Release);
        for worker in &workers {
            worker.thread().unpark();
        }
        let elapsed = workers
            .into_iter()
            .map(|worker| worker.join().expect("a worker panicked"))
            .sum();
        result.map(|()| elapsed)
    })
}

/// The states of the gate in `shared_out`.
const SHUT: u8 = 0;
const OPEN: u8 = 1;
const ABANDONED: u8 = 2;
