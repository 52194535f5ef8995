//! Small pools built to see what the machine really grants.
//!
//! Owns the trials: one pool for each kind of page with nothing else allowed, shared ones for the kinds that the
//! administrator's switches for shared memory are about, one locked in memory, and the default.
//! Uses the library's builder; each pool is gone before the next is built.

use hugepool::share::Access;
use hugepool::{Builder, Pages, Pool, Rung, Stats};

use crate::units::{KIB, MIB};

/// One trial.
#[derive(Debug)]
pub struct Trial {
    /// What was required.
    pub what: &'static str,
    /// What came of it: what the pool obtained, or the builder's error.
    pub outcome: Result<String, String>,
}

/// Requires each kind of page in turn, then transparent huge pages of shared memory, then locked memory.
pub fn ladder() -> Vec<Trial> {
    let trial = |what, required, builder| Trial {
        what,
        outcome: require(required, builder).map(|pool| obtained(&pool.stats())),
    };
    let mut trials: Vec<Trial> = Pages::ALL
        .into_iter()
        .map(|required| trial(name(required), required, small()))
        .collect();
    for (what, required) in [
        ("shared: transparent", Pages::Transparent),
        ("shared: collapsed", Pages::Collapsed),
    ] {
        trials.push(trial(what, required, small().shared(Access::Read)));
    }
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
        Pages::Collapsed => "collapsed huge pages",
        Pages::Base => "base pages",
    }
}

/// Buffers that fill one 2 MiB page.
fn small() -> Builder {
    Pool::builder().reserve(64 * KIB, 4 * KIB, 32)
}

fn require(required: Pages, builder: Builder) -> Result<Pool, String> {
    Pages::ALL
        .into_iter()
        .fold(builder.prefault(true), |builder, pages| {
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
