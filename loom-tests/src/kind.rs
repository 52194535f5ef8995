//! The kinds of per-CPU caches, for models that run on each.

use hugepool::model::{CpuCaches, Portable, Restartable};

/// A kind of per-CPU cache. Models that are generic over it are run on both (see
/// [`tests_of_each_kind`](crate::tests_of_each_kind)).
pub trait Kind: CpuCaches + Sized + 'static {
    /// Empty caches of `cpus` processors.
    fn make(cpus: usize) -> Self;

    /// The one that belongs to this kind.
    fn pick<T>(portable: T, restartable: T) -> T;
}

impl Kind for Portable {
    fn make(cpus: usize) -> Self {
        Self::new(cpus).unwrap()
    }

    fn pick<T>(portable: T, _restartable: T) -> T {
        portable
    }
}

impl Kind for Restartable {
    fn make(cpus: usize) -> Self {
        Self::new(cpus).unwrap().expect("a model has such slots")
    }

    fn pick<T>(_portable: T, restartable: T) -> T {
        restartable
    }
}
