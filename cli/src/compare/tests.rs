//! Tests of the comparison on files that are made up: each says what was planted, and what must be found.

use proptest::prelude::*;

use super::judge::{Change, Outcome, Verdict, compare};
use super::read::{ResultFile, parse};
use super::{differences, print};
use crate::bench::Random;

const LIMIT: f64 = 3.0;

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
        r#"{{"format":1,"date":"2026-11-30T12:00:00Z","machine":{{"cpu_model":"EPYC","kernel":"6.18","online_cpus":2,"allowed_cpus":2,"nodes":1,"memory_bytes":1000,"transparent":"always"}},"versions":{{"hugepool":"0.1.0","mimalloc":"mimalloc 0.1.52"}},"options":{{"patterns":["same"],"shapes":[],"sizes":[65536],"alignment":4096,"threads":[],"rounds":9,"rivals":["hugepool"],"millis":15,"memory":1000,"handicap":null}},"seed":1,"caches":["restartable"],"rows":[{}]}}"#,
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

/// The limit is a question of the interval, not of the estimate: 5 % is more than 3 %, but not with certainty here.
#[test]
fn intervals_that_reach_below_the_limit_are_no_failure() {
    let mut slower = USUAL;
    slower[0].1 *= 1.05;
    let outcome = compare(&result(&USUAL, 1), &result(&slower, 50));
    let change = only(&outcome, "hugepool");
    assert!(change.ratio > 1.03, "{}", change.ratio);
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
    let names = |keys: &[super::read::Key]| -> Vec<String> {
        keys.iter().map(|key| key.rival.clone()).collect()
    };
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

#[test]
fn what_else_differs_is_named_with_both_values() {
    let before = file(&[row("hugepool", &[6.0; 9], &[6.0; 9])]);
    let none = differences::differences(&read(&before), &read(&before));
    assert_eq!(none, [""; 0]);
    let cases = [
        ("\"EPYC\"", "\"Xeon\"", "processor: EPYC before, Xeon after"),
        (
            "\"kernel\":\"6.18\"",
            "\"kernel\":null",
            "kernel: 6.18 before, none after",
        ),
        (
            "\"allowed_cpus\":2",
            "\"allowed_cpus\":1",
            "processors to be used: 2 before, 1 after",
        ),
        (
            "[\"restartable\"]",
            "[\"portable\"]",
            "kinds of caches: [restartable] before, [portable] after",
        ),
        (
            "mimalloc 0.1.52",
            "mimalloc 0.1.53",
            "version of mimalloc: mimalloc 0.1.52 before, mimalloc 0.1.53 after",
        ),
        (
            "\"millis\":15",
            "\"millis\":30",
            "--millis: 15 before, 30 after",
        ),
        (
            "\"handicap\":null",
            "\"handicap\":\"glibc:10\"",
            "--handicap: none before, glibc:10 after",
        ),
        (
            "\"buffers\":64",
            "\"buffers\":32",
            "hugepool: buffers: 64 before, 32 after",
        ),
        (
            "\"standing\":[]",
            "\"standing\":[{\"cache\":\"portable\",\"pages\":[{\"kind\":\"base\",\"bytes\":1,\"huge_bytes\":0}]}]",
            "hugepool: kinds of pages: none before, {base} after",
        ),
    ];
    for (from, to, words) in cases {
        let after = before.replace(from, to);
        assert_ne!(before, after, "{from}");
        let found = differences::differences(&read(&before), &read(&after));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with(words), "{words}: {found:?}");
    }
    // Another order of the rivals, or another date, is no other way to measure.
    let after = before
        .replace("\"seed\":1", "\"seed\":2")
        .replace("2026-11-30", "2026-12-01");
    assert_eq!(
        differences::differences(&read(&before), &read(&after)),
        [""; 0]
    );
}

