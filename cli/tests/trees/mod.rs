//! Trees of files for the tests of the backup engine: made, and compared to the last bit.

#![allow(dead_code, reason = "not every test needs all of it")]

pub mod running;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, XattrFlags};

/// The program, as it was built.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_hugepool");

/// Numbers that are the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Bytes of which a part can be compressed.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        for (number, chunk) in bytes.chunks_mut(64).enumerate() {
            if number % 3 == 0 {
                continue;
            }
            for word in chunk.chunks_mut(8) {
                let random = self.next().to_le_bytes();
                word.copy_from_slice(&random[..word.len()]);
            }
        }
        bytes
    }
}

/// Runs the program with paths that may be anything.
pub fn run<S: AsRef<OsStr>>(args: &[S]) -> (i32, String, String) {
    let output = Command::new(PROGRAM).args(args).output();
    ended(output.expect("the program starts"))
}

pub fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
    let code = output.status.code().unwrap_or(-1);
    (code, text(output.stdout), text(output.stderr))
}

/// Backs `source` up; panics where that does not succeed.
pub fn backup(source: &Path, destination: &Path, options: &[&str]) {
    let mut args: Vec<&OsStr> = vec!["backup".as_ref(), source.as_ref(), destination.as_ref()];
    args.extend(options.iter().map(OsStr::new));
    let (code, out, err) = run(&args);
    assert_eq!(code, 0, "{options:?}: {out}{err}");
}

pub fn restore(backup: &Path, target: &Path, options: &[&str]) -> (i32, String, String) {
    let mut args: Vec<&OsStr> = vec!["restore".as_ref(), backup.as_ref(), target.as_ref()];
    args.extend(options.iter().map(OsStr::new));
    run(&args)
}

pub fn verify(backup: &Path) -> (i32, String, String) {
    run(&["verify".as_ref(), backup.as_os_str()])
}

/// The ways of `--io` that this machine has. Where io_uring is refused, that is said.
pub fn ways() -> &'static [&'static str] {
    static WAYS: OnceLock<&[&str]> = OnceLock::new();
    WAYS.get_or_init(|| {
        let name = format!("ways-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(folder.join("from")).expect("made");
        let (from, to) = (folder.join("from"), folder.join("to"));
        let args = ["backup".as_ref(), from.as_os_str(), to.as_os_str()];
        let (code, _, err) = run(&[&args[..], &["--io", "uring"].map(OsStr::new)].concat());
        fs::remove_dir_all(folder).expect("removed");
        if err.contains("no io_uring") {
            println!("skipped: --io uring: {err}");
            return &["threads"];
        }
        assert_eq!(code, 0, "{err}");
        &["threads", "uring"]
    })
}

/// Whether a backup of `source` can be written past the cache to the folder `to`, which is removed. Where not, that is said.
pub fn is_direct(source: &Path, to: &Path) -> bool {
    let args = ["backup".as_ref(), source.as_os_str(), to.as_os_str()];
    let (code, _, err) = run(&[&args[..], &["--direct", "on"].map(OsStr::new)].concat());
    if err.contains("no direct I/O") {
        println!("skipped: direct I/O: {err}");
        return false;
    }
    assert_eq!(code, 0, "{err}");
    fs::remove_dir_all(to).expect("removed");
    true
}

/// What the lines say that begin with `FAILED: `, without that.
pub fn failed(err: &str) -> Vec<&str> {
    let lines = err.lines();
    lines
        .filter_map(|line| line.strip_prefix("FAILED: "))
        .collect()
}

/// The files among these: those that are not about a stripe.
pub fn failed_files(err: &str) -> Vec<String> {
    let files = failed(err)
        .into_iter()
        .filter(|line| !line.starts_with("stripe"));
    let mut files: Vec<String> = files
        .map(|line| line.split(": ").next().expect("a path").to_owned())
        .collect();
    files.sort();
    files.dedup();
    files
}

/// Sets an extended attribute; whether the file system has any.
pub fn xattr(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).is_ok()
}

pub fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("times are set");
}

