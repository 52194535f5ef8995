//! Buffers in memory that other processes map.
//!
//! Owns: the layout that says where buffers lie in it, handles, names by which clients
//! open a pool, and a client's mapping. Uses: `sys`, `record`, `class`. Used by: `pool`,
//! `vdi`, callers.
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
//! each: how many bytes it is out with, its slot, and its generation). A pool has a third one, by
//! which clients see whether it was aborted or closed. The sizes of all are
//! sealed, so nobody can cut them short under anybody else. States can be written by the
//! server's own mapping alone, and memory, too, unless it is shared for writing. The
//! free lists are in neither: a client that writes whatever it likes, or dies, spoils
//! the contents of buffers and nothing else. (One that may write can also give pages
//! back, by `fallocate`, which no seal forbids; the next to touch them gets new ones, or
//! `SIGBUS` where they are huge pages of the hugetlb pool and none is left. Share for
//! writing with whom you trust that far.)
//!
//! What is shared for writing may change between a look and the next one, on either side.
//! Safe code gets no reference to it: the server's buffers are
//! [`Buffer<Volatile>`](crate::Buffer), and a client has [`Client::read`] and
//! [`Client::write`]. What is shared for reading only is plain memory for the server, and
//! for a client as above.

#[cfg(not(hugepool_loom))]
mod ask;
#[cfg(not(hugepool_loom))]
mod askers;
#[cfg(not(hugepool_loom))]
mod client;
#[cfg(not(hugepool_loom))]
mod closing;
#[cfg(not(hugepool_loom))]
mod copy;
#[cfg(not(hugepool_loom))]
mod digest;
#[cfg(not(hugepool_loom))]
mod error;
mod handle;
#[cfg(not(hugepool_loom))]
mod layout;
#[cfg(not(hugepool_loom))]
mod mapped;
#[cfg(not(hugepool_loom))]
mod name;
#[cfg(not(hugepool_loom))]
mod peers;
#[cfg(not(hugepool_loom))]
mod places;
#[cfg(not(hugepool_loom))]
mod publication;
mod ranges;
#[cfg(not(hugepool_loom))]
mod segment;
#[cfg(not(hugepool_loom))]
mod serve;
mod slots;
#[cfg(not(hugepool_loom))]
mod spelling;
#[cfg(not(hugepool_loom))]
mod status;
#[cfg(not(hugepool_loom))]
mod wire;

#[cfg(not(hugepool_loom))]
pub use crate::arena::Access;
#[cfg(not(hugepool_loom))]
pub use client::Client;
#[cfg(not(hugepool_loom))]
pub use error::ShareError;
#[cfg(not(hugepool_loom))]
pub(crate) use handle::FIRST_SLOT;
pub use handle::{Handle, Handle64};
#[cfg(not(hugepool_loom))]
pub(crate) use handle::{Naming, Split};
#[cfg(hugepool_loom)]
pub use handle::{Naming, Split};
#[cfg(not(hugepool_loom))]
pub use layout::{Export, Layout};
#[cfg(not(hugepool_loom))]
pub(crate) use layout::{Place, layout_of};
#[cfg(not(hugepool_loom))]
pub use name::Name;
#[cfg(not(hugepool_loom))]
pub use peers::Peers;
#[cfg(not(hugepool_loom))]
pub use publication::Publication;
#[cfg(not(hugepool_loom))]
pub(crate) use publication::{Give, Given, publish};
#[cfg(not(hugepool_loom))]
pub use segment::View;
#[cfg(not(hugepool_loom))]
pub(crate) use slots::Slots;
#[cfg(hugepool_loom)]
pub use slots::Slots;
#[cfg(not(hugepool_loom))]
pub(crate) use status::{Standing, Status};
#[cfg(not(hugepool_loom))]
pub(crate) use wire::{CONFIGURATION, Question};
