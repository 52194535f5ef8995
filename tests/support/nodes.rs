//! NUMA nodes, and the policy of each mapping, as the kernel says.

use super::{Map, listed, maps, skipped};
use hugepool::{Machine, Pool};
use std::fs;
use std::ops::Range;

/// Nodes that have memory.
pub fn with_memory() -> Vec<u32> {
    in_file("has_memory")
}

/// The processors of a node.
pub fn cpus_of(node: u32) -> Vec<u32> {
    in_file(&format!("node{node}/cpulist"))
}

/// The numbers of a list in this file of the nodes; none if there is no such file.
fn in_file(file: &str) -> Vec<u32> {
    let text = fs::read_to_string(format!("/sys/devices/system/node/{file}"));
    let numbers = listed(&text.unwrap_or_default()).into_iter();
    numbers.map(|number| number as u32).collect()
}

/// Whether this machine has two nodes, which some tests need; says so if not.
pub fn are_two(what: &str) -> bool {
    let two = with_memory().len() > 1;
    if !two {
        skipped(&format!("{what}: this machine has one node"));
    }
    two
}

/// Whether memory can be placed on nodes here; says so if not.
pub fn can_place(what: &str) -> bool {
    match Machine::probe().why_not_placed {
        None => true,
        Some(why) => {
            skipped(&format!("{what}: {why}"));
            false
        }
    }
}

/// A number of a node's, in bytes, from its `meminfo`.
pub fn meminfo(node: u32, field: &str) -> Option<usize> {
    let path = format!("/sys/devices/system/node/node{node}/meminfo");
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines().map(str::split_whitespace);
    let kib: usize = lines.find_map(|mut words| {
        words.find(|word| word.trim_end_matches(':') == field)?;
        words.next()?.parse().ok()
    })?;
    Some(kib * 1024)
}

/// A mapping, its policy, and how many of its pages are on which node.
#[derive(Clone, Debug)]
pub struct Placed {
    pub map: Map,
    /// `default`, `local`, `bind:0`, `interleave:0-1` and the like.
    pub policy: String,
    pub pages: Vec<(u32, usize)>,
}

/// This process's mappings; `None` if the kernel does not say their policies.
pub fn placed() -> Option<Vec<Placed>> {
    let text = fs::read_to_string("/proc/self/numa_maps").ok()?;
    let maps = maps();
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let start = usize::from_str_radix(words.next()?, 16).ok()?;
        let policy = words.next()?.to_owned();
        let count = |word: &str| {
            let (node, pages) = word.strip_prefix('N')?.split_once('=')?;
            Some((node.parse().ok()?, pages.parse().ok()?))
        };
        Some(Placed {
            map: maps.iter().find(|map| map.start == start)?.clone(),
            policy,
            pages: words.filter_map(count).collect(),
        })
    });
    Some(lines.collect())
}

/// The mappings that hold buffers.
pub fn of_buffers(pool: &Pool) -> Vec<Placed> {
    let regions: Vec<Range<usize>> = pool
        .regions()
        .iter()
        .map(|region| region.start().addr()..region.start().addr() + region.bytes())
        .collect();
    let holds = |placed: &Placed| {
        let overlaps =
            |region: &Range<usize>| placed.map.start < region.end && region.start < placed.map.end;
        regions.iter().any(overlaps) && placed.map.access != "---p"
    };
    placed().unwrap().into_iter().filter(holds).collect()
}

const MPOL_BIND: libc::c_int = 2;
const MPOL_LOCAL: libc::c_int = 4;

/// Has the kernel leave the pages of a mapping where they are.
pub fn leave_alone(map: &Map) {
    // SAFETY: a policy changes no contents.
    let set =
        unsafe { libc::syscall(libc::SYS_mbind, map.start, map.bytes(), MPOL_LOCAL, 0, 0, 0) };
    assert_eq!(set, 0, "mbind: {}", std::io::Error::last_os_error());
}

/// Gives the calling thread a policy: its memory comes from `node` alone.
pub fn bind_thread(node: u32) -> std::io::Result<()> {
    let mask: [libc::c_ulong; 16] = {
        let mut mask = [0; 16];
        mask[node as usize / 64] = 1 << (node % 64);
        mask
    };
    // SAFETY: the mask has 1024 bits, of which the kernel reads one fewer than it is told.
    let set = unsafe {
        libc::syscall(
            libc::SYS_set_mempolicy,
            MPOL_BIND,
            mask.as_ptr(),
            1025_usize,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
