//! A buffer that somebody has, in one word: which one, and how much of it is filled.
//!
//! Owns: its layout. Uses: `index`. Used by: `buffer`.
//!
//! Two numbers in one word, and not in two of half its size: a `Buffer` is a pointer and this,
//! which a compiler keeps in two registers. As three fields it is put into memory in three
//! parts and read back as one, for which the processor waits.

use super::Index;

/// `{len: 32, index: 32}`. The index is not zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Out(u64);

impl Out {
    /// Buffer `index`, of which `len` bytes are filled.
    #[inline(always)]
    pub fn new(index: Index, len: u32) -> Self {
        Self(u64::from(len) << 32 | u64::from(index.raw()))
    }

    /// Which one.
    #[inline(always)]
    pub fn index(self) -> Index {
        // SAFETY: it was made of an index.
        unsafe { Index::from_raw_unchecked(self.0 as u32) }
    }

    /// Bytes that are filled.
    #[inline(always)]
    pub fn len(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_numbers_are_what_they_were_at_their_limits() {
        for raw in [1, u32::MAX] {
            for len in [0, 1, u32::MAX] {
                let index = Index::from_raw(raw).unwrap();
                let out = Out::new(index, len);
                assert_eq!((out.index(), out.len()), (index, len));
            }
        }
    }
}
