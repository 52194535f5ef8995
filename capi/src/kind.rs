//! The library's types, as C programs have them.
//!
//! Owns: which kind they are of: buffers that another process may write, whoever can map
//! them. C programs get raw pointers alone. Uses: the library. Used by: every call.

use ::pool::Volatile;

pub type Pool = ::pool::Pool<Volatile>;
pub type Buffer = ::pool::Buffer<Volatile>;
pub type Stream = ::pool::Stream<Volatile>;
pub type Allocate = ::pool::Allocate<Volatile>;
