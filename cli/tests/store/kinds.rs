//! What is not the same in every kind of store: each test runs with all kinds that are there.
//!
//! Google's is s3s, asked as Google is. Azure's is Azurite, where there is one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::common::Directory;
use super::server::{Fault, Server, azurite};
use super::trees::running::{finish, large};
use super::trees::{Removable, compare, make};
use super::{TRANSFER, args, path, text};

const PREFIX: &str = "backups/monday";

/// A server of a kind, and what its requests have in them.
struct Kind {
    server: Server,
    to: String,
    /// Those for a part.
    part: &'static str,
    /// Those that make an object of parts.
    complete: &'static str,
}

impl Kind {
    fn back_up(&self, source: &Path, options: &str) -> String {
        let (code, out, err) = self
            .server
            .run(&args(&["backup", text(source), &self.to], options));
        assert_eq!(code, 0, "{} {options}: {out}{err}", self.to);
        err
    }

    /// Backs up; expects that it fails.
    fn fail(&self, source: &Path, options: &str) -> String {
        let (code, _, err) = self
            .server
            .run(&args(&["backup", text(source), &self.to], options));
        assert_eq!(code, 1, "{} {options}: {err}", self.to);
        err
    }

    fn verify(&self) {
        let (code, _, err) = self.server.run(&["verify", &self.to]);
        assert_eq!((code, err.as_str()), (0, ""), "{}", self.to);
    }

    fn restore(&self, source: &Path, back: &Path) {
        let (code, _, err) = self.server.run(&["restore", &self.to, text(back)]);
        assert_eq!(code, 0, "{}: {err}", self.to);
        compare(source, &back.join(source.file_name().expect("a name")));
    }
}

/// Those that are there.
fn kinds(directory: &Directory, test: &str) -> Vec<Kind> {
    let server = Server::google(&path(directory, "server"));
    let mut kinds = vec![Kind {
        to: server.url(PREFIX),
        server,
        part: "partNumber=",
        complete: "?uploadId=",
    }];
    match azurite::find() {
        None => eprintln!("skipped: no Azurite runs (cli/tests/azurite starts one)"),
        Some(found) => {
            let server = Server::azure(&found, test);
            kinds.push(Kind {
                to: server.url(PREFIX),
                server,
                part: "comp=block&",
                complete: "comp=blocklist",
            });
        }
    }
    kinds
}

#[test]
fn a_tree_comes_back_to_the_last_bit_from_every_kind_of_store() {
    let directory = Directory::new("kinds-tree");
    let source = path(&directory, "tree");
    make(&source, 1, TRANSFER);
    let _removable = Removable(source.clone());
    large(&source.join("large"), 24 << 20);
    for kind in kinds(&directory, "tree") {
        let how = "--stripes 3 --transfer-size 256K --compress zstd";
        kind.back_up(&source, how);
        assert_eq!(kind.server.uploads(), 0);
        assert_eq!(
            kind.server.objects(PREFIX),
            ["catalogue", "stripe-0000", "stripe-0001", "stripe-0002"]
        );
        kind.verify();
        let back = path(&directory, "back");
        kind.restore(&source, &back);
        let _removable = Removable(back.join("tree"));
        let (code, out, _) = kind.server.run(&["list", &kind.to]);
        assert!(code == 0 && out.contains(" tree/large\n"), "{out}");
        drop(_removable);
        fs::remove_dir_all(&back).expect("removed");
        // What is there is not written over.
        let err = kind.fail(&source, how);
        assert!(
            err.contains(&kind.to) && err.contains("holds a backup already"),
            "{err}"
        );
        kind.verify();
    }
}

#[test]
fn what_a_killed_backup_sent_is_gone_after_the_next_one_in_every_kind_of_store() {
    let directory = Directory::new("kinds-killed");
    let source = path(&directory, "large");
    large(&source, 24 << 20);
    for kind in kinds(&directory, "killed") {
        let (server, complete) = (&kind.server, kind.complete);
        server.harm(move |_, what| what.contains(complete).then_some(Fault::Hang));
        let command = args(&["backup", text(&source), &kind.to], "--stripes 2");
        let mut child = server.start_program(&command);
        assert!(server.until(&mut child, complete, 2));
        child.kill().expect("killed");
        finish(child);
        server.heal();
        let (first, second) = ("stripe-0000.upload", "stripe-0001.upload");
        assert_eq!(server.objects(PREFIX), [first, second, "writing"]);
        assert_eq!(server.uploads(), 2, "{}", kind.to);
        let (code, _, err) = server.run(&["verify", &kind.to]);
        assert!(
            code == 1 && err.contains("the backup is incomplete"),
            "{err}"
        );
        // It has no second stripe, whose object could take the place of those parts.
        server.heal();
        let err = kind.back_up(&source, "--stripes 1");
        assert!(
            err.contains("held an incomplete backup, which was removed"),
            "{err}"
        );
        assert_eq!(server.objects(PREFIX), ["catalogue", "stripe-0000"]);
        assert_eq!(server.uploads(), 0, "{}", kind.to);
        // Azurite lets go of parts when their object is removed. Azure does not: there one has to be written.
        let written = |it: &String| it.starts_with("PUT ") && it.ends_with("/stripe-0001");
        assert!(kind.part.starts_with("partNumber") || server.asked().iter().any(written));
        kind.verify();
    }
}

