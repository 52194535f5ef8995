//! How long a pool lives: its handles, and then its last buffer.
//!
//! Owns: the count of handles, and the counter of buffers that were out when
//! there were none left. Uses: `sync`. Used by: `lists`, `pool`.
//!
//! Whoever holds a handle may touch the pool. Whoever holds a buffer may, too,
//! until it is home; to touch the pool after that it needs a handle for the
//! while (`visit`), which it can have as long as there is another.
//!
//! Once there are no handles the lists are closed. While the pool is open nobody
//! touches the counter of late buffers: that is why a free pays nothing for it. A closing pool first closes every list (each closing counts
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

use crate::sync::{AtomicI64, AtomicUsize, Ordering, fault, fence};

/// The handles of a pool, and the buffers that come home after the last one.
pub struct Home {
    /// Handles. Grown with Relaxed (there is one already), shrunk with Release;
    /// the last one acquires what the others did. It stays at zero.
    handles: AtomicUsize,
    /// Changed by `settle` once and by `came` once a late push. AcqRel on both:
    /// each releases what its thread did with the pool and its buffers, and the
    /// one that reaches zero acquires all of it before it unmaps the memory.
    balance: AtomicI64,
}

impl Default for Home {
    /// With one handle.
    fn default() -> Self {
        Self {
            handles: AtomicUsize::new(1),
            balance: AtomicI64::new(0),
        }
    }
}

impl Home {
    /// One handle more. The caller holds one.
    pub fn enter(&self) {
        // Relaxed: see `handles`.
        let before = self.handles.fetch_add(1, Ordering::Relaxed);
        if before > isize::MAX as usize {
            // So many handles can only have been leaked; going on would let the
            // count wrap and free a pool that is in use.
            std::process::abort();
        }
    }

    /// One handle more if there is one. The caller holds a buffer, so the pool
    /// is still there. False: the pool is closing or closed.
    #[must_use]
    pub fn visit(&self) -> bool {
        let mut handles = self.handles.load(Ordering::Relaxed);
        while fault!(VisitBlind, true, handles > 0) {
            // Relaxed: see `handles`.
            match self.handles.compare_exchange_weak(
                handles,
                fault!(VisitorsDoNotCount, handles, handles + 1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => handles = now,
            }
        }
        false
    }

    /// One handle fewer. True if it was the last: the caller must close the pool.
    /// Otherwise this was the caller's last touch of the pool.
    #[must_use]
    pub fn leave(&self) -> bool {
        // Release: what was done through this handle comes before the closing.
        let order = fault!(LeaveRelaxed, Ordering::Relaxed, Ordering::Release);
        let last = self.handles.fetch_sub(1, order) == 1;
        if last {
            // Acquire: pairs with the Release of every other handle.
            fence(Ordering::Acquire);
        }
        last
    }

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
