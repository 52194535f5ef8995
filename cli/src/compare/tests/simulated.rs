//! Runs with the variation of real ones.

use super::{LIMIT, file, read, row, verdicts};
use crate::bench::Random;
use crate::compare::judge::{Change, Verdict, compare};

/// Runs of one build, and of one that is slower by a tenth, with what moves a whole round, what moves a rival in a
/// round, and rounds that something disturbed: in nine of ten comparisons of a run with itself no row differs, and in nine
/// of ten with the slower one it is found.
#[test]
fn simulated_runs_differ_where_they_do_and_nowhere_else() {
    const RUNS: u64 = 60;
    const RIVALS: usize = 12;
    const GROUPS: [&str; 6] = ["same", "ring", "threads", "pipeline", "burst", "fill"];
    let mut random = Random::new(3);
    // Nearly normal: mean 0, deviation 1.
    let mut normal = move || (0..12).map(|_| random.part()).sum::<f64>() - 6.0;
    let mut run = |slowed: f64| {
        // The whole machine has another rate in each run.
        let machine = 0.08 * normal();
        let mut rows = Vec::new();
        for group in GROUPS {
            let rounds: Vec<f64> = (0..15).map(|_| machine + 0.05 * normal()).collect();
            for rival in 0..RIVALS {
                let name = match rival {
                    0 => "hugepool".to_owned(),
                    number => format!("rival-{number}"),
                };
                let own = if rival == 0 { slowed } else { 1.0 };
                let times: Vec<f64> = rounds
                    .iter()
                    .map(|shared| {
                        let disturbed = if normal() > 1.7 {
                            0.3 * normal().abs()
                        } else {
                            0.0
                        };
                        own * 20.0 * (shared + 0.02 * normal() + disturbed).exp()
                    })
                    .collect();
                rows.push(row(&name, &times, &times).replacen(
                    "\"same\"",
                    &format!("\"{group}\""),
                    1,
                ));
            }
        }
        read(&file(&rows))
    };
    let (mut calm, mut found) = (0, 0);
    for _ in 0..RUNS {
        let before = run(1.0);
        let same = compare(&before, &run(1.0));
        calm += u64::from(
            verdicts(&same)
                .iter()
                .all(|verdict| *verdict == Verdict::NoDifference),
        );
        let slower = compare(&before, &run(1.1));
        let slow: Vec<&Change> = slower
            .rows
            .iter()
            .filter(|row| matches!(row.verdict(LIMIT), Verdict::TooSlow | Verdict::Slower))
            .collect();
        found += u64::from(!slow.is_empty() && slow.iter().all(|row| row.key.rival == "hugepool"));
    }
    assert!(
        10 * calm >= 9 * RUNS,
        "{calm} of {RUNS} without a difference"
    );
    assert!(10 * found >= 9 * RUNS, "{found} of {RUNS} found");
}
