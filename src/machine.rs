//! What this machine grants: page sizes, limits, policies and kernel interfaces.
//!
//! Owns the reading and parsing of the kernel's text files under `/proc` and `/sys`; uses `sys` for what only a
//! call can tell. `hugepool doctor` prints it, and embedders may log it. The pool itself never consults it: what
//! the pool obtained is read back from its own mappings.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use crate::error::WhyNotPlaced;
use crate::rseq::{self as sequences, WhyPortable};
use crate::sys::groups::{Controller, Groups, Seen};
use crate::sys::map::Mapping;
use crate::sys::quota::{self, Kind};
use crate::sys::transparent::of_size;
use crate::sys::{limits, membarrier, node, numa, rseq};

/// What the machine grants to this process, as far as the kernel tells.
///
/// Every field that could not be read is `None` or empty; [`probe`](Machine::probe) never fails.
///
/// ```
/// let machine = hugepool::Machine::probe();
/// assert!(machine.base_page.is_power_of_two());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Machine {
    /// Kernel release, such as `6.12.0`.
    pub kernel: Option<String>,
    /// Model name of the first processor.
    pub cpu_model: Option<String>,
    /// Processors that may ever be online.
    pub possible_cpus: Option<usize>,
    /// Processors online now.
    pub online_cpus: Option<usize>,
    /// Bytes of a base page.
    pub base_page: usize,
    /// Reserved huge pages (hugetlb), one entry for each page size, largest first.
    pub huge_pages: Vec<HugePages>,
    /// Policy for transparent huge pages.
    pub transparent: TransparentPolicy,
    /// Whether this process may ask the kernel to collapse memory into transparent huge pages
    /// (`MADV_COLLAPSE`, Linux 6.1).
    pub collapse: bool,
    /// Bytes this process may lock in memory.
    pub memlock: Option<MemlockLimit>,
    /// Bytes of memory in the machine.
    pub memory_total: Option<u64>,
    /// Bytes of memory the kernel estimates to be available without swapping.
    pub memory_available: Option<u64>,
    /// The control groups that limit this process's memory, as far as they can be seen.
    pub control_groups: Vec<ControlGroup>,
    /// `vm.overcommit_memory`: 0 heuristic, 1 always, 2 never.
    pub overcommit: Option<u8>,
    /// NUMA nodes in ascending order; empty when the kernel was built without NUMA.
    pub nodes: Vec<NumaNode>,
    /// `kernel.numa_balancing`. 0: the kernel leaves pages where they are. Otherwise it unmaps
    /// pages of ordinary memory to see who uses them, and moves them; a pool's it leaves alone.
    pub numa_balancing: Option<u8>,
    /// What refuses to have memory come from a NUMA node; `None` if nothing does. This was tried.
    pub why_not_placed: Option<WhyNotPlaced>,
    /// Restartable sequences as registered by the C library; `None` when the C library does not know them.
    pub rseq: Option<RseqRegistration>,
    /// Names of the supported `membarrier(2)` commands; `None` when the call itself is refused.
    pub membarrier: Option<Vec<&'static str>>,
    /// Why a pool's caches would be portable ones; `None` if they would be restartable. Unlike the rest this was
    /// tried, by this process: a sequence was disturbed, and the kernel restarted it.
    pub why_portable: Option<WhyPortable>,
}

/// Reserved huge pages (hugetlb) of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HugePages {
    /// Bytes of one page.
    pub bytes: usize,
    /// Pages in the kernel's pool.
    pub total: u64,
    /// Pages nobody has faulted in.
    pub free: u64,
    /// Free pages that mappings were already promised.
    pub reserved: u64,
    /// Pages above the configured number, given back when freed.
    pub surplus: u64,
}

/// The control group of this process in which one controller keeps its limits. Those of the groups above it hold as well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ControlGroup {
    /// `memory`, or `hugetlb` for reserved huge pages.
    pub controller: &'static str,
    /// The version of the hierarchy, 1 or 2. A hybrid machine has both.
    pub version: u8,
    /// The group, as `/proc/self/cgroup` names it; `None` when that is not to be had.
    pub group: Option<String>,
    /// The folder of the lowest group whose files can be found.
    pub folder: String,
    /// Every limit that can be read, the own group's first; a group without one has no entry.
    pub limits: Vec<GroupLimit>,
}

/// A limit of a control group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupLimit {
    /// The file that says it.
    pub file: String,
    /// The limit in bytes.
    pub limit: u64,
    /// Bytes that the group uses. Huge pages that were mapped and not yet touched count.
    pub used: u64,
    /// Bytes among these that the kernel would give up first: pages of files above all.
    pub reclaimable: u64,
}

