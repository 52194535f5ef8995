//! Runs a model, and its broken twins.

use crate::quarantine::Quarantine;
use hugepool::model::{Fault, plant};
use loom::thread::JoinHandle;
use std::any::Any;
use std::cell::Cell;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// Raises the preemption bound of every model that allows it.
const BOUND: &str = "HUGEPOOL_LOOM_BOUND";

/// A program, how deep to search its schedules, and what must break it.
pub struct Model {
    bounds: RangeInclusive<usize>,
    twins: &'static [Fault],
    program: fn(),
    long: bool,
}

/// What loom said about one program.
struct Outcome {
    failure: Option<String>,
    iterations: usize,
    time: Duration,
}

impl Model {
    /// A model of `program`, which is run with at most `bounds.start()`
    /// preemptions, or with as many as `HUGEPOOL_LOOM_BOUND` says if that is
    /// within `bounds`. Its end is where the search takes too long, or where the
    /// property ends (it then says why). Each of `twins` must make it fail.
    pub const fn new(
        bounds: RangeInclusive<usize>,
        twins: &'static [Fault],
        program: fn(),
    ) -> Self {
        Self {
            bounds,
            twins,
            program,
            long: false,
        }
    }

    /// The same, whose search takes long if `long`: it is run only where `HUGEPOOL_LOOM_BOUND` is
    /// set. Its twins always are.
    #[must_use]
    pub const fn long(self, long: bool) -> Self {
        Self { long, ..self }
    }

    /// The faults that must make it fail.
    pub fn twins(&self) -> &'static [Fault] {
        self.twins
    }

    /// Runs the model and its twins and prints a line for each.
    ///
    /// # Panics
    ///
    /// If the model fails, or one of its twins does not.
    pub fn check(&self, name: &str) {
        let bound = self.bound();
        if self.long && std::env::var_os(BOUND).is_none() {
            println!("SKIPPED: model {name} takes long: set {BOUND}");
        } else {
            let right = self.run(bound, None);
            println!(
                "model {name:<66} bound {bound} iterations {:>8} {:>8.2?}",
                right.iterations, right.time
            );
            if let Some(failure) = right.failure {
                panic!("{name} fails: {failure}");
            }
        }
        for &fault in self.twins {
            // A twin needs no more preemptions than it takes to break it.
            let broken = self.run(*self.bounds.start(), Some(fault));
            let Some(failure) = broken.failure else {
                panic!("{name} holds although {fault:?} is planted");
            };
            // A program that runs into loom's own limits is not caught.
            assert!(
                !failure.contains("maximum number of"),
                "{name} never ends with {fault:?} planted: {failure}"
            );
            // Nor is one that fails while it is still alone.
            assert!(
                SPAWNED.get(),
                "{name} needs no second thread to fail with {fault:?} planted: {failure}"
            );
            println!(
                "twin  {name:<66} {fault:<18} caught at {:>5} {:>8.2?} {failure}",
                broken.iterations,
                broken.time,
                fault = format!("{fault:?}"),
            );
        }
    }

    fn bound(&self) -> usize {
        std::env::var(BOUND)
            .ok()
            .and_then(|bound| bound.parse::<usize>().ok())
            .map_or(*self.bounds.start(), |bound| {
                bound.clamp(*self.bounds.start(), *self.bounds.end())
            })
    }

    fn run(&self, bound: usize, fault: Option<Fault>) -> Outcome {
        let iterations = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&iterations);
        let program = self.program;
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(bound);
        builder.max_branches = 20_000;
        let started = Instant::now();
        let _planted = Planted::new(fault);
        let _quarantine = Quarantine::begin();
        let result = catch_unwind(AssertUnwindSafe(|| {
            builder.check(move || {
                // std's atomics: loom does not see them.
                counted.fetch_add(1, Ordering::Relaxed);
                Quarantine::release();
                SPAWNED.set(false);
                program();
            });
        }));
        Outcome {
            failure: result.err().map(|payload| message(&*payload)),
            iterations: iterations.load(Ordering::Relaxed),
            time: started.elapsed(),
        }
    }
}

thread_local! {
    /// A panic on this thread is what a twin is expected to do.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
    /// The execution that runs on this thread, or did last, has a second thread.
    static SPAWNED: Cell<bool> = const { Cell::new(false) };
}

/// Starts a thread of a model.
pub fn spawn<T: 'static>(run: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    SPAWNED.set(true);
    loom::thread::spawn(run)
}

/// A fault that is planted, and whose panics are silent, while this lives.
struct Planted;

impl Planted {
    fn new(fault: Option<Fault>) -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let loud = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if !EXPECTED.get() {
                    loud(info);
                }
            }));
        });
        plant(fault);
        EXPECTED.set(fault.is_some());
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
        EXPECTED.set(false);
    }
}

/// The first line of a panic's message.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    text.lines().next().unwrap_or_default().to_owned()
}
