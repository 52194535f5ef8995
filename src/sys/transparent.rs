//! What the administrator says of transparent huge pages.
//!
//! Owns: reading of `/sys/kernel/mm/transparent_hugepage`. Uses: `std::fs`, `limits`. Used by: `arena`.
//!
//! Source: the kernel's `Documentation/admin-guide/mm/transhuge.rst`. Since Linux 6.8 each
//! size has a switch of its own, of which the one for all sizes is but the default
//! (`inherit`). Memory behind a descriptor goes by the switches for shared memory, of which
//! there is one of each size, too. If there the one for all sizes is `deny` or `force`, a size
//! that does not follow it has no pages (tried on 6.12.117 and 7.2.13).

use super::limits::base_page;
use std::path::Path;

/// Where the switches are.
pub const SWITCHES: &str = "/sys/kernel/mm/transparent_hugepage";

/// Whether pages that ask for it are merged; of memory that is `shared`, if it says so.
pub fn merges(shared: bool) -> bool {
    merges_by(Path::new(SWITCHES), shared)
}

fn merges_by(switches: &Path, shared: bool) -> bool {
    let name = if shared { "shmem_enabled" } else { "enabled" };
    let all = chosen(&switches.join(name));
    let own = of_size(switches, name).filter(|own| own != "inherit");
    let chosen = match all.as_deref() {
        Some("deny" | "force") if own.is_some() => return false,
        _ => own.or(all),
    };
    // A kernel without such pages has no switch.
    chosen.is_some_and(|chosen| chosen != "never" && chosen != "deny")
}

/// Bytes of a huge page: 2 MiB with base pages of 4 KiB. `None` if the kernel has none, or does
/// not say.
pub fn size() -> Option<usize> {
    size_by(Path::new(SWITCHES))
}

fn size_by(switches: &Path) -> Option<usize> {
    let bytes = std::fs::read_to_string(switches.join("hpage_pmd_size")).ok()?;
    let bytes = bytes.trim().parse::<usize>().ok()?;
    (bytes.is_power_of_two() && bytes > base_page()).then_some(bytes)
}

/// The word in brackets of the switch `name` for pages of the size that a huge page has.
pub fn of_size(switches: &Path, name: &str) -> Option<String> {
    let kib = size_by(switches)? >> 10;
    chosen(&switches.join(format!("hugepages-{kib}kB")).join(name))
}

/// The word in brackets.
fn chosen(switch: &Path) -> Option<String> {
    let text = std::fs::read_to_string(switch).ok()?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_of_the_size_counts_before_the_one_for_all() {
        let switches = std::env::temp_dir().join(format!("hugepool-thp-{}", std::process::id()));
        let own = switches.join("hugepages-2048kB");
        std::fs::create_dir_all(&own).unwrap();
        let set = |file: &str, word: &str| {
            let text = format!("some [{word}] words\n");
            std::fs::write(switches.join(file), text).unwrap();
        };
        assert!(!merges_by(&switches, false), "there is no switch");
        assert_eq!(size_by(&switches), None);
        for (text, size) in [
            ("0\n", None),
            ("1\n", None),
            ("4096\n", None),
            ("3145728\n", None),
            ("huge\n", None),
            ("33554432\n", Some(32 << 20)),
            ("2097152\n", Some(2 << 20)),
        ] {
            std::fs::write(switches.join("hpage_pmd_size"), text).unwrap();
            assert_eq!(size_by(&switches), size, "{text}");
        }
        for (all, size, merges) in [
            ("always", "never", false),
            ("madvise", "never", false),
            ("never", "always", true),
            ("never", "madvise", true),
            ("never", "inherit", false),
            ("madvise", "inherit", true),
        ] {
            set("enabled", all);
            set("hugepages-2048kB/enabled", size);
            assert_eq!(merges_by(&switches, false), merges, "{all}, {size}");
        }
        for (all, size, merges) in [
            ("never", "always", true),
            ("never", "within_size", true),
            ("never", "advise", true),
            ("never", "inherit", false),
            ("always", "never", false),
            ("advise", "never", false),
            ("advise", "inherit", true),
            ("deny", "always", false),
            ("deny", "inherit", false),
            ("force", "always", false),
            ("force", "never", false),
            ("force", "inherit", true),
        ] {
            set("shmem_enabled", all);
            set("hugepages-2048kB/shmem_enabled", size);
            assert_eq!(merges_by(&switches, true), merges, "shared, {all}, {size}");
        }
        // Before Linux 6.8.
        std::fs::remove_dir_all(&own).unwrap();
        for (all, merges) in [("always", true), ("madvise", true), ("never", false)] {
            set("enabled", all);
            assert_eq!(merges_by(&switches, false), merges, "{all}");
        }
        std::fs::write(switches.join("enabled"), "nonsense").unwrap();
        assert!(!merges_by(&switches, false));
        for (all, merges) in [
            ("always", true),
            ("advise", true),
            ("within_size", true),
            ("force", true),
            ("never", false),
            ("deny", false),
        ] {
            set("shmem_enabled", all);
            assert_eq!(merges_by(&switches, true), merges, "{all}");
        }
        std::fs::remove_dir_all(&switches).unwrap();
    }
}
