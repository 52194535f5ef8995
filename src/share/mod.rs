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
//! sealed, so nobody can take them from under anybody else. States can be written by the
//! server's own mapping alone, and memory, too, unless it is shared for writing. The
//! free lists are in neither: a client that writes whatever it likes, or dies, spoils
//! the contents of buffers and nothing else.

mod client;
mod error;
mod handle;
mod layout;
mod name;

pub use crate::arena::Access;
pub use client::{Client, View};
pub use error::ShareError;
pub use handle::Handle;
pub(crate) use layout::layout_of;
pub use layout::{Export, Layout};
pub(crate) use name::publish;
pub use name::{Peers, Publication};
