//! What happens to a backup and a restore while they run: kills, interruptions, full disks, files that change.

mod common;
mod trees;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use common::Directory;
use rustix::process::{Pid, Signal, kill_process};
use trees::{PROGRAM, Random, backup, compare, ended, failed, restore, run, verify};

fn path(directory: &Directory, name: &str) -> PathBuf {
    PathBuf::from(directory.path(name))
}

fn start(args: &[&OsStr]) -> Child {
    let mut command = Command::new(PROGRAM);
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

fn start_backup(source: &Path, to: &Path, options: &str) -> Child {
    let mut args: Vec<&OsStr> = vec!["backup".as_ref(), source.as_ref(), to.as_ref()];
    args.extend(options.split_whitespace().map(OsStr::new));
    start(&args)
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    // Where it has ended, there is nobody to be told.
    let _ = kill_process(pid, signal);
}

/// Bytes of all stripes.
fn stored(to: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(to) else {
        return 0;
    };
    let sizes = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    sizes.sum()
}

/// Waits until that many bytes were written; false: the program has ended before.
fn until(child: &mut Child, to: &Path, bytes: u64) -> bool {
    while stored(to) < bytes {
        if child.try_wait().expect("asked").is_some() {
            return false;
        }
        thread::sleep(Duration::from_micros(200));
    }
    true
}

/// Stops it where it is; false: it has ended.
fn freeze(child: &mut Child) -> bool {
    signal(child, Signal::STOP);
    let stat = format!("/proc/{}/stat", child.id());
    loop {
        let Ok(text) = fs::read_to_string(&stat) else {
            return false;
        };
        let state = text
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        match state {
            Some('T') => return true,
            Some('Z' | 'X') | None => return false,
            _ => thread::sleep(Duration::from_micros(200)),
        }
    }
}

fn finish(child: Child) -> (i32, String, String) {
    ended(child.wait_with_output().expect("it ends"))
}

fn large(path: &Path, length: usize) {
    fs::write(path, Random::new(length as u64).bytes(length)).expect("written");
}

#[test]
fn a_backup_that_is_killed_at_any_moment_is_seen_as_incomplete_and_can_be_run_again() {
    let directory = Directory::new("killed");
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    for number in 0..4 {
        large(&source.join(format!("large{number}")), (4 << 20) + number);
    }
    for number in 0..200 {
        large(&source.join(format!("small{number}")), 500 + number);
    }
    let mut random = Random::new(17);
    let (to, back) = (path(&directory, "backup"), path(&directory, "back"));
    let mut incomplete = 0;
    for _ in 0..20 {
        let mut child = start_backup(
            &source,
            &to,
            "--stripes 3 --transfer-size 64K --memory 512K",
        );
        // From before the first block until after the last.
        until(&mut child, &to, random.below(18 << 20));
        child.kill().expect("killed");
        finish(child);
        if to.join("catalogue").exists() {
            // It was over: then all of it is there.
            assert_eq!(verify(&to).0, 0);
            fs::remove_dir_all(&to).expect("removed");
            continue;
        }
        if !to.exists() {
            continue;
        }
        incomplete += 1;
        let list = run(&["list".as_ref(), to.as_os_str()]);
        for (code, _, err) in [verify(&to), restore(&to, &back, &[]), list] {
            assert_eq!(code, 1);
            assert!(
                err.contains("the backup is incomplete") || err.contains("holds no backup"),
                "{err}"
            );
        }
        assert!(!back.exists());
        // The next round begins where this one left.
    }
    assert!(incomplete > 0, "none was killed in the middle");
    let (code, _, err) = run(&[OsStr::new("backup"), source.as_ref(), to.as_ref()]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(restore(&to, &back, &[]).0, 0);
    compare(&source, &back.join("tree"));
}

#[test]
fn a_backup_that_is_interrupted_says_so_and_leaves_nothing() {
    let directory = Directory::new("interrupted");
    let source = path(&directory, "large");
    large(&source, 16 << 20);
    for by in [Signal::INT, Signal::TERM] {
        let to = path(&directory, "backup");
        let json = directory.path("backup.json");
        // It stands still while it is told, so that it cannot be over before.
        let done = (0..20).any(|_| {
            let _ = fs::remove_dir_all(&to);
            let options = format!("--stripes 2 --transfer-size 16K --memory 40K --json {json}");
            let mut child = start_backup(&source, &to, &options);
            if !until(&mut child, &to, 1) || !freeze(&mut child) || stored(&to) > 12 << 20 {
                signal(&child, Signal::CONT);
                finish(child);
                return false;
            }
            signal(&child, by);
            signal(&child, Signal::CONT);
            let (code, _, err) = finish(child);
            assert_eq!(code, 130, "{err}");
            assert!(
                err.contains("interrupted: the backup is incomplete"),
                "{err}"
            );
            true
        });
        assert!(done, "it was never in the middle");
        assert!(!to.exists());
        assert!(
            fs::read_to_string(&json)
                .expect("written")
                .contains("\"outcome\":\"interrupted\"")
        );
    }
}

#[test]
fn two_backups_to_one_folder_do_not_mix() {
    let directory = Directory::new("two");
    let source = path(&directory, "large");
    large(&source, 16 << 20);
    let to = path(&directory, "backup");
    let mut child = start_backup(&source, &to, "--transfer-size 16K --memory 40K");
    if !until(&mut child, &to, 1) || !freeze(&mut child) || to.join("catalogue").exists() {
        println!("skipped: the second backup: the first was over");
    } else {
        let (code, _, err) = run(&[OsStr::new("backup"), source.as_ref(), to.as_ref()]);
        assert_eq!(code, 1);
        assert!(
            err.contains("another backup is being written there"),
            "{err}"
        );
        let (code, _, err) = verify(&to);
        assert_eq!(code, 1);
        assert!(err.contains("it is being written"), "{err}");
    }
    signal(&child, Signal::CONT);
    let (code, _, err) = finish(child);
    assert_eq!(code, 0, "{err}");
    assert_eq!(verify(&to).0, 0);
}

/// A shell that lets the program write files of so many blocks of 1024 bytes, and then runs it.
fn limited(blocks: u32, args: &[&OsStr]) -> (i32, String, String) {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash", PROGRAM]).args(args);
    ended(command.output().expect("a shell starts"))
}

#[test]
fn a_stripe_that_cannot_be_written_ends_the_backup_without_a_catalogue() {
    let directory = Directory::new("refused-writes");
    let source = path(&directory, "large");
    large(&source, 4 << 20);
    let to = path(&directory, "backup");
    for options in [
        "--readers 1",
        "--readers 8 --memory 200K",
        "--compress zstd --readers 2",
    ] {
        let mut args: Vec<&OsStr> = vec!["backup".as_ref(), source.as_ref(), to.as_ref()];
        args.extend(["--stripes", "2", "--transfer-size", "64K"].map(OsStr::new));
        args.extend(options.split_whitespace().map(OsStr::new));
        let (code, _, err) = limited(512, &args);
        assert_eq!(code, 1, "{err}");
        assert!(
            err.contains("there is no backup: stripe ") && err.contains("cannot be written"),
            "{err}"
        );
        assert!(!to.exists());
    }
}

/// A small file system in memory, mounted for the test.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf, size: &str) -> Option<Small> {
        fs::create_dir(&at).expect("made");
        let size = format!("size={size}");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&at)
            .output();
        done.is_ok_and(|done| done.status.success())
            .then_some(Small(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_ends_a_backup_and_a_restore_with_its_name() {
    let directory = Directory::new("full");
    let Some(small) = Small::mount(path(&directory, "small"), "2M") else {
        println!("skipped: a full disk: no file system can be mounted (root can)");
        return;
    };
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    fs::write(source.join("a"), "first").expect("written");
    large(&source.join("b"), 8 << 20);
    let to = small.0.join("backup");
    let (code, _, err) = run(&[OsStr::new("backup"), source.as_ref(), to.as_ref()]);
    assert_eq!(code, 1);
    assert!(
        err.contains("there is no backup: stripe ") && err.contains("there is no room left"),
        "{err}"
    );
    assert!(!to.exists());

    let to = path(&directory, "backup");
    backup(&source, &to, &["--stripes", "1", "--transfer-size", "64K"]);
    let target = small.0.join("target");
    let (code, _, err) = restore(&to, &target, &["--readers", "1"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("the restore is incomplete: there is no room left"),
        "{err}"
    );
    assert!(
        failed(&err).iter().any(|line| line.starts_with("tree/b: ")),
        "{err}"
    );
    assert!(!target.join("tree/b").exists());
}

/// Runs a backup, and changes its source while it stands still in the middle of it.
fn changing(
    directory: &Directory,
    source: &Path,
    all: u64,
    change: impl Fn(),
) -> (i32, String, String) {
    let to = path(directory, "backup");
    for _ in 0..20 {
        let _ = fs::remove_dir_all(&to);
        let options = "--stripes 1 --readers 1 --transfer-size 16K --memory 40K";
        let mut child = start_backup(source, &to, options);
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
    for (change, says) in [
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
    ] {
        large(&file, 16 << 20);
        // Older than a tick of the clock that times of files are taken from.
        thread::sleep(Duration::from_millis(50));
        let good = source.join("whole");
        fs::write(&good, "whole").expect("written");
        let (code, out, err) = changing(&directory, &source, 12 << 20, || change(&file));
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
    let (code, _, err) = changing(&directory, &source, 6 << 20, || {
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
}
