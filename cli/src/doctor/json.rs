//! The doctor's report for programs: one JSON object.
//!
//! Owns its keys, which are the machine's field names. Uses the machine's fields and the trials; the doctor prints it.

use hugepool::Machine;

use super::trial::Trial;
use crate::report::json_string;

/// The object, on one line.
pub fn report(machine: &Machine, trials: &[Trial], pool: &Result<String, String>) -> String {
    let huge_pages = machine.huge_pages.iter().map(|pages| {
        object(&[
            ("bytes", pages.bytes.to_string()),
            ("total", pages.total.to_string()),
            ("free", pages.free.to_string()),
            ("reserved", pages.reserved.to_string()),
            ("surplus", pages.surplus.to_string()),
        ])
    });
    let groups = machine.control_groups.iter().map(|group| {
        let limits = group.limits.iter().map(|limit| {
            object(&[
                ("file", json_string(&limit.file)),
                ("limit", limit.limit.to_string()),
                ("used", limit.used.to_string()),
                ("reclaimable", limit.reclaimable.to_string()),
            ])
        });
        object(&[
            ("controller", json_string(group.controller)),
            ("version", group.version.to_string()),
            ("group", text(group.group.as_deref())),
            ("folder", json_string(&group.folder)),
            ("limits", array(limits)),
        ])
    });
    let policy = &machine.transparent;
    let transparent = object(&[
        ("enabled", text(policy.enabled.as_deref())),
        ("size_enabled", text(policy.size_enabled.as_deref())),
        ("defrag", text(policy.defrag.as_deref())),
        ("shmem_enabled", text(policy.shmem_enabled.as_deref())),
        (
            "size_shmem_enabled",
            text(policy.size_shmem_enabled.as_deref()),
        ),
    ]);
    let memlock = machine
        .memlock
        .map(|limit| object(&[("soft", value(limit.soft)), ("hard", value(limit.hard))]));
    let nodes = machine.nodes.iter().map(|node| {
        object(&[
            ("id", node.id.to_string()),
            ("bytes", value(node.bytes)),
            ("cpus", json_string(&node.cpus)),
        ])
    });
    let rseq = machine.rseq.map(|area| {
        object(&[
            ("offset", area.offset.to_string()),
            ("size", area.size.to_string()),
        ])
    });
    let membarrier = machine
        .membarrier
        .as_ref()
        .map(|commands| array(commands.iter().map(|name| json_string(name))));
    let trials = trials.iter().map(|trial| {
        object(&[
            ("required", json_string(trial.what)),
            ("granted", trial.outcome.is_ok().to_string()),
            ("outcome", either(&trial.outcome)),
        ])
    });
    let whole = object(&[
        ("kernel", text(machine.kernel.as_deref())),
        ("cpu_model", text(machine.cpu_model.as_deref())),
        ("possible_cpus", value(machine.possible_cpus)),
        ("online_cpus", value(machine.online_cpus)),
        ("memory_total", value(machine.memory_total)),
        ("memory_available", value(machine.memory_available)),
        ("control_groups", array(groups)),
        ("overcommit", value(machine.overcommit)),
        ("base_page", machine.base_page.to_string()),
        ("huge_pages", array(huge_pages)),
        ("transparent", transparent),
        ("collapse", machine.collapse.to_string()),
        ("memlock", value(memlock)),
        ("rseq", value(rseq)),
        ("membarrier", value(membarrier)),
        (
            "why_portable",
            text(machine.why_portable.map(|why| why.to_string()).as_deref()),
        ),
        ("nodes", array(nodes)),
        ("numa_balancing", value(machine.numa_balancing)),
        (
            "why_not_placed",
            text(machine.why_not_placed.map(|why| why.to_string()).as_deref()),
        ),
        ("trials", array(trials)),
        ("default_pool", either(pool)),
    ]);
    format!("{whole}\n")
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}:{value}", json_string(name)))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn array(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.collect();
    format!("[{}]", values.join(","))
}

/// What is JSON already, or `null`.
fn value(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

fn text(text: Option<&str>) -> String {
    value(text.map(json_string))
}

fn either(outcome: &Result<String, String>) -> String {
    match outcome {
        Ok(words) | Err(words) => json_string(words),
    }
}
