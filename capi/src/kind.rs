//! The library's types, as C programs have them.
//!
//! Owns: which kind they are of: buffers that another process may write, whoever can map
//! them. C programs get raw pointers alone. Uses: the library. Used by: every call.
//!
//! The header's generator takes an alias for the type that it is called after: it is not
//! to look.

use ::pool::Volatile;

/// cbindgen:ignore
pub type Pool = ::pool::Pool<Volatile>;
/// cbindgen:ignore
pub type Buffer = ::pool::Buffer<Volatile>;
/// cbindgen:ignore
pub type Stream = ::pool::Stream<Volatile>;
/// cbindgen:ignore
pub type Allocate = ::pool::Allocate<Volatile>;
