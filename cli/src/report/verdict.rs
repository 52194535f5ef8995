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

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    let mut groups: Vec<Vec<&'r Row>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| group[0].is_beside(row)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Figure, Pattern};
    use crate::report::made::{self, group, lossy, noisy, row, steady};
    use crate::rival::Name;

    #[test]
    fn each_comparison_comes_to_what_its_rounds_say_and_losses_come_before_wins() {
        let same = |size| group(Pattern::Same, size);
        let pool = |size| steady(Name::Hugepool, &same(size), 10.0);
        let rival = |size, ns| steady(Name::Glibc, &same(size), ns);
        let rounds =
            |name, size, rounds: &[Option<f64>]| row(name, &same(size), Figure::NsPerOp, rounds);
        let around = [9.0, 12.0, 13.0, 9.5, 14.0, 8.0, 12.0].map(Some);
        // A size for each.
        let rows = [
            pool(1),
            rival(1, 20.0),
            pool(2),
            rival(2, 5.0),
            pool(3),
            rounds(Name::Glibc, 3, &around),
            pool(4),
            rounds(Name::Glibc, 4, &[Some(5.0); 5]),
            pool(5),
            noisy(Name::Glibc, &same(5), 20.0),
            lossy(Name::Hugepool, &same(6), 1.0, 1),
            rival(6, 10.0),
            pool(7),
            lossy(Name::Glibc, &same(7), 1.0, 1),
            rounds(Name::Hugepool, 8, &[None; 7]),
            rival(8, 10.0),
            pool(9),
            rival(9, 2.0),
            pool(10),
            rival(10, 90.0),
        ];
        let found: Vec<(usize, Outcome)> = comparisons(&rows)
            .iter()
            .map(|it| (it.own.size, it.outcome))
            .collect();
        assert_eq!(
            found,
            [
                (6, Outcome::Failed),
                (9, Outcome::Loses),
                (2, Outcome::Loses),
                // Both in doubt: first the one where the pool looks slower.
                (4, Outcome::Unsure(Why::TooFewRounds)),
                (5, Outcome::Unsure(Why::Noisy)),
                (8, Outcome::Unsure(Why::NotMeasured)),
                (3, Outcome::NoDifference),
                (10, Outcome::Wins),
                (1, Outcome::Wins),
                (7, Outcome::Alone),
            ]
        );
        // A pool that something disturbed says no more than such a rival.
        let rows = [
            noisy(Name::Hugepool, &same(1), 10.0),
            steady(Name::Glibc, &same(1), 20.0),
        ];
        assert_eq!(comparisons(&rows)[0].outcome, Outcome::Unsure(Why::Noisy));
    }

    #[test]
    fn a_rival_that_failed_is_never_the_best_and_is_not_forgotten() {
        let same = group(Pattern::Same, 4096);
        let rows = [
            steady(Name::Hugepool, &same, 10.0),
            lossy(Name::Glibc, &same, 1.0, 2),
            steady(Name::Mimalloc, &same, 30.0),
            steady(Name::Rpmalloc, &same, 20.0),
        ];
        let all = comparisons(&rows);
        let best = all[0].best.as_ref().expect("two did not fail");
        assert_eq!((all.len(), best.row.rival), (1, Name::Rpmalloc));
        assert_eq!(best.ratio.map(|ratio| ratio.value.round()), Some(2.0));
        let failed: Vec<Name> = all[0].failed.iter().map(|row| row.rival).collect();
        assert_eq!(failed, [Name::Glibc]);
    }

    #[test]
    fn allocators_and_pools_are_compared_apart_and_baselines_and_own_forms_not_at_all() {
        let same = group(Pattern::Same, 4096);
        let rows = [
            steady(Name::Hugepool, &same, 10.0),
            steady(Name::HugepoolClass, &same, 5.0),
            steady(Name::Glibc, &same, 20.0),
            steady(Name::MutexVec, &same, 8.0),
            steady(Name::ArrayQueue, &same, 9.0),
            steady(Name::Limit, &same, 2.0),
        ];
        let all = comparisons(&rows);
        let found: Vec<(Kind, Name, Name)> = all
            .iter()
            .map(|it| {
                let best = it.best.as_ref().expect("nobody failed");
                (it.kind, it.own.rival, best.row.rival)
            })
            .collect();
        assert_eq!(
            found,
            [
                (Kind::Pool, Name::Hugepool, Name::MutexVec),
                (Kind::General, Name::Hugepool, Name::Glibc)
            ]
        );
        let alone = [
            steady(Name::Hugepool, &same, 10.0),
            steady(Name::Limit, &same, 2.0),
        ];
        assert!(comparisons(&alone).is_empty());
    }

    #[test]
    fn of_a_rate_more_is_better() {
        let engine = group(Pattern::Engine, 4096);
        let rate = |name, rate| row(name, &engine, Figure::GibPerS, &[Some(rate); 7]);
        let rows = [
            rate(Name::Hugepool, 10.0),
            rate(Name::Glibc, 20.0),
            rate(Name::Mmap, 15.0),
            rate(Name::Channel, 5.0),
        ];
        let all = comparisons(&rows);
        let rates = all.iter().filter(|it| it.measure.figure == Figure::GibPerS);
        let found: Vec<(Outcome, Option<Name>)> = rates
            .map(|it| (it.outcome, it.best.as_ref().map(|best| best.row.rival)))
            .collect();
        assert_eq!(
            found,
            [
                (Outcome::Loses, Some(Name::Glibc)),
                (Outcome::Wins, Some(Name::Channel))
            ]
        );
    }

    #[test]
    fn tasks_are_compared_with_tasks_and_threads_with_threads() {
        let dry = group(Pattern::Exhausted, 4096);
        let takes = |name, rate| made::row(name, &dry, Figure::TakesPerS, &[Some(rate); 7]);
        let rows = [
            takes(Name::Hugepool, 100.0),
            takes(Name::Channel, 50.0),
            takes(Name::NoPool, 1000.0),
            takes(Name::HugepoolTasks, 10.0),
            takes(Name::Semaphore, 40.0),
        ];
        let all = comparisons(&rows);
        let found: Vec<(Name, Option<Name>, Outcome)> = all
            .iter()
            .filter(|it| it.measure.figure == Figure::TakesPerS)
            .map(|it| {
                let best = it.best.as_ref().map(|best| best.row.rival);
                (it.own.rival, best, it.outcome)
            })
            .collect();
        assert_eq!(
            found,
            [
                (Name::HugepoolTasks, Some(Name::Semaphore), Outcome::Loses),
                (Name::Hugepool, Some(Name::Channel), Outcome::Wins)
            ]
        );
    }
}
