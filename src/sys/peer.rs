//! Who is at the other end of a socket.
//!
//! Owns: `SO_PEERCRED`, `SO_PEERGROUPS`, `SO_PEERPIDFD`, and what is known of this process's
//! user namespace. Uses: libc, `/proc`. Used by: `share`.
//!
//! Source: unix(7), user_namespaces(7) under "Unmapped user and group IDs". The kernel says
//! users and groups as this process's namespace has them. Those that it does not have are
//! all said to be the same one, the *overflow* user or group (65534). So that number says
//! who somebody is only where every user has a number of its own; or where the other end
//! is in this very namespace, which nobody can enter who has no power over it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

/// Who that is, as of when it connected, or began to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process; 0 if it is in no namespace that this one sees.
    pub process: i32,
    /// User.
    pub user: u32,
    /// Group.
    pub group: u32,
}

/// This process's user.
pub fn own_user() -> u32 {
    // SAFETY: gives a number.
    unsafe { libc::geteuid() }
}

/// An option of a socket, `value` if all of it was written.
fn option<T>(socket: BorrowedFd<'_>, option: libc::c_int, mut value: T) -> io::Result<T> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is there to be written, and as long as it says.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &mut len,
        )
    };
    match result {
        0 if len as usize == size_of::<T>() => Ok(value),
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Peer {
    /// Who is at the other end of `socket`.
    pub fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let nobody = libc::ucred {
            pid: 0,
            uid: u32::MAX,
            gid: u32::MAX,
        };
        let who = option(socket, libc::SO_PEERCRED, nobody)?;
        Ok(Self {
            process: who.pid,
            user: who.uid,
            group: who.gid,
        })
    }
}

/// `SO_PEERGROUPS`, of Linux 4.13.
const SO_PEERGROUPS: libc::c_int = 59;
/// `SO_PEERPIDFD`, of Linux 6.5.
const SO_PEERPIDFD: libc::c_int = 77;
/// The most supplementary groups that a process can have.
const MAX_GROUPS: usize = 1 << 16;

/// Its supplementary groups.
pub fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0u32; 64];
    loop {
        let mut len = size_of_val(groups.as_slice()) as libc::socklen_t;
        // SAFETY: the numbers are there to be written, and as many as it says.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &mut len,
            )
        };
        let given = (len as usize / size_of::<u32>()).min(MAX_GROUPS);
        match io::Error::last_os_error() {
            _ if result == 0 => {
                groups.truncate(given);
                return Ok(groups);
            }
            // There are more: so many.
            error if error.raw_os_error() == Some(libc::ERANGE) && given > groups.len() => {
                groups.resize(given, 0);
            }
            error => return Err(error),
        }
    }
}

/// What stands for the users and groups that this namespace does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// `None` if it has every user.
    pub user: Option<u32>,
    /// `None` if it has every group.
    pub group: Option<u32>,
}

impl Overflow {
    /// What the kernel says now.
    pub fn here() -> Self {
        let one = |map: &str, overflow: &str| {
            let has_all = std::fs::read_to_string(map).is_ok_and(|map| has_all(&map));
            // As it is where nobody has changed it.
            let number = || number(overflow).unwrap_or(65534);
            (!has_all).then(number)
        };
        Self {
            user: one("/proc/self/uid_map", "/proc/sys/kernel/overflowuid"),
            group: one("/proc/self/gid_map", "/proc/sys/kernel/overflowgid"),
        }
    }
}

fn number(path: &str) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether a map (first number here, first number outside, how many: a line each) has every
/// number there is.
fn has_all(map: &str) -> bool {
    let counts = map.lines().map(|line| line.split_whitespace().nth(2));
    let counts = counts.map(|count| count.and_then(|count| count.parse::<u64>().ok()));
    // The last number stands for none.
    counts.sum::<Option<u64>>() == Some(u64::from(u32::MAX))
}

/// Whether the other end is in this process's own user namespace. No where that cannot be
/// told: before Linux 6.5, without `/proc`, or if this process may not look at that one.
pub fn is_of_this_namespace(socket: BorrowedFd<'_>) -> bool {
    let alive = |process: &OwnedFd| {
        let ended = super::socket::wait(&[process.as_fd()], Some(std::time::Duration::ZERO));
        ended.is_ok_and(|ended| ended == [false])
    };
    let look = || {
        let process = option::<libc::c_int>(socket, SO_PEERPIDFD, -1).ok()?;
        // SAFETY: made just now, and nobody else's.
        let process = (process >= 0).then(|| unsafe { OwnedFd::from_raw_fd(process) })?;
        let peer = Peer::of(socket).ok()?;
        let namespace = |of: &str| {
            let namespace = std::fs::metadata(format!("/proc/{of}/ns/user")).ok()?;
            Some((namespace.dev(), namespace.ino()))
        };
        let same = namespace(&peer.process.to_string())? == namespace("self")?;
        // Its number was not another's when it was looked at.
        Some(same && alive(&process))
    };
    look() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::super::socket::pair;
    use super::*;

    #[test]
    fn the_other_end_is_known() {
        let (one, _other) = pair().unwrap();
        let peer = Peer::of(one.as_fd()).unwrap();
        assert_eq!(peer.process as u32, std::process::id());
        assert_eq!(peer.user, own_user());
        let own = || {
            // SAFETY: asks how many there are, and then for as many.
            unsafe {
                let count = libc::getgroups(0, std::ptr::null_mut());
                let mut groups = vec![0; count as usize];
                libc::getgroups(count, groups.as_mut_ptr());
                groups
            }
        };
        assert_eq!(groups(one.as_fd()).unwrap(), own());
        match option::<libc::c_int>(one.as_fd(), SO_PEERPIDFD, -1) {
            Ok(process) => {
                // SAFETY: made just now, and nobody else's.
                drop(unsafe { OwnedFd::from_raw_fd(process) });
                assert!(is_of_this_namespace(one.as_fd()));
            }
            Err(error) => println!("skipped: SO_PEERPIDFD: {error}"),
        }
    }

    #[test]
    fn a_map_has_all_or_not() {
        assert!(has_all("         0          0 4294967295\n"));
        assert!(has_all("0 0 1000\n1000 2000 4294966295\n"));
        for fewer in ["", "0 0 65536\n", "0 1000 1\n1 100000 65536", "0 0 x"] {
            assert!(!has_all(fewer), "{fewer:?}");
        }
    }
}
