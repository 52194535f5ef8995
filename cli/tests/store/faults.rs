//! What happens to a store, and to a backup, while it is written or read.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use super::common::Directory;
use super::server::{self, Fault};
use super::trees::running::{finish, large, signal};
use super::trees::{Random, compare, ended};
use super::{PREFIX, TO, args, back_up, path, start, text};

#[test]
fn a_backup_that_is_killed_at_any_moment_is_seen_as_incomplete_and_can_be_run_again() {
    let directory = Directory::new("store-killed");
    let server = start(&directory);
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    for number in 0..3 {
        large(&source.join(format!("large{number}")), (8 << 20) + number);
    }
    for number in 0..100 {
        large(&source.join(format!("small{number}")), 500 + number);
    }
    let how = "--stripes 2 --transfer-size 256K --memory 21M";
    server.heal();
    back_up(&server, &source, "s3://bucket/whole", how);
    let requests = server.asked().len();
    let mut random = Random::new(29);
    let (mut incomplete, back) = (0, path(&directory, "back"));
    for _ in 0..12 {
        server.heal();
        let mut child = server.start_program(&args(&["backup", text(&source), TO], how));
        server.until(
            &mut child,
            "",
            1 + random.below(requests as u64 + 1) as usize,
        );
        child.kill().expect("killed");
        finish(child);
        if server.object(PREFIX).join("catalogue").exists() {
            // It was over: then all of it is there.
            assert_eq!(server.run(&["verify", TO]).0, 0);
            fs::remove_dir_all(server.object(PREFIX)).expect("removed");
            continue;
        }
        incomplete += 1;
        for command in [
            &["verify", TO][..],
            &["list", TO],
            &["restore", TO, text(&back)],
        ] {
            let (code, _, err) = server.run(command);
            assert_eq!(code, 1, "{err}");
            assert!(
                err.contains("the backup is incomplete") || err.contains("holds no backup"),
                "{err}"
            );
        }
        assert!(!back.exists());
    }
    assert!(incomplete > 0, "none was killed in the middle");
    let err = back_up(&server, &source, TO, how);
    let before = server.objects("backups");
    assert!(
        before == ["monday"] && (err.is_empty() || err.contains("incomplete backup")),
        "{err}"
    );
    let left = server.objects(PREFIX);
    assert_eq!(left, ["catalogue", "stripe-0000", "stripe-0001"]);
    let (code, _, err) = server.run(&["restore", TO, text(&back)]);
    assert_eq!(code, 0, "{err}");
    compare(&source, &back.join("tree"));
}

#[test]
fn what_a_killed_backup_uploaded_is_given_up_by_the_next_one() {
    let directory = Directory::new("store-left");
    let server = start(&directory);
    let source = path(&directory, "large");
    large(&source, 24 << 20);
    let how = "--stripes 1 --transfer-size 256K";
    server.harm(|_, what| what.contains("partNumber=3").then_some(Fault::Hang));
    let mut child = server.start_program(&args(&["backup", text(&source), TO], how));
    assert!(server.until(&mut child, "partNumber=3", 1));
    child.kill().expect("killed");
    finish(child);
    server.heal();
    assert_eq!(server.objects(PREFIX), ["stripe-0000.upload", "writing"]);
    assert_eq!(server.uploads(), 1);
    let err = back_up(&server, &source, TO, how);
    assert!(
        err.contains("held an incomplete backup, which was removed"),
        "{err}"
    );
    assert_eq!(server.uploads(), 0);
    assert_eq!(server.objects(PREFIX), ["catalogue", "stripe-0000"]);
}

#[test]
fn a_store_that_fails_for_a_while_is_asked_again() {
    let directory = Directory::new("store-while");
    let server = start(&directory);
    let source = path(&directory, "large");
    large(&source, 24 << 20);
    for fault in [Fault::Error, Fault::Close] {
        server.harm(move |number, _| matches!(number, 1 | 4..=6 | 12).then_some(fault));
        back_up(&server, &source, TO, "--stripes 2");
        server.harm(move |number, _| matches!(number, 2 | 4..=5).then_some(fault));
        let (code, _, err) = server.run(&["verify", TO]);
        assert_eq!((code, err.as_str()), (0, ""));
        fs::remove_dir_all(server.object(PREFIX)).expect("removed");
    }
}

#[test]
fn what_was_done_is_no_failure_where_the_answer_is_lost() {
    let directory = Directory::new("store-lost");
    let server = start(&directory);
    let source = path(&directory, "large");
    large(&source, 12 << 20);
    // Once, and again and again.
    for retry in ["--retry-for 0", "--retry-for 1"] {
        server.harm(|_, what| {
            let completes = what.contains("POST ") && what.contains("?uploadId=");
            let catalogue = what == "PUT /bucket/backups/monday/catalogue";
            (completes || catalogue).then_some(Fault::Lose)
        });
        back_up(&server, &source, TO, &format!("--stripes 2 {retry}"));
        server.heal();
        assert_eq!((server.run(&["verify", TO]).0, server.uploads()), (0, 0));
        assert_eq!(
            server.objects(PREFIX),
            ["catalogue", "stripe-0000", "stripe-0001"]
        );
        fs::remove_dir_all(server.object(PREFIX)).expect("removed");
    }
}

