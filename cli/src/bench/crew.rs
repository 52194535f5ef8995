//! The worker threads, started once for the whole run.
//!
//! Owns the threads and the channels to them. A window gives the crew one job; each worker runs it with its own
//! seat number and reports what comes of it. The threads outlive the rivals, so an allocator that keeps something per thread
//! neither pays for new threads inside a measurement nor leaves caches behind in dead ones.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use super::cpus::{self, List};

/// What every worker of a window runs, given its seat; it reports a tally.
pub type Job<T> = Arc<dyn Fn(usize) -> T + Send + Sync>;

/// A job whose tallies go to whoever gave it.
type Errand = Arc<dyn Fn(usize) + Send + Sync>;

/// Threads waiting for jobs.
pub struct Crew {
    seats: Vec<Sender<Errand>>,
    /// One message from each worker that is there, and one for each errand that it has done and let go of.
    done: Receiver<io::Result<()>>,
    threads: Vec<JoinHandle<()>>,
    /// Where they are pinned, each to that of its seat.
    cpus: Option<List>,
}

impl Crew {
    /// Starts `workers` threads, each once the one before it waits for jobs. Where there are `cpus`, each is pinned to the
    /// one of its seat.
    ///
    /// An allocator that was loaded before the C library may hook the start of threads. rpmalloc has those that start at
    /// once spin for each other, for seconds where they are many: whoever is measured, or built, meanwhile has no processor.
    pub fn hire(workers: usize, cpus: Option<List>) -> io::Result<Crew> {
        let (report, done) = mpsc::channel();
        let mut crew = Crew {
            seats: Vec::with_capacity(workers),
            done,
            threads: Vec::with_capacity(workers),
            cpus,
        };
        for seat in 0..workers {
            let (sender, errands) = mpsc::channel();
            let done = report.clone();
            let cpu = crew.cpus.as_ref().map(|cpus| cpus.of_seat(seat));
            let thread = thread::Builder::new()
                .name(format!("worker-{seat}"))
                .stack_size(256 << 10)
                .spawn(move || {
                    let _ = done.send(cpu.map_or(Ok(()), cpus::pin));
                    serve(seat, &errands, &done);
                })?;
            crew.seats.push(sender);
            crew.threads.push(thread);
            // A worker ends only with the crew.
            crew.done.recv().unwrap_or(Ok(()))?;
        }
        Ok(crew)
    }

    /// Where the workers are pinned.
    pub fn cpus(&self) -> Option<&List> {
        self.cpus.as_ref()
    }

    /// Runs the job on the first `workers` threads and waits for their tallies.
    pub fn run<T: Send + 'static>(&self, workers: usize, job: Job<T>) -> Vec<T> {
        let (report, tallies) = mpsc::channel();
        let errand: Errand = Arc::new(move |seat| {
            // The receiver waits below.
            let _ = report.send(job(seat));
        });
        for seat in &self.seats[..workers] {
            // A worker ends only with the crew.
            let _ = seat.send(Arc::clone(&errand));
        }
        drop(errand);
        // Rivals end when their group ends, not when a worker wakes up next: each has let go of the job by then.
        self.done.iter().take(workers).for_each(drop);
        tallies.iter().collect()
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

fn serve(seat: usize, errands: &Receiver<Errand>, done: &Sender<io::Result<()>>) {
    while let Ok(errand) = errands.recv() {
        // The others of a window wait for each other at its start; a worker that unwound would leave them there for
        // good. The panic's own message has been printed.
        if catch_unwind(AssertUnwindSafe(|| errand(seat))).is_err() {
            process::exit(101);
        }
        drop(errand);
        if done.send(Ok(())).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The names of this process's threads. A thread has its own once its start is behind it.
    fn names() -> Vec<String> {
        let threads = fs::read_dir("/proc/self/task").expect("there is a list of threads");
        let names =
            threads.map(|thread| fs::read_to_string(thread.expect("read").path().join("comm")));
        names.map(|name| name.unwrap_or_default()).collect()
    }

    #[test]
    fn every_worker_is_pinned_to_the_processor_of_its_seat() {
        let allowed = cpus::affinity().expect("the system says it");
        let crew = Crew::hire(5, Some(allowed.clone())).expect("threads start");
        let places = crew.run(5, Arc::new(|seat| (seat, cpus::affinity().ok())));
        assert_eq!(places.len(), 5);
        for (seat, place) in places {
            let own = List::of_cpus(&allowed.of_seat(seat).to_string()).ok();
            assert_eq!(place, own, "seat {seat}");
        }
        let free = Crew::hire(1, None).expect("a thread starts");
        let places = free.run(1, Arc::new(|_| cpus::affinity().ok()));
        assert_eq!(places, [Some(allowed)]);
    }

    #[test]
    fn a_crew_that_cannot_be_pinned_is_not_hired() {
        let none = List::of_cpus("8191").expect("it is a list");
        assert!(Crew::hire(2, Some(none)).is_err());
    }

    #[test]
    fn every_worker_is_there_when_the_crew_is_hired() {
        const WORKERS: usize = 500;
        let crew = Crew::hire(WORKERS, None).expect("threads start");
        let names = names();
        // Other tests have smaller crews.
        for seat in 300..WORKERS {
            assert!(names.contains(&format!("worker-{seat}\n")), "{seat}");
        }
        let tallies = crew.run(WORKERS, Arc::new(|seat| seat));
        assert_eq!(tallies.iter().sum::<usize>(), WORKERS * (WORKERS - 1) / 2);
    }
}
