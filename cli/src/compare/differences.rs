//! What two results do not have in common, besides their figures.
//!
//! Owns the list and its words. Uses what was read; `compare` prints it as warnings, since figures that were got in two
//! ways may differ for that alone.

use std::collections::BTreeSet;
use std::fmt::Debug;

use super::read::{Record, ResultFile};

/// Every difference, in words that name both values.
pub fn differences(before: &ResultFile, after: &ResultFile) -> Vec<String> {
    let mut found = Found(Vec::new());
    let [a, b] = [before, after].map(|file| &file.origin);
    let [ma, mb] = [a, b].map(|origin| &origin.machine);
    found.compare("processor", &ma.cpu_model, &mb.cpu_model);
    found.compare("processors online", &ma.online_cpus, &mb.online_cpus);
    found.compare("processors to be used", &ma.allowed_cpus, &mb.allowed_cpus);
    found.compare("nodes", &ma.nodes, &mb.nodes);
    found.compare("bytes of memory", &ma.memory_bytes, &mb.memory_bytes);
    found.compare("kernel", &ma.kernel, &mb.kernel);
    found.compare(
        "policy for transparent huge pages",
        &ma.transparent,
        &mb.transparent,
    );
    found.compare("kinds of caches", &before.caches, &after.caches);
    let names: BTreeSet<&String> = a.versions.keys().chain(b.versions.keys()).collect();
    for name in names {
        let versions = [a, b].map(|origin| origin.versions.get(name));
        // Who took part in one run only is told by the rows.
        if let [Some(first), Some(second)] = versions {
            found.compare(&format!("version of {name}"), first, second);
        }
    }
    let [oa, ob] = [a, b].map(|origin| &origin.options);
    found.compare("--patterns", &oa.patterns, &ob.patterns);
    found.compare("--shapes", &oa.shapes, &ob.shapes);
    found.compare("--sizes", &oa.sizes, &ob.sizes);
    found.compare("--alignment", &oa.alignment, &ob.alignment);
    found.compare("--threads", &oa.threads, &ob.threads);
    found.compare("--pipelines", &oa.pipelines, &ob.pipelines);
    found.compare("--rounds", &oa.rounds, &ob.rounds);
    found.compare("--rivals", &oa.rivals, &ob.rivals);
    found.compare("--millis", &oa.millis, &ob.millis);
    found.compare("--memory", &oa.memory, &ob.memory);
    found.compare("--pages", &oa.pages, &ob.pages);
    found.compare("--warm-up", &oa.warm_up_millis, &ob.warm_up_millis);
    found.compare("--cpus", &oa.cpus, &ob.cpus);
    found.compare("--nodes", &oa.nodes, &ob.nodes);
    found.compare("--handicap", &oa.handicap, &ob.handicap);
    for first in &before.rows {
        let second = after.rows.iter().find(|record| record.key == first.key);
        if let Some(second) = second {
            found.rows(first, second);
        }
    }
    found.0
}

struct Found(Vec<String>);

impl Found {
    fn compare<T: PartialEq + Debug>(&mut self, what: &str, before: &T, after: &T) {
        if before != after {
            let [before, after] = [before, after].map(|value| shown(&format!("{value:?}")));
            self.0
                .push(format!("{what}: {before} before, {after} after"));
        }
    }

    fn rows(&mut self, before: &Record, after: &Record) {
        let key = &before.key;
        self.compare(&format!("{key}: buffers"), &before.buffers, &after.buffers);
        let [first, second] = [before, after].map(|record| {
            let kinds = record.standing.iter().flat_map(|standing| standing.kinds());
            kinds.collect::<BTreeSet<&str>>()
        });
        self.compare(&format!("{key}: kinds of pages"), &first, &second);
    }
}

/// A value as people write it: `None` is unknown, and texts have no quotes.
fn shown(value: &str) -> String {
    let value = value
        .strip_prefix("Some(")
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or(value);
    match value {
        "None" | "[]" | "{}" => "none".to_owned(),
        value => value.replace('"', ""),
    }
}
