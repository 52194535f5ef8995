//! A stripe's writer: writes full buffers in place, one behind the other, and frees them.
//!
//! Owns the place of each block in its stripe, and the stripe's end. `backup` runs each in a thread of its own.

use std::io;
use std::time::{Duration, Instant};

use super::buffers::{Buffers, Space};
use super::format::Id;
use super::format::block::{HEADER, Header, Kind, Packing};
use super::format::catalogue::Totals;
use super::pipe::{Filled, Outlet};
use super::stop::{Stop, Why};
use super::store::{Place, Sink};

/// What a writer did.
#[derive(Default)]
pub struct Written {
    pub totals: Totals,
    /// How long it waited for full buffers, and for the place to take them.
    pub for_blocks: Duration,
    pub writing: Duration,
    /// How long it took to have everything on the disk in the end.
    pub syncing: Duration,
}

/// What a writer needs from the run.
pub struct Surroundings<'r, B, P> {
    pub stop: &'r Stop,
    pub buffers: &'r B,
    pub place: &'r P,
    pub backup: Id,
}

/// Writes a stripe until the readers are done. An error stops the run; buffers that come later are freed.
pub fn write<B: Buffers, P: Place>(
    around: &Surroundings<'_, B, P>,
    stripe: u32,
    outlet: &Outlet<B::Space>,
) -> Written {
    let mut written = Written::default();
    let result = stripe_of(around, stripe, outlet, &mut written);
    if let Err(error) = result {
        let what = format!("stripe {stripe} cannot be written{}: {error}", room(&error));
        around.stop.stop(Why::Failed(what));
    }
    // The readers learn of the stop between two blocks.
    for filled in &outlet.receiver {
        drop(filled);
    }
    written
}

/// What an error means that says that a place is full; nothing of others.
pub fn room(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => ": there is no room left",
        _ => "",
    }
}

fn stripe_of<B: Buffers, P: Place>(
    around: &Surroundings<'_, B, P>,
    stripe: u32,
    outlet: &Outlet<B::Space>,
    written: &mut Written,
) -> io::Result<()> {
    let mut sink = around.place.create::<B::Space>(stripe)?;
    loop {
        let filled = outlet.receiver.try_recv().or_else(|_| {
            let begun = Instant::now();
            let filled = outlet.receiver.recv();
            written.for_blocks += begun.elapsed();
            filled
        });
        let Ok(filled) = filled else { break };
        let done = append(&mut sink, around.backup, stripe, filled, written);
        outlet.load.done();
        if let Err(error) = done {
            sink.abort();
            return Err(error);
        }
        if around.stop.is_stopped() {
            sink.abort();
            return Ok(());
        }
    }
    if around.stop.is_stopped() {
        sink.abort();
        return Ok(());
    }
    // Every other buffer is home, or on its way, or waits for a part, and there is one more than these.
    let Ok(mut space) = around.buffers.take() else {
        sink.abort();
        return Ok(());
    };
    let totals = written.totals;
    let header = Header {
        backup: around.backup,
        kind: Kind::End {
            blocks: totals.blocks,
            bytes: totals.bytes,
        },
        packing: Packing::Plain,
        stripe,
        sequence: totals.blocks,
        offset: totals.bytes,
        raw: 0,
        stored: 0,
        segments: 0,
        sum: 0,
    };
    header.seal(&mut space.header_mut()[..HEADER]);
    let begun = Instant::now();
    let ended = sink.append(space, 0);
    let done = match ended {
        Ok(()) => sink.finish(),
        Err(error) => {
            sink.abort();
            Err(error)
        }
    };
    written.syncing += begun.elapsed();
    done
}

fn append<S: Space>(
    sink: &mut impl Sink<S>,
    backup: Id,
    stripe: u32,
    filled: Filled<S>,
    written: &mut Written,
) -> io::Result<()> {
    let Filled {
        mut space,
        packing,
        raw,
        stored,
        sum,
        segments,
    } = filled;
    let header = Header {
        backup,
        kind: Kind::Data,
        packing,
        stripe,
        sequence: written.totals.blocks,
        offset: written.totals.bytes,
        raw,
        stored,
        segments,
        sum,
    };
    header.seal(&mut space.header_mut()[..HEADER]);
    let begun = Instant::now();
    sink.append(space, stored as usize)?;
    written.writing += begun.elapsed();
    written.totals.blocks += 1;
    written.totals.bytes += header.span();
    Ok(())
}