#[test]
fn what_is_no_result_is_refused_with_what_is_wrong() {
    let right = file(&[row("hugepool", &[6.5; 9], &[6.0; 9])]);
    let changed = |from: &str, to: &str| {
        let changed = right.replacen(from, to, 1);
        assert_ne!(right, changed, "{from}");
        changed
    };
    let cases = [
        (String::new(), "it is empty"),
        ("hello".to_owned(), "it is not JSON"),
        (right[..right.len() / 2].to_owned(), "it is cut off"),
        (right[..right.len() - 1].to_owned(), "it is cut off"),
        (right.clone() + "x", "it is not JSON"),
        ("{}".to_owned(), "no field `format`"),
        ("[1]".to_owned(), "it is JSON, but no result"),
        (
            changed("\"format\":1", "\"format\":2"),
            "of version 2 of the form, and this program reads version 1",
        ),
        (
            changed("\"format\":1", "\"format\":\"1\""),
            "of version \"1\" of the form",
        ),
        (changed("\"date\"", "\"data\""), "missing field `date`"),
        (
            changed("\"kernel\"", "\"colonel\""),
            "missing field `kernel`",
        ),
        (
            changed("\"handicap\":null", "\"h\":null"),
            "missing field `handicap`",
        ),
        (changed("\"rival\":", "\"rivet\":"), "missing field `rival`"),
        (changed("\"shape\":null,", ""), "missing field `shape`"),
        (
            changed("\"rounds\":{", "\"grounds\":{"),
            "missing field `rounds`",
        ),
        (
            changed("\"clock\":\"wall\"", "\"clock\":\"sand\""),
            "`clock` is `sand`",
        ),
        (
            changed("\"threads\":1,", "\"threads\":0,"),
            "`threads` is 0",
        ),
        (changed("\"threads\":1,", "\"threads\":-1,"), "-1"),
        (changed("[6.5,", "[NaN,"), "it is not JSON"),
        (changed("[6.5,", "[1e999,"), "out of range"),
        (
            changed("[6.5,", "[-6.5,"),
            "`ns_per_op` is -6.5 in one round",
        ),
        (changed("[6.5,", "[0.0,"), "`ns_per_op` is 0.0 in one round"),
        (
            changed("[6.5,", "[1e18,"),
            "`ns_per_op` is 1e18 in one round",
        ),
        (changed("[6.5,", "[\"6.5\","), "expected f64"),
        (changed("[6.5, ", "["), "another figure has not"),
        (
            changed("[6.5,", &format!("[{}", "6.5,".repeat(1000))),
            "may have 1000",
        ),
        (
            file(&[row("glibc", &[6.0], &[6.0]), row("glibc", &[6.0], &[6.0])]),
            "two rows of same, threads: 1, 64 KiB at 4096, glibc",
        ),
        ("[".repeat(100_000), "recursion limit"),
    ];
    for (text, words) in cases {
        let error = parse(text.as_bytes()).expect_err(words);
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(parse(right.as_bytes()).is_ok());
    assert!(parse(b"\xff\xfe{}").is_err());
}

/// What others will write besides is passed over.
#[test]
fn fields_and_figures_that_are_not_known_are_no_error() {
    let text = file(&[row("hugepool", &[6.0; 9], &[6.0; 9])]);
    let more = text
        .replacen("\"seed\"", "\"weather\":[\"rain\"],\"seed\"", 1)
        .replacen("\"buffers\"", "\"bytes\":{\"peak\":1},\"buffers\"", 1)
        .replacen(
            "\"ns_per_op\"",
            "\"joules\":[1,1,1,1,1,1,1,1,-1],\"ns_per_op\"",
            1,
        );
    assert_eq!(compare(&read(&text), &read(&more)).rows.len(), 1);
}

proptest! {
    /// Whatever becomes of a file: it is refused with words, or compared with the sound one in both directions.
    #[test]
    fn a_mutated_file_is_compared_or_refused_and_never_panics(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..40, prop::collection::vec(any::<u8>(), 0..6)), 1..5),
        token in prop::sample::select(vec!["", "1e308", "-0", "5e-324", "null", "[]", "{}", "1e15", "18446744073709551615", "\"\\u0000\""]),
        at in any::<prop::sample::Index>(),
        bytes in any::<bool>(),
    ) {
        let sound = file(&[
            row("hugepool", &around(6.0, 9, 1), &around(6.0, 9, 2)),
            row("glibc", &around(40.0, 9, 3), &around(40.0, 9, 4)),
        ]);
        let mut mutated = sound.clone().into_bytes();
        if bytes {
            for (place, length, with) in cuts {
                let from = place.index(mutated.len().max(1)).min(mutated.len());
                let to = (from + length).min(mutated.len());
                mutated.splice(from..to, with);
            }
        } else {
            // A whole value in the place of another keeps it JSON.
            let numbers: Vec<usize> = sound.match_indices([':', ',', '[']).map(|(place, _)| place + 1).collect();
            let from = numbers[at.index(numbers.len())];
            let rest = &sound[from..];
            let to = from + rest.find([',', ']', '}']).unwrap_or(rest.len());
            mutated.splice(from..to, token.bytes());
        }
        let right = read(&sound);
        match parse(&mutated) {
            Err(error) => prop_assert!(!error.is_empty()),
            Ok(other) => {
                for (before, after) in [(&right, &other), (&other, &right), (&other, &other)] {
                    let outcome = compare(before, after);
                    let warnings = differences::differences(before, after);
                    let files = [("a", before), ("b", after)];
                    let table = print::table(files, &outcome, LIMIT);
                    prop_assert!(!table.is_empty());
                    let document = print::json(files, &outcome, &warnings, LIMIT);
                    prop_assert!(document.is_ok());
                }
            }
        }
    }
}

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
