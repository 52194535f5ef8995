//! Work that a rival does besides.
//!
//! Owns the doing of it. Only trials of the benchmark itself ask for it (`--handicap`): they must find it. The workers'
//! loops do it.

use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// How many debts were paid at least once, of all workers.
    payers: &'p AtomicUsize,
    has_paid: bool,
}

impl<'p> Debt<'p> {
    pub fn new(percent: u32, payers: &'p AtomicUsize) -> Debt<'p> {
        Debt {
            percent: percent.into(),
            paid_up_to: clock::thread_cpu_ns(),
            last: Instant::now(),
            payers,
            has_paid: false,
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
        if !self.has_paid {
            // Relaxed: it is read when the workers have reported.
            self.payers.fetch_add(1, Ordering::Relaxed);
            self.has_paid = true;
        }
        self.last = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_is_paid_with_processor_time_in_proportion() {
        let payers = AtomicUsize::new(0);
        let mut debt = Debt::new(300, &payers);
        let begin = debt.paid_up_to;
        assert_eq!(debt.due(begin + 1_000), 3_000);
        while clock::thread_cpu_ns() < begin + 2_000_000 {
            hint::spin_loop();
        }
        // It is long ago.
        debt.pay_in_time();
        let used = debt.paid_up_to - begin;
        assert!(used >= 4 * 2_000_000, "{used}");
        // What was paid is not owed again.
        assert_eq!(debt.due(debt.paid_up_to), 0);
        debt.pay();
        assert_eq!(payers.into_inner(), 1);
    }
}
