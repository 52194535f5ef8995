//! Results that must not be ignored: which those are, and that the compiler warns.

mod common;

use common::{Declared, declared, has, here, run};
use std::process::Command;

/// Those that a program may ignore: they end something, whatever they say; or they set a
/// number in a description, and fail for one that is null, which building says again; or
/// nothing is lost if they do nothing.
const MAY_BE_IGNORED: [&str; 22] = [
    "hp_builder_address_space",
    "hp_builder_climb",
    "hp_builder_cpu_cache",
    "hp_builder_dump",
    "hp_builder_fork",
    "hp_builder_lock",
    "hp_builder_node",
    "hp_builder_portable_caches",
    "hp_builder_prefault",
    "hp_builder_prefer_node",
    "hp_builder_prefix_zone",
    "hp_builder_track",
    "hp_builder_wipe",
    "hp_client_close",
    "hp_last_error",
    "hp_pool_abort",
    "hp_pool_reset_marks",
    "hp_pool_trim",
    "hp_token_cancel",
    "hp_vdi_close",
    "hp_vdi_reset_marks",
    "hp_vdi_signal_abort",
];

#[test]
fn every_other_call_says_that_its_result_must_not_be_ignored() {
    let mut others: Vec<_> = (declared().into_iter())
        .filter(|call| call.has_result && !call.must_use)
        .map(|call| call.name)
        .collect();
    others.sort();
    assert_eq!(others, MAY_BE_IGNORED);
}

/// A program that makes each of `calls` in a line of its own, and looks at no result.
fn ignoring(calls: &[Declared]) -> String {
    let lines = calls.iter().map(|call| {
        let zeros = vec!["0"; call.arguments].join(", ");
        format!("void do_{0}(void) {{ {0}({zeros}); }}\n", call.name)
    });
    lines.collect()
}

/// What `compiler` says of a program that includes `header`.
fn said(compiler: &str, language: &str, header: &str, more: &[&str], code: &str) -> String {
    let name = format!("ignores {compiler} {header} {}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join(PROGRAM);
    std::fs::write(&program, code).unwrap();
    let text = run(Command::new(compiler)
        .args(["-x", language, "-Wall", "-Wextra", "-c", "-o"])
        .arg(folder.join("ignores.o"))
        .arg("-include")
        .arg(here().join("../include").join(header))
        .args(more)
        .arg(&program));
    std::fs::remove_dir_all(folder).unwrap();
    text
}

const PROGRAM: &str = "ignores.c";

/// The lines of the program in which a result is ignored, from 1: `None` for one that is in a
/// macro, where not every compiler says from where. No other warning is said.
fn lines(said: &str) -> Vec<Option<usize>> {
    let warnings = said.lines().filter(|line| line.contains("warning:"));
    let line_of = |warning: &str| {
        assert!(warning.contains("ignoring return"), "{said}");
        let (_, place) = warning.split_once(&format!("{PROGRAM}:"))?;
        place.split(':').next()?.parse().ok()
    };
    warnings.map(line_of).collect()
}

#[test]
fn the_compiler_warns_where_such_a_result_is_ignored_and_nowhere_else() {
    let calls = declared();
    let code = ignoring(&calls);
    let numbered = calls.iter().zip(1..);
    let expected: Vec<usize> = (numbered.filter(|(call, _)| call.must_use))
        .map(|(_, line)| line)
        .collect();
    for (compiler, language, more) in [
        ("gcc", "c", "-std=gnu11"),
        ("gcc", "c", "-DHP_TRACK_PLACES"),
        ("clang", "c", "-std=gnu11"),
        ("clang", "c", "-DHP_TRACK_PLACES"),
        ("g++", "c++", "-std=c++11"),
        ("g++", "c++", "-std=c++20"),
        ("clang++", "c++", "-std=c++11"),
        ("clang++", "c++", "-std=c++20"),
    ] {
        if !has(compiler) {
            continue;
        }
        let warnings = said(compiler, language, "hugepool.h", &[more], &code);
        let found = lines(&warnings);
        assert_eq!(found.len(), expected.len(), "{compiler} {more}: {warnings}");
        let differs = (found.iter().zip(&expected))
            .any(|(found, expected)| found.is_some_and(|found| found != *expected));
        assert!(!differs, "{compiler} {more}: {warnings}");
        let silenced = said(
            compiler,
            language,
            "hugepool.h",
            &[more, "-DHP_MUST_USE="],
            &code,
        );
        assert_eq!(silenced, "", "{compiler} {more}");
    }
}

/// The same of the objects that C++ programs have: each line ignores one result.
const IGNORES: &str = "
void builder(hugepool::Builder &o, hugepool::Pool &p) { o.build(p); }
void pool(hugepool::Pool &o, hugepool::Buffer &b) { o.allocate(1, 1, b); }
void timeout(hugepool::Pool &o, hugepool::Buffer &b) { o.allocate_timeout(1, 1, 1, b); }
void many(hugepool::Pool &o, hugepool::Buffer *b) { o.allocate_many(1, 1, b, 1); }
void find(hugepool::Pool &o, hugepool::Class &c) { o.find_class(1, 1, c); }
void stream(hugepool::Stream &o, hugepool::Buffer &b) { o.allocate(1, 1, b); }
void of_class(hugepool::Class &o, hugepool::Buffer &b) { o.allocate(b); }
void wait(hugepool::Wait &o, hugepool::Buffer &b) { o.poll(b); }
void buffer(hugepool::Buffer &o) { o.free(); }
void filled(hugepool::Buffer &o) { o.set_size(1); }
void given_up(hugepool::Buffer &o) { o.release(); }
void set(hugepool::ServerVirtualDeviceSet &o, void **b) { o.AllocateBuffer(b, 1, 1); }
void client(hugepool::ClientVirtualDeviceSet &o) { o.OpenInSecondary(nullptr); }
";

/// What it may ignore.
const MAY_IGNORE: &str = "
void all(hugepool::Pool &pool, hugepool::Buffer &buffer, hugepool::Token &token,
         hugepool::Builder &builder, hugepool::ServerVirtualDeviceSet &set) {
    pool.trim();
    pool.abort();
    buffer.reset();
    token.cancel();
    builder.reserve(1, 1, 1).prefault(false);
    set.SignalAbort();
    set.Close();
}
";

#[test]
fn the_compiler_warns_of_the_objects_in_cpp_too() {
    for (compiler, standard) in [
        ("g++", "-std=c++11"),
        ("g++", "-std=c++17"),
        ("g++", "-std=c++20"),
        ("clang++", "-std=c++11"),
        ("clang++", "-std=c++17"),
        ("clang++", "-std=c++20"),
    ] {
        if !has(compiler) {
            continue;
        }
        let warnings = said(compiler, "c++", "hugepool.hpp", &[standard], IGNORES);
        let expected: Vec<_> = (2..=IGNORES.lines().count()).map(Some).collect();
        assert_eq!(
            lines(&warnings),
            expected,
            "{compiler} {standard}: {warnings}"
        );
        let none = said(compiler, "c++", "hugepool.hpp", &[standard], MAY_IGNORE);
        assert_eq!(none, "", "{compiler} {standard}");
    }
}
