//! The doctor's report for people: aligned sections, with the commands that would change what they say.
//!
//! Owns the wording. Uses the machine's fields and the trials; the doctor prints it.

use hugepool::Machine;

use super::trial::Trial;
use crate::report::align;
use crate::units::{self, GIB, MIB};

const UNKNOWN: &str = "unknown";

/// All sections.
pub fn report(machine: &Machine, trials: &[Trial], pool: &Result<String, String>) -> String {
    let mut out = String::from("hugepool doctor\n");
    section(&mut out, "Machine", &this_machine(machine));
    section(&mut out, "Control groups", &control_groups(machine));
    huge_pages(&mut out, machine);
    section(&mut out, "Transparent huge pages", &transparent(machine));
    locked(&mut out, machine);
    section(&mut out, "Restartable sequences", &rseq(machine));
    section(&mut out, "Membarrier", &membarrier(machine));
    section(&mut out, "NUMA", &numa(machine));
    let lines: Vec<Line> = trials
        .iter()
        .map(|trial| {
            let outcome = match &trial.outcome {
                Ok(obtained) => obtained.clone(),
                Err(error) => format!("refused: {error}"),
            };
            (trial.what.to_owned(), outcome)
        })
        .collect();
    section(
        &mut out,
        "What the pool is granted when it requires",
        &lines,
    );
    out.push_str("\nWhat the pool obtains by default\n");
    match pool {
        Ok(stats) => {
            for line in stats.lines() {
                out.push_str(format!("  {line}").trim_end());
                out.push('\n');
            }
        }
        Err(error) => out.push_str(&format!("  refused: {error}\n")),
    }
    out
}

type Line = (String, String);

fn this_machine(machine: &Machine) -> Vec<Line> {
    let cpus = format!(
        "{} online, {} possible",
        count(machine.online_cpus),
        count(machine.possible_cpus)
    );
    let memory = format!(
        "{} total, {} available",
        size(machine.memory_total),
        size(machine.memory_available)
    );
    let overcommit = match machine.overcommit {
        Some(0) => "0: by estimate",
        Some(1) => "1: always granted",
        Some(2) => "2: never beyond the limit; what a pool uses counts, not its address space",
        _ => UNKNOWN,
    };
    vec![
        line("processor", known(machine.cpu_model.as_deref())),
        line("CPUs", cpus),
        line("kernel", known(machine.kernel.as_deref())),
        line("memory", memory),
        line("overcommit", overcommit),
        line("base page", units::bytes(machine.base_page)),
    ]
}

fn control_groups(machine: &Machine) -> Vec<Line> {
    if machine.control_groups.is_empty() {
        let none = "none can be seen: only what the machine has limits a pool";
        return vec![line("limits", none)];
    }
    let mut lines = Vec::new();
    for group in &machine.control_groups {
        let name = group.group.as_deref().unwrap_or(UNKNOWN);
        let place = format!("{name}, version {}, in {}", group.version, group.folder);
        lines.push(line(group.controller, place));
        if group.limits.is_empty() {
            lines.push(line(
                "",
                "no limit that can be read, neither of it nor of those above",
            ));
        }
        for limit in &group.limits {
            let mut words = format!(
                "{}: {}, {} used",
                limit.file,
                units::bytes64(limit.limit),
                units::bytes64(limit.used)
            );
            if limit.reclaimable > 0 {
                let most = units::bytes64(limit.reclaimable);
                words.push_str(&format!(", {most} of it given up on demand"));
            }
            lines.push(line("", words));
        }
    }
    lines
}

