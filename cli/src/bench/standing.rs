//! What a rival stood on while it was measured.
//!
//! Owns the reading of the library's statistics into what a report says of them: the pages that the kernel granted, the
//! node that they are on, and the kind of cache. The arenas make it, rows carry it.

use std::fmt;

use hugepool::Stats;
use serde::{Deserialize, Serialize};

use crate::rival::pages;
use crate::units::{self, present};

/// The memory of a rival that was mapped here, and the caches of one of this pool's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// `restartable` or `portable`; `None` of a rival that is not this pool.
    #[serde(deserialize_with = "present")]
    pub cache: Option<String>,
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
    /// The NUMA node of the first page, if the kernel says.
    #[serde(deserialize_with = "present")]
    pub node: Option<u32>,
}

impl Standing {
    /// Of a pool, as the kernel reported it for each segment.
    pub fn of(stats: &Stats) -> Standing {
        Standing {
            cache: Some(stats.cache.to_owned()),
            ..Standing::of_memory([stats])
        }
    }

    /// The same of memory alone.
    pub fn of_memory<'s>(stats: impl IntoIterator<Item = &'s Stats>) -> Standing {
        let segments = stats.into_iter().flat_map(|stats| &stats.segments);
        let pages = segments.map(|segment| Granted {
            kind: pages::name(segment.pages).to_owned(),
            bytes: segment.bytes as u64,
            huge_bytes: segment.huge_bytes as u64,
            node: segment.node,
        });
        Standing {
            cache: None,
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
                let node = part.node;
                let node = node.map_or_else(String::new, |node| format!(", on node {node}"));
                format!("{bytes} on {kind}, {huge} of it huge{node}")
            })
            .collect();
        f.write_str(&parts.join(" + "))?;
        match &self.cache {
            Some(cache) => write!(f, "; cache: {cache}"),
            None => Ok(()),
        }
    }
}
