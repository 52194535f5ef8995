//! The two kinds of per-CPU cache, and whether this machine has them. A pool that
//! is silently of another kind than the one asked for fails the test.

use super::area::{Area, SIGNATURE};
use super::skipped;
use hugepool::{Builder, Pool, WhyPortable};

/// A kind of per-CPU cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On restartable sequences.
    Restartable,
    /// On compare-and-swap.
    Portable,
    /// As `Restartable`, in a pool that tracks who takes its buffers: past the hot path.
    Tracked,
}

/// Declares each of the functions named, which take a [`Kind`], as two tests:
/// `restartable::` and `portable::`.
#[allow(unused_macros, reason = "each test file uses a part of it")]
macro_rules! both_kinds {
    ($($test:ident),+ $(,)?) => {
        mod restartable {
            $(#[test]
            fn $test() {
                $crate::support::kind::Kind::Restartable.run(super::$test);
            })+
        }
        mod portable {
            $(#[test]
            fn $test() {
                $crate::support::kind::Kind::Portable.run(super::$test);
            })+
        }
    };
}
#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use both_kinds;

/// Declares each of the functions named, which take a [`Kind`], as a test of a pool that
/// tracks: `tracked::`.
#[allow(unused_macros, reason = "each test file uses a part of it")]
macro_rules! tracked_too {
    ($($test:ident),+ $(,)?) => {
        mod tracked {
            $(#[test]
            fn $test() {
                $crate::support::kind::Kind::Tracked.run(super::$test);
            })+
        }
    };
}
#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use tracked_too;

impl Kind {
    /// Both that are not tracked.
    pub const ALL: [Self; 2] = [Self::Restartable, Self::Portable];

    /// What statistics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Restartable | Self::Tracked => "restartable",
            Self::Portable => "portable",
        }
    }

    /// Builds a pool of this kind.
    #[track_caller]
    pub fn build(self, builder: Builder) -> Pool {
        let portable = self == Self::Portable;
        let builder = match self {
            Self::Tracked => builder.track(true),
            _ => builder,
        };
        let builder = builder.portable_caches(portable);
        let (pool, stats) = loop {
            let pool = builder.build().unwrap();
            let stats = pool.stats();
            // On a busy machine it may not come to that, and the next pool tries again.
            if stats.why_portable != Some(WhyPortable::NoTime) {
                break (pool, stats);
            }
        };
        let why = stats.why_portable;
        assert_eq!(
            stats.cache,
            self.name(),
            "the pool is of another kind: {why:?}"
        );
        pool
    }

    /// Runs `test` with this kind, or says why this machine cannot.
    pub fn run(self, test: impl FnOnce(Self)) {
        match self.lacking() {
            Some(why) => skipped(&format!("{} caches: {why}", self.name())),
            None => test(self),
        }
    }

    /// Why this machine has no caches of this kind; `None` if it has. Found out
    /// without the library.
    pub fn lacking(self) -> Option<&'static str> {
        if self == Self::Portable {
            None
        } else if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            Some("this is neither x86-64 nor aarch64")
        } else if restarts_nothing() {
            Some("this kernel restarts no sequences, although it says so")
        } else if !membarrier_restarts() {
            Some("membarrier(2) restarts no sequences here")
        } else if !sequences_restart() {
            Some("there is no rseq(2) here")
        } else {
            None
        }
    }
}

/// Whether this is a kernel that takes all the calls, and is known to restart nothing.
fn restarts_nothing() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let begins = |with: &&str| release.starts_with(*with);
    cfg!(target_arch = "aarch64") && ["6.19.", "7.0."].iter().any(begins)
}

/// Whether the kernel, and every filter, lets this thread restart the sequences
/// of others.
fn membarrier_restarts() -> bool {
    const QUERY: libc::c_int = 0;
    const RSEQ: libc::c_long = 1 << 7;
    // SAFETY: takes no pointer.
    let commands = unsafe { libc::syscall(libc::SYS_membarrier, QUERY, 0, 0) };
    commands >= 0 && commands & RSEQ != 0
}

/// Whether a new thread is registered for restartable sequences or can be.
fn sequences_restart() -> bool {
    let probe = std::thread::spawn(|| match Area::register(SIGNATURE) {
        // One was registered already.
        Err(number) => matches!(number, libc::EINVAL | libc::EBUSY),
        Ok(_) => true,
    });
    probe.join().expect("the probe does not panic")
}
