//! Who writes the bytes of a buffer, as a type.
//!
//! Owns: the two kinds of memory. Uses: nothing. Used by: `buffer`, `pool`, callers.

/// Who may write the bytes of a pool's buffers: [`Plain`] or [`Volatile`].
///
/// Every call is there for both. What gives a reference to the bytes is there for `Plain`
/// alone. No other type can be one.
pub trait Memory: sealed::Sealed + Send + Sync + 'static {}

/// Nobody but this process writes the buffers: a [`Buffer`](crate::Buffer) is a `[u8]`.
/// Other processes may read them ([`Access::Read`](crate::share::Access::Read)).
#[derive(Clone, Copy, Debug)]
pub enum Plain {}

/// Another process may write the buffers at any time
/// ([`Access::Write`](crate::share::Access::Write)): their bytes are copied in and out, and
/// no reference to them can be had in safe code. See [`Buffer`](crate::Buffer).
#[derive(Clone, Copy, Debug)]
pub enum Volatile {}

impl Memory for Plain {}
impl Memory for Volatile {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Plain {}
    impl Sealed for super::Volatile {}
}
