//! What a few rounds say, and how far it is to be believed.
//!
//! Owns the summing up of rounds ([`Spread`]) and two intervals, both free of any assumption about the distribution:
//! [`of_median`] for what was measured in pairs, [`of_shift`] for two runs that have nothing in common but what they
//! measure. Uses nothing. The reports use it for ratios within a run, `compare` for two runs.
//!
//! An interval is made for a confidence that is asked for, and says the one that it has, which is at least as much.
//! Where there are too few rounds for it there is none: [`TooFew`] says how many it takes.

mod ranks;
mod shift;
mod sign;
mod spread;

pub use shift::of_shift;
pub use sign::of_median;
pub use spread::{Spread, median};

/// The confidence of an interval that stands for itself.
pub const CONFIDENCE: f64 = 0.95;

/// Where a value lies, with a certain confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    /// The estimate: within the interval.
    pub middle: f64,
    pub high: f64,
    /// In what part of all cases the value lies in such an interval, at least.
    pub coverage: f64,
}

impl Interval {
    /// Whether the value may be this one.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Of logarithms the interval of what they are logarithms of.
    pub fn exp(self) -> Interval {
        Interval {
            low: self.low.exp(),
            middle: self.middle.exp(),
            high: self.high.exp(),
            ..self
        }
    }
}

/// There are too few rounds for an interval of the confidence asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFew {
    /// So many rounds would be enough (in each of two runs).
    pub needed: usize,
}
