//! The command `compare`, run as a user runs it, on files that are made from one run of `bench`: what was planted must be
//! found, and nothing else. No test asks how long anything took: the times are written over.

mod common;

use std::fs;

use common::{Directory, Json, Outcome, hugepool, parse_json, result};

const ROUNDS: usize = 9;

/// A result of a real run, with times of our own: of a rival in a round, in nanoseconds.
fn planted(directory: &Directory, name: &str, times: impl Fn(&str, usize) -> f64) -> String {
    let path = directory.path(name);
    let run = hugepool(&[
        "bench",
        "--millis",
        "1",
        "--rounds",
        "1",
        "--patterns",
        "same",
        "--sizes",
        "4K",
        "--rivals",
        "hugepool,hugepool-class,glibc,mimalloc,rpmalloc",
        "--json",
        &path,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let text = fs::read_to_string(&path).expect("it was written");
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            let Some(before) = line.find("\"rounds\":{") else {
                return line.to_owned();
            };
            let row = parse_json(line.trim_end_matches(','));
            let rival = row.field("rival").text();
            let rounds: Vec<f64> = (0..ROUNDS).map(|round| times(rival, round)).collect();
            let end = if line.ends_with(',') { "," } else { "" };
            let zeros = [0.0; ROUNDS];
            format!(
                "{}\"rounds\":{{\"ns_per_op\":{rounds:?},\"cpu_ns_per_op\":{rounds:?},\"sleeps\":{zeros:?}}}}}{end}",
                &line[..before]
            )
        })
        .collect();
    fs::write(&path, lines.join("\n")).expect("it can be written over");
    path
}

/// A percent and a half around a time, in an order that depends on the round and on the rival.
fn usual(rival: &str, round: usize) -> f64 {
    let letters: usize = rival.bytes().map(usize::from).sum();
    // Steps that have no factor in common with the number of rounds: an order of them.
    let step = [2, 4, 5, 7][letters % 4];
    let mixed = (round * step + letters) % ROUNDS;
    20.0 * (1.0 + (mixed as f64 - 4.0) / 300.0)
}

fn slower(rival: &str, round: usize) -> f64 {
    usual(rival, round + 1) * if rival == "hugepool" { 1.2 } else { 1.0 }
}

fn compare(before: &str, after: &str, more: &[&str]) -> Outcome {
    hugepool(&[&["compare", before, after], more].concat())
}

