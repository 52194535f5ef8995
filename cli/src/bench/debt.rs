//! Work that a rival does besides.
//!
//! Owns the doing of it. Only trials of the benchmark itself ask for it (`--handicap`): they must find it. The workers'
//! loops do it.

use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::clock;

/// The extra work of a handicapped rival: it is done between batches of operations, so that none of these is another
/// one than without, and is measured by the thread's own processor time, so that nobody else's is taken for it.
#[derive(Debug)]
pub struct Debt<'p> {
    percent: u64,
    /// The thread's processor time at the end of the last payment.
    paid_up_to: u64,
    /// When that was.
    last: Instant,
    /// What all payments cost, of all workers.
    paid: &'p AtomicU64,
}

impl<'p> Debt<'p> {
    pub fn new(percent: u32, paid: &'p AtomicU64) -> Debt<'p> {
        Debt {
            percent: percent.into(),
            paid_up_to: clock::thread_cpu_ns(),
            last: Instant::now(),
            paid,
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

    /// What is owed for the processor time up to `now`, in nanoseconds.
    fn due(&self, now: u64) -> u64 {
        now.saturating_sub(self.paid_up_to) * self.percent / 100
    }

    /// Computes for the percentage of the processor time since the last payment.
    #[cold]
    fn pay(&mut self) {
        let start = clock::thread_cpu_ns();
        let due = self.due(start);
        while clock::thread_cpu_ns().saturating_sub(start) < due {
            hint::spin_loop();
        }
        self.paid_up_to = clock::thread_cpu_ns();
        // A sum that is read when the workers have reported.
        self.paid
            .fetch_add(self.paid_up_to - start, Ordering::Relaxed);
        self.last = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_is_paid_with_processor_time_in_proportion() {
        let paid = AtomicU64::new(0);
        let mut debt = Debt::new(300, &paid);
        assert_eq!(debt.due(debt.paid_up_to + 1_000), 3_000);
        let work = debt.paid_up_to + 2_000_000;
        while clock::thread_cpu_ns() < work {
            hint::spin_loop();
        }
        // It is long ago.
        debt.pay_in_time();
        let first = paid.load(Ordering::Relaxed);
        assert!(first >= 3 * 2_000_000, "{first}");
        // What was paid is not owed again.
        assert!(debt.paid_up_to >= work + first);
        assert_eq!(debt.due(debt.paid_up_to), 0);
    }
}
