//! How much memory the process holds.
//!
//! Owns the reading of `/proc/self/smaps_rollup`, and the workers' preparation for it. `rounds` takes differences of it,
//! outside of the clock.

use std::fs;
use std::sync::Arc;

use super::clock;
use super::crew::Crew;

/// Bytes of the process's own memory that are resident: on ordinary pages and on reserved huge ones. Neither files nor
/// what nobody has touched counts. `None`: the system does not say.
pub fn now() -> Option<u64> {
    fs::read_to_string("/proc/self/smaps_rollup")
        .ok()
        .as_deref()
        .and_then(sum)
}

fn sum(text: &str) -> Option<u64> {
    let kilobytes = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let ordinary = kilobytes("Anonymous:")?;
    // Kernels without reserved pages say nothing of them.
    let huge = ["Private_Hugetlb:", "Shared_Hugetlb:"].map(|name| kilobytes(name).unwrap_or(0));
    (ordinary + huge[0] + huge[1]).checked_mul(1024)
}

/// Has each worker allocate, touch and give back what the benchmark itself needs in a window. The allocator keeps that, and
/// no rival's first visit is charged with it.
pub fn prepare(crew: &Crew, workers: usize) {
    let touch = |_| {
        let mut latencies = [clock::latencies(), clock::latencies()];
        for latencies in &mut latencies {
            latencies.reset();
        }
        latencies.len()
    };
    crew.run(workers, Arc::new(touch));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_and_reserved_pages_are_added_up() {
        let text = "5582-7ffc ---p 00000000 00:00 0    [rollup]\nRss:   5000 kB\nAnonymous:     1200 kB\n\
                    AnonHugePages:   1024 kB\nShared_Hugetlb:      2048 kB\nPrivate_Hugetlb:     4096 kB\n";
        assert_eq!(sum(text), Some(1024 * (1200 + 2048 + 4096)));
        assert_eq!(sum("Anonymous: 4 kB\n"), Some(4096));
        for nothing in ["", "Rss: 4 kB\n", "Anonymous: much\n", "Anonymous: -4 kB\n"] {
            assert_eq!(sum(nothing), None, "{nothing}");
        }
    }
}
