//! How two samples from one distribution mix.
//!
//! Owns the lower tail of the distribution of Mann and Whitney's U: of all pairs of a value of one sample and a value of
//! the other, those in which the second is the smaller one. `shift` chooses its bounds by it.

/// Up to this number of values in each sample the distribution is counted out; above it, it is as good as normal.
const COUNTED: usize = 50;

/// The largest u with P(U ≤ u) of no more than `tail`, and that probability; `None` if even P(U = 0) is more.
pub fn lower_tail(first: usize, second: usize, tail: f64) -> Option<(usize, f64)> {
    if first == 0 || second == 0 {
        return None;
    }
    if first.max(second) > COUNTED {
        return normal_tail(first, second, tail);
    }
    let mut found = None;
    let mut so_far = 0.0;
    for (u, exactly) in distribution(first, second).into_iter().enumerate() {
        so_far += exactly;
        if so_far > tail {
            break;
        }
        found = Some((u, so_far));
    }
    found
}

/// P(U = u) for each u. The largest value is one of the first sample or of the second: without it, what is left is a
/// smaller case of the same, in which U is smaller by the size of the second sample, or is what it was.
fn distribution(first: usize, second: usize) -> Vec<f64> {
    // By the size of the first sample, for a size of the second that grows.
    let mut rows: Vec<Vec<f64>> = vec![vec![1.0]; first + 1];
    for n in 1..=second {
        let mut grown: Vec<Vec<f64>> = Vec::with_capacity(first + 1);
        grown.push(vec![1.0]);
        for m in 1..=first {
            let part = m as f64 / (m + n) as f64;
            let chance: Vec<f64> = (0..=m * n)
                .map(|u| {
                    let of_first = u.checked_sub(n).and_then(|u| grown[m - 1].get(u));
                    let of_second = rows[m].get(u);
                    part * of_first.copied().unwrap_or(0.0)
                        + (1.0 - part) * of_second.copied().unwrap_or(0.0)
                })
                .collect();
            grown.push(chance);
        }
        rows = grown;
    }
    rows.swap_remove(first)
}

/// The same from the normal distribution with U's mean and variance.
fn normal_tail(first: usize, second: usize, tail: f64) -> Option<(usize, f64)> {
    let (m, n) = (first as f64, second as f64);
    let mean = m * n / 2.0;
    let deviation = (m * n * (m + n + 1.0) / 12.0).sqrt();
    // By halves, as the probability grows with u.
    let chance = |u: usize| below((u as f64 + 0.5 - mean) / deviation);
    if chance(0) > tail {
        return None;
    }
    let (mut good, mut bad) = (0, first * second);
    while good + 1 < bad {
        let middle = usize::midpoint(good, bad);
        if chance(middle) <= tail {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Some((good, chance(good)))
}

/// How much of the normal distribution lies below a place left of its middle: its density, times a continued fraction
/// far out (Laplace's), or integrated where that converges slowly.
fn below(place: f64) -> f64 {
    let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let out = -place;
    if out > 3.0 {
        let fraction = (1..=60).rev().fold(out, |sum, k| out + f64::from(k) / sum);
        return density(out) / fraction;
    }
    // Simpson's rule from the middle.
    const STEPS: u32 = 400;
    let width = out / f64::from(STEPS);
    let sum: f64 = (0..=STEPS)
        .map(|step| {
            let weight = match step {
                0 | STEPS => 1.0,
                odd if odd % 2 == 1 => 4.0,
                _ => 2.0,
            };
            weight * density(f64::from(step) * width)
        })
        .sum();
    0.5 - sum * width / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 3 and 2 values there are ten mixtures, with 0 to 6 inversions: 1, 1, 2, 2, 2, 1, 1 of them.
    #[test]
    fn small_cases_are_those_counted_by_hand() {
        let counts: Vec<u32> = distribution(3, 2)
            .into_iter()
            .map(|chance| (chance * 10.0).round() as u32)
            .collect();
        assert_eq!(counts, [1, 1, 2, 2, 2, 1, 1]);
        assert_eq!(distribution(1, 1), [0.5, 0.5]);
    }

    /// The critical values that books print for 5 % on both sides together.
    #[test]
    fn critical_values_are_those_of_the_tables() {
        for (first, second, u) in [(4, 4, 0), (5, 5, 2), (8, 8, 13), (10, 10, 23), (7, 12, 18)] {
            let found = lower_tail(first, second, 0.025).map(|(u, _)| u);
            assert_eq!(found, Some(u), "{first} and {second}");
        }
        assert_eq!(lower_tail(3, 3, 0.025), None);
        assert_eq!(lower_tail(0, 9, 0.025), None);
    }

    #[test]
    fn the_whole_distribution_is_one_and_symmetric() {
        let chances = distribution(9, 14);
        assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let mirrored = chances.iter().zip(chances.iter().rev());
        assert!(mirrored.into_iter().all(|(a, b)| (a - b).abs() < 1e-15));
    }

    #[test]
    fn the_normal_distribution_follows_where_counting_ends() {
        for tail in [0.025, 1e-4] {
            let counted = lower_tail(COUNTED, COUNTED, tail).expect("enough").0 as f64;
            let normal = normal_tail(COUNTED, COUNTED, tail).expect("enough").0 as f64;
            assert!(
                (counted - normal).abs() <= 0.02 * counted,
                "{counted} {normal}"
            );
        }
        for (place, part) in [
            (0.0, 0.5),
            (-1.0, 0.158_655),
            (-1.959_964, 0.025),
            (-4.0, 3.167_12e-5),
        ] {
            let found = below(place);
            assert!((found - part).abs() <= 1e-5 * part, "{place}: {found}");
        }
    }
}
