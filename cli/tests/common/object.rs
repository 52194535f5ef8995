//! Shared objects that tests compile, to be rivals in `bench`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Directory, Json};

/// What an object of these tests is made of: a bump allocator whose takes are counted, and which does `TAKE` in each.
/// `LATE` is true from the first take on that is not one of the benchmark's first look at the buffers.
pub const SOURCE: &str = r#"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "hugepool_rival.h"
static atomic_long takes;
#define LATE (taken > 64)
static char still[1 << 20] __attribute__((aligned(4096), unused));
static void *fresh(size_t size, size_t alignment) {
    return aligned_alloc(alignment, (size + alignment - 1) & -alignment);
}
void *hp_rival_take(size_t size, size_t alignment) {
    long taken = atomic_fetch_add(&takes, 1) + 1;
    (void)taken;
    TAKE
    return fresh(size, alignment);
}
void hp_rival_give(void *buffer, size_t size, size_t alignment) {
    (void)size;
    GIVE
    if ((size_t)buffer % alignment == 0 && (buffer < (void *)still || buffer >= (void *)(&still + 1))) free(buffer);
}
"#;

/// A C compiler, or word that there is none.
pub fn compiler() -> Option<&'static str> {
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let found = ["cc", "gcc", "clang"].into_iter().find(works);
    if found.is_none() {
        eprintln!("SKIPPED: there is no C compiler here");
    }
    found
}

/// Compiles a shared object into the directory: its path.
pub fn object(
    directory: &Directory,
    compiler: &str,
    name: &str,
    source: &str,
    flags: &[&str],
) -> String {
    let tried = compile(directory, compiler, name, source, flags);
    tried.unwrap_or_else(|said| panic!("{name}: {said}"))
}

/// The same; the error is what the compiler says.
pub fn compile(
    directory: &Directory,
    compiler: &str,
    name: &str,
    source: &str,
    flags: &[&str],
) -> Result<String, String> {
    let [file, object] =
        [format!("{name}.c"), format!("lib{name}.so")].map(|it| directory.path(&it));
    fs::write(&file, source).expect("the directory can be written");
    let output = Command::new(compiler)
        .args([
            "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I",
        ])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("rival"))
        .args(["-o", &object, &file])
        .args(flags)
        .output()
        .expect("the compiler starts");
    if output.status.success() {
        Ok(object)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The rows of a rival in a result.
pub fn rows<'r>(document: &'r Json, rival: &str) -> Vec<&'r Json> {
    let rows = document.field("rows").values().iter();
    rows.filter(|row| row.field("rival").text() == rival)
        .collect()
}

/// Asserts that a rival has a value for the time of an operation in each round of each of its rows.
pub fn assert_whole(document: &Json, rival: &str, groups: usize, rounds: usize) {
    let rows = rows(document, rival);
    assert_eq!(rows.len(), groups, "{rival}");
    for row in rows {
        let values = row.field("rounds").field("ns_per_op").values();
        assert_eq!(values.len(), rounds, "{row:?}");
        let all = values.iter().all(|value| matches!(value, Json::Number(_)));
        assert!(all, "{row:?}");
        assert_eq!(
            (row.field("fault"), row.field("refuses")),
            (&Json::Null, &Json::Null)
        );
    }
}
