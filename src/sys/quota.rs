//! Limits that control groups set, and what they leave.
//!
//! Owns: the names of the files and what their numbers mean. Uses: `groups`, `std::fs`. Used
//! by: `memory`, [`Machine`](crate::Machine).
//!
//! Source: the kernel's pages on control groups, "Memory" and "HugeTLB" of version 2, and
//! the memory and hugetlb controllers of version 1.
//!
//! - Beyond `memory.max`, or `memory.limit_in_bytes` of version 1, the kernel kills. Beyond
//!   `memory.high` it lets whoever faults wait, ever longer: a pool that crosses it comes to
//!   no end. So that is a limit like the other.
//! - What is used includes the page cache of files. A group's `memory.stat` says what the
//!   kernel would drop: see [`reclaimable`].
//! - A page from the hugetlb pool counts against `hugetlb.<size>.max` when it is *touched*,
//!   and beyond that whoever touches it is sent `SIGBUS`; against `hugetlb.<size>.rsvd.max`
//!   when it is mapped, which fails. What is mapped and not yet touched is used, too: it was
//!   promised.

use super::groups::Groups;
use std::fs;
use std::path::{Path, PathBuf};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Base pages and merged ones.
    Memory,
    /// Pages of 2 MiB from the hugetlb pool.
    Huge2M,
    /// Those of 1 GiB.
    Huge1G,
}

/// The limit of a group that has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The group's folder.
    pub folder: PathBuf,
    /// The file in it that says the limit.
    pub file: &'static str,
    /// The limit in bytes.
    pub limit: u64,
    /// What the group uses, in bytes.
    pub used: u64,
    /// How much of that the kernel would give up for something else, as far as it was asked.
    pub reclaimable: u64,
}

impl Limit {
    /// Bytes that it leaves.
    pub fn left(&self) -> u64 {
        let used = self.used.saturating_sub(self.reclaimable);
        self.limit.saturating_sub(used)
    }
}

/// A file with a limit, and those of which the larger number is what is used.
struct Files {
    limit: &'static str,
    used: &'static [&'static str],
}

impl Kind {
    fn files(self, version: u8) -> &'static [Files] {
        macro_rules! hugetlb {
            ($size:literal, $limit:literal, $used:literal) => {
                &[
                    Files {
                        limit: concat!("hugetlb.", $size, ".", $limit),
                        used: &[
                            concat!("hugetlb.", $size, ".", $used),
                            concat!("hugetlb.", $size, ".rsvd.", $used),
                        ],
                    },
                    Files {
                        limit: concat!("hugetlb.", $size, ".rsvd.", $limit),
                        used: &[concat!("hugetlb.", $size, ".rsvd.", $used)],
                    },
                ]
            };
        }
        match (self, version) {
            (Self::Memory, 1) => &[
                Files {
                    limit: "memory.limit_in_bytes",
                    used: &["memory.usage_in_bytes"],
                },
                // With what was swapped out.
                Files {
                    limit: "memory.memsw.limit_in_bytes",
                    used: &["memory.memsw.usage_in_bytes"],
                },
            ],
            (Self::Memory, _) => &[
                Files {
                    limit: "memory.max",
                    used: &["memory.current"],
                },
                Files {
                    limit: "memory.high",
                    used: &["memory.current"],
                },
            ],
            (Self::Huge2M, 1) => hugetlb!("2MB", "limit_in_bytes", "usage_in_bytes"),
            (Self::Huge2M, _) => hugetlb!("2MB", "max", "current"),
            (Self::Huge1G, 1) => hugetlb!("1GB", "limit_in_bytes", "usage_in_bytes"),
            (Self::Huge1G, _) => hugetlb!("1GB", "max", "current"),
        }
    }
}

/// The number in a file; `None` if there is none. `max` is one that cannot be reached.
fn number(folder: &Path, file: &str) -> Option<u64> {
    let text = fs::read(folder.join(file)).ok()?;
    parsed(&text)
}

