//! Rivals in `bench` that need a library which is not everywhere: the sources that the guide names, compiled and measured
//! where that is there. No test asks how long anything took.

mod common;

use std::process::Command;

use common::object::{assert_whole, compile, compiler, rows};
use common::{Directory, quick, result};

/// A rival that needs a library which is not everywhere: it is compiled and measured where that is there.
fn library(name: &str, source: &str, flags: &[&str]) {
    let Some(compiler) = compiler() else { return };
    let directory = Directory::new(name);
    let tried = compile(&directory, compiler, name, source, flags);
    let object = match tried {
        Ok(object) => object,
        Err(said) => {
            eprintln!("SKIPPED: {name} cannot be compiled here: {said}");
            return;
        }
    };
    let json = directory.path("out.json");
    let run = quick(&[
        "--patterns",
        "same,threads,pipeline,burst,engine",
        "--sizes",
        "4K,64K",
        "--threads",
        "2,6",
        "--memory",
        "256M",
        "--rivals",
        "hugepool",
        "--rival",
        &format!("{name}={object}"),
        "--json",
        &json,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let document = result(&json);
    assert_whole(&document, name, 18, 1);
    for row in rows(&document, name) {
        for nothing in ["refused", "lost"] {
            assert_eq!(row.field(nothing).number(), 0.0, "{row:?}");
        }
    }
}

#[test]
fn tcmalloc_is_a_rival_where_its_library_is() {
    let source = include_str!("../rival/tcmalloc.c");
    library("tcmalloc", source, &["-ltcmalloc_minimal"]);
}

#[test]
fn the_mempool_of_dpdk_is_a_rival_where_its_library_is() {
    let found = Command::new("pkg-config")
        .args(["--cflags", "libdpdk"])
        .output();
    let flags = match found {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        _ => {
            eprintln!("SKIPPED: there is no DPDK here");
            return;
        }
    };
    let libraries = ["-lrte_mempool", "-lrte_ring", "-lrte_eal"];
    let flags: Vec<&str> = flags.split_whitespace().chain(libraries).collect();
    library("dpdk", include_str!("../rival/dpdk.c"), &flags);
}
