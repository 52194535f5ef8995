#![doc = "[`docs/benchmark.md`]: guide::benchmark"]
#![doc = "[`docs/buffers.md`]: guide::buffers"]
#![doc = "[`docs/design.md`]: guide::design"]
#![doc = "[`docs/embedding.md`]: guide::embedding"]
#![doc = "[`docs/engine.md`]: guide::engine"]
#![doc = "[`docs/figures.md`]: guide::figures"]
#![doc = "[`docs/guarantees.md`]: guide::guarantees"]
#![doc = "[`docs/io_uring.md`]: guide::io_uring"]
#![doc = "[`docs/operations.md`]: guide::operations"]
#![doc = "[`docs/scaling.md`]: guide::scaling"]
#![doc = "[`docs/sharing.md`]: guide::sharing"]
#![doc = "[`docs/vdi.md`]: guide::vdi"]
#![doc = ""]
#![doc = include_str!("../README.md")]
// The links before it: where the README's lead here. In the folder they lead to the files.
#![deny(missing_docs)]
#![cfg_attr(
    hugepool_loom,
    allow(dead_code, missing_docs, unreachable_pub, unused_imports)
)]

#[cfg(not(hugepool_loom))]
pub mod guide;

// The layers, bottom up; each uses only what stands above it.
mod sync;
mod sys;
mod table;

mod word;

mod pages;

mod error;

#[cfg(not(hugepool_loom))]
mod volatile;

mod record;

mod track;

mod batch;

mod chain;

mod depot;

mod loose;

mod class;

mod rseq;

mod cache;

mod home;

mod wait;

mod lists;

mod snapshot;

mod append;

mod region;

mod catalog;

#[cfg(not(hugepool_loom))]
mod arena;
#[cfg(not(hugepool_loom))]
pub mod share;
#[cfg(hugepool_loom)]
mod share;

#[cfg(not(hugepool_loom))]
mod outstanding;

#[cfg(not(hugepool_loom))]
mod buffer;
#[cfg(not(hugepool_loom))]
mod counters;
#[cfg(not(hugepool_loom))]
mod machine;
#[cfg(not(hugepool_loom))]
mod pool;
#[cfg(not(hugepool_loom))]
mod stats;

#[cfg(all(feature = "metrics", not(hugepool_loom)))]
mod metrics;

#[cfg(not(hugepool_loom))]
pub mod direct;

#[cfg(all(feature = "io-uring", not(hugepool_loom)))]
pub mod uring;

#[cfg(not(hugepool_loom))]
pub mod vdi;
#[cfg(hugepool_loom)]
mod vdi;

#[cfg(all(feature = "bytes", not(hugepool_loom)))]
pub use buffer::Frozen;
#[cfg(not(hugepool_loom))]
pub use buffer::{Buffer, Memory, Plain, Volatile};
#[cfg(not(hugepool_loom))]
pub use counters::{ClassCounters, Counters, Refusals};
pub use error::{AllocError, BuildError, FreeError, OsError, RangeError, WhyNotPlaced};
#[cfg(not(hugepool_loom))]
pub use machine::{
    ControlGroup, GroupLimit, HugePages, Machine, MemlockLimit, NumaNode, RseqRegistration,
    TransparentPolicy,
};
#[cfg(not(hugepool_loom))]
pub use outstanding::{Held, HeldByPlace, Outstanding, StreamName};
pub use pages::{Pages, Rung};
#[cfg(all(feature = "async", not(hugepool_loom)))]
pub use pool::{Allocate, AllocateMany};
#[cfg(not(hugepool_loom))]
pub use pool::{
    Builder, CancelToken, Class, IntoRawError, Piece, Pool, Region, Stream, StreamBuilder,
    StreamError, Trimmed,
};
#[cfg(not(hugepool_loom))]
pub use region::{Location, RegionId};
#[cfg(not(hugepool_loom))]
pub use rseq::WhyPortable;
#[cfg(not(hugepool_loom))]
pub use stats::{ClassStats, SegmentStats, Stats};
#[cfg(not(hugepool_loom))]
pub use track::Place;

/// How the program beside this library shows byte counts, too.
#[cfg(not(hugepool_loom))]
#[doc(hidden)]
pub use error::Bytes;

/// What callers in other languages say of themselves.
#[cfg(not(hugepool_loom))]
#[doc(hidden)]
pub mod place {
    pub use crate::pool::{Lot, Until, called, set_place};
}

/// What `tests/crossings.rs` counts.
#[cfg(hugepool_counted)]
#[doc(hidden)]
pub mod counted {
    pub use crate::sync::counted::{AtomicU64, Counts, Ordering, call, fence, forget};
}

/// The modules that `loom-tests/` models: the very ones above, on loom's
/// atomics.
#[cfg(hugepool_loom)]
pub mod model {
    pub use crate::append::Append;
    pub use crate::batch::{Batches, Handful};
    pub use crate::cache::portable::Portable;
    pub use crate::cache::restartable::Restartable;
    pub use crate::cache::{CpuCaches, Empty, Refilled, Refused, Robbed, Share, Tables};
    pub use crate::catalog::{Catalog, Holder};
    pub use crate::chain::Chain;
    pub use crate::class::{ClassId, Classes, Geometry, Ladder, Line, OfStream, Rung};
    pub use crate::depot::Depot;
    pub use crate::home::Home;
    pub use crate::lists::{Denied, FreeLists, Given, Limits, Several, Wait};
    pub use crate::record::{Records, State as RawState};
    pub use crate::region::RegionId;
    pub use crate::rseq::Slots;
    pub use crate::share::{Handle, Handle64, Naming, Slots as HandleSlots, Split};
    pub use crate::snapshot::Snapshot;
    pub use crate::sync::{Fault, plant};
    pub use crate::sys::cpu::run_on;
    pub use crate::track::{Holding, Place, Taker, Track};
    pub use crate::vdi::{Call, Refusal, Stage, State};
    pub use crate::wait::{Cancel, Line as WaitLine, Request, Seat, Turn};
    pub use crate::word::{Batch, Index};
}