fn huge_pages(out: &mut String, machine: &Machine) {
    out.push_str("\nReserved huge pages\n");
    if machine.huge_pages.is_empty() {
        out.push_str("  this kernel has none\n");
        return;
    }
    let mut lines = vec![
        ["size", "total", "free", "promised", "surplus"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for pages in &machine.huge_pages {
        let mut cells = vec![units::bytes(pages.bytes)];
        let counts = [pages.total, pages.free, pages.reserved, pages.surplus];
        cells.extend(counts.map(|count| count.to_string()));
        lines.push(cells);
    }
    out.push_str(&align(&lines));
    for pages in &machine.huge_pages {
        out.push_str(&format!(
            "  to reserve {} in {} pages, as root: {}\n",
            units::bytes(GIB.max(pages.bytes)),
            units::bytes(pages.bytes),
            reserve(pages.bytes)
        ));
    }
    out.push_str("  1 GiB pages are best reserved at boot: hugepagesz=1G hugepages=1\n");
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

fn transparent(machine: &Machine) -> Vec<Line> {
    let policy = &machine.transparent;
    let own = policy.size_enabled.as_deref();
    let own = own.filter(|&own| own != "inherit");
    let mut lines = vec![line("enabled", known(policy.enabled.as_deref()))];
    lines.extend(own.map(|own| line("for their size", own)));
    lines.push(line("defrag", known(policy.defrag.as_deref())));
    lines.push(line(
        "shared memory",
        known(policy.shmem_enabled.as_deref()),
    ));
    let shared = policy.size_shmem_enabled.as_deref();
    let shared = shared.filter(|&own| own != "inherit");
    lines.extend(shared.map(|own| line("for their size", own)));
    match (own, policy.enabled.as_deref()) {
        (Some("never"), _) => lines.push(line(
            "to allow them",
            "as root: echo madvise > \
             /sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled",
        )),
        (None, Some("never")) => lines.push(line(
            "to allow them",
            "as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        )),
        (None, None) => {}
        _ => lines.push(line("for the pool", "it asks for them itself (madvise)")),
    }
    let allow = match (shared, policy.shmem_enabled.as_deref()) {
        (_, Some("deny")) | (None, Some("never")) => {
            Some("as root: echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled")
        }
        (Some("never"), _) | (Some(_), Some("force")) => Some(
            "as root: echo inherit > \
             /sys/kernel/mm/transparent_hugepage/hugepages-2048kB/shmem_enabled",
        ),
        _ => None,
    };
    lines.extend(allow.map(|how| line("to allow them in shared memory", how)));
    let (by_collapse, meaning) = match (machine.collapse, policy.shmem_enabled.as_deref()) {
        (false, _) => (
            "not to be had",
            "Linux has it from 6.1 on; a filter for system calls may refuse it (madvise)",
        ),
        (true, Some("deny")) => (
            "in private memory",
            "whatever the switches say; `deny` refuses it in shared memory, `never` does not",
        ),
        (true, _) => (
            "wherever the switches give none",
            "the pool asks for it itself (madvise) when it faults its memory in",
        ),
    };
    lines.push(line("by collapse", by_collapse));
    lines.push(line("", meaning));
    lines
}

fn locked(out: &mut String, machine: &Machine) {
    let limit = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), units::bytes64);
    let Some(memlock) = machine.memlock else {
        section(out, "Locked memory", &[line("limit", UNKNOWN)]);
        return;
    };
    let mut lines = vec![
        line("limit", limit(memlock.soft)),
        line("may be raised to", limit(memlock.hard)),
    ];
    if memlock.soft.is_some() {
        lines.push(line(
            "to raise it",
            "in the shell that starts the program: ulimit -l unlimited",
        ));
        lines.push(line(
            "",
            "for a service: LimitMEMLOCK=infinity in its unit file",
        ));
        lines.push(line(
            "",
            "for a user: `<user> - memlock unlimited` in /etc/security/limits.conf",
        ));
        lines.push(line(
            "",
            "a process with CAP_IPC_LOCK may lock without a limit",
        ));
    }
    section(out, "Locked memory", &lines);
}

fn rseq(machine: &Machine) -> Vec<Line> {
    let state = match machine.rseq {
        Some(area) if area.size > 0 => format!(
            "registered by the C library: {} bytes, {} from the thread pointer",
            area.size, area.offset
        ),
        Some(_) => "known to the C library, but not registered (GLIBC_TUNABLES=glibc.pthread.rseq=0, or an old kernel): \
                    the pool registers its threads itself if the kernel lets it"
            .to_owned(),
        None => "not known to the C library (glibc has them from 2.35 on): \
                 the pool registers its threads itself if the kernel lets it"
            .to_owned(),
    };
    let (tried, meaning) = match machine.why_portable {
        None => (
            "the kernel restarted a sequence each time that it had to".to_owned(),
            "per-CPU caches use them, and need no locked instruction",
        ),
        Some(why) => (why.to_string(), "per-CPU caches work by compare-and-swap"),
    };
    vec![
        line("state", state),
        line("tried", tried),
        line("for the pool", meaning),
    ]
}

fn membarrier(machine: &Machine) -> Vec<Line> {
    let Some(commands) = &machine.membarrier else {
        return vec![line("commands", "none: the call is refused")];
    };
    commands
        .iter()
        .enumerate()
        .map(|(index, command)| line(if index == 0 { "commands" } else { "" }, *command))
        .collect()
}

fn numa(machine: &Machine) -> Vec<Line> {
    let placed = match machine.why_not_placed {
        None => "granted".to_owned(),
        Some(why) => format!("refused: {why}"),
    };
    if machine.nodes.is_empty() {
        return vec![
            line("nodes", "the kernel names none"),
            line("choice of nodes", placed),
        ];
    }
    let nodes = machine.nodes.iter().map(|node| {
        (
            format!("node {}", node.id),
            format!("{}, CPUs {}", size(node.bytes), node.cpus),
        )
    });
    let left_alone = match machine.why_not_placed {
        None => "a pool's are left alone",
        Some(_) => "a pool's, too",
    };
    let balancing = match machine.numa_balancing {
        None => UNKNOWN.to_owned(),
        Some(0) => "off: pages stay where they are".to_owned(),
        Some(_) => format!("on: pages are unmapped to see who uses them, and moved; {left_alone}"),
    };
    nodes
        .chain([
            line("balancing", balancing),
            line("choice of nodes", placed),
        ])
        .collect()
}

fn section(out: &mut String, title: &str, lines: &[Line]) {
    out.push_str(&format!("\n{title}\n"));
    let width = lines.iter().map(|line| line.0.chars().count()).max();
    let width = width.unwrap_or(0);
    for (name, value) in lines {
        out.push_str(&format!("  {name:<width$}  {value}\n"));
    }
}

fn line(name: &str, value: impl Into<String>) -> Line {
    (name.to_owned(), value.into())
}

fn known(value: Option<&str>) -> &str {
    value.unwrap_or(UNKNOWN)
}

fn count(value: Option<usize>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |count| count.to_string())
}

fn size(value: Option<u64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), units::bytes64)
}
