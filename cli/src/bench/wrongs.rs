//! Tests of the harness with rivals that are wrong on purpose: each defect must be found and none may hang the run.
//!
//! Owns a small pool with one switchable defect; uses the real crew, windows and loops.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::crew::Crew;
use super::figure::Figure;
use super::pattern::Pattern;
use super::pipeline;
use super::plan::Group;
use super::sides::Sides;
use super::window::{Contestant, Entry, Lengths, Visit};
use crate::rival::mixed::Mixed;
use crate::rival::{Hand, Name, Rival, Seat, Shape};

const SIZE: usize = 512;

type Buffer = Box<[u8]>;

#[derive(Clone, Copy, PartialEq)]
enum Defect {
    None,
    /// Drops every hundredth buffer that comes home.
    Loses,
    /// Refuses every hundredth take.
    Refuses,
    /// Has one buffer less than it says.
    Short,
    /// Will not take buffers back, but keeps them.
    Rejects,
    /// Hands the same memory to two takers.
    Doubles,
}

struct Inner {
    defect: Defect,
    free: Vec<Buffer>,
    takes: u64,
    gives: u64,
    /// What the doubling pool writes over, as a second holder would.
    second_holder: u8,
}

#[derive(Clone)]
struct Wrong {
    inner: Arc<Mutex<Inner>>,
    buffers: usize,
}

impl Wrong {
    fn new(defect: Defect, buffers: usize) -> Wrong {
        let count = if defect == Defect::Short {
            buffers - 1
        } else {
            buffers
        };
        Wrong {
            inner: Arc::new(Mutex::new(Inner {
                defect,
                free: (0..count).map(|_| vec![0; SIZE].into()).collect(),
                takes: 0,
                gives: 0,
                second_holder: 0,
            })),
            buffers,
        }
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
}

impl Hand for Wrong {
    type Held = Buffer;

    fn take(&mut self) -> Option<Self::Held> {
        let mut inner = self.inner.lock().expect("no test panics with the lock");
        inner.takes += 1;
        if inner.defect == Defect::Refuses && inner.takes.is_multiple_of(100) {
            return None;
        }
        inner.free.pop()
    }

    fn give(&mut self, held: Self::Held) -> bool {
        let mut inner = self.inner.lock().expect("no test panics with the lock");
        inner.gives += 1;
        if inner.defect == Defect::Loses && inner.gives.is_multiple_of(100) {
            return true;
        }
        inner.free.push(held);
        inner.defect != Defect::Rejects
    }

    fn bytes<'h>(&self, held: &'h mut Self::Held) -> &'h mut [u8] {
        let mut inner = self.inner.lock().expect("no test panics with the lock");
        if inner.defect == Defect::Doubles {
            inner.second_holder = inner.second_holder.wrapping_add(1);
            held[7] = inner.second_holder;
        }
        &mut held[..]
    }
}

fn group(pattern: Pattern, threads: usize) -> Group {
    let buffers = match pattern {
        Pattern::Pipeline => threads / 2 * pipeline::PER_RING,
        _ => threads * 8,
    };
    Group {
        pattern,
        threads,
        shape: Shape {
            size: SIZE,
            alignment: 1,
            buffers,
        },
        depth: 8,
        area: 0,
        rivals: vec![Name::Hugepool],
        dry: None,
        sides: (pattern == Pattern::Pipeline).then(|| Sides::even(threads / 2)),
        notes: Vec::new(),
    }
}

fn visit(defect: Defect, pattern: Pattern, threads: usize) -> Visit {
    let group = group(pattern, threads);
    let crew = Crew::hire(threads, None).expect("a few threads can be started");
    let entry = Entry::new(Wrong::new(defect, group.shape.buffers));
    let lengths = Lengths::new(Duration::from_millis(5), threads);
    entry.visit(&crew, &group, lengths)
}

