//! How much memory there is for the taking, and how many addresses.
//!
//! Owns: reading of `/proc/meminfo` and `/proc/thread-self/statm`. Uses: `groups` and `quota` for the
//! limits of control groups, `limits`, `std::fs`, libc. Used by: `arena`, before it faults
//! pages in; `pool`, before it reserves addresses; the doctor.
//!
//! Source: proc_meminfo(5), proc_pid_statm(5), sysinfo(2), the kernel's page on overcommit
//! accounting. Faulting in more than there is would not fail: it would wake the out-of-memory
//! killer.
//!
//! What is found holds for the moment. Nothing is remembered: groups and limits change.

use super::groups::{Controller, Seen};
use super::limits;
use super::quota::{self, Kind, Limit};
use std::fs;
use std::mem::MaybeUninit;
use std::path::Path;

/// For so many bytes that are faulted in, the kernel needs one for page tables and for the
/// index of a file in memory: 1/512 and 1/455 at most.
const BYTES_A_BYTE_OF_TABLES: u64 = 128;

/// Why there is too little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The system has no more than so many bytes.
    System(u64),
    /// A control group allows no more.
    Group(Limit),
}

/// Bytes of address space that this process could still map, if not in one piece. `None` if
/// the kernel does not say.
pub fn addresses_left() -> Option<usize> {
    let statm = fs::read_to_string("/proc/thread-self/statm");
    let statm = statm.or_else(|_| fs::read_to_string("/proc/self/statm"));
    let statm = statm.ok()?;
    let pages: usize = statm.split_whitespace().next()?.parse().ok()?;
    let mapped = pages.checked_mul(limits::base_page())?;
    Some(limits::address_space()?.saturating_sub(mapped))
}

impl Shortage {
    /// Bytes that can be faulted in.
    pub fn available(&self) -> u64 {
        let left = match self {
            Self::System(left) => *left,
            Self::Group(limit) => limit.left(),
        };
        left - left.div_ceil(BYTES_A_BYTE_OF_TABLES + 1)
    }
}

/// Whether `needed` bytes could be faulted in now without swapping: by the system's
/// `MemAvailable`, and by what the control groups of this process leave. Yes if the kernel
/// says nothing.
pub fn check(needed: usize) -> Result<(), Shortage> {
    check_below(Path::new("/"), needed as u64)
}

fn check_below(root: &Path, needed: u64) -> Result<(), Shortage> {
    let with_tables = needed.saturating_add(needed / BYTES_A_BYTE_OF_TABLES);
    let group = check_groups(
        &Seen::below(root),
        Controller::Memory,
        Kind::Memory,
        with_tables,
    );
    let short = |left: &u64| *left < with_tables;
    let system = available(root).filter(short).map(Shortage::System);
    let group = group.err().map(Shortage::Group);
    let tightest = system.into_iter().chain(group);
    match tightest.min_by_key(Shortage::available) {
        Some(shortage) => Err(shortage),
        None => Ok(()),
    }
}

/// Whether the control groups allow `needed` bytes on pages of that `kind` from the hugetlb
/// pool, and if so, whether they limit them at all: then pages that are mapped are not
/// certain to be had when they are touched.
pub fn check_huge(needed: usize, kind: Kind) -> Result<bool, Limit> {
    check_huge_below(Path::new("/"), needed as u64, kind)
}

fn check_huge_below(root: &Path, needed: u64, kind: Kind) -> Result<bool, Limit> {
    let seen = Seen::below(root);
    let limited = check_groups(&seen, Controller::HugeTlb, kind, needed)?;
    // By default they count in no other limit.
    let memory = seen.groups(Controller::Memory);
    if memory.is_some_and(|groups| groups.counts_hugetlb) {
        return Ok(check_groups(&seen, Controller::Memory, Kind::Memory, needed)? || limited);
    }
    Ok(limited)
}

/// Whether there is a limit, none of which leaves less than `needed`.
fn check_groups(
    seen: &Seen<'_>,
    controller: Controller,
    kind: Kind,
    needed: u64,
) -> Result<bool, Limit> {
    let Some(groups) = seen.groups(controller) else {
        return Ok(false);
    };
    let limits = quota::limits(&groups, kind);
    let limited = !limits.is_empty();
    match quota::shortage(limits, &groups, kind, needed) {
        Some(limit) => Err(limit),
        None => Ok(limited),
    }
}

/// What the system could give without swapping. Without `/proc` what nobody uses at all.
fn available(root: &Path) -> Option<u64> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo"));
    let available = meminfo.ok().and_then(|text| field(&text, "MemAvailable:"));
    available.or_else(unused)
}