/// Policy for transparent huge pages: the word the kernel shows in brackets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransparentPolicy {
    /// `always`, `madvise` or `never`.
    pub enabled: Option<String>,
    /// What counts instead for pages of the size of a huge page, unless it is `inherit`
    /// (Linux 6.8).
    pub size_enabled: Option<String>,
    /// How hard a fault tries to find a huge page: `always`, `defer`, `defer+madvise`, `madvise` or `never`.
    pub defrag: Option<String>,
    /// The policy for shared memory, which a shared pool is backed by.
    pub shmem_enabled: Option<String>,
    /// What counts instead for shared pages of the size of a huge page, unless it is `inherit`,
    /// or `shmem_enabled` is `deny` or `force` (Linux 6.12).
    pub size_shmem_enabled: Option<String>,
}

/// Bytes a process may lock in memory; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemlockLimit {
    /// The limit in force.
    pub soft: Option<u64>,
    /// What the process may raise it to without privilege.
    pub hard: Option<u64>,
}

/// One NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NumaNode {
    /// The kernel's number for it.
    pub id: u32,
    /// Bytes of memory on it.
    pub bytes: Option<u64>,
    /// Its processors as the kernel lists them, such as `0-15,32-47`.
    pub cpus: String,
}

/// The area for restartable sequences that the C library registered for every thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RseqRegistration {
    /// Bytes from the thread pointer to the area.
    pub offset: isize,
    /// Bytes of the area; 0 when the registration is switched off or the kernel refused it.
    pub size: u32,
}

impl Machine {
    /// Reads everything once. Blocks for some file reads; nothing is cached but that restartable sequences work, which
    /// the first pool of a process, or this, tries in a thread of its own, a second at most.
    pub fn probe() -> Machine {
        let meminfo = text("/proc/meminfo");
        let meminfo = meminfo.as_deref();
        Machine {
            kernel: text("/proc/sys/kernel/osrelease"),
            cpu_model: text("/proc/cpuinfo").as_deref().and_then(cpu_model),
            possible_cpus: cpu_count("/sys/devices/system/cpu/possible"),
            online_cpus: cpu_count("/sys/devices/system/cpu/online"),
            base_page: limits::base_page(),
            huge_pages: huge_pages(Path::new("/sys/kernel/mm/hugepages")),
            transparent: transparent(Path::new("/sys/kernel/mm/transparent_hugepage")),
            collapse: Mapping::can_collapse().is_ok(),
            memlock: limits::memlock().ok().map(|limit| MemlockLimit {
                soft: limit.soft,
                hard: limit.hard,
            }),
            memory_total: meminfo.and_then(|text| kilobytes(text, "MemTotal:")),
            memory_available: meminfo.and_then(|text| kilobytes(text, "MemAvailable:")),
            control_groups: control_groups(Path::new("/")),
            overcommit: number("/proc/sys/vm/overcommit_memory"),
            nodes: nodes(Path::new(node::NODES)),
            numa_balancing: number("/proc/sys/kernel/numa_balancing"),
            why_not_placed: why_not_placed(),
            rseq: rseq::registration().map(|area| RseqRegistration {
                offset: area.offset,
                size: area.size,
            }),
            membarrier: membarrier::supported().ok().map(commands),
            why_portable: sequences::available().err(),
        }
    }
}

/// A file's text without the white space around it; `None` when it cannot be read or says nothing.
fn text(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn number<T: FromStr>(path: impl AsRef<Path>) -> Option<T> {
    text(path)?.parse().ok()
}

fn cpu_count(path: &str) -> Option<usize> {
    list_length(&text(path)?)
}

/// The names of a directory's entries that continue `prefix`, with what follows it.
fn entries(directory: &Path, prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_prefix(prefix).map(str::to_owned))
        .collect()
}

fn huge_pages(directory: &Path) -> Vec<HugePages> {
    let mut sizes: Vec<HugePages> = entries(directory, "hugepages-")
        .iter()
        .filter_map(|rest| {
            let bytes = rest.strip_suffix("kB")?.parse::<usize>().ok()?;
            let bytes = bytes.checked_mul(1024)?;
            let at = directory.join(format!("hugepages-{rest}"));
            Some(HugePages {
                bytes,
                total: number(at.join("nr_hugepages"))?,
                free: number(at.join("free_hugepages"))?,
                reserved: number(at.join("resv_hugepages")).unwrap_or(0),
                surplus: number(at.join("surplus_hugepages")).unwrap_or(0),
            })
        })
        .collect();
    sizes.sort_by_key(|size| std::cmp::Reverse(size.bytes));
    sizes
}

