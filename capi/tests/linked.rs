//! Programs with the library inside, linked by what `pkg-config --static` says, as it says it.

mod common;

use common::{Installed, Kind, has, here, run};
use std::process::Command;

/// The library, installed, if there is all that the test needs.
fn installed(test: &str) -> Option<Installed> {
    let needed = has("pkg-config") && has("readelf");
    needed.then(|| Installed::new(test))
}

/// Whether programs can be linked to nothing but static libraries by `compiler`.
fn links_statically(installed: &Installed, compiler: &str) -> bool {
    let (program, source) = (installed.path("empty"), installed.path("empty.cpp"));
    std::fs::write(&source, "int main() { return 0; }\n").unwrap();
    let linked = Command::new(compiler)
        .arg("-static")
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .output();
    let links = linked.is_ok_and(|linked| linked.status.success());
    if !links {
        println!("skipped: {compiler} -static: there is no static C or C++ library here");
    }
    links
}

/// The libraries that a program asks the dynamic linker for.
fn asks_for(program: &Command) -> Vec<String> {
    let said = run(Command::new("readelf").arg("-d").arg(program.get_program()));
    let lines = said.lines().filter(|line| line.contains("(NEEDED)"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_static_program_needs_no_other_file() {
    let Some(installed) = installed("static") else {
        return;
    };
    for compiler in ["gcc", "clang", "g++", "clang++"] {
        let is_cpp = compiler.ends_with("++");
        if !has(compiler) || !links_statically(&installed, compiler) {
            continue;
        }
        let programs: &[_] = match is_cpp {
            true => &["examples/pool.cpp", "tests/c/raii.cpp"],
            false => &[
                "examples/streams.c",
                "tests/c/contract.c",
                "tests/c/pool.c",
                "tests/c/sharing.c",
                "tests/c/streams.c",
                "tests/c/track.c",
                "tests/c/waiting.c",
            ],
        };
        for program in programs {
            let source = here().join(program);
            let mut program = installed.compile_by(compiler, &source, Kind::Whole, &[]);
            assert_eq!(asks_for(&program), [""; 0], "{source:?}");
            let said = run(&mut program);
            let ends = ["0 failures\n", "0 still out\n", "all home\n"];
            let end = ends.iter().any(|end| said.ends_with(end));
            assert!(end, "{compiler}, {source:?}: {said}");
        }
    }
}

#[test]
fn a_program_has_the_library_inside_where_there_is_no_shared_one() {
    let Some(installed) = installed("archive") else {
        return;
    };
    for entry in std::fs::read_dir(installed.path("lib")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("libhugepool.so") {
            std::fs::remove_file(path).unwrap();
        }
    }
    for compiler in ["gcc", "clang"] {
        if !has(compiler) {
            continue;
        }
        let source = here().join("examples/streams.c");
        let mut program = installed.compile_by(compiler, &source, Kind::Archive, &[]);
        let libraries = asks_for(&program);
        assert!(!libraries.is_empty() && !libraries.concat().contains("hugepool"));
        assert!(run(&mut program).ends_with("0 still out\n"));
    }
}
