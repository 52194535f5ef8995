//! Waiting for several buffers at once.
//!
//! Proves: of two who need all there is each is served, one after the other; whoever gives up while the last buffers come loses
//! none, whoever has them at that moment; somebody who waits for one buffer beside somebody
//! who waits for two is served, and so is the other; whoever is passed over because somebody
//! else collects has his turn when that ends.
//!
//! The twins: two collect at once, so that each sits on half; a buffer is kept for somebody
//! who has given up; nobody attends to a list into which a buffer was put; whoever ends a
//! collection does not see to those who wait for other classes.

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

/// Two classes of two buffers each. Somebody collects those of the first, and somebody else
/// waits for both of the second, which come back first.
pub fn who_was_passed_over_has_his_turn_when_the_collection_ends<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::EndUnseen], || {
        const SIZES: [usize; 2] = [512, 576];
        let classes = Classes::new(0, null_mut()).unwrap();
        let lists = FreeLists::new(C::make(C::pick(1, 2)), classes, 8, 0, false).unwrap();
        run_on(0);
        let index = |raw| Index::from_raw(raw).unwrap();
        let stock: Vec<(ClassId, [Index; 2])> = (0..2)
            .map(|at| {
                let class = ClassId::new(at).unwrap();
                let first = at as u32 * 2 + 1;
                let both = [index(first), index(first + 1)];
                let geometry = Geometry::new(SIZES[at], 512, 0).unwrap();
                lists.classes().define(class, &geometry);
                lists.fix_cache(class, 2);
                lists.prepare(std::iter::once((class, 2)));
                lists.stock(class, 2, |k| both.get(k).copied());
                assert_eq!(lists.take_many(&[class], 2).unwrap().len(), 2);
                (class, both)
            })
            .collect();
        let stand = |lists: &FreeLists<C>, at: usize| {
            let size = SIZES[at];
            let (alignment, reach, count) = (512, size, 2);
            let request = Request {
                size,
                alignment,
                reach,
                count,
                ..Request::default()
            };
            lists.begin_wait(request, false).unwrap()
        };
        let look = |lists: &FreeLists<C>, wait: &mut Wait, at: usize| {
            let ladder = lists.classes().ladder(|rung| rung.size == SIZES[at]);
            lists.look(wait, &ladder);
        };
        let give = |lists: &FreeLists<C>, class: ClassId, index: Index| {
            let line = lists.classes().line(class);
            assert_eq!(lists.give(line, index), Given::Home);
        };
        let waits = [0, 1].map(|at| {
            let mut wait = stand(&lists, at);
            look(&lists, &mut wait, at);
            wait
        });
        // The first one collects from now on.
        give(&lists, stock[0].0, stock[0].1[0]);
        let lists = Arc::new(lists);
        let (other, (class, both)) = (Arc::clone(&lists), stock[1]);
        let thread = spawn(move || {
            run_on(1);
            both.into_iter()
                .for_each(|index| give(&other, class, index));
        });
        give(&lists, stock[0].0, stock[0].1[1]);
        thread.join().unwrap();
        for wait in waits {
            let turn = lists.line().turn(wait.seat());
            assert!(
                matches!(turn, Turn::Given(..)),
                "he sleeps beside what he could have"
            );
            assert_eq!(
                lists.end_wait_for_several(wait).map(|both| both.len()),
                Some(2)
            );
        }
    })
}
