//! What is damaged in a backup is found and named, and hits no other file.

mod common;
#[path = "../src/engine/format/mod.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod format;
mod trees;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::Directory;
use format::block::{HEADER, Header, Kind as Block};
use format::padded;
use trees::{Random, backup, failed, failed_files, restore, run, verify, ways};

fn path(directory: &Directory, name: &str) -> PathBuf {
    PathBuf::from(directory.path(name))
}

/// A tree whose files are in several blocks and stripes, small and large.
fn make(source: &Path) {
    let mut random = Random::new(11);
    fs::create_dir(source).expect("made");
    for number in 0..60 {
        let length = 1 + random.below(3000) as usize;
        fs::write(
            source.join(format!("small{number:02}")),
            random.bytes(length),
        )
        .expect("written");
    }
    for number in 0..3 {
        let length = 100_000 + random.below(50_000) as usize;
        fs::write(source.join(format!("large{number}")), random.bytes(length)).expect("written");
    }
    fs::hard_link(source.join("large0"), source.join("other")).expect("linked");
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("read");
    entries
        .map(|entry| {
            entry
                .expect("read")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect()
}

/// Restores a damaged backup, and checks that the files that are named are those that are not whole, and no others.
/// Gives their names, and what verify said.
fn check(source: &Path, to: &Path, directory: &Directory) -> (Vec<String>, String) {
    let (code, out, verified) = verify(to);
    assert_eq!(code, 1, "{out}{verified}");
    for how in ["--direct off", "--direct on"] {
        for io in ways() {
            let mut args = vec![OsStr::new("verify"), to.as_os_str()];
            args.extend(["--io", io].map(OsStr::new));
            args.extend(how.split(' ').map(OsStr::new));
            let (code, _, err) = run(&args);
            if err.contains("Invalid argument") && how == "--direct on" {
                println!("skipped: {how}: {err}");
                continue;
            }
            assert_eq!(code, 1, "{err}");
            assert_eq!(failed(&err), failed(&verified), "{how} {io}");
        }
    }
    let back = path(directory, "back");
    let (code, out, err) = restore(to, &back, &["--readers", "3"]);
    assert_eq!(code, 1, "{out}{err}");
    assert_eq!(
        failed_files(&verified),
        failed_files(&err),
        "{verified}{err}"
    );
    let named: BTreeSet<String> = failed_files(&err).into_iter().collect();
    let there = names(&back.join("tree"));
    for name in names(source) {
        let (original, copy) = (source.join(&name), back.join("tree").join(&name));
        if named.contains(&format!("tree/{name}")) {
            assert!(!there.contains(&name), "{name} is damaged, and is there");
        } else {
            assert!(
                fs::read(original).expect("read") == fs::read(copy).expect("read"),
                "{name}"
            );
        }
    }
    for name in there {
        let whole = name.strip_suffix(".incomplete").unwrap_or(&name);
        assert!(source.join(whole).exists(), "{name}");
        assert!(
            whole == name || named.contains(&format!("tree/{whole}")),
            "{name}"
        );
    }
    fs::remove_dir_all(back).expect("removed");
    (named.into_iter().collect(), verified)
}

/// What is at a place in a stripe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Spot {
    Header,
    Table,
    Payload,
    Padding,
    End,
}

/// A place of each kind in each block, by what the headers say.
fn spots(stripe: &[u8]) -> Vec<(Spot, usize)> {
    let mut spots = Vec::new();
    let mut at = 0;
    while at < stripe.len() {
        let header = Header::read_any(&stripe[at..at + HEADER]).expect("a header");
        if let Block::End { .. } = header.kind {
            spots.push((Spot::End, at + 70));
            break;
        }
        let payload = at + HEADER;
        spots.extend([
            (Spot::Header, at + 50),
            (Spot::Table, at + 130),
            (Spot::Payload, payload + 7),
        ]);
        if padded(header.stored as usize) > header.stored as usize {
            spots.push((Spot::Padding, payload + header.stored as usize));
        }
        at += header.span() as usize;
    }
    spots
}

#[test]
fn a_flipped_bit_of_any_kind_is_found_and_hits_no_other_file() {
    let directory = Directory::new("flips");
    let source = path(&directory, "tree");
    make(&source);
    for compress in ["none", "zstd"] {
        let to = path(&directory, "backup");
        let options = [
            "--stripes",
            "2",
            "--transfer-size",
            "16K",
            "--compress",
            compress,
        ];
        backup(&source, &to, &options);
        let mut random = Random::new(5);
        for stripe in ["stripe-0000", "stripe-0001"] {
            let file = to.join(stripe);
            let good = fs::read(&file).expect("read");
            let spots = spots(&good);
            for kind in [
                Spot::Header,
                Spot::Table,
                Spot::Payload,
                Spot::Padding,
                Spot::End,
            ] {
                let of_kind: Vec<_> = spots.iter().filter(|spot| spot.0 == kind).collect();
                if of_kind.is_empty() {
                    continue;
                }
                let &(_, at) = of_kind[random.below(of_kind.len() as u64) as usize];
                let mut bad = good.clone();
                bad[at] ^= 1 << random.below(8);
                fs::write(&file, &bad).expect("written");
                let (named, verified) = check(&source, &to, &directory);
                assert_eq!(
                    named.is_empty(),
                    kind == Spot::End,
                    "{kind:?} at {at}: {verified}"
                );
                assert!(
                    verified.contains(&format!("stripe {}", &stripe[10..])),
                    "{verified}"
                );
            }
            fs::write(&file, &good).expect("written");
        }
        assert_eq!(verify(&to).0, 0);
        fs::remove_dir_all(to).expect("removed");
    }
}

#[test]
fn a_stripe_that_is_cut_missing_or_anothers_is_found_and_its_files_are_named() {
    let directory = Directory::new("cuts");
    let source = path(&directory, "tree");
    make(&source);
    let (to, other) = (path(&directory, "backup"), path(&directory, "other"));
    for to in [&to, &other] {
        backup(&source, to, &["--stripes", "2", "--transfer-size", "16K"]);
    }
    let (first, second) = (to.join("stripe-0000"), to.join("stripe-0001"));
    let good = fs::read(&first).expect("read");
    let mut random = Random::new(3);
    let mut lengths = vec![0, 1, 4096, good.len() - 1, good.len() - HEADER];
    lengths.extend((0..3).map(|_| random.below(good.len() as u64) as usize));
    for length in lengths {
        fs::write(&first, &good[..length]).expect("written");
        let (named, verified) = check(&source, &to, &directory);
        // Without its last block alone, every file is there.
        assert_eq!(
            named.is_empty(),
            length >= good.len() - HEADER,
            "{length}: {verified}"
        );
        assert!(
            verified.contains("last block is missing"),
            "{length}: {verified}"
        );
    }
    fs::remove_file(&first).expect("removed");
    let (named, verified) = check(&source, &to, &directory);
    assert!(
        !named.is_empty() && verified.contains("stripe 0: is missing"),
        "{verified}"
    );
    fs::copy(other.join("stripe-0000"), &first).expect("copied");
    let (_, verified) = check(&source, &to, &directory);
    assert!(
        verified.contains("it is a block of the backup "),
        "{verified}"
    );
    fs::copy(&second, &first).expect("copied");
    let (_, verified) = check(&source, &to, &directory);
    assert!(
        verified.contains("it is a block of stripe 1, not of 0"),
        "{verified}"
    );
    // A block twice, and more behind the end.
    let block = Header::read_any(&good[..HEADER]).expect("a header").span() as usize;
    fs::write(&first, [&good[..block], &good[..]].concat()).expect("written");
    let (_, verified) = check(&source, &to, &directory);
    assert!(
        verified.contains("it is the block of offset 0, not of "),
        "{verified}"
    );
    fs::write(&first, [&good[..], &[0; 5000]].concat()).expect("written");
    let (named, verified) = check(&source, &to, &directory);
    assert!(
        named.is_empty() && verified.contains("goes on for 5000 bytes"),
        "{verified}"
    );
}

#[test]
fn a_damaged_catalogue_is_refused_by_every_command() {
    let directory = Directory::new("catalogue");
    let source = path(&directory, "tree");
    make(&source);
    let to = path(&directory, "backup");
    backup(&source, &to, &[]);
    let file = to.join("catalogue");
    let good = fs::read(&file).expect("read");
    let mut random = Random::new(9);
    for round in 0..8 {
        let mut bad = good.clone();
        if round < 6 {
            let at = random.below(bad.len() as u64) as usize;
            bad[at] ^= 1 << random.below(8);
        } else {
            bad.truncate(random.below(good.len() as u64) as usize);
        }
        fs::write(&file, bad).expect("written");
        let back = path(&directory, "back");
        for (code, _, err) in [
            verify(&to),
            restore(&to, &back, &[]),
            run(&["list".as_ref(), to.as_os_str()]),
        ] {
            assert_eq!(code, 1);
            assert!(err.contains("the catalogue is damaged: "), "{err}");
        }
        assert!(!back.exists());
    }
}

#[test]
fn a_backup_that_is_a_link_or_a_pipe_is_not_followed_and_not_waited_for() {
    let directory = Directory::new("links");
    let source = path(&directory, "tree");
    make(&source);
    let to = path(&directory, "backup");
    backup(&source, &to, &["--stripes", "2"]);
    let stripe = to.join("stripe-0000");
    fs::rename(&stripe, to.join("moved")).expect("moved");
    symlink("moved", &stripe).expect("linked");
    let (code, _, err) = verify(&to);
    assert_eq!(code, 1);
    assert!(err.contains("stripe 0: cannot be opened"), "{err}");
    fs::remove_file(&stripe).expect("removed");
    let made = rustix::fs::mkfifoat(rustix::fs::CWD, &stripe, rustix::fs::Mode::RWXU);
    made.expect("made");
    let (code, _, err) = verify(&to);
    assert_eq!(code, 1);
    assert!(
        err.contains("stripe 0: cannot be opened: is no file"),
        "{err}"
    );
}
