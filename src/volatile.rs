//! Copies into and out of memory that others may write meanwhile.
//!
//! Owns: how such memory is accessed, and the check of a range. Uses: `sync`, `error`. Used
//! by: `buffer`, `share`.
//!
//! # Why this is sound
//!
//! Another process may write the memory at any time. A `&[u8]` into it, or a plain copy
//! out of it, would let the compiler assume that the bytes stay as they are: it may read
//! them twice, check one value, and use the other. So no reference to the bytes is made.
//! They are accessed as aligned words of eight bytes, each word as one [`AtomicU64`], by
//! one instruction, and never otherwise:
//!
//! - An atomic load gives one value, which the compiler neither splits nor repeats. Any 64
//!   bits are a value. What the copy gives to its caller is the caller's alone, and stays.
//! - What another process does, by whatever instructions, is to this one as atomic stores
//!   of a thread: the processor does not know of data races. A word that is written
//!   meanwhile may be a mixture of the old and the new one.
//! - Threads of this process that copy at the same time make atomic accesses of one size to
//!   the same words, which are no data race. (`ptr::read_volatile` would be one, and so
//!   would be single bytes at the ends of a range beside another thread's words.)
//! - Where a range begins or ends within a word, a read takes the word and gives a part of
//!   it. A write changes its part by one `fetch_xor` with what is different there: the
//!   other bytes stay as they are, even if somebody writes them at that moment. It never
//!   has to try again, whatever others do.
//!
//! All is `Relaxed`: who wants to know what others have written before, or that they have
//! stopped, learns it in another way (a message, a state) that orders it.
//!
//! A processor copies a word a step so, and memory that is not in its caches as fast as
//! `memcpy` does; `cargo bench --bench volatile` compares the two.

use crate::error::RangeError;
use crate::sync::{AtomicU64, Ordering};
use std::ptr::NonNull;

/// Bytes of a word.
const WORD: usize = size_of::<AtomicU64>();

/// Some bytes that others may write.
///
/// Invariant (*mapped*): the aligned words that have a byte of the range are mapped while
/// this value is used, and nobody in this process accesses them meanwhile but by this
/// module.
#[derive(Clone, Copy)]
pub struct Bytes {
    start: NonNull<u8>,
    len: usize,
}

impl Bytes {
    /// The `len` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// They are *mapped*, for writing as well if `write` or `fill` is called.
    pub unsafe fn new(start: NonNull<u8>, len: usize) -> Self {
        Self { start, len }
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.len
    }

    /// The part of `length` bytes from `offset` on.
    fn part(self, offset: usize, length: usize) -> Result<Self, RangeError> {
        match offset.checked_add(length) {
            Some(end) if end <= self.len => Ok(Self {
                // SAFETY: it is within the range, or at its end.
                start: unsafe { self.start.add(offset) },
                len: length,
            }),
            _ => Err(RangeError {
                offset,
                length,
                limit: self.len,
            }),
        }
    }