/// Makes a tree with something of everything, `transfer` being the size of a block.
pub fn make(root: &Path, seed: u64, transfer: usize) {
    let mut random = Random::new(seed);
    fs::create_dir(root).expect("made");
    let sizes = [
        0,
        1,
        100,
        4095,
        4096,
        4097,
        transfer - 1,
        transfer,
        transfer + 1,
        3 * transfer + 17,
        // More than one slice.
        20 * transfer + 5,
    ];
    for (number, size) in sizes.into_iter().enumerate() {
        let bytes = random.bytes(size);
        fs::write(root.join(format!("size {number}")), bytes).expect("written");
    }
    // Many small ones: several blocks, each full of them.
    let many = root.join("many");
    fs::create_dir(&many).expect("made");
    for number in 0..400 {
        let length = random.below(300) as usize;
        fs::write(many.join(format!("{number:03}")), random.bytes(length)).expect("written");
    }
    // Names that are no UTF-8, and such as a terminal obeys.
    let names = root.join("names");
    fs::create_dir(&names).expect("made");
    for name in [
        &b"\xff\xfe"[..],
        b"new\nline",
        b"\x1b[31m",
        b" ",
        b"-rf",
        b"a:b\\c",
        &[b'x'; 255],
    ] {
        fs::write(names.join(OsStr::from_bytes(name)), name).expect("written");
    }
    // Deep: longer than a path may be in one call.
    let mut deep = File::open(root).expect("opened");
    for _ in 0..30 {
        let name = OsString::from_vec(vec![b'd'; 150]);
        rustix::fs::mkdirat(&deep, name.as_os_str(), rustix::fs::Mode::RWXU).expect("made");
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        let next = rustix::fs::openat(&deep, name.as_os_str(), flags, rustix::fs::Mode::empty());
        deep = next.expect("opened").into();
    }
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE;
    let bottom = rustix::fs::openat(&deep, "bottom", flags, rustix::fs::Mode::RUSR);
    File::from(bottom.expect("made"))
        .write_all_at(b"deep", 0)
        .expect("written");
    // Holes: before, between and after; and nothing else.
    for (name, size, data) in [
        (
            "holes",
            40 * transfer as u64,
            vec![3 * transfer as u64, 30 * transfer as u64 + 1],
        ),
        ("small holes", transfer as u64, vec![transfer as u64 / 2]),
        ("hole", 10 << 30, vec![]),
    ] {
        let file = File::create(root.join(name)).expect("made");
        file.set_len(size).expect("grown");
        for at in data {
            file.write_all_at(b"data", at).expect("written");
        }
    }
    // Links: to what there is, to what there is not, out, and other names of one file.
    let links = root.join("links");
    fs::create_dir(&links).expect("made");
    symlink("../size 2", links.join("relative")).expect("linked");
    symlink("/no/such/thing", links.join("dangling")).expect("linked");
    symlink("..", links.join("folder")).expect("linked");
    symlink(OsStr::from_bytes(b"\xfe"), links.join("bytes")).expect("linked");
    fs::hard_link(root.join("size 9"), links.join("a")).expect("linked");
    fs::hard_link(root.join("size 9"), root.join("zz")).expect("linked");
    fs::hard_link(root.join("size 3"), links.join("b")).expect("linked");
    fs::create_dir(root.join("empty")).expect("made");
    // Attributes.
    if xattr(&root.join("size 2"), "user.color", b"\0blue\xff") {
        xattr(&root.join("size 10"), "user.large file", b"");
        xattr(&root.join("size 0"), "user.of nothing", b"x");
        xattr(&root.join("empty"), "user.of a folder", &[7; 1000]);
    } else {
        println!("skipped: extended attributes: the file system has none");
    }
    for (name, mode) in [
        ("size 1", 0o400),
        ("size 2", 0o4755),
        ("size 4", 0o000),
        ("size 5", 0o2710),
        ("empty", 0o1777),
        ("many", 0o500),
    ] {
        let readable = mode & 0o400 != 0 || rustix::process::geteuid().is_root();
        if readable {
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).expect("set");
        }
    }
    set_time(&root.join("size 3"), 1, 1);
    set_time(&root.join("links/dangling"), 1_000_000_000, 999_999_999);
    set_time(&root.join("names"), 1_234_567_890, 123_456_789);
    set_time(root, 86_400, 5);
}

/// A tree of [`make`], or its copy, whose owner may remove it when this is dropped.
pub struct Removable(pub PathBuf);

impl Drop for Removable {
    fn drop(&mut self) {
        let _ = fs::set_permissions(self.0.join("many"), fs::Permissions::from_mode(0o700));
    }
}

/// What is known of one path.
#[derive(PartialEq, Eq, Debug)]
struct Known {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    size: u64,
    target: Option<PathBuf>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    links: u64,
}

