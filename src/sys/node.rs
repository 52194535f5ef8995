//! NUMA nodes: whether there are several, and what one has left.
//!
//! Owns: reading of `/sys/devices/system/node` and `/proc/zoneinfo`. Uses: `std::fs`, `limits`,
//! `list`, `sync`. Used by: `numa`, `memory`, `arena`, `machine`.
//!
//! What a node could give without swapping is counted as the kernel counts `MemAvailable` for
//! all of them: what is free but for what the kernel keeps for itself, and most of the pages of
//! files. Memory that is bound to a node which has less ends somebody: the out-of-memory killer
//! looks at the nodes that the policy allows.
//!
//! Source: the kernel's pages on `/sys/devices/system/node` and on hugetlb pages,
//! proc_zoneinfo(5), and `si_mem_available` in the kernel.

use super::limits::base_page;
use super::list;
use crate::sync::{AtomicU32, Ordering};
use std::fs;
use std::path::Path;

/// Where the nodes are.
pub const NODES: &str = "/sys/devices/system/node";

/// Whether the kernel knows of nodes.
pub fn known() -> bool {
    Path::new(NODES).exists()
}

/// Whether there could ever be several nodes; yes if the kernel does not say. What it says does
/// not change: it is asked once.
pub fn may_be_several() -> bool {
    /// 0: not asked yet. 1: one. 2: several.
    static FOUND: AtomicU32 = AtomicU32::new(0);
    // Relaxed: the number is all there is to see, and every thread finds the same.
    match FOUND.load(Ordering::Relaxed) {
        0 => {
            let several = are_several(Path::new(NODES));
            FOUND.store(1 + u32::from(several), Ordering::Relaxed);
            several
        }
        found => found == 2,
    }
}

fn are_several(nodes: &Path) -> bool {
    match fs::read_to_string(nodes.join("possible")) {
        Ok(list) => list.trim().contains([',', '-']),
        // A kernel without nodes has no such folder.
        Err(_) => nodes.exists() || !Path::new("/sys/devices/system").exists(),
    }
}

/// The nodes that have memory, in ascending order; `None` if the kernel does not say.
pub fn with_memory() -> Option<Vec<u32>> {
    let text = fs::read_to_string(Path::new(NODES).join("has_memory")).ok()?;
    let nodes = list::parse(&text)?.into_iter().flatten();
    // As many as a mask can name.
    Some(
        nodes
            .take(1024)
            .map_while(|node| u32::try_from(node).ok())
            .collect(),
    )
}

/// Bytes that `node` could give without swapping; `None` if the kernel does not say.
pub fn available(node: u32) -> Option<u64> {
    available_below(Path::new("/"), node)
}

fn available_below(root: &Path, node: u32) -> Option<u64> {
    let folder = root.join(&NODES[1..]).join(format!("node{node}"));
    let meminfo = fs::read_to_string(folder.join("meminfo")).ok()?;
    let kept = fs::read_to_string(root.join("proc/zoneinfo")).ok();
    let kept = kept.map_or(0, |text| kept_by_the_kernel(&text, node));
    let kept = kept.saturating_mul(base_page() as u64);
    let field = |name| field(&meminfo, name);
    let files = field("Active(file):").unwrap_or(0);
    let files = files.saturating_add(field("Inactive(file):").unwrap_or(0));
    let caches = field("SReclaimable:").unwrap_or(0);
    let most_of = |bytes: u64| bytes - (bytes / 2).min(kept);
    let free = field("MemFree:")?.saturating_sub(kept);
    Some(
        free.saturating_add(most_of(files))
            .saturating_add(most_of(caches)),
    )
}

/// A field of a node's `meminfo`, in bytes: `Node 0 MemFree:  24 kB`.
fn field(meminfo: &str, name: &str) -> Option<u64> {
    let mut lines = meminfo.lines().map(str::split_whitespace);
    let kib: u64 = lines.find_map(|mut words| {
        words.find(|word| *word == name)?;
        words.next()?.parse().ok()
    })?;
    kib.checked_mul(1024)
}

/// Pages of `node` that the kernel does not give: in each zone those below its high mark, and
/// those that are kept for requests which can be met from this zone alone.
fn kept_by_the_kernel(zoneinfo: &str, node: u32) -> u64 {
    let begin = format!("Node {node},");
    let (mut kept, mut within) = (0_u64, false);
    let (mut high, mut managed) = (0_u64, 0_u64);
    for line in zoneinfo.lines() {
        let mut words = line.split_whitespace();
        let number = |words: &mut std::str::SplitWhitespace<'_>| {
            words.next().and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        match words.next() {
            Some("Node") => within = line.starts_with(&begin),
            Some("high") if within => high = number(&mut words),
            Some("managed") if within => managed = number(&mut words),
            // The last of a zone's numbers that count.
            Some("protection:") if within => {
                let list = line.split(['(', ')']).nth(1).unwrap_or("");
                let numbers = list.split(',').filter_map(|word| word.trim().parse().ok());
                let most = numbers.max().unwrap_or(0_u64).saturating_add(high);
                kept = kept.saturating_add(most.min(managed));
                (high, managed) = (0, 0);
            }
            _ => {}
        }
    }
    kept
}

