//! What files have besides their contents: modes, owners, times, extended attributes.
//!
//! Owns the reading and the giving back of them, by open files; for symbolic links, which cannot be opened, by name in an
//! open folder. Access control lists are extended attributes, and need nothing of their own. The walk and the readers
//! read them, the restore gives them back.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chownat, fchmod,
    fchown, fgetxattr, flistxattr, fsetxattr, futimens, lgetxattr, llistxattr, lsetxattr,
    utimensat,
};
use rustix::io::{Errno, Result};

use super::format::entry::{Attributes, MAX_VALUE, Time, Xattr};

impl Attributes {
    pub fn of(stat: &Stat) -> Attributes {
        Attributes {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            modified: Time {
                seconds: stat.st_mtime,
                nanoseconds: stat.st_mtime_nsec as u32,
            },
        }
    }
}

/// Reads extended attributes, into room that it keeps.
pub struct Xattrs {
    names: Vec<u8>,
    value: Vec<u8>,
}

impl Xattrs {
    pub fn new() -> Xattrs {
        // The kernel's limits of both.
        Xattrs {
            names: vec![0; 64 << 10],
            value: vec![0; MAX_VALUE],
        }
    }

    /// Those of an open file or folder.
    pub fn of(&mut self, file: BorrowedFd<'_>) -> Result<Vec<Xattr>> {
        let count = flistxattr(file, &mut self.names[..]);
        self.each(count, |name, value| fgetxattr(file, name, value))
    }

