//! A request is refused only when nothing that fits is free anywhere.
//!
//! Proves: while threads move buffers between the depot and the caches of all
//! processors, threads that together hold no more than there are never meet a
//! refusal, wherever the free buffers are and however they move while a request
//! looks for them. Batches between two lists are waited for. Of two threads that
//! gather what only one of them can have, one gets it.
//!
//! Waiting is bounded: a request yields for 5 ms (here: `PATIENCE` times) to a
//! thread that carries a batch and is then refused. loom takes a processor away
//! from the carrier once a preemption, so the models in which a batch is carried
//! hold for as many preemptions as there is patience and no more; their bound is
//! fixed there. The others can be searched deeper.
//!
//! The twins: a request that does not look into other processors' caches; one
//! that believes its first sweep, which buffers can pass behind its back; takes
//! that release nothing; one that does not change the lists before it looks; and
//! carriers that do not announce what they carry.

use hugepool::model::{ClassId, Classes, Fault, FreeLists, Geometry, Index, run_on};
use hugepool_loom_tests::{Kind, Model, Shelf, spawn, tests_of_each_kind};
use std::ptr::null_mut;
use std::sync::Arc;

tests_of_each_kind![
    the_last_buffer_is_found_in_another_processors_cache,
    two_threads_and_two_buffers_meet_no_refusal,
    buffers_that_move_behind_a_sweep_are_found,
    a_batch_on_its_way_to_the_depot_is_waited_for,
    a_batch_on_its_way_to_a_cache_is_waited_for,
    half_a_cache_on_its_way_to_another_is_waited_for,
    a_gatherer_that_gives_up_refuses_nobody_else,
    one_of_two_gatherers_gets_what_both_want,
    two_threads_that_give_what_the_other_wants_are_not_both_refused,
    what_comes_home_where_nobody_was_before_is_found,
];

/// As many yields as a request makes to a carrier.
const PATIENCE: usize = 2;

/// `count` buffers of which `cached` lie in the cache of `cpu`, the others in
/// the depot.
fn shelf<C: Kind>(
    cpus: usize,
    capacity: u8,
    count: u32,
    cached: usize,
    cpu: usize,
) -> Arc<Shelf<C>> {
    let shelf = Shelf::new(C::make(cpus), capacity, count);
    run_on(cpu);
    let held: Vec<_> = (0..cached).map(|_| shelf.take().unwrap()).collect();
    for index in held {
        let _home = shelf.give(index);
    }
    run_on(0);
    Arc::new(shelf)
}

/// Runs `other` on processor 1 beside `own` on processor 0.
fn race<C: Kind>(shelf: &Arc<Shelf<C>>, own: impl FnOnce(&Shelf<C>), other: fn(&Shelf<C>)) {
    let shared = Arc::clone(shelf);
    let thread = spawn(move || {
        run_on(1);
        other(&shared);
    });
    own(shelf);
    thread.join().unwrap();
    shelf.audit();
}

/// Takes a buffer, which must be possible, and gives it to the processor the
/// thread then runs on.
fn move_one<C: Kind>(shelf: &Shelf<C>, from: usize, to: usize) {
    run_on(from);
    let index = shelf.take().expect("one of the buffers was free");
    run_on(to);
    let _home = shelf.give(index);
}

/// Processor 1 gives back the only other buffer while processor 0 looks for one.
pub fn the_last_buffer_is_found_in_another_processors_cache<C: Kind>() -> Model {
    Model::new(C::pick(2, 1)..=4, &[Fault::NoSteal], || {
        let shelf = shelf::<C>(2, 2, 2, 2, 1);
        race(
            &shelf,
            |shelf| {
                shelf.take().expect("one of the buffers was free");
            },
            |shelf| move_one(shelf, 1, 1),
        );
    })
}

/// Two threads, each with at most one buffer, take and give twice.
pub fn two_threads_and_two_buffers_meet_no_refusal<C: Kind>() -> Model {
    Model::new(C::pick(2, 1)..=3, &[Fault::OneSweep], || {
        let shelf = shelf::<C>(2, 2, 2, 2, 1);
        race(
            &shelf,
            |shelf| {
                move_one(shelf, 0, 0);
                move_one(shelf, 0, 1);
            },
            |shelf| {
                move_one(shelf, 1, 0);
                move_one(shelf, 1, 0);
            },
        );
    })
}

/// One thread moves both buffers, one after the other, from the cache that a
/// request looks at last to one that it has looked at already. The request comes
/// from a third processor: what is done on its own it would see at once.
pub fn buffers_that_move_behind_a_sweep_are_found<C: Kind>() -> Model {
    const TWINS: &[Fault] = &[Fault::OneSweep, Fault::TakeRelaxed];
    Model::new(C::pick(3, 2)..=4, TWINS, || {
        let shelf = shelf::<C>(3, 2, 2, 2, 1);
        // Into the list of processor 1.
        run_on(1);
        shelf.lists.prepare_to_wait(&[shelf.class]);
        race(
            &shelf,
            |shelf| {
                run_on(2);
                shelf.take().expect("one of the buffers was free");
            },
            |shelf| {
                move_one(shelf, 1, 0);
                move_one(shelf, 1, 0);
            },
        );
    })
}

