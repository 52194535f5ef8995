//! Control groups with limits, for tests in a process of their own.

#![allow(clippy::disallowed_types, reason = "tests that need groups take turns")]

use super::process::alone;
use super::skipped;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where the process that runs a test alone finds its group.
const GROUP: &str = "HUGEPOOL_TEST_GROUP";

/// A limit: its file in a hierarchy of version 1, that in one of version 2, and its number.
/// The first is empty if version 1 has no such limit.
pub type Limit<'a> = (&'a str, &'a str, usize);

/// The hierarchy in which a controller is.
struct Hierarchy {
    version: u8,
    /// Where all of it is mounted.
    top: PathBuf,
}

impl Hierarchy {
    fn of(controller: &str) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let first = own.lines().any(|line| {
            let names = line.split(':').nth(1).unwrap_or_default();
            names.split(',').any(|name| name == controller)
        });
        mounts.lines().find_map(|line| {
            let (mount, system) = line.split_once(" - ")?;
            let mut words = mount.split(' ').skip(3);
            let (root, top) = (words.next()?, PathBuf::from(words.next()?));
            let kind = system.split(' ').next()?;
            let options = system.split(' ').nth(2)?;
            let there = match first {
                true => kind == "cgroup" && options.split(',').any(|name| name == controller),
                false => kind == "cgroup2",
            };
            let version = if first { 1 } else { 2 };
            (there && root == "/").then_some(Self { version, top })
        })
    }

    /// Has it limit groups below the top by `controller`; true if it did not yet.
    fn enable(&self, controller: &str) -> Option<bool> {
        let file = self.top.join("cgroup.subtree_control");
        let enabled = |file: &Path| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.split_whitespace().any(|name| name == controller)
        };
        if self.version == 1 || enabled(&file) {
            return Some(false);
        }
        fs::write(&file, format!("+{controller}")).ok()?;
        enabled(&file).then_some(true)
    }
}

/// A group, which is gone when dropped.
struct Made<'a> {
    hierarchy: Hierarchy,
    controller: &'a str,
    enabled: bool,
    folder: PathBuf,
}

impl<'a> Made<'a> {
    fn new(name: &str, controller: &'a str, limits: &[Limit<'_>]) -> Result<Self, String> {
        let hierarchy = Hierarchy::of(controller)
            .ok_or_else(|| format!("no hierarchy with {controller} is mounted"))?;
        let enabled = (hierarchy.enable(controller))
            .ok_or_else(|| format!("{controller} is not to be had"))?;
        let name = format!("hugepool-{}-{name}", std::process::id());
        let folder = hierarchy.top.join(name);
        fs::create_dir(&folder).map_err(|error| error.to_string())?;
        let made = Self {
            hierarchy,
            controller,
            enabled,
            folder,
        };
        for (first, second, limit) in limits {
            let file = match made.hierarchy.version {
                1 if first.is_empty() => return Err(format!("version 1 has no {second}")),
                1 => first,
                _ => second,
            };
            fs::write(made.folder.join(file), limit.to_string())
                .map_err(|error| format!("{file}: {error}"))?;
        }
        Ok(made)
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        // The last process has ended, but it may take a moment to be out of the group.
        for _ in 0..1000 {
            match fs::remove_dir(&self.folder) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                _ => break,
            }
        }
        if self.enabled {
            let file = self.hierarchy.top.join("cgroup.subtree_control");
            let _ = fs::write(file, format!("-{}", self.controller));
        }
    }
}

/// Runs `body`, which is all of the test called `name` in this program, in a process of its
/// own in a group that limits `controller`, with the group's folder. Says so if there cannot
/// be one.
#[track_caller]
pub fn limited(name: &str, controller: &str, limits: &[Limit<'_>], body: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(GROUP) {
        let folder = PathBuf::from(folder);
        return alone(name, &[], || {
            fs::write(folder.join("cgroup.procs"), "0").expect("this process may join");
            body(&folder);
        });
    }
    // Controllers are enabled for all groups.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let made = match Made::new(name, controller, limits) {
        Ok(made) => made,
        Err(why) => return skipped(&format!("a group that limits {controller}: {why}")),
    };
    let folder = made.folder.to_str().expect("a path of text");
    alone(name, &[(GROUP, folder)], || {});
}
