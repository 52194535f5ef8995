//! The doctor's report for programs: one JSON object, data throughout.
//!
//! Owns its keys, which are the names of the library's fields. Sizes are in bytes. Uses the findings; the doctor prints
//! it.

use hugepool::{ClassStats, ControlGroup, Machine, SegmentStats, Stats};
use serde_json::{Map, Value, json};

use super::Findings;
use super::holders::{Holder, Holders};
use super::trial::Trial;

/// The object, on one line.
pub fn report(findings: &Findings) -> String {
    let mut whole = machine(&findings.machine);
    whole.insert("holders".to_owned(), holders(&findings.holders));
    let trials: Vec<Value> = findings.trials.iter().map(trial).collect();
    whole.insert("trials".to_owned(), trials.into());
    let pool = match &findings.pool {
        Ok(stats) => pool(stats),
        Err(error) => json!({ "error": error }),
    };
    whole.insert("default_pool".to_owned(), pool);
    let advice = findings.advice.iter().map(
        |advice| json!({ "about": advice.about.name(), "aim": advice.aim, "how": advice.how }),
    );
    whole.insert("advice".to_owned(), advice.collect());
    format!("{}\n", Value::Object(whole))
}

fn machine(machine: &Machine) -> Map<String, Value> {
    let huge_pages: Vec<Value> = (machine.huge_pages.iter())
        .map(|pages| {
            json!({
                "bytes": pages.bytes,
                "total": pages.total,
                "free": pages.free,
                "reserved": pages.reserved,
                "surplus": pages.surplus,
            })
        })
        .collect();
    let policy = &machine.transparent;
    let nodes: Vec<Value> = (machine.nodes.iter())
        .map(|node| json!({ "id": node.id, "bytes": node.bytes, "cpus": node.cpus }))
        .collect();
    let whole = json!({
        "kernel": machine.kernel,
        "cpu_model": machine.cpu_model,
        "possible_cpus": machine.possible_cpus,
        "online_cpus": machine.online_cpus,
        "memory_total": machine.memory_total,
        "memory_available": machine.memory_available,
        "control_groups": machine.control_groups.iter().map(group).collect::<Vec<_>>(),
        "overcommit": machine.overcommit,
        "base_page": machine.base_page,
        "huge_pages": huge_pages,
        "transparent": {
            "enabled": policy.enabled,
            "size_enabled": policy.size_enabled,
            "defrag": policy.defrag,
            "shmem_enabled": policy.shmem_enabled,
            "size_shmem_enabled": policy.size_shmem_enabled,
        },
        "collapse": machine.collapse,
        "memlock": machine.memlock.map(|limit| json!({ "soft": limit.soft, "hard": limit.hard })),
        "rseq": machine.rseq.map(|area| json!({ "offset": area.offset, "size": area.size })),
        "membarrier": machine.membarrier,
        "why_portable": machine.why_portable.map(|why| why.to_string()),
        "nodes": nodes,
        "numa_balancing": machine.numa_balancing,
        "why_not_placed": machine.why_not_placed.map(|why| why.to_string()),
    });
    match whole {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn group(group: &ControlGroup) -> Value {
    let limits: Vec<Value> = (group.limits.iter())
        .map(|limit| {
            json!({
                "file": limit.file,
                "limit": limit.limit,
                "used": limit.used,
                "reclaimable": limit.reclaimable,
            })
        })
        .collect();
    json!({
        "controller": group.controller,
        "version": group.version,
        "group": group.group,
        "folder": group.folder,
        "limits": limits,
    })
}

fn holders(holders: &Holders) -> Value {
    let each = |holder: &Holder| {
        json!({
            "pid": holder.pid,
            "name": holder.name,
            "user": holder.user,
            "huge_bytes": holder.huge,
            "locked_bytes": holder.locked,
            "pinned_bytes": holder.pinned,
        })
    };
    json!({
        "processes": holders.found.iter().map(each).collect::<Vec<_>>(),
        "unseen": holders.unseen,
        "pinned_by_user": holders.pinned_by_user(),
    })
}

fn trial(trial: &Trial) -> Value {
    match &trial.outcome {
        Ok(granted) => json!({
            "required": trial.what,
            "granted": true,
            "mapped_bytes": granted.mapped,
            "huge_bytes": granted.huge,
            "locked_bytes": granted.locked,
        }),
        Err(error) => json!({ "required": trial.what, "granted": false, "error": error }),
    }
}

fn pool(stats: &Stats) -> Value {
    json!({
        "classes": stats.classes.iter().map(class).collect::<Vec<_>>(),
        "segments": stats.segments.iter().map(segment).collect::<Vec<_>>(),
        "waiting": stats.waiting,
        "metadata_bytes": stats.metadata_bytes,
        "held_bytes": stats.held_bytes,
        "address_space": stats.address_space,
        "cpus": stats.cpus,
        "cpus_in_use": stats.cpus_in_use,
        "cache": stats.cache,
        "why_portable": stats.why_portable.map(|why| why.to_string()),
    })
}

fn class(class: &ClassStats) -> Value {
    json!({
        "size": class.size,
        "alignment": class.alignment,
        "stride": class.stride,
        "capacity": class.capacity,
        "in_use": class.in_use,
        "cached": class.cached,
        "cache_capacity": class.cache_capacity,
        "high_water": class.high_water,
        "refills": class.refills,
        "flushes": class.flushes,
        "steals": class.steals,
        "climbs": class.climbs,
        "failures": class.failures,
    })
}

fn segment(segment: &SegmentStats) -> Value {
    json!({
        "address": segment.address,
        "bytes": segment.bytes,
        "buffers": segment.buffers,
        "class_size": segment.class_size,
        "class_alignment": segment.class_alignment,
        "pages": segment.pages.to_string(),
        "page_size": segment.page_size,
        "huge_bytes": segment.huge_bytes,
        "resident_bytes": segment.resident_bytes,
        "locked": segment.locked,
        "node": segment.node,
        "grown": segment.grown,
    })
}
