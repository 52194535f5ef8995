//! The `bench` command, run as a user runs it, with windows of a millisecond: its outputs, its errors and its claim
//! that the pool refuses and loses nothing. No test asks how long anything took.

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{Directory, Json, hugepool, quick, result};

/// Of a row in both forms.
const FIELDS: [&str; 41] = [
    "rival",
    "pattern",
    "threads",
    "size",
    "alignment",
    "ns_per_op",
    "cpu_ns_per_op",
    "p50_ns",
    "p99_ns",
    "p999_ns",
    "p9999_ns",
    "max_ns",
    "ops",
    "refused",
    "lost",
    "shape",
    "takes_per_s",
    "beyond_work_ns",
    "longest_wait_ns",
    "least_share",
    "sleeps_per_take",
    "wakes_per_take",
    "barriers_per_take",
    "gib_per_s",
    "cpu_s_per_gib",
    "faults_per_gib",
    "sleeps_per_gib",
    "barriers_per_gib",
    "cpu_share",
    "sleeps",
    "buffers",
    "clock",
    "ratio",
    "ratio_low",
    "ratio_high",
    "ratio_coverage",
    "noisy",
    "memory_bytes",
    "bookkeeping_bytes",
    "refuses",
    "fault",
];

/// Of a row in JSON, besides.
const NESTED: [&str; 3] = ["standing", "spread", "rounds"];

/// From here on the fields belong to the pattern `exhausted` alone, but for the shape, which pipelines have, too.
const FIRST_OF_EXHAUSTED: usize = 15;
/// From here on they belong to the pattern `engine` alone.
const FIRST_OF_ENGINE: usize = 23;
/// From here on they belong to all patterns again, or to all but those two.
const FIRST_OF_ALL: usize = 28;

const RIVALS: [&str; 24] = [
    "hugepool",
    "hugepool-class",
    "hugepool-raw",
    "hugepool-portable",
    "glibc",
    "mmap",
    "jemalloc",
    "mimalloc",
    "rpmalloc",
    "arrayqueue",
    "mutex-vec",
    "store-io-buf",
    "zeropool",
    "limit",
    "hand-off",
    "no-allocator",
    "mutex-condvar",
    "channel",
    "no-pool",
    "hugepool-tasks",
    "semaphore",
    "no-pool-tasks",
    "hugepool-ample",
    "array",
];

