//! What happens to a backup and a restore while they run: kills, interruptions, full disks, folders that are swapped.

mod common;
mod trees;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::Directory;
use rustix::process::Signal;
use trees::running::{finish, freeze, large, signal, start, start_backup, stored, until};
use trees::{PROGRAM, Random, backup, compare, ended, failed, restore, run, verify, ways};

fn path(directory: &Directory, name: &str) -> PathBuf {
    PathBuf::from(directory.path(name))
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
    for round in 0..20 {
        let io = ways()[round % ways().len()];
        let mut child = start_backup(
            &source,
            &to,
            &format!("--stripes 3 --transfer-size 64K --memory 512K --io {io}"),
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
    let both = |by| ways().iter().map(move |io| (by, io));
    for (by, io) in both(Signal::INT).chain(both(Signal::TERM)) {
        let to = path(&directory, "backup");
        let json = directory.path("backup.json");
        // It stands still while it is told, so that it cannot be over before.
        let done = (0..20).any(|_| {
            let _ = fs::remove_dir_all(&to);
            let options =
                format!("--stripes 2 --transfer-size 16K --memory 40K --io {io} --json {json}");
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
    let options = [
        "--readers 1",
        "--readers 8 --memory 200K",
        "--compress zstd --readers 2",
    ];
    for (options, io) in options
        .iter()
        .flat_map(|it| ways().iter().map(move |io| (it, io)))
    {
        let mut args: Vec<&OsStr> = vec!["backup".as_ref(), source.as_ref(), to.as_ref()];
        args.extend(["--stripes", "2", "--transfer-size", "64K"].map(OsStr::new));
        args.extend(options.split_whitespace().map(OsStr::new));
        args.extend(["--io", io].map(OsStr::new));
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
    for io in ways() {
        let args = ["backup".as_ref(), source.as_os_str(), to.as_os_str()];
        let (code, _, err) = run(&[&args[..], &["--io", io].map(OsStr::new)].concat());
        assert_eq!(code, 1);
        assert!(
            err.contains("there is no backup: stripe ") && err.contains("there is no room left"),
            "{err}"
        );
        assert!(!to.exists());
    }

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

#[test]
fn room_that_a_stripe_has_taken_ahead_is_there_for_the_others() {
    if !ways().contains(&"uring") {
        return;
    }
    let directory = Directory::new("ahead");
    let Some(small) = Small::mount(path(&directory, "small"), "64M") else {
        println!("skipped: room taken ahead: no file system can be mounted (root can)");
        return;
    };
    let source = path(&directory, "large");
    // What the first stripe takes ahead, and what both have by then, is more than there is.
    large(&source, 52 << 20);
    let to = small.0.join("backup");
    let options = ["--stripes", "2", "--io", "uring"];
    backup(&source, &to, &options);
    assert_eq!(verify(&to).0, 0);
    let back = path(&directory, "back");
    assert_eq!(restore(&to, &back, &[]).0, 0);
    assert!(fs::read(&source).expect("read") == fs::read(back.join("large")).expect("read"));
    // Nothing of it is left: the files are as long as what is in them.
    let most = (52 << 20) + 54 * 4096;
    assert!(stored(&to) <= most + 4096, "{}", stored(&to));
}

#[test]
fn a_thousand_stripes_do_not_start_a_thousand_threads() {
    let directory = Directory::new("threads");
    let source = path(&directory, "large");
    large(&source, 48 << 20);
    let to = path(&directory, "backup");
    let options =
        "--stripes 1024 --readers 2 --transfer-size 16K --memory 40K --io threads --direct off";
    let mut seen = None;
    for _ in 0..20 {
        let mut child = start_backup(&source, &to, options);
        if until(&mut child, &to, 4 << 20) && freeze(&mut child) {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
            let status = status.expect("it is there");
            let count = status
                .lines()
                .find_map(|line| line.strip_prefix("Threads:"));
            seen = count.map(|count| count.trim().parse::<u32>().expect("a number"));
        }
        signal(&child, Signal::CONT);
        let (code, _, err) = finish(child);
        assert_eq!(code, 0, "{err}");
        if seen.is_some() {
            break;
        }
        fs::remove_dir_all(&to).expect("removed");
    }
    // 64 writers, 2 readers, and some for the run itself.
    let count = seen.expect("seen in the middle");
    assert!((64..80).contains(&count), "{count} threads");
    assert_eq!(verify(&to).0, 0);
}

#[test]
fn a_folder_that_becomes_a_link_while_it_is_restored_leads_nowhere() {
    let directory = Directory::new("swapped");
    let source = path(&directory, "tree");
    fs::create_dir_all(source.join("b")).expect("made");
    large(&source.join("a"), 16 << 20);
    for number in 0..50 {
        large(&source.join(format!("b/{number}")), 100);
    }
    let (to, back) = (path(&directory, "backup"), path(&directory, "back"));
    backup(
        &source,
        &to,
        &["--stripes", "1", "--readers", "1", "--transfer-size", "16K"],
    );
    let victim = path(&directory, "victim");
    fs::create_dir(&victim).expect("made");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o751)).expect("set");
    let args = ["restore".as_ref(), to.as_os_str(), back.as_os_str()];
    let options = ["--readers", "1", "--memory", "40K"].map(OsStr::new);
    let (file, folder) = (back.join("tree/a"), back.join("tree/b"));
    let done = (0..20).any(|_| {
        let _ = fs::remove_dir_all(&back);
        let mut child = start(&[&args[..], &options[..]].concat());
        while !file.exists() && child.try_wait().expect("asked").is_none() {
            thread::sleep(Duration::from_micros(200));
        }
        let frozen =
            freeze(&mut child) && fs::read_dir(&folder).is_ok_and(|mut it| it.next().is_none());
        if frozen {
            fs::rename(&folder, back.join("tree/moved")).expect("moved");
            std::os::unix::fs::symlink(&victim, &folder).expect("linked");
        }
        signal(&child, Signal::CONT);
        let (code, _, err) = finish(child);
        if frozen {
            assert_eq!(code, 1, "{err}");
            // Each of the files, and the folder itself.
            let named = failed(&err)
                .iter()
                .filter(|line| line.starts_with("tree/b"))
                .count();
            assert_eq!(named, 51, "{err}");
        }
        frozen
    });
    assert!(done, "it was never in the middle");
    assert_eq!(fs::read_dir(&victim).expect("read").count(), 0);
    assert_eq!(
        fs::metadata(&victim).expect("there").permissions().mode() & 0o777,
        0o751
    );
    assert!(fs::read(&file).expect("read") == fs::read(source.join("a")).expect("read"));
}
