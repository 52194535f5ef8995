//! The addresses and the tables that a pool begins with.
//!
//! Owns: how many addresses are reserved. Uses: `arena`, `cache`, `class`, `lists`, `track`,
//! `sys`. Used by: `builder`.

use super::builder::Builder;
use crate::arena::{Arena, MAX_ADDRESS_SPACE};
use crate::cache::Kind;
use crate::class::{Classes, GRANULE};
use crate::error::{BuildError, OsError};
use crate::lists::FreeLists;
use crate::record::States;
use crate::sync::Arc;
use crate::sys::{cpu, memory};
use crate::track::Tracks;
use crate::word::Index;
use std::io;

/// How many times what is declared a pool reserves by default.
const FACTOR: usize = 16;

/// How much room to grow it reserves at least, in bytes of address space.
const ROOM: usize = 8 << 30;

/// Of what is left of the process's addresses, the room to grow is no more than this part.
const SHARE: usize = 16;

/// What goes with the address space that is reserved for a pool.
pub(super) struct Reserved {
    pub(super) arena: Arc<Arena>,
    pub(super) lists: FreeLists<Kind>,
    pub(super) states: States,
    pub(super) tracks: Option<Tracks>,
}

impl Builder {
    /// Reserves the arena and the tables that go with it, for segments of
    /// `declared` bytes that take `needed` bytes with everything between them.
    pub(super) fn reserve_address_space(
        &self,
        needed: usize,
        declared: usize,
    ) -> Result<Reserved, BuildError> {
        let system = |error: io::Error| BuildError::System(OsError::new("mmap", &error));
        let reserve = |len: usize| -> io::Result<_> {
            let arena = Arc::new(Arena::reserve(len)?);
            let indices = (len / GRANULE) << Index::POSITION_BITS;
            let diverted = self.track || self.wipe;
            let caches = Kind::new(cpu::possible(), self.portable, diverted)?;
            let classes = Classes::new(self.prefix, arena.base().as_ptr())?;
            Ok(Reserved {
                arena,
                lists: FreeLists::new(
                    caches,
                    classes,
                    indices,
                    self.cache_bytes,
                    self.strict_order,
                )?,
                states: States::closed_paged(indices)?,
                tracks: match self.track {
                    true => Some(Tracks::closed(indices)?),
                    false => None,
                },
            })
        };
        // The granules that hold no buffers come on top of what callers count.
        let overhead = GRANULE * (self.requests.len() + 1);
        let limit = MAX_ADDRESS_SPACE;
        let most = limit + overhead;
        let Some(bytes) = self.address_space else {
            if needed > most {
                return Err(BuildError::AddressSpace { needed, limit });
            }
            let room = needed.saturating_mul(FACTOR - 1).max(ROOM);
            let left = memory::addresses_left().unwrap_or(usize::MAX);
            let share = left.saturating_sub(needed) / SHARE / GRANULE * GRANULE;
            let mut len = needed.saturating_add(room.min(share)).min(most);
            loop {
                match reserve(len) {
                    Ok(reserved) => return Ok(reserved),
                    Err(error) if len <= needed => return Err(system(error)),
                    // None so large in one piece: less room to grow.
                    Err(_) => len = (len / 2).next_multiple_of(GRANULE).max(needed),
                }
            }
        };
        if bytes > limit {
            return Err(BuildError::AddressSpace {
                needed: bytes,
                limit,
            });
        }
        if declared > bytes {
            return Err(BuildError::AddressSpace {
                needed: declared,
                limit: bytes,
            });
        }
        let len = bytes.next_multiple_of(GRANULE) + overhead;
        reserve(len.max(needed)).map_err(system)
    }
}
