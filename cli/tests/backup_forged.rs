//! What is forged in a backup leads nowhere: nothing outside of the target is written, and no other file is harmed.

mod common;
#[path = "../src/engine/format/mod.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod format;
mod trees;

use std::fs;
use std::path::{Path, PathBuf};

use common::Directory;
use format::block::{HEADER, Header, Kind as Block, Packing, Segment, put_segment};
use format::catalogue::{Catalogue, Totals};
use format::entry::{Attributes, Entry, Flaws, Kind};
use format::{Id, padded};
use trees::{failed, restore, run, verify};

fn path(directory: &Directory, name: &str) -> PathBuf {
    PathBuf::from(directory.path(name))
}

/// What a block has: of which entry, from which place on, which bytes.
type Piece<'a> = (u64, u64, &'a [u8]);

fn entry(parent: Option<u32>, name: &[u8], kind: Kind) -> Entry {
    Entry {
        parent,
        name: name.into(),
        kind,
        flaws: Flaws::default(),
        attributes: Attributes {
            mode: 0o755,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            ..Attributes::default()
        },
        xattrs: Vec::new(),
    }
}

fn file(parent: Option<u32>, name: &[u8], size: u64) -> Entry {
    entry(parent, name, Kind::File { size, data: size })
}

/// Writes a backup of one stripe as somebody could who wants to harm: everything in it is consistent, but for what the
/// test wants.
fn forge(to: &Path, entries: Vec<Entry>, pieces: &[Piece<'_>]) {
    let backup = Id([3; 16]);
    let mut stripe = Vec::new();
    for (sequence, &(entry, offset, bytes)) in pieces.iter().enumerate() {
        let mut payload = bytes.to_vec();
        payload.resize(padded(bytes.len()), 0);
        let header = Header {
            backup,
            kind: Block::Data,
            packing: Packing::Plain,
            stripe: 0,
            sequence: sequence as u64,
            offset: stripe.len() as u64,
            raw: bytes.len() as u32,
            stored: bytes.len() as u32,
            segments: 1,
            sum: crc32fast::hash(&payload),
        };
        let mut sealed = vec![0; HEADER];
        let length = bytes.len() as u32;
        put_segment(
            &mut sealed,
            0,
            &Segment {
                entry,
                offset,
                length,
            },
        );
        header.seal(&mut sealed);
        stripe.extend(sealed);
        stripe.extend(payload);
    }
    let totals = Totals {
        blocks: pieces.len() as u64,
        bytes: stripe.len() as u64,
    };
    let end = Header {
        backup,
        kind: Block::End {
            blocks: totals.blocks,
            bytes: totals.bytes,
        },
        packing: Packing::Plain,
        stripe: 0,
        sequence: totals.blocks,
        offset: totals.bytes,
        raw: 0,
        stored: 0,
        segments: 0,
        sum: 0,
    };
    let mut sealed = vec![0; HEADER];
    end.seal(&mut sealed);
    stripe.extend(sealed);
    let catalogue = Catalogue {
        backup,
        created: 0,
        transfer: 4096,
        stripes: vec![totals],
        entries,
    };
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).expect("made");
    fs::write(to.join("stripe-0000"), stripe).expect("written");
    fs::write(to.join("catalogue"), catalogue.to_bytes()).expect("written");
}

/// Everything below a folder, with the first bytes of files.
fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("read") {
        let path = entry.expect("read").path();
        let metadata = path.symlink_metadata().expect("there");
        if metadata.is_dir() {
            all.extend(everything(&path));
        }
        let bytes = if metadata.is_file() {
            fs::read(&path).expect("read")
        } else {
            Vec::new()
        };
        all.push((path, bytes));
    }
    all.sort();
    all
}