/// Its own share of the processors is not asked for: others may have them.
#[test]
fn a_round_has_a_value_for_every_figure_of_its_pattern() {
    let group = group(Pattern::Threads, 4);
    let row = visit(Defect::None, Pattern::Threads, 4).row(Name::Hugepool, &group);
    for figure in [
        Figure::NsPerOp,
        Figure::CpuNsPerOp,
        Figure::P50,
        Figure::P9999,
        Figure::Max,
        Figure::CpuShare,
    ] {
        assert!(
            row.median(figure).is_some_and(|value| value > 0.0),
            "{figure:?}"
        );
    }
    // They wait for the mutex of the pool of these tests.
    assert!(row.median(Figure::Sleeps).is_some());
    assert_eq!(row.figures.rounds(), 1);
}

/// How much is paid, `debt` tests. A window in which the scheduler let nobody come so far is made longer.
#[test]
fn every_worker_of_a_pattern_pays_for_a_handicap() {
    for pattern in [Pattern::Same, Pattern::Pipeline, Pattern::Burst] {
        let threads = if pattern == Pattern::Pipeline { 2 } else { 1 };
        let group = group(pattern, threads);
        let crew = Crew::hire(threads, None).expect("a few threads can be started");
        let entry = Entry::new(Wrong::new(Defect::None, group.shape.buffers));
        let payers = |percent, millis| {
            let lengths = Lengths::new(Duration::from_millis(millis), threads).handicapped(percent);
            entry.visit(&crew, &group, lengths).payers
        };
        let windows = [10, 100, 1_000, 10_000];
        assert!(
            windows
                .into_iter()
                .any(|millis| payers(300, millis) == threads),
            "{pattern}: somebody paid nothing"
        );
        assert_eq!(payers(0, 10), 0, "{pattern}");
    }
}

fn visit_all(defect: Defect) -> Vec<(Pattern, Visit)> {
    Pattern::ALL
        .into_iter()
        // Its own tests are `exhausted::wrongs`.
        .filter(|pattern| *pattern != Pattern::Exhausted)
        .map(|pattern| {
            let threads = match pattern {
                Pattern::Same | Pattern::Ring | Pattern::Fill => 1,
                _ => 4,
            };
            (pattern, visit(defect, pattern, threads))
        })
        .collect()
}

#[test]
fn a_sound_pool_has_nothing_wrong_in_any_pattern() {
    for (pattern, visit) in visit_all(Defect::None) {
        assert_eq!(visit.wrongs, Default::default(), "{pattern}");
        assert_eq!(visit.lost, 0, "{pattern}");
        assert!(visit.ops > 0, "{pattern}");
        assert!(visit.ns_per_op.is_some_and(|ns| ns > 0.0), "{pattern}");
        assert!(!visit.latencies.is_empty(), "{pattern}");
    }
}

/// Counts the hands that workers ask for: one for each window, and one for the count at the end.
struct Counted {
    wrong: Wrong,
    hands: Arc<AtomicUsize>,
}

impl Rival for Counted {
    type Hand = Wrong;

    fn hand(&self, seat: Seat) -> Wrong {
        self.hands.fetch_add(1, Ordering::Relaxed);
        self.wrong.hand(seat)
    }

    fn capacity(&self) -> Option<usize> {
        self.wrong.capacity()
    }
}

#[test]
fn a_warm_up_of_no_time_is_none() {
    let group = group(Pattern::Same, 1);
    let crew = Crew::hire(1, None).expect("a thread can be started");
    let hands = |warm_up: Option<u64>| {
        let hands = Arc::new(AtomicUsize::new(0));
        let entry = Entry::new(Counted {
            wrong: Wrong::new(Defect::None, group.shape.buffers),
            hands: Arc::clone(&hands),
        });
        let lengths = Lengths::new(Duration::from_millis(1), 1);
        let visit = entry.visit(
            &crew,
            &group,
            lengths.warmed_up(warm_up.map(Duration::from_millis)),
        );
        assert!(visit.ops > 0);
        hands.load(Ordering::Relaxed)
    };
    assert_eq!([hands(None), hands(Some(2)), hands(Some(0))], [4, 4, 3]);
}

