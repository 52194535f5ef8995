//! A writer of stripes: writes full buffers in place, one behind the other, and frees them.
//!
//! Owns the place of each block in its stripe, and the stripe's end. `backup` runs each writer in a thread of its own,
//! which has a stripe or several. Here a thread waits for each write; `rings::write` has many under way.

use std::io;
use std::time::{Duration, Instant};

use super::buffers::{Buffers, Space};
use super::format::Id;
use super::format::block::{HEADER, Header, Kind, Packing};
use super::format::catalogue::Totals;
use super::pipe::{Filled, Load, Outlet};
use super::stop::{Stop, Why};
use super::store::{Place, Sink};

/// Threads that write stripes, each write waited for, at the most.
const MOST: usize = 64;

/// How many threads write so many stripes: one each, for each waits for one write at a time.
pub fn threads(stripes: usize) -> usize {
    stripes.min(MOST)
}

/// What a writer did.
#[derive(Default)]
pub struct Written {
    /// What is in each of its stripes.
    pub totals: Vec<(u32, Totals)>,
    /// How long it waited for full buffers.
    pub for_blocks: Duration,
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

/// Writes its stripes until the readers are done. An error stops the run; buffers that come later are freed.
pub fn write<B: Buffers, P: Place>(
    around: &Surroundings<'_, B, P>,
    outlet: &Outlet<B::Space>,
) -> Written {
    let mut written = Written::default();
    let mut lanes = Vec::new();
    let result = stripes_of(around, outlet, &mut lanes, &mut written);
    written.totals = lanes.iter().map(|lane| lane.totals()).collect();
    match result {
        Ok(Ended::Whole) => {}
        Ok(Ended::Stopped) => lanes.into_iter().for_each(Lane::abort),
        Err((stripe, error)) => {
            failed(around.stop, stripe, &error);
            lanes.into_iter().for_each(Lane::abort);
        }
    }
    // The readers learn of the stop between two blocks.
    for filled in &outlet.receiver {
        drop(filled);
    }
    written
}

/// Stops the run, because a stripe cannot be written.
pub fn failed(stop: &Stop, stripe: u32, error: &io::Error) {
    let what = format!("stripe {stripe} cannot be written{}: {error}", room(error));
    stop.stop(Why::Failed(what));
}

/// What an error means that says that a place is full; nothing of others.
pub fn room(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => ": there is no room left",
        _ => "",
    }
}

/// How a writer ended.
pub enum Ended {
    /// Its stripes are whole.
    Whole,
    /// The run was stopped.
    Stopped,
}

/// A stripe that is being written: which one it is, and what is in it.
pub struct Lane<'o, K> {
    pub stripe: u32,
    load: &'o Load,
    /// Gone when the stripe is finished.
    sink: Option<K>,
    totals: Totals,
}

impl<'o, K> Lane<'o, K> {
    /// The stripes of a writer, begun. An error names the stripe.
    pub fn all<B: Buffers, P: Place<Sink<B::Space> = K>>(
        place: &P,
        outlet: &'o Outlet<B::Space>,
        lanes: &mut Vec<Lane<'o, K>>,
    ) -> Result<(), (u32, io::Error)>
    where
        K: Sink<B::Space>,
    {
        for (stripe, load) in &outlet.stripes {
            let sink = place
                .create::<B::Space>(*stripe)
                .map_err(|error| (*stripe, error))?;
            lanes.push(Lane {
                stripe: *stripe,
                load,
                sink: Some(sink),
                totals: Totals::default(),
            });
        }
        Ok(())
    }

    pub fn totals(&self) -> (u32, Totals) {
        (self.stripe, self.totals)
    }

    pub fn sink(&self) -> Option<&K> {
        self.sink.as_ref()
    }

    /// A block of the stripe was written.
    pub fn done(&self) {
        self.load.done();
    }

    /// Gives a block its place at the stripe's end, and completes its header: the buffer, and its bytes of payload.
    pub fn seal<S: Space>(&mut self, backup: Id, filled: Filled<S>) -> (S, usize) {
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
            stripe: self.stripe,
            sequence: self.totals.blocks,
            offset: self.totals.bytes,
            raw,
            stored,
            segments,
            sum,
        };
        header.seal(&mut space.header_mut()[..HEADER]);
        self.totals.blocks += 1;
        self.totals.bytes += header.span();
        (space, stored as usize)
    }

    /// Makes a buffer the stripe's last block, which has no payload.
    pub fn seal_end<S: Space>(&self, backup: Id, space: &mut S) {
        let totals = self.totals;
        let header = Header {
            backup,
            kind: Kind::End {
                blocks: totals.blocks,
                bytes: totals.bytes,
            },
            packing: Packing::Plain,
            stripe: self.stripe,
            sequence: totals.blocks,
            offset: totals.bytes,
            raw: 0,
            stored: 0,
            segments: 0,
            sum: 0,
        };
        header.seal(&mut space.header_mut()[..HEADER]);
    }

    /// Has the stripe on the disk.
    pub fn finish<S: Space>(&mut self) -> Result<(), (u32, io::Error)>
    where
        K: Sink<S>,
    {
        let done = self.sink.take().map_or(Ok(()), K::finish);
        done.map_err(|error| (self.stripe, error))
    }

    /// Gives the stripe up.
    pub fn abort<S: Space>(self)
    where
        K: Sink<S>,
    {
        if let Some(sink) = self.sink {
            sink.abort();
        }
    }

    fn append<S: Space>(&mut self, space: S, payload: usize) -> Result<(), (u32, io::Error)>
    where
        K: Sink<S>,
    {
        let sink = self.sink.as_mut();
        let done = sink.map_or(Ok(()), |sink| sink.append(space, payload));
        done.map_err(|error| (self.stripe, error))
    }
}

/// Takes a block that is for a writer, or waits for one and notes how long; `None`: there will be none any more.
pub fn receive<S>(outlet: &Outlet<S>, waited: &mut Duration) -> Option<(usize, Filled<S>)> {
    let received = outlet.receiver.try_recv().or_else(|_| {
        let begun = Instant::now();
        let received = outlet.receiver.recv();
        *waited += begun.elapsed();
        received
    });
    received.ok()
}

fn stripes_of<'o, B: Buffers, P: Place>(
    around: &Surroundings<'_, B, P>,
    outlet: &'o Outlet<B::Space>,
    lanes: &mut Vec<Lane<'o, P::Sink<B::Space>>>,
    written: &mut Written,
) -> Result<Ended, (u32, io::Error)> {
    Lane::all::<B, P>(around.place, outlet, lanes)?;
    while let Some((at, filled)) = receive(outlet, &mut written.for_blocks) {
        let lane = &mut lanes[at];
        let (space, payload) = lane.seal(around.backup, filled);
        lane.append(space, payload)?;
        lane.done();
        if around.stop.is_stopped() {
            return Ok(Ended::Stopped);
        }
    }
    if around.stop.is_stopped() {
        return Ok(Ended::Stopped);
    }
    let begun = Instant::now();
    for lane in lanes.iter_mut() {
        // Every other buffer is home, or on its way, or waits for a part, and there is one more than these.
        let Ok(mut space) = around.buffers.take() else {
            return Ok(Ended::Stopped);
        };
        lane.seal_end(around.backup, &mut space);
        lane.append(space, 0)?;
    }
    for lane in lanes.iter_mut() {
        lane.finish()?;
    }
    written.syncing += begun.elapsed();
    Ok(Ended::Whole)
}
