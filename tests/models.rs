//! Runs every loom model of the lock-free modules, and the broken twins of each.
//!
//! The models are in `loom-tests/`; they need the library built on loom's
//! atomics, so they are a build of their own, in a target directory of their
//! own: it neither waits for the build that runs this test nor makes it start
//! anew.
#![cfg(not(hugepool_loom))]

use std::path::{Path, PathBuf};
use std::process::Command;

/// What makes the library, and crossbeam-epoch under it, run on loom.
const FLAGS: &str = "--cfg hugepool_loom --cfg crossbeam_loom";

/// Variables by which the running cargo would change the child's build.
const FOREIGN: [&str; 8] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOCFLAGS",
];

/// `loom` in the target directory that this test was built into.
fn target_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").is_file())
        .map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
            Path::to_path_buf,
        )
        .join("loom")
}

#[test]
fn every_model_holds_and_every_broken_twin_is_caught() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["test", "--release", "-p", "hugepool-loom-tests"])
        .args(["--test", "models", "--target-dir"])
        .arg(target_dir())
        .args(["--", "--show-output"])
        .env("RUSTFLAGS", FLAGS);
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    let output = command.output().expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "a model failed: see above");
    let lines = |kind: &str| text.lines().filter(|line| line.starts_with(kind)).count();
    let (models, twins) = (lines("model "), lines("twin "));
    println!("{models} models hold, {twins} broken twins are caught");
    assert!(models > 0, "no model ran");
    assert!(twins >= models, "a model has no broken twin");
}
