//! The one door to concurrency.
//!
//! Owns: which atomics, fences and yields the library runs on — the
//! processor's, loom's under `--cfg hugepool_loom`, or such as count under
//! `--cfg hugepool_counted` — and the switch that
//! plants a deliberate fault for a model's broken twin. Uses: nothing of the
//! library. Used by: every module that shares a word between threads; no other
//! module names `std::sync` or `core::sync` (`tests/structure.rs` keeps it so).

#[cfg(hugepool_counted)]
pub mod counted;
#[cfg(hugepool_loom)]
mod model;
#[cfg(not(hugepool_loom))]
mod native;

#[cfg(hugepool_loom)]
pub use model::*;
#[cfg(not(hugepool_loom))]
pub use native::*;

/// Makes the page of `word` present for writing, and changes nothing. (Adding
/// zero would not do: the compiler drops it.)
#[cfg_attr(hugepool_loom, allow(dead_code))]
pub fn touch(word: &AtomicU64) {
    // Relaxed: no data depends on it. Whether it succeeds does not matter.
    let _ = word.compare_exchange(0, 0, Ordering::Relaxed, Ordering::Relaxed);
}

/// `fault!(Name, broken, right)` is `right`. Under loom it is `broken` while
/// the running model has planted the fault `Name`: this is how a model's broken
/// twin runs the very code that the library ships, less one ordering, tag or
/// step.
macro_rules! fault {
    ($name:ident, $broken:expr, $right:expr) => {{
        #[cfg(hugepool_loom)]
        {
            if $crate::sync::is_planted($crate::sync::Fault::$name) {
                $broken
            } else {
                $right
            }
        }
        #[cfg(not(hugepool_loom))]
        {
            $right
        }
    }};
}
pub(crate) use fault;
