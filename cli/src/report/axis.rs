//! A logarithmic axis that several pictures share.
//!
//! Owns its bounds, its ticks, and the place of a value on it, in percent of a picture's width. The pictures of the page
//! use it.
//!
//! Bounds are values of 1, 2 or 5 times a power of ten. No picture draws a length from the left end: that end is no
//! origin, so values are dots, and only their places compare.

use std::cmp::Ordering;
use std::fmt::Write;

use super::words::escape;

/// What of the width is left free at both ends, in percent, so that a mark there is whole.
const MARGIN: f64 = 2.5;
/// So many labels have room where pictures are narrowest.
const LABELS: usize = 6;

/// A logarithmic axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Decimal logarithms.
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Axis {
    /// Around all values above 0; `None` without one.
    pub fn over(values: impl IntoIterator<Item = f64>) -> Option<Axis> {
        let positive = values
            .into_iter()
            .filter(|value| *value > 0.0 && value.is_finite());
        let (least, most) = positive.fold(None, |range, value| match range {
            None => Some((value, value)),
            Some((least, most)) => Some((f64::min(least, value), f64::max(most, value))),
        })?;
        let (first, mut last) = (rung_below(least), rung_above(most));
        if last <= first {
            last = first + 1;
        }
        let rungs: Vec<i32> = (first..=last).collect();
        Some(Axis {
            from: rung(first).log10(),
            to: rung(last).log10(),
            ticks: labelled(&rungs).into_iter().map(rung).collect(),
        })
    }

    /// The place of a value, in percent; what lies outside is at the end.
    pub fn place(&self, value: f64) -> f64 {
        let log = value.max(f64::MIN_POSITIVE).log10();
        let part = ((log - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        MARGIN + part * (100.0 - 2.0 * MARGIN)
    }

    /// Whether a value lies beyond an end: `Less` or `Greater`.
    pub fn side(&self, value: f64) -> Ordering {
        match value.log10() {
            log if log < self.from => Ordering::Less,
            log if log > self.to => Ordering::Greater,
            _ => Ordering::Equal,
        }
    }

    /// The values that have a line and a label, ascending.
    pub fn ticks(&self) -> &[f64] {
        &self.ticks
    }

    /// The lines behind the marks of one row.
    pub fn grid(&self) -> String {
        let mut svg = String::new();
        for tick in &self.ticks {
            // Writing to a string cannot fail.
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{0:.1}%\" x2=\"{0:.1}%\" y1=\"0\" y2=\"100%\"/>",
                self.place(*tick)
            );
        }
        svg
    }

    /// The labels below the last row.
    pub fn labels(&self, show: impl Fn(f64) -> String) -> String {
        let mut svg = String::new();
        for tick in &self.ticks {
            // Writing to a string cannot fail.
            let _ = write!(
                svg,
                "<text x=\"{:.1}%\" y=\"12\" text-anchor=\"middle\">{}</text>",
                self.place(*tick),
                escape(&show(*tick))
            );
        }
        svg
    }
}

/// 1, 2 and 5 times each power of ten, by numbers: 0 is 1, 1 is 2, 3 is 10, -1 is 0.5.
fn rung(number: i32) -> f64 {
    let power = 10_f64.powi(number.div_euclid(3));
    [1.0, 2.0, 5.0][number.rem_euclid(3) as usize] * power
}

/// The last one that is not above the value.
fn rung_below(value: f64) -> i32 {
    let decade = 3 * value.log10().floor() as i32;
    // A logarithm is rounded: the value may belong to a decade beside.
    (decade - 3..=decade + 3)
        .rev()
        .find(|number| rung(*number) <= value)
        .unwrap_or(decade)
}

/// The first one that is not below the value.
fn rung_above(value: f64) -> i32 {
    let below = rung_below(value);
    if rung(below) < value {
        below + 1
    } else {
        below
    }
}

/// Which of the rungs have lines and labels: all of them if there is room, else powers of ten, else some of these.
fn labelled(rungs: &[i32]) -> Vec<i32> {
    if rungs.len() <= LABELS {
        return rungs.to_vec();
    }
    let powers: Vec<i32> = rungs
        .iter()
        .copied()
        .filter(|number| number.rem_euclid(3) == 0)
        .collect();
    let step = powers.len().div_ceil(LABELS) as i32;
    powers
        .into_iter()
        .filter(|number| number.div_euclid(3).rem_euclid(step) == 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(values: &[f64]) -> Axis {
        Axis::over(values.iter().copied()).expect("there are values")
    }

    fn ticks(values: &[f64]) -> Vec<f64> {
        over(values).ticks
    }

    #[test]
    fn an_axis_begins_and_ends_at_ones_twos_and_fives_and_covers_its_values() {
        assert_eq!(ticks(&[3.0, 45.0]), [2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(ticks(&[0.97]), [0.5, 1.0]);
        assert_eq!(ticks(&[1.0]), [1.0, 2.0]);
        for values in [[3.0, 250.0], [1.0, 1000.0], [0.02, 0.021], [9.99, 1e9]] {
            let axis = over(&values);
            let [low, high] = values.map(|value| axis.place(value));
            assert!(MARGIN <= low && low < high && high <= 100.0 - MARGIN);
        }
        assert_eq!(Axis::over([0.0, -3.0, f64::NAN, f64::INFINITY]), None);
    }

    #[test]
    fn a_long_axis_has_no_more_labels_than_there_is_room_for() {
        assert_eq!(ticks(&[3.0, 2500.0]), [10.0, 100.0, 1000.0]);
        for decades in 1..20 {
            let count = ticks(&[1.0, 10_f64.powi(decades)]).len();
            assert!((2..=LABELS).contains(&count), "{decades}: {count}");
        }
    }

    #[test]
    fn equal_ratios_are_equal_distances() {
        let axis = over(&[1.0, 1000.0]);
        let step = |from: f64| axis.place(2.0 * from) - axis.place(from);
        assert!((step(1.0) - step(300.0)).abs() < 1e-9);
        assert_eq!(axis.place(0.001), MARGIN);
        assert_eq!(axis.place(-1.0), MARGIN);
    }
}
