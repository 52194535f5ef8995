//! How the last buffer finds out that it is the last.
//!
//! Owns: the counter of buffers that were out when the pool closed. Uses:
//! `sync`. Used by: `lists`.
//!
//! While the pool is open nobody touches the counter: that is why a free pays
//! nothing for it. A closing pool first closes every list (each closing counts
//! what was home in it), and then adds the number that were not home. A buffer
//! whose push met a closed list subtracts itself here instead. Both sides add
//! to one word, so they may come in any order:
//!
//! ```text
//!   closer: close lists … settle(+out)        sum = 0 exactly when the closer
//!   buffer:     push refused → came(-1)       has settled and every buffer that
//!   buffer:         push refused → came(-1)   was out has come
//! ```
//!
//! The sum is negative while buffers come before the closer settles and
//! positive while they come after it. It reaches zero by an addition exactly
//! once, and whoever makes that addition is the only thread that still knows of
//! the pool.

use crate::sync::{AtomicI64, Ordering, fault};

/// Buffers that come home after the lists were closed.
#[derive(Default)]
pub struct Home {
    /// Changed by `settle` once and by `came` once a late push. AcqRel on both:
    /// each releases what its thread did with the pool and its buffers, and the
    /// one that reaches zero acquires all of it before it unmaps the memory.
    balance: AtomicI64,
}

impl Home {
    /// `count` buffers came to a closed list. True if they were the last ones:
    /// the caller must then tear the pool down. Otherwise this was the caller's
    /// last touch of the pool.
    #[must_use]
    pub fn came(&self, count: u64) -> bool {
        let count = count as i64;
        self.balance.fetch_sub(count, Ordering::AcqRel) == count
    }

    /// The lists are closed and `out` buffers were not in them. True if they
    /// have all come meanwhile, or there were none: the caller must tear the
    /// pool down. Otherwise this was the caller's last touch of the pool.
    #[must_use]
    pub fn settle(&self, out: u64) -> bool {
        let out = out as i64;
        fault!(
            SettleStores,
            {
                self.balance.store(out, Ordering::Release);
                out == 0
            },
            self.balance.fetch_add(out, Ordering::AcqRel) == -out
        )
    }
}
