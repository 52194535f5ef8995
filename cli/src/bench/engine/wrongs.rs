//! Tests of this pattern with rivals that are wrong on purpose: each defect must be found and none may hang the run.
//!
//! Uses `faulty` and the real crew, windows and loops.

use std::sync::Arc;
use std::time::Duration;

use super::areas::Areas;
use super::outcome;
use super::window::{Lengths, PerBlock, Visit};
use super::{Bound, Contestant, Pipeline};
use crate::bench::crew::Crew;
use crate::bench::faulty::{Defect, Wrong};
use crate::bench::figure::Figure;
use crate::bench::pattern::Pattern;
use crate::bench::plan::Group;
use crate::bench::row::Row;
use crate::bench::window::Wrongs;
use crate::rival::{Mapping, Name, Shape, array};

const SIZE: usize = 4096;
const THREADS: usize = 4;
const BUFFERS: usize = 6;

/// A busy machine may let a thread wait long at a pool that is sound.
const LENGTHS: Lengths = Lengths {
    lead_in: Duration::from_millis(2),
    window: Duration::from_millis(10),
    patience: Duration::from_secs(30),
};

/// For pools at which somebody waits for ever.
const HASTY: Lengths = Lengths {
    patience: Duration::from_millis(300),
    ..LENGTHS
};

fn group() -> Group {
    Group {
        pattern: Pattern::Engine,
        threads: THREADS,
        shape: Shape {
            size: SIZE,
            alignment: 512,
            buffers: BUFFERS,
        },
        depth: 1,
        area: 8,
        rivals: vec![Name::Hugepool],
        dry: None,
        sides: None,
        notes: Vec::new(),
    }
}

fn visit(contestant: &dyn Contestant, areas: &Arc<Areas>, lengths: Lengths) -> Visit {
    let crew = Crew::hire(THREADS, None).expect("a few threads can be started");
    contestant.visit(&crew, &group(), areas, lengths)
}

fn areas() -> Arc<Areas> {
    Arc::new(Areas::new(&group()).expect("there is room for a few blocks"))
}

fn visit_wrong(defect: Defect) -> Visit {
    let lengths = match defect {
        Defect::LosesAll => HASTY,
        _ => LENGTHS,
    };
    let pipeline = Pipeline::new(Wrong::new(defect, BUFFERS, SIZE), Bound::Buffers);
    visit(&pipeline, &areas(), lengths)
}

#[test]
fn a_sound_pool_has_nothing_wrong_and_every_figure() {
    let visit = visit_wrong(Defect::None);
    assert_eq!(visit.wrongs, Wrongs::default());
    assert_eq!(visit.lost, 0);
    assert!(visit.blocks > 0);
    assert!(visit.blocks_per_s.is_some_and(|rate| rate > 0.0));
    let used = visit.used.expect("both sides had blocks");
    assert!(used.cpu_ns > 0.0);
    assert_eq!(visit.barriers, Some(3.0));
}

#[test]
fn a_window_without_length_has_something_to_count_on_each_side() {
    let brief = Lengths {
        lead_in: Duration::ZERO,
        window: Duration::ZERO,
        ..LENGTHS
    };
    for (bound, buffers) in [(Bound::Buffers, BUFFERS), (Bound::Queue, 4 * BUFFERS)] {
        let pipeline = Pipeline::new(Wrong::new(Defect::None, buffers, SIZE), bound);
        for _ in 0..20 {
            let visit = visit(&pipeline, &areas(), brief);
            assert!(visit.used.is_some(), "{bound:?}");
            assert!(visit.blocks_per_s.is_some(), "{bound:?}");
        }
    }
}

#[test]
fn no_more_blocks_are_under_way_than_may_be() {
    for (bound, buffers) in [(Bound::Buffers, BUFFERS), (Bound::Queue, 4 * BUFFERS)] {
        let wrong = Wrong::new(Defect::None, buffers, SIZE);
        let visit = visit(&Pipeline::new(wrong.clone(), bound), &areas(), LENGTHS);
        assert_eq!(visit.wrongs, Wrongs::default(), "{bound:?}");
        let most = wrong.most_out();
        assert!(most <= BUFFERS, "{bound:?}: {most} of {BUFFERS}");
    }
}

