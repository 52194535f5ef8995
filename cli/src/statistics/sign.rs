//! The interval of a median, from the order of the values alone.
//!
//! Owns the choice of the two values that bound it. The reports use it for the ratios of paired rounds.
//!
//! Each of n independent values lies below the median of what they are drawn from with probability ½, so the number of
//! those that do has a binomial distribution. The k-th smallest value lies above the median only if fewer than k values
//! lie below it, and the k-th largest likewise: between the two lies the median with probability 1 − 2 P(B(n, ½) < k),
//! whatever the distribution is. (It is the interval that belongs to the sign test.) The interval is the narrowest of
//! these that has the confidence asked for.

use super::{Interval, TooFew, median};

/// The interval of the median of what `values` are drawn from.
pub fn of_median(values: &[f64], confidence: f64) -> Result<Interval, TooFew> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let missed = 1.0 - confidence;
    let (rank, outside) = rank(sorted.len(), missed).ok_or_else(|| TooFew {
        needed: needed(missed),
    })?;
    Ok(Interval {
        low: sorted[rank - 1],
        middle: median(sorted.iter().copied()).unwrap_or(f64::NAN),
        high: sorted[sorted.len() - rank],
        coverage: 1.0 - outside,
    })
}

/// The largest k for which the k-th smallest and the k-th largest value miss the median with no more than this
/// probability, and the probability; `None` if they do even for k = 1.
fn rank(count: usize, missed: f64) -> Option<(usize, f64)> {
    let mut found = None;
    // P(B = 0), then P(B = k).
    let mut exactly = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let mut fewer = 0.0;
    for below in 0..count.div_ceil(2) {
        fewer += exactly;
        if 2.0 * fewer > missed {
            break;
        }
        found = Some((below + 1, 2.0 * fewer));
        exactly *= (count - below) as f64 / (below + 1) as f64;
    }
    found
}

/// The least number of values of which the smallest and the largest are such an interval.
fn needed(missed: f64) -> usize {
    (1..64)
        .find(|count| rank(*count, missed).is_some())
        .unwrap_or(64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Random;
    use crate::statistics::CONFIDENCE;

    /// 1 to n: the value is the rank.
    fn ranks(count: usize) -> Result<(usize, usize, f64), TooFew> {
        let values: Vec<f64> = (1..=count).rev().map(|value| value as f64).collect();
        let interval = of_median(&values, CONFIDENCE)?;
        Ok((
            interval.low as usize,
            interval.high as usize,
            interval.coverage,
        ))
    }

    /// The table in books on the sign test.
    #[test]
    fn the_bounds_are_those_of_the_binomial_distribution() {
        assert_eq!(ranks(6), Ok((1, 6, 1.0 - 2.0 / 64.0)));
        assert_eq!(ranks(8), Ok((1, 8, 1.0 - 2.0 / 256.0)));
        assert_eq!(ranks(9), Ok((2, 8, 1.0 - 20.0 / 512.0)));
        assert_eq!(ranks(10), Ok((2, 9, 1.0 - 22.0 / 1024.0)));
        let (low, high, coverage) = ranks(20).expect("there are many");
        assert_eq!((low, high), (6, 15));
        assert!((coverage - 0.9586).abs() < 5e-5, "{coverage}");
    }

    #[test]
    fn fewer_than_six_rounds_have_no_interval_and_it_is_said() {
        for count in 0..6 {
            assert_eq!(ranks(count), Err(TooFew { needed: 6 }), "{count}");
        }
        let five = of_median(&[1.0; 5], 0.9).map(|interval| interval.coverage);
        assert_eq!(five, Ok(1.0 - 2.0 / 32.0), "of 90 % five are enough");
    }

    /// Of a thousand rounds the bounds lie at 500 ± 0.98 √1000, as the normal distribution has it.
    #[test]
    fn many_rounds_come_close_to_the_normal_distribution() {
        let (low, high, coverage) = ranks(1000).expect("there are many");
        assert_eq!((low, high), (469, 532));
        assert!((0.95..0.96).contains(&coverage), "{coverage}");
    }

    /// Of skewed values with a few that lie far out, drawn 20,000 times: as often as it says, within what chance leaves.
    #[test]
    fn the_median_is_covered_as_often_as_is_said_whatever_the_distribution() {
        let mut random = Random::new(7);
        for count in [6, 9, 15] {
            let mut covered = 0;
            let mut said = 0.0;
            const TIMES: u32 = 20_000;
            for _ in 0..TIMES {
                let values: Vec<f64> = (0..count)
                    .map(|_| {
                        let part = random.part();
                        // The median is 1; the tail has no mean.
                        part / (1.0 - part)
                    })
                    .collect();
                let interval = of_median(&values, CONFIDENCE).expect("enough");
                covered += u32::from(interval.contains(1.0));
                said = interval.coverage;
            }
            let share = f64::from(covered) / f64::from(TIMES);
            // Four standard deviations.
            let chance = 4.0 * (said * (1.0 - said) / f64::from(TIMES)).sqrt();
            assert!(
                (share - said).abs() < chance,
                "{count}: {share}, not {said}"
            );
        }
    }
}
