//! What other processes hold of what a pool would like to have.
//!
//! Owns the reading of `/proc/PID/status`. The two forms of the report show it.

use std::fs;

/// A process that holds some of it. Bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    pub name: String,
    pub user: u32,
    /// Reserved huge pages that it has mapped and touched.
    pub huge: u64,
    /// Locked (`mlock`).
    pub locked: u64,
    /// Pinned: what io_uring and devices have registered, above all.
    pub pinned: u64,
}

/// All that could be seen.
#[derive(Debug, Default)]
pub struct Holders {
    /// The one that holds the most first.
    pub found: Vec<Holder>,
    /// Processes whose state this one may not read.
    pub unseen: usize,
    /// The user that this process is of: one limit holds for all that its processes have pinned.
    pub user: u32,
}

impl Holders {
    /// Looks at every process but this one. Those that end meanwhile hold nothing.
    pub fn look() -> Holders {
        let own = std::process::id();
        let mut holders = Holders {
            user: rustix::process::getuid().as_raw(),
            ..Holders::default()
        };
        let Ok(entries) = fs::read_dir("/proc") else {
            return holders;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            match fs::read_to_string(entry.path().join("status")) {
                Ok(status) if pid != own => {
                    let holder = Holder::of(pid, &status);
                    holders.found.extend(holder.filter(Holder::holds_some));
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    holders.unseen += 1;
                }
                Err(_) => {}
            }
        }
        let most = |holder: &Holder| holder.huge.max(holder.locked).max(holder.pinned);
        holders
            .found
            .sort_by_key(|holder| (std::cmp::Reverse(most(holder)), holder.pid));
        holders
    }

    /// Bytes that all processes of this one's user have pinned.
    pub fn pinned_by_user(&self) -> u64 {
        let own = self.found.iter().filter(|holder| holder.user == self.user);
        own.map(|holder| holder.pinned).sum()
    }
}

impl Holder {
    /// What a file of the kernel's says; `None`: it is none.
    fn of(pid: u32, status: &str) -> Option<Holder> {
        let field = |wanted: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(wanted)?.strip_prefix(':').map(str::trim))
        };
        let bytes = |wanted| {
            let words = field(wanted)?.strip_suffix(" kB")?;
            words.trim().parse::<u64>().ok()?.checked_mul(1024)
        };
        Some(Holder {
            pid,
            name: field("Name")?.to_owned(),
            user: field("Uid")?.split_whitespace().next()?.parse().ok()?,
            // A thread of the kernel has none of these lines.
            huge: bytes("HugetlbPages").unwrap_or(0),
            locked: bytes("VmLck").unwrap_or(0),
            pinned: bytes("VmPin").unwrap_or(0),
        })
    }

    fn holds_some(&self) -> bool {
        self.huge > 0 || self.locked > 0 || self.pinned > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_holds_is_read_from_its_status() {
        let status = "Name:\tsql server\nUid:\t10\t11\t12\t13\nVmLck:\t      64 kB\nVmPin:\t       8 kB\n\
                      HugetlbPages:\t    4096 kB\nThreads:\t1\n";
        let holder = Holder::of(7, status).expect("it is one");
        assert_eq!(
            holder,
            Holder {
                pid: 7,
                name: "sql server".to_owned(),
                user: 10,
                huge: 4 << 20,
                locked: 64 << 10,
                pinned: 8 << 10,
            }
        );
        assert!(holder.holds_some());
        let thread = Holder::of(2, "Name:\tkthreadd\nUid:\t0\t0\t0\t0\n").expect("it is one");
        assert!(!thread.holds_some());
        for bad in ["", "Name:\tx\n", "Name:\tx\nUid:\tnobody\n"] {
            assert_eq!(Holder::of(2, bad), None);
        }
        let absurd = "Name:\tx\nUid:\t0\nVmLck:\t18446744073709551615 kB\nVmPin:\tmany kB\n";
        assert!(!Holder::of(2, absurd).expect("it is one").holds_some());
    }
}
