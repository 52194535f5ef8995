//! Random numbers.
//!
//! Owns: `getrandom`. Uses: libc. Used by: `pool`, for the numbers by which clients tell pools
//! apart.
//!
//! Source: getrandom(2). What the standard library seeds its hashers with is the same in a
//! child of a fork.

use std::io;

/// A number that nobody can guess.
pub fn number() -> io::Result<u64> {
    let mut bytes = [0; 8];
    loop {
        // SAFETY: the bytes are there to be written.
        let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        match got {
            // So few are given at once.
            8 => return Ok(u64::from_ne_bytes(bytes)),
            0.. => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}
