//! Tests of this pattern with rivals that are wrong on purpose: each defect must be found and none may hang the run.
//!
//! Uses `faulty` and the real crew, runtime, windows and loops.

use std::time::Duration;

use super::outcome::{self, compare};
use super::shape::{DryShape, Form, Hold};
use super::window::{Lengths, Visit};
use super::{Contestant, Stage, Tasks, Threads};
use crate::bench::crew::Crew;
use crate::bench::faulty::{Defect, Wrong};
use crate::bench::figure::Figure;
use crate::bench::pattern::Pattern;
use crate::bench::plan::Group;
use crate::bench::row::Row;
use crate::bench::window::Wrongs;
use crate::rival::preset::NoPool;
use crate::rival::{Name, Shape};

const SIZE: usize = 512;

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
    let crew = Crew::hire(shape.workers(), None).expect("a few threads can be started");
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
        let wrong = || Wrong::new(defect, shape.buffers, SIZE);
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
                &Threads::new(Wrong::new(Defect::None, shape.buffers, SIZE)),
                shape,
                lengths,
            ),
            visit(
                &Tasks::new(Wrong::new(Defect::None, shape.buffers, SIZE)),
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
        sides: None,
        notes: Vec::new(),
    }
}

fn row(name: Name, shape: DryShape, visit: Visit) -> Row {
    outcome::row(name, &group(shape), visit)
}

#[test]
fn what_went_wrong_is_said_in_words() {
    let shape = SMALL[0];
    let lost = visit(
        &Threads::new(Wrong::new(Defect::LosesAll, shape.buffers, SIZE)),
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
        &Threads::new(Wrong::new(Defect::None, shape.buffers, SIZE)),
        shape,
        LENGTHS,
    );
    let row = row(Name::Hugepool, shape, counted);
    let calls = [
        Figure::SleepsPerTake,
        Figure::WakesPerTake,
        Figure::BarriersPerTake,
    ];
    assert_eq!(
        calls.map(|figure| row.median(figure)),
        [Some(0.0), Some(2.0), Some(3.0)]
    );
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
    let beyond = rows.map(|row| row.median(Figure::BeyondWork));
    assert_eq!(beyond, [Some(5.0), None, Some(20.0), None]);
}
