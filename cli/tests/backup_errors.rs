//! Reads that fail: in a file that is backed up, and in a stripe.

mod common;
mod trees;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::Directory;
use common::filter::refuse_where;
use trees::running::{after, large};
use trees::{backup, compare, failed, failed_files, restore};

/// Where a disk cannot be read.
const BAD: u32 = 1 << 20;

fn path(directory: &Directory, name: &str) -> PathBuf {
    PathBuf::from(directory.path(name))
}

/// From now on no file can be read from that byte on: it is the fourth argument.
fn damaged() -> io::Result<()> {
    refuse_where(libc::SYS_pread64, &[(3, BAD, true)], libc::EIO)
}

/// The program on such a disk; `None`, after saying so, where that cannot be had.
fn run_damaged(command: &str, paths: &[&Path], options: &str) -> Option<(i32, String, String)> {
    let mut args: Vec<&OsStr> = vec![command.as_ref()];
    args.extend(paths.iter().map(|path| path.as_os_str()));
    args.extend(options.split_whitespace().map(OsStr::new));
    let ended = after(damaged, &args);
    if let Err(error) = &ended {
        println!("skipped: reads that fail: there is no filter of system calls: {error}");
    }
    ended.ok()
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_is_named_and_the_others_are_whole() {
    let directory = Directory::new("errors-source");
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    for number in 0..30 {
        large(&source.join(format!("small{number}")), 50_000 + number);
    }
    large(&source.join("bad"), 3 << 20);
    let (to, back) = (path(&directory, "backup"), path(&directory, "back"));
    let options = "--io threads --transfer-size 64K --readers 3";
    let Some((code, _, err)) = run_damaged("backup", &[&source, &to], options) else {
        return;
    };
    assert_eq!(code, 1, "{err}");
    let [says] = failed(&err)[..] else {
        panic!("{err}")
    };
    assert!(says.starts_with("tree/bad: "), "{says}");
    assert!(says.contains("cannot be read at byte 1048576: "), "{says}");
    assert!(says.contains("Input/output error"), "{says}");
    let (code, _, err) = restore(&to, &back, &[]);
    let lacks = "tree/bad: could not be read when it was backed up, and is not restored";
    assert_eq!((code, failed(&err)), (1, vec![lacks]));
    assert!(!back.join("tree/bad").exists());
    fs::remove_file(source.join("bad")).expect("removed");
    for entry in fs::read_dir(&source).expect("read") {
        let name = entry.expect("read").file_name();
        compare(&source.join(&name), &back.join("tree").join(&name));
    }
}

#[test]
fn a_block_that_cannot_be_read_costs_the_file_that_is_there() {
    let directory = Directory::new("errors-stripe");
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    for number in 0..60 {
        large(&source.join(format!("{number}")), 60_000);
    }
    let (to, back) = (path(&directory, "backup"), path(&directory, "back"));
    backup(&source, &to, &["--stripes", "1", "--transfer-size", "64K"]);
    let options = "--io threads --direct off";
    let Some((code, _, err)) = run_damaged("verify", &[&to], options) else {
        return;
    };
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("cannot be read: Input/output error"), "{err}");
    // A block each, of a header and 61440 bytes: one of them begins there.
    let lost = failed_files(&err);
    assert_eq!(lost.len(), 1, "{err}");
    let restored = run_damaged("restore", &[&to, &back], options);
    let (code, _, err) = restored.expect("there was a filter before");
    assert_eq!(code, 1, "{err}");
    assert_eq!(failed_files(&err), lost);
    for number in 0..60 {
        let name = format!("tree/{number}");
        let copy = back.join(&name);
        if lost.contains(&name) {
            assert!(!copy.exists(), "{name}");
        } else {
            compare(&source.join(format!("{number}")), &copy);
        }
    }
}
