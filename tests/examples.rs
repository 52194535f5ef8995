//! The examples do what they say, to their end.

mod support;

use std::path::PathBuf;
use std::process::Command;
use support::skipped;

/// Runs an example that must succeed; gives what it printed. `None`: cargo has not built it.
fn run(name: &str) -> Option<String> {
    let own = std::env::current_exe().unwrap();
    let folder: PathBuf = own.parent()?.parent()?.join("examples");
    let path = folder.join(name);
    if !path.exists() {
        // Run with `--test examples` alone, or without its feature.
        skipped(&format!("example {name}: it is not built"));
        return None;
    }
    let output = Command::new(path).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{err}", output.status);
    Some(out)
}

#[test]
fn a_pool_is_used_and_full_and_free_again() {
    let Some(out) = run("quick_start") else {
        return;
    };
    assert!(out.starts_with("50000 of 65536 bytes"), "{out}");
    assert!(out.contains("\n8 are held, and then: "), "{out}");
    assert!(out.contains("\nfree: 8\n"), "{out}");
}

#[test]
fn every_block_goes_through_a_few_buffers() {
    let Some(out) = run("back_pressure") else {
        return;
    };
    assert!(
        out.starts_with("104857600 bytes through 8 buffers"),
        "{out}"
    );
}

#[test]
fn tasks_have_their_shares() {
    let Some(out) = run("tokio_streams") else {
        return;
    };
    for name in ["quick", "slow"] {
        assert!(out.contains(&format!("{name}: 13107200 bytes\n")), "{out}");
    }
}

#[test]
fn a_client_process_reads_what_a_server_wrote() {
    let Some(out) = run("two_processes") else {
        return;
    };
    assert!(out.ends_with(": 324403200\n"), "{out}");
}

#[test]
fn each_client_is_sent_every_block() {
    let Some(out) = run("bytes_server") else {
        return;
    };
    let sums = out.lines().filter(|line| line.ends_with(": 1304166400"));
    assert_eq!(sums.count(), 3, "{out}");
}