    /// Those of a symbolic link, by its name in an open folder.
    pub fn of_link(&mut self, folder: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<Xattr>> {
        let path = link_path(folder, name);
        let count = llistxattr(&path[..], &mut self.names[..]);
        self.each(count, |name, value| lgetxattr(&path[..], name, value))
    }

    fn each(
        &mut self,
        count: Result<usize>,
        get: impl Fn(&[u8], &mut [u8]) -> Result<usize>,
    ) -> Result<Vec<Xattr>> {
        let count = match count {
            // No file of that file system has any.
            Err(Errno::OPNOTSUPP) => 0,
            other => other?,
        };
        let mut xattrs = Vec::new();
        for name in self.names[..count].split(|&byte| byte == 0) {
            if name.is_empty() {
                continue;
            }
            match get(name, &mut self.value) {
                Ok(length) => xattrs.push(Xattr {
                    name: name.into(),
                    value: self.value[..length].into(),
                }),
                // It went meanwhile.
                Err(Errno::NODATA) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(xattrs)
    }
}

/// A path to a link that is followed neither there nor on the way: the calls for extended attributes of links know no
/// folders.
fn link_path(folder: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

/// What could not be given back for want of a right, of all entries together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Withheld {
    /// Entries that have another owner, or group, than they had.
    pub owners: u64,
    /// Extended attributes that only root may set.
    pub xattrs: u64,
}

impl Withheld {
    pub fn add(&mut self, other: Withheld) {
        self.owners += other.owners;
        self.xattrs += other.xattrs;
    }
}

/// Gives them back.
pub struct Giver {
    root: bool,
    pub withheld: Withheld,
}

impl Giver {
    pub fn new() -> Giver {
        Giver {
            root: rustix::process::geteuid().is_root(),
            withheld: Withheld::default(),
        }
    }

    /// To an open file or folder, in the order that keeps each: a change of owner takes away setuid and capabilities, a
    /// list of rights changes the mode, and everything changes the time.
    pub fn give(
        &mut self,
        file: BorrowedFd<'_>,
        attributes: &Attributes,
        xattrs: &[Xattr],
    ) -> std::result::Result<(), String> {
        let now = rustix::fs::fstat(file).map_err(|error| format!("fstat: {error}"))?;
        let mut mode = attributes.mode;
        if (now.st_uid, now.st_gid) != (attributes.uid, attributes.gid) {
            if self.root {
                let (uid, gid) = owner(attributes);
                let done = fchown(file, uid, gid);
                done.map_err(|error| format!("cannot give it to its owner: {error}"))?;
            } else {
                self.withheld.owners += 1;
                // Not with another's rights.
                mode &= 0o1777;
            }
        }
        self.xattrs(xattrs, |name, value| {
            fsetxattr(file, name, value, XattrFlags::empty())
        })?;
        fchmod(file, Mode::from_raw_mode(mode))
            .map_err(|error| format!("cannot set its mode {mode:o}: {error}"))?;
        futimens(file, &times(attributes.modified))
            .map_err(|error| format!("cannot set its time: {error}"))
    }

    /// To a symbolic link, by its name in an open folder.
    pub fn give_link(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &[u8],
        attributes: &Attributes,
        xattrs: &[Xattr],
    ) -> std::result::Result<(), String> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if self.root {
            let (uid, gid) = owner(attributes);
            chownat(folder, name, uid, gid, flags)
                .map_err(|error| format!("cannot give it to its owner: {error}"))?;
        } else {
            let now = rustix::fs::statat(folder, name, flags);
            let same =
                now.is_ok_and(|now| (now.st_uid, now.st_gid) == (attributes.uid, attributes.gid));
            self.withheld.owners += u64::from(!same);
        }
        let path = link_path(folder, name);
        self.xattrs(xattrs, |name, value| {
            lsetxattr(&path[..], name, value, XattrFlags::empty())
        })?;
        utimensat(folder, name, &times(attributes.modified), flags)
            .map_err(|error| format!("cannot set its time: {error}"))
    }

    fn xattrs(
        &mut self,
        xattrs: &[Xattr],
        set: impl Fn(&[u8], &[u8]) -> Result<()>,
    ) -> std::result::Result<(), String> {
        for xattr in xattrs {
            let privileged = !self.root
                && (xattr.name.starts_with(b"security.") || xattr.name.starts_with(b"trusted."));
            match set(&xattr.name, &xattr.value) {
                Ok(()) => {}
                Err(_) if privileged => self.withheld.xattrs += 1,
                Err(error) => {
                    let name = xattr.name.escape_ascii();
                    return Err(format!("cannot set the extended attribute {name}: {error}"));
                }
            }
        }
        Ok(())
    }
}

fn owner(attributes: &Attributes) -> (Option<Uid>, Option<Gid>) {
    // All bits set means "leave it" to the kernel, and nobody has that number.
    let some = |id: u32| (id != u32::MAX).then_some(id);
    (
        some(attributes.uid).map(Uid::from_raw),
        some(attributes.gid).map(Gid::from_raw),
    )
}

/// The time of last use stays as it is.
fn times(modified: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: modified.seconds,
            tv_nsec: modified.nanoseconds.into(),
        },
    }
}

/// A file as it was at a moment, to see whether it is another one later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    pub modified: (i64, u64),
    pub changed: (i64, u64),
    /// It has fewer blocks than bytes: there may be holes.
    pub sparse: bool,
}

impl Seen {
    pub fn of(stat: &Stat) -> Seen {
        let size = stat.st_size.unsigned_abs();
        Seen {
            device: stat.st_dev,
            inode: stat.st_ino,
            size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
            sparse: stat.st_blocks.unsigned_abs().saturating_mul(512) < size,
        }
    }

    /// What happened between this look and a later one at the open file; `None`: nothing.
    pub fn differs(&self, file: impl AsFd) -> Option<String> {
        let now = match rustix::fs::fstat(file) {
            Ok(stat) => Seen::of(&stat),
            Err(error) => return Some(format!("cannot be looked at again: {error}")),
        };
        if (now.device, now.inode) != (self.device, self.inode) {
            Some("was replaced by another file".to_owned())
        } else if now.size < self.size {
            Some(format!(
                "shrank while it was read, from {} to {} bytes; what is missing is zeroes",
                self.size, now.size
            ))
        } else if now.size > self.size {
            Some(format!(
                "grew while it was read, from {} to {} bytes; what came later is not in the backup",
                self.size, now.size
            ))
        } else if (now.modified, now.changed) != (self.modified, self.changed) {
            Some("changed while it was read; its parts may be of different moments".to_owned())
        } else {
            None
        }
    }
}
