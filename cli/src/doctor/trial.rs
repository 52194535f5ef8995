//! Small pools built to see what the machine really grants.
//!
//! Owns the trials: one pool for each kind of page with nothing else allowed, one locked in memory, and the default.
//! Uses the library's builder; each pool is gone before the next is built.

use hugepool::{Pages, Pool, Rung, Stats};

use crate::units::{KIB, MIB};

/// One trial.
#[derive(Debug)]
pub struct Trial {
    /// What was required.
    pub what: &'static str,
    /// What came of it: what the pool obtained, or the builder's error.
    pub outcome: Result<String, String>,
}

const LADDER: [Pages; 4] = [
    Pages::Huge1G,
    Pages::Huge2M,
    Pages::Transparent,
    Pages::Base,
];

/// Requires each kind of page in turn, then locked memory.
pub fn ladder() -> Vec<Trial> {
    let mut trials: Vec<Trial> = LADDER
        .into_iter()
        .map(|required| Trial {
            what: name(required),
            outcome: require(required).map(|pool| obtained(&pool.stats())),
        })
        .collect();
    let locked = small().prefault(true).lock(true).build();
    trials.push(Trial {
        what: "locked memory",
        outcome: locked
            .map(|pool| locked_bytes(&pool.stats()))
            .map_err(|error| error.to_string()),
    });
    trials
}

/// A pool as an engine would build it: 64 KiB and 1 MiB buffers, nothing else asked for. The error is the builder's.
pub fn default_pool() -> Result<String, String> {
    Pool::builder()
        .reserve(64 * KIB, 4 * KIB, 64)
        .reserve(MIB, 4 * KIB, 8)
        .build()
        .map(|pool| pool.stats().to_string())
        .map_err(|error| error.to_string())
}

/// The name of a kind of page.
pub fn name(pages: Pages) -> &'static str {
    match pages {
        Pages::Huge1G => "reserved 1 GiB pages",
        Pages::Huge2M => "reserved 2 MiB pages",
        Pages::Transparent => "transparent huge pages",
        Pages::Base => "base pages",
    }
}

/// Buffers that fill one 2 MiB page.
fn small() -> hugepool::Builder {
    Pool::builder().reserve(64 * KIB, 4 * KIB, 32)
}

fn require(required: Pages) -> Result<Pool, String> {
    LADDER
        .into_iter()
        .fold(small().prefault(true), |builder, pages| {
            let rung = if pages == required {
                Rung::Require
            } else {
                Rung::Never
            };
            builder.pages(pages, rung)
        })
        .build()
        .map_err(|error| error.to_string())
}

fn obtained(stats: &Stats) -> String {
    let huge: usize = stats
        .segments
        .iter()
        .map(|segment| segment.huge_bytes)
        .sum();
    let bytes: usize = stats.segments.iter().map(|segment| segment.bytes).sum();
    format!(
        "granted: {} mapped, {} of it huge",
        crate::units::bytes(bytes),
        crate::units::bytes(huge)
    )
}

fn locked_bytes(stats: &Stats) -> String {
    let locked = stats.segments.iter().filter(|segment| segment.locked);
    let bytes: usize = locked.map(|segment| segment.bytes).sum();
    if bytes == 0 {
        "not granted: the pool was built unlocked".to_owned()
    } else {
        format!("granted: {} locked", crate::units::bytes(bytes))
    }
}
