//! What a run of `bench` measures: on which pages, with which caches, who takes and who gives, of which sizes, and what is
//! held. What this machine cannot show is skipped, and said. No test asks how long anything took.

mod common;

use std::fs;

use common::{Directory, Json, hugepool, measured, quick, refused, result};

/// The kinds of pages of a row, and the bytes of them that are huge.
fn stood_on(row: &Json) -> Vec<(String, f64)> {
    let standings = row.field("standing").values().iter();
    let pages = standings.flat_map(|standing| standing.field("pages").values());
    pages
        .map(|part| {
            (
                part.field("kind").text().to_owned(),
                part.field("huge_bytes").number(),
            )
        })
        .collect()
}

#[test]
fn pools_are_compared_on_the_pages_that_were_asked_for() {
    let rivals = "hugepool,hugepool-raw,hugepool-portable,arrayqueue,mutex-vec,limit,glibc";
    let options = [
        "--patterns",
        "same",
        "--sizes",
        "64K",
        "--memory",
        "64M",
        "--rivals",
        rivals,
    ];
    let (run, document) = measured("base", &[&options[..], &["--pages", "base"]].concat());
    assert!(run.stdout.contains("on base pages"), "{}", run.stdout);
    let asked = document.field("options").field("pages").values();
    assert_eq!(asked, [Json::Text("base".to_owned())]);
    for row in document.field("rows").values() {
        let wanted: &[(String, f64)] = match row.field("rival").text() {
            "glibc" => &[],
            _ => &[("base".to_owned(), 0.0)],
        };
        assert_eq!(stood_on(row), wanted, "{row:?}");
    }
    // There is something to fall back on, whatever the machine has.
    let (_, document) = measured(
        "fall-back",
        &[&options[..], &["--pages", "base,huge-2m"]].concat(),
    );
    let asked = document.field("options").field("pages").values();
    assert_eq!(
        asked,
        ["huge-2m", "base"].map(|kind| Json::Text(kind.to_owned()))
    );
    for row in document.field("rows").values() {
        for (kind, _) in stood_on(row) {
            assert!(["huge-2m", "base"].contains(&kind.as_str()), "{row:?}");
        }
    }
}

#[test]
fn pages_that_are_not_granted_are_an_error_and_nothing_is_measured() {
    refused(
        &["--pages", "huge"],
        &[
            "`huge`",
            "huge-1g",
            "huge-2m",
            "transparent",
            "collapsed",
            "base",
        ],
    );
    let free = fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages");
    if free.is_ok_and(|free| free.trim() != "0") {
        println!("skipped: there are free pages of 1 GiB");
        return;
    }
    refused(
        &["--pages", "huge-1g"],
        &["--pages huge-1g", "1 GiB huge pages required"],
    );
}

#[test]
fn the_portable_caches_are_a_rival_whose_row_says_so() {
    let (run, document) = measured(
        "portable",
        &[
            "--patterns",
            "same,threads,burst",
            "--sizes",
            "4K",
            "--threads",
            "2",
            "--rivals",
            "hugepool-class,hugepool-portable",
        ],
    );
    assert!(run.stdout.contains("cache: portable"), "{}", run.stdout);
    let rows = document.field("rows").values();
    assert_eq!(rows.len(), 6);
    for row in rows {
        let cache = row.field("standing").values()[0].field("cache").text();
        match row.field("rival").text() {
            "hugepool-portable" => assert_eq!(cache, "portable"),
            _ => assert!(["restartable", "portable"].contains(&cache), "{cache}"),
        }
    }
}

#[test]
fn unequal_pipelines_are_groups_of_their_own_that_compare_finds_again() {
    let directory = Directory::new("pipelines");
    let [json, html] = ["out.json", "out.html"].map(|name| directory.path(name));
    let run = quick(&[
        "--patterns",
        "pipeline",
        "--pipelines",
        "1:1,4:1,1:4,3:4",
        "--sizes",
        "4K",
        "--rivals",
        "hugepool,hugepool-portable,arrayqueue,glibc,hand-off",
        "--json",
        &json,
        "--html",
        &html,
    ]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (0, ""),
        "no rival had anything wrong"
    );
    assert!(
        run.stdout.contains("threads that take: 4, that give: 1"),
        "{}",
        run.stdout
    );
    let document = result(&json);
    let rows = document.field("rows").values();
    let shapes = ["1:1", "4:1", "1:4", "3:4"];
    let wanted: Vec<&str> = shapes.iter().flat_map(|shape| [*shape; 5]).collect();
    let found: Vec<&str> = rows.iter().map(|row| row.field("shape").text()).collect();
    assert_eq!(found, wanted);
    for row in rows {
        let (takers, givers) = row
            .field("shape")
            .text()
            .split_once(':')
            .expect("two sides");
        let both = [takers, givers].map(|side| side.parse::<f64>().expect("a number"));
        assert_eq!(row.field("threads").number(), both[0] + both[1]);
        assert!(row.field("ops").number() > 0.0, "{row:?}");
        // Other pipelines have as many threads.
        let pool = rows
            .iter()
            .find(|other| other.field("shape") == row.field("shape"))
            .expect("the pool is the first");
        let figure = match row.field("clock").text() {
            "cpu" => "cpu_ns_per_op",
            _ => "ns_per_op",
        };
        if row != pool {
            let [own, pools] = [row, pool].map(|row| row.field(figure).number());
            let ratio = row.field("ratio").number();
            assert!((ratio * pools / own - 1.0).abs() < 1e-2, "{row:?}");
        }
    }
    let html = fs::read_to_string(html).expect("the page was written");
    for shape in shapes {
        assert!(html.contains(&format!("pipeline {shape}")), "{shape}");
    }
    let compared = hugepool(&["compare", &json, &json]);
    assert_eq!(compared.code, 0, "{}", compared.stderr);
    for shape in shapes {
        assert!(
            compared.stdout.contains(&format!("pipeline {shape}")),
            "{}",
            compared.stdout
        );
    }
}