fn parsed(text: &[u8]) -> Option<u64> {
    match str::from_utf8(text).ok()?.trim() {
        "max" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Whether it is a limit at all. Version 1 says "none" by the largest number of bytes that is
/// a whole number of pages.
fn binds(limit: u64) -> bool {
    limit < 1 << 62
}

/// Every limit on memory of that `kind` in `groups`, the process's own group's first. A limit
/// that cannot be read, or is none, is not there; usage that cannot be read is zero.
pub fn limits(groups: &Groups, kind: Kind) -> Vec<Limit> {
    let of_memory = (kind, groups.version) == (Kind::Memory, 1);
    let mut found = Vec::new();
    let mut last = None;
    for folder in groups.folders() {
        // Before Linux 5.11 a group may leave those below it alone.
        if of_memory && last.is_some() && number(folder, "memory.use_hierarchy") == Some(0) {
            break;
        }
        last = Some(folder);
        for files in kind.files(groups.version) {
            let limit = number(folder, files.limit).filter(|&limit| binds(limit));
            let Some(limit) = limit else { continue };
            let used = files.used.iter().filter_map(|file| number(folder, file));
            found.push(Limit {
                folder: folder.to_owned(),
                file: files.limit,
                limit,
                used: used.max().unwrap_or(0),
                reclaimable: 0,
            });
        }
    }
    if of_memory && let Some(highest) = last {
        found.extend(unseen(groups, highest, &found));
    }
    found
}

/// The limit of a group of version 1 above those that can be seen, if it is the tightest.
/// What that group uses cannot be seen either, but it is as much as the `highest` does.
fn unseen(groups: &Groups, highest: &Path, seen: &[Limit]) -> Option<Limit> {
    let stat = fs::read(groups.folder.join("memory.stat")).ok()?;
    let limit = field(&stat, "hierarchical_memory_limit").filter(|&limit| binds(limit))?;
    let tightest = seen.iter().all(|seen| limit < seen.limit);
    tightest.then(|| Limit {
        folder: highest.to_owned(),
        file: "memory.stat: hierarchical_memory_limit",
        limit,
        used: number(highest, "memory.usage_in_bytes").unwrap_or(0),
        reclaimable: 0,
    })
}

/// Asks how much of what the limit's group uses the kernel would give up.
pub fn ask_reclaimable(limit: &mut Limit, version: u8) {
    if let Ok(stat) = fs::read(limit.folder.join("memory.stat")) {
        limit.reclaimable = reclaimable(&stat, version);
    }
}

/// Bytes that the kernel would give up before it kills anybody, by a `memory.stat`.
///
/// As `MemAvailable` does, that counts pages of files whether they were read once
/// (`inactive_file`) or oftener (`active_file`): a fault takes both, and waits for those that
/// must be written first, which are what a program that writes much has most of. Of the
/// kernel's own caches half, since a page of one goes only with everything in it. Nothing that
/// would have to be swapped out.
fn reclaimable(stat: &[u8], version: u8) -> u64 {
    // In version 1 those with this prefix count the groups below, as its usage does.
    let prefix = if version == 1 { "total_" } else { "" };
    let bytes = |name: &str| {
        let named = stat.split(|&byte| byte == b'\n');
        let mut named = named.filter_map(|line| line.strip_prefix(prefix.as_bytes()));
        named.find_map(|line| value(line, name)).unwrap_or(0)
    };
    let files = bytes("inactive_file").saturating_add(bytes("active_file"));
    files.saturating_add(bytes("slab_reclaimable") / 2)
}

/// A line `name number`.
fn value(line: &[u8], name: &str) -> Option<u64> {
    parsed(line.strip_prefix(name.as_bytes())?.strip_prefix(b" ")?)
}

/// A field of a `memory.stat`.
fn field(stat: &[u8], name: &str) -> Option<u64> {
    stat.split(|&byte| byte == b'\n')
        .find_map(|line| value(line, name))
}

/// The limit that leaves least, if that is less than `needed` bytes.
pub fn shortage(limits: Vec<Limit>, groups: &Groups, kind: Kind, needed: u64) -> Option<Limit> {
    let short = limits.into_iter().filter(|limit| limit.left() < needed);
    let asked = short.map(|mut limit| {
        // Seldom, since this is what takes long.
        if kind == Kind::Memory {
            ask_reclaimable(&mut limit, groups.version);
        }
        limit
    });
    asked
        .filter(|limit| limit.left() < needed)
        .min_by_key(Limit::left)
}

#[cfg(test)]
mod tests {
    use super::super::groups::tests::{MEMORY, Planted, UNIFIED};
    use super::super::groups::{Controller, Seen};
    use super::*;

    const NONE_V1: &str = "9223372036854771712\n";
    const V2: &str = "sys/fs/cgroup";
    const V1: &str = "sys/fs/cgroup/memory";

    fn groups(planted: &Planted, controller: Controller) -> Groups {
        Seen::below(planted.root()).groups(controller).unwrap()
    }

    /// Each limit's file, number and use.
    fn found(planted: &Planted, kind: Kind) -> Vec<(&'static str, u64, u64)> {
        let controller = match kind {
            Kind::Memory => Controller::Memory,
            Kind::Huge2M | Kind::Huge1G => Controller::HugeTlb,
        };
        let limits = limits(&groups(planted, controller), kind);
        (limits.iter())
            .map(|limit| (limit.file, limit.limit, limit.used))
            .collect()
    }

    #[test]
    fn every_limit_on_the_way_up_is_read_in_both_versions() {
        let planted = Planted::new("0::/a/b\n", &[UNIFIED]);
        let below = [
            ("memory.max", "max\n"),
            ("memory.high", "64\n"),
            ("memory.current", "3\n"),
        ];
        let above = [
            ("memory.max", "100\n"),
            ("memory.high", "max\n"),
            ("memory.current", "7\n"),
        ];
        planted.group(&format!("{V2}/a/b"), &below);
        planted.group(&format!("{V2}/a"), &above);
        let expected = [("memory.high", 64, 3), ("memory.max", 100, 7)];
        assert_eq!(found(&planted, Kind::Memory), expected);

        let planted = Planted::new("4:memory:/a\n", &[MEMORY]);
        let own = [
            ("memory.limit_in_bytes", "100\n"),
            ("memory.usage_in_bytes", "7\n"),
            ("memory.memsw.limit_in_bytes", NONE_V1),
        ];
        planted.group(&format!("{V1}/a"), &own);
        let top = [
            ("memory.limit_in_bytes", NONE_V1),
            ("memory.memsw.limit_in_bytes", "90\n"),
            ("memory.memsw.usage_in_bytes", "9\n"),
        ];
        planted.group(V1, &top);
        let expected = [
            ("memory.limit_in_bytes", 100, 7),
            ("memory.memsw.limit_in_bytes", 90, 9),
        ];
        assert_eq!(found(&planted, Kind::Memory), expected);
        // That group leaves those below it alone.
        planted.file(format!("{V1}/memory.use_hierarchy"), "0\n");
        assert_eq!(found(&planted, Kind::Memory), expected[..1]);
    }

    #[test]
    fn a_limit_of_version_1_above_what_can_be_seen_counts() {
        let planted = Planted::new("4:memory:/a\n", &[MEMORY]);
        let own = [
            ("memory.limit_in_bytes", "100\n"),
            ("memory.usage_in_bytes", "7\n"),
        ];
        planted.group(&format!("{V1}/a"), &own);
        planted.group(V1, &[("memory.usage_in_bytes", "20\n")]);
        for (hidden, expected) in [("100", 1), ("80", 2), ("9223372036854771712", 1)] {
            let stat = format!("cache 1\nhierarchical_memory_limit {hidden}\n");
            planted.file(format!("{V1}/a/memory.stat"), stat);
            let found = found(&planted, Kind::Memory);
            assert_eq!(found.len(), expected, "{hidden}");
            assert!(found.len() == 1 || found[1].1 == 80 && found[1].2 == 20);
        }
    }

    #[test]
    fn huge_pages_that_were_promised_are_used() {
        let planted = Planted::new("0::/\n", &[UNIFIED]);
        let files = [
            ("hugetlb.2MB.max", "64\n"),
            ("hugetlb.2MB.current", "3\n"),
            ("hugetlb.2MB.rsvd.max", "max\n"),
            ("hugetlb.2MB.rsvd.current", "5\n"),
            ("hugetlb.1GB.max", "max\n"),
            ("hugetlb.1GB.rsvd.max", "0\n"),
        ];
        planted.group(V2, &files);
        assert_eq!(found(&planted, Kind::Huge2M), [("hugetlb.2MB.max", 64, 5)]);
        assert_eq!(
            found(&planted, Kind::Huge1G),
            [("hugetlb.1GB.rsvd.max", 0, 0)]
        );
        let mount = "36 31 0:31 / /huge rw - cgroup cgroup rw,hugetlb";
        let planted = Planted::new("8:hugetlb:/\n", &[mount]);
        let files = [
            ("hugetlb.2MB.limit_in_bytes", "64\n"),
            ("hugetlb.2MB.usage_in_bytes", "3\n"),
            ("hugetlb.2MB.rsvd.limit_in_bytes", "9223372036852678656\n"),
        ];
        planted.group("huge", &files);
        assert_eq!(
            found(&planted, Kind::Huge2M),
            [("hugetlb.2MB.limit_in_bytes", 64, 3)]
        );
    }

    #[test]
    fn what_cannot_be_read_is_no_limit_and_no_use() {
        for nonsense in [
            "",
            "\n",
            "many",
            "-1",
            "1 2",
            "0x10",
            "\u{fe}",
            "99999999999999999999",
        ] {
            let planted = Planted::new("0::/\n", &[UNIFIED]);
            planted.group(V2, &[("memory.max", nonsense), ("memory.current", "1")]);
            assert_eq!(found(&planted, Kind::Memory), [], "{nonsense:?}");
            planted.group(V2, &[("memory.max", "5"), ("memory.current", nonsense)]);
            assert_eq!(
                found(&planted, Kind::Memory),
                [("memory.max", 5, 0)],
                "{nonsense:?}"
            );
        }
        let planted = Planted::new("0::/\n", &[UNIFIED]);
        planted.group(V2, &[]);
        // A folder, not a file.
        planted.group(&format!("{V2}/memory.max"), &[]);
        assert_eq!(found(&planted, Kind::Memory), []);
        assert_eq!(
            reclaimable(b"inactive_file many\nactive_file\n\xff 3\n", 2),
            0
        );
    }

    #[test]
    fn pages_of_files_are_had_back_those_that_must_be_written_too() {
        let stat = b"anon 9000\nfile 800\nshmem 50\ninactive_file 500\nactive_file 250\n\
            file_dirty 100\nfile_writeback 10\nslab_reclaimable 41\nunevictable 7\n";
        assert_eq!(reclaimable(stat, 2), 500 + 250 + 20);
        let stat = b"inactive_file 1\nactive_file 2\ntotal_inactive_file 500\n\
            total_active_file 250\ntotal_dirty 100\ntotal_writeback 10\n";
        assert_eq!(reclaimable(stat, 1), 500 + 250);
        assert_eq!(reclaimable(b"file_dirty 5\nslab_reclaimable 8\n", 2), 4);
        let full = u64::MAX.to_string();
        let stat = format!("inactive_file {full}\nactive_file {full}\nslab_reclaimable {full}\n");
        assert_eq!(reclaimable(stat.as_bytes(), 2), u64::MAX);
    }

    #[test]
    fn the_tightest_limit_is_named() {
        let limit = |file, limit, used| Limit {
            folder: PathBuf::from("/nonexistent"),
            file,
            limit,
            used,
            reclaimable: 0,
        };
        let planted = Planted::new("0::/\n", &[UNIFIED]);
        planted.group(V2, &[]);
        let groups = groups(&planted, Controller::Memory);
        let all = vec![limit("a", 100, 50), limit("b", 90, 60), limit("c", 10, 90)];
        let short = |needed| {
            let short = shortage(all.clone(), &groups, Kind::Memory, needed);
            short.map(|limit| (limit.file, limit.left()))
        };
        assert_eq!(short(40), Some(("c", 0)));
        assert_eq!(short(0), None);
        let two = shortage(all[..2].to_vec(), &groups, Kind::Memory, 40);
        assert_eq!(two.map(|limit| limit.file), Some("b"));
        assert_eq!(shortage(all[..2].to_vec(), &groups, Kind::Memory, 30), None);
    }
}
