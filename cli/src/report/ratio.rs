//! How much of another rival's time a rival takes, and how sure that is.
//!
//! Owns the pairing of rounds, and the words for what comes of it. Uses `statistics`; every form of report shows it.
//!
//! In each round both rivals were visited once by the same process, within a few minutes at most: what the machine did
//! meanwhile it did to both. So the ratio is taken in each round, and the median of these is reported, with the interval
//! of the sign test (`statistics::of_median`). That takes the rounds to be independent, and nothing else. Each interval
//! stands for itself: of twenty about one misses what it is of.

use crate::bench::{Clock, Figure, Row};
use crate::rival::Absence;
use crate::statistics::{CONFIDENCE, Interval, TooFew, median, of_median};

/// A ratio of two rivals' figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The median of the rounds.
    pub value: f64,
    pub interval: Result<Interval, TooFew>,
}

impl Ratio {
    /// The figure of `row` over that of `other`, in the rounds that have both above 0; `None` if none has.
    pub fn of(row: &Row, other: &Row, figure: Figure) -> Option<Ratio> {
        let pairs = row.figures.of(figure).zip(other.figures.of(figure));
        let logarithms: Vec<f64> = pairs
            .filter_map(|(own, other)| Some((own?, other?)))
            .filter(|(own, other)| *own > 0.0 && *other > 0.0)
            .map(|(own, other)| (own / other).ln())
            .collect();
        Some(Ratio {
            value: median(logarithms.iter().copied())?.exp(),
            interval: of_median(&logarithms, CONFIDENCE).map(Interval::exp),
        })
    }

    /// The ratio of a row's time, by its clock, to that of the first hugepool rival of its group of the same kind (for
    /// tasks, or not); `None` for that row itself.
    pub fn in_group(row: &Row, group: &[&Row]) -> Option<Ratio> {
        let reference = reference(group, row)?;
        if reference.rival == row.rival {
            return None;
        }
        Ratio::of(row, reference, row.clock.figure())
    }

    /// Both ends of the interval, for a cell.
    pub fn bounds(&self) -> Option<String> {
        let interval = self.interval.ok()?;
        Some(format!("{:.2}-{:.2}", interval.low, interval.high))
    }

    /// What must not be overlooked.
    pub fn note(&self) -> Option<&'static str> {
        match self.interval {
            Ok(interval) => interval.contains(1.0).then_some("no difference"),
            Err(TooFew { .. }) => Some("too few rounds"),
        }
    }

    /// The ratio in a sentence, with its interval, or with why it has none or means nothing.
    pub fn in_words(&self) -> String {
        let beside = match self.note() {
            Some(note) => note.to_owned(),
            None => self.bounds().unwrap_or_default(),
        };
        format!("{:.2} ({beside})", self.value)
    }
}

/// What a row's ratio refers to.
pub fn reference<'r>(group: &[&'r Row], row: &Row) -> Option<&'r Row> {
    let of_kind = |other: &&&Row| {
        other.rival.is_hugepool() && other.rival.is_for_tasks() == row.rival.is_for_tasks()
    };
    group.iter().find(of_kind).copied()
}

/// A row's ratio, or that of the reference to itself, for a cell.
pub fn cell(row: &Row, group: &[&Row], ratio: Option<&Ratio>) -> Option<String> {
    let is_reference = reference(group, row).is_some_and(|other| other.rival == row.rival);
    let of_itself = is_reference && row.median(row.clock.figure()).is_some();
    let value = ratio.map(|ratio| ratio.value);
    let value = value.or_else(|| of_itself.then_some(1.0))?;
    Some(format!("{value:.2}"))
}

/// Whether and why a row's figures are to be taken with care, or why it has none: for a cell, empty if there is nothing to
/// say.
pub fn notes(row: &Row, ratio: Option<&Ratio>) -> String {
    let failed = matches!(row.absence, Some(Absence::Failed(_))).then_some("failed");
    let words: Vec<String> = ratio
        .and_then(Ratio::note)
        .into_iter()
        .chain(row.is_noisy().then_some("noisy"))
        .chain(failed)
        .map(str::to_owned)
        .chain(row.refusal())
        .collect();
    words.join(", ")
}

/// Which rivals refuse these buffers: for the patterns whose rows have no cell for notes.
pub fn refusals(rows: &[&Row]) -> impl Iterator<Item = String> {
    rows.iter()
        .filter_map(|row| Some(format!("{} {}", row.rival, row.refusal()?)))
}

