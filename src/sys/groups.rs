//! Which control groups this process is in, and in which folders their files are.
//!
//! Owns: reading of `/proc/self/cgroup` and `/proc/self/mountinfo`. Uses: `std::fs`. Used by:
//! `quota`.
//!
//! Source: cgroups(7), cgroup_namespaces(7), proc_pid_mountinfo(5), and the kernel's pages on
//! control groups. A controller is in one hierarchy: in one of version 1, if a line of
//! `/proc/self/cgroup` names it, else in that of version 2. (A *hybrid* machine has both.)
//! A limit of a group holds for all groups below it, so every folder counts from the process's
//! own up to the highest that is mounted.
//!
//! ```text
//!   /proc/self/cgroup     0::/jobs/nightly              the group
//!   mountinfo             … /jobs /run/groups … cgroup2  its hierarchy from /jobs on is there
//!   ──▶ /run/groups/nightly, then /run/groups
//! ```
//!
//! Both files name groups as seen from the root of the process's cgroup namespace. What lies
//! above that root is `/..`, `/../..` and so on: of a hierarchy that is mounted from there it
//! cannot be told in which folder the process is, only that it is somewhere below.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What limits a kind of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Base pages, merged ones, and what the kernel needs for them.
    Memory,
    /// Pages from the hugetlb pool.
    HugeTlb,
}

impl Controller {
    /// Its name in a hierarchy of version 1.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::HugeTlb => "hugetlb",
        }
    }
}

/// The groups, own and above, in which one controller keeps its files for this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// The version of the hierarchy, 1 or 2.
    pub version: u8,
    /// The process's own group, as `/proc/self/cgroup` says; empty if that is not to be had.
    pub group: PathBuf,
    /// The folder of the lowest group whose folder is known.
    pub folder: PathBuf,
    /// Where the hierarchy is mounted: the folder of the highest group that can be seen.
    top: PathBuf,
    /// Whether the limits of memory count pages from the hugetlb pool, too.
    pub counts_hugetlb: bool,
}

impl Groups {
    /// Every folder, the process's own first.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        let above = self.folder.ancestors();
        above.take_while(|folder| folder.starts_with(&self.top))
    }
}

/// Where the files of the process's groups are, as the files below `root` say.
#[derive(Debug)]
pub struct Seen<'a> {
    root: &'a Path,
    own: Vec<u8>,
    mounts: Vec<u8>,
}

impl<'a> Seen<'a> {
    /// Reads them. What cannot be read is empty.
    pub fn below(root: &'a Path) -> Self {
        // Of the calling thread, as all others are; but the first one, which `self` is, may
        // have ended, and is in no group then.
        let read = |name: &str| {
            let by = |whose: &str| fs::read(root.join("proc").join(whose).join(name));
            by("thread-self")
                .or_else(|_| by("self"))
                .unwrap_or_default()
        };
        Self {
            root,
            own: read("cgroup"),
            mounts: read("mountinfo"),
        }
    }

    /// The groups of `controller`; `None` if nothing can be seen of them.
    pub fn groups(&self, controller: Controller) -> Option<Groups> {
        let Some((version, group)) = own_group(&self.own, controller) else {
            return self.customary(controller);
        };
        let mounts: Vec<Mount<'_>> = lines(&self.mounts).filter_map(Mount::parse).collect();
        let mut ways: Vec<_> = mounts
            .iter()
            .filter(|mount| mount.shows(version, controller) && !mount.is_hidden(&mounts))
            .filter_map(|mount| Some((mount, Way::down(mount.root, group)?)))
            .collect();
        // The one with the most groups first, and last where the way is not known.
        ways.sort_by_key(|(_, way)| std::cmp::Reverse(way.len()));
        let found: Vec<Groups> = ways
            .iter()
            .map(|(mount, way)| {
                let top = self.inside(&unescaped(mount.point));
                Groups {
                    version,
                    group: PathBuf::from(OsStr::from_bytes(group)),
                    folder: way.from(top.clone()),
                    top,
                    counts_hugetlb: mount.has_option(b"memory_hugetlb_accounting"),
                }
            })
            .collect();
        // Something else may be mounted over a folder on the way, which hides it.
        let own = found.iter().find(|groups| is_group(&groups.folder));
        own.or_else(|| found.iter().find(|groups| is_group(&groups.top)))
            .cloned()
    }

