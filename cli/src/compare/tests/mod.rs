//! Tests of the comparison on files that are made up: each says what was planted, and what must be found.
//!
//! Owns the making of files. `files` has what is wrong with a file, or differs from another one; `simulated` has runs with
//! the variation of real ones.

mod files;
mod simulated;

use super::judge::{Change, Outcome, Verdict, compare};
use super::print;
use super::read::{Key, ResultFile, parse};
use crate::bench::Random;

const LIMIT: f64 = 2.0;

/// Some rounds around a time, a percent apart, in an order of their own.
fn around(ns: f64, rounds: usize, seed: u64) -> Vec<f64> {
    let mut values: Vec<f64> = (0..rounds)
        .map(|round| ns * (1.0 + (round as f64 - rounds as f64 / 2.0) / 100.0))
        .collect();
    Random::new(seed).shuffle(&mut values);
    values
}

/// A row as `bench` writes it, as far as it is read.
fn row(rival: &str, wall: &[f64], cpu: &[f64]) -> String {
    let sleeps = vec![0.0; wall.len()];
    format!(
        r#"{{"rival":"{rival}","pattern":"same","threads":1,"size":65536,"alignment":4096,"shape":null,"buffers":64,"clock":"wall","noisy":false,"standing":[],"rounds":{{"ns_per_op":{wall:?},"cpu_ns_per_op":{cpu:?},"sleeps":{sleeps:?}}}}}"#
    )
}

fn file(rows: &[String]) -> String {
    format!(
        r#"{{"format":1,"date":"2026-11-30T12:00:00Z","machine":{{"cpu_model":"EPYC","kernel":"6.18","online_cpus":2,"allowed_cpus":2,"nodes":1,"memory_bytes":1000,"transparent":"always"}},"versions":{{"hugepool":"0.1.0","mimalloc":"mimalloc 0.1.52"}},"options":{{"patterns":["same"],"shapes":[],"sizes":[65536],"alignment":4096,"threads":[],"pipelines":[],"rounds":9,"rivals":["hugepool"],"millis":15,"memory":1000,"pages":[],"warm_up_millis":null,"cpus":null,"nodes":null,"handicap":null}},"seed":1,"caches":["restartable"],"rows":[{}]}}"#,
        rows.join(",")
    )
}

/// Rivals and their times.
fn result(times: &[(&str, f64)], seed: u64) -> ResultFile {
    let rows: Vec<String> = times
        .iter()
        .zip(seed..)
        .map(|((rival, ns), seed)| {
            let rounds = around(*ns, 12, seed);
            row(rival, &rounds, &rounds)
        })
        .collect();
    read(&file(&rows))
}

fn read(text: &str) -> ResultFile {
    parse(text.as_bytes()).expect("it is right")
}

const USUAL: [(&str, f64); 4] = [
    ("hugepool", 6.0),
    ("glibc", 40.0),
    ("mimalloc", 70.0),
    ("rpmalloc", 18.0),
];

fn verdicts(outcome: &Outcome) -> Vec<Verdict> {
    outcome.rows.iter().map(|row| row.verdict(LIMIT)).collect()
}

fn only<'o>(outcome: &'o Outcome, rival: &str) -> &'o Change {
    let mut rows = outcome.rows.iter();
    rows.find(|row| row.key.rival == rival)
        .expect("it is in both")
}

#[test]
fn two_runs_of_the_same_differ_nowhere() {
    let outcome = compare(&result(&USUAL, 1), &result(&USUAL, 50));
    assert_eq!(verdicts(&outcome), [Verdict::NoDifference; 4]);
    assert_eq!(print::too_slow(&outcome, LIMIT), 0);
    for row in &outcome.rows {
        let interval = row.interval.expect("twelve rounds are enough");
        assert!(interval.contains(1.0) && interval.low < row.ratio && row.ratio < interval.high);
        assert!(interval.coverage >= outcome.confidence);
    }
}