#[test]
fn a_store_that_fails_ends_the_backup_with_its_words_and_nothing_is_left() {
    let directory = Directory::new("store-fails");
    let server = start(&directory);
    let source = path(&directory, "large");
    large(&source, 24 << 20);
    let how = "--stripes 2 --retry-for 0 --transfer-size 256K";
    for (what, says) in [
        ("uploads", "there is no backup: stripe "),
        ("partNumber=2", "there is no backup: stripe "),
        (
            "POST /bucket/backups/monday/stripe-0001?uploadId",
            "there is no backup: stripe 1 ",
        ),
        (
            "PUT /bucket/backups/monday/catalogue",
            "there is no backup: the catalogue ",
        ),
    ] {
        for fault in [Fault::Error, Fault::Close] {
            server.harm(move |_, asked| asked.contains(what).then_some(fault));
            let (code, _, err) = server.run(&args(&["backup", text(&source), TO], how));
            assert_eq!(code, 1, "{what}: {err}");
            assert!(
                err.contains(says) && err.contains(TO_IN_URLS),
                "{what}: {err}"
            );
            if fault == Fault::Error {
                assert!(
                    err.contains("500") && err.contains("out of order"),
                    "{what}: {err}"
                );
            }
            assert_eq!(server.objects(PREFIX), [""; 0], "{what}");
            assert_eq!(server.uploads(), 0, "{what}");
        }
    }
}

/// What requests to the prefix have in them.
const TO_IN_URLS: &str = "/bucket/backups/monday/";

#[test]
fn a_store_that_goes_away_is_named_and_what_it_kept_is_removed_by_the_next_backup() {
    let directory = Directory::new("store-gone");
    let server = start(&directory);
    let source = path(&directory, "large");
    large(&source, 24 << 20);
    let how = "--stripes 1 --retry-for 0 --transfer-size 256K";
    let gone = AtomicBool::new(false);
    server.harm(move |_, what| {
        gone.fetch_or(what.contains("partNumber=2"), Ordering::Relaxed);
        gone.load(Ordering::Relaxed).then_some(Fault::Close)
    });
    let (code, _, err) = server.run(&args(&["backup", text(&source), TO], how));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("there is no backup: stripe "), "{err}");
    assert!(
        err.contains("cannot all be removed, and is incomplete"),
        "{err}"
    );
    server.heal();
    assert_eq!(server.uploads(), 1);
    let (code, _, err) = server.run(&["verify", TO]);
    assert!(
        code == 1 && err.contains("the backup is incomplete"),
        "{err}"
    );
    let err = back_up(&server, &source, TO, how);
    assert!(
        err.contains("held an incomplete backup, which was removed"),
        "{err}"
    );
    assert_eq!(server.uploads(), 0);

    // In the middle of a verify and of a restore: nothing is known of the backup then.
    let back = path(&directory, "back");
    for command in [&["verify", TO][..], &["restore", TO, text(&back)]] {
        server.harm(|number, _| (number >= 4).then_some(Fault::Close));
        let (code, _, err) = server.run(&args(command, "--retry-for 0"));
        assert_eq!(code, 1, "{err}");
        let last = err.lines().last().expect("a line");
        assert!(
            last.starts_with("error: ") && last.contains("stripe 0 cannot be read: "),
            "{err}"
        );
        assert!(!err.contains("FAILED: stripe"), "{err}");
    }

    // Nobody listens there any more.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let nobody = format!("http://{}", free.local_addr().expect("bound"));
    drop(free);
    for command in [
        &["backup", text(&source), TO, "--retry-for", "0"][..],
        &["verify", TO, "--retry-for", "0"],
        &["list", TO, "--retry-for", "0"],
    ] {
        let output = server::command(&nobody, command).output();
        let (code, _, err) = ended(output.expect("the program starts"));
        assert_eq!(code, 1, "{err}");
        assert!(
            err.contains(TO) && err.contains("Connection refused"),
            "{err}"
        );
    }
}

#[test]
fn a_backup_that_is_interrupted_says_so_and_leaves_nothing() {
    let directory = Directory::new("store-interrupted");
    let server = start(&directory);
    let source = path(&directory, "large");
    large(&source, 24 << 20);
    let how = "--stripes 2 --transfer-size 256K";
    for by in [Signal::INT, Signal::TERM] {
        server.harm(|_, what| what.contains("partNumber=2").then_some(Fault::Hang));
        let mut child = server.start_program(&args(&["backup", text(&source), TO], how));
        assert!(server.until(&mut child, "partNumber=2", 1));
        signal(&child, by);
        let (code, _, err) = finish(child);
        assert_eq!(code, 130, "{err}");
        assert!(
            err.contains("interrupted: the backup is incomplete, and what"),
            "{err}"
        );
        assert_eq!(server.objects(PREFIX), [""; 0]);
        assert_eq!(server.uploads(), 0);
    }
}

#[test]
fn a_backup_that_is_interrupted_before_the_store_has_answered_ends_at_once() {
    let directory = Directory::new("store-early");
    let server = start(&directory);
    let source = path(&directory, "file");
    fs::write(&source, "contents").expect("written");
    server.harm(|_, _| Some(Fault::Hang));
    let mut child = server.start_program(&["backup", text(&source), TO]);
    assert!(server.until(&mut child, "", 1));
    signal(&child, Signal::INT);
    let (code, _, err) = finish(child);
    assert_eq!(
        (code, err.as_str()),
        (130, "note: interrupted: there is no backup\n")
    );
}
