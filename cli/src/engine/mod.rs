//! `hugepool backup`, `restore`, `verify` and `list`: a backup engine over the pool.
//!
//! Owns the order of its modules, each using only those after it:
//!
//! - the commands: `backup`, `restore`, `verify`, `list`; `session` (what all but the first have in common);
//! - what they print: `report`, `summary`;
//! - files into stripes: `settle`, `origin`, `walk`, `read`, `write`, `pipe`;
//! - stripes into files: `load`, `scan`, `tree`;
//! - io_uring, for both: `rings`;
//! - where a backup is: `place` (which kind of place), `folder` and `object` (the kinds), `scheme` (of stores), `store`
//!   (what they have in common);
//! - `options`, `direct`, `buffers`, `open`, `attributes`, `beneath`, `format`; and, below all, `crew`, `stop`, `usage`,
//!   `name`.
//!
//! ```text
//!   backup    walk ──▶ readers ═══ filled buffers ═══▶ writers of stripes ──▶ catalogue, last of all
//!   restore   catalogue ──▶ stripes' readers ═══ filled buffers ═══▶ workers ──▶ files
//! ```
//!
//! Bytes move in the pool's buffers and in nothing else: a reader takes one, fills it and hands it on; a writer writes it
//! and gives it back. Who finds none free waits, so that the faster side goes at the pace of the slower one.
//! `docs/engine.md` says what is where in a backup, and why.

mod attributes;
mod backup;
mod beneath;
mod buffers;
mod crew;
mod direct;
mod folder;
mod format;
#[cfg(test)]
mod format_tests;
mod list;
mod load;
#[cfg(test)]
mod load_tests;
mod name;
#[cfg(feature = "object-store")]
mod object;
#[cfg(not(feature = "object-store"))]
#[path = "object_stub.rs"]
mod object;
mod open;
mod options;
mod origin;
mod pipe;
mod place;
mod read;
mod report;
mod restore;
mod rings;
mod scan;
mod scheme;
mod session;
mod settle;
mod stop;
mod store;
mod summary;
mod tree;
mod usage;
mod verify;
mod walk;
mod write;

pub use backup::run as backup;
pub use list::run as list;
pub use options::{BackupOptions, ListOptions, RestoreOptions, VerifyOptions};
pub use restore::run as restore;
pub use verify::run as verify;
