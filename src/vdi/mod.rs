//! The buffer half of SQL Server's virtual device interface, over a pool.
//!
//! Owns: the states of a set, its calls and their codes, and the published names of
//! features and commands. Uses: `pool`, `snapshot`. Used by: callers.
//!
//! The contract is that of `IServerVirtualDeviceSet2` in Microsoft's VDI reference
//! (sql-docs), then the 2005 specification's transition tables: see [`Call`] for the
//! table, [`Error::code`] for the codes, `docs/vdi.md` for both beside their sources.
//! Where the reference is silent:
//!
//! - AllocateBuffer with alignment 0 takes the set's; size 0 or an alignment that is no
//!   power of two is `VD_E_INVALID`.
//! - A size beyond the largest declared buffer, or an alignment stricter than any, is
//!   `VD_E_INVALID`; `VD_E_MEMORY` means that such buffers exist and none is free.
//! - FreeBuffer wants the size that was asked for. Any other, or a pointer that was not
//!   allocated, is `VD_E_INVALID`, and nothing changes.
//! - QueryAvailableBuffers counts what one caller could allocate now, with what sits in
//!   other processors' caches; before EndConfiguration that is nothing.
//! - EndConfiguration that fails leaves the set configurable, with nothing declared.
//! - IsSharedBuffer says yes from the start of a buffer that is out to the size that was
//!   asked for: not to its prefix zone, nor to one that is free.
//! - `VD_E_MEMORY` means that asking for less may help; who lacks rights is told
//!   `VD_E_SECURITY`, and who lacks descriptors `VD_E_UNEXPECTED`.

#[cfg(not(hugepool_loom))]
mod clients;
#[cfg(not(hugepool_loom))]
mod config;
#[cfg(not(hugepool_loom))]
mod error;
#[cfg(not(hugepool_loom))]
mod names;
#[cfg(not(hugepool_loom))]
mod plan;
#[cfg(not(hugepool_loom))]
mod set;
mod stage;
mod state;

#[cfg(not(hugepool_loom))]
pub use config::{Config, Parameters};
#[cfg(not(hugepool_loom))]
pub use error::{
    Error, NOERROR, VD_E_ABORT, VD_E_BUSY, VD_E_CLOSE, VD_E_INSTANCE_NAME, VD_E_INVALID,
    VD_E_MEMORY, VD_E_NOTOPEN, VD_E_NOTSUPPORTED, VD_E_OPEN, VD_E_PROTOCOL, VD_E_SECURITY,
    VD_E_TIMEOUT, VD_E_UNEXPECTED,
};
#[cfg(not(hugepool_loom))]
pub use names::*;
#[cfg(not(hugepool_loom))]
pub use set::Set;
#[cfg(hugepool_loom)]
pub use stage::{Refusal, Stage};
pub use state::{Call, State};
