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

#[test]
fn the_contract_holds_in_cpp() {
    if !has("g++") {
        return;
    }
    let installed = Installed::new("contract-cpp");
    let program = here().join("tests/c/wrapper.cpp");
    // Nothing in the wrapper needs exceptions or type information, or warns in any mode.
    for more in [
        ["-std=c++11", "-Wpedantic"],
        ["-std=c++20", "-fno-exceptions"],
    ] {
        let said = run(&mut installed.compile(&program, Kind::Shared, &more));
        assert!(said.ends_with("0 failures\n"), "{more:?}: {said}");
    }
}
