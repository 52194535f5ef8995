//! Opens a file that is backed up.
//!
//! Owns how: without a wait, without a trace, and no file but the one that is meant. `walk` and `read` use it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, openat};
use rustix::io::Errno;

/// Opens a file to read it, without a wait and without a trace where the system lets us. The error says why not.
pub fn open_file(folder: &OwnedFd, name: &[u8]) -> Result<File, String> {
    let file = open(folder, name, OFlags::empty()).map_err(|error| match error {
        Errno::NOENT => "vanished before it was read".to_owned(),
        Errno::LOOP => "was replaced by a link".to_owned(),
        error => format!("cannot be opened: {error}"),
    })?;
    let stat = rustix::fs::fstat(&file).map_err(|error| format!("fstat: {error}"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("was replaced by what is no file".to_owned());
    }
    Ok(file.into())
}

/// Opens a file once more, to read it past the kernel's cache; `None`: that is not to be had, or it is another file now.
pub fn open_direct(folder: &OwnedFd, name: &[u8], file: &File) -> Option<Arc<File>> {
    let direct = open(folder, name, OFlags::DIRECT).ok()?;
    let (stat, known) = (
        rustix::fs::fstat(&direct).ok()?,
        rustix::fs::fstat(file).ok()?,
    );
    let same = (stat.st_dev, stat.st_ino) == (known.st_dev, known.st_ino);
    same.then(|| Arc::new(direct.into()))
}

fn open(folder: &OwnedFd, name: &[u8], how: OFlags) -> Result<OwnedFd, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = flags | how;
    match openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Another one's file.
        Err(Errno::PERM) => openat(folder, name, flags, Mode::empty()),
        other => other,
    }
}