/// A rival for each of two sizes.
#[test]
fn mixed_sizes_come_home_to_their_own_rivals() {
    let group = group(Pattern::Mixed, 4);
    let crew = Crew::hire(4, None).expect("a few threads can be started");
    let visit = |second| {
        let rivals = [Defect::None, second].map(|defect| Wrong::new(defect, group.shape.buffers));
        let entry = Entry::new(Mixed::new(rivals.into(), |taker, sizes| {
            (0..64).map(|draw| (taker + draw / 3) % sizes).collect()
        }));
        entry.visit(&crew, &group, Lengths::new(Duration::from_millis(5), 4))
    };
    let sound = visit(Defect::None);
    assert_eq!((sound.wrongs, sound.lost), Default::default());
    assert!(sound.ops > 0);
    assert_eq!(visit(Defect::Short).lost, 1);
    assert!(visit(Defect::Doubles).wrongs.doubled > 0);
    assert!(visit(Defect::Refuses).wrongs.refused > 0);
}

#[test]
fn unequal_pipelines_are_whole_and_hang_over_no_defect() {
    for sides in ["4:1", "1:4", "3:4", "4:3"] {
        let sides = Sides::parse(sides).expect(sides);
        let threads = sides.threads();
        let mut group = group(Pattern::Pipeline, threads);
        group.sides = Some(sides);
        group.shape.buffers = sides.takers * sides.rings_of_one() * pipeline::PER_RING;
        let crew = Crew::hire(threads, None).expect("a few threads can be started");
        let visit = |defect| {
            let entry = Entry::new(Wrong::new(defect, group.shape.buffers));
            entry.visit(
                &crew,
                &group,
                Lengths::new(Duration::from_millis(5), threads),
            )
        };
        let sound = visit(Defect::None);
        assert_eq!((sound.wrongs, sound.lost), Default::default(), "{sides}");
        assert!(sound.ops > 0, "{sides}");
        assert!(visit(Defect::Loses).lost > 0, "{sides}");
        assert!(visit(Defect::Doubles).wrongs.doubled > 0, "{sides}");
        assert!(visit(Defect::Rejects).wrongs.rejected > 0, "{sides}");
    }
}

#[test]
fn a_refusal_with_buffers_free_is_counted_in_every_pattern() {
    for (pattern, visit) in visit_all(Defect::Refuses) {
        assert!(visit.wrongs.refused > 0, "{pattern}");
        assert!(!visit.wrongs.stalled, "{pattern}: a retry was granted");
        assert!(visit.ops > 0, "{pattern}");
    }
}

#[test]
fn buffers_that_do_not_come_home_are_missed_and_no_run_hangs() {
    for (pattern, visit) in visit_all(Defect::Loses) {
        assert!(visit.lost > 0, "{pattern}");
    }
}

#[test]
fn a_pool_short_of_one_buffer_is_found_where_demand_equals_supply() {
    for (pattern, threads) in [(Pattern::Threads, 4), (Pattern::Burst, 1)] {
        let visit = visit(Defect::Short, pattern, threads);
        assert!(visit.wrongs.refused > 0, "{pattern}");
        assert_eq!(visit.lost, 1, "{pattern}");
    }
}

#[test]
fn a_rejected_buffer_is_counted_in_every_pattern() {
    for (pattern, visit) in visit_all(Defect::Rejects) {
        assert!(visit.wrongs.rejected > 0, "{pattern}");
    }
}

#[test]
fn a_second_holder_is_seen_by_its_stamp_in_every_pattern() {
    for (pattern, visit) in visit_all(Defect::Doubles) {
        assert!(visit.wrongs.doubled > 0, "{pattern}");
    }
}

#[test]
fn what_went_wrong_is_said_in_words() {
    let group = group(Pattern::Threads, 4);
    let fault = visit(Defect::Short, Pattern::Threads, 4)
        .row(Name::Hugepool, &group)
        .fault()
        .expect("a short pool has a fault");
    assert!(fault.contains("refused"), "{fault}");
    assert!(fault.contains("lost 1 buffer"), "{fault}");
}
