//! Readers and writers around a rival.
//!
//! Owns their loops, compiled once for each rival. Uses the crew's threads, the queue between them (`seats`), the areas
//! and the worker's account; `Arenas` makes its contestants.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::areas::Areas;
use super::window::{Account, Lengths, Side, Tally, Visit, Window};
use super::{Bound, Contestant};
use crate::bench::crew::{Crew, Job};
use crate::bench::plan::Group;
use crate::bench::seats::{End, Ends};
use crate::bench::worker::{read_stamp, write_stamp};
use crate::rival::{Hand, Rival, Seat, SystemCalls, Waits};

/// A rival that an engine takes its buffers from.
pub struct Pipeline<R> {
    rival: Arc<R>,
    bound: Bound,
}

impl<R: Rival> Pipeline<R> {
    pub fn new(rival: R, bound: Bound) -> Pipeline<R> {
        Pipeline {
            rival: Arc::new(rival),
            bound,
        }
    }

    /// Places in the queue. Each worker holds one block more.
    fn places(&self, group: &Group) -> usize {
        match self.bound {
            Bound::Buffers => group.shape.buffers,
            Bound::Queue => group.shape.buffers.saturating_sub(group.threads),
        }
    }
}

impl<R: Rival> Contestant for Pipeline<R>
where
    R::Hand: Waits,
{
    fn visit(&self, crew: &Crew, group: &Group, areas: &Arc<Areas>, lengths: Lengths) -> Visit {
        let (readers, writers) = group.readers_and_writers();
        let window = Arc::new(Window::new(lengths, readers + writers, group.shape.buffers));
        let stage = Stage {
            rival: Arc::clone(&self.rival),
            areas: Arc::clone(areas),
            window: Arc::clone(&window),
            readers,
        };
        let before = self.rival.system_calls();
        let tallies = crew.run(readers + writers, job(stage, writers, self.places(group)));
        let calls = SystemCalls::between(before, self.rival.system_calls());
        let lost = self.rival.missing();
        self.rival.settle();
        Visit {
            lost,
            ..Visit::new(&window, &tallies, calls)
        }
    }
}

/// What the workers of one measurement share.
struct Stage<R> {
    rival: Arc<R>,
    areas: Arc<Areas>,
    window: Arc<Window>,
    readers: usize,
}

/// A full buffer, with the stamp that its reader wrote at its start.
struct Block<T> {
    held: T,
    stamp: u64,
}

type Held<R> = <<R as Rival>::Hand as Hand>::Held;

/// The first seats read, the others write.
fn job<R: Rival>(stage: Stage<R>, writers: usize, places: usize) -> Job<Tally>
where
    R::Hand: Waits,
{
    let readers = stage.readers;
    let ends = Ends::new(readers, writers, places);
    Arc::new(move |seat| match ends.take(seat) {
        End::Sender(queue) => stage.read(seat, queue),
        End::Receiver(queue) => stage.write(seat - readers, &queue),
    })
}

impl<R: Rival> Stage<R>
where
    R::Hand: Waits,
{
    /// Takes buffers, fills them and passes them on until the window closes; its end of the queue goes with it.
    fn read(&self, reader: usize, queue: Sender<Block<Held<R>>>) -> Tally {
        let mut account = Account::new(Side::Reader);
        let mut hand = self.rival.hand(Seat {
            taker: reader,
            takers: self.readers,
        });
        let mut stamp = (reader as u64 + 1) << 40;
        let mut block = reader;
        self.window.start();
        while self.window.is_open() {
            let Some(mut held) = hand.wait(self.window.limit()) else {
                account.had_nothing(&self.window);
                break;
            };
            let bytes = hand.bytes(&mut held);
            self.areas.read(block % self.areas.blocks(), bytes);
            block += self.readers;
            stamp += 1;
            write_stamp(bytes, stamp);
            if let Err(unsent) = queue.send(Block { held, stamp }) {
                // No writer is left, which does not happen: writers outlast the readers.
                hand.give(unsent.into_inner().held);
            }
            account.done(&self.window);
        }
        drop(queue);
        account.tally()
    }

    /// Writes what arrives and gives it back, until every reader is gone and the queue is empty.
    fn write(&self, writer: usize, queue: &Receiver<Block<Held<R>>>) -> Tally {
        let mut account = Account::new(Side::Writer);
        let mut hand = self.rival.hand(Seat {
            taker: writer % self.readers,
            takers: self.readers,
        });
        let mut lane = self.areas.lane(writer);
        self.window.start();
        for Block { mut held, stamp } in queue {
            let bytes = hand.bytes(&mut held);
            lane.write(bytes);
            // After the copy: a second holder may have come meanwhile.
            if read_stamp(bytes) != stamp {
                account.wrongs.doubled += 1;
            }
            if !hand.give(held) {
                account.wrongs.rejected += 1;
            }
            account.done(&self.window);
        }
        account.tally()
    }
}