/// Bytes on huge pages of `page` bytes each that `node` has free. Those that the hugetlb pool
/// makes on demand do not count: it makes them when they are mapped, on the node of whoever maps
/// them. `None` if the kernel does not say.
pub fn free_huge(node: u32, page: usize) -> Option<usize> {
    free_huge_below(Path::new("/"), node, page)
}

fn free_huge_below(root: &Path, node: u32, page: usize) -> Option<usize> {
    let name = format!("hugepages-{}kB", page >> 10);
    let own = (root.join(&NODES[1..])).join(format!("node{node}/hugepages/{name}"));
    let free = fs::read_to_string(own.join("free_hugepages")).ok()?;
    free.trim().parse::<usize>().ok()?.checked_mul(page)
}

#[cfg(test)]
mod tests {
    use super::super::groups::tests::Planted;
    use super::*;

    const ZONES: &str = "\
Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 4\n  pages free     3840\n        \
boost    0\n        min      40\n        low      50\n        high     60\n        spanned  4095\n        \
present  3998\n        managed  3840\n        cma      0\n        protection: (0, 2900, 2900, 2900)\n      \
nr_free_pages 3840\n  pagesets\n    cpu: 0\n              count: 0\n              high:  100\n\
Node 0, zone   Normal\n  pages free     100\n        high     70\n        managed  5000\n        \
protection: (0, 0, 0, 0)\n\
Node 1, zone   Normal\n  pages free     100\n        high     900\n        managed  800\n        \
protection: (0, 0, 0, 0)\n";

    #[test]
    fn what_the_kernel_keeps_is_added_up_by_node() {
        assert_eq!(kept_by_the_kernel(ZONES, 0), 2960 + 70);
        assert_eq!(kept_by_the_kernel(ZONES, 1), 800);
        assert_eq!(kept_by_the_kernel(ZONES, 2), 0);
        assert_eq!(kept_by_the_kernel("", 0), 0);
    }

    #[test]
    fn a_node_has_what_is_free_and_what_files_would_give_up() {
        let planted = Planted::new("0::/\n", &[]);
        let root = planted.root();
        assert_eq!(available_below(root, 1), None);
        std::fs::create_dir_all(root.join("sys/devices/system/node/node1")).unwrap();
        let meminfo = "Node 1 MemTotal: 900000 kB\nNode 1 MemFree: 100000 kB\n\
            Node 1 Active(file): 3000 kB\nNode 1 Inactive(file): 5000 kB\n\
            Node 1 SReclaimable: 1000 kB\n";
        planted.file("sys/devices/system/node/node1/meminfo", meminfo);
        assert_eq!(available_below(root, 1), Some(109_000 << 10));
        planted.file("proc/zoneinfo", ZONES);
        let kept = 800 * base_page() as u64;
        let files = (8000 << 10) - kept.min(4000 << 10);
        let expected = (100_000 << 10) - kept + files + (500 << 10);
        assert_eq!(available_below(root, 1), Some(expected));
    }

    #[test]
    fn a_node_has_the_huge_pages_that_are_free_there() {
        let planted = Planted::new("0::/\n", &[]);
        let root = planted.root();
        let own = "sys/devices/system/node/node0/hugepages/hugepages-2048kB";
        assert_eq!(free_huge_below(root, 0, 2 << 20), None);
        std::fs::create_dir_all(root.join(own)).unwrap();
        for (text, bytes) in [("3\n", Some(6 << 20)), ("0\n", Some(0)), ("many\n", None)] {
            planted.file(format!("{own}/free_hugepages"), text);
            assert_eq!(free_huge_below(root, 0, 2 << 20), bytes, "{text}");
        }
        planted.file(format!("{own}/free_hugepages"), usize::MAX.to_string());
        assert_eq!(free_huge_below(root, 0, 2 << 20), None);
    }

    #[test]
    fn several_nodes_are_told_by_the_list_of_possible_ones() {
        let planted = Planted::new("0::/\n", &[]);
        let root = planted.root();
        for (list, several) in [("0\n", false), ("0-1\n", true), ("0,8\n", true)] {
            planted.file("possible", list);
            assert_eq!(are_several(root), several, "{list}");
        }
        assert_eq!(may_be_several(), may_be_several());
    }
}
