//! How far one sample lies beside another.
//!
//! Owns the interval of the shift between two samples that are drawn independently, from distributions of the same
//! form. `compare` uses it for two runs of the benchmark.
//!
//! The estimate is Hodges and Lehmann's, the median of all differences between a value of the second sample and one of
//! the first. If the samples do not differ but for the shift, then the number of differences below it is distributed as
//! Mann and Whitney's U, whatever the distribution is: so the (u + 1)-th smallest and the (u + 1)-th largest difference
//! have the shift between them but with probability 2 P(U ≤ u). Few rounds allow for high confidence, which comparing
//! many rows at once takes: of 8 and 8 values the smallest and the largest difference miss it once in 6435 times.

use super::ranks::lower_tail;
use super::{Interval, TooFew, median};

/// The interval of what must be added to the first sample to make it as the second.
pub fn of_shift(first: &[f64], second: &[f64], confidence: f64) -> Result<Interval, TooFew> {
    let missed = 1.0 - confidence;
    let tail = |first, second| lower_tail(first, second, missed / 2.0);
    let (u, outside) = tail(first.len(), second.len()).ok_or_else(|| TooFew {
        needed: (1..64).find(|n| tail(*n, *n).is_some()).unwrap_or(64),
    })?;
    let mut differences: Vec<f64> = first
        .iter()
        .flat_map(|from| second.iter().map(move |to| to - from))
        .collect();
    differences.sort_by(f64::total_cmp);
    Ok(Interval {
        low: differences[u],
        middle: median(differences.iter().copied()).unwrap_or(f64::NAN),
        high: differences[differences.len() - 1 - u],
        coverage: 1.0 - 2.0 * outside,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Random;
    use crate::statistics::CONFIDENCE;

    /// Four against four: u is 0, so the interval is from the smallest to the largest of the sixteen differences.
    #[test]
    fn a_small_case_is_that_worked_out_by_hand() {
        let interval = of_shift(&[1.0, 2.0, 4.0, 8.0], &[11.0, 12.0, 14.0, 18.0], CONFIDENCE)
            .expect("four are enough");
        assert_eq!(
            (interval.low, interval.middle, interval.high),
            (3.0, 10.0, 17.0)
        );
        assert_eq!(interval.coverage, 1.0 - 2.0 / 70.0);
    }

    #[test]
    fn samples_that_are_too_small_have_no_interval_and_it_is_said() {
        let few = [1.0, 2.0, 3.0];
        assert_eq!(of_shift(&few, &few, CONFIDENCE), Err(TooFew { needed: 4 }));
        // As for three hundred rows.
        let shifted = of_shift(&[0.0; 7], &[0.0; 7], 1.0 - 0.05 / 300.0);
        assert_eq!(shifted, Err(TooFew { needed: 8 }));
        assert_eq!(of_shift(&[], &few, CONFIDENCE), Err(TooFew { needed: 4 }));
    }

    /// Of skewed samples of several sizes: as often as is said, within what chance leaves.
    #[test]
    fn the_shift_is_covered_as_often_as_is_said_whatever_the_distribution() {
        let mut random = Random::new(11);
        for (first, second) in [(5, 5), (9, 6), (15, 15)] {
            const TIMES: u32 = 10_000;
            let mut covered = 0;
            let mut said = 0.0;
            for _ in 0..TIMES {
                let mut draw = |count: usize, shift: f64| -> Vec<f64> {
                    (0..count)
                        .map(|_| shift - (1.0 - random.part()).ln())
                        .collect()
                };
                let (from, to) = (draw(first, 0.0), draw(second, 0.3));
                let interval = of_shift(&from, &to, CONFIDENCE).expect("enough");
                covered += u32::from(interval.contains(0.3));
                said = interval.coverage;
            }
            let share = f64::from(covered) / f64::from(TIMES);
            let chance = 4.0 * (said * (1.0 - said) / f64::from(TIMES)).sqrt();
            assert!(
                (share - said).abs() < chance,
                "{first}, {second}: {share}, not {said}"
            );
        }
    }
}
