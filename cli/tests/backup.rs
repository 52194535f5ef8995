//! `hugepool backup`, `restore`, `verify` and `list`, with real files.

mod common;
mod trees;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::{Directory, Json, parse_json};
use trees::{Removable, backup, compare, failed, make, restore, run, verify};

const TRANSFER: usize = 16 << 10;

fn path(directory: &Directory, name: &str) -> PathBuf {
    PathBuf::from(directory.path(name))
}

/// Backs a tree up, verifies and restores it with `options`, and compares it.
fn round_trip(source: &Path, directory: &Directory, options: &str, also: &str) {
    let (options, also): (Vec<&str>, Vec<&str>) = (
        options.split_whitespace().collect(),
        also.split_whitespace().collect(),
    );
    let (to, back) = (path(directory, "backup"), path(directory, "back"));
    backup(source, &to, &[&options[..], &also[..]].concat());
    let (code, out, err) = verify(&to);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let (code, out, err) = restore(&to, &back, &options);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    compare(source, &back.join(source.file_name().expect("a name")));
    fs::remove_dir_all(to).expect("removed");
    drop(Removable(back.join("tree")));
    fs::remove_dir_all(back).expect("removed");
}

#[test]
fn a_tree_comes_back_to_the_last_bit_with_any_readers_stripes_and_buffers() {
    let directory = Directory::new("round");
    let source = path(&directory, "tree");
    make(&source, 1, TRANSFER);
    let _removable = Removable(source.clone());
    for (options, also) in [
        ("--readers 1", "--stripes 1"),
        ("--readers 8", "--stripes 8"),
        ("--readers 64", "--stripes 64"),
        // Two buffers, and one.
        ("--readers 8 --memory 40K", "--stripes 8"),
        ("--readers 3 --memory 20K", "--stripes 2"),
    ] {
        let also = format!("{also} --transfer-size 16K");
        round_trip(&source, &directory, options, &also);
    }
}

#[test]
fn a_tree_comes_back_to_the_last_bit_wherever_buffers_are_from() {
    let directory = Directory::new("origins");
    let source = path(&directory, "tree");
    make(&source, 2, TRANSFER);
    let _removable = Removable(source.clone());
    for from in ["pool", "malloc", "mmap", "channel"] {
        let options = format!("--buffers-from {from} --readers 3 --memory 80K");
        round_trip(
            &source,
            &directory,
            &options,
            "--transfer-size 16K --stripes 3",
        );
    }
}

#[test]
fn a_tree_comes_back_to_the_last_bit_compressed() {
    let directory = Directory::new("zstd");
    let source = path(&directory, "tree");
    make(&source, 3, TRANSFER);
    let _removable = Removable(source.clone());
    // Five buffers: four that the readers keep, and one.
    for options in ["--readers 4 --memory 100K", "--readers 2"] {
        round_trip(
            &source,
            &directory,
            options,
            "--transfer-size 16K --compress zstd",
        );
    }
    let (plain, packed) = (path(&directory, "plain"), path(&directory, "packed"));
    backup(&source, &plain, &["--stripes", "1"]);
    backup(&source, &packed, &["--stripes", "1", "--compress", "zstd"]);
    let size = |path: &Path| fs::metadata(path.join("stripe-0000")).expect("there").len();
    assert!(size(&packed) < size(&plain));
}

#[test]
fn a_tree_comes_back_to_the_last_bit_through_the_cache_and_past_it() {
    let directory = Directory::new("direct");
    let source = path(&directory, "tree");
    make(&source, 4, TRANSFER);
    let _removable = Removable(source.clone());
    round_trip(&source, &directory, "--direct off", "--transfer-size 16K");
    let to = path(&directory, "tried");
    let args = [
        OsStr::new("backup"),
        source.as_ref(),
        to.as_ref(),
        "--direct".as_ref(),
        "on".as_ref(),
    ];
    let (code, _, err) = run(&args);
    if err.contains("no direct I/O") {
        assert_eq!(code, 1);
        assert!(!to.exists() || fs::read_dir(&to).expect("read").next().is_none());
        println!("skipped: direct I/O: {err}");
        return;
    }
    assert_eq!(code, 0, "{err}");
    round_trip(&source, &directory, "--direct on", "--transfer-size 16K");
}

#[cfg(not(feature = "object-store"))]
#[test]
fn an_object_store_is_refused_with_the_feature_that_is_missing() {
    let directory = Directory::new("no-store");
    let source = path(&directory, "file");
    fs::write(&source, "contents").expect("written");
    let url = OsStr::new("s3://bucket/prefix");
    for args in [
        &[OsStr::new("backup"), source.as_ref(), url][..],
        &["restore".as_ref(), url, source.as_ref()],
        &["verify".as_ref(), url],
        &["list".as_ref(), url],
    ] {
        let (code, _, err) = run(args);
        assert_eq!(code, 2, "{err}");
        assert!(
            err.contains("s3://bucket/prefix: ") && err.contains("`--features object-store`"),
            "{err}"
        );
    }
}

