//! The ways to read and write: by threads that wait, and by io_uring with registered buffers.

mod common;
mod trees;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::filter::refuse;
use common::{Directory, Json, parse_json};
use trees::running::after;
use trees::{Random, Removable, backup, compare, is_direct, make, restore, run, ways};

fn path(directory: &Directory, name: &str) -> PathBuf {
    PathBuf::from(directory.path(name))
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// What the summary says of how it was done.
fn io_of(json: &str) -> String {
    let Json::Object(fields) = parse_json(&fs::read_to_string(json).expect("written")) else {
        panic!("no object")
    };
    let found = fields.into_iter().find(|field| field.0 == "io");
    match found.expect("io").1 {
        Json::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// A tree with large files, too: of whole blocks, and not; and one with a hole.
fn tree(source: &Path) {
    make(source, 7, 16 << 10);
    let mut random = Random::new(3);
    for length in [16 << 14, (16 << 14) + 1, 1_000_003] {
        fs::write(source.join(format!("large {length}")), random.bytes(length)).expect("written");
    }
    let sparse = fs::File::create(source.join("sparse large")).expect("made");
    sparse.set_len(8 << 20).expect("grown");
    let bytes = random.bytes(1 << 20);
    sparse.write_all_at(&bytes, 3 << 20).expect("written");
}

#[test]
fn what_one_way_writes_the_other_reads_to_the_last_bit() {
    let directory = Directory::new("io-round");
    let source = path(&directory, "tree");
    tree(&source);
    let _removable = Removable(source.clone());
    let direct = is_direct(&source, &path(&directory, "tried"));
    for options in [
        "--stripes 4 --readers 2",
        // Two buffers; one, which everybody waits for; and more stripes than there are buffers and room in a ring.
        "--stripes 3 --readers 3 --memory 40K",
        "--stripes 2 --readers 2 --memory 20K",
        "--stripes 80 --readers 2 --memory 3M",
        // Blocks of any length: what comes next cannot be guessed.
        "--stripes 2 --compress zstd --readers 2 --memory 200K",
    ] {
        for (written, read) in [
            ("uring", "threads"),
            ("threads", "uring"),
            ("uring", "uring"),
        ] {
            if [written, read].iter().any(|io| !ways().contains(io)) {
                continue;
            }
            for past in ["off", "on"] {
                if past == "on" && !direct {
                    continue;
                }
                let (to, back) = (path(&directory, "backup"), path(&directory, "back"));
                let json = directory.path("json");
                let how = format!("{options} --transfer-size 16K --io {written} --direct {past}");
                backup(
                    &source,
                    &to,
                    &[&words(&how)[..], &["--json", &json]].concat(),
                );
                assert_eq!(io_of(&json), written);
                let how = format!("--readers 3 --io {read} --direct {past} --json {json}");
                let (code, out, err) = restore(&to, &back, &words(&how));
                assert_eq!(code, 0, "{options} {how}: {out}{err}");
                assert_eq!(io_of(&json), read);
                compare(&source, &back.join("tree"));
                fs::remove_dir_all(to).expect("removed");
                drop(Removable(back.join("tree")));
                fs::remove_dir_all(back).expect("removed");
            }
        }
    }
}

#[test]
fn io_uring_without_the_pool_is_refused() {
    let directory = Directory::new("io-origin");
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    let (to, back) = (path(&directory, "backup"), path(&directory, "back"));
    for from in ["malloc", "mmap", "channel"] {
        let options = ["--io", "uring", "--buffers-from", from];
        let says = format!(
            "--io uring needs --buffers-from pool, whose memory is registered with the kernel, and this is --buffers-from {from}"
        );
        let args = ["backup".as_ref(), source.as_os_str(), to.as_os_str()];
        let (code, _, err) = run(&[&args[..], &options.map(OsStr::new)].concat());
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(&says), "{err}");
        assert!(!to.exists());
        backup(&source, &to, &["--buffers-from", from]);
        let (code, _, err) = restore(&to, &back, &options);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(&says) && !back.exists(), "{err}");
        fs::remove_dir_all(&to).expect("removed");
    }
}

/// Has the kernel refuse io_uring to this process.
fn refuse_rings() -> io::Result<()> {
    refuse(libc::SYS_io_uring_setup, libc::EPERM)
}

#[test]
fn a_kernel_that_refuses_io_uring_is_told_of_or_done_without() {
    let directory = Directory::new("io-refused");
    let source = path(&directory, "tree");
    fs::create_dir(&source).expect("made");
    fs::write(source.join("file"), "x").expect("written");
    let (to, json) = (path(&directory, "backup"), directory.path("json"));
    let run = |command: &str, io: &str| {
        let mut args: Vec<&OsStr> = vec![command.as_ref()];
        if command == "backup" {
            args.push(source.as_ref());
        }
        args.extend([to.as_ref(), OsStr::new("--io"), io.as_ref()]);
        args.extend(["--json", &json].map(OsStr::new));
        after(refuse_rings, &args)
    };
    let Ok((code, _, err)) = run("backup", "uring") else {
        println!("skipped: a kernel that refuses io_uring: it takes no filter");
        return;
    };
    assert_eq!(code, 1, "{err}");
    let says = "no io_uring (--io uring): io_uring_setup: Operation not permitted";
    assert!(err.contains(says), "{err}");
    assert!(!to.exists());
    let (code, _, err) = run("backup", "auto").expect("started");
    assert_eq!((code, &*io_of(&json)), (0, "threads"), "{err}");
    let (code, _, err) = run("verify", "uring").expect("started");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains(says), "{err}");
    let (code, _, err) = run("verify", "auto").expect("started");
    assert_eq!((code, &*io_of(&json)), (0, "threads"), "{err}");
}

/// Has this process, which may be root's, lock little memory.
fn little() -> io::Result<()> {
    const CAP_IPC_LOCK: libc::c_ulong = 14;
    // SAFETY: takes numbers only. Where it is refused there is no such capability to lose.
    unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0) };
    let limit = libc::rlimit {
        rlim_cur: 4 << 20,
        rlim_max: 4 << 20,
    };
    // SAFETY: `limit` is readable.
    match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn what_of_the_pool_cannot_be_registered_is_used_without_and_said_once() {
    if !ways().contains(&"uring") {
        return;
    }
    let directory = Directory::new("io-memlock");
    let source = path(&directory, "tree");
    tree(&source);
    let _removable = Removable(source.clone());
    let (to, back) = (path(&directory, "backup"), path(&directory, "back"));
    let options = ["--io", "uring"].map(OsStr::new);
    let said = |err: &str| err.matches("; what is not is read and written").count();
    let args = ["backup".as_ref(), source.as_os_str(), to.as_os_str()];
    let done = after(little, &[&args[..], &options].concat());
    let (code, _, err) = done.expect("a limit is lowered");
    assert_eq!((code, said(&err)), (0, 1), "{err}");
    let args = ["restore".as_ref(), to.as_os_str(), back.as_os_str()];
    let (code, _, err) = after(little, &[&args[..], &options].concat()).expect("started");
    assert_eq!((code, said(&err)), (0, 1), "{err}");
    compare(&source, &back.join("tree"));
    drop(Removable(back.join("tree")));
}
