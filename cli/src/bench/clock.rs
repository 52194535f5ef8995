//! Time: the processor time of a thread and of the process, how many processors there are to spend it, and what reading
//! the clock costs.
//!
//! Owns the clock calls that std lacks and the histogram's bounds; the windows use both, the report prints the
//! timer's cost.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Nanoseconds of processor time the calling thread has used; 0 where the system does not tell.
pub fn thread_cpu_ns() -> u64 {
    cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Nanoseconds of processor time that all threads of the process have used; 0 where the system does not tell. Of
/// threads that run at this moment on other processors the kernel may leave out the last milliseconds.
pub fn process_cpu_ns() -> u64 {
    cpu_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn cpu_ns(clock: libc::clockid_t) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `time` is writable and as large as the `timespec` the call fills in.
    let outcome = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    if outcome != 0 {
        return 0;
    }
    // SAFETY: the call succeeded, so it filled in the whole structure.
    let time = unsafe { time.assume_init() };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// How many processors this process may use at once.
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A duration in whole nanoseconds.
pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Latencies from 1 ns to a minute, exact below 256 ns and to one percent above.
pub fn latencies() -> Histogram<u64> {
    const MINUTE: u64 = 60_000_000_000;
    Histogram::new_with_bounds(1, MINUTE, 2)
        .expect("the bounds are constants the histogram accepts")
}

/// What reading the clock twice costs with nothing in between, on this machine, now.
#[derive(Debug, Clone, Copy)]
pub struct TimerCost {
    /// Nanoseconds in the median.
    pub median_ns: u64,
    /// Nanoseconds at the 99.99th percentile.
    pub p9999_ns: u64,
}

impl TimerCost {
    /// Runs an empty timed loop.
    pub fn measure() -> TimerCost {
        let mut histogram = latencies();
        for _ in 0..200_000 {
            let start = Instant::now();
            black_box(());
            histogram.saturating_record(nanoseconds(start.elapsed()));
        }
        TimerCost {
            median_ns: histogram.value_at_quantile(0.5),
            p9999_ns: histogram.value_at_quantile(0.9999),
        }
    }
}