    /// Where hierarchies are customarily mounted, if the process's group is not to be had:
    /// in a container the root of what is mounted there is a group that the process is in,
    /// and elsewhere it has no limit.
    fn customary(&self, controller: Controller) -> Option<Groups> {
        let at = |place: &str| self.inside(OsStr::new("/sys/fs/cgroup")).join(place);
        let places = [(1, at(controller.name())), (2, at("")), (2, at("unified"))];
        let (version, top) = places.into_iter().find(|(_, top)| is_group(top))?;
        Some(Groups {
            version,
            group: PathBuf::new(),
            folder: top.clone(),
            top,
            counts_hugetlb: false,
        })
    }

    /// An absolute path, below the root.
    fn inside(&self, path: &OsStr) -> PathBuf {
        let below = path.as_bytes();
        let start = below.iter().position(|&byte| byte != b'/');
        let below = &below[start.unwrap_or(below.len())..];
        match below {
            [] => self.root.to_owned(),
            _ => self.root.join(OsStr::from_bytes(below)),
        }
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
}

/// The version of the hierarchy that `controller` is in, and the group there, by the text of
/// `/proc/self/cgroup`.
fn own_group(text: &[u8], controller: Controller) -> Option<(u8, &[u8])> {
    let mut second = None;
    for line in lines(text) {
        // A group's name may have colons in it.
        let mut parts = line.splitn(3, |&byte| byte == b':');
        let (Some(number), Some(names), Some(group)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if !group.starts_with(b"/") {
            continue;
        }
        if names
            .split(|&byte| byte == b',')
            .any(|name| name == controller.name().as_bytes())
        {
            return Some((1, group));
        }
        if number == b"0" && names.is_empty() {
            second = Some((2, group));
        }
    }
    second
}

/// A line of `mountinfo`.
#[derive(Clone, Copy, Debug)]
struct Mount<'a> {
    id: &'a [u8],
    parent: &'a [u8],
    /// Which group of the hierarchy its root is.
    root: &'a [u8],
    /// Where it is; both are escaped.
    point: &'a [u8],
    kind: &'a [u8],
    /// Those of the hierarchy, not of the mount.
    options: &'a [u8],
}

impl<'a> Mount<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = line.split(|&byte| byte == b' ');
        let (id, parent) = (words.next()?, words.next()?);
        let (root, point) = (words.nth(1)?, words.next()?);
        // Any number of fields, up to a hyphen.
        words.find(|&word| word == b"-")?;
        let (kind, options) = (words.next()?, words.nth(1)?);
        Some(Self {
            id,
            parent,
            root,
            point,
            kind,
            options,
        })
    }

    fn has_option(&self, name: &[u8]) -> bool {
        (self.options.split(|&byte| byte == b',')).any(|option| option == name)
    }

    /// Whether it shows the hierarchy in which `controller` is.
    fn shows(&self, version: u8, controller: Controller) -> bool {
        match version {
            1 => self.kind == b"cgroup" && self.has_option(controller.name().as_bytes()),
            _ => self.kind == b"cgroup2",
        }
    }

    /// Whether another is mounted at the same place, above it.
    fn is_hidden(&self, all: &[Self]) -> bool {
        (all.iter()).any(|other| other.parent == self.id && other.point == self.point)
    }
}

/// What `mountinfo` says, where spaces, tabs, line ends and backslashes are three octal
/// digits behind a backslash.
fn unescaped(text: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let octal = |digit: u8| (b'0'..=b'7').contains(&digit).then(|| digit - b'0');
        rest = after;
        if let (b'\\', [a, b, c, beyond @ ..]) = (first, after)
            && let (Some(a @ 0..=3), Some(b), Some(c)) = (octal(*a), octal(*b), octal(*c))
        {
            bytes.push(a << 6 | b << 3 | c);
            rest = beyond;
            continue;
        }
        bytes.push(*first);
    }
    OsString::from_vec(bytes)
}

