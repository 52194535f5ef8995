//! Blocks that become a part of an upload.
//!
//! Owns the buffers until the part is sent: then each is a `Bytes` of the same memory. A full block is copied nowhere.
//! One that is short (compressed, or the last) is copied behind the one before it where that has room, so that the
//! buffers that wait for a part do not grow with how well the data can be compressed.

use bytes::Bytes;
use object_store::PutPayload;

use crate::engine::buffers::Space;
use crate::engine::format::UNIT;
use crate::engine::format::block::HEADER;

/// Buffers that blocks of less than `part` bytes may be in.
///
/// The first two blocks of any two buffers did not fit into one, and every length is a multiple of [`UNIT`]: so two
/// have a buffer's bytes and a unit at least, and an odd one has some.
pub const fn held(transfer: usize, part: usize) -> usize {
    2 * ((part - 1) / (HEADER + transfer + UNIT)) + 1
}

/// Blocks one behind the other, in the buffers that they were filled in.
pub struct Gather<S> {
    blocks: Vec<Filled<S>>,
    bytes: usize,
}

/// A buffer, and how many of its bytes are blocks.
struct Filled<S> {
    space: S,
    length: usize,
}

impl<S: Space> AsRef<[u8]> for Filled<S> {
    fn as_ref(&self) -> &[u8] {
        &self.space.whole()[..self.length]
    }
}

impl<S: Space> Gather<S> {
    pub fn new() -> Gather<S> {
        Gather {
            blocks: Vec::new(),
            bytes: 0,
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts the block in the first `length` bytes of `space` behind the others.
    pub fn add(&mut self, space: S, length: usize) {
        self.bytes += length;
        let last = self.blocks.last_mut();
        if let Some(Filled {
            space: before,
            length: filled,
        }) = last
            && let Some(room) = before.whole_mut()[*filled..].get_mut(..length)
        {
            room.copy_from_slice(&space.whole()[..length]);
            *filled += length;
            return;
        }
        self.blocks.push(Filled { space, length });
    }

    /// All of it, without a copy. Each buffer is free again when the last of its bytes is dropped.
    pub fn take(&mut self) -> PutPayload {
        self.bytes = 0;
        let blocks = self.blocks.drain(..);
        blocks.map(Bytes::from_owner).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain(Vec<u8>);

    impl Space for Plain {
        fn whole(&self) -> &[u8] {
            &self.0
        }

        fn whole_mut(&mut self) -> &mut [u8] {
            &mut self.0
        }
    }

    #[test]
    fn no_blocks_of_less_than_a_part_need_more_buffers_than_are_reckoned() {
        let part = 5 << 20;
        for transfer in [4096, 65_536, 1 << 20, 3 << 20, 8 << 20] {
            let whole = HEADER + transfer;
            // The worst: each pair of blocks is one unit too large for a buffer.
            let (mut gather, mut random) = (Gather::new(), 1_u64);
            let mut most = 0;
            for round in 0..400 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let units = whole / UNIT;
                let length = match round % 200 {
                    0..100 if round % 2 == 0 => UNIT,
                    0..100 => whole,
                    _ => UNIT * (1 + random as usize % units),
                };
                gather.add(Plain(vec![0; whole]), length.max(UNIT));
                if gather.bytes() >= part {
                    gather.take();
                }
                most = most.max(gather.blocks.len());
            }
            assert!(
                most <= held(transfer, part),
                "{most} buffers of {transfer} for less than a part"
            );
        }
    }

    #[test]
    fn blocks_come_out_in_order_and_full_ones_where_they_were() {
        let mut gather = Gather::new();
        let mut expected = Vec::new();
        let mut places = Vec::new();
        for (number, length) in [8192, 8192, 4096, 4096, 8192, 4096].into_iter().enumerate() {
            let space = Plain(vec![number as u8 + 1; 8192]);
            expected.extend_from_slice(&space.0[..length]);
            places.push(space.0.as_ptr());
            gather.add(space, length);
        }
        assert_eq!(gather.bytes(), expected.len());
        let payload = gather.take();
        let parts: Vec<*const u8> = payload.iter().map(|bytes| bytes.as_ptr()).collect();
        // The fourth went behind the third.
        assert_eq!(
            parts,
            [places[0], places[1], places[2], places[4], places[5]]
        );
        let bytes: Vec<u8> = payload.iter().flatten().copied().collect();
        assert!(bytes == expected);
        assert_eq!(gather.bytes(), 0);
    }
}