#[test]
fn threads_stand_for_even_pipelines_unless_pipelines_are_named() {
    let options = [
        "--patterns",
        "pipeline",
        "--sizes",
        "4K",
        "--rivals",
        "hugepool",
    ];
    let shapes = |more: &[&str]| {
        let (_, document) = measured("even", &[&options[..], more].concat());
        let rows = document.field("rows").values().iter();
        rows.map(|row| row.field("shape").text().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(shapes(&[]), ["1:1", "4:4"]);
    assert_eq!(shapes(&["--threads", "2,6"]), ["1:1", "3:3"]);
    assert_eq!(shapes(&["--threads", "3", "--pipelines", "2:1"]), ["2:1"]);
    for (list, word) in [
        ("4", "`4`"),
        ("0:1", "0:1"),
        ("4:x", "`4:x`"),
        ("1000:25", "1024"),
    ] {
        refused(&["--pipelines", list], &[word]);
    }
}

#[test]
fn a_row_says_what_its_rival_holds_and_what_a_pool_needs_for_its_bookkeeping() {
    let (run, document) = measured(
        "memory",
        &[
            "--patterns",
            "same,threads",
            "--sizes",
            "64K",
            "--threads",
            "2",
            "--memory",
            "64M",
            "--rivals",
            "hugepool,hugepool-class,hugepool-portable,mmap,arrayqueue,mutex-vec",
        ],
    );
    assert!(run.stdout.contains(" MiB "), "{}", run.stdout);
    for row in document.field("rows").values() {
        let rival = row.field("rival").text();
        let bookkeeping = row.field("bookkeeping_bytes");
        match rival.starts_with("hugepool") {
            true => assert!(bookkeeping.number() > 0.0, "{row:?}"),
            false => assert_eq!(bookkeeping, &Json::Null, "{row:?}"),
        }
        let held = match row.field("memory_bytes") {
            Json::Null => {
                println!("skipped: the system does not say how much memory the process holds");
                continue;
            }
            held => held.number(),
        };
        let buffers = row.field("buffers").number() * row.field("size").number();
        // What is mapped beforehand is there: half of it at least, wherever some may be swapped out.
        match rival {
            "mmap" => assert!(held < buffers / 2.0 + 2e6, "it gives all back: {row:?}"),
            _ => assert!(
                held > buffers / 2.0 && held < 2.0 * buffers + 2e6,
                "{row:?}"
            ),
        }
    }
}

#[test]
fn sizes_are_mixed_up_to_the_largest_and_no_rival_has_anything_wrong() {
    let (run, document) = measured(
        "mixed",
        &[
            "--patterns",
            "mixed",
            "--sizes",
            "64K,4K",
            "--threads",
            "1,4",
            "--memory",
            "64M",
        ],
    );
    for words in [
        "sizes: 4 KiB, 8 KiB, 16 KiB, 32 KiB, 64 KiB, each",
        "mixed, 4 threads",
    ] {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
    let rivals: Vec<&str> = (document.field("rows").values().iter())
        .filter(|row| row.field("threads").number() == 4.0)
        .map(|row| row.field("rival").text())
        .collect();
    let wanted = [
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
        "channel",
    ];
    assert_eq!(rivals, wanted);
    for row in document.field("rows").values() {
        assert_eq!(row.field("size").number(), 65_536.0, "the largest: {row:?}");
        assert!(row.field("ops").number() > 0.0, "{row:?}");
        if row.field("rival").text().starts_with("hugepool") {
            let pages = row.field("standing").values()[0].field("pages").values();
            assert_eq!(
                pages.len(),
                5,
                "a class and a segment for each size: {row:?}"
            );
        }
    }
    let run = quick(&["--patterns", "mixed", "--sizes", "2K"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(
        run.stderr.contains("the largest is 2 KiB"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_warm_up_is_as_long_as_it_is_said_to_be() {
    let options = [
        "--patterns",
        "same",
        "--sizes",
        "4K",
        "--rivals",
        "hugepool,glibc",
    ];
    let (run, document) = measured("no-warm-up", &[&options[..], &["--warm-up", "0"]].concat());
    assert!(run.stdout.contains("a warm-up of 0 ms"), "{}", run.stdout);
    assert_eq!(
        document.field("options").field("warm_up_millis").number(),
        0.0
    );
    let (_, document) = measured("usual-warm-up", &options);
    assert_eq!(
        document.field("options").field("warm_up_millis"),
        &Json::Null
    );
    for (value, limit) in [("-1", "-1"), ("60001", "60000"), ("long", "long")] {
        refused(&[&format!("--warm-up={value}")], &[value, limit]);
    }
}
