//! What a holder does with its buffer.
//!
//! Owns the calibrated work: a number of iterations, measured once for the process. A worker that is interrupted in
//! the middle has still the rest of its iterations to do, so the processor time of the work is the same for every
//! rival; a worker that watched a clock would count the time of others as its own work. Uses the clock of std; the
//! threads and tasks of this pattern hold with it.

use std::hint::black_box;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::shape::Hold;

/// A hold, ready to be carried out.
#[derive(Debug, Clone, Copy)]
pub enum Holding {
    Nothing,
    Computing { iterations: u64 },
    Asleep(Duration),
}

impl Holding {
    /// Turns the time of a shape into iterations.
    pub fn new(hold: Hold) -> Holding {
        match hold {
            Hold::Nothing => Holding::Nothing,
            Hold::Computing(time) => Holding::Computing {
                iterations: (time.as_nanos() as f64 * iterations_per_ns()) as u64,
            },
            Hold::Asleep(time) => Holding::Asleep(time),
        }
    }

    /// Holds on the calling thread.
    #[inline]
    pub fn hold(self) {
        match self {
            Holding::Nothing => {}
            Holding::Computing { iterations } => compute(iterations),
            Holding::Asleep(time) => thread::sleep(time),
        }
    }
}

/// Each iteration needs the result of the one before, so the time is proportional to their number.
#[inline(never)]
pub fn compute(iterations: u64) {
    let mut state = black_box(0x9e37_79b9_7f4a_7c15_u64);
    for _ in 0..iterations {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state);
}

/// Iterations that take a nanosecond, as measured the first time that somebody asks.
fn iterations_per_ns() -> f64 {
    static MEASURED: OnceLock<f64> = OnceLock::new();
    *MEASURED.get_or_init(|| {
        const ITERATIONS: u64 = 20_000;
        const TRIES: u32 = 300;
        // The fastest try is the one that nothing interrupted. The first ones also wake the processor up.
        let fastest = (0..TRIES)
            .map(|_| {
                let start = Instant::now();
                compute(ITERATIONS);
                start.elapsed()
            })
            .min()
            .unwrap_or_default();
        ITERATIONS as f64 / (fastest.as_nanos() as f64).max(1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_work_is_more_iterations() {
        let iterations = |micros| match Holding::new(Hold::Computing(Duration::from_micros(micros)))
        {
            Holding::Computing { iterations } => iterations,
            other => panic!("{other:?} is no work"),
        };
        assert!(iterations(5) > 0);
        assert!(iterations(200) > 10 * iterations(5));
    }
}
