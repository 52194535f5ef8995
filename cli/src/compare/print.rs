//! What a comparison says: to people, and to programs.
//!
//! Owns both forms. Uses the outcome; `compare` prints one and writes the other.

use serde::Serialize;

use super::judge::{Change, Outcome, RUN_TO_RUN, Verdict};
use super::read::{Key, ResultFile};
use crate::report::align;
use crate::report::origin::FORMAT;
use crate::statistics::{CONFIDENCE, TooFew};
use crate::units;

/// For people: a table of each group, and what could not be compared.
pub fn table(files: [(&str, &ResultFile); 2], outcome: &Outcome, limit: f64) -> String {
    let mut out = String::from("hugepool compare\n");
    for (what, (path, file)) in ["before", "after"].into_iter().zip(files) {
        out.push_str(&format!("  {what:<8}{path}, {}\n", file.origin.date));
    }
    out.push_str(&format!(
        "  ratio: the time of an operation after over that before, against the other rivals of the group in the same \
         rounds; others:\n  how these moved by themselves; interval: {:.4} % sure each, so that all {} rows together are \
         {:.0} %, and {:.0} % wider\n  on both sides for what moves a whole run; no difference: it includes 1; limit: {limit} %\n",
        100.0 * outcome.confidence,
        outcome.rows.len(),
        100.0 * CONFIDENCE,
        100.0 * RUN_TO_RUN
    ));
    let mut rest: Vec<&Change> = outcome.rows.iter().collect();
    while let Some(first) = rest.first().copied() {
        let (group, others): (Vec<&Change>, Vec<&Change>) = rest
            .into_iter()
            .partition(|change| change.key.is_beside(&first.key));
        rest = others;
        out.push_str(&format!("\n{}\n", first.key.group()));
        let header = [
            "rival", "before", "after", "of", "ratio", "interval", "others", "note",
        ];
        let mut lines = vec![header.map(str::to_owned).to_vec()];
        lines.extend(group.into_iter().map(|change| line(change, limit)));
        out.push_str(&align(&lines));
    }
    out.push('\n');
    let lists = [
        ("only before", &outcome.only_before),
        ("only after", &outcome.only_after),
        ("without a time in one of them", &outcome.unmeasured),
    ];
    for (what, keys) in lists {
        for key in keys {
            out.push_str(&format!("  {what}: {key}\n"));
        }
    }
    if let Some(needed) = needed(outcome) {
        out.push_str(&format!(
            "  too few rounds: {needed} in each file are needed for so many rows\n"
        ));
    }
    out.push_str(&format!("  {}\n", summary(outcome, limit)));
    out
}

/// How many of what there are, in a line.
fn summary(outcome: &Outcome, limit: f64) -> String {
    let verdicts = [
        Verdict::TooSlow,
        Verdict::Slower,
        Verdict::Faster,
        Verdict::NoDifference,
        Verdict::TooFewRounds,
    ];
    let counts = verdicts.map(|verdict| {
        let rows = outcome.rows.iter();
        let count = rows.filter(|row| row.verdict(limit) == verdict).count();
        format!("{}: {count}", verdict.as_str())
    });
    format!("{} rows; {}", outcome.rows.len(), counts.join(", "))
}

/// How many rounds it takes, if some row has too few.
fn needed(outcome: &Outcome) -> Option<usize> {
    let few = outcome.rows.iter().filter_map(|row| row.interval.err());
    few.map(|TooFew { needed }| needed).max()
}

fn line(change: &Change, limit: f64) -> Vec<String> {
    let missing = || "-".to_owned();
    let bounds = change.interval.ok();
    let bounds = bounds.map(|interval| format!("{:.3}-{:.3}", interval.low, interval.high));
    let others = change.others.map(|ratio| format!("{ratio:.3}"));
    let mut note = change.verdict(limit).as_str().to_owned();
    if change.noisy {
        note.push_str(", noisy");
    }
    vec![
        change.key.rival.clone(),
        units::time(change.times[0]),
        units::time(change.times[1]),
        change.clock.as_str().to_owned(),
        format!("{:.3}", change.ratio),
        bounds.unwrap_or_else(missing),
        others.unwrap_or_else(missing),
        note,
    ]
}

/// For programs.
#[derive(Serialize)]
struct Document<'o> {
    format: u64,
    before: Side<'o>,
    after: Side<'o>,
    limit_percent: f64,
    confidence: f64,
    too_slow: usize,
    warnings: &'o [String],
    rows: Vec<Line<'o>>,
    only_before: Vec<Named<'o>>,
    only_after: Vec<Named<'o>>,
    unmeasured: Vec<Named<'o>>,
}

#[derive(Serialize)]
struct Side<'o> {
    file: &'o str,
    date: &'o str,
}

/// What names a row.
#[derive(Serialize)]
struct Named<'o> {
    pattern: &'o str,
    shape: Option<&'o str>,
    threads: u64,
    size: u64,
    alignment: u64,
    rival: &'o str,
}

#[derive(Serialize)]
struct Line<'o> {
    #[serde(flatten)]
    row: Named<'o>,
    clock: &'o str,
    before_ns: f64,
    after_ns: f64,
    rounds_before: usize,
    rounds_after: usize,
    ratio: f64,
    low: Option<f64>,
    high: Option<f64>,
    coverage: Option<f64>,
    others: Option<f64>,
    noisy: bool,
    verdict: &'o str,
}

fn named(key: &Key) -> Named<'_> {
    Named {
        pattern: &key.pattern,
        shape: key.shape.as_deref(),
        threads: key.threads,
        size: key.size,
        alignment: key.alignment,
        rival: &key.rival,
    }
}

/// The outcome as one JSON object.
pub fn json(
    files: [(&str, &ResultFile); 2],
    outcome: &Outcome,
    warnings: &[String],
    limit: f64,
) -> Result<String, serde_json::Error> {
    let [before, after] = files.map(|(file, result)| Side {
        file,
        date: &result.origin.date,
    });
    let lines = outcome.rows.iter().map(|change| {
        let interval = change.interval.ok();
        Line {
            row: named(&change.key),
            clock: change.clock.as_str(),
            before_ns: change.times[0],
            after_ns: change.times[1],
            rounds_before: change.rounds[0],
            rounds_after: change.rounds[1],
            ratio: change.ratio,
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
            coverage: interval.map(|interval| interval.coverage),
            others: change.others,
            noisy: change.noisy,
            verdict: match change.verdict(limit) {
                Verdict::TooSlow => "too slow",
                verdict => verdict.as_str(),
            },
        }
    });
    let document = Document {
        format: FORMAT,
        before,
        after,
        limit_percent: limit,
        confidence: outcome.confidence,
        too_slow: too_slow(outcome, limit),
        warnings,
        rows: lines.collect(),
        only_before: outcome.only_before.iter().map(named).collect(),
        only_after: outcome.only_after.iter().map(named).collect(),
        unmeasured: outcome.unmeasured.iter().map(named).collect(),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// How many rows are slower than the limit allows.
pub fn too_slow(outcome: &Outcome, limit: f64) -> usize {
    let rows = outcome.rows.iter();
    rows.filter(|row| row.verdict(limit) == Verdict::TooSlow)
        .count()
}
