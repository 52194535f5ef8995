//! The doctor's report for people: aligned sections, with the commands that would change what they say.
//!
//! Owns the wording. Uses the findings; the doctor prints it.

use hugepool::Machine;

use super::Findings;
use super::advice::{About, Advice, inherits_not};
use super::holders::Holders;
use super::trial::Granted;
use crate::report::align;
use crate::units;

const UNKNOWN: &str = "unknown";
/// Processes that are named at the most.
const NAMED: usize = 12;

/// All sections.
pub fn report(findings: &Findings) -> String {
    let Findings {
        machine, advice, ..
    } = findings;
    let with = |mut lines: Vec<Line>, about| {
        lines.extend(advised(advice, about));
        lines
    };
    let mut out = String::from("hugepool doctor\n");
    let lines = with(this_machine(machine), About::Overcommit);
    section(&mut out, "Machine", &lines);
    let lines = with(control_groups(machine), About::ControlGroups);
    section(&mut out, "Control groups", &lines);
    huge_pages(&mut out, machine, advice);
    section(
        &mut out,
        "Transparent huge pages",
        &transparent(machine, advice),
    );
    section(
        &mut out,
        "Locked memory",
        &with(locked(machine), About::Memlock),
    );
    section(
        &mut out,
        "What other processes hold",
        &holders(machine, &findings.holders),
    );
    let lines = with(rseq(machine), About::Sequences);
    section(&mut out, "Restartable sequences", &lines);
    let lines = with(membarrier(machine), About::Membarrier);
    section(&mut out, "Membarrier", &lines);
    section(&mut out, "NUMA", &with(numa(machine), About::Nodes));
    let trials = findings.trials.iter().map(|trial| {
        let outcome = match &trial.outcome {
            Ok(granted) => obtained(*granted),
            Err(error) => format!("refused: {error}"),
        };
        (trial.what.to_owned(), outcome)
    });
    section(
        &mut out,
        "What the pool is granted when it requires",
        &trials.collect::<Vec<_>>(),
    );
    out.push_str("\nWhat the pool obtains by default\n");
    match &findings.pool {
        Ok(stats) => {
            for line in stats.to_string().lines() {
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
    let memory = match (machine.memory_total, machine.memory_available) {
        (Some(total), Some(available)) => {
            let [total, available] = units::together64([total, available]);
            format!("{total} total, {available} available")
        }
        (total, available) => format!("{} total, {} available", size(total), size(available)),
    };
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
            let [most, used, reclaimable] =
                units::together64([limit.limit, limit.used, limit.reclaimable]);
            let mut words = format!("{}: {most}, {used} used", limit.file);
            if limit.reclaimable > 0 {
                words.push_str(&format!(", {reclaimable} of it given up on demand"));
            }
            lines.push(line("", words));
        }
    }
    lines
}

fn huge_pages(out: &mut String, machine: &Machine, advice: &[Advice]) {
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
    out.push_str(&aligned(
        &advised(advice, About::HugePages).collect::<Vec<_>>(),
    ));
}

fn transparent(machine: &Machine, advice: &[Advice]) -> Vec<Line> {
    let policy = &machine.transparent;
    let own = inherits_not(policy.size_enabled.as_deref());
    let mut lines = vec![line("enabled", known(policy.enabled.as_deref()))];
    lines.extend(own.map(|own| line("for their size", own)));
    lines.push(line("defrag", known(policy.defrag.as_deref())));
    lines.push(line(
        "shared memory",
        known(policy.shmem_enabled.as_deref()),
    ));
    let shared = inherits_not(policy.size_shmem_enabled.as_deref());
    lines.extend(shared.map(|own| line("for their size", own)));
    if !matches!(
        (own, policy.enabled.as_deref()),
        (Some("never"), _) | (None, None | Some("never"))
    ) {
        lines.push(line("for the pool", "it asks for them itself (madvise)"));
    }
    for about in [About::Transparent, About::SharedTransparent] {
        lines.extend(advised(advice, about));
    }
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

fn locked(machine: &Machine) -> Vec<Line> {
    let limit = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), units::bytes64);
    match machine.memlock {
        None => vec![line("limit", UNKNOWN)],
        Some(memlock) => vec![
            line("limit", limit(memlock.soft)),
            line("may be raised to", limit(memlock.hard)),
        ],
    }
}

fn holders(machine: &Machine, holders: &Holders) -> Vec<Line> {
    let mut lines = Vec::new();
    for holder in holders.found.iter().take(NAMED) {
        let mut held = Vec::new();
        for (bytes, how) in [
            (holder.huge, "in reserved huge pages"),
            (holder.locked, "locked"),
            (holder.pinned, "pinned (io_uring, devices)"),
        ] {
            if bytes > 0 {
                held.push(format!("{} {how}", units::bytes64(bytes)));
            }
        }
        let name = format!("{} ({})", holder.name, holder.pid);
        lines.push((name, held.join(", ")));
    }
    if lines.is_empty() {
        lines.push(line("processes", "none holds any that can be seen"));
    }
    let more = holders.found.len().saturating_sub(NAMED);
    if more > 0 {
        lines.push(line("", format!("{more} more, each with less")));
    }
    if holders.unseen > 0 {
        lines.push(line(
            "unseen",
            format!(
                "{} processes, whose state only root may read",
                holders.unseen
            ),
        ));
    }
    // Some pages are in files that nobody has mapped, or are shared by several.
    let taken: u64 = (machine.huge_pages.iter())
        .map(|pages| (pages.total.saturating_sub(pages.free)).saturating_mul(pages.bytes as u64))
        .sum();
    let held: u64 = holders.found.iter().map(|holder| holder.huge).sum();
    if taken > held {
        let [all, left] = units::together64([taken, taken - held]);
        lines.push(line(
            "huge pages",
            format!("{all} are taken; {left} of it by none of these: by files that nobody has mapped, perhaps"),
        ));
    }
    let pinned = holders.pinned_by_user();
    if pinned > 0 {
        let words = match machine.memlock.and_then(|limit| limit.soft) {
            None => format!("{} by this user", units::bytes64(pinned)),
            Some(limit) => {
                let [pinned, limit] = units::together64([pinned, limit]);
                format!("{pinned} by this user, whose limit for all that io_uring pins is {limit}")
            }
        };
        lines.push(line("pinned", words));
    }
    lines
}

/// The advice about something, as lines.
fn advised(advice: &[Advice], about: About) -> impl Iterator<Item = Line> {
    let about = advice.iter().filter(move |advice| advice.about == about);
    about.map(|advice| (advice.aim.clone(), advice.how.clone()))
}

fn obtained(granted: Granted) -> String {
    let Granted {
        mapped,
        huge,
        locked,
    } = granted;
    let [all, huge, locked_bytes] = units::together([mapped, huge, locked]);
    match locked {
        0 => format!("granted: {all} mapped, {huge} of it huge"),
        _ => format!("granted: {all} mapped, {huge} of it huge, {locked_bytes} locked"),
    }
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
    out.push_str(&aligned(lines));
}

fn aligned(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.0.chars().count()).max();
    let width = width.unwrap_or(0);
    let lines = lines.iter();
    lines
        .map(|(name, value)| format!("  {name:<width$}  {value}\n"))
        .collect()
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
