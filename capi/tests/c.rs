//! The C interface, from C and C++: the programs in `tests/c`, compiled by gcc against the
//! shared and the static library.

mod common;

use common::{Installed, Kind, has, here, run};

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
    let program = here().join("tests/c/wrapper.cpp");
    each_cpp(|compiler, more| {
        let said = run(&mut installed.compile_by(compiler, &program, Kind::Shared, more));
        assert!(
            said.ends_with("0 failures\n"),
            "{compiler}, {more:?}: {said}"
        );
    });
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
