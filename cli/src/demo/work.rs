//! What a server writes into a buffer, and what a client writes before it.
//!
//! Owns the pattern, its checksum and the stamp in the prefix zone. Uses nothing but the checksum's crate.

use std::ptr::NonNull;

/// Bytes of the prefix zone.
pub const PREFIX: u32 = 512;

/// One hand-over: the stream's number, and the how manieth it is of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    pub stream: u32,
    pub number: u64,
}

impl Job {
    /// Fills `bytes` as no other job does; gives their checksum.
    pub fn fill(self, bytes: &mut [u8]) -> u32 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let job = self.number << 16 | u64::from(self.stream);
        let mut word = job.wrapping_mul(STEP.rotate_left(32) | 1);
        let mut words = bytes.chunks_exact_mut(8);
        for place in &mut words {
            place.copy_from_slice(&word.to_le_bytes());
            word = word.wrapping_add(STEP);
        }
        let rest = words.into_remainder();
        let len = rest.len();
        rest.copy_from_slice(&word.to_be_bytes()[..len]);
        checksum(bytes)
    }

    /// What a client writes to the start of the prefix zone.
    pub fn stamp(self, sum: u32) -> [u8; 16] {
        let mut stamp = [0; 16];
        stamp[..8].copy_from_slice(&self.number.to_le_bytes());
        stamp[8..12].copy_from_slice(&self.stream.to_le_bytes());
        stamp[12..].copy_from_slice(&sum.to_le_bytes());
        stamp
    }

    /// Stamps the prefix zone of the buffer at `start`, as a client does.
    ///
    /// # Safety
    ///
    /// The `PREFIX` bytes before it are mapped for writing, and nobody else's now.
    #[cfg(test)]
    pub unsafe fn write_stamp(self, start: NonNull<u8>, sum: u32) {
        // SAFETY: the caller says so.
        unsafe {
            start
                .sub(PREFIX as usize)
                .cast()
                .write_volatile(self.stamp(sum))
        };
    }

    /// Whether the prefix zone has that stamp; wipes it. Clients may write it meanwhile, so it
    /// is read once.
    ///
    /// # Safety
    ///
    /// The `PREFIX` bytes before it are mapped for writing, and no thread of this process
    /// uses them now.
    pub unsafe fn take_stamp(self, start: NonNull<u8>, sum: u32) -> bool {
        // SAFETY: the caller says so.
        let found: [u8; 16] = unsafe {
            let place = start.sub(PREFIX as usize).cast::<[u8; 16]>();
            let found = place.read_volatile();
            place.write_volatile([0; 16]);
            found
        };
        found == self.stamp(sum)
    }
}

/// Writes `bytes` to a buffer, which a client may write meanwhile: there is no reference to
/// its bytes.
///
/// # Safety
///
/// As many bytes from `start` on are mapped for writing, and no thread of this process uses
/// them now. It is a multiple of 8.
pub unsafe fn put(start: NonNull<u8>, bytes: &[u8]) {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = start.cast::<u64>();
    // SAFETY: the caller says so, of all.
    unsafe {
        for &word in words {
            at.write_volatile(u64::from_ne_bytes(word));
            at = at.add(1);
        }
        let mut at = at.cast::<u8>();
        for &byte in rest {
            at.write_volatile(byte);
            at = at.add(1);
        }
    }
}

/// The checksum of what is in a buffer.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_has_a_pattern_of_its_own_to_the_last_byte() {
        let mut sums = std::collections::HashSet::new();
        for stream in 0..20 {
            for number in 0..20 {
                let mut bytes = [0; 517];
                let sum = Job { stream, number }.fill(&mut bytes);
                assert_eq!(sum, checksum(&bytes));
                assert!(sums.insert(sum), "stream {stream}, number {number}");
                bytes[516] ^= 1;
                assert_ne!(sum, checksum(&bytes));
            }
        }
    }

    #[test]
    fn a_stamp_is_taken_once_and_only_by_its_job() {
        let mut memory = vec![0u8; PREFIX as usize + 512];
        // SAFETY: inside the vector.
        let start = unsafe { NonNull::from(&mut memory[0]).add(PREFIX as usize) };
        let (job, other) = (
            Job {
                stream: 1,
                number: 7,
            },
            Job {
                stream: 2,
                number: 7,
            },
        );
        // SAFETY: the prefix zone is the vector's, and ours alone.
        unsafe {
            job.write_stamp(start, 5);
            assert!(!other.take_stamp(start, 5));
            job.write_stamp(start, 5);
            assert!(!job.take_stamp(start, 6));
            job.write_stamp(start, 5);
            assert!(job.take_stamp(start, 5));
            assert!(!job.take_stamp(start, 5), "it is gone");
        }
    }
}