fn known(path: &Path) -> Known {
    let metadata = fs::symlink_metadata(path).expect("looked at");
    let is_folder = metadata.is_dir();
    let mut names = vec![0; 65536];
    let mut xattrs = BTreeMap::new();
    let count = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    for name in names[..count]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).expect("read");
        value.truncate(length);
        xattrs.insert(name.to_vec(), value);
    }
    Known {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        size: if is_folder { 0 } else { metadata.len() },
        target: metadata
            .is_symlink()
            .then(|| fs::read_link(path).expect("read")),
        xattrs,
        links: if is_folder { 0 } else { metadata.nlink() },
    }
}

/// Panics where `copy` is not as `original` is, to the last bit.
pub fn compare(original: &Path, copy: &Path) {
    let mut inodes = BTreeMap::new();
    compare_at(original, copy, &mut inodes);
}

fn compare_at(original: &Path, copy: &Path, inodes: &mut BTreeMap<u64, u64>) {
    // A path may be longer than a call takes: so go there.
    assert_eq!(known(original), known(copy), "{}", copy.display());
    let metadata = fs::symlink_metadata(original).expect("looked at");
    let of_copy = fs::symlink_metadata(copy).expect("looked at");
    if metadata.is_dir() {
        let names = |path: &Path| {
            let entries = fs::read_dir(path).expect("read");
            let mut names: Vec<_> = entries
                .map(|entry| entry.expect("read").file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(original), names(copy), "{}", copy.display());
        for name in names(original) {
            let (from, to) = (original.join(&name), copy.join(&name));
            if from.as_os_str().len().max(to.as_os_str().len()) > 3900 {
                return compare_deep(&from, &to);
            }
            compare_at(&from, &to, inodes);
        }
    } else if metadata.is_file() {
        let before = inodes.insert(metadata.ino(), of_copy.ino());
        assert!(
            before.is_none_or(|before| before == of_copy.ino()),
            "{} is a file of its own",
            copy.display()
        );
        let (a, b) = (
            File::open(original).expect("opened"),
            File::open(copy).expect("opened"),
        );
        compare_data(&a, &b, metadata.len(), copy);
        // Where there are holes there are holes again.
        let most = metadata.blocks() + 256;
        assert!(
            of_copy.blocks() <= most,
            "{}: {} blocks, not {}",
            copy.display(),
            of_copy.blocks(),
            metadata.blocks()
        );
    }
}

/// The rest of a path that is too long for one call: through links that are short.
fn compare_deep(original: &Path, copy: &Path) {
    let parents = (
        original.parent().expect("a parent"),
        copy.parent().expect("a parent"),
    );
    let open = |path: &Path| File::open(path).expect("opened");
    let (a, b) = (open(parents.0), open(parents.1));
    let name = original.file_name().expect("a name");
    let short = |file: &File| {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())).join(name)
    };
    let mut inodes = BTreeMap::new();
    compare_at(&short(&a), &short(&b), &mut inodes);
}

fn compare_data(a: &File, b: &File, size: u64, name: &Path) {
    let mut at = 0;
    while let Ok(start) = rustix::fs::seek(a, rustix::fs::SeekFrom::Data(at)) {
        let end = rustix::fs::seek(a, rustix::fs::SeekFrom::Hole(start))
            .expect("a hole")
            .min(size);
        at = start;
        while at < end {
            let length = (end - at).min(1 << 20) as usize;
            let (mut one, mut other) = (vec![0; length], vec![0; length]);
            a.read_exact_at(&mut one, at).expect("read");
            b.read_exact_at(&mut other, at).expect("read");
            assert!(
                one == other,
                "{} differs in {at} to {}",
                name.display(),
                at + length as u64
            );
            at = end.min(at + length as u64);
        }
    }
    // And no data where the original has a hole.
    let (mut at, mut data) = (0, vec![0; 1 << 20]);
    while let Ok(start) = rustix::fs::seek(b, rustix::fs::SeekFrom::Data(at)) {
        let end = rustix::fs::seek(b, rustix::fs::SeekFrom::Hole(start)).expect("a hole");
        at = start;
        while at < end {
            let length = (end - at).min(1 << 20) as usize;
            b.read_exact_at(&mut data[..length], at).expect("read");
            let mut same = vec![0; length];
            a.read_exact_at(&mut same, at).expect("read");
            assert!(
                same == data[..length],
                "{} differs in {at} to {}",
                name.display(),
                at + length as u64
            );
            at += length as u64;
        }
    }
}
