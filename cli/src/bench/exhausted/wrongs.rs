//! Tests of this pattern with rivals that are wrong on purpose: each defect must be found and none may hang the run.
//!
//! Owns a small pool with one switchable defect, at which threads and tasks wait; uses the real crew, runtime, windows
//! and loops.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::outcome::{Tallies, compare};
use super::shape::{DryShape, Form, Hold};
use super::window::{Lengths, Visit};
use super::{Contestant, Stage, Tasks, Threads};
use crate::bench::crew::Crew;
use crate::bench::pattern::Pattern;
use crate::bench::plan::Group;
use crate::bench::row::Row;
use crate::bench::window::Wrongs;
use crate::rival::preset::NoPool;
use crate::rival::{Awaits, Hand, Name, Rival, Seat, Shape, SystemCalls, Waits};

const SIZE: usize = 512;

type Buffer = Box<[u8]>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    None,
    /// Drops buffers that come home, until one is left.
    Loses,
    /// Drops every buffer that comes home.
    LosesAll,
    /// Does not serve those who wait when a buffer comes home.
    Deaf,
    /// Will not take buffers back, but keeps them.
    Rejects,
    /// Hands the same memory to two takers.
    Doubles,
}

struct Inner {
    defect: Defect,
    free: Vec<Buffer>,
    left: usize,
    gives: u64,
    /// What the doubling pool writes over, as a second holder would.
    second_holder: u8,
}

#[derive(Clone)]
struct Wrong {
    inner: Arc<(Mutex<Inner>, Condvar)>,
    buffers: usize,
}

impl Wrong {
    fn new(defect: Defect, buffers: usize) -> Wrong {
        let inner = Inner {
            defect,
            free: (0..buffers).map(|_| vec![0; SIZE].into()).collect(),
            left: buffers,
            gives: 0,
            second_holder: 0,
        };
        Wrong {
            inner: Arc::new((Mutex::new(inner), Condvar::new())),
            buffers,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rival for Wrong {
    type Hand = Wrong;

    fn hand(&self, _: Seat) -> Wrong {
        self.clone()
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.buffers)
    }

    /// Two wakes for each give.
    fn system_calls(&self) -> Option<SystemCalls> {
        Some(SystemCalls {
            sleeps: 0,
            wakes: 2 * self.lock().gives,
            barriers: 0,
        })
    }
}

impl Hand for Wrong {
    type Held = Buffer;

    fn take(&mut self) -> Option<Buffer> {
        self.lock().free.pop()
    }

    fn give(&mut self, held: Buffer) -> bool {
        let mut inner = self.lock();
        inner.gives += 1;
        let drops = match inner.defect {
            Defect::Loses => inner.left > 1,
            Defect::LosesAll => true,
            _ => false,
        };
        if drops {
            inner.left -= 1;
        } else {
            inner.free.push(held);
        }
        self.inner.1.notify_one();
        inner.defect != Defect::Rejects
    }

    fn bytes<'h>(&self, held: &'h mut Buffer) -> &'h mut [u8] {
        let mut inner = self.lock();
        if inner.defect == Defect::Doubles {
            inner.second_holder = inner.second_holder.wrapping_add(1);
            held[7] = inner.second_holder;
        }
        &mut held[..]
    }
}