#[test]
fn the_exit_code_says_whether_something_is_slower_than_the_limit() {
    let directory = Directory::new("compare");
    let before = planted(&directory, "before.json", usual);
    let same = planted(&directory, "same.json", |rival, round| {
        usual(rival, round + 1)
    });
    let slow = planted(&directory, "slow.json", slower);

    let run = compare(&before, &same, &[]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    assert!(run.stdout.contains("no difference: 5"), "{}", run.stdout);

    let json = directory.path("outcome.json");
    let run = compare(&before, &slow, &["--json", &json]);
    assert_eq!((run.code, run.stderr.as_str()), (1, ""), "{}", run.stdout);
    let lines: Vec<&str> = run
        .stdout
        .lines()
        .filter(|line| line.contains("SLOWER"))
        .collect();
    assert!(lines[0].starts_with("  hugepool "), "{}", run.stdout);
    assert!(
        run.stdout
            .contains("SLOWER than the limit: 1, slower: 0, faster: 0, no difference: 4"),
        "{}",
        run.stdout
    );
    let document = fs::read_to_string(json).expect("it was written");
    let document = parse_json(
        &document
            .replace("\n", "")
            .replace("  ", "")
            .replace("\": ", "\":"),
    );
    assert_eq!(document.field("too_slow").number(), 1.0);
    let rows = document.field("rows").values();
    assert_eq!(rows.len(), 5);
    let row = &rows[0];
    assert_eq!(
        (row.field("rival").text(), row.field("verdict").text()),
        ("hugepool", "too slow")
    );
    let [low, ratio, high] = ["low", "ratio", "high"].map(|name| row.field(name).number());
    assert!(
        1.1 < low && low < ratio && ratio < high && high < 1.3,
        "{low} {ratio} {high}"
    );
    assert_eq!(rows[1].field("verdict").text(), "no difference");

    assert_eq!(compare(&before, &slow, &["--limit", "25"]).code, 0);
    let run = compare(&slow, &before, &[]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(
        run.stdout.contains("faster: 1, no difference: 4"),
        "{}",
        run.stdout
    );
}

#[test]
fn another_machine_is_compared_with_a_warning_that_names_it() {
    let directory = Directory::new("warnings");
    let before = planted(&directory, "before.json", usual);
    let text = fs::read_to_string(&before).expect("it was written");
    let after = directory.path("after.json");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux");
    let kernel = format!("\"kernel\":\"{}\"", kernel.trim());
    let changed = text
        .replace(&kernel, "\"kernel\":\"7.7.7\"")
        .replace("\"millis\":1,", "\"millis\":2,");
    assert_ne!(text, changed);
    fs::write(&after, changed).expect("it can be written");
    let run = compare(&before, &after, &[]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(
        run.stderr.starts_with("warning: kernel: "),
        "{}",
        run.stderr
    );
    for words in [
        "before, 7.7.7 after\n",
        "warning: --millis: 1 before, 2 after\n",
    ] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
}

#[test]
fn rows_of_one_file_only_are_listed() {
    let directory = Directory::new("rows");
    let before = planted(&directory, "before.json", usual);
    let text = fs::read_to_string(&before).expect("it was written");
    let after = directory.path("after.json");
    fs::write(
        &after,
        text.replace("\"rival\":\"rpmalloc\"", "\"rival\":\"other.so\""),
    )
    .expect("it can be written");
    let run = compare(&before, &after, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for words in [
        "only before: same, threads: 1, 4 KiB at 4096, rpmalloc",
        "only after: same, threads: 1, 4 KiB at 4096, other.so",
        "no difference: 4",
    ] {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
}

#[test]
fn bad_input_is_named_with_its_file_and_exits_with_2() {
    let directory = Directory::new("bad");
    let right = planted(&directory, "right.json", usual);
    let text = fs::read_to_string(&right).expect("it was written");
    let cases = [
        ("empty.json", String::new(), "is empty"),
        ("half.json", text[..text.len() / 2].to_owned(), "is cut off"),
        ("csv.json", "rival,pattern\n".to_owned(), "is not JSON"),
        (
            "version.json",
            text.replace("\"format\":1", "\"format\":9"),
            "version 9",
        ),
        (
            "field.json",
            text.replace("\"machine\"", "\"engine\""),
            "missing field `machine`",
        ),
        (
            "number.json",
            text.replace("\"sleeps\":[0.0", "\"sleeps\":[NaN"),
            "is not JSON",
        ),
        (
            "absurd.json",
            text.replace("\"ns_per_op\":[", "\"ns_per_op\":[-"),
            "no time of an operation",
        ),
        (
            "nothing.json",
            text.replace("\"same\"", "\"other\""),
            "no row in common",
        ),
    ];
    for (name, contents, words) in cases {
        let wrong = directory.path(name);
        assert_ne!(contents, text, "{name}");
        fs::write(&wrong, contents).expect("it can be written");
        for (before, after) in [(&right, &wrong), (&wrong, &right)] {
            let run = compare(before, after, &[]);
            assert_eq!(
                (run.code, run.stdout.as_str()),
                (2, ""),
                "{name}: {}",
                run.stderr
            );
            for words in [words, name] {
                assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
            }
        }
    }
    for (path, words) in [
        ("/nonexistent/a.json", "cannot be read"),
        ("/dev", "cannot be read"),
        ("/dev/zero", "no result"),
    ] {
        let run = compare(&right, path, &[]);
        assert_eq!(run.code, 2, "{path}: {}", run.stderr);
        assert!(
            run.stderr.contains(path) && run.stderr.contains(words),
            "{}",
            run.stderr
        );
    }
    for limit in ["-1", "NaN", "much", "1001"] {
        let run = compare(&right, &right, &["--limit", limit]);
        assert_eq!(run.code, 2, "{limit}: {}", run.stderr);
        assert!(run.stderr.contains(limit), "{}", run.stderr);
    }
    let run = compare(&right, &right, &["--json", "/nonexistent/out.json"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(
        run.stderr.contains("/nonexistent/out.json"),
        "{}",
        run.stderr
    );
}

/// The whole way, with real times: a run and itself have no difference, whatever the machine does.
#[test]
fn a_result_does_not_differ_from_itself() {
    let directory = Directory::new("itself");
    let json = directory.path("out.json");
    let run = hugepool(&[
        "bench",
        "--millis",
        "1",
        "--rounds",
        "8",
        "--sizes",
        "4K",
        "--threads",
        "2",
        "--memory",
        "64M",
        "--patterns",
        "same,threads,pipeline,exhausted,engine",
        "--shapes",
        "pipeline-1-1",
        "--rivals",
        "hugepool,hugepool-class,mutex-vec,channel",
        "--json",
        &json,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let rows = result(&json).field("rows").values().len();
    let run = compare(&json, &json, &[]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    assert!(
        run.stdout.contains(&format!("no difference: {rows}")),
        "{}",
        run.stdout
    );
}

/// The handicap is of one rival, and known to be one.
#[test]
fn a_handicap_is_in_the_result() {
    let directory = Directory::new("handicap");
    let json = directory.path("out.json");
    let run = hugepool(&[
        "bench",
        "--millis",
        "1",
        "--rounds",
        "1",
        "--sizes",
        "4K",
        "--patterns",
        "same",
        "--rivals",
        "hugepool,limit",
        "--handicap",
        "limit:900",
        "--json",
        &json,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let options = result(&json).field("options").clone();
    assert_eq!(
        options.field("handicap"),
        &Json::Text("limit:900".to_owned())
    );
    for (wrong, words) in [
        ("limit", "RIVAL:PERCENT"),
        ("limit:-1", "0 to 1000"),
        ("what:1", "what"),
    ] {
        let run = hugepool(&["bench", "--handicap", wrong]);
        assert_eq!(run.code, 2, "{wrong}: {}", run.stderr);
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
}