#[test]
fn what_is_written_is_what_was_read() {
    let areas = areas();
    let pipeline = Pipeline::new(Wrong::new(Defect::None, BUFFERS, SIZE), Bound::Buffers);
    let visit = visit(&pipeline, &areas, LENGTHS);
    assert!(visit.blocks > 0);
    let mut written = 0;
    for writer in 0..THREADS / 2 {
        let mut lane = areas.lane(writer);
        let block = lane.last();
        // The reader's stamp stands at the start.
        let (_, content) = block.split_at(size_of::<u64>());
        written += usize::from(content[0] != 0);
        assert!(content.iter().all(|byte| *byte == content[0]));
    }
    assert!(written > 0, "nobody wrote anything");
}

#[test]
fn buffers_that_do_not_come_home_are_missed() {
    let visit = visit_wrong(Defect::Loses);
    assert_eq!(visit.lost, BUFFERS - 1);
}

#[test]
fn a_pool_that_loses_all_ends_the_window_and_nobody_waits_for_ever() {
    let visit = visit_wrong(Defect::LosesAll);
    assert_eq!(visit.lost, BUFFERS);
    assert!(visit.wrongs.refused > 0 && visit.wrongs.stalled);
    assert_eq!(visit.blocks_per_s, None);
    let fault = outcome::row(Name::Hugepool, &group(), &visit).fault();
    let fault = fault.expect("it lost everything");
    for words in ["waits end without a buffer", "lost 6 buffers"] {
        assert!(fault.contains(words), "{fault}");
    }
}

#[test]
fn a_rejected_buffer_is_counted() {
    assert!(visit_wrong(Defect::Rejects).wrongs.rejected > 0);
}

#[test]
fn a_second_holder_is_seen_by_its_stamp() {
    assert!(visit_wrong(Defect::Doubles).wrongs.doubled > 0);
}

#[test]
fn a_block_of_the_array_has_one_owner_and_comes_home() {
    let mapping = Mapping::ordinary(group().shape).expect("there is room for a few blocks");
    let pipeline = Pipeline::new(array::array(Arc::new(mapping)), Bound::Queue);
    let visit = visit(&pipeline, &areas(), LENGTHS);
    assert_eq!(visit.wrongs, Wrongs::default());
    assert_eq!(visit.lost, 0);
    assert_eq!(visit.barriers, None);
}

#[test]
fn rounds_come_to_their_medians_for_a_gib() {
    let mut row = Row::empty(Name::Hugepool, &group());
    let blocks_per_gib = 262_144.0;
    for factor in [1.0, 5.0, 2.0] {
        let visit = Visit {
            blocks: 10,
            blocks_per_s: Some(factor * blocks_per_gib),
            used: Some(PerBlock {
                cpu_ns: factor * 1000.0,
                faults: factor,
                sleeps: factor / 2.0,
            }),
            barriers: Some(factor / 4.0),
            wrongs: Wrongs::default(),
            lost: 0,
        };
        row.gather(outcome::row(Name::Hugepool, &group(), &visit));
    }
    assert_eq!(row.ops, 30);
    assert_eq!(row.median(Figure::CpuNsPerOp), Some(2000.0));
    assert_eq!(row.median(Figure::GibPerS), Some(2.0));
    let cpu = row.median(Figure::CpuSPerGib).expect("there were rounds");
    assert!((cpu - 0.524_288).abs() < 1e-9, "{cpu}");
    assert_eq!(row.median(Figure::FaultsPerGib), Some(2.0 * blocks_per_gib));
    assert_eq!(row.median(Figure::SleepsPerGib), Some(blocks_per_gib));
    assert_eq!(
        row.median(Figure::BarriersPerGib),
        Some(blocks_per_gib / 2.0)
    );
}
