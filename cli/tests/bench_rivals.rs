//! Rivals of one's own in `bench`: shared objects that the tests compile, right ones and wrong ones. What a wrong one does
//! is said, and costs nobody else's results. No test asks how long anything took.

mod common;

use std::fs;
use std::process::Command;

use common::object::{SOURCE, assert_whole, compiler, object, rows};
use common::{Directory, Json, Outcome, quick, result};

/// The example of the guide.
const EXAMPLE: &str = include_str!("../rival/example.c");

#[test]
fn the_example_of_the_guide_runs_in_every_pattern_whose_takes_do_not_wait() {
    let guide = include_str!("../../docs/rivals.md");
    assert!(
        guide.contains(&format!("```c\n{EXAMPLE}```")),
        "the guide shows the example"
    );
    let Some(compiler) = compiler() else { return };
    let directory = Directory::new("example");
    let mine = object(&directory, compiler, "mine", EXAMPLE, &[]);
    let json = directory.path("out.json");
    let run = quick(&[
        "--sizes",
        "4K",
        "--threads",
        "2",
        "--memory",
        "64M",
        "--shapes",
        "17-on-16",
        "--rivals",
        "hugepool",
        "--rival",
        &format!("mine={mine}"),
        "--json",
        &json,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let document = result(&json);
    assert_whole(&document, "mine", 7, 1);
    for row in rows(&document, "mine") {
        for nothing in ["refused", "lost"] {
            assert_eq!(row.field(nothing).number(), 0.0, "{row:?}");
        }
    }
    let version = document.field("versions").field("mine").text();
    assert_eq!(version, "mine (libmine.so)");
    assert!(run.stdout.contains("mine (libmine.so)"), "{}", run.stdout);
}

/// Its own rival beside two others, in two groups and two rounds.
fn beside_others(directory: &Directory, own: &[(&str, &str)]) -> (Outcome, Json) {
    let json = directory.path("out.json");
    let mut args = vec![
        "bench",
        "--millis",
        "1",
        "--rounds",
        "2",
        "--patterns",
        "ring,same",
        "--sizes",
        "4K",
        "--rivals",
        "hugepool,mutex-vec",
        "--json",
        &json,
    ];
    let options: Vec<String> = own
        .iter()
        .map(|(name, object)| format!("{name}={object}"))
        .collect();
    for option in &options {
        args.extend(["--rival", option]);
    }
    let run = common::hugepool(&args);
    let document = result(&json);
    (run, document)
}

#[test]
fn a_rival_that_cannot_be_loaded_is_named_with_the_reason_and_the_others_are_measured() {
    let Some(compiler) = compiler() else { return };
    let directory = Directory::new("unloaded");
    let take = "#include <stdlib.h>\nvoid *hp_rival_take(size_t s, size_t a) { (void)s; (void)a; return 0; }\n";
    let text = directory.path("text.so");
    fs::write(&text, "no object\n").expect("the directory can be written");
    let unresolved = format!(
        "{take}void hp_nowhere(void);\nvoid hp_rival_give(void *b) {{ (void)b; hp_nowhere(); }}\n"
    );
    let cases = [
        (
            object(&directory, compiler, "half", take, &[]),
            "no function `hp_rival_give`",
        ),
        (
            object(&directory, compiler, "none", "int nothing;\n", &[]),
            "no function `hp_rival_take`",
        ),
        (
            object(&directory, compiler, "unresolved", &unresolved, &[]),
            "hp_nowhere",
        ),
        (text.clone(), "text.so"),
    ];
    for (object, why) in cases {
        let (run, document) = beside_others(&directory, &[("bad", &object)]);
        assert_eq!(run.code, 2, "{object}: {}", run.stderr);
        let said = run
            .stderr
            .lines()
            .filter(|line| line.starts_with("FAILED: bad: "));
        let said: Vec<&str> = said.collect();
        assert_eq!(said.len(), 1, "{}", run.stderr);
        assert!(said[0].contains(why), "{why}: {}", run.stderr);
        for other in ["hugepool", "mutex-vec"] {
            assert_whole(&document, other, 2, 2);
        }
        assert_failed(&document, &run, "bad", 2, why);
    }
}

/// Asserts that each of its rows says why it has no figures, and the table too.
fn assert_failed(document: &Json, run: &Outcome, rival: &str, groups: usize, why: &str) {
    let failed = rows(document, rival);
    assert_eq!(failed.len(), groups, "{rival}");
    for row in failed {
        assert!(row.field("fault").text().contains(why), "{why}: {row:?}");
    }
    let lines = run
        .stdout
        .lines()
        .filter(|line| line.starts_with(&format!("  ! {rival}: ")));
    assert_eq!(lines.count(), groups, "{}", run.stdout);
}

#[test]
fn a_rival_that_ends_its_process_is_put_out_and_the_others_keep_all_rounds() {
    let Some(compiler) = compiler() else { return };
    let directory = Directory::new("ended");
    let on_load = "__attribute__((constructor)) static void load(void) { WHAT }\n";
    let with = |name: &str, take: &str, give: &str, load: &str| {
        let source = format!("{SOURCE}{}", on_load.replace("WHAT", load));
        let source = source.replace("TAKE", take).replace("GIVE", give);
        object(&directory, compiler, name, &source, &[])
    };
    let at_end = "static void end(void) { abort(); }\n__attribute__((constructor)) static void load(void) { atexit(end); }\n";
    let at_end = format!("{SOURCE}{at_end}")
        .replace("TAKE", "")
        .replace("GIVE", "");
    let cases = [
        (
            with("load", "", "", "*(volatile char *)8 = 1;"),
            ["ended, signal: 11", "loaded"],
        ),
        (
            with("exit", "", "", "_exit(0);"),
            ["ended, exit status: 0", "loaded"],
        ),
        (
            with("take", "*(volatile char *)8 = 1;", "", ""),
            ["ended, signal: 11", "loaded"],
        ),
        (
            with("give", "", "abort();", ""),
            ["ended, signal: 6", "loaded"],
        ),
        (
            object(&directory, compiler, "end", &at_end, &[]),
            ["signal: 6", "tried"],
        ),
        (
            with("late", "if (LATE) *(volatile char *)8 = 1;", "", ""),
            ["in it, signal: 11", "round 1"],
        ),
        (
            with("late-exit", "if (LATE) exit(3);", "", ""),
            ["in it, exit status: 3", "round 1"],
        ),
    ];
    for (object, words) in &cases {
        let (run, document) = beside_others(&directory, &[("bad", object)]);
        assert_eq!(run.code, 1, "{object}: {}", run.stderr);
        let said = run
            .stderr
            .lines()
            .filter(|line| line.starts_with("FAILED: bad: "));
        let said: Vec<&str> = said.collect();
        assert_eq!(said.len(), 1, "{object}: {}", run.stderr);
        for word in words {
            assert!(said[0].contains(word), "{object}: {word}: {}", run.stderr);
            assert_failed(&document, &run, "bad", 2, word);
        }
        for other in ["hugepool", "mutex-vec"] {
            assert_whole(&document, other, 2, 2);
        }
    }

    // Several at once, and a right one among them.
    // What it prints is no word of its process.
    let right = with("right", "", "", "puts(\"{\"); fflush(stdout);");
    let own = [
        ("a", cases[0].0.as_str()),
        ("b", cases[5].0.as_str()),
        ("c", cases[6].0.as_str()),
        ("d", right.as_str()),
    ];
    let (run, document) = beside_others(&directory, &own);
    assert_eq!(run.code, 1, "{}", run.stderr);
    for rival in ["a", "b", "c"] {
        assert!(
            run.stderr.contains(&format!("FAILED: {rival}: ")),
            "{}",
            run.stderr
        );
        assert_failed(&document, &run, rival, 2, "ended");
    }
    for other in ["hugepool", "mutex-vec", "d"] {
        assert_whole(&document, other, 2, 2);
    }
}

/// It is loaded for the trial, and for each of the two rounds.
#[test]
fn a_rival_that_ends_a_later_process_keeps_the_rounds_before() {
    let Some(compiler) = compiler() else { return };
    let directory = Directory::new("later");
    let life = r#"
#include <fcntl.h>
static int life;
__attribute__((constructor)) static void load(void) {
    int file = open(LIVES, O_CREAT | O_APPEND | O_WRONLY, 0600);
    if (write(file, "x", 1) != 1) abort();
    life = lseek(file, 0, SEEK_END);
    close(file);
}
"#;
    let source = format!("static int life;{SOURCE}{life}")
        .replace("TAKE", "if (LATE && life == 3) abort();")
        .replace("GIVE", "");
    let lives = format!("-DLIVES=\"{}\"", directory.path("lives"));
    let late = object(&directory, compiler, "late", &source, &[&lives]);
    let (run, document) = beside_others(&directory, &[("late", &late)]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("round 2 ended in it"), "{}", run.stderr);
    assert_failed(&document, &run, "late", 2, "round 2 ended in it");
    for row in rows(&document, "late") {
        let values = row.field("rounds").field("ns_per_op").values();
        assert!(
            matches!(values, [Json::Number(_), Json::Null]),
            "{values:?}"
        );
    }
    for other in ["hugepool", "mutex-vec"] {
        assert_whole(&document, other, 2, 2);
    }
}

#[test]
fn a_rival_whose_buffers_are_wrong_is_named_with_what_is_wrong_with_them() {
    let Some(compiler) = compiler() else { return };
    let directory = Directory::new("wrong");
    let cases = [
        ("null", "return 0;", "returned null with 0 buffers out"),
        (
            "few",
            "if (taken > 5) return 0;",
            "returned null with 5 buffers out",
        ),
        (
            "askew",
            "return (char *)fresh(size, alignment) + 8;",
            "not aligned to 4096",
        ),
        (
            "apart",
            "alignment = 512; return still + taken % 64 * 512;",
            "not aligned to 4096",
        ),
        ("twice", "return still;", "overlap"),
        (
            "later-askew",
            "if (LATE) return still + 8;",
            "not aligned to 4096, seen",
        ),
        (
            "later-twice",
            "if (LATE) return still;",
            "one buffer to two holders",
        ),
        (
            "later-null",
            "if (LATE && taken % 64 == 0) return 0;",
            "although a buffer was free",
        ),
    ];
    for (name, take, why) in cases {
        let source = SOURCE.replace("TAKE", take).replace("GIVE", "");
        let object = object(&directory, compiler, name, &source, &[]);
        let (run, document) = beside_others(&directory, &[(name, &object)]);
        assert_eq!(run.code, 1, "{name}: {}", run.stderr);
        let said = run
            .stderr
            .lines()
            .filter(|line| line.starts_with(&format!("FAILED: {name}, ")));
        let said: Vec<&str> = said.filter(|line| line.contains(why)).collect();
        assert!(!said.is_empty(), "{name}: {}", run.stderr);
        assert!(run.stdout.contains(why), "{name}: {}", run.stdout);
        let rows = rows(&document, name);
        let faults = rows
            .iter()
            .filter(|row| matches!(row.field("fault"), Json::Text(fault) if fault.contains(why)));
        assert_eq!(faults.count(), said.len(), "{name}");
        for other in ["hugepool", "mutex-vec"] {
            assert_whole(&document, other, 2, 2);
        }
    }
}

/// Of the sizes asked for it has one.
#[test]
fn what_a_rival_refuses_is_in_its_row_and_no_failure() {
    let Some(compiler) = compiler() else { return };
    let directory = Directory::new("refuses");
    let open = r#"
const char *hp_rival_open(size_t size, size_t alignment, size_t buffers, size_t threads) {
    (void)alignment; (void)buffers; (void)threads;
    return size > 4096 ? "it has pages only" : 0;
}
const char *hp_rival_version(void) { return "picky 1.2"; }
"#;
    let source = format!("{SOURCE}{open}")
        .replace("TAKE", "")
        .replace("GIVE", "");
    let picky = object(&directory, compiler, "picky", &source, &[]);
    let [json, csv, html] = ["out.json", "out.csv", "out.html"].map(|name| directory.path(name));
    let run = quick(&[
        "--patterns",
        "same,engine",
        "--sizes",
        "4K,1M",
        "--threads",
        "2",
        "--memory",
        "128M",
        "--rivals",
        "hugepool",
        "--rival",
        &format!("picky={picky}"),
        "--json",
        &json,
        "--csv",
        &csv,
        "--html",
        &html,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let words = "refuses 1 MiB at 4096: it has pages only";
    let document = result(&json);
    for row in rows(&document, "picky") {
        let refuses = row.field("size").number() > 4096.0;
        match row.field("refuses") {
            Json::Text(text) => assert!(refuses && text == words, "{row:?}"),
            Json::Null => assert!(!refuses && row.field("ops").number() > 0.0, "{row:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(row.field("fault"), &Json::Null, "{row:?}");
    }
    assert_eq!(rows(&document, "picky").len(), 4);
    let read = |path: &str| fs::read_to_string(path).expect("the file was written");
    for text in [&run.stdout, &read(&csv), &read(&html)] {
        assert_eq!(text.matches(words).count(), 2, "{text}");
    }
    assert!(
        run.stdout.contains("picky 1.2 (libpicky.so)"),
        "{}",
        run.stdout
    );
}

/// The program calls the function in the C library's place; only what the rival asks for has this size.
#[test]
fn a_rival_of_the_program_that_ends_its_process_is_put_out_as_well() {
    let Some(compiler) = compiler() else { return };
    let directory = Directory::new("preloaded");
    let source = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
int posix_memalign(void **buffer, size_t alignment, size_t size) {
    int (*next)(void **, size_t, size_t) = dlsym(RTLD_NEXT, "posix_memalign");
    if (size == 4608) abort();
    return next(buffer, alignment, size);
}
"#;
    let object = object(&directory, compiler, "aborts", source, &["-ldl"]);
    let json = directory.path("out.json");
    let output = Command::new(env!("CARGO_BIN_EXE_hugepool"))
        .env("LD_PRELOAD", &object)
        .args([
            "bench",
            "--millis",
            "1",
            "--rounds",
            "2",
            "--patterns",
            "ring,same",
        ])
        .args([
            "--sizes",
            "4608",
            "--rivals",
            "hugepool,mutex-vec,glibc",
            "--json",
            &json,
        ])
        .output()
        .expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let document = result(&json);
    let said =
        |line: &&str| line.starts_with("FAILED: libaborts.so: ") && line.contains("signal: 6");
    assert_eq!(stderr.lines().filter(said).count(), 1, "{stderr}");
    for other in ["hugepool", "mutex-vec"] {
        assert_whole(&document, other, 2, 2);
    }
    assert_eq!(rows(&document, "libaborts.so").len(), 2);
}

#[test]
fn a_run_of_which_no_rival_is_left_is_an_error() {
    let Some(compiler) = compiler() else { return };
    let directory = Directory::new("alone");
    let take = "if (LATE) *(volatile char *)8 = 1;";
    let source = SOURCE.replace("TAKE", take).replace("GIVE", "");
    let late = object(&directory, compiler, "late", &source, &[]);
    let none = object(&directory, compiler, "none", "int nothing;\n", &[]);
    for (object, code) in [(late, 1), (none, 2)] {
        let own = format!("bad={object}");
        let run = quick(&[
            "--patterns",
            "same",
            "--sizes",
            "4K",
            "--rivals",
            "bad",
            "--rival",
            &own,
        ]);
        assert_eq!(run.code, code, "{}", run.stderr);
        assert!(
            run.stderr.contains("no rival is left: bad failed"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn a_wrong_name_or_file_is_an_error_that_says_what_is_right() {
    let program = env!("CARGO_BIN_EXE_hugepool");
    let [known, twice] = ["mimalloc", "my"].map(|name| format!("{name}={program}"));
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--rival", "my"], &["`my`", "NAME=FILE"]),
        (&["--rival", "m_y=x.so"], &["`m_y`", "letters, digits"]),
        (
            &["--rival", "my=/nonexistent.so"],
            &["my", "/nonexistent.so"],
        ),
        (&["--rival", &known], &["a rival `mimalloc` already"]),
        (
            &["--rival", &twice, "--rival", &twice],
            &["a rival `my` already"],
        ),
    ];
    for (options, words) in cases {
        let run = quick(options);
        assert_eq!(run.code, 2, "{options:?}: {}", run.stderr);
        for word in words {
            assert!(
                run.stderr.contains(word),
                "{options:?}: {word}: {}",
                run.stderr
            );
        }
        assert!(run.stdout.is_empty(), "{options:?}: nothing was run");
    }
}
