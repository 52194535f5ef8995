//! Files that are wrong, that have more than is known, that differ from another one, or that somebody changed.

use proptest::prelude::*;

use super::{LIMIT, around, file, read, row};
use crate::compare::judge::compare;
use crate::compare::read::parse;
use crate::compare::{differences, print};

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
            "\"pipelines\":[]",
            "\"pipelines\":[\"4:1\"]",
            "--pipelines: none before, [4:1] after",
        ),
        (
            "\"memory\":1000,\"pages\":[]",
            "\"memory\":1000,\"pages\":[\"base\"]",
            "--pages: none before, [base] after",
        ),
        (
            "\"warm_up_millis\":null",
            "\"warm_up_millis\":5",
            "--warm-up: none before, 5 after",
        ),
        (
            "\"cpus\":null",
            "\"cpus\":\"0-3\"",
            "--cpus: none before, 0-3 after",
        ),
        (
            "\"nodes\":null",
            "\"nodes\":\"1\"",
            "--nodes: none before, 1 after",
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
            "\"standing\":[{\"cache\":\"portable\",\"pages\":[{\"kind\":\"base\",\"bytes\":1,\"huge_bytes\":0,\"node\":0}]}]",
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
    let many: Vec<String> = (0..10_001)
        .map(|rival| row(&rival.to_string(), &[6.0], &[6.0]))
        .collect();
    let error = parse(file(&many).as_bytes()).expect_err("too many");
    assert!(error.contains("10001 rows, and may have 10000"), "{error}");
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
