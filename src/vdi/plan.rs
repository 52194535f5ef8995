//! What is known of a set, and declared, before its buffers are mapped.
//!
//! Owns: the plan. Uses: `config`. Used by: `set`, which replaces it as a whole.

use super::config::Config;

/// How far the plan is. It follows the stage: who has moved that on moves this on
/// next, and until then a call that needs the later phase comes too early.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Phase {
    #[default]
    New,
    /// The client's wishes are known.
    Opened,
    /// The server's parameters are fixed.
    Begun,
    /// The buffers are being mapped, or are.
    Sealed,
}

/// What is known and declared before the buffers are mapped.
#[derive(Clone, Default)]
pub(super) struct Plan {
    pub phase: Phase,
    pub config: Config,
    /// Size, alignment and count, each pair of sizes and alignments once.
    pub requests: Vec<(usize, usize, usize)>,
}

impl Plan {
    /// With `count` more buffers.
    pub fn with(&self, size: usize, alignment: usize, count: usize) -> Self {
        let mut next = self.clone();
        let same =
            |request: &&mut (usize, usize, usize)| (request.0, request.1) == (size, alignment);
        match next.requests.iter_mut().find(same) {
            Some(request) => request.2 = request.2.saturating_add(count),
            None => next.requests.push((size, alignment, count)),
        }
        next
    }
}