/// Processor 0 gives a third buffer to its cache, which has room for two and
/// sends one to the depot first. Processor 1 takes the other two.
pub fn a_batch_on_its_way_to_the_depot_is_waited_for<C: Kind>() -> Model {
    Model::new(
        C::pick(PATIENCE, 1)..=PATIENCE,
        &[Fault::NoAnnounce],
        || {
            let shelf = shelf::<C>(2, 2, 3, 2, 0);
            // Processor 1 looks into the depot first.
            run_on(1);
            let third = shelf.take().unwrap();
            run_on(0);
            race(
                &shelf,
                |shelf| {
                    let _home = shelf.give(third);
                },
                |shelf| {
                    for _ in 0..2 {
                        shelf.take().expect("a batch was on its way");
                    }
                },
            );
        },
    )
}

/// Processor 0 takes one buffer of four, by a batch of two whose second goes to
/// its cache. Processor 1 takes the other three.
pub fn a_batch_on_its_way_to_a_cache_is_waited_for<C: Kind>() -> Model {
    Model::new(PATIENCE..=PATIENCE, &[Fault::NoAnnounce], || {
        let shelf = shelf::<C>(2, 4, 4, 0, 0);
        race(
            &shelf,
            |shelf| {
                shelf.take().expect("four were free");
            },
            |shelf| {
                for _ in 0..3 {
                    shelf.take().expect("a batch was on its way");
                }
            },
        );
    })
}

/// Processor 0 takes one buffer of three in the cache of processor 2, and another
/// for its own cache. Processor 1 takes the other two.
pub fn half_a_cache_on_its_way_to_another_is_waited_for<C: Kind>() -> Model {
    Model::new(PATIENCE..=PATIENCE, &[Fault::NoAnnounce], || {
        let shelf = shelf::<C>(3, 4, 3, 3, 2);
        race(
            &shelf,
            |shelf| {
                shelf.take().expect("three were free");
            },
            |shelf| {
                for _ in 0..2 {
                    shelf.take().expect("half a cache was on its way");
                }
            },
        );
    })
}

/// Two are wanted at once where there is one: that is refused, but not to the
/// thread that wants one.
pub fn a_gatherer_that_gives_up_refuses_nobody_else<C: Kind>() -> Model {
    const TWINS: &[Fault] = &[Fault::NoAnnounce, Fault::TakeRelaxed];
    Model::new(PATIENCE..=PATIENCE, TWINS, || {
        let shelf = shelf::<C>(2, 2, 1, 0, 0);
        race(
            &shelf,
            |shelf| {
                shelf.take().expect("a gatherer had it for an instant");
            },
            |shelf| assert!(shelf.take_many(2).is_none()),
        );
    })
}

/// Two threads that each need both of two buffers.
pub fn one_of_two_gatherers_gets_what_both_want<C: Kind>() -> Model {
    Model::new(PATIENCE..=PATIENCE, &[Fault::NoAnnounce], || {
        let shelf = shelf::<C>(2, 2, 2, 0, 0);
        shelf.lists.prepare_to_wait(&[shelf.class]);
        let other = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            other.take_many(2).is_some()
        });
        let mine = shelf.take_many(2).is_some();
        let others = thread.join().unwrap();
        assert!(mine != others, "both or none got what only one can have");
        shelf.audit();
    })
}

/// The only buffer comes back on a processor where nobody was before, while it is asked for.
pub fn what_comes_home_where_nobody_was_before_is_found<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::NoVisit], || {
        let shelf = Arc::new(Shelf::unvisited(C::make(2), 1));
        let held = shelf.take().unwrap();
        let giver = Arc::clone(&shelf);
        let thread = spawn(move || {
            run_on(1);
            let _home = giver.give(held);
        });
        let got = shelf.take();
        thread.join().unwrap();
        let index = got.or_else(|| shelf.take()).expect("it is home");
        let _home = shelf.give(index);
        shelf.audit();
    })
}

/// Two classes of one buffer each. Each of two threads gives back the buffer of
/// one class and wants that of the other.
pub fn two_threads_that_give_what_the_other_wants_are_not_both_refused<C: Kind>() -> Model {
    Model::new(2..=3, &[Fault::NoTouch], || {
        let classes = Classes::new(0, null_mut()).unwrap();
        let lists = FreeLists::new(C::make(2), classes, 4, 0, false).unwrap();
        let both: Vec<(ClassId, Index)> = (0..2)
            .map(|at| {
                let class = ClassId::new(at).unwrap();
                let index = Index::from_raw(at as u32 + 1).unwrap();
                let geometry = Geometry::new(512, 512, 0).unwrap();
                lists.classes().define(class, &geometry);
                lists.fix_cache(class, 2);
                lists.prepare(std::iter::once((class, 1)));
                lists.stock(class, 1, |_| Some(index));
                assert!(lists.take(&[class]).is_ok());
                // From now on the class is shared.
                assert!(lists.take(&[class]).is_err());
                (class, index)
            })
            .collect();
        let lists = Arc::new(lists);
        let swap = |lists: &FreeLists<C>, (given, index): (ClassId, Index), wanted: ClassId| {
            let _home = lists.give(lists.classes().line(given), index);
            lists.take(&[wanted]).is_ok()
        };
        let (mine, theirs) = (both[0], both[1]);
        let other = Arc::clone(&lists);
        let thread = spawn(move || {
            run_on(1);
            swap(&other, theirs, mine.0)
        });
        let got = swap(&lists, mine, theirs.0);
        assert!(thread.join().unwrap() || got, "each missed the other's");
    })
}
