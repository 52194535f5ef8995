//! Small pools built to see what the machine really grants.
//!
//! Owns the trials: one pool for each kind of page with nothing else allowed, shared ones for the kinds that the
//! administrator's switches for shared memory are about, one locked in memory, and the default.
//! Uses the library's builder; each pool is gone before the next is built.

use hugepool::share::Access;
use hugepool::{Builder, Pages, Pool, Rung, SegmentStats, Stats};

use crate::units::{KIB, MIB};

/// What the last trial requires.
const LOCKED: &str = "locked memory";

/// One trial.
#[derive(Debug)]
pub struct Trial {
    /// What was required.
    pub what: &'static str,
    /// What the pool obtained, or the builder's error.
    pub outcome: Result<Granted, String>,
}

/// Bytes of a pool's segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub mapped: usize,
    pub huge: usize,
    pub locked: usize,
}

impl Granted {
    fn of(stats: &Stats) -> Granted {
        let sum = |bytes: fn(&SegmentStats) -> usize| stats.segments.iter().map(bytes).sum();
        Granted {
            mapped: sum(|segment| segment.bytes),
            huge: sum(|segment| segment.huge_bytes),
            locked: sum(|segment| if segment.locked { segment.bytes } else { 0 }),
        }
    }
}

/// Requires each kind of page in turn, then transparent huge pages of shared memory, then locked memory.
pub fn ladder() -> Vec<Trial> {
    let trial = |what, required, builder| Trial {
        what,
        outcome: require(required, builder).map(|pool| Granted::of(&pool.stats())),
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
        what: LOCKED,
        outcome: locked
            .map_err(|error| error.to_string())
            .map(|pool| Granted::of(&pool.stats()))
            .and_then(|granted| match granted.locked {
                0 => Err("the pool was built unlocked".to_owned()),
                _ => Ok(granted),
            }),
    });
    trials
}

/// A pool as an engine would build it: 64 KiB and 1 MiB buffers, nothing else asked for. The error is the builder's.
pub fn default_pool() -> Result<Stats, String> {
    Pool::builder()
        .reserve(64 * KIB, 4 * KIB, 64)
        .reserve(MIB, 4 * KIB, 8)
        .build()
        .map(|pool| pool.stats())
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
