//! The `bench` command, run as a user runs it, with windows of a millisecond: its outputs, its errors and its claim
//! that the pool refuses and loses nothing. No test asks how long anything took.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use common::{Directory, Json, hugepool, parse_json, quick, result};

/// Of a row in both forms.
const FIELDS: [&str; 37] = [
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
];

/// Of a row in JSON, besides.
const NESTED: [&str; 3] = ["standing", "spread", "rounds"];

/// From here on the fields belong to the pattern `exhausted` alone.
const FIRST_OF_EXHAUSTED: usize = 15;
/// From here on they belong to the pattern `engine` alone.
const FIRST_OF_ENGINE: usize = 23;
/// From here on they belong to all patterns again, or to all but those two.
const FIRST_OF_ALL: usize = 28;

const RIVALS: [&str; 22] = [
    "hugepool",
    "hugepool-class",
    "hugepool-raw",
    "glibc",
    "mmap",
    "jemalloc",
    "mimalloc",
    "rpmalloc",
    "arrayqueue",
    "mutex-vec",
    "store-io-buf",
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
        let of_columns = fields.iter().take(FIELDS.len()).enumerate();
        for (place, (name, value)) in of_columns.skip(2) {
            let is_right = match value {
                Json::Null => true,
                Json::Text(_) => (is_exhausted && name == "shape") || name == "clock",
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
    assert_eq!(patterns.len(), 8, "{patterns:?}");

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
        ("same", "channel"),
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
            !run.stdout.contains("left out"),
            "{size} at {alignment}: {}",
            run.stdout
        );
    }
}

