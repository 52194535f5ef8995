//! One segment, mapped by a client.
//!
//! Owns: the mapping, and what a handle names in it. Uses: `ask` for what a server sends,
//! `mapped`, `layout`, `handle`, `status`, `sys`. Used by: the client.

use super::ask::Connection;
use super::error::ShareError;
use super::handle::Naming;
use super::layout::{Export, Layout};
use super::mapped::{map, map_page};
use super::status::Seen;
use crate::class::GRANULE;
use crate::error::OsError;
use crate::record::State;
use crate::sys::limits::base_page;
use crate::sys::map::Mapping;
use std::os::fd::AsFd;
use std::ptr::NonNull;

/// A buffer in a client's address space, or, by [`Pool::view`](crate::Pool::view), in the
/// server's. Where somebody else may write it, no reference may be made of its address:
/// [`Client::read`](super::Client::read) and [`Client::write`](super::Client::write) copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Its first byte, aligned as in the server. Mapped as long as the client lives; the
    /// server may give the buffer to somebody else once it is freed.
    pub start: NonNull<u8>,
    /// How many bytes it was allocated for.
    pub size: usize,
    /// How many bytes right before it are the client's.
    pub prefix: usize,
    /// Whether it, and what is before it, may be written.
    pub writable: bool,
}

/// A segment, as a client has it.
pub(super) struct Segment {
    pub(super) layout: Layout,
    pub(super) memory: Mapping,
    states: Mapping,
}

/// A segment that was mapped just now, with its pool's status.
pub(super) type New = (Segment, Seen);

/// The most segments of a client that was opened by name: three mappings each, of which the
/// system lets a process have 65530.
pub(super) const MAX_SEGMENTS: usize = 1 << 14;

/// Maps the segments from `number` on of the pool `pool`, or, if that is 0, of whichever there
/// is; `room` at most.
pub(super) fn new_segments(
    connection: &Connection,
    number: u64,
    pool: u64,
    room: usize,
) -> Result<Vec<New>, ShareError> {
    let mut segments: Vec<New> = Vec::new();
    connection.segments(number, pool, |export| {
        if segments.len() >= room {
            return Err(ShareError::TooManySegments {
                limit: MAX_SEGMENTS,
            });
        }
        // A thread that asks has no heap but this if it is out.
        segments.try_reserve(1).map_err(|_| {
            ShareError::System(OsError {
                call: "malloc",
                number: libc::ENOMEM,
            })
        })?;
        let new = Segment::map(export)?;
        if let Some((first, _)) = segments.first() {
            of_one_pool(&new.0.layout, &first.layout)?;
            splits_alike(&new.0.layout, &first.layout)?;
        }
        segments.push(new);
        Ok(())
    })?;
    Ok(segments)
}

impl Segment {
    /// Maps what `export` says.
    pub(super) fn map(export: Export) -> Result<New, ShareError> {
        let layout = export.layout;
        let states = layout.state_bytes();
        // As aligned as huge pages, and the buffers, must be.
        let huge = match layout.bytes().is_multiple_of(1 << 30) {
            true => 1 << 30,
            false => GRANULE,
        };
        let memory = map(
            export.memory.as_fd(),
            layout.bytes(),
            layout.alignment().max(huge),
            layout.is_writable(),
        )?;
        let page = base_page();
        let states = map(
            export.states.as_fd(),
            states.next_multiple_of(page),
            page,
            false,
        )?;
        let status = Seen::new(map_page(export.status.as_fd())?);
        let segment = Self {
            layout,
            memory,
            states,
        };
        Ok((segment, status))
    }

    /// The state of buffer `k`, of which there is one.
    pub(super) fn state(&self, k: usize) -> &State {
        assert!(k < self.layout.count());
        // SAFETY: the states of as many buffers as the layout has are mapped, aligned to
        // a page, and made of integer atomics.
        unsafe { self.states.base().cast::<State>().add(k).as_ref() }
    }

    /// Buffer `k`, if that is what `handle` names.
    pub(super) fn view<H: Naming>(&self, k: usize, handle: H) -> Option<View> {
        // Nobody is believed: the server may have written anything there.
        let size = handle.size(self.state(k), self.layout.split())? as usize;
        if size > self.layout.size() {
            return None;
        }
        // SAFETY: as many cells as the layout has are within its bytes, all of which are
        // mapped.
        let start = unsafe { self.memory.base().add(self.layout.offset(k)) };
        Some(View {
            start,
            size,
            prefix: self.layout.prefix(),
            writable: self.layout.is_writable(),
        })
    }
}

/// Refuses a segment that splits its handles in another way than one of the same pool.
pub(super) fn splits_alike(new: &Layout, old: &Layout) -> Result<(), ShareError> {
    match new.split() == old.split() {
        true => Ok(()),
        false => Err(ShareError::Forged { what: "handles" }),
    }
}

/// Refuses a segment of another pool than one that is there.
pub(super) fn of_one_pool(new: &Layout, old: &Layout) -> Result<(), ShareError> {
    let (given, needed) = (new.pool(), old.pool());
    match given == needed {
        true => Ok(()),
        false => Err(ShareError::OtherPool { given, needed }),
    }
}
