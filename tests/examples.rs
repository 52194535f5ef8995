//! The examples do what they say, to their end.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::skipped;

/// Runs an example that must succeed; gives what it printed. `None`: cargo has not built it.
fn run(name: &str) -> Option<String> {
    run_with(name, &[])
}

/// As `run`, with arguments.
fn run_with(name: &str, arguments: &[&Path]) -> Option<String> {
    let own = std::env::current_exe().unwrap();
    let folder: PathBuf = own.parent()?.parent()?.join("examples");
    let path = folder.join(name);
    if !path.exists() {
        // Run with `--test examples` alone, or without its feature.
        skipped(&format!("example {name}: it is not built"));
        return None;
    }
    let output = Command::new(path).args(arguments).output().unwrap();
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

/// A folder of this process, which goes when this does.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_copy_past_the_cache_is_the_file() {
    let name = format!("hugepool-direct_copy-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(name));
    std::fs::create_dir(&folder.0).unwrap();
    let (from, to) = (folder.0.join("from"), folder.0.join("to"));
    // Within a block, at its end, and none at all.
    for len in [3_500_123, 2 << 20, 511, 0] {
        let bytes: Vec<u8> = (0..len).map(|at| (at / 7 + at / 4096) as u8).collect();
        std::fs::write(&from, &bytes).unwrap();
        // What was there before is longer.
        std::fs::write(&to, vec![9; 4 << 20]).unwrap();
        let Some(out) = run_with("direct_copy", &[&from, &to]) else {
            return;
        };
        assert!(out.ends_with(&format!("{len} bytes copied\n")), "{out}");
        if out.contains("directly: false") {
            skipped(&format!(
                "a copy by direct I/O: {}",
                out.lines().next().unwrap()
            ));
        }
        assert!(std::fs::read(&to).unwrap() == bytes, "{len}: another file");
    }
}