#[test]
fn every_output_has_the_same_rows_and_exactly_the_fields() {
    let directory = Directory::new("outputs");
    let [json, csv, html] = ["out.json", "out.csv", "out.html"].map(|name| directory.path(name));
    let run = quick(&[
        "--sizes",
        "64K",
        "--threads",
        "1,2",
        "--memory",
        "256M",
        "--json",
        &json,
        "--csv",
        &csv,
        "--html",
        &html,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);

    let mut rivals = BTreeSet::new();
    let mut patterns = BTreeSet::new();
    let document = result(&json);
    let rows = document.field("rows").values();
    for row in rows {
        let Json::Object(fields) = row else {
            panic!("no object: {row:?}")
        };
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [&FIELDS[..], &NESTED[..]].concat(), "{row:?}");
        let (rival, pattern) = (row.field("rival").text(), row.field("pattern").text());
        let is_exhausted = pattern == "exhausted";
        let has_shape = is_exhausted || pattern == "pipeline";
        let of_columns = fields.iter().take(FIELDS.len()).enumerate();
        for (place, (name, value)) in of_columns.skip(2) {
            let is_right = match value {
                Json::Null => true,
                // Another pool may refuse a thread while one that holds its lock is not running.
                Json::Text(_) if name == "fault" => !rival.starts_with("hugepool"),
                Json::Text(_) => (has_shape && name == "shape") || name == "clock",
                _ if ["refuses", "fault"].contains(&name.as_str()) => false,
                Json::Bool(_) => name == "noisy",
                Json::Number(_) if place < FIRST_OF_EXHAUSTED => true,
                Json::Number(_) if place < FIRST_OF_ENGINE => is_exhausted,
                Json::Number(_) if place < FIRST_OF_ALL => pattern == "engine",
                Json::Number(_) => true,
                _ => false,
            };
            assert!(is_right, "{name}: {row:?}");
        }
        if rival.starts_with("hugepool") {
            for field in ["refused", "lost"] {
                assert_eq!(row.field(field).number(), 0.0, "{row:?}");
            }
            let standing = &row.field("standing").values()[0];
            assert!(["restartable", "portable"].contains(&standing.field("cache").text()));
            let pages = &standing.field("pages").values()[0];
            assert!(pages.field("bytes").number() > 0.0, "{row:?}");
        }
        rivals.insert(rival.to_owned());
        patterns.insert(pattern.to_owned());
    }
    assert_eq!(rivals, RIVALS.map(str::to_owned).into());
    assert_eq!(patterns.len(), 9, "{patterns:?}");

    let csv = fs::read_to_string(csv).expect("the CSV file was written");
    let mut lines = csv.lines();
    let header = lines.next().expect("a header");
    assert!(header.starts_with(&FIELDS.join(",")), "{header}");
    let spreads = header.split(',').skip(FIELDS.len()).collect::<Vec<_>>();
    assert_eq!(
        spreads[..4],
        [
            "ns_per_op_min",
            "ns_per_op_q1",
            "ns_per_op_q3",
            "ns_per_op_max"
        ]
    );
    for (line, row) in lines.clone().zip(rows) {
        // A fault in words has spaces behind its commas.
        let line = line.replace(", ", " ");
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), FIELDS.len() + spreads.len(), "{line}");
        assert_eq!(cells[0], row.field("rival").text(), "{line}");
    }
    assert_eq!(lines.count(), rows.len());

    let html = fs::read_to_string(html).expect("the HTML file was written");
    for reference in [
        "http:", "https:", "src=", "url(", "@import", "<link", "<script",
    ] {
        assert!(
            !html.contains(reference),
            "the page refers to something: {reference}"
        );
    }
    assert!(html.contains("<svg") && html.ends_with("</html>\n"));
    for rival in RIVALS {
        assert!(
            html.contains(&format!(">{rival}<")),
            "{rival} is not in the page"
        );
        assert!(run.stdout.contains(rival), "{rival} is not in the table");
    }
}

