//! What a thread has used of the machine.
//!
//! Owns the call of `getrusage(2)`; the workers of the windows take differences of it.

use std::mem::MaybeUninit;
use std::ops::{AddAssign, Sub};

use super::clock;

/// What one thread used so far, or between two moments; or several threads together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nanoseconds of processor time.
    pub cpu_ns: u64,
    /// Page faults, with and without a wait for a disk.
    pub faults: u64,
    /// Times that it gave the processor up, to wait.
    pub sleeps: u64,
}

impl Usage {
    /// The calling thread's. What the system does not tell is 0.
    pub fn now() -> Usage {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: `usage` is writable and as large as the structure that the call fills in.
        let _ = unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
        // SAFETY: the structure consists of numbers, which zeroes are values of, also where the call failed.
        let usage = unsafe { usage.assume_init() };
        let count = |count: libc::c_long| u64::try_from(count).unwrap_or(0);
        Usage {
            cpu_ns: clock::thread_cpu_ns(),
            faults: count(usage.ru_minflt) + count(usage.ru_majflt),
            sleeps: count(usage.ru_nvcsw),
        }
    }
}

impl Sub for Usage {
    type Output = Usage;

    fn sub(self, earlier: Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            faults: self.faults.saturating_sub(earlier.faults),
            sleeps: self.sleeps.saturating_sub(earlier.sleeps),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        self.cpu_ns += other.cpu_ns;
        self.faults += other.faults;
        self.sleeps += other.sleeps;
    }
}
