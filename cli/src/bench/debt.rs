//! Work that a rival does besides.
//!
//! Owns the doing of it. Only trials of the benchmark itself ask for it (`--handicap`): they must find it. The workers'
//! loops do it.

use std::hint;
use std::time::{Duration, Instant};

use super::clock;

/// The extra work of a handicapped rival: it is done between batches of operations, so that none of these is another
/// one than without, and is measured by the thread's own processor time, so that nobody else's is taken for it.
#[derive(Debug)]
pub struct Debt {
    percent: u64,
    /// The thread's processor time at the end of the last payment.
    paid_up_to: u64,
    /// When that was.
    last: Instant,
}

impl Debt {
    pub fn new(percent: u32) -> Debt {
        Debt {
            percent: percent.into(),
            paid_up_to: clock::thread_cpu_ns(),
            last: Instant::now(),
        }
    }

    /// Pays if the last time is so long ago that asking for the processor time costs a small part of a percent.
    #[inline]
    pub fn pay_in_time(&mut self) {
        const SELDOM: Duration = Duration::from_micros(250);
        if self.last.elapsed() >= SELDOM {
            self.pay();
        }
    }

    /// Computes for the percentage of the processor time since the last payment.
    #[cold]
    fn pay(&mut self) {
        let start = clock::thread_cpu_ns();
        let due = start.saturating_sub(self.paid_up_to) * self.percent / 100;
        while clock::thread_cpu_ns().saturating_sub(start) < due {
            hint::spin_loop();
        }
        self.paid_up_to = clock::thread_cpu_ns();
        self.last = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_is_paid_with_processor_time_in_proportion() {
        let begin = clock::thread_cpu_ns();
        let mut debt = Debt::new(300);
        let work = clock::thread_cpu_ns() + 2_000_000;
        while clock::thread_cpu_ns() < work {
            hint::spin_loop();
        }
        // It is long ago.
        debt.pay_in_time();
        let used = clock::thread_cpu_ns() - begin;
        assert!(used >= 4 * 2_000_000, "{used}");
        // What was paid is not owed again.
        let before = clock::thread_cpu_ns();
        debt.pay();
        let again = clock::thread_cpu_ns() - before;
        assert!(again < 2_000_000, "{again}");
    }
}