#[test]
fn the_table_says_what_it_ran_on_and_compares_to_the_pool() {
    let run = quick(&[
        "--patterns",
        "same",
        "--sizes",
        "4K",
        "--rivals",
        "hugepool,arrayqueue",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for word in [
        "machine",
        "huge pages",
        "timer",
        "rivals",
        "method",
        "ratio",
        "refused",
        "lost",
    ] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
    let mut rows = run
        .stdout
        .lines()
        .filter(|line| line.trim_start().starts_with("hugepool "));
    assert!(
        rows.any(|row| row.split_whitespace().nth(2) == Some("1.00")),
        "the pool's own ratio is 1: {}",
        run.stdout
    );
    assert!(
        !run.stderr.contains('%'),
        "no progress without a terminal: {}",
        run.stderr
    );
}

#[test]
fn wrong_options_exit_with_2_and_name_the_value_and_what_is_valid() {
    let cases: [(&[&str], &[&str]); 14] = [
        (
            &["--patterns", "zigzag"],
            &["zigzag", "same", "pipeline", "fill"],
        ),
        (
            &["--rivals", "hugepool,tcmalloc"],
            &["tcmalloc", "hugepool-raw", "mutex-vec"],
        ),
        (&["--rivals", "snmalloc2"], &["snmalloc2", "rpmalloc"]),
        (
            &["--shapes", "64-on-8,8-on-64"],
            &["8-on-64", "17-on-16", "pipeline-64-2"],
        ),
        (&["--sizes", "64Q"], &["64Q"]),
        (&["--sizes", "100"], &["100", "512 B", "67108864 B"]),
        (&["--sizes", "65M"], &["65M", "67108864 B"]),
        (
            &["--sizes", "99999999999999999999G"],
            &["99999999999999999999G"],
        ),
        (&["--alignment", "3000"], &["3000", "power of two"]),
        (&["--threads", "0"], &["0", "1024"]),
        (&["--threads", "many"], &["many", "1024"]),
        (&["--rounds", "0"], &["0", "1000"]),
        (&["--seed", "-1"], &["-1"]),
        (
            &["--json", "/nonexistent/out.json"],
            &["/nonexistent/out.json"],
        ),
    ];
    for (options, words) in cases {
        let run = quick_without_rounds(options);
        assert_eq!(run.code, 2, "{options:?}: {}", run.stderr);
        for word in words {
            assert!(
                run.stderr.contains(word),
                "{options:?}: {word} not in: {}",
                run.stderr
            );
        }
        assert!(run.stdout.is_empty(), "{options:?}: nothing was run");
    }
}

fn quick_without_rounds(options: &[&str]) -> common::Outcome {
    let mut args = vec!["bench", "--millis", "1"];
    args.extend(options);
    hugepool(&args)
}

#[test]
fn a_request_that_leaves_nothing_to_run_is_an_error_with_the_reason() {
    let run = quick(&["--patterns", "pipeline", "--threads", "3"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("even number"), "{}", run.stderr);

    let run = quick(&[
        "--patterns",
        "threads",
        "--sizes",
        "64M",
        "--memory",
        "1M",
        "--threads",
        "2",
    ]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("1 MiB"), "{}", run.stderr);

    for (pattern, rival) in [
        ("same", "hand-off"),
        ("same", "mutex-condvar"),
        ("exhausted", "glibc"),
        ("engine", "mutex-vec"),
        ("same", "array"),
    ] {
        let run = quick(&["--patterns", pattern, "--rivals", rival]);
        assert_eq!(run.code, 2, "{pattern}, {rival}: {}", run.stderr);
    }

    let run = quick(&[
        "--patterns",
        "exhausted",
        "--shapes",
        "256-on-64",
        "--memory",
        "1M",
    ]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("64 buffers"), "{}", run.stderr);

    let run = quick(&["--patterns", "engine", "--memory", "1M"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    for words in ["4 MiB: it needs", "may use 1 MiB"] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    let run = quick(&["--patterns", "engine", "--threads", "3"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("even number"), "{}", run.stderr);
}

#[test]
fn what_is_skipped_beside_what_runs_is_said() {
    let run = quick(&[
        "--patterns",
        "same",
        "--sizes",
        "4K,64M",
        "--memory",
        "4M",
        "--rivals",
        "hugepool",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("skipped"), "{}", run.stdout);
    assert!(run.stdout.contains("64 MiB"), "{}", run.stdout);
}

#[test]
fn the_pool_refuses_and_loses_nothing_with_more_threads_than_processors() {
    let directory = Directory::new("oversubscribed");
    let json = directory.path("out.json");
    let run = quick(&[
        "--patterns",
        "threads,pipeline,burst",
        "--sizes",
        "512,64K",
        "--threads",
        "2,16",
        "--rivals",
        "hugepool,hugepool-class,hugepool-raw",
        "--json",
        &json,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let document = result(&json);
    let rows = document.field("rows").values();
    assert_eq!(rows.len(), 3 * 2 * 2 * 3);
    for row in rows {
        for field in ["refused", "lost"] {
            assert_eq!(row.field(field).number(), 0.0, "{row:?}");
        }
        let by = row.field("clock").text();
        assert!(
            row.field("threads").number() < 16.0 || by == "cpu",
            "{row:?}"
        );
    }
}

#[test]
fn sizes_and_alignments_at_their_limits_are_measured() {
    for (size, alignment) in [("512", "1"), ("513", "64"), ("4K", "2M"), ("64M", "4K")] {
        let run = quick(&[
            "--patterns",
            "same",
            "--sizes",
            size,
            "--alignment",
            alignment,
            "--rivals",
            "hugepool,hugepool-raw,mmap,mutex-vec",
        ]);
        assert_eq!(run.code, 0, "{size} at {alignment}: {}", run.stderr);
        assert!(
            !run.stdout.contains("refuses"),
            "{size} at {alignment}: {}",
            run.stdout
        );
    }
}