fn unused() -> Option<u64> {
    let mut info = MaybeUninit::<libc::sysinfo>::uninit();
    // SAFETY: the structure is there to be written.
    if unsafe { libc::sysinfo(info.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it was written.
    let info = unsafe { info.assume_init() };
    let pages = info.freeram.checked_add(info.bufferram)?;
    pages.checked_mul(u64::from(info.mem_unit))
}

/// Whether the system promises no more memory than it has (`vm.overcommit_memory` is 2).
pub fn is_strict() -> bool {
    let mode = fs::read("/proc/sys/vm/overcommit_memory");
    mode.is_ok_and(|mode| mode.trim_ascii() == b"2")
}

/// Bytes that a system which promises no more than it has could still promise.
pub fn left_to_promise() -> Option<usize> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let (limit, promised) = (
        field(&text, "CommitLimit:")?,
        field(&text, "Committed_AS:")?,
    );
    usize::try_from(limit.saturating_sub(promised)).ok()
}

fn field(meminfo: &str, name: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::super::groups::tests::{Planted, UNIFIED};
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_field_of_meminfo_is_in_bytes() {
        let text = "MemTotal:       24530000 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(field(text, "MemAvailable:"), Some(1 << 20));
        assert_eq!(field(text, "SwapFree:"), None);
        assert_eq!(field("MemAvailable: many kB\n", "MemAvailable:"), None);
    }

    #[test]
    fn this_process_has_addresses_left_and_fewer_than_there_are() {
        let Some(left) = addresses_left() else {
            println!("skipped: no /proc/self/statm here");
            return;
        };
        assert!(limits::address_space().is_some_and(|all| left < all));
    }

    #[test]
    fn this_machine_says_what_is_available() {
        assert!(available(Path::new("/")).is_some_and(|bytes| bytes > 0));
        // It does so without /proc, too.
        assert!(available(Path::new("/nonexistent")).is_some_and(|bytes| bytes > 0));
        assert_eq!(check(0), Ok(()));
        assert!(check(usize::MAX).is_err());
    }

    /// A machine with much memory and a group that has 256 MiB, of which `used` are.
    fn machine(used: u64, stat: &str) -> Planted {
        let planted = Planted::new("0::/\n", &[UNIFIED]);
        planted.file("proc/meminfo", "MemAvailable:   1048576 kB\n");
        let (limit, used) = ((256 * MIB).to_string(), used.to_string());
        let files = [
            ("memory.max", &*limit),
            ("memory.current", &used),
            ("memory.stat", stat),
        ];
        planted.group("sys/fs/cgroup", &files);
        planted
    }

    #[test]
    fn there_is_what_the_tighter_of_system_and_group_leaves() {
        let planted = machine(56 * MIB, "");
        assert_eq!(check_below(planted.root(), 198 * MIB), Ok(()));
        // All of it, and there is nothing for page tables.
        let refused = check_below(planted.root(), 200 * MIB).unwrap_err();
        assert!(matches!(&refused, Shortage::Group(limit) if limit.file == "memory.max"));
        assert!((198 * MIB..200 * MIB).contains(&refused.available()));
        planted.file("proc/meminfo", "MemAvailable:   102400 kB\n");
        let refused = check_below(planted.root(), 198 * MIB).unwrap_err();
        assert_eq!(refused, Shortage::System(100 * MIB));
        assert!(refused.available() < 100 * MIB);
    }

    #[test]
    fn what_was_refused_is_more_than_what_is_said_to_be_there() {
        for left in [0, 1, 127, 128, 129, 130, 4096, MIB + 1] {
            let available = Shortage::System(left).available();
            assert!(available <= left);
            // The least that is refused.
            let refused = (available..).find(|needed| needed.saturating_add(needed / 128) > left);
            assert!(refused > Some(available), "{left}: {refused:?}");
        }
        assert!(Shortage::System(u64::MAX).available() < u64::MAX);
    }

    #[test]
    fn page_cache_is_not_in_the_way() {
        let cached = format!("inactive_file {}\nactive_file {}\n", 150 * MIB, 50 * MIB);
        let planted = machine(250 * MIB, &cached);
        assert_eq!(check_below(planted.root(), 200 * MIB), Ok(()));
        assert!(check_below(planted.root(), 210 * MIB).is_err());
    }

    #[test]
    fn huge_pages_count_as_memory_only_where_the_mount_says_so() {
        let planted = machine(250 * MIB, "");
        let check = || check_huge_below(planted.root(), 64 * MIB, Kind::Huge2M);
        assert_eq!(check(), Ok(false));
        planted.file(
            "proc/self/mountinfo",
            format!("{UNIFIED},memory_hugetlb_accounting\n"),
        );
        assert_eq!(check().unwrap_err().file, "memory.max");
        planted.file("sys/fs/cgroup/memory.current", "0");
        assert_eq!(check(), Ok(true));
        planted.file("sys/fs/cgroup/hugetlb.2MB.max", (62 * MIB).to_string());
        assert_eq!(check().unwrap_err().file, "hugetlb.2MB.max");
        planted.file("sys/fs/cgroup/hugetlb.2MB.max", (64 * MIB).to_string());
        planted.file("proc/self/mountinfo", UNIFIED);
        assert_eq!(check(), Ok(true));
    }
}
