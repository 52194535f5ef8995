//! The rounds of one figure, summed up.
//!
//! Owns the five numbers and the median. The rows of a report have one for each figure.

/// The least and the largest of some values, and what cuts them into quarters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub least: f64,
    pub lower: f64,
    pub median: f64,
    pub upper: f64,
    pub most: f64,
}

impl Spread {
    /// Quartiles lie between two values where the quarters do, in proportion. `None` without a value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |part: f64| {
            let place = part * last as f64;
            let below = place.floor() as usize;
            let above = (below + 1).min(last);
            values[below] + (values[above] - values[below]) * place.fract()
        };
        Some(Spread {
            least: values[0],
            lower: at(0.25),
            median: at(0.5),
            upper: at(0.75),
            most: values[last],
        })
    }
}

/// The middle value, or the mean of the middle two.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median([]), None);
        assert_eq!(median([7.0]), Some(7.0));
        assert_eq!(median([9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median([4.0, 1.0, 9.0, 2.0]), Some(3.0));
    }

    #[test]
    fn quartiles_lie_where_the_quarters_do() {
        let spread = |least, lower, median, upper, most| Spread {
            least,
            lower,
            median,
            upper,
            most,
        };
        assert_eq!(Spread::of([3.0]), Some(spread(3.0, 3.0, 3.0, 3.0, 3.0)));
        let five = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(five, Some(spread(1.0, 2.0, 3.0, 4.0, 5.0)));
        let four = Spread::of([8.0, 0.0, 4.0, 12.0]);
        assert_eq!(four, Some(spread(0.0, 3.0, 6.0, 9.0, 12.0)));
        let two = Spread::of([2.0, 1.0]);
        assert_eq!(two, Some(spread(1.0, 1.25, 1.5, 1.75, 2.0)));
    }
}