/// How far above the root of the namespace a path of `/proc` leaves it, and the names of the
/// groups from there on.
fn steps(path: &[u8]) -> (usize, Vec<&[u8]>) {
    let mut names: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    names.retain(|name| !name.is_empty());
    let up = names.iter().take_while(|&&name| name == b"..").count();
    let below = names.split_off(up);
    (up, below)
}

/// How to come from a group to one below it.
#[derive(Debug, PartialEq, Eq)]
enum Way<'a> {
    /// By these names.
    Names(Vec<&'a [u8]>),
    /// By names that lie above the root of the namespace, which nothing tells.
    Unknown,
}

impl<'a> Way<'a> {
    /// From the group `root` down to the group `own`; `None` if that is not below it.
    fn down(root: &[u8], own: &'a [u8]) -> Option<Self> {
        let root = unescaped(root);
        let ((root_up, root_names), (up, mut names)) = (steps(root.as_bytes()), steps(own));
        if root_names.is_empty() && root_up > up {
            return Some(Self::Unknown);
        }
        let below = root_up == up && names.starts_with(&root_names);
        below.then(|| Self::Names(names.split_off(root_names.len())))
    }

    /// How many names; `None` if they are not known.
    fn len(&self) -> Option<usize> {
        match self {
            Self::Names(names) => Some(names.len()),
            Self::Unknown => None,
        }
    }

    /// The lowest folder on the way from `top` that is known.
    fn from(&self, mut top: PathBuf) -> PathBuf {
        if let Self::Names(names) = self {
            top.extend(names.iter().map(|name| OsStr::from_bytes(name)));
        }
        top
    }
}