#[test]
fn a_slower_rival_is_found_and_the_others_are_not_blamed() {
    let mut slower = USUAL;
    slower[0].1 *= 1.2;
    let outcome = compare(&result(&USUAL, 1), &result(&slower, 50));
    assert_eq!(only(&outcome, "hugepool").verdict(LIMIT), Verdict::TooSlow);
    assert!((only(&outcome, "hugepool").ratio - 1.2).abs() < 0.02);
    let others = outcome
        .rows
        .iter()
        .filter(|row| row.key.rival != "hugepool");
    assert!(
        others
            .into_iter()
            .all(|row| row.verdict(LIMIT) == Verdict::NoDifference)
    );
    assert_eq!(print::too_slow(&outcome, LIMIT), 1);
    // What is slower, but may be.
    assert_eq!(only(&outcome, "hugepool").verdict(30.0), Verdict::Slower);
    assert_eq!(print::too_slow(&outcome, 30.0), 0);
    // And the other way round.
    let outcome = compare(&result(&slower, 1), &result(&USUAL, 50));
    assert_eq!(only(&outcome, "hugepool").verdict(LIMIT), Verdict::Faster);
    assert_eq!(print::too_slow(&outcome, LIMIT), 0);
}

/// Rounds that agree to the last digit are still those of two runs.
#[test]
fn what_two_runs_may_differ_by_is_no_difference() {
    let exact = |ns: f64| read(&file(&[row("hugepool", &[ns; 9], &[ns; 9])]));
    let verdict = |after: f64| compare(&exact(100.0), &exact(after)).rows[0].verdict(LIMIT);
    assert_eq!(verdict(102.9), Verdict::NoDifference);
    assert_eq!(verdict(97.2), Verdict::NoDifference);
    assert_eq!(verdict(104.0), Verdict::Slower);
    assert_eq!(verdict(96.0), Verdict::Faster);
    assert_eq!(verdict(105.0), Verdict::Slower);
    assert_eq!(verdict(106.0), Verdict::TooSlow);
}

/// The limit is a question of the interval, not of the estimate: 5 % is more than 2 %, but not with certainty here.
#[test]
fn intervals_that_reach_below_the_limit_are_no_failure() {
    let mut slower = USUAL;
    slower[0].1 *= 1.05;
    let outcome = compare(&result(&USUAL, 1), &result(&slower, 50));
    let change = only(&outcome, "hugepool");
    assert!(change.ratio > 1.02, "{}", change.ratio);
    assert_ne!(change.verdict(LIMIT), Verdict::TooSlow);
}

#[test]
fn a_machine_that_is_slower_as_a_whole_is_no_difference_and_is_said() {
    let slower = USUAL.map(|(rival, ns)| (rival, 1.5 * ns));
    let outcome = compare(&result(&USUAL, 1), &result(&slower, 50));
    assert_eq!(verdicts(&outcome), [Verdict::NoDifference; 4]);
    let others = only(&outcome, "hugepool").others.expect("there are three");
    assert!((others - 1.5).abs() < 0.02, "{others}");
    // Against a machine that is slower, a rival that is not is faster.
    let mut one = slower;
    one[0].1 = USUAL[0].1;
    let outcome = compare(&result(&USUAL, 1), &result(&one, 50));
    assert_eq!(only(&outcome, "hugepool").verdict(LIMIT), Verdict::Faster);
}

