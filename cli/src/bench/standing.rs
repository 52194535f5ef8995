//! What a pool stood on while it was measured.
//!
//! Owns the reading of the pool's statistics into what a report says of them: the pages that the kernel granted, and the
//! kind of cache. The arenas make it, rows carry it.

use std::fmt;

use hugepool::{Pages, Stats};
use serde::{Deserialize, Serialize};

use crate::units;

/// The memory and the caches of one pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// `restartable` or `portable`.
    pub cache: String,
    /// One for each segment.
    pub pages: Vec<Granted>,
}

/// One segment of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// `huge-1g`, `huge-2m`, `transparent`, `collapsed` or `base`.
    pub kind: String,
    pub bytes: u64,
    /// Those of them that the kernel has on huge pages.
    pub huge_bytes: u64,
}

impl Standing {
    /// As the kernel reported it for each segment.
    pub fn of(stats: &Stats) -> Standing {
        let pages = stats.segments.iter().map(|segment| Granted {
            kind: name(segment.pages).to_owned(),
            bytes: segment.bytes as u64,
            huge_bytes: segment.huge_bytes as u64,
        });
        Standing {
            cache: stats.cache.to_owned(),
            pages: pages.collect(),
        }
    }

    /// The kinds of pages, each once.
    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.pages.iter().map(|part| part.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }
}

fn name(pages: Pages) -> &'static str {
    match pages {
        Pages::Huge1G => "huge-1g",
        Pages::Huge2M => "huge-2m",
        Pages::Transparent => "transparent",
        Pages::Collapsed => "collapsed",
        Pages::Base => "base",
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self
            .pages
            .iter()
            .map(|part| {
                let kind = match part.kind.as_str() {
                    "huge-1g" => "reserved 1 GiB pages",
                    "huge-2m" => "reserved 2 MiB pages",
                    "transparent" => "transparent huge pages",
                    "collapsed" => "collapsed huge pages",
                    "base" => "base pages",
                    other => other,
                };
                let [bytes, huge] = units::together64([part.bytes, part.huge_bytes]);
                format!("{bytes} on {kind}, {huge} of it huge")
            })
            .collect();
        write!(f, "{}; cache: {}", parts.join(" + "), self.cache)
    }
}