#[test]
fn a_sparse_file_of_gigabytes_costs_what_its_data_does() {
    let directory = Directory::new("sparse");
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    let file = File::create(source.join("sparse")).expect("made");
    file.set_len(4 << 30).expect("grown");
    for at in [0, 1 << 30, (4 << 30) - 3] {
        file.write_all_at(b"abc", at).expect("written");
    }
    let to = path(&directory, "backup");
    backup(&source, &to, &["--stripes", "2"]);
    let stored: u64 = (0..2)
        .map(|stripe| {
            fs::metadata(to.join(format!("stripe-{stripe:04}")))
                .expect("there")
                .len()
        })
        .sum();
    assert!(stored < 1 << 20, "{stored}");
    let back = path(&directory, "back");
    assert_eq!(restore(&to, &back, &[]).0, 0);
    compare(&source, &back.join("tree"));
}

#[test]
fn several_sources_and_single_files_keep_their_names() {
    let directory = Directory::new("sources");
    let (one, two) = (path(&directory, "one"), path(&directory, "two"));
    fs::create_dir(&one).expect("made");
    fs::write(one.join("x"), "1").expect("written");
    fs::write(&two, "2").expect("written");
    let (to, back) = (path(&directory, "backup"), path(&directory, "back"));
    let (code, _, err) = run(&[
        OsStr::new("backup"),
        one.as_ref(),
        two.as_ref(),
        to.as_ref(),
    ]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(restore(&to, &back, &[]).0, 0);
    compare(&one, &back.join("one"));
    compare(&two, &back.join("two"));
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_written() {
    let directory = Directory::new("refused");
    let source = path(&directory, "tree");
    fs::create_dir_all(source.join("in/tree")).expect("made");
    fs::write(source.join("file"), "x").expect("written");
    let to = path(&directory, "backup");
    let text = |path: &Path| path.display().to_string();
    let (from, dest) = (text(&source), text(&to));
    let inner = text(&source.join("in/tree"));
    for (args, code, says) in [
        (vec![&*from, &*inner, &*dest], 2, "would both be `tree`"),
        (vec!["/no/such", &*dest], 2, "/no/such"),
        (vec![&*from], 2, "DEST"),
        (
            vec![&*from, &*dest, "--memory", "64K", "--transfer-size", "64K"],
            2,
            "a backup needs 1, which is --memory 68K",
        ),
        (
            vec![
                &*from,
                &*dest,
                "--memory",
                "3M",
                "--readers",
                "4",
                "--compress",
                "zstd",
            ],
            2,
            "compression with 4 readers needs 5, which is --memory 5140K",
        ),
        (
            vec![&*from, &*dest, "--transfer-size", "5000"],
            2,
            "5000 bytes is no multiple of 4096",
        ),
        (
            vec![&*from, &*dest, "--stripes", "0"],
            2,
            "0 is not in 1..=1024",
        ),
        (vec![&*from, "/no/such/folder"], 1, "cannot be made"),
    ] {
        let args = [vec!["backup"], args].concat();
        let (found, out, err) = run(&args);
        assert_eq!(found, code, "{args:?}: {out}{err}");
        assert!(err.contains(says), "{args:?}: {err}");
        assert!(!to.exists(), "{args:?}");
    }
    // Into itself.
    let empty = path(&directory, "empty");
    fs::create_dir(&empty).expect("made");
    let (code, _, err) = run(&[OsStr::new("backup"), empty.as_ref(), empty.as_ref()]);
    assert_eq!(code, 2);
    assert!(err.contains("into what it is of"), "{err}");
    // Onto a backup, and beside what is none.
    backup(&source, &to, &[]);
    let (code, _, err) = run(&[OsStr::new("backup"), source.as_ref(), to.as_ref()]);
    assert_eq!(code, 1);
    assert!(err.contains("holds a backup already"), "{err}");
    assert_eq!(verify(&to).0, 0);
    let (code, _, err) = run(&[OsStr::new("backup"), to.as_ref(), source.as_ref()]);
    assert_eq!(code, 1);
    assert!(
        err.contains("holds `file`") || err.contains("holds `in`"),
        "{err}"
    );
    assert_eq!(fs::read(source.join("file")).expect("there"), b"x");
    // A restore into what is not empty.
    let (code, _, err) = restore(&to, &source, &[]);
    assert_eq!(code, 1);
    assert!(err.contains("is not empty"), "{err}");
    for command in ["verify", "list"] {
        let (code, _, err) = run(&[command, &*from]);
        assert_eq!(code, 1);
        assert!(err.contains("holds no backup"), "{err}");
    }
}

#[test]
fn a_destination_in_the_source_is_left_out() {
    let directory = Directory::new("inside");
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    fs::write(source.join("file"), "x").expect("written");
    let to = source.join("backup");
    let (code, _, err) = run(&[OsStr::new("backup"), source.as_ref(), to.as_ref()]);
    assert_eq!(code, 0, "{err}");
    assert!(
        err.contains("note: tree/backup: is where the backup is written"),
        "{err}"
    );
    let back = path(&directory, "back");
    assert_eq!(restore(&to, &back, &[]).0, 0);
    assert_eq!(fs::read(back.join("tree/file")).expect("there"), b"x");
    assert!(!back.join("tree/backup").exists());
}

#[test]
fn special_files_are_named_and_left_out() {
    let directory = Directory::new("special");
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    fs::write(source.join("file"), "x").expect("written");
    let fifo = rustix::fs::mkfifoat(rustix::fs::CWD, source.join("pipe"), rustix::fs::Mode::RWXU);
    fifo.expect("made");
    // A socket's path may have 108 bytes: bound from where it is.
    let socket = std::os::unix::net::UnixListener::bind(source.join("socket"));
    let to = path(&directory, "backup");
    let (code, _, err) = run(&[OsStr::new("backup"), source.as_ref(), to.as_ref()]);
    assert_eq!(code, 0, "{err}");
    assert!(
        err.contains("note: tree/pipe: is a pipe, and is not backed up"),
        "{err}"
    );
    if socket.is_ok() {
        assert!(err.contains("note: tree/socket: is a socket"), "{err}");
    }
    let back = path(&directory, "back");
    assert_eq!(restore(&to, &back, &[]).0, 0);
    let names: Vec<_> = fs::read_dir(back.join("tree")).expect("read").collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn a_list_has_every_entry_in_both_forms() {
    let directory = Directory::new("list");
    let source = path(&directory, "tree");
    make(&source, 5, TRANSFER);
    let _removable = Removable(source.clone());
    let to = path(&directory, "backup");
    backup(&source, &to, &[]);
    let list = |args: &[&str]| {
        let (code, out, err) = run(&[&["list", &to.display().to_string()], args].concat());
        assert_eq!((code, &*err), (0, ""));
        out
    };
    let text = list(&[]);
    for says in [
        "1970-01-01 00:00:01 tree/size 3",
        "tree/links/dangling -> /no/such/thing",
        "tree/zz link to tree/size 9",
        " tree/names/\\xff\\xfe",
        " tree/names/\\x1b[31m",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    let json: Vec<Json> = list(&["--json"]).lines().map(parse_json).collect();
    assert_eq!(json.len(), text.lines().count());
    let field = |json: &Json, name: &str| {
        let Json::Object(fields) = json else {
            panic!("no object: {json:?}")
        };
        let found = fields.iter().find(|field| field.0 == name);
        found.map(|field| field.1.clone())
    };
    let named = |path: &str| {
        let path = Some(Json::Text(path.to_owned()));
        json.iter()
            .find(|it| field(it, "path") == path)
            .expect("listed")
    };
    assert_eq!(
        field(named("tree/size 2"), "size"),
        Some(Json::Number(100.0))
    );
    assert_eq!(field(named("tree/hole"), "data"), Some(Json::Number(0.0)));
    assert_eq!(
        field(named("tree/zz"), "of"),
        Some(Json::Text("tree/size 9".to_owned()))
    );
    let hex = Some(Json::Text("747265652f6e616d65732ffffe".to_owned()));
    assert!(json.iter().any(|it| field(it, "path_hex") == hex));
}

#[test]
fn the_summary_is_the_same_in_words_and_in_json() {
    let directory = Directory::new("summary");
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    fs::write(source.join("file"), vec![1; 100_000]).expect("written");
    let (to, json) = (path(&directory, "backup"), directory.path("backup.json"));
    backup(
        &source,
        &to,
        &[
            "--json",
            &json,
            "--stripes",
            "3",
            "--readers",
            "5",
            "--memory",
            "5M",
        ],
    );
    let number = |file: &str, name: &str| {
        let Json::Object(fields) = parse_json(&fs::read_to_string(file).expect("written")) else {
            panic!("no object")
        };
        let found = fields.into_iter().find(|field| field.0 == name);
        match found.unwrap_or_else(|| panic!("no {name}")).1 {
            Json::Number(number) => number,
            other => panic!("{name}: {other:?}"),
        }
    };
    for (name, value) in [
        ("bytes", 100_000.0),
        ("entries", 2.0),
        ("problems", 0.0),
        ("stripes", 3.0),
        ("front_threads", 5.0),
        ("buffers", 4.0),
        ("transfer_size", 1_048_576.0),
    ] {
        assert_eq!(number(&json, name), value, "{name}");
    }
    // Block and payload of the file, with the stripes' ends left out.
    assert_eq!(number(&json, "stored_bytes"), 4096.0 + 102_400.0);
    assert!((1.0..=4.0).contains(&number(&json, "buffers_high_water")));
    let json = directory.path("verify.json");
    let (code, out, err) = run(&["verify", &to.display().to_string(), "--json", &json]);
    assert_eq!((code, failed(&err).len()), (0, 0));
    assert_eq!(number(&json, "bytes"), 100_000.0);
    for says in ["verify complete: 2 entries, 97.66 KiB", "slowest: "] {
        assert!(out.contains(says), "{says}: {out}");
    }
}
