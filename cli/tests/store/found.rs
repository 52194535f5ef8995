//! What a command finds at a prefix: damage, forgeries, and what is not its own.

use std::fs;
use std::path::Path;

use super::common::Directory;
use super::format::catalogue::Catalogue;
use super::trees::running::large;
use super::trees::{compare, failed, failed_files};
use super::{PREFIX, TO, back_up, path, start, text};

#[test]
fn damaged_and_missing_objects_are_named_with_the_files_that_they_hit() {
    let directory = Directory::new("store-damage");
    let server = start(&directory);
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    for number in 0..8 {
        large(&source.join(format!("file{number}")), (2 << 20) + number);
    }
    back_up(&server, &source, TO, "--stripes 2 --transfer-size 256K");
    let object = server.object(PREFIX).join("stripe-0001");
    let whole = fs::read(&object).expect("read");

    let mut damaged = whole.clone();
    let middle = whole.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&object, &damaged).expect("written");
    let (code, _, err) = server.run(&["verify", TO]);
    assert_eq!(code, 1);
    assert_eq!(failed_files(&err).len(), 1, "{err}");
    assert!(failed(&err)[0].starts_with("stripe 1, at byte "), "{err}");

    fs::write(&object, &whole[..middle - middle % 4096]).expect("written");
    let (code, _, err) = server.run(&["verify", TO]);
    assert!(code == 1 && err.contains("stripe 1, at byte "), "{err}");
    assert!(err.contains("its last block is missing"), "{err}");

    fs::remove_file(&object).expect("removed");
    let back = path(&directory, "back");
    let (code, _, err) = server.run(&["restore", TO, text(&back)]);
    assert_eq!(code, 1);
    assert!(failed(&err).contains(&"stripe 1: is missing"), "{err}");
    assert!(!failed_files(&err).is_empty());

    fs::write(&object, &whole).expect("written");
    assert_eq!(server.run(&["verify", TO]).0, 0);
    let catalogue = server.object(PREFIX).join("catalogue");
    let mut bytes = fs::read(&catalogue).expect("read");
    bytes[100] ^= 1;
    fs::write(&catalogue, bytes).expect("written");
    for command in [&["verify", TO][..], &["list", TO]] {
        let (code, _, err) = server.run(command);
        assert!(
            code == 1 && err.contains("the catalogue is damaged"),
            "{err}"
        );
    }
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("read") {
        let entry = entry.expect("read");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

#[test]
fn a_backup_may_be_copied_from_a_store_to_a_folder_and_back() {
    let directory = Directory::new("store-copied");
    let server = start(&directory);
    let source = path(&directory, "file");
    large(&source, 7 << 20);
    back_up(&server, &source, TO, "--stripes 2 --compress zstd");
    let folder = path(&directory, "folder");
    copy(&server.object(PREFIX), &folder);
    let back = path(&directory, "back");
    let (code, _, err) = server.run(&["restore", text(&folder), text(&back)]);
    assert_eq!(code, 0, "{err}");
    compare(&source, &back.join("file"));
    copy(&folder, &server.object("copy"));
    let (code, _, err) = server.run(&["verify", "s3://bucket/copy"]);
    assert_eq!((code, err.as_str()), (0, ""));
}

#[test]
fn a_forged_catalogue_in_a_store_leads_nowhere() {
    let directory = Directory::new("store-forged");
    let server = start(&directory);
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    fs::write(source.join("file"), "contents").expect("written");
    back_up(&server, &source, TO, "");
    let object = server.object(PREFIX).join("catalogue");
    let bytes = fs::read(&object).expect("read");
    for name in [&b"../escaped"[..], b"..", b"/tmp/escaped", b""] {
        let mut forged = Catalogue::from_bytes(&bytes).expect("whole");
        forged.entries[1].name = name.into();
        fs::write(&object, forged.to_bytes()).expect("written");
        let back = path(&directory, "back");
        let (code, _, err) = server.run(&["restore", TO, text(&back)]);
        assert!(
            code == 1 && err.contains("the catalogue is damaged"),
            "{err}"
        );
        assert!(!back.exists() && !path(&directory, "escaped").exists());
    }
}

#[test]
fn a_prefix_that_holds_something_is_refused_and_left_as_it_is() {
    let directory = Directory::new("store-refused");
    let server = start(&directory);
    let source = path(&directory, "file");
    fs::write(&source, "contents").expect("written");
    back_up(&server, &source, TO, "");
    let before = server.objects(PREFIX);
    let (code, _, err) = server.run(&["backup", text(&source), TO]);
    assert_eq!(code, 1);
    assert!(
        err.contains(TO) && err.contains("holds a backup already"),
        "{err}"
    );
    assert_eq!(server.objects(PREFIX), before);
    // The prefix of the other backups; and one whose name another one begins with.
    let (code, _, err) = server.run(&["backup", text(&source), "s3://bucket/backups"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("holds `monday/`, which is no part of a backup"),
        "{err}"
    );
    back_up(&server, &source, "s3://bucket/backups/mon", "");
    fs::create_dir(server.object("other")).expect("made");
    fs::write(server.object("other/notes"), "mine").expect("written");
    let (code, _, err) = server.run(&["backup", text(&source), "s3://bucket/other"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("holds `notes`, which is no part of a backup"),
        "{err}"
    );
    assert_eq!(server.objects("other"), ["notes"]);
    let (code, _, err) = server.run(&["verify", "s3://bucket/nothing"]);
    assert!(code == 1 && err.contains("holds no backup"), "{err}");
    let (code, _, err) = server.run(&["backup", text(&source), "s3://no-such-bucket/x"]);
    assert!(
        code == 1 && err.contains("s3://no-such-bucket/x: cannot be "),
        "{err}"
    );
}

#[test]
fn what_a_store_cannot_do_is_refused_before_anything_is_written() {
    let directory = Directory::new("store-options");
    let server = start(&directory);
    let source = path(&directory, "file");
    fs::write(&source, "contents").expect("written");
    let file = text(&source);
    server.heal();
    for (command, says) in [
        (&["backup", file, TO, "--direct", "on"][..], "--direct on"),
        (&["verify", TO, "--direct", "on"], "--direct on"),
        (&["backup", file, "s3://"], "has no bucket"),
        (&["backup", file, "s3://bucket/a//b"], "s3://bucket/a//b"),
        (
            &["backup", file, "gs:///x"],
            "has no bucket; write gs://BUCKET/PREFIX",
        ),
        (
            &["backup", file, "az://"],
            "has no container; write az://CONTAINER/PREFIX",
        ),
        // Nobody says whose account it is.
        (&["backup", file, "az://container/x"], "az://container/x: "),
        (
            &["backup", file, "https://host/x"],
            "begins with none of s3://, gs://, az://; write ./https://host/x for a folder",
        ),
        (
            &["backup", file, TO, "--memory", "30M"],
            "to an object store, with 9 for each of 4 stripes, needs 37",
        ),
        (&["backup", file, TO, "--retry-for", "301"], "301"),
    ] {
        let (code, _, err) = server.run(command);
        assert!(code == 2 && err.contains(says), "{command:?}: {err}");
    }
    assert_eq!(server.asked(), [""; 0]);
}
