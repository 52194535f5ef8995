//! Waiting for several buffers at once.
//!
//! Proves: of two who need all there is each is served, one after the other; whoever gives up while the last buffers come loses
//! none, whoever has them at that moment; somebody who waits for one buffer beside somebody
//! who waits for two is served, and so is the other; whoever is passed over because somebody
//! else collects has his turn when that ends; whoever was woken meanwhile for what is free,
//! and leaves, sees to the others.
//!
//! The twins: two collect at once, so that each sits on half; a buffer is kept for somebody
//! who has given up; nobody attends to a list into which a buffer was put; whoever ends a
//! collection does not see to those who wait for other classes; nor does whoever was woken
//! and leaves.

use hugepool::model::{
    ClassId, Classes, CpuCaches, Fault, FreeLists, Geometry, Given, Index, Request, Turn, Wait,
    run_on,
};
use hugepool_loom_tests::{Kind, Model, Shelf, spawn, tests_of_each_kind};
use std::ptr::null_mut;
use std::sync::Arc;

tests_of_each_kind![
    two_who_need_all_there_is_are_served_one_after_the_other,
    who_gives_up_while_the_last_ones_come_loses_none,
    one_for_one_and_one_for_two_are_both_served,
    who_was_passed_over_has_his_turn_when_the_collection_ends,
    who_was_woken_for_what_is_free_and_leaves_sees_to_the_others,
];

/// Two buffers, both of which the caller holds.
fn taken<C: Kind>() -> (Arc<Shelf<C>>, [Index; 2]) {
    let shelf = Shelf::new(C::make(C::pick(1, 2)), 2, 2);
    run_on(0);
    let held = [(); 2].map(|()| shelf.take().unwrap());
    (Arc::new(shelf), held)
}

/// Somebody who waits for `count` buffers, and has looked.
fn standing<C: CpuCaches>(shelf: &Shelf<C>, count: usize) -> Wait {
    let mut wait = shelf.stand_for(count, false);
    shelf.look(&mut wait);
    wait
}

/// Whether whoever waits has what he waits for, or has been woken for it.
fn is_served<C: CpuCaches>(shelf: &Shelf<C>, wait: &Wait) -> bool {
    wait.is_over() || shelf.lists.line().turn(wait.seat()) != Turn::Waiting
}

/// Two wait, for so many of two buffers that only one of them can be served. Whoever is
/// gives back what he has, and the other one is served then, without another look.
fn one_after_the_other<C: CpuCaches>(shelf: &Shelf<C>, waits: [Wait; 2]) {
    let [first, second] = waits;
    let (early, late) = match is_served(shelf, &first) {
        true => (first, second),
        false => (second, first),
    };
    assert!(
        is_served(shelf, &early),
        "each sits on what the other needs"
    );
    for mut wait in [early, late] {
        assert!(
            is_served(shelf, &wait),
            "he sleeps beside what he could have"
        );
        // Called, he takes it.
        shelf.look(&mut wait);
        let several = wait.seat().request().count;
        let taken = shelf.end_for_several(wait).expect("he was served");
        assert_eq!(taken.len(), several);
        for index in taken {
            assert_eq!(shelf.give(index), Given::Home);
        }
    }
    shelf.audit();
}

/// Two wait for both of two buffers, which two threads bring.
pub fn two_who_need_all_there_is_are_served_one_after_the_other<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::TwoCollect], || {
        let (shelf, [mine, theirs]) = taken::<C>();
        let waits = [2, 2].map(|count| standing(&shelf, count));
        let giver = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            assert_eq!(giver.give(theirs), Given::Home);
        });
        assert_eq!(shelf.give(mine), Given::Home);
        thread.join().unwrap();
        one_after_the_other(&shelf, waits);
    })
}

/// Somebody waits for both of two buffers, which another thread brings while somebody else
/// begins to wait for one of them.
pub fn one_for_one_and_one_for_two_are_both_served<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::NoServe], || {
        let (shelf, held) = taken::<C>();
        let several = standing(&shelf, 2);
        let giver = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            for index in held {
                assert_eq!(giver.give(index), Given::Home);
            }
        });
        let one = standing(&shelf, 1);
        thread.join().unwrap();
        one_after_the_other(&shelf, [several, one]);
    })
}

/// Two buffers come back while somebody who waits for both gives up.
pub fn who_gives_up_while_the_last_ones_come_loses_none<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::KeepAnyway], || {
        let (shelf, held) = taken::<C>();
        let wait = standing(&shelf, 2);
        let giver = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            for index in held {
                assert_eq!(giver.give(index), Given::Home);
            }
        });
        if let Some(both) = shelf.end_for_several(wait) {
            assert_eq!(both.len(), 2);
            for index in both {
                assert_eq!(shelf.give(index), Given::Home);
            }
        }
        thread.join().unwrap();
        shelf.audit();
    })
}

