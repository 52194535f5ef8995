//! Tasks around a pool that runs dry.
//!
//! Owns the same loops as `threads`, awaiting instead of blocking, and the conductor that starts the tasks on tokio's
//! runtime. Uses the worker's account; `Arenas` makes its contestants.
//!
//! Two things differ from threads:
//!
//! - A task that computes is interrupted by nobody. It lets the others run once while it holds its buffer, as one
//!   does that reads or writes; otherwise no more buffers would be out than the runtime has workers, and no pool
//!   would ever run dry.
//! - tokio's queue has one receiver. Each consumer has a queue of its own, and the producers are shared out among
//!   them.

use std::process;
use std::sync::Arc;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::{self, JoinSet};
use tokio::time;

use super::shape::{DryShape, Form};
use super::window::{Account, Item, Lengths, Tally, Visit, Window};
use super::work::{self, Holding};
use super::{Contestant, Stage};
use crate::bench::clock;
use crate::bench::window::Wrongs;
use crate::rival::{Awaits, Hand, Rival, Seat, SystemCalls};

/// A rival that tasks wait at.
pub struct Tasks<R>(Arc<R>);

impl<R: Rival> Tasks<R> {
    pub fn new(rival: R) -> Tasks<R> {
        Tasks(Arc::new(rival))
    }
}

impl<R: Rival> Contestant for Tasks<R>
where
    R::Hand: Awaits,
{
    fn visit(&self, stage: &Stage<'_>, shape: DryShape, lengths: Lengths) -> Visit {
        let shared = Arc::new(Shared {
            window: Window::new(lengths, shape.takers()),
            holding: Holding::new(shape.hold),
        });
        // What each task needs is made before the clock starts.
        let mut seats: Vec<Worker<R::Hand>> = (0..shape.workers())
            .map(|seat| Worker {
                account: Account::new(seat),
                hand: self.0.hand(Seat {
                    taker: seat % shape.takers(),
                    takers: shape.takers(),
                }),
                shared: Arc::clone(&shared),
            })
            .collect();
        let before = self.0.system_calls();
        // Nothing runs yet, and nothing does when the last task was seen to be over: then the time is that of the
        // tasks, to be started and to be ended included.
        let cpu = clock::process_cpu_ns();
        let (tallies, in_time) = stage.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            match shape.form {
                Form::Crowd { .. } => {
                    for worker in seats {
                        tasks.spawn(worker.crowd());
                    }
                }
                Form::Pipeline { producers, .. } => {
                    let consumers = seats.split_off(producers);
                    let mut queues = Vec::with_capacity(consumers.len());
                    for worker in consumers {
                        let (sender, receiver) = mpsc::channel(shape.buffers);
                        queues.push(sender);
                        tasks.spawn(worker.consume(receiver));
                    }
                    for (worker, queue) in seats.into_iter().zip(queues.iter().cycle()) {
                        tasks.spawn(worker.produce(queue.clone()));
                    }
                }
            }
            let mut tallies = Vec::new();
            let joined = time::timeout(lengths.limit(), join(&mut tasks, &mut tallies)).await;
            if joined.is_err() {
                shared.window.cut();
                tasks.shutdown().await;
            }
            (tallies, joined.is_ok())
        });
        let cpu_ns = clock::process_cpu_ns().saturating_sub(cpu);
        let mut visit = Visit::new(lengths, tallies, Some(cpu_ns));
        visit.calls = SystemCalls::between(before, self.0.system_calls());
        if !in_time {
            visit.wrongs.add(Wrongs {
                refused: 1,
                stalled: true,
                ..Wrongs::default()
            });
        }
        visit.lost = self.0.missing();
        visit
    }
}

/// Waits for every task.
async fn join(tasks: &mut JoinSet<Tally>, tallies: &mut Vec<Tally>) {
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(tally) => tallies.push(tally),
            // The panic's own message has been printed; the crew's threads end the program as well.
            Err(error) if error.is_panic() => process::exit(101),
            Err(_) => {}
        }
    }
}

/// What the tasks of one measurement share.
struct Shared {
    window: Window,
    holding: Holding,
}

/// One task before its start.
struct Worker<H> {
    account: Account,
    hand: H,
    shared: Arc<Shared>,
}

impl<H: Awaits> Worker<H> {
    async fn crowd(mut self) -> Tally {
        while let Some(asked) = self.account.ask(&self.shared.window) {
            let Some(held) = self.hand.wait().await else {
                self.account.had_nothing(&self.shared.window);
                break;
            };
            let item = self
                .account
                .had(&self.shared.window, &self.hand, held, asked);
            match self.shared.holding {
                Holding::Asleep(length) => time::sleep(length).await,
                Holding::Computing { iterations } => {
                    task::yield_now().await;
                    work::compute(iterations);
                }
                Holding::Nothing => task::yield_now().await,
            }
            self.account.give(&mut self.hand, item);
        }
        self.account.tally()
    }

    /// Takes and passes on; its end of the queue goes with it.
    async fn produce(mut self, queue: Sender<Item<<H as Hand>::Held>>) -> Tally {
        while let Some(asked) = self.account.ask(&self.shared.window) {
            let Some(held) = self.hand.wait().await else {
                self.account.had_nothing(&self.shared.window);
                break;
            };
            let item = self
                .account
                .had(&self.shared.window, &self.hand, held, asked);
            if let Err(unsent) = queue.send(item).await {
                // No consumer is left, which does not happen: consumers outlast the producers.
                self.account.give(&mut self.hand, unsent.0);
            }
        }
        self.account.tally()
    }

    /// Holds and gives back what arrives, until every producer is gone and the queue is empty.
    async fn consume(mut self, mut queue: Receiver<Item<<H as Hand>::Held>>) -> Tally {
        while let Some(item) = queue.recv().await {
            match self.shared.holding {
                Holding::Asleep(length) => time::sleep(length).await,
                Holding::Computing { iterations } => work::compute(iterations),
                Holding::Nothing => {}
            }
            self.account.give(&mut self.hand, item);
        }
        self.account.tally()
    }
}
