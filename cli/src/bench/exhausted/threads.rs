//! Threads around a pool that runs dry.
//!
//! Owns the loops of the crowd and of the pipeline, compiled once for each rival. Uses the crew's threads, the queue
//! between producers and consumers (`seats`) and the worker's account; `Arenas` makes its contestants.
//!
//! ```text
//! crowd      each thread:  wait for a buffer, hold, give
//! pipeline   producer:     wait for a buffer --[queue]--> consumer: hold, give
//! ```
//!
//! The queue has a place for every buffer of the pool, so it never makes a producer wait: the pool does. Without a
//! pool it is the queue that does.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::shape::{DryShape, Form};
use super::window::{Account, Item, Lengths, Tally, Visit, Window};
use super::work::Holding;
use super::{Contestant, Stage};
use crate::bench::crew::Job;
use crate::bench::seats::{End, Ends};
use crate::rival::{Rival, Seat, SystemCalls, Waits};

/// A rival that threads wait at.
pub struct Threads<R>(Arc<R>);

impl<R: Rival> Threads<R> {
    pub fn new(rival: R) -> Threads<R> {
        Threads(Arc::new(rival))
    }
}

impl<R: Rival> Contestant for Threads<R>
where
    R::Hand: Waits,
{
    fn visit(&self, stage: &Stage<'_>, shape: DryShape, lengths: Lengths) -> Visit {
        let workers = shape.workers();
        let shared = Shared {
            rival: Arc::clone(&self.0),
            window: Window::new(lengths, shape.takers()),
            holding: Holding::new(shape.hold),
            takers: shape.takers(),
        };
        let job: Job<Tally> = match shape.form {
            Form::Crowd { .. } => Arc::new(move |seat| shared.crowd(seat)),
            Form::Pipeline { producers, .. } => pipeline(shared, producers, shape),
        };
        let before = self.0.system_calls();
        let tallies = stage.crew.run(workers, job);
        Visit {
            calls: SystemCalls::between(before, self.0.system_calls()),
            lost: self.0.missing(),
            ..Visit::new(lengths, tallies, None)
        }
    }
}

/// What the workers of one measurement share.
struct Shared<R> {
    rival: Arc<R>,
    window: Window,
    holding: Holding,
    takers: usize,
}

impl<R: Rival> Shared<R>
where
    R::Hand: Waits,
{
    fn hand(&self, seat: usize) -> R::Hand {
        self.rival.hand(Seat {
            taker: seat % self.takers,
            takers: self.takers,
        })
    }

    fn crowd(&self, seat: usize) -> Tally {
        let mut account = Account::new(seat);
        let mut hand = self.hand(seat);
        while let Some(asked) = account.ask(&self.window) {
            let Some(held) = hand.wait(self.window.limit()) else {
                account.had_nothing(&self.window);
                break;
            };
            let item = account.had(&self.window, &hand, held, asked);
            self.holding.hold();
            account.give(&mut hand, item);
        }
        account.tally()
    }

    /// Takes and passes on; its end of the queue goes with it.
    fn produce(&self, seat: usize, queue: Sender<Item<Held<R>>>) -> Tally {
        let mut account = Account::new(seat);
        let mut hand = self.hand(seat);
        while let Some(asked) = account.ask(&self.window) {
            let Some(held) = hand.wait(self.window.limit()) else {
                account.had_nothing(&self.window);
                break;
            };
            let item = account.had(&self.window, &hand, held, asked);
            if let Err(unsent) = queue.send(item) {
                // No consumer is left, which does not happen: consumers outlast the producers.
                account.give(&mut hand, unsent.into_inner());
            }
        }
        drop(queue);
        account.tally()
    }

    /// Holds and gives back what arrives, until every producer is gone and the queue is empty.
    fn consume(&self, seat: usize, queue: &Receiver<Item<Held<R>>>) -> Tally {
        let mut account = Account::new(seat);
        let mut hand = self.hand(seat);
        for item in queue {
            account.look(&self.window);
            self.holding.hold();
            account.give(&mut hand, item);
        }
        account.tally()
    }
}

type Held<R> = <<R as Rival>::Hand as crate::rival::Hand>::Held;

/// The first seats produce, the others consume.
fn pipeline<R: Rival>(shared: Shared<R>, producers: usize, shape: DryShape) -> Job<Tally>
where
    R::Hand: Waits,
{
    let ends = Ends::new(producers, shape.workers() - producers, shape.buffers);
    Arc::new(move |seat| match ends.take(seat) {
        End::Sender(queue) => shared.produce(seat, queue),
        End::Receiver(queue) => shared.consume(seat, &queue),
    })
}