fn transparent(directory: &Path) -> TransparentPolicy {
    let policy = |file: &str| text(directory.join(file)).as_deref().and_then(selected);
    TransparentPolicy {
        enabled: policy("enabled"),
        size_enabled: of_size(directory, "enabled"),
        defrag: policy("defrag"),
        shmem_enabled: policy("shmem_enabled"),
        size_shmem_enabled: of_size(directory, "shmem_enabled"),
    }
}

fn nodes(directory: &Path) -> Vec<NumaNode> {
    let mut nodes: Vec<NumaNode> = entries(directory, "node")
        .iter()
        .filter_map(|rest| {
            let id = rest.parse().ok()?;
            let at = directory.join(format!("node{id}"));
            let meminfo = text(at.join("meminfo"));
            Some(NumaNode {
                id,
                bytes: meminfo
                    .as_deref()
                    .and_then(|text| kilobytes(text, "MemTotal:")),
                cpus: text(at.join("cpulist")).unwrap_or_default(),
            })
        })
        .collect();
    nodes.sort_by_key(|node| node.id);
    nodes
}

fn why_not_placed() -> Option<WhyNotPlaced> {
    let page = Mapping::metadata(1).ok()?;
    let refused = numa::try_place(page.base(), page.len()).err()?;
    let number = refused.raw_os_error().unwrap_or(0);
    Some(WhyNotPlaced::of(number, node::known()))
}

fn control_groups(root: &Path) -> Vec<ControlGroup> {
    let seen = Seen::below(root);
    [Controller::Memory, Controller::HugeTlb]
        .into_iter()
        .filter_map(|controller| Some(control_group(controller, &seen.groups(controller)?)))
        .collect()
}

fn control_group(controller: Controller, groups: &Groups) -> ControlGroup {
    let kinds: &[Kind] = match controller {
        Controller::Memory => &[Kind::Memory],
        Controller::HugeTlb => &[Kind::Huge2M, Kind::Huge1G],
    };
    let limits = kinds.iter().flat_map(|&kind| quota::limits(groups, kind));
    let limits = limits.map(|mut limit| {
        if controller == Controller::Memory {
            quota::ask_reclaimable(&mut limit, groups.version);
        }
        GroupLimit {
            file: limit.folder.join(limit.file).display().to_string(),
            limit: limit.limit,
            used: limit.used,
            reclaimable: limit.reclaimable,
        }
    });
    let group = groups.group.display().to_string();
    ControlGroup {
        controller: controller.name(),
        version: groups.version,
        group: (!group.is_empty()).then_some(group),
        folder: groups.folder.display().to_string(),
        limits: limits.collect(),
    }
}

/// The bytes behind `key` in a `meminfo` file, the machine's or one node's.
fn kilobytes(meminfo: &str, key: &str) -> Option<u64> {
    let kilobytes: u64 = meminfo.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|word| *word == key)?;
        words.next()?.parse().ok()
    })?;
    kilobytes.checked_mul(1024)
}

/// The word in brackets: `always [madvise] never` selects `madvise`.
fn selected(policy: &str) -> Option<String> {
    let (_, rest) = policy.split_once('[')?;
    let (word, _) = rest.split_once(']')?;
    Some(word.to_owned())
}

/// How many numbers a list such as `0-3,8` names; `None` when it is not such a list.
fn list_length(list: &str) -> Option<usize> {
    list.split(',').try_fold(0_usize, |count, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first: usize = first.trim().parse().ok()?;
        let last: usize = last.trim().parse().ok()?;
        count.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// The first processor's name: `model name` on x86, `Processor` or `cpu model` elsewhere.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    ["model name", "Processor", "cpu model", "cpu"]
        .iter()
        .find_map(|wanted| {
            cpuinfo.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                let value = value.trim();
                (key.trim() == *wanted && !value.is_empty()).then(|| value.to_owned())
            })
        })
}

