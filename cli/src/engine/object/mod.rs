//! A place in an object store: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
//!
//! Owns the order of its modules, each using only those after it: `destination` and `shelf` (the two places), `stripe`
//! and `source` (a stripe that is written, and read), `claim` (who writes there), `gather` (blocks into parts),
//! `client` (requests, and the threads that make them), `connect` (from a URL to a client of its kind), `names` (what
//! the objects are called). `place` uses it.
//!
//! ```text
//!   PREFIX/writing                  while a backup is written: a token that says by whom
//!   PREFIX/stripe-0000.upload       the id of the upload that is under way
//!   PREFIX/stripe-0000              the stripe's first 10,000 parts
//!   PREFIX/stripe-0000.52428800000  the next 10,000, from that byte of the stripe on
//!   PREFIX/catalogue                once everything is there: with it the backup is whole
//! ```

mod claim;
mod client;
mod connect;
mod destination;
mod gather;
mod names;
mod shelf;
mod source;
mod stripe;
#[cfg(test)]
mod tests;

pub use client::check;
pub use destination::Destination;
pub use shelf::Backup;
pub use source::StripeSource;
pub use stripe::Stripe;

use crate::units::MIB;

/// Bytes that a part has at least, but for the last of an object: the limit of S3 and of Google.
const LEAST_PART: usize = 5 * MIB;

/// Buffers of a stripe that wait, at the most, until they make up a part.
pub fn held(transfer: usize) -> usize {
    gather::held(transfer, LEAST_PART)
}