/// What ratio, interval and notes are, for the head of a report.
pub fn explained(rounds: usize) -> String {
    let interval = match of_median(&vec![0.0; rounds], CONFIDENCE) {
        Ok(interval) => format!(
            "interval: of the sign test over these, {:.1} % sure",
            100.0 * interval.coverage
        ),
        Err(TooFew { needed }) => {
            format!(
                "interval: none, which takes {needed} rounds to be {:.0} % sure",
                100.0 * CONFIDENCE
            )
        }
    };
    format!(
        "ratio: the time of an operation over that of the first hugepool rival, in the median of the rounds' ratios; \
         {interval}; no difference: it includes 1; of: the time that is meant, {} or, where threads outnumber processors, \
         {}; noisy: in more than half of the rounds the workers had less than 80 % of the processors that they could have \
         used, and did not sleep",
        Clock::Wall.as_str(),
        Clock::Cpu.as_str()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Pattern;
    use crate::report::made;
    use crate::rival::Name;

    fn row(rival: Name, rounds: &[Option<f64>]) -> Row {
        let group = made::group(Pattern::Same, 4096);
        made::row(rival, &group, Figure::NsPerOp, rounds)
    }

    /// The machine is twice as slow from the fourth round on. The medians of the two are as 20 to 30.
    #[test]
    fn rounds_are_compared_in_pairs() {
        let pool = row(
            Name::Hugepool,
            &[10.0, 10.0, 10.0, 20.0, 20.0, 20.0, 20.0].map(Some),
        );
        let mut other = [15.0, 15.0, 15.0, 30.0, 30.0, 30.0, 36.0].map(Some);
        let ratio =
            Ratio::in_group(&row(Name::Glibc, &other), &[&pool]).expect("both were measured");
        assert!((ratio.value - 1.5).abs() < 1e-9);
        let interval = ratio.interval.expect("seven rounds are enough");
        assert!((interval.low - 1.5).abs() < 1e-9 && (interval.high - 1.8).abs() < 1e-9);
        assert_eq!(interval.coverage, 1.0 - 2.0 / 128.0);
        assert_eq!(
            (ratio.note(), ratio.bounds().as_deref()),
            (None, Some("1.50-1.80"))
        );
        assert_eq!(ratio.in_words(), "1.50 (1.50-1.80)");

        // A round without a value has no ratio; with two of them there are too few.
        other[0] = None;
        other[5] = Some(0.0);
        let ratio =
            Ratio::in_group(&row(Name::Glibc, &other), &[&pool]).expect("some were measured");
        assert_eq!(ratio.interval, Err(TooFew { needed: 6 }));
        assert_eq!(ratio.in_words(), "1.50 (too few rounds)");
        let none = row(Name::Glibc, &[None; 7]);
        assert_eq!(Ratio::in_group(&none, &[&pool]), None);
    }

    #[test]
    fn an_interval_that_includes_1_is_no_difference() {
        let pool = row(Name::Hugepool, &[Some(10.0); 6]);
        let other = row(Name::Glibc, &[12.0, 9.0, 13.0, 14.0, 12.0, 13.0].map(Some));
        let ratio = Ratio::in_group(&other, &[&pool]).expect("both were measured");
        assert_eq!(notes(&other, Some(&ratio)), "no difference");
    }

    #[test]
    fn a_ratio_is_to_the_first_pool_of_the_same_kind_and_none_to_itself() {
        let rows = [
            Name::Glibc,
            Name::HugepoolClass,
            Name::HugepoolRaw,
            Name::HugepoolTasks,
            Name::Semaphore,
        ]
        .map(|name| row(name, &[Some(1.0); 6]));
        let group: Vec<&Row> = rows.iter().collect();
        let names = group
            .iter()
            .map(|row| reference(&group, row).map(|other| other.rival));
        let (class, tasks) = (Some(Name::HugepoolClass), Some(Name::HugepoolTasks));
        assert_eq!(
            names.collect::<Vec<_>>(),
            [class, class, class, tasks, tasks]
        );
        assert_eq!(
            reference(&group[..1], group[0]).map(|other| other.rival),
            None
        );
        assert_eq!(Ratio::in_group(group[1], &group), None);
        assert!(Ratio::in_group(group[2], &group).is_some());
    }

    #[test]
    fn the_head_says_how_sure_an_interval_is_or_that_there_is_none() {
        assert!(explained(9).contains("96.1 % sure"), "{}", explained(9));
        assert!(explained(5).contains("takes 6 rounds"), "{}", explained(5));
    }
}
