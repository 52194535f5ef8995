//! What the benches share: how long they measure, how they name a size, and how
//! they say that something could not be measured here.

use criterion::Criterion;
use hugepool::{BuildError, Builder, Pool};
use std::time::Duration;

/// Few and short samples, so that a complete `cargo bench` stays below four
/// minutes. Say `--sample-size`, `--measurement-time` for more.
pub fn config() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
        .nresamples(5_000)
}

/// `bytes` as the names of the benches write it: `64KiB`.
pub fn label(bytes: usize) -> String {
    match bytes.trailing_zeros() {
        30.. => format!("{}GiB", bytes >> 30),
        20.. => format!("{}MiB", bytes >> 20),
        10.. => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes}B"),
    }
}

/// Says on standard output that `what` is not measured, and why.
pub fn skipped(what: &str, why: &dyn std::fmt::Display) {
    println!("{what:<40} skipped: {why}");
}

/// The pool that `builder` describes; if the machine does not grant it, says so.
pub fn build(what: &str, builder: &Builder) -> Option<Pool> {
    builder
        .build()
        .inspect_err(|error: &BuildError| skipped(what, error))
        .ok()
}
