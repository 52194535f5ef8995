//! How to change what the doctor shows.
//!
//! Owns the conditions and the commands; `text` puts each into its section, `json` lists them.

use hugepool::{Machine, WhyPortable};

use crate::units::{self, GIB, MIB};

/// What an advice is about: a section of the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum About {
    Overcommit,
    ControlGroups,
    HugePages,
    Transparent,
    SharedTransparent,
    Memlock,
    Sequences,
    Membarrier,
    Nodes,
}

impl About {
    /// As the JSON form calls it.
    pub fn name(self) -> &'static str {
        match self {
            About::Overcommit => "overcommit",
            About::ControlGroups => "control_groups",
            About::HugePages => "huge_pages",
            About::Transparent => "transparent",
            About::SharedTransparent => "transparent_shared",
            About::Memlock => "memlock",
            About::Sequences => "rseq",
            About::Membarrier => "membarrier",
            About::Nodes => "nodes",
        }
    }
}

/// What somebody can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advice {
    pub about: About,
    /// What for.
    pub aim: String,
    /// A command, if there is one, and who gives it; else words.
    pub how: String,
}

const THP: &str = "/sys/kernel/mm/transparent_hugepage";

/// All that holds for this machine, in the order of the report.
pub fn all(machine: &Machine) -> Vec<Advice> {
    let mut all = Vec::new();
    let mut add = |about, aim: &str, how: String| {
        all.push(Advice {
            about,
            aim: aim.to_owned(),
            how,
        });
    };
    if machine.overcommit == Some(2) {
        add(
            About::Overcommit,
            "to grant by estimate",
            "as root: sysctl vm.overcommit_memory=0".to_owned(),
        );
    }
    for group in &machine.control_groups {
        for limit in &group.limits {
            add(
                About::ControlGroups,
                "to raise it",
                format!("as root: echo BYTES > {}", limit.file),
            );
        }
    }
    for pages in &machine.huge_pages {
        let [all, each] = units::together([GIB.max(pages.bytes), pages.bytes]);
        add(
            About::HugePages,
            &format!("to reserve {all} in pages of {each}"),
            format!("as root: {}", reserve(pages.bytes)),
        );
    }
    if machine.huge_pages.iter().any(|pages| pages.bytes == GIB) {
        add(
            About::HugePages,
            "to have those of 1 GiB for certain",
            "at boot: hugepagesz=1G hugepages=1".to_owned(),
        );
    }
    let policy = &machine.transparent;
    let own = inherits_not(policy.size_enabled.as_deref());
    match (own, policy.enabled.as_deref()) {
        (Some("never"), _) => add(
            About::Transparent,
            "to allow them",
            format!("as root: echo madvise > {THP}/hugepages-2048kB/enabled"),
        ),
        (None, Some("never")) => add(
            About::Transparent,
            "to allow them",
            format!("as root: echo madvise > {THP}/enabled"),
        ),
        _ => {}
    }
    let own = inherits_not(policy.size_shmem_enabled.as_deref());
    match (own, policy.shmem_enabled.as_deref()) {
        (_, Some("deny")) | (None, Some("never")) => add(
            About::SharedTransparent,
            "to allow them in shared memory",
            format!("as root: echo advise > {THP}/shmem_enabled"),
        ),
        (Some("never"), _) | (Some(_), Some("force")) => add(
            About::SharedTransparent,
            "to allow them in shared memory",
            format!("as root: echo inherit > {THP}/hugepages-2048kB/shmem_enabled"),
        ),
        _ => {}
    }
    if machine.memlock.is_some_and(|limit| limit.soft.is_some()) {
        for (aim, how) in [
            (
                "to raise it",
                "in the shell that starts the program: ulimit -l unlimited",
            ),
            ("for a service", "in its unit file: LimitMEMLOCK=infinity"),
            (
                "for a user",
                "in /etc/security/limits.conf: `USER - memlock unlimited`",
            ),
            ("for one program", "as root: setcap cap_ipc_lock+ep PROGRAM"),
        ] {
            add(About::Memlock, aim, how.to_owned());
        }
    }
    if machine.rseq.is_some_and(|area| area.size == 0) && machine.why_portable.is_some() {
        add(
            About::Sequences,
            "to have the C library register them",
            "leave glibc.pthread.rseq=0 out of GLIBC_TUNABLES".to_owned(),
        );
    }
    match machine.why_portable {
        Some(WhyPortable::NoBarrier | WhyPortable::NotRegistered) => add(
            About::Membarrier,
            "to allow them",
            "Linux 5.10 or later, and a filter (seccomp) that lets rseq and membarrier pass"
                .to_owned(),
        ),
        Some(WhyPortable::NotRestarted) => add(
            About::Sequences,
            "to have them restarted",
            "a kernel of another version: arm64 does not from 6.19 to 7.0".to_owned(),
        ),
        _ => {}
    }
    if machine.why_not_placed == Some(hugepool::WhyNotPlaced::Filter) {
        add(
            About::Nodes,
            "to allow it",
            "a filter (seccomp) that lets mbind pass; for Docker: --cap-add SYS_NICE".to_owned(),
        );
    }
    all
}

