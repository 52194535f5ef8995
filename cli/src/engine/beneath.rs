//! Opening what is below a folder, and nothing else.
//!
//! Owns the one way in which the engine opens anything below a source or a target: relative to an open folder, without
//! following a link, whatever somebody puts there meanwhile. Uses `openat2(2)` (Linux 5.6), or goes one name after the
//! other where a filter forbids it. The walk and the restore use it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::{Errno, Result};

/// The kernel takes paths of less than 4096 bytes.
const LONGEST: usize = 4000;

const FOLDER: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Opens `path` below `root`; empty: `root` itself. A link on the way, or at its end, is an error, and so is `..`.
pub fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if path.is_empty() {
        return openat(root, ".", flags, mode);
    }
    let mut at: Option<OwnedFd> = None;
    let mut rest = path;
    while rest.len() > LONGEST {
        let end = rest[..LONGEST].iter().rposition(|&byte| byte == b'/');
        let end = end.ok_or(Errno::NAMETOOLONG)?;
        let from = at.as_ref().map_or(root, AsFd::as_fd);
        at = Some(step(from, &rest[..end], FOLDER, Mode::empty())?);
        rest = &rest[end + 1..];
    }
    let from = at.as_ref().map_or(root, AsFd::as_fd);
    step(from, rest, flags, mode)
}

/// Opens a folder below `root` to work in it.
pub fn folder(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd> {
    open(root, path, FOLDER, Mode::empty())
}

fn step(from: BorrowedFd<'_>, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(from, path, flags, mode, resolve) {
            // Something was renamed at that moment.
            Err(Errno::AGAIN) => {}
            Err(Errno::NOSYS | Errno::PERM) => return by_names(from, path, flags, mode),
            other => return other,
        }
    }
}

/// As `openat2` does it, a name a call.
fn by_names(root: BorrowedFd<'_>, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let mut at: Option<OwnedFd> = None;
    let mut names = path.split(|&byte| byte == b'/').peekable();
    while let Some(name) = names.next() {
        if name.is_empty() || name == b"." || name == b".." {
            return Err(Errno::XDEV);
        }
        let from = at.as_ref().map_or(root, AsFd::as_fd);
        if names.peek().is_none() {
            return openat(from, name, flags, mode);
        }
        at = Some(openat(from, name, FOLDER, Mode::empty())?);
    }
    Err(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    #[test]
    fn neither_way_leads_out_or_over_a_link() {
        let base = std::env::temp_dir().join(format!("hugepool-beneath-{}", std::process::id()));
        let root = base.join("root");
        fs::create_dir_all(root.join("a/b")).expect("made");
        fs::write(base.join("secret"), "x").expect("written");
        fs::write(root.join("a/b/file"), "y").expect("written");
        symlink("b", root.join("a/link")).expect("linked");
        symlink("../../secret", root.join("a/out")).expect("linked");
        let dir = File::open(&root).expect("opened");
        for way in [step, by_names] {
            let open = |path: &str| {
                way(
                    dir.as_fd(),
                    path.as_bytes(),
                    OFlags::RDONLY | OFlags::NOFOLLOW,
                    Mode::empty(),
                )
            };
            assert!(open("a/b/file").is_ok());
            for path in [
                "a/link/file",
                "a/link",
                "a/out",
                "../secret",
                "a/../../secret",
                "a/b/file/c",
            ] {
                assert!(open(path).is_err(), "{path}");
            }
        }
        fs::remove_dir_all(&base).expect("removed");
    }

    #[test]
    fn paths_that_are_longer_than_the_kernel_takes_are_opened() {
        let base = std::env::temp_dir().join(format!("hugepool-deep-{}", std::process::id()));
        fs::create_dir_all(&base).expect("made");
        let name = "d".repeat(200);
        let root = File::open(&base).expect("opened");
        let mut path = Vec::new();
        for _ in 0..60 {
            let parent = folder(root.as_fd(), &path).expect("opened");
            rustix::fs::mkdirat(&parent, name.as_str(), Mode::RWXU).expect("made");
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
        }
        assert!(path.len() > 3 * LONGEST && folder(root.as_fd(), &path).is_ok());
        fs::remove_dir_all(&base).expect("removed");
    }
}
