//! Backups to an object store, on a server of this process.
//!
//! Here is what the tests share, and that trees come back; `faults` has what happens to a store and to a backup while
//! it is written, `found` what a command finds there; `kinds` has what is not the same in every kind of store.

#[path = "../common/mod.rs"]
mod common;
mod faults;
#[path = "../../src/engine/format/mod.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod format;
mod found;
mod kinds;
mod server;
#[path = "../trees/mod.rs"]
mod trees;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Directory, Json, parse_json};
use server::Server;
use trees::running::large;
use trees::{Removable, compare, make};

const TRANSFER: usize = 256 << 10;
/// S3's least part.
const PART: usize = 5 << 20;
const TO: &str = "s3://bucket/backups/monday";
const PREFIX: &str = "backups/monday";

fn path(directory: &Directory, name: &str) -> PathBuf {
    PathBuf::from(directory.path(name))
}

fn start(directory: &Directory) -> Server {
    Server::start(&path(directory, "server"))
}

/// `words`, split.
fn args<'a>(first: &[&'a str], words: &'a str) -> Vec<&'a str> {
    first
        .iter()
        .copied()
        .chain(words.split_whitespace())
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Backs up; panics where that does not succeed.
fn back_up(server: &Server, source: &Path, to: &str, options: &str) -> String {
    let (code, out, err) = server.run(&args(&["backup", text(source), to], options));
    assert_eq!(code, 0, "{options}: {out}{err}");
    err
}

/// The `--memory` that the program says it needs.
fn smallest(server: &Server, source: &Path, options: &str) -> String {
    let options = format!("{options} --memory 8K");
    let (code, _, err) = server.run(&args(&["backup", text(source), TO], &options));
    assert_eq!(code, 2, "{err}");
    let memory = err.trim_end().rsplit(' ').next().expect("a word");
    assert!(err.contains(" which is --memory "), "{err}");
    memory.to_owned()
}

fn number(json: &Json, key: &str) -> f64 {
    let Json::Object(fields) = json else {
        panic!("no object")
    };
    let field = fields.iter().find(|field| field.0 == key);
    match field.expect("a field").1 {
        Json::Number(number) => number,
        ref other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn a_tree_comes_back_to_the_last_bit_with_the_least_memory_whatever_the_buffers_are() {
    let directory = Directory::new("store-trees");
    let server = start(&directory);
    let source = path(&directory, "tree");
    make(&source, 1, TRANSFER);
    let _removable = Removable(source.clone());
    large(&source.join("large"), 12 << 20);
    let json = directory.path("summary");
    for (from, how) in [
        ("pool", "--stripes 1"),
        ("pool", "--stripes 8"),
        ("pool", "--stripes 1 --compress zstd"),
        ("pool", "--stripes 8 --compress zstd --readers 3"),
        ("malloc", "--stripes 8"),
        ("malloc", "--stripes 1 --compress zstd"),
        ("mmap", "--stripes 8"),
        ("mmap", "--stripes 1 --compress zstd"),
        ("channel", "--stripes 8"),
        ("channel", "--stripes 1 --compress zstd"),
    ] {
        let how = format!("{how} --buffers-from {from} --transfer-size 256K");
        let memory = smallest(&server, &source, &how);
        back_up(
            &server,
            &source,
            TO,
            &format!("{how} --memory {memory} --json {json}"),
        );
        let summary = parse_json(&fs::read_to_string(&json).expect("written"));
        // A part's blocks stay in the buffers that they were read into until it is sent.
        if how.contains("--stripes 1 ") && !how.contains("zstd") {
            let part = PART.div_ceil(TRANSFER + 4096) as f64;
            assert!(
                number(&summary, "buffers_high_water") >= part,
                "{summary:?}"
            );
        }
        assert_eq!(server.uploads(), 0, "{how}");
        let (code, _, err) = server.run(&["verify", TO]);
        assert_eq!((code, err.as_str()), (0, ""), "{how}");
        let back = path(&directory, "back");
        let restored = [
            "restore",
            TO,
            text(&back),
            "--memory",
            "600K",
            "--buffers-from",
            from,
        ];
        let (code, _, err) = server.run(&restored);
        assert_eq!(code, 0, "{how}: {err}");
        compare(&source, &back.join("tree"));
        let _removable = Removable(back.join("tree"));
        let (code, out, _) = server.run(&["list", TO]);
        assert!(code == 0 && out.contains(" tree/large\n"), "{out}");
        drop(_removable);
        fs::remove_dir_all(&back).expect("removed");
        fs::remove_dir_all(server.object(PREFIX)).expect("removed");
    }
}

#[test]
fn the_least_memory_is_enough_when_every_stripe_waits_for_a_part() {
    let directory = Directory::new("store-least");
    let server = start(&directory);
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    // More than the memory: full blocks, blocks that are a little more than half full, and blocks of some bytes.
    large(&source.join("full"), 64 << 20);
    let half = path(&directory, "half");
    fs::create_dir(&half).expect("made");
    for number in 0..320 {
        large(&half.join(format!("{number}")), (140 << 10) + number);
    }
    let few = path(&directory, "few");
    fs::write(&few, b"the same, again and again. ".repeat(4 << 20)).expect("written");
    for (source, how) in [
        (&source, "--readers 1"),
        (&source, "--readers 6 --buffers-from channel"),
        (&source, "--readers 3 --compress zstd"),
        (&half, "--readers 2"),
        (&few, "--readers 2 --compress zstd"),
        (&few, "--readers 5 --compress zstd --buffers-from malloc"),
    ] {
        let how = format!("{how} --stripes 4 --transfer-size 256K");
        let memory = smallest(&server, source, &how);
        back_up(&server, source, TO, &format!("{how} --memory {memory}"));
        assert_eq!(server.run(&["verify", TO]).0, 0, "{how}");
        fs::remove_dir_all(server.object(PREFIX)).expect("removed");
    }
}

#[test]
fn memory_for_parts_of_eight_mebibytes_makes_fewer_of_them_and_no_stripe_is_anything_else() {
    let directory = Directory::new("store-parts");
    let server = start(&directory);
    let source = path(&directory, "large");
    large(&source, 40 << 20);
    let parts = |to: &str, memory: &str| {
        server.heal();
        back_up(
            &server,
            &source,
            to,
            &format!("--stripes 1 --memory {memory}"),
        );
        let asked = server.asked();
        asked.iter().filter(|it| it.contains("partNumber=")).count()
    };
    let few = parts("s3://bucket/ample", "256M");
    let many = parts("s3://bucket/least", "16M");
    // 40 blocks, 16 to a part, or 5, and a part for the last block.
    assert_eq!((few, many), (3, 9));
    let read = |key: &str| fs::read(server.object(key)).expect("read").len();
    assert_eq!(read("ample/stripe-0000"), read("least/stripe-0000"));
}

/// As large a tree as one likes: `docs/engine.py same --store` runs it.
#[test]
#[ignore = "backs up the folder that HUGEPOOL_TEST_TREE names"]
fn a_tree_of_ones_own_comes_back_to_the_last_bit() {
    let source = std::env::var_os("HUGEPOOL_TEST_TREE").expect("HUGEPOOL_TEST_TREE names a folder");
    let source = PathBuf::from(source);
    let directory = Directory::new("store-own");
    let server = start(&directory);
    back_up(&server, &source, TO, "--stripes 8 --memory 256M");
    let (code, _, err) = server.run(&["verify", TO]);
    assert_eq!((code, err.as_str()), (0, ""));
    let back = path(&directory, "back");
    let (code, _, err) = server.run(&["restore", TO, text(&back)]);
    assert_eq!(code, 0, "{err}");
    compare(&source, &back.join(source.file_name().expect("a name")));
}
