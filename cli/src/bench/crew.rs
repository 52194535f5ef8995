//! The worker threads, started once for the whole run.
//!
//! Owns the threads and the channels to them. A window gives the crew one job; each worker runs it with its own
//! seat number and reports a tally. The threads outlive the rivals, so an allocator that keeps something per thread
//! neither pays for new threads inside a measurement nor leaves caches behind in dead ones.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use super::window::Tally;

/// What every worker of a window runs, given its seat.
pub type Job = Arc<dyn Fn(usize) -> Tally + Send + Sync>;

/// Threads waiting for jobs.
pub struct Crew {
    seats: Vec<Sender<Job>>,
    tallies: Receiver<Tally>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Starts `workers` threads.
    pub fn hire(workers: usize) -> io::Result<Crew> {
        let (report, tallies) = mpsc::channel();
        let mut crew = Crew {
            seats: Vec::with_capacity(workers),
            tallies,
            threads: Vec::with_capacity(workers),
        };
        for seat in 0..workers {
            let (sender, jobs) = mpsc::channel();
            let report = report.clone();
            let thread = thread::Builder::new()
                .name(format!("worker-{seat}"))
                .stack_size(256 << 10)
                .spawn(move || serve(seat, &jobs, &report))?;
            crew.seats.push(sender);
            crew.threads.push(thread);
        }
        Ok(crew)
    }

    /// Runs the job on the first `workers` threads and waits for their tallies.
    pub fn run(&self, workers: usize, job: &Job) -> Vec<Tally> {
        for seat in &self.seats[..workers] {
            // A worker ends only with the crew.
            let _ = seat.send(Arc::clone(job));
        }
        self.tallies.iter().take(workers).collect()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.seats.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(seat: usize, jobs: &Receiver<Job>, report: &Sender<Tally>) {
    while let Ok(job) = jobs.recv() {
        // The others of a window wait for each other at its start; a worker that unwound would leave them there for
        // good. The panic's own message has been printed.
        let Ok(tally) = catch_unwind(AssertUnwindSafe(|| job(seat))) else {
            process::exit(101);
        };
        // Rivals end when their group ends, not when a worker wakes up next.
        drop(job);
        if report.send(tally).is_err() {
            return;
        }
    }
}