/// Two classes of two buffers each, all of which are out.
struct TwoClasses<C> {
    lists: FreeLists<C>,
    stock: [(ClassId, [Index; 2]); 2],
}

impl<C: Kind> TwoClasses<C> {
    const SIZES: [usize; 2] = [512, 576];

    fn new() -> Arc<Self> {
        let classes = Classes::new(0, null_mut()).unwrap();
        let lists = FreeLists::new(C::make(C::pick(1, 2)), classes, 8, 0, false).unwrap();
        run_on(0);
        let index = |raw| Index::from_raw(raw).unwrap();
        let stock = [0, 1].map(|at| {
            let class = ClassId::new(at).unwrap();
            let first = at as u32 * 2 + 1;
            let both = [index(first), index(first + 1)];
            let geometry = Geometry::new(Self::SIZES[at], 512, 0).unwrap();
            lists.classes().define(class, &geometry);
            lists.fix_cache(class, 2);
            lists.prepare(std::iter::once((class, 2)));
            lists.stock(class, 2, |k| both.get(k).copied());
            assert_eq!(lists.take_many(&[class], 2).unwrap().len(), 2);
            (class, both)
        });
        Arc::new(Self { lists, stock })
    }
}

impl<C: CpuCaches> TwoClasses<C> {
    /// Somebody who waits for both of class `at`, and has looked.
    fn standing(&self, at: usize) -> Wait {
        let size = [512, 576][at];
        let (alignment, reach, count) = (512, size, 2);
        let request = Request {
            size,
            alignment,
            reach,
            count,
            ..Request::default()
        };
        let mut wait = self.lists.begin_wait(request, false).unwrap();
        self.look(&mut wait, at);
        wait
    }

    fn look(&self, wait: &mut Wait, at: usize) {
        let size = [512, 576][at];
        let ladder = self.lists.classes().ladder(|rung| rung.size == size);
        self.lists.look(wait, &ladder);
    }

    /// Gives back buffer `which` of class `at`.
    fn give(&self, at: usize, which: usize) {
        let (class, both) = self.stock[at];
        let line = self.lists.classes().line(class);
        assert_eq!(self.lists.give(line, both[which]), Given::Home);
    }

    fn end(&self, wait: Wait) -> Option<usize> {
        let found = self.lists.end_wait_for_several(wait)?;
        Some(found.len())
    }
}

/// Somebody collects the buffers of one class, and somebody else waits for both of the other,
/// which come back first.
pub fn who_was_passed_over_has_his_turn_when_the_collection_ends<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::EndUnseen], || {
        let classes = TwoClasses::<C>::new();
        let waits = [0, 1].map(|at| classes.standing(at));
        // The first one collects from now on.
        classes.give(0, 0);
        let other = Arc::clone(&classes);
        let thread = spawn(move || {
            run_on(1);
            [0, 1].into_iter().for_each(|which| other.give(1, which));
        });
        classes.give(0, 1);
        thread.join().unwrap();
        for wait in waits {
            let turn = classes.lists.line().turn(wait.seat());
            assert!(
                matches!(turn, Turn::Given(..)),
                "he sleeps beside what he could have"
            );
            assert_eq!(classes.end(wait), Some(2));
        }
    })
}

/// Somebody collects the buffers of one class. Two wait for both of the other; they come
/// back, one of the two is woken, and leaves without them.
pub fn who_was_woken_for_what_is_free_and_leaves_sees_to_the_others<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::LeavePassedOver], || {
        let classes = TwoClasses::<C>::new();
        let collects = classes.standing(0);
        classes.give(0, 0);
        let [first, mut second] = [1, 1].map(|at| classes.standing(at));
        let line = classes.lists.line();
        let rings = [&first, &second].map(|wait| line.bell(wait.seat()).rings());
        let other = Arc::clone(&classes);
        let thread = spawn(move || {
            run_on(1);
            [0, 1].into_iter().for_each(|which| other.give(1, which));
        });
        thread.join().unwrap();
        let woken = line.bell(first.seat()).rings() != rings[0];
        assert!(woken, "nobody is woken for what is free");
        assert_eq!(classes.end(first), None);
        let woken = line.bell(second.seat()).rings() != rings[1];
        assert!(woken, "he sleeps beside what he could have");
        classes.look(&mut second, 1);
        assert_eq!(classes.end(second), Some(2));
        assert_eq!(classes.end(collects), None);
    })
}
