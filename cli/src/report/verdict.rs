//! Where this pool wins and where it loses.
//!
//! Owns which rows are compared, and what a comparison comes to. Uses the rows of `bench`, `ratio` for how sure it is,
//! `kind` and `measure`; the top of the page shows it.
//!
//! In each group the pool stands with its first row there, as the ratios of the tables have it, and not with the best of
//! its forms. It is compared with the best general allocator, and with the best other pool; tasks with tasks, threads
//! with threads. Baselines are no rivals, and a row that failed is none either: what it did not do takes no time.

use super::kind::Kind;
use super::measure::{self, Measure};
use super::ratio::{self, Ratio};
use crate::bench::Row;

/// This pool against the best rival of one kind in one group.
#[derive(Debug)]
pub struct Comparison<'r> {
    pub own: &'r Row,
    pub kind: Kind,
    pub measure: Measure,
    /// The best of those that did not fail.
    pub best: Option<Best<'r>>,
    /// Those of the kind that failed in this group.
    pub failed: Vec<&'r Row>,
    pub outcome: Outcome,
}

/// The best rival, and how much more of the time it takes than this pool does.
#[derive(Debug)]
pub struct Best<'r> {
    pub row: &'r Row,
    /// Above 1: this pool is faster. `None`: no round has both.
    pub ratio: Option<Ratio>,
}

/// What a comparison comes to; in the order in which it is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// This pool itself failed: whatever it took, that is no time.
    Failed,
    /// The whole interval says that the rival is faster.
    Loses,
    /// It cannot be told.
    Unsure(Why),
    /// The interval includes 1.
    NoDifference,
    /// The whole interval says that this pool is faster.
    Wins,
    /// No rival of the kind has a time.
    Alone,
}

/// Why it cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Something else had the processors while one of the two was measured.
    Noisy,
    /// There is no interval.
    TooFewRounds,
    /// Nothing was measured of this pool, or never in the same round.
    NotMeasured,
}

impl Outcome {
    /// Whether the ratio's interval was asked.
    pub fn is_judged(self) -> bool {
        matches!(
            self,
            Outcome::Loses | Outcome::NoDifference | Outcome::Wins | Outcome::Unsure(Why::Noisy)
        )
    }
}

/// All comparisons: failures and losses first, the worst first; then what is not sure or no difference; then the wins.
/// Where it is in doubt, those come first in which this pool looks slower.
pub fn comparisons(rows: &[Row]) -> Vec<Comparison<'_>> {
    let mut all: Vec<Comparison<'_>> = Vec::new();
    for group in groups(rows.iter()) {
        for for_tasks in [false, true] {
            let of_kind = group
                .iter()
                .copied()
                .filter(|row| row.rival.is_for_tasks() == for_tasks);
            let rows: Vec<&Row> = of_kind.collect();
            compare(&rows, &mut all);
        }
    }
    // Of losses and wins the largest first; what is in doubt from the slowest to the fastest. What has no ratio comes last.
    let distance = |comparison: &Comparison<'_>| {
        let ratio = comparison.best.as_ref().and_then(|best| best.ratio);
        let log = ratio.map_or(f64::NEG_INFINITY, |ratio| -ratio.value.ln());
        match comparison.outcome {
            Outcome::Wins => -log,
            _ => log,
        }
    };
    let order = |outcome: Outcome| match outcome {
        Outcome::Failed => 0,
        Outcome::Loses => 1,
        Outcome::Unsure(_) => 2,
        Outcome::NoDifference => 3,
        Outcome::Wins => 4,
        Outcome::Alone => 5,
    };
    all.sort_by(|a, b| {
        order(a.outcome)
            .cmp(&order(b.outcome))
            .then(distance(b).total_cmp(&distance(a)))
    });
    all
}

/// Rows that are compared with each other, in the order of their first appearance.
pub fn groups<'r>(rows: impl Iterator<Item = &'r Row>) -> Vec<Vec<&'r Row>> {
    let key = |row: &Row| (row.pattern, row.shape, row.size, row.threads);
    let mut groups: Vec<Vec<&'r Row>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| key(group[0]) == key(row)) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

fn compare<'r>(group: &[&'r Row], all: &mut Vec<Comparison<'r>>) {
    let Some(own) = group
        .first()
        .and_then(|first| ratio::reference(group, first))
    else {
        return;
    };
    for kind in [Kind::General, Kind::Pool] {
        let of_kind = group
            .iter()
            .copied()
            .filter(|row| Kind::of(row.rival) == kind);
        let (sound, failed): (Vec<&Row>, Vec<&Row>) =
            of_kind.partition(|row| row.fault().is_none());
        if sound.is_empty() && failed.is_empty() {
            continue;
        }
        for measure in measure::compared(own.pattern, own.clock) {
            let best = best(own, &sound, measure);
            all.push(Comparison {
                own,
                kind,
                measure,
                outcome: outcome(own, best.as_ref()),
                best,
                failed: failed.clone(),
            });
        }
    }
}

fn best<'r>(own: &Row, rivals: &[&'r Row], measure: Measure) -> Option<Best<'r>> {
    let measured = rivals
        .iter()
        .filter_map(|row| Some((*row, row.median(measure.figure)?)))
        .filter(|(_, value)| *value > 0.0);
    let row = if measure.more_is_better {
        measured.max_by(|a, b| a.1.total_cmp(&b.1))
    } else {
        measured.min_by(|a, b| a.1.total_cmp(&b.1))
    };
    let (row, _) = row?;
    let (over, under) = if measure.more_is_better {
        (own, row)
    } else {
        (row, own)
    };
    Some(Best {
        row,
        ratio: Ratio::of(over, under, measure.figure),
    })
}

fn outcome(own: &Row, best: Option<&Best<'_>>) -> Outcome {
    if own.fault().is_some() {
        return Outcome::Failed;
    }
    let Some(best) = best else {
        return Outcome::Alone;
    };
    let Some(ratio) = best.ratio else {
        return Outcome::Unsure(Why::NotMeasured);
    };
    let Ok(interval) = ratio.interval else {
        return Outcome::Unsure(Why::TooFewRounds);
    };
    if own.is_noisy() || best.row.is_noisy() {
        Outcome::Unsure(Why::Noisy)
    } else if interval.contains(1.0) {
        Outcome::NoDifference
    } else if interval.low > 1.0 {
        Outcome::Wins
    } else {
        Outcome::Loses
    }
}
