//! The C interface, from C and C++: the programs in `tests/c`, compiled by gcc against the
//! shared and the static library.

mod common;

use common::{Installed, Kind, has, here, run};
use std::process::Command;

#[test]
fn the_contract_holds_in_c() {
    let installed = Installed::new("contract");
    for program in [
        "contract.c",
        "sharing.c",
        "pool.c",
        "waiting.c",
        "streams.c",
        "track.c",
        "regions.c",
        "wipe.c",
        "heap.c",
        "raised.c",
    ] {
        for kind in [Kind::Shared, Kind::Static] {
            let source = here().join("tests/c").join(program);
            let said = run(&mut installed.compile(&source, kind, &[]));
            println!("{program}, {kind:?}: {said}");
            assert!(
                said.ends_with("0 failures\n"),
                "{program}, {kind:?}: {said}"
            );
        }
    }
}

/// The C++ compilers that there are, with standards that they know.
fn each_cpp(run_with: impl Fn(&str, &[&str])) {
    for compiler in ["g++", "clang++"] {
        if !has(compiler) {
            continue;
        }
        // Nothing in the wrapper needs exceptions or type information, or warns in any mode.
        for more in [
            ["-std=c++11", "-Wpedantic"],
            ["-std=c++17", "-Wpedantic"],
            ["-std=c++20", "-fno-exceptions"],
        ] {
            run_with(compiler, &more);
        }
    }
}

#[test]
fn the_contract_holds_in_cpp() {
    let installed = Installed::new("contract-cpp");
    for program in ["wrapper.cpp", "raii.cpp"] {
        let program = here().join("tests/c").join(program);
        each_cpp(|compiler, more| {
            let said = run(&mut installed.compile_by(compiler, &program, Kind::Shared, more));
            assert!(
                said.ends_with("0 failures\n"),
                "{compiler}, {more:?}: {said}"
            );
        });
    }
}

#[test]
fn a_program_with_the_published_names_compiles_and_runs() {
    let installed = Installed::new("published");
    let program = here().join("tests/c/published.cpp");
    each_cpp(|compiler, more| {
        let said = run(&mut installed.compile_by(compiler, &program, Kind::Shared, more));
        assert!(
            said.ends_with("0 failures\n"),
            "{compiler}, {more:?}: {said}"
        );
    });
}

#[test]
fn the_header_can_be_included_beside_the_published_ones_in_either_order() {
    let installed = Installed::new("beside");
    let program = here().join("tests/c/beside.cpp");
    each_cpp(|compiler, more| {
        for order in ["-DVENDOR_FIRST", "-DVENDOR_LAST"] {
            for words in ["-DWORD32=uint32_t", "-DWORD32=unsigned long"] {
                let more = [more, &[order, words]].concat();
                let mut program = installed.compile_by(compiler, &program, Kind::Shared, &more);
                let said = run(&mut program);
                assert!(
                    said.ends_with("aborted\n0 failures\n"),
                    "{compiler}, {more:?}: {said}"
                );
            }
        }
    });
}

#[test]
fn a_threads_first_calls_allocate_nothing_in_a_library_that_was_opened_later() {
    let installed = Installed::new("opened");
    let program = installed.path("opened");
    let include = installed.path("include/hugepool");
    run(Command::new("gcc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"])
        .arg(&program)
        .arg(here().join("tests/c/opened.c"))
        .arg("-I")
        .arg(include)
        .arg("-pthread"));
    // As many that have variables of each thread that an older thread's table of them has no
    // room for the next.
    let source = installed.path("module.c");
    std::fs::write(
        &source,
        "__thread int own[100]; int *of(void) { return own; }\n",
    )
    .unwrap();
    let modules: Vec<_> = (0..20)
        .map(|number| {
            let module = installed.path(&format!("module{number}.so"));
            let mut gcc = Command::new("gcc");
            run(gcc
                .args(["-shared", "-fPIC", "-o"])
                .arg(&module)
                .arg(&source));
            module
        })
        .collect();
    // With the C library's registration for restartable sequences, and without.
    for registers in ["1", "0"] {
        let said = run(Command::new(&program)
            .env("GLIBC_TUNABLES", format!("glibc.pthread.rseq={registers}"))
            .arg(installed.path("lib/libhugepool.so"))
            .args(&modules));
        assert!(said.ends_with("0 failures\n"), "{registers}: {said}");
    }
}

#[test]
fn every_call_of_the_header_is_made_without_heap() {
    let program = std::fs::read_to_string(here().join("tests/c/heap.c")).unwrap();
    let used = std::fs::read_to_string(here().join("tests/c/check.h")).unwrap();
    let declared: Vec<_> = (common::declared().into_iter())
        .map(|call| call.name)
        .collect();
    // Those set a number in a description, or give one.
    let plain = |name: &str| {
        name.starts_with("hp_builder_") || ["hp_abi_version", "hp_set_place"].contains(&name)
    };
    let missing: Vec<_> = (declared.iter())
        .filter(|name| !plain(name) && !format!("{program}{used}").contains(&format!("{name}(")))
        .collect();
    assert!(missing.is_empty(), "heap.c leaves out {missing:?}");
}