#[test]
fn a_forged_catalogue_writes_nothing_outside_of_the_target() {
    let directory = Directory::new("forged");
    // What an escape would hit: it is beside the target, and above it.
    let around = path(&directory, "around");
    fs::create_dir_all(around.join("victim")).expect("made");
    fs::write(around.join("victim/file"), "untouched").expect("written");
    fs::write(around.join("evil"), "untouched").expect("written");
    let victim = around.join("victim").display().to_string().into_bytes();
    let before = everything(&around);
    let (to, target) = (path(&directory, "backup"), around.join("target"));
    let folder = |parent, name: &[u8]| entry(parent, name, Kind::Directory);
    let symlink = |parent, name: &[u8], target: &[u8]| {
        entry(
            parent,
            name,
            Kind::Symlink {
                target: target.into(),
            },
        )
    };
    let evil = b"evil".as_slice();
    let absolute = [&victim[..], b"/file"].concat();
    let lists: Vec<(Vec<Entry>, &str)> = vec![
        (vec![file(None, b"../evil", 4)], "has a slash"),
        (
            vec![folder(None, b".."), file(Some(0), b"evil", 4)],
            "leads out of its folder",
        ),
        (vec![file(None, &absolute, 4)], "has a slash"),
        (vec![file(None, b"", 4)], "is empty"),
        (vec![file(None, b"evil\0", 4)], "has a byte of zero"),
        (
            vec![symlink(None, b"l", &victim), file(Some(0), b"file", 4)],
            "is in 0, which is no folder",
        ),
        (
            vec![
                symlink(None, b"l", b".."),
                folder(None, b"l"),
                file(Some(1), b"evil", 4),
            ],
            "has the name and the folder of 0",
        ),
        (
            vec![file(None, b"f", 4), file(Some(0), b"evil", 4)],
            "is in 0, which is no folder",
        ),
        (
            vec![
                symlink(None, b"l", b"../evil"),
                entry(None, b"m", Kind::Link { of: 0 }),
            ],
            "is a hard link to 0",
        ),
        (
            vec![entry(None, b"m", Kind::Link { of: 1 }), file(None, b"f", 4)],
            "is a hard link to 1",
        ),
        (vec![file(None, b"f", 1 << 63)], "cannot be a file of"),
        (
            vec![entry(None, b"f", Kind::File { size: 3, data: 4 })],
            "with 4 in blocks",
        ),
    ];
    for (entries, says) in lists {
        forge(&to, entries, &[(0, 0, evil)]);
        for (code, _, err) in [
            restore(&to, &target, &[]),
            verify(&to),
            run(&["list".as_ref(), to.as_os_str()]),
        ] {
            assert_eq!(code, 1, "{says}");
            assert!(
                err.contains("the catalogue is damaged") && err.contains(says),
                "{says}: {err}"
            );
        }
        assert_eq!(everything(&around), before, "{says}");
    }
    // What is allowed: links that lead out are made as they are, and nothing goes through them.
    forge(
        &to,
        vec![
            folder(None, b"d"),
            symlink(Some(0), b"l", &victim),
            file(Some(0), b"f", 4),
        ],
        &[(2, 0, evil)],
    );
    let (code, _, err) = restore(&to, &target, &[]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(fs::read(target.join("d/f")).expect("there"), evil);
    fs::remove_dir_all(&target).expect("removed");
    assert_eq!(everything(&around), before);
}

#[test]
fn blocks_that_say_what_cannot_be_are_named_and_harm_no_other_file() {
    let directory = Directory::new("pieces");
    let (to, target) = (path(&directory, "backup"), path(&directory, "target"));
    let list = || {
        vec![
            entry(None, b"d", Kind::Directory),
            file(Some(0), b"good", 4),
            file(Some(0), b"bad", 8),
        ]
    };
    let good = (1u64, 0u64, b"good".as_slice());
    let cases: [(&[Piece<'_>], &str); 7] = [
        (
            &[good, (2, 5, b"evil")],
            "has bytes 5 to 9 of entry 2, which has 8",
        ),
        (
            &[good, (2, u64::MAX - 1, b"evil")],
            "of entry 2, which has 8",
        ),
        (
            &[good, (2, 0, b"evilevil"), (2, 0, b"evil")],
            "more of entry 2 than the 8 bytes",
        ),
        (
            &[good, (2, 0, b"evil")],
            "4 of its 8 bytes are damaged or missing",
        ),
        (&[good], "8 of its 8 bytes are damaged or missing"),
        (
            &[good, (0, 0, b"evil")],
            "has a piece of entry 0, which is no file",
        ),
        (
            &[good, (9, 0, b"evil")],
            "has a piece of entry 9, which there is not",
        ),
    ];
    for (pieces, says) in cases {
        forge(&to, list(), pieces);
        let (code, _, err) = verify(&to);
        assert_eq!(code, 1, "{says}");
        assert!(err.contains(says), "{says}: {err}");
        // One worker: the pieces come in order.
        let (code, _, err) = restore(&to, &target, &["--readers", "1"]);
        assert_eq!(code, 1, "{says}");
        assert!(err.contains(says), "{says}: {err}");
        assert!(
            failed(&err).iter().any(|line| line.starts_with("d/bad: ")),
            "{says}: {err}"
        );
        assert_eq!(
            fs::read(target.join("d/good")).expect("there"),
            b"good",
            "{says}"
        );
        fs::remove_dir_all(&target).expect("removed");
    }
}