    /// Copies the bytes from `offset` on to `into`. Nothing is copied if they end before
    /// it is full.
    pub fn read(self, offset: usize, into: &mut [u8]) -> Result<(), RangeError> {
        let part = self.part(offset, into.len())?;
        let (skipped, head) = part.head();
        let (first, rest) = into.split_at_mut(head);
        let (whole, last) = rest.as_chunks_mut();
        let words = part.words(whole.len() + usize::from(!last.is_empty()));
        if head > 0 {
            let bytes = part.first_word().load(Ordering::Relaxed).to_ne_bytes();
            first.copy_from_slice(&bytes[skipped..skipped + head]);
        }
        for (to, word) in whole.iter_mut().zip(words) {
            *to = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        if let Some(word) = words.get(whole.len()) {
            let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            last.copy_from_slice(&bytes[..last.len()]);
        }
        Ok(())
    }

    /// Copies `from` to the bytes from `offset` on. Nothing is copied if they end before
    /// it does.
    pub fn write(self, offset: usize, from: &[u8]) -> Result<(), RangeError> {
        let part = self.part(offset, from.len())?;
        let (skipped, head) = part.head();
        let (first, rest) = from.split_at(head);
        let (whole, last) = rest.as_chunks();
        let words = part.words(whole.len() + usize::from(!last.is_empty()));
        if head > 0 {
            change(part.first_word(), skipped, first);
        }
        for (word, &from) in words.iter().zip(whole) {
            word.store(u64::from_ne_bytes(from), Ordering::Relaxed);
        }
        if let Some(word) = words.get(whole.len()) {
            change(word, 0, last);
        }
        Ok(())
    }

    /// Sets every byte to `byte`.
    pub fn fill(self, byte: u8) {
        let bytes = [byte; WORD];
        let (skipped, head) = self.head();
        let (whole, last) = ((self.len - head) / WORD, (self.len - head) % WORD);
        let words = self.words(whole + usize::from(last > 0));
        if head > 0 {
            change(self.first_word(), skipped, &bytes[..head]);
        }
        for word in &words[..whole] {
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
        if let Some(word) = words.get(whole) {
            change(word, 0, &bytes[..last]);
        }
    }

    /// How many bytes the word in which the range begins has before that, and how many of
    /// the range: 0 if it begins with a word.
    fn head(self) -> (usize, usize) {
        match self.start.addr().get() % WORD {
            0 => (0, 0),
            skipped => (skipped, self.len.min(WORD - skipped)),
        }
    }

    /// The word in which the range, which has bytes, begins.
    fn first_word(&self) -> &AtomicU64 {
        let (skipped, _) = self.head();
        // SAFETY: it is aligned, has a byte of the range, and so is *mapped*; any bits are a
        // value, and nobody makes accesses of another kind.
        unsafe { self.start.sub(skipped).cast::<AtomicU64>().as_ref() }
    }

    /// The `count` words behind the head, each of which has bytes of the range.
    fn words(&self, count: usize) -> &[AtomicU64] {
        if count == 0 {
            return &[];
        }
        let (_, head) = self.head();
        // SAFETY: the head ends where a word begins, since there are bytes behind it.
        // Otherwise as above.
        unsafe {
            let first = self.start.add(head).cast::<AtomicU64>();
            std::slice::from_raw_parts(first.as_ptr(), count)
        }
    }
}

/// Makes the bytes of `word` from byte `at` on those of `to`, and leaves the others as they
/// are at that moment.
fn change(word: &AtomicU64, at: usize, to: &[u8]) {
    let old = word.load(Ordering::Relaxed).to_ne_bytes();
    let mut different = [0; WORD];
    for ((different, old), new) in different.iter_mut().zip(old).skip(at).zip(to) {
        *different = old ^ new;
    }
    // If somebody else writes these very bytes in between, they become a mixture of the
    // old ones and both new ones.
    word.fetch_xor(u64::from_ne_bytes(different), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Arc;
    use proptest::prelude::*;

    /// Eight words, and the part of them that is `len` bytes from `start` on.
    fn words(fill: u8) -> Vec<AtomicU64> {
        let word = || AtomicU64::new(u64::from_ne_bytes([fill; WORD]));
        std::iter::repeat_with(word).take(8).collect()
    }

    fn bytes_of(words: &[AtomicU64]) -> Vec<u8> {
        let word = |word: &AtomicU64| word.load(Ordering::Relaxed).to_ne_bytes();
        words.iter().flat_map(word).collect()
    }

    fn range(words: &[AtomicU64], start: usize, len: usize) -> Bytes {
        assert!(start + len <= words.len() * WORD);
        let first = NonNull::from(words).cast::<u8>();
        // SAFETY: within the words, which are there as long as the test needs them and
        // which are accessed as atomics alone.
        unsafe { Bytes::new(first.add(start), len) }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_nothing_beside_it_changes(
            start in 0usize..32, len in 0usize..32, offset in 0usize..40, given in 0usize..40,
        ) {
            let words = words(0xa5);
            let range = range(&words, start, len);
            let from: Vec<u8> = (1..).take(given).collect();
            let mut into = vec![0; given];
            let expected = match offset + given <= len {
                true => Ok(()),
                false => Err(RangeError { offset, length: given, limit: len }),
            };
            prop_assert_eq!(range.write(offset, &from), expected);
            prop_assert_eq!(range.read(offset, &mut into), expected);
            let mut all = vec![0xa5; words.len() * WORD];
            if expected.is_ok() {
                prop_assert_eq!(&into, &from);
                all[start + offset..][..given].copy_from_slice(&from);
            } else {
                prop_assert!(into.iter().all(|&byte| byte == 0));
            }
            prop_assert_eq!(bytes_of(&words), all);
        }

        #[test]
        fn a_fill_ends_where_the_range_does(start in 0usize..32, len in 0usize..32) {
            let words = words(0xa5);
            range(&words, start, len).fill(7);
            let mut all = vec![0xa5; words.len() * WORD];
            all[start..start + len].fill(7);
            prop_assert_eq!(bytes_of(&words), all);
        }
    }

    #[test]
    fn a_range_that_no_number_can_hold_is_refused() {
        let words = words(0);
        let refused = range(&words, 0, 8).read(usize::MAX, &mut [0; 2]);
        let expected = RangeError {
            offset: usize::MAX,
            length: 2,
            limit: 8,
        };
        assert_eq!(refused, Err(expected));
    }

    #[test]
    fn two_who_write_parts_of_one_word_do_not_undo_each_other() {
        let words = Arc::new(words(0));
        let writers = [(0, 3), (3, 5)].map(|(start, len)| {
            let words = Arc::clone(&words);
            std::thread::spawn(move || {
                for round in 0..20_000u32 {
                    let own = range(&words, start, len);
                    let from = vec![round as u8; len];
                    own.write(0, &from).unwrap();
                    let mut into = vec![0; len];
                    own.read(0, &mut into).unwrap();
                    assert_eq!(into, from);
                }
            })
        });
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
    }
}