/// The commands of `linux/membarrier.h` in a mask, by name. A bit without a name is left out.
fn commands(mask: u32) -> Vec<&'static str> {
    const NAMES: [&str; 10] = [
        "GLOBAL",
        "GLOBAL_EXPEDITED",
        "REGISTER_GLOBAL_EXPEDITED",
        "PRIVATE_EXPEDITED",
        "REGISTER_PRIVATE_EXPEDITED",
        "PRIVATE_EXPEDITED_SYNC_CORE",
        "REGISTER_PRIVATE_EXPEDITED_SYNC_CORE",
        "PRIVATE_EXPEDITED_RSEQ",
        "REGISTER_PRIVATE_EXPEDITED_RSEQ",
        "GET_REGISTRATIONS",
    ];
    NAMES
        .iter()
        .enumerate()
        .filter(|(bit, _)| mask & (1 << bit) != 0)
        .map(|(_, name)| *name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_policy_is_the_word_in_brackets() {
        assert_eq!(
            selected("always [madvise] never").as_deref(),
            Some("madvise")
        );
        assert_eq!(
            selected("always defer [defer+madvise] never").as_deref(),
            Some("defer+madvise")
        );
        assert_eq!(selected("always madvise never"), None);
        assert_eq!(selected("[always"), None);
        assert_eq!(selected(""), None);
    }

    #[test]
    fn a_processor_list_is_counted_by_its_ranges() {
        assert_eq!(list_length("0"), Some(1));
        assert_eq!(list_length("0-1"), Some(2));
        assert_eq!(list_length("0-3,8,10-11"), Some(7));
        assert_eq!(list_length(""), None);
        assert_eq!(list_length("3-1"), None);
        assert_eq!(list_length("0-"), None);
        assert_eq!(list_length("0-18446744073709551615"), None);
    }

    #[test]
    fn meminfo_of_the_machine_and_of_a_node_are_read_alike() {
        let machine = "MemTotal:       24684096 kB\nMemFree: 1 kB\nMemAvailable:   24376736 kB\n";
        assert_eq!(kilobytes(machine, "MemTotal:"), Some(24_684_096 << 10));
        assert_eq!(kilobytes(machine, "MemAvailable:"), Some(24_376_736 << 10));
        assert_eq!(kilobytes(machine, "SwapTotal:"), None);
        let node = "Node 0 MemTotal:       24684096 kB\nNode 0 MemFree: 24 kB\n";
        assert_eq!(kilobytes(node, "MemTotal:"), Some(24_684_096 << 10));
        assert_eq!(kilobytes("MemTotal: lots kB", "MemTotal:"), None);
        assert_eq!(
            kilobytes("MemTotal: 18446744073709551615 kB", "MemTotal:"),
            None
        );
    }

    #[test]
    fn the_processor_is_named_by_whichever_key_there_is() {
        let x86 =
            "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n";
        assert_eq!(cpu_model(x86).as_deref(), Some("AMD EPYC"));
        let power = "processor\t: 0\ncpu\t\t: POWER9, altivec supported\n";
        assert_eq!(
            cpu_model(power).as_deref(),
            Some("POWER9, altivec supported")
        );
        assert_eq!(cpu_model("model name\t:\n"), None);
        assert_eq!(cpu_model(""), None);
    }

    #[test]
    fn membarrier_bits_have_the_names_of_the_header() {
        assert_eq!(commands(0), Vec::<&str>::new());
        assert_eq!(commands(1 << 3), ["PRIVATE_EXPEDITED"]);
        assert_eq!(
            commands(1 << 7 | 1 << 8 | 1 << 31),
            ["PRIVATE_EXPEDITED_RSEQ", "REGISTER_PRIVATE_EXPEDITED_RSEQ"]
        );
        assert_eq!(commands(0x3ff).len(), 10);
    }

    #[test]
    fn missing_files_are_absent_values() {
        let nowhere = Path::new("/nonexistent");
        assert_eq!(text(nowhere), None);
        assert!(huge_pages(nowhere).is_empty());
        assert!(nodes(nowhere).is_empty());
        assert_eq!(transparent(nowhere), TransparentPolicy::default());
    }

    #[test]
    fn control_groups_are_shown_with_their_limits() {
        use crate::sys::groups::tests::{Planted, UNIFIED};
        let planted = Planted::new("0::/a\n", &[UNIFIED]);
        let files = [
            ("memory.high", "100"),
            ("memory.current", "60"),
            ("memory.stat", "inactive_file 20\n"),
            ("hugetlb.1GB.max", "0"),
        ];
        planted.group("sys/fs/cgroup/a", &files);
        let groups = control_groups(planted.root());
        let folder = planted.root().join("sys/fs/cgroup/a").display().to_string();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].group.as_deref(), Some("/a"));
        assert_eq!(groups[0].folder, folder);
        let limit = |file, limit, used, reclaimable| GroupLimit {
            file: format!("{folder}/{file}"),
            limit,
            used,
            reclaimable,
        };
        assert_eq!(groups[0].limits, [limit("memory.high", 100, 60, 20)]);
        assert_eq!((groups[1].controller, groups[1].version), ("hugetlb", 2));
        assert_eq!(groups[1].limits, [limit("hugetlb.1GB.max", 0, 0, 0)]);
        assert!(control_groups(Path::new("/nonexistent")).is_empty());
    }

    #[test]
    fn a_probe_reads_this_machine() {
        let machine = Machine::probe();
        assert!(machine.base_page.is_power_of_two());
        if let (Some(online), Some(possible)) = (machine.online_cpus, machine.possible_cpus) {
            assert!(online <= possible);
        }
    }
}
