//! What every model needs: the runner, and the bookkeeping of who holds which
//! buffer.
//!
//! A model is a small program over the library's own modules (`hugepool::model`)
//! that loom runs under every schedule and every outcome of weak memory, up to a
//! bound on preemptions. It names the faults that must make it fail: for each of
//! them the very same program is run again with that fault planted in the
//! library, and the check passes only if loom then finds a failure. A model that
//! no fault can break would prove nothing.
#![cfg(hugepool_loom)]
#![deny(missing_docs)]

mod buffers;
mod caches;
mod guarded;
mod kind;
mod quarantine;
mod runner;
mod shelf;
mod streamed;

pub use buffers::Buffers;
pub use caches::{Caches, ROOMY};
pub use guarded::Guarded;
pub use kind::Kind;
pub use runner::{Model, spawn};
pub use shelf::Shelf;
pub use streamed::{Streamed, Taken, begin_stream};

#[doc(no_inline)]
pub use hugepool::model::{Portable, Restartable};

/// Makes each of the named functions, which return a [`Model`], a test, and
/// lists them all in `MODELS`.
#[macro_export]
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        /// The models of this file.
        pub const MODELS: &[fn() -> $crate::Model] = &[$($name),+];

        mod tests {
            $(
                #[test]
                fn $name() {
                    super::$name().check(stringify!($name));
                }
            )+
        }
    };
}

/// As [`tests!`], for functions that are generic over the [`Kind`] of cache:
/// each is a test on portable caches and one on restartable ones.
#[macro_export]
macro_rules! tests_of_each_kind {
    ($($name:ident),+ $(,)?) => {
        /// The models of this file.
        pub const MODELS: &[fn() -> $crate::Model] =
            &[$($name::<$crate::Portable>, $name::<$crate::Restartable>),+];

        mod portable {
            $(
                #[test]
                fn $name() {
                    super::$name::<$crate::Portable>()
                        .check(concat!(stringify!($name), "_portable"));
                }
            )+
        }

        mod restartable {
            $(
                #[test]
                fn $name() {
                    super::$name::<$crate::Restartable>()
                        .check(concat!(stringify!($name), "_restartable"));
                }
            )+
        }
    };
}