#[test]
fn every_figure_has_its_rounds_and_what_they_come_to() {
    let directory = Directory::new("rounds");
    let [json, csv, html] = ["out.json", "out.csv", "out.html"].map(|name| directory.path(name));
    let run = hugepool(&[
        "bench",
        "--millis",
        "1",
        "--rounds",
        "7",
        "--patterns",
        "same,exhausted",
        "--shapes",
        "pipeline-1-1",
        "--sizes",
        "4K",
        "--rivals",
        "hugepool,mutex-vec,channel,no-pool",
        "--json",
        &json,
        "--csv",
        &csv,
        "--html",
        &html,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let document = result(&json);
    let csv = fs::read_to_string(csv).expect("the CSV file was written");
    let header: Vec<&str> = csv.lines().next().expect("a header").split(',').collect();
    let html = fs::read_to_string(html).expect("the HTML file was written");
    for (row, line) in document
        .field("rows")
        .values()
        .iter()
        .zip(csv.lines().skip(1))
    {
        let cells: Vec<&str> = line.split(',').collect();
        let Json::Object(rounds) = row.field("rounds") else {
            panic!("no object: {row:?}")
        };
        let is_usual = row.field("pattern").text() == "same";
        let first = if is_usual { "cpu_share" } else { "takes_per_s" };
        for name in ["ns_per_op", "cpu_ns_per_op", "p50_ns", "max_ns", first] {
            assert!(
                rounds.iter().any(|(figure, _)| figure == name),
                "{name}: {row:?}"
            );
        }
        for (name, values) in rounds {
            let mut values: Vec<f64> = values.values().iter().map(Json::number).collect();
            assert_eq!(values.len(), 7, "{name}: {row:?}");
            values.sort_by(f64::total_cmp);
            let spread = row.field("spread").field(name).values();
            let spread: Vec<f64> = spread.iter().map(Json::number).collect();
            // Of seven the quartiles lie between two values.
            let quartile = |at: usize| f64::midpoint(values[at], values[at + 1]);
            let five = [values[0], quartile(1), values[3], quartile(4), values[6]];
            for (found, expected) in spread.iter().zip(five) {
                assert!(
                    (found - expected).abs() <= 2e-4,
                    "{name}: {spread:?}, {values:?}"
                );
            }
            for (part, value) in [
                ("min", spread[0]),
                ("q1", spread[1]),
                ("q3", spread[3]),
                ("max", spread[4]),
            ] {
                let column = format!("{name}_{part}");
                let at = header
                    .iter()
                    .position(|name| *name == column)
                    .expect(&column);
                assert_eq!(cells[at].parse(), Ok(value), "{column}: {line}");
            }
        }
        assert!(html.contains("<small>"), "the page has the rounds");
    }
    // The interval of the paired ratios, worked out again.
    let rows = document.field("rows").values();
    let times = |rival: &str| -> Vec<f64> {
        let row = rows
            .iter()
            .find(|row| row.field("rival").text() == rival)
            .expect(rival);
        let times = row.field("rounds").field("ns_per_op").values();
        times.iter().map(Json::number).collect()
    };
    let (pool, other) = (times("hugepool"), times("mutex-vec"));
    let mut ratios: Vec<f64> = other
        .iter()
        .zip(&pool)
        .map(|(other, pool)| other / pool)
        .collect();
    ratios.sort_by(f64::total_cmp);
    let row = rows
        .iter()
        .find(|row| row.field("rival").text() == "mutex-vec")
        .expect("it ran");
    for (field, expected) in [
        ("ratio", ratios[3]),
        ("ratio_low", ratios[0]),
        ("ratio_high", ratios[6]),
    ] {
        let found = row.field(field).number();
        assert!(
            (found / expected - 1.0).abs() < 1e-3,
            "{field}: {found}, {ratios:?}"
        );
    }
    assert_eq!(row.field("ratio_coverage").number(), 0.9844);
    let line = run
        .stdout
        .lines()
        .find(|line| line.starts_with("  mutex-vec "))
        .expect("a row");
    assert_eq!(
        line.contains("no difference"),
        ratios[0] <= 1.0 && 1.0 <= ratios[6],
        "{line}"
    );
}

#[test]
fn a_few_rounds_have_no_interval_and_it_is_said() {
    let run = quick(&[
        "--patterns",
        "same",
        "--sizes",
        "4K",
        "--rivals",
        "hugepool,mutex-vec",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let line = run
        .stdout
        .lines()
        .find(|line| line.starts_with("  mutex-vec "))
        .expect("a row");
    assert!(line.contains("too few rounds"), "{line}");
    let text = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("interval: none, which takes 6 rounds to be 95 % sure"),
        "{text}"
    );
}

/// As the lock file has it, read here in another way than the build script does: by what this package depends on.
#[test]
fn the_versions_in_a_result_are_those_of_the_lock_file() {
    let directory = Directory::new("versions");
    let json = directory.path("out.json");
    let run = quick(&["--patterns", "same", "--sizes", "4K", "--json", &json]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let document = result(&json);
    let Json::Object(versions) = document.field("versions") else {
        panic!("no object")
    };
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"))
        .expect("it is there");
    let packages: Vec<&str> = lock.split("[[package]]").skip(1).collect();
    let value = |package: &str, name: &str| -> String {
        let start = format!("{name} = \"");
        let line = package
            .lines()
            .find(|line| line.starts_with(&start))
            .expect(name);
        line[start.len()..].trim_end_matches('"').to_owned()
    };
    let named = |name: &str| -> Vec<&str> {
        let all = packages.iter().copied();
        all.filter(|package| value(package, "name") == name)
            .collect()
    };
    let own = named("hugepool-cli")[0];
    let mut from_lock = 0;
    for (rival, version) in versions {
        let version = version.text();
        if rival == "hugepool" {
            let pool = named("hugepool")[0];
            assert_eq!(version, value(pool, "version"));
            continue;
        }
        let (name, number) = version.split_once(' ').expect("a name and a number");
        if rival == "glibc" {
            assert!(number.starts_with("2."), "{version}");
            continue;
        }
        // Where there are several of a name, the dependency says which: `"name version"`.
        let dependency = own
            .lines()
            .map(|line| line.trim_matches(&[' ', '"', ','][..]))
            .find(|line| *line == name || line.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{name} is no dependency"));
        let locked: Vec<String> = match dependency.split_once(' ') {
            Some((_, locked)) => vec![locked.to_owned()],
            None => named(name)
                .into_iter()
                .map(|package| value(package, "version"))
                .collect(),
        };
        assert_eq!(locked, [number], "{rival}");
        from_lock += 1;
    }
    assert!(from_lock >= 7, "{versions:?}");
}

#[test]
fn a_result_says_where_it_comes_from() {
    let directory = Directory::new("origin");
    let json = directory.path("out.json");
    let run = quick(&[
        "--patterns",
        "same",
        "--sizes",
        "4K,8K",
        "--seed",
        "12",
        "--rivals",
        "hugepool,limit",
        "--json",
        &json,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let document = result(&json);
    assert_eq!(document.field("format").number(), 1.0);
    assert_eq!(document.field("seed").number(), 12.0);
    let date = document.field("date").text();
    let pattern = "....-..-..T..:..:..Z";
    let fits = |(c, wanted): (char, char)| c == wanted || (wanted == '.' && c.is_ascii_digit());
    assert!(
        date.len() == pattern.len() && date.chars().zip(pattern.chars()).all(fits),
        "{date}"
    );
    let machine = document.field("machine");
    assert!(machine.field("allowed_cpus").number() >= 1.0);
    assert!(machine.field("nodes").number() >= 1.0);
    assert!(machine.field("memory_bytes").number() > 1e6);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux");
    assert_eq!(machine.field("kernel").text(), kernel.trim());
    let options = document.field("options");
    let sizes: Vec<f64> = options
        .field("sizes")
        .values()
        .iter()
        .map(Json::number)
        .collect();
    assert_eq!(sizes, [4096.0, 8192.0]);
    assert_eq!(options.field("rivals").values().len(), 2);
    assert_eq!(options.field("handicap"), &Json::Null);
    let cache = document.field("caches").values()[0].text();
    assert!(
        run.stdout.contains(&format!("cache: {cache}")),
        "{}",
        run.stdout
    );
}

#[test]
fn a_round_leaves_out_who_made_no_progress_in_an_earlier_one() {
    let rivals = |more: &[&str]| -> Vec<String> {
        let options = [
            "--patterns",
            "same",
            "--sizes",
            "4K",
            "--rivals",
            "hugepool,glibc",
            "--round",
            "0",
        ];
        let run = quick(&[&options, more].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let line = parse_json(&run.stdout);
        let rows = line.field("rows").values();
        rows.iter()
            .map(|row| row.field("rival").text().to_owned())
            .collect()
    };
    assert_eq!(rivals(&[]), ["hugepool", "glibc"]);
    assert_eq!(rivals(&["--stalled", "0:glibc"]), ["hugepool"]);
    assert_eq!(
        rivals(&["--stalled", "1:glibc"]),
        ["hugepool", "glibc"],
        "of another group"
    );
}

/// A round's process says why it ends, and the run says which round it was.
#[test]
fn a_round_that_fails_ends_the_run_with_its_reason() {
    let program = env!("CARGO_BIN_EXE_hugepool");
    let bench = "bench --millis 1 --rounds 2 --patterns same --sizes 1M --rivals hugepool";
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -v 60000; exec {program} {bench}")])
        .output()
        .expect("there is a shell");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("hugepool: no pool of 64 buffers of 1 MiB"),
        "{error}"
    );
    assert!(
        error.contains("round 1, same, 1 thread, 1 MiB at 4096: its process ended, exit status: 1"),
        "{error}"
    );
}

/// An allocator that is loaded before the C library's is called by its own name.
#[test]
fn a_preloaded_allocator_is_named_as_what_it_is() {
    let directory = Directory::new("bench-preloaded");
    let (source, object) = (
        directory.path("own.c"),
        directory.path("libown-malloc.so.7"),
    );
    let code = "#include <stddef.h>\n\
                extern void *__libc_memalign(size_t, size_t);\n\
                int posix_memalign(void **start, size_t alignment, size_t size)\n\
                { *start = __libc_memalign(alignment, size); return *start == NULL; }\n";
    std::fs::write(&source, code).unwrap();
    let built = Command::new("gcc")
        .args(["-shared", "-fPIC", "-o", &object, &source])
        .status();
    assert!(built.expect("gcc").success());
    let json = directory.path("json");
    for rival in ["glibc", "libown-malloc.so.7"] {
        let run = Command::new(env!("CARGO_BIN_EXE_hugepool"))
            .env("LD_PRELOAD", &object)
            .args([
                "bench",
                "--patterns",
                "same",
                "--sizes",
                "4K",
                "--rounds",
                "1",
            ])
            .args(["--millis", "1", "--rivals", rival, "--json", &json])
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(run.status.success(), "{said}");
        let row = |name: &str| said.lines().any(|line| line.trim_start().starts_with(name));
        assert!(row("libown-malloc.so.7 ") && !row("glibc "), "{said}");
        let whole = parse_json(&std::fs::read_to_string(&json).unwrap());
        let version = whole.field("versions").field("libown-malloc.so.7").text();
        assert!(version.contains("preloaded over glibc"), "{version}");
    }
}
