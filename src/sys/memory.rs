//! How much memory there is for the taking, and how many addresses.
//!
//! Owns: reading of `/proc/meminfo`, `/proc/self/statm` and the control group's limit. Uses:
//! `limits`, `std::fs`. Used by: `arena`, before it faults pages in; `pool`, before it
//! reserves addresses.
//!
//! Source: proc_meminfo(5), proc_pid_statm(5), the kernel's cgroup-v2 page. Faulting in more than
//! there is would not fail: it would wake the out-of-memory killer.

use super::limits;
use std::fs;

/// Bytes that could be faulted in now without swapping: the system's
/// `MemAvailable`, or what the control group leaves if that is less. `None` if
/// the kernel does not say.
pub fn available() -> Option<usize> {
    let system = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| field(&text, "MemAvailable:"));
    match (system, control_group()) {
        (Some(system), Some(group)) => Some(system.min(group)),
        (one, other) => one.or(other),
    }
}

/// Bytes of address space that this process could still map, if not in one piece. `None` if
/// the kernel does not say.
pub fn addresses_left() -> Option<usize> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split_whitespace().next()?.parse().ok()?;
    let mapped = pages.checked_mul(limits::base_page())?;
    Some(limits::address_space()?.saturating_sub(mapped))
}

fn field(meminfo: &str, name: &str) -> Option<usize> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: usize = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What the tightest limit on the way up the control groups leaves (v2).
fn control_group() -> Option<usize> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut path = path.trim().trim_matches('/');
    let mut least = None;
    loop {
        let folder = format!("/sys/fs/cgroup/{path}");
        let read = |name: &str| -> Option<usize> {
            let text = fs::read_to_string(format!("{folder}/{name}")).ok()?;
            text.trim().parse().ok()
        };
        if let (Some(limit), Some(used)) = (read("memory.max"), read("memory.current")) {
            let left = limit.saturating_sub(used);
            least = Some(least.map_or(left, |least: usize| least.min(left)));
        }
        if path.is_empty() {
            return least;
        }
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        if fs::metadata("/proc/meminfo").is_err() {
            println!("skipped: no /proc/meminfo here");
            return;
        }
        assert!(available().is_some_and(|bytes| bytes > 0));
    }
}
