//! Sources that change while they are backed up, and such as may not be read.

mod common;
mod trees;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::Directory;
use rustix::process::Signal;
use trees::running::{finish, freeze, large, signal, start_backup, stored, until};
use trees::{PROGRAM, ended, failed, is_direct, restore, run, verify, ways};

fn path(directory: &Directory, name: &str) -> PathBuf {
    PathBuf::from(directory.path(name))
}

/// Runs a backup, and changes its source while it stands still in the middle of it.
fn changing(
    directory: &Directory,
    source: &Path,
    all: u64,
    how: &str,
    change: impl Fn(),
) -> (i32, String, String) {
    let to = path(directory, "backup");
    for _ in 0..20 {
        let _ = fs::remove_dir_all(&to);
        let options = format!("--stripes 1 --readers 1 --transfer-size 16K --memory 40K {how}");
        let mut child = start_backup(source, &to, &options);
        if until(&mut child, &to, 1) && freeze(&mut child) && stored(&to) < all {
            change();
            signal(&child, Signal::CONT);
            return finish(child);
        }
        signal(&child, Signal::CONT);
        finish(child);
    }
    panic!("it was never in the middle");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named_and_the_others_are_whole() {
    let directory = Directory::new("changing");
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    let file = source.join("changes");
    let changes = [
        (
            Box::new(|file: &Path| {
                let file = File::options().write(true).open(file).expect("opened");
                file.set_len(100).expect("cut");
            }) as Box<dyn Fn(&Path)>,
            "shrank while it was read, from 16777216 to 100 bytes",
        ),
        (
            Box::new(|file: &Path| {
                let file = File::options().write(true).open(file).expect("opened");
                file.write_all_at(b"more", 16 << 20).expect("written");
            }),
            "grew while it was read, from 16777216 to 16777220 bytes",
        ),
        (
            Box::new(|file: &Path| {
                let file = File::options().write(true).open(file).expect("opened");
                file.write_all_at(b"other", 16_000_000).expect("written");
            }),
            "changed while it was read",
        ),
        // It is open: what was there is read to its end.
        (
            Box::new(|file: &Path| fs::remove_file(file).expect("removed")),
            "changed while it was read",
        ),
    ];
    let hows = ways().iter().map(|io| match *io {
        // It is read ahead, past the cache.
        "uring" => "--io uring --direct on",
        _ => "--io threads",
    });
    fs::write(&file, "").expect("written");
    for (how, (change, says)) in hows.flat_map(|how| changes.iter().map(move |it| (how, it))) {
        if how.contains("--direct on") && !is_direct(&source, &path(&directory, "tried")) {
            continue;
        }
        large(&file, 16 << 20);
        // Older than a tick of the clock that times of files are taken from.
        thread::sleep(Duration::from_millis(50));
        let good = source.join("whole");
        fs::write(&good, "whole").expect("written");
        let (code, out, err) = changing(&directory, &source, 12 << 20, how, || change(&file));
        assert_eq!(code, 1, "{out}{err}");
        let failed = failed(&err);
        assert_eq!(failed.len(), 1, "{err}");
        assert!(
            failed[0].starts_with(&format!("tree/changes: {says}")),
            "{err}"
        );
        let (to, back) = (path(&directory, "backup"), path(&directory, "back"));
        // What there is of it is a backup.
        assert_eq!(verify(&to).0, 0, "{says}");
        let (_, out, _) = run(&["list".as_ref(), to.as_os_str()]);
        assert!(out.contains("tree/changes (changed)"), "{out}");
        restore(&to, &back, &[]);
        assert_eq!(fs::read(back.join("tree/whole")).expect("there"), b"whole");
        assert_eq!(
            fs::metadata(back.join("tree/changes"))
                .expect("there")
                .len(),
            16 << 20
        );
        fs::remove_dir_all(back).expect("removed");
    }
}

#[test]
fn files_that_vanish_are_named_and_the_others_are_whole() {
    let directory = Directory::new("vanishing");
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    let name = |number: usize| format!("{number:04}");
    for number in 0..3000 {
        large(&source.join(name(number)), 4000);
    }
    let gone: Vec<usize> = (2900..3000).collect();
    let (code, _, err) = changing(&directory, &source, 6 << 20, "", || {
        gone.iter()
            .for_each(|&number| fs::remove_file(source.join(name(number))).expect("removed"));
    });
    assert_eq!(code, 1, "{err}");
    let named: Vec<String> = gone
        .iter()
        .map(|&number| format!("tree/{}: vanished before it was read", name(number)))
        .collect();
    assert_eq!(failed(&err), named);
    let (to, back) = (path(&directory, "backup"), path(&directory, "back"));
    restore(&to, &back, &[]);
    compare_files(&source, &back.join("tree"), 2900);
}

#[test]
fn a_file_that_loses_the_name_it_was_found_by_is_read_by_its_other_one() {
    let directory = Directory::new("renamed");
    let source = path(&directory, "tree");
    let (first, second) = (source.join("a"), source.join("b"));
    fs::create_dir_all(&first).expect("made");
    fs::create_dir(&second).expect("made");
    let name = |number: usize| format!("{number:04}");
    for number in 0..2000 {
        large(&first.join(name(number)), 4000 + number % 7);
        fs::hard_link(first.join(name(number)), second.join(name(number))).expect("linked");
    }
    let gone = path(&directory, "gone");
    fs::create_dir(&gone).expect("made");
    // Those that were found and not yet opened lose the name that they were found by.
    let (code, _, err) = changing(&directory, &source, 4 << 20, "", || {
        for number in 0..2000 {
            fs::rename(first.join(name(number)), gone.join(name(number))).expect("moved");
        }
    });
    assert_eq!(code, 1, "{err}");
    assert!(
        failed(&err).iter().all(|line| line.starts_with("tree/a/")),
        "{err}"
    );
    let (to, back) = (path(&directory, "backup"), path(&directory, "back"));
    restore(&to, &back, &[]);
    compare_files(&second, &back.join("tree/b"), 2000);
}

fn compare_files(source: &Path, back: &Path, count: usize) {
    let mut same = 0;
    for entry in fs::read_dir(source).expect("read") {
        let name = entry.expect("read").file_name();
        assert!(
            fs::read(source.join(&name)).expect("read")
                == fs::read(back.join(&name)).expect("read")
        );
        same += 1;
    }
    assert_eq!(same, count);
    assert_eq!(fs::read_dir(back).expect("read").count(), count);
}

#[test]
fn what_may_not_be_read_is_named_and_the_rest_is_backed_up() {
    let directory = Directory::new("rights");
    let source = path(&directory, "tree");
    fs::create_dir_all(source.join("closed")).expect("made");
    fs::write(source.join("closed/inside"), "x").expect("written");
    fs::write(source.join("open"), "open").expect("written");
    fs::write(source.join("secret"), "secret").expect("written");
    fs::hard_link(source.join("secret"), source.join("secret too")).expect("linked");
    for name in ["closed", "secret"] {
        let none = fs::Permissions::from_mode(0o000);
        fs::set_permissions(source.join(name), none).expect("set");
    }
    let to = path(&directory, "backup");
    fs::create_dir(&to).expect("made");
    let mut command = Command::new(PROGRAM);
    command.args([OsStr::new("backup"), source.as_ref(), to.as_ref()]);
    if rustix::process::geteuid().is_root() {
        // As one who may not.
        std::os::unix::fs::chown(&to, Some(65534), Some(65534)).expect("given");
        command.uid(65534).gid(65534);
    }
    let Ok(output) = command.output() else {
        println!("skipped: rights: the program cannot be run as another user from here");
        return;
    };
    let (code, out, err) = ended(output);
    let opened = fs::Permissions::from_mode(0o700);
    fs::set_permissions(source.join("closed"), opened).expect("set");
    assert_eq!(code, 1, "{out}{err}");
    let says = failed(&err);
    for (line, path) in says
        .iter()
        .zip(["tree/closed", "tree/secret", "tree/secret too"])
    {
        assert!(line.starts_with(&format!("{path}: ")), "{err}");
    }
    assert_eq!(says.len(), 3, "{err}");
    let back = path(&directory, "back");
    let (code, out, err) = restore(&to, &back, &[]);
    assert_eq!(code, 1, "{out}");
    assert_eq!(failed(&err).len(), 3, "{err}");
    assert_eq!(fs::read(back.join("tree/open")).expect("there"), b"open");
    assert!(back.join("tree/closed").is_dir() && !back.join("tree/secret").exists());
    // So that who runs this may remove it.
    let opened = fs::Permissions::from_mode(0o700);
    fs::set_permissions(back.join("tree/closed"), opened).expect("set");
}
