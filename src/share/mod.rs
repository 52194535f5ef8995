//! Buffers in memory that other processes map.
//!
//! Owns: the layout that says where buffers lie in it, handles, and a client's mapping.
//! Uses: `sys`, `record`, `class`. Used by: `pool`, `vdi`, callers.
//!
//! ```text
//!   server                                  client
//!   ┌───────────────┐  memory: sealed       ┌───────────────┐
//!   │ Pool          ├──────────────────────▶│ read, or      │
//!   │               │  states: sealed       │ read and write│
//!   │ lists, caches ├──────────────────────▶│ read          │
//!   └───────────────┘                       └───────────────┘
//!     nobody else's
//! ```
//!
//! A segment has two descriptors: its memory, and the states of its buffers (64 bytes
//! each: how many bytes it is out with, and its generation). The sizes of both are
//! sealed, so nobody can cut them short under anybody else. States can be written by the
//! server's own mapping alone, and memory, too, unless it is shared for writing. The
//! free lists are in neither: a client that writes whatever it likes, or dies, spoils
//! the contents of buffers and nothing else. (One that may write can also give pages
//! back, by `fallocate`, which no seal forbids; the next to touch them gets new ones, or
//! `SIGBUS` where they are huge pages of the hugetlb pool and none is left. Share for
//! writing with whom you trust that far.)

#[cfg(not(hugepool_loom))]
mod client;
#[cfg(not(hugepool_loom))]
mod error;
mod handle;
#[cfg(not(hugepool_loom))]
mod layout;
#[cfg(not(hugepool_loom))]
mod name;
#[cfg(not(hugepool_loom))]
mod serve;
mod slots;

#[cfg(not(hugepool_loom))]
pub use crate::arena::Access;
#[cfg(not(hugepool_loom))]
pub use client::{Client, View};
#[cfg(not(hugepool_loom))]
pub use error::ShareError;
#[cfg(not(hugepool_loom))]
pub(crate) use handle::FIRST_SLOT;
pub use handle::Handle;
#[cfg(not(hugepool_loom))]
pub(crate) use layout::layout_of;
#[cfg(not(hugepool_loom))]
pub use layout::{Export, Layout};
#[cfg(not(hugepool_loom))]
pub(crate) use name::publish;
#[cfg(not(hugepool_loom))]
pub use name::{Peers, Publication};
#[cfg(not(hugepool_loom))]
pub(crate) use slots::Slots;
#[cfg(hugepool_loom)]
pub use slots::Slots;
