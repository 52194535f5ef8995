//! The patterns of `bench` whose takes wait, `exhausted` and `engine`, run as a user runs them, with windows of a
//! millisecond. No test asks how long anything took.

mod common;

use std::fs;

use common::{Directory, Json, quick, result};

/// Those that take part in `engine`.
const ENGINES: [&str; 9] = [
    "hugepool",
    "glibc",
    "mmap",
    "jemalloc",
    "mimalloc",
    "rpmalloc",
    "channel",
    "hugepool-ample",
    "array",
];

/// Those that take part in `exhausted`.
const PATIENT: [&str; 8] = [
    "hugepool",
    "hugepool-portable",
    "mutex-condvar",
    "channel",
    "no-pool",
    "hugepool-tasks",
    "semaphore",
    "no-pool-tasks",
];

const SHAPES: [&str; 8] = [
    "17-on-16",
    "64-on-8",
    "256-on-64",
    "128-on-64-asleep",
    "64-on-8-held-0",
    "pipeline-1-1",
    "pipeline-4-2",
    "pipeline-64-2",
];

#[test]
fn a_pool_that_runs_dry_has_a_row_for_each_rival_in_every_shape() {
    let directory = Directory::new("dry");
    let json = directory.path("out.json");
    let run = quick(&[
        "--patterns",
        "exhausted",
        "--sizes",
        "4K,64M",
        "--json",
        &json,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!run.stdout.contains("skipped"), "{}", run.stdout);
    let mut rows = Vec::new();
    for line in result(&json).field("rows").values() {
        let field = |wanted: &str| line.field(wanted).clone();
        let [Json::Text(rival), Json::Text(shape)] = [field("rival"), field("shape")] else {
            panic!("rival and shape are names: {line:?}")
        };
        assert_eq!(field("size"), Json::Number(4096.0), "the first: {line:?}");
        for count in ["refused", "lost"] {
            assert_eq!(field(count), Json::Number(0.0), "{count}: {line:?}");
        }
        for measured in ["takes_per_s", "cpu_ns_per_op", "longest_wait_ns"] {
            assert!(
                matches!(field(measured), Json::Number(_)),
                "{measured}: {line:?}"
            );
        }
        assert_eq!(
            matches!(field("beyond_work_ns"), Json::Number(_)),
            !rival.starts_with("no-pool"),
            "beyond its own work a baseline has nothing: {line:?}"
        );
        rows.push((shape, rival));
    }
    let expected: Vec<(String, String)> = SHAPES
        .into_iter()
        .flat_map(|shape| PATIENT.map(|rival| (shape.to_owned(), rival.to_owned())))
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn a_shape_is_compared_with_the_best_of_its_rivals() {
    let directory = Directory::new("compared");
    let html = directory.path("out.html");
    let run = quick(&[
        "--patterns",
        "exhausted",
        "--shapes",
        "64-on-8,pipeline-4-2",
        "--html",
        &html,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let html = fs::read_to_string(html).expect("the HTML file was written");
    for rival in ["hugepool", "hugepool-tasks"] {
        let sentences = run.stdout.lines().filter(|line| {
            line.starts_with(&format!("  {rival}: ")) && line.contains("longest wait")
        });
        assert_eq!(sentences.count(), 2, "{rival}: {}", run.stdout);
        assert!(html.contains(&format!(">{rival}: ")), "{rival}");
    }
    for words in [
        "of mutex-condvar&#39;s",
        "of semaphore&#39;s",
        "64-on-8",
        "pipeline-4-2",
    ] {
        assert!(html.contains(words), "{words}");
    }
    assert!(
        !html.contains("All numbers<"),
        "no row has the other columns"
    );
}

#[test]
fn without_its_baseline_a_row_has_no_time_beyond_the_work() {
    let directory = Directory::new("baseline");
    let csv = directory.path("out.csv");
    let run = quick(&[
        "--patterns",
        "exhausted",
        "--shapes",
        "pipeline-1-1",
        "--rivals",
        "hugepool,mutex-condvar,arrayqueue",
        "--csv",
        &csv,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let csv = fs::read_to_string(csv).expect("the CSV file was written");
    let mut rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let fields = rows.remove(0);
    let beyond = fields.iter().position(|name| *name == "beyond_work_ns");
    assert_eq!(rows.len(), 2, "arrayqueue has no takes that wait: {csv}");
    for row in rows {
        assert_eq!(row[beyond.expect("a field")], "", "{csv}");
    }
}

#[test]
fn an_engine_has_all_its_figures_from_every_rival() {
    let directory = Directory::new("engine");
    let [json, html] = ["out.json", "out.html"].map(|name| directory.path(name));
    let run = quick(&[
        "--patterns",
        "engine",
        "--sizes",
        "64K,256K",
        "--threads",
        "2,6",
        "--memory",
        "96M",
        "--json",
        &json,
        "--html",
        &html,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!run.stdout.contains("skipped"), "{}", run.stdout);
    assert!(!run.stdout.contains("refuses"), "{}", run.stdout);
    let mut rows = Vec::new();
    for line in result(&json).field("rows").values() {
        let field = |wanted: &str| line.field(wanted).clone();
        let number = |wanted: &str| match field(wanted) {
            Json::Number(number) => number,
            other => panic!("{wanted} is {other:?}: {line:?}"),
        };
        let Json::Text(rival) = field("rival") else {
            panic!("a rival is a name: {line:?}")
        };
        for nothing in ["refused", "lost"] {
            assert_eq!(number(nothing), 0.0, "{nothing}: {line:?}");
        }
        for something in ["ops", "gib_per_s", "cpu_s_per_gib"] {
            assert!(number(something) > 0.0, "{something}: {line:?}");
        }
        assert!(number("sleeps_per_gib") >= 0.0, "{line:?}");
        assert_eq!(
            field("barriers_per_gib") != Json::Null,
            rival.starts_with("hugepool"),
            "the pool counts them: {line:?}"
        );
        let blocks_per_gib = f64::from(1 << 30) / number("size");
        // Each buffer is a new mapping, that its reader writes to.
        assert!(
            rival != "mmap" || number("faults_per_gib") >= blocks_per_gib,
            "{line:?}"
        );
        // The pool's memory is there before the first block.
        assert!(
            !rival.starts_with("hugepool") || number("faults_per_gib") < blocks_per_gib,
            "{line:?}"
        );
        rows.push((number("size"), number("threads"), rival));
    }
    let mut expected = Vec::new();
    for size in [65_536.0, 262_144.0] {
        for threads in [2.0, 6.0] {
            expected.extend(ENGINES.map(|rival| (size, threads, rival.to_owned())));
        }
    }
    assert_eq!(rows, expected);

    let own: Vec<Vec<&str>> = run
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|words: &Vec<&str>| words.first() == Some(&"hugepool") && words.len() == 11)
        .collect();
    assert_eq!(own.len(), 4, "{}", run.stdout);
    for words in own {
        assert_eq!((words[2], words[4]), ("1.00", "1.00"), "{words:?}");
    }

    let html = fs::read_to_string(html).expect("the HTML file was written");
    for words in ["rate ", "processor time ", "waiting for buffers takes "] {
        let sentences = run
            .stdout
            .lines()
            .filter(|line| line.starts_with(&format!("  hugepool: {words}")));
        assert_eq!(sentences.count(), 4, "{words}: {}", run.stdout);
        assert!(html.contains(&format!(">hugepool: {words}")), "{words}");
    }
    assert!(
        !html.contains("All numbers<"),
        "no row has the other columns"
    );
}

#[test]
fn an_engine_without_the_pool_is_compared_with_nothing() {
    let run = quick(&[
        "--patterns",
        "engine",
        "--sizes",
        "64K",
        "--threads",
        "2",
        "--memory",
        "32M",
        "--rivals",
        "array,channel",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("array"), "{}", run.stdout);
    assert!(!run.stdout.contains("hugepool: "), "{}", run.stdout);
}