impl Waits for Wrong {
    fn wait(&mut self, limit: Duration) -> Option<Buffer> {
        let inner = self.lock();
        if inner.defect == Defect::Deaf && inner.free.is_empty() {
            drop(inner);
            thread::sleep(limit);
            return None;
        }
        let (mut inner, _) = self
            .inner
            .1
            .wait_timeout_while(inner, limit, |inner| inner.free.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        inner.free.pop()
    }
}

impl Awaits for Wrong {
    async fn wait(&mut self) -> Option<Buffer> {
        if let Some(buffer) = self.take() {
            return Some(buffer);
        }
        loop {
            tokio::task::yield_now().await;
            let mut inner = self.lock();
            if inner.defect != Defect::Deaf
                && let Some(buffer) = inner.free.pop()
            {
                return Some(buffer);
            }
        }
    }
}

/// A crowd and a pipeline that are dry from the first moment on.
const SMALL: [DryShape; 2] = [
    DryShape {
        name: "small-crowd",
        form: Form::Crowd { workers: 6 },
        buffers: 2,
        hold: Hold::Asleep(Duration::from_micros(1)),
        windows: 1,
    },
    DryShape {
        name: "small-pipeline",
        form: Form::Pipeline {
            producers: 4,
            consumers: 2,
        },
        buffers: 2,
        hold: Hold::Nothing,
        windows: 1,
    },
];

/// A busy machine may let a thread wait long at a pool that is sound.
const LENGTHS: Lengths = Lengths {
    window: Duration::from_millis(20),
    patience: Duration::from_secs(30),
};

/// For pools at which somebody waits for ever.
const HASTY: Lengths = Lengths {
    patience: Duration::from_millis(300),
    ..LENGTHS
};

fn visit(contestant: &dyn Contestant, shape: DryShape, lengths: Lengths) -> Visit {
    let crew = Crew::hire(shape.workers()).expect("a few threads can be started");
    let stage = Stage::new(&crew).expect("a runtime can be started");
    contestant.visit(&stage, shape, lengths)
}

/// Threads and tasks, in both forms.
fn visit_all(defect: Defect) -> Vec<(String, Visit)> {
    let lengths = match defect {
        Defect::LosesAll | Defect::Deaf => HASTY,
        _ => LENGTHS,
    };
    let mut visits = Vec::new();
    for shape in SMALL {
        let wrong = || Wrong::new(defect, shape.buffers);
        let threads = visit(&Threads::new(wrong()), shape, lengths);
        visits.push((format!("threads, {shape}"), threads));
        let tasks = visit(&Tasks::new(wrong()), shape, lengths);
        visits.push((format!("tasks, {shape}"), tasks));
    }
    visits
}

#[test]
fn a_sound_pool_has_nothing_wrong_by_threads_and_by_tasks() {
    for (how, visit) in visit_all(Defect::None) {
        assert_eq!(visit.wrongs, Wrongs::default(), "{how}");
        assert_eq!(visit.lost, 0, "{how}");
        assert!(visit.takes > 0, "{how}");
        assert!(visit.waits.len() >= visit.takes, "{how}");
        assert!(visit.all >= visit.waits.len(), "{how}");
        assert!(visit.takes_per_s > 0.0, "{how}");
        assert!(visit.cpu_ns_per_take.is_some_and(|ns| ns > 0.0), "{how}");
        let share = visit.least_share.expect("there were takes");
        assert!((0.0..=1.0).contains(&share), "{how}: {share}");
    }
}

#[test]
fn every_shape_begins_and_ends_in_a_short_window() {
    let lengths = Lengths {
        window: Duration::from_millis(2),
        ..LENGTHS
    };
    for shape in DryShape::ALL {
        for visit in [
            visit(
                &Threads::new(Wrong::new(Defect::None, shape.buffers)),
                shape,
                lengths,
            ),
            visit(
                &Tasks::new(Wrong::new(Defect::None, shape.buffers)),
                shape,
                lengths,
            ),
            visit(&Threads::new(NoPool), shape.without_a_pool(), lengths),
            visit(&Tasks::new(NoPool), shape.without_a_pool(), lengths),
        ] {
            assert_eq!(visit.wrongs, Wrongs::default(), "{shape}");
            assert_eq!(visit.lost, 0, "{shape}");
            assert!(visit.all > 0, "{shape}");
        }
    }
}

#[test]
fn buffers_that_do_not_come_home_are_missed() {
    for (how, visit) in visit_all(Defect::Loses) {
        assert_eq!(visit.lost, 1, "{how}");
    }
}

#[test]
fn a_pool_that_loses_all_ends_the_window_and_nobody_waits_for_ever() {
    for (how, visit) in visit_all(Defect::LosesAll) {
        assert_eq!(visit.lost, 2, "{how}");
        assert!(visit.wrongs.refused > 0, "{how}");
        assert!(visit.wrongs.stalled, "{how}");
    }
}

#[test]
fn a_pool_that_forgets_who_waits_is_found() {
    for (how, visit) in visit_all(Defect::Deaf) {
        assert!(visit.wrongs.refused > 0, "{how}");
        assert!(visit.wrongs.stalled, "{how}");
    }
}

#[test]
fn a_rejected_buffer_is_counted() {
    for (how, visit) in visit_all(Defect::Rejects) {
        assert!(visit.wrongs.rejected > 0, "{how}");
    }
}

#[test]
fn a_second_holder_is_seen_by_its_stamp() {
    for (how, visit) in visit_all(Defect::Doubles) {
        assert!(visit.wrongs.doubled > 0, "{how}");
    }
}

fn group(shape: DryShape) -> Group {
    Group {
        pattern: Pattern::Exhausted,
        threads: shape.workers(),
        shape: Shape {
            size: SIZE,
            alignment: 1,
            buffers: shape.buffers,
        },
        depth: 1,
        area: 0,
        rivals: vec![Name::Hugepool],
        dry: Some(shape),
        notes: Vec::new(),
    }
}

fn row(name: Name, shape: DryShape, visit: Visit) -> Row {
    let mut tallies = Tallies::default();
    tallies.add(visit);
    tallies.row(name, &group(shape), shape)
}

#[test]
fn what_went_wrong_is_said_in_words() {
    let shape = SMALL[0];
    let lost = visit(
        &Threads::new(Wrong::new(Defect::LosesAll, shape.buffers)),
        shape,
        HASTY,
    );
    let fault = row(Name::Hugepool, shape, lost)
        .fault()
        .expect("it lost everything");
    for words in [
        "waits end without a buffer",
        "lost 2 buffers",
        "stopped making progress",
    ] {
        assert!(fault.contains(words), "{fault}");
    }
}

#[test]
fn system_calls_are_reported_for_each_take() {
    let shape = SMALL[0];
    let counted = visit(
        &Threads::new(Wrong::new(Defect::None, shape.buffers)),
        shape,
        LENGTHS,
    );
    let row = row(Name::Hugepool, shape, counted);
    let calls = row
        .dry
        .and_then(|dry| dry.calls)
        .expect("the pool counts them");
    assert_eq!((calls.sleeps, calls.wakes, calls.barriers), (0.0, 2.0, 0.0));
}

#[test]
fn the_work_of_the_shape_is_taken_off_by_kind_of_worker() {
    let shape = SMALL[0];
    let with = |name, cpu_ns_per_take| {
        row(
            name,
            shape,
            Visit {
                cpu_ns_per_take: Some(cpu_ns_per_take),
                ..Visit::new(LENGTHS, Vec::new(), None)
            },
        )
    };
    let mut rows = [
        with(Name::Hugepool, 9.0),
        with(Name::NoPool, 4.0),
        with(Name::HugepoolTasks, 30.0),
        with(Name::NoPoolTasks, 10.0),
    ];
    compare(&mut rows);
    let beyond = rows.map(|row| row.dry.and_then(|dry| dry.beyond_ns));
    assert_eq!(beyond, [Some(5.0), None, Some(20.0), None]);
}