#[test]
fn a_store_of_any_kind_that_fails_for_a_while_is_asked_again() {
    let directory = Directory::new("kinds-while");
    let source = path(&directory, "large");
    large(&source, 12 << 20);
    for kind in kinds(&directory, "while") {
        kind.server.heal();
        kind.back_up(&source, "--stripes 2");
        let asked = kind.server.asked();
        let steps: BTreeSet<_> = asked.iter().map(|what| step(what)).collect();
        // The first request for each step, those that begin an upload and that remove something, too.
        for fault in [Fault::Error, Fault::Close, Fault::Reset, Fault::Lose] {
            for wanted in &steps {
                let to = kind.server.url(&format!("{fault:?}/{wanted}"));
                let (wanted, mut done) = (wanted.clone(), false);
                kind.server.harm(move |_, what| {
                    let first = !done && step(what) == wanted;
                    done |= first;
                    first.then_some(fault)
                });
                let command = args(&["backup", text(&source), &to], "--stripes 2");
                let (code, _, err) = kind.server.run(&command);
                assert_eq!(code, 0, "{to}: {err}");
                let (code, _, err) = kind.server.run(&["verify", &to]);
                assert_eq!((code, err.as_str()), (0, ""), "{to}");
            }
        }
        // Where uploads have ids, one is left whose id was lost. It has no parts.
        let left = usize::from(steps.contains("POST-stripe--uploads"));
        assert_eq!(kind.server.uploads(), left, "{}", kind.to);
    }
}

/// What a request is for: its method, and the last word of its path, without numbers, and the names of its query's words.
fn step(what: &str) -> String {
    let (path, query) = what.split_once('?').unwrap_or((what, ""));
    let method = path.split(' ').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let query = query.split('&').map(|word| match word.split_once('=') {
        Some((name @ ("comp" | "restype"), value)) => format!("-{name}-{value}"),
        Some((name, _)) => format!("-{name}"),
        None => format!("-{word}"),
    });
    let last = last.trim_end_matches(|it: char| it.is_ascii_digit());
    format!("{method}-{last}{}", query.collect::<String>())
}

#[test]
fn what_a_store_of_any_kind_has_done_is_no_failure_where_the_answer_is_lost() {
    let directory = Directory::new("kinds-lost");
    let source = path(&directory, "large");
    large(&source, 12 << 20);
    for kind in kinds(&directory, "lost") {
        for (test, retry) in ["--retry-for 0", "--retry-for 1"].into_iter().enumerate() {
            let complete = kind.complete;
            kind.server.harm(move |_, what| {
                let completes = what.contains(complete) && !what.contains("partNumber");
                let catalogue = what.starts_with("PUT ") && what.ends_with("/catalogue");
                (completes || catalogue).then_some(Fault::Lose)
            });
            let to = kind.server.url(&test.to_string());
            let how = format!("--stripes 2 {retry}");
            let command = args(&["backup", text(&source), &to], &how);
            let (code, _, err) = kind.server.run(&command);
            assert_eq!(code, 0, "{to}: {err}");
            kind.server.heal();
            assert_eq!(kind.server.run(&["verify", &to]).0, 0, "{to}");
            assert_eq!(kind.server.uploads(), 0, "{to}");
        }
    }
}

#[test]
fn a_store_of_any_kind_that_fails_ends_the_backup_with_its_words_and_nothing_is_left() {
    let directory = Directory::new("kinds-fails");
    let source = path(&directory, "large");
    large(&source, 24 << 20);
    let how = "--stripes 2 --retry-for 0 --transfer-size 256K";
    for kind in kinds(&directory, "fails") {
        for (what, says) in [
            (kind.part, "there is no backup: stripe "),
            (kind.complete, "there is no backup: stripe "),
            ("/catalogue", "there is no backup: the catalogue "),
        ] {
            for fault in [Fault::Error, Fault::Close] {
                kind.server.harm(move |_, asked| {
                    let is = asked.contains(what) && !asked.starts_with("DELETE");
                    is.then_some(fault)
                });
                let err = kind.fail(&source, how);
                assert!(err.contains(says), "{what}: {err}");
                if fault == Fault::Error {
                    assert!(err.contains("out of order"), "{what}: {err}");
                }
                kind.server.heal();
                assert_eq!(kind.server.objects(PREFIX), [""; 0], "{} {what}", kind.to);
                assert_eq!(kind.server.uploads(), 0, "{} {what}", kind.to);
            }
        }
    }
}

#[test]
fn of_two_backups_to_one_place_the_one_whose_catalogue_comes_first_stays_in_any_kind_of_store() {
    let directory = Directory::new("kinds-between");
    let (late, early) = (path(&directory, "late"), path(&directory, "early"));
    fs::write(&late, "late").expect("written");
    fs::write(&early, "early").expect("written");
    for (kind, other) in kinds(&directory, "between")
        .into_iter()
        .zip(kinds(&directory, "between"))
    {
        // The second one begins, and ends, when the first one has its catalogue on its way.
        let other = Arc::new(other);
        let (second, source) = (Arc::clone(&other), early.clone());
        let mut begun = false;
        kind.server.harm(move |_, what| {
            if what.starts_with("PUT ") && what.ends_with("/catalogue") && !begun {
                begun = true;
                second.back_up(&source, "");
            }
            None
        });
        let err = kind.fail(&late, "");
        kind.server.heal();
        assert!(
            err.contains("there is no backup: the catalogue ") && err.contains("already exists"),
            "{err}"
        );
        kind.verify();
        let back = path(&directory, "back");
        kind.restore(&early, &back);
        fs::remove_dir_all(&back).expect("removed");
    }
}