/// Whether the folder is one of a control group.
fn is_group(folder: &Path) -> bool {
    folder.join("cgroup.procs").exists()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::sys::random;

    /// A system's files in a folder, gone when dropped.
    pub struct Planted(PathBuf);

    impl Planted {
        /// With what `/proc` says of the groups and of the mounts.
        pub fn new(own: &str, mounts: &[&str]) -> Self {
            let name = format!("hugepool-{:x}", random::number().unwrap());
            let planted = Self(std::env::temp_dir().join(name));
            planted.file("proc/self/cgroup", own);
            planted.file("proc/self/mountinfo", mounts.join("\n"));
            planted
        }

        pub fn root(&self) -> &Path {
            &self.0
        }

        pub fn file(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A group with these files, each with a number.
        pub fn group(&self, folder: &str, files: &[(&str, &str)]) {
            self.file(format!("{folder}/cgroup.procs"), "");
            for (name, text) in files {
                self.file(format!("{folder}/{name}"), text);
            }
        }

        /// The version, and the folders of a controller's groups.
        fn seen(&self, controller: Controller) -> Option<(u8, Vec<String>)> {
            let groups = Seen::below(&self.0).groups(controller)?;
            let below = |folder: &Path| {
                let below = folder.strip_prefix(&self.0).unwrap();
                below.to_str().unwrap().to_owned()
            };
            Some((groups.version, groups.folders().map(below).collect()))
        }
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    pub const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw";
    pub const MEMORY: &str = "35 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
    const HYBRID: [&str; 4] = [
        "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755",
        MEMORY,
        "36 31 0:31 / /sys/fs/cgroup/both rw - cgroup cgroup rw,pids,hugetlb",
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    ];

    #[test]
    fn each_version_is_found_and_every_group_up_to_the_mount() {
        let planted = Planted::new("0::/jobs/nightly\n", &[UNIFIED]);
        planted.group("sys/fs/cgroup/jobs/nightly", &[]);
        let way = [
            "sys/fs/cgroup/jobs/nightly",
            "sys/fs/cgroup/jobs",
            "sys/fs/cgroup",
        ];
        let expected = Some((2, way.map(str::to_owned).to_vec()));
        assert_eq!(planted.seen(Controller::Memory), expected);
        assert_eq!(planted.seen(Controller::HugeTlb), expected);

        // Both, of which neither controller is in the second.
        let own = "9:name=memory:/no\n8:pids,hugetlb:/huge\n4:memory:/a:b\n0::/\n";
        let planted = Planted::new(own, &HYBRID);
        planted.group("sys/fs/cgroup/memory/a:b", &[]);
        planted.group("sys/fs/cgroup/both/huge", &[]);
        let way = ["sys/fs/cgroup/memory/a:b", "sys/fs/cgroup/memory"];
        let expected = Some((1, way.map(str::to_owned).to_vec()));
        assert_eq!(planted.seen(Controller::Memory), expected);
        let way = ["sys/fs/cgroup/both/huge", "sys/fs/cgroup/both"];
        let expected = Some((1, way.map(str::to_owned).to_vec()));
        assert_eq!(planted.seen(Controller::HugeTlb), expected);

        // Both, and one controller in each.
        let planted = Planted::new("4:memory:/a\n0::/b\n", &HYBRID);
        planted.group("sys/fs/cgroup/memory/a", &[]);
        planted.group("sys/fs/cgroup/unified/b", &[]);
        assert_eq!(planted.seen(Controller::Memory).unwrap().0, 1);
        let way = ["sys/fs/cgroup/unified/b", "sys/fs/cgroup/unified"];
        let expected = Some((2, way.map(str::to_owned).to_vec()));
        assert_eq!(planted.seen(Controller::HugeTlb), expected);
    }

    #[test]
    fn the_root_of_a_mount_is_taken_off_the_group() {
        // In a container without a namespace of its own; and mounted at an odd place.
        let mount = r"9 1 0:26 /docker/one /run/c\040g\134 rw - cgroup2 cgroup2 rw";
        let planted = Planted::new("0::/docker/one/sub\n", &[mount]);
        planted.group(r"run/c g\/sub", &[]);
        let way = [r"run/c g\/sub", r"run/c g\"].map(str::to_owned).to_vec();
        assert_eq!(planted.seen(Controller::Memory), Some((2, way)));
        // That of another container, or of one whose name begins alike, says nothing.
        for other in ["/docker/other/sub", "/docker/one2", "/docker"] {
            let planted = Planted::new(&format!("0::{other}\n"), &[mount]);
            planted.group(r"run/c g\", &[]);
            assert_eq!(planted.seen(Controller::Memory), None, "{other}");
        }
        // The mount that shows most is taken.
        let planted = Planted::new("0::/docker/one/sub\n", &[mount, UNIFIED]);
        planted.group(r"run/c g\/sub", &[]);
        planted.group("sys/fs/cgroup/docker/one/sub", &[]);
        assert_eq!(planted.seen(Controller::Memory).unwrap().1.len(), 4);
    }

    #[test]
    fn above_the_namespace_only_the_top_is_known() {
        for (root, own, expected) in [
            ("/..", "/sub", Some(vec!["cg"])),
            ("/../..", "/", Some(vec!["cg"])),
            ("/..", "/..", Some(vec!["cg"])),
            ("/..", "/../sub", Some(vec!["cg/sub", "cg"])),
            ("/../sub", "/../sub/low", Some(vec!["cg/low", "cg"])),
            ("/../sub", "/low", None),
            ("/", "/../low", None),
            ("/", "/..", None),
        ] {
            let mount = format!("9 1 0:26 {root} /cg rw - cgroup2 cgroup2 rw");
            let planted = Planted::new(&format!("0::{own}\n"), &[&mount]);
            for folder in ["cg", "cg/sub", "cg/low"] {
                planted.group(folder, &[]);
            }
            let expected = expected.map(|way| way.into_iter().map(str::to_owned).collect());
            let seen = planted.seen(Controller::Memory).map(|(_, way)| way);
            assert_eq!(seen, expected, "{root} {own}");
        }
    }

    #[test]
    fn what_is_mounted_above_another_hides_it() {
        let above = "50 35 0:30 /a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        let planted = Planted::new("4:memory:/a/b\n", &[MEMORY, above]);
        planted.group("sys/fs/cgroup/memory/b", &[]);
        planted.group("sys/fs/cgroup/memory/a/b", &[]);
        let way = ["sys/fs/cgroup/memory/b", "sys/fs/cgroup/memory"];
        let expected = Some((1, way.map(str::to_owned).to_vec()));
        assert_eq!(planted.seen(Controller::Memory), expected);
        // Here something else is: there is no group in the folder.
        let elsewhere = "60 23 0:30 /a /elsewhere rw - cgroup cgroup rw,memory";
        let planted = Planted::new("4:memory:/a/b\n", &[MEMORY, elsewhere]);
        planted.group("elsewhere/b", &[]);
        let way = ["elsewhere/b", "elsewhere"].map(str::to_owned).to_vec();
        assert_eq!(planted.seen(Controller::Memory), Some((1, way)));
        // The own group's folder is gone: those above it count.
        let planted = Planted::new("4:memory:/a/b\n", &[MEMORY]);
        planted.group("sys/fs/cgroup/memory", &[]);
        assert_eq!(planted.seen(Controller::Memory).unwrap().1.len(), 3);
    }

    #[test]
    fn without_proc_the_customary_places_are_looked_at() {
        let planted = Planted::new("", &[]);
        assert_eq!(planted.seen(Controller::Memory), None);
        planted.group("sys/fs/cgroup", &[]);
        let expected = |version, at: &str| Some((version, vec![at.to_owned()]));
        assert_eq!(
            planted.seen(Controller::Memory),
            expected(2, "sys/fs/cgroup")
        );
        planted.group("sys/fs/cgroup/memory", &[]);
        assert_eq!(
            planted.seen(Controller::Memory),
            expected(1, "sys/fs/cgroup/memory")
        );
        assert_eq!(
            planted.seen(Controller::HugeTlb),
            expected(2, "sys/fs/cgroup")
        );
    }

    #[test]
    fn nonsense_is_no_group() {
        for own in [
            "0:/",
            "::",
            "0::",
            "0::relative",
            "4:memory",
            "\0\n\n:::",
            "0::/\\\n",
        ] {
            for mount in [
                "",
                " - ",
                "1 2 3 4 5 6",
                "1 2 0:1 / /cg rw - cgroup2",
                "1 2 0:1 / /cg rw -",
                r"1 2 0:1 \ \7 rw - cgroup2 cgroup2 rw",
                r"1 2 0:1 /\777 /\400 rw - cgroup2 cgroup2 rw",
            ] {
                let planted = Planted::new(own, &[mount]);
                assert_eq!(planted.seen(Controller::Memory), None, "{own} {mount}");
            }
        }
        // Other mounts' names need not be text.
        let planted = Planted::new("0::/\n", &[]);
        let mounts = [
            b"8 1 0:9 / /\xff rw - ext4 /dev/\xfe rw\n",
            UNIFIED.as_bytes(),
        ]
        .concat();
        planted.file("proc/self/mountinfo", mounts);
        planted.group("sys/fs/cgroup", &[]);
        assert!(planted.seen(Controller::Memory).is_some());
        assert_eq!(
            unescaped(br"\040\011\012\134\\\1"),
            OsStr::new(" \t\n\\\\\\\\1")
        );
    }

    #[test]
    fn this_process_is_in_a_group_that_names_it() {
        let Some(groups) = Seen::below(Path::new("/")).groups(Controller::Memory) else {
            println!("skipped: no control group of memory can be seen here");
            return;
        };
        // From another namespace of processes numbers look different.
        let own = std::process::id().to_string();
        let procs = fs::read_to_string(groups.folder.join("cgroup.procs")).unwrap_or_default();
        if !procs.lines().any(|line| line == own) {
            println!("skipped: the folder of the own group is not known here, {groups:?}");
        }
    }
}