/// The switch of one size, where it is not that of all.
pub fn inherits_not(own: Option<&str>) -> Option<&str> {
    own.filter(|&own| own != "inherit")
}

/// The command that reserves 1 GiB in pages of this size.
fn reserve(page: usize) -> String {
    let wanted = (GIB / page).max(1);
    let file = if page == 2 * MIB {
        "/proc/sys/vm/nr_hugepages".to_owned()
    } else {
        format!(
            "/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages",
            page / 1024
        )
    };
    format!("echo {wanted} > {file}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of which `change` is another.
    fn advice(about: About, change: impl FnOnce(&mut Machine)) -> Vec<String> {
        let mut machine = Machine::probe();
        change(&mut machine);
        let all = all(&machine).into_iter();
        let about = all.filter(|advice| advice.about == about);
        about.map(|advice| advice.how).collect()
    }

    #[test]
    fn what_is_denied_can_be_allowed_and_what_is_allowed_needs_no_advice() {
        let shared = |shared: &str, own: &str| {
            advice(About::SharedTransparent, |machine| {
                machine.transparent.shmem_enabled = Some(shared.to_owned());
                machine.transparent.size_shmem_enabled = Some(own.to_owned());
            })
        };
        let (all, size) = (
            "transparent_hugepage/shmem_enabled",
            "hugepages-2048kB/shmem_enabled",
        );
        for (switch, own, names) in [
            ("deny", "inherit", all),
            ("deny", "advise", all),
            ("never", "inherit", all),
            ("advise", "never", size),
            ("force", "advise", size),
        ] {
            let how = shared(switch, own);
            assert!(how.len() == 1 && how[0].ends_with(names), "{how:?}");
        }
        assert_eq!(shared("advise", "inherit"), [""; 0]);
        let own = |enabled: &str| {
            advice(About::Transparent, |machine| {
                machine.transparent.enabled = Some(enabled.to_owned());
                machine.transparent.size_enabled = None;
            })
        };
        assert_eq!(own("never").len(), 1);
        assert_eq!(own("madvise"), [""; 0]);
        let locked = |soft| {
            advice(About::Memlock, |machine| {
                if let Some(limit) = &mut machine.memlock {
                    limit.soft = soft;
                }
            })
        };
        assert_eq!(locked(Some(8 << 20)).len(), 4);
        assert_eq!(locked(None), [""; 0]);
        let overcommit = |value| advice(About::Overcommit, |it| it.overcommit = Some(value));
        assert_eq!((overcommit(0).len(), overcommit(2).len()), (0, 1));
        let sequences = |why| {
            advice(About::Sequences, |machine| {
                machine.why_portable = why;
            })
        };
        assert_eq!(sequences(Some(WhyPortable::NotRestarted)).len(), 1);
        assert_eq!(sequences(None), [""; 0]);
    }
}