/// A change of the pool moves all of its rows.
#[test]
fn the_rows_of_this_pool_are_no_measure() {
    let pools = ["hugepool", "hugepool-class", "hugepool-raw"].map(|rival| (rival, 6.0));
    let slower = pools.map(|(rival, ns)| (rival, 1.2 * ns));
    let outcome = compare(&result(&pools, 1), &result(&slower, 50));
    assert_eq!(verdicts(&outcome), [Verdict::TooSlow; 3]);
    assert!(outcome.rows.iter().all(|row| row.others.is_none()));

    let with_one = |rows: [(&'static str, f64); 3]| [rows[0], rows[1], rows[2], ("glibc", 40.0)];
    let outcome = compare(&result(&with_one(pools), 1), &result(&with_one(slower), 50));
    assert_eq!(
        only(&outcome, "glibc").verdict(LIMIT),
        Verdict::NoDifference
    );
    assert_eq!(
        only(&outcome, "hugepool-raw").verdict(LIMIT),
        Verdict::TooSlow
    );
}

#[test]
fn a_round_that_disturbed_all_is_taken_off() {
    let disturbed = |factor: f64| {
        let rows: Vec<String> = USUAL
            .iter()
            .zip(1..)
            .map(|((rival, ns), seed)| {
                let mut rounds = around(*ns, 12, seed);
                rounds[..6].iter_mut().for_each(|ns| *ns *= factor);
                row(rival, &rounds, &rounds)
            })
            .collect();
        read(&file(&rows))
    };
    let (calm, rough) = (disturbed(1.0), disturbed(2.0));
    let width = |outcome: &Outcome| {
        let interval = only(outcome, "hugepool").interval.expect("enough");
        interval.high / interval.low
    };
    let (undisturbed, taken_off) = (
        width(&compare(&calm, &calm)),
        width(&compare(&calm, &rough)),
    );
    assert!(taken_off < 1.01 * undisturbed, "{undisturbed}, {taken_off}");
}

#[test]
fn rows_of_one_file_only_are_listed() {
    let before = result(&USUAL[..3], 1);
    let after = result(&USUAL[1..], 50);
    let outcome = compare(&before, &after);
    let names =
        |keys: &[Key]| -> Vec<String> { keys.iter().map(|key| key.rival.clone()).collect() };
    assert_eq!(outcome.rows.len(), 2);
    assert_eq!(names(&outcome.only_before), ["hugepool"]);
    assert_eq!(names(&outcome.only_after), ["rpmalloc"]);
    let table = print::table([("a.json", &before), ("b.json", &after)], &outcome, LIMIT);
    for words in [
        "only before: same, threads: 1, 64 KiB at 4096, hugepool\n",
        "only after: same, threads: 1, 64 KiB at 4096, rpmalloc\n",
        "a.json, 2026-11-30T12:00:00Z",
        "no difference: 2",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
}

#[test]
fn too_few_rounds_are_said_and_nothing_is_made_up() {
    let few = |seed| {
        let rows: Vec<String> = USUAL
            .iter()
            .map(|(rival, ns)| row(rival, &around(*ns, 4, seed), &around(*ns, 4, seed)))
            .collect();
        read(&file(&rows))
    };
    let (before, after) = (few(1), few(2));
    let outcome = compare(&before, &after);
    // Of four rows: 2 in 70 is more than 5 % in four.
    assert_eq!(verdicts(&outcome), [Verdict::TooFewRounds; 4]);
    let table = print::table([("a", &before), ("b", &after)], &outcome, LIMIT);
    assert!(table.contains("too few rounds: 5 in each file"), "{table}");
    // One row alone has enough.
    let outcome = compare(&result(&USUAL[..1], 1), &result(&USUAL[..1], 5));
    assert_eq!(verdicts(&outcome), [Verdict::NoDifference]);
}

#[test]
fn a_row_goes_by_processor_time_unless_its_workers_sleep() {
    let calm = around(6.0, 12, 1);
    let taken_away: Vec<f64> = around(9.0, 12, 2);
    let awake = |wall: &[f64]| read(&file(&[row("hugepool", wall, &calm)]));
    let outcome = compare(&awake(&calm), &awake(&taken_away));
    assert_eq!(verdicts(&outcome), [Verdict::NoDifference]);
    assert_eq!(outcome.rows[0].clock.as_str(), "cpu");
    let asleep = |wall: &[f64]| {
        let text = file(&[row("hugepool", wall, &calm)]);
        let zeros = format!("{:?}", [0.0; 12]);
        read(&text.replace(&zeros, &format!("{:?}", [5.0; 12])))
    };
    let outcome = compare(&asleep(&calm), &asleep(&taken_away));
    assert_eq!(verdicts(&outcome), [Verdict::TooSlow]);
    assert_eq!(outcome.rows[0].clock.as_str(), "wall");
}

#[test]
fn a_row_without_times_is_listed_and_not_compared() {
    let text = file(&[row("hugepool", &around(6.0, 9, 1), &around(6.0, 9, 1))]);
    let times = format!("{:?}", around(6.0, 9, 1));
    let nothing = text.replace(&times, "[null,null,null,null,null,null,null,null,null]");
    let outcome = compare(&read(&text), &read(&nothing));
    assert!(outcome.rows.is_empty());
    assert_eq!(outcome.unmeasured.len(), 1);
}
