//! The C face of hugepool: `include/hugepool.h`.
//!
//! Owns: objects behind opaque pointers, and codes for errors. Uses: the library. Used
//! by: C and C++ programs.
//!
//! No call unwinds into C: a panic ends the process (`extern "C"`), and none is reachable
//! by bad arguments.
#![deny(missing_docs)]
#![allow(non_camel_case_types, reason = "they are C's names")]

mod builder;
mod call;
mod class;
mod client;
mod counters;
mod error;
mod event;
mod handle;
mod handle64;
mod heap;
mod kind;
mod many;
mod names;
mod peers;
mod pool;
mod publish;
mod region;
mod sized;
mod slots;
mod stream;
mod stream_many;
mod thread;
mod token;
mod track;
mod vdi;
mod wait;

/// The version of this interface: a program that was built against another one must not
/// use it.
pub const HP_ABI_VERSION: u32 = 1;

/// Gives HP_ABI_VERSION of the library that is in use.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn hp_abi_version() -> u32 {
    HP_ABI_VERSION
}
