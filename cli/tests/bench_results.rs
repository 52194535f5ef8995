//! What a result of `bench` holds: each figure's rounds and what they come to, where it comes from, and what becomes of it
//! when a round fails. No test asks how long anything took.

mod common;

use std::fs;
use std::process::Command;

use common::{Directory, Json, hugepool, parse_json, quick, result};

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
fn a_round_leaves_out_who_made_no_progress_or_failed_in_an_earlier_one() {
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
        let line = parse_json(run.stdout.lines().last().expect("it measured a group"));
        let rows = line.field("group").field("rows").values();
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
    assert_eq!(rivals(&["--failed", "glibc"]), ["hugepool"]);
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
    let reason = "round 1, same, 1 thread, 1 MiB at 4096: hugepool: no pool of 64 buffers of 1 MiB";
    assert!(error.contains(reason), "{error}");
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
