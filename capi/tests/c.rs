//! The C interface, from C: the programs in `tests/c`, compiled by gcc against the shared
//! and the static library.
//!
//! The library is a build of its own, in a target directory of its own: it neither waits
//! for the build that runs this test nor makes it start anew.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Variables by which the running cargo would change the child's build.
const FOREIGN: [&str; 5] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOCFLAGS",
];

/// `capi` in the target directory that this test was built into.
fn target_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let found = own
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").is_file());
    found.expect("built by cargo").join("capi")
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("it can be run");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}",
        output.status
    );
    text
}

/// Builds the library, and gives the folder that it is in.
fn library() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--release", "-p", "hugepool-capi", "--target-dir"])
        .arg(target_dir());
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    run(&mut command);
    target_dir().join("release")
}

#[test]
fn the_contract_holds_in_c() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = library();
    for (kind, link) in [
        ("shared", "-l:libhugepool.so"),
        ("static", "-l:libhugepool.a"),
    ] {
        let program = library.join(format!("contract-{kind}"));
        run(Command::new("gcc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"])
            .arg(&program)
            .arg(here.join("tests/c/contract.c"))
            .arg("-I")
            .arg(here.join("../include"))
            .arg("-L")
            .arg(&library)
            .arg(format!("-Wl,-rpath,{}", library.display()))
            .args([link, "-lpthread", "-ldl", "-lm"]));
        let said = run(&mut Command::new(&program));
        println!("{kind}: {said}");
        assert!(said.ends_with("0 failures\n"), "{kind}: {said}");
    }
}
