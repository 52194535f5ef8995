//! Waiting for several buffers of a stream at once.
//!
//! Proves: whoever does is served by what comes back of the stream's own, by claims, and by
//! what comes back to the pool, also while the stream's own make it wait for fewer of these;
//! of two who need all there is neither sits on half; what comes back while one collects
//! goes to nobody else of the stream but who came before; the claims that it leaves do;
//! whoever gives up loses nothing, whoever has it at that
//! moment, and those whom it barred are served.
//!
//! The twins: who gives to a stream does not look whether anybody waits, or sees to nobody;
//! who collects asks for the claims before it says how many it lacks; who waits for fewer
//! leaves the chain as it was; two collect at once; others take what is
//! there all the same; who collects does not show what it leaves, or takes what those wait
//! for who came before; a buffer is kept for somebody who has given up; who leaves does not
//! see to the others.

use hugepool::model::{Fault, Given, Turn, Wait, run_on};
use hugepool_loom_tests::{Model, Portable, Streamed, Taken, spawn, tests};
use std::sync::Arc;

tests![
    its_own_and_a_claim_that_come_back_serve_who_waits_for_both,
    a_claim_that_comes_while_he_takes_one_of_its_own_serves_him,
    one_of_its_own_that_comes_makes_it_wait_for_one_of_the_pools_less,
    two_who_need_all_there_is_do_not_each_sit_on_half,
    nobody_else_of_the_stream_takes_what_comes_to_who_collects,
    who_gives_up_while_they_come_loses_none,
    who_was_barred_is_served_when_the_collection_ends,
    claims_that_a_collection_leaves_over_serve_others,
    one_of_its_own_goes_to_who_came_before_the_one_who_collects,
    who_came_later_is_served_when_an_elder_and_the_one_who_collects_leave,
];

/// Stands in line for `count`, and looks.
fn standing(streamed: &Streamed<Portable>, count: usize) -> Wait {
    let mut wait = streamed.stand_for(count);
    streamed.shelf.look(&mut wait);
    wait
}

/// A stream has both buffers there are, one of its own and one of the pool's. Those of
/// `early` come back, and then somebody looks who waits for two, while the others do.
fn comes_while_he_looks(early: impl Fn(&mut Vec<Taken>) -> Vec<Taken>) {
    let streamed = Streamed::<Portable>::new(2, 1, 2, false);
    let mut late = vec![streamed.take().unwrap(), streamed.take().unwrap()];
    let mut wait = standing(&streamed, 2);
    let early = early(&mut late);
    early.into_iter().for_each(|taken| streamed.give(taken));
    let giver = Arc::clone(&streamed);
    let thread = spawn(move || {
        run_on(1);
        late.into_iter().rev().for_each(|taken| giver.give(taken));
    });
    let line = streamed.shelf.lists.line();
    let rings = line.bell(wait.seat()).rings();
    streamed.shelf.look(&mut wait);
    thread.join().unwrap();
    let is_served =
        |wait: &Wait| wait.is_over() || matches!(line.turn(wait.seat()), Turn::Given(..));
    if !is_served(&wait) {
        let rung = line.bell(wait.seat()).rings() != rings;
        assert!(rung, "he sleeps beside what is his");
        streamed.shelf.look(&mut wait);
    }
    let served = streamed.end_for_several(wait).expect("it has both");
    assert_eq!(served.len(), 2);
    served.into_iter().for_each(|taken| streamed.give(taken));
    streamed.audit();
}

/// Both come back while he looks.
pub fn its_own_and_a_claim_that_come_back_serve_who_waits_for_both() -> Model {
    let twins = &[Fault::IgnoreShutOfStream, Fault::NoServeOfStream];
    Model::new(1..=2, twins, || comes_while_he_looks(|_| Vec::new()))
}

/// The one of its own came back before.
pub fn a_claim_that_comes_while_he_takes_one_of_its_own_serves_him() -> Model {
    Model::new(1..=3, &[Fault::ClaimFirst], || {
        comes_while_he_looks(|all| all.drain(..1).collect());
    })
}

/// A stream's own buffer, and the pool's two, are out. Somebody waits for two, and has the
/// claims. Its own comes back, and then, while he looks, one of the pool's.
pub fn one_of_its_own_that_comes_makes_it_wait_for_one_of_the_pools_less() -> Model {
    Model::new(1..=3, &[Fault::NoLessenTouch], || {
        let streamed = Streamed::<Portable>::new(3, 1, 3, false);
        let own = streamed.take().unwrap();
        let pools = [(); 2].map(|()| streamed.shelf.take().unwrap());
        let mut wait = standing(&streamed, 2);
        let held = streamed.shelf.lists.held(streamed.number);
        assert_eq!(held, 3, "it has no claims");
        streamed.give(own);
        let giver = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            assert_eq!(giver.shelf.give(pools[0]), Given::Home);
        });
        streamed.shelf.look(&mut wait);
        thread.join().unwrap();
        let line = streamed.shelf.lists.line();
        assert!(
            wait.is_over() || matches!(line.turn(wait.seat()), Turn::Given(..)),
            "he sleeps beside what he could have"
        );
        let served = streamed.end_for_several(wait).expect("they came");
        assert_eq!(served.len(), 2);
        served.into_iter().for_each(|taken| streamed.give(taken));
        assert_eq!(streamed.shelf.give(pools[1]), Given::Home);
        streamed.audit();
    })
}

/// Two wait for both of a stream's own, of which one is free when they look at once. Then the
/// other one comes.
pub fn two_who_need_all_there_is_do_not_each_sit_on_half() -> Model {
    Model::new(2..=2, &[Fault::TwoCollect], || {
        let streamed = Streamed::<Portable>::new(2, 2, 2, false);
        let held = [(); 2].map(|()| streamed.take().unwrap());
        let [mut theirs, mut mine] = [(); 2].map(|()| streamed.stand_for(2));
        streamed.give(held[0]);
        let other = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            other.shelf.look(&mut theirs);
            theirs
        });
        streamed.shelf.look(&mut mine);
        let theirs = thread.join().unwrap();
        streamed.give(held[1]);
        let mut waits = [mine, theirs];
        waits.iter_mut().for_each(|wait| streamed.shelf.look(wait));
        assert!(
            waits.iter().any(Wait::is_over),
            "each sits on what the other needs"
        );
        // Whoever is served gives them back, and then the other one is.
        waits.sort_by_key(|wait| !wait.is_over());
        for mut wait in waits {
            streamed.shelf.look(&mut wait);
            let served = streamed.end_for_several(wait).expect("it has all");
            served.into_iter().for_each(|taken| streamed.give(taken));
        }
        streamed.audit();
    })
    .long(true)
}

/// One waits for both of what a stream may have; another of the stream gives one up and takes
/// it again, over and over.
pub fn nobody_else_of_the_stream_takes_what_comes_to_who_collects() -> Model {
    Model::new(1..=2, &[Fault::NoBar], || {
        let streamed = Streamed::<Portable>::new(3, 1, 2, false);
        let mut held = vec![streamed.take().unwrap(), streamed.take().unwrap()];
        let wait = standing(&streamed, 2);
        let passer = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            for _ in 0..3 {
                let Some(taken) = held.pop() else { break };
                passer.give(taken);
                held.extend(passer.take());
            }
            assert!(held.is_empty(), "it took what was to be kept");
        });
        thread.join().unwrap();
        let mut wait = wait;
        streamed.shelf.look(&mut wait);
        let served = streamed.end_for_several(wait).expect("it has both");
        served.into_iter().for_each(|taken| streamed.give(taken));
        streamed.audit();
    })
}

/// Somebody waits for three of a stream, has one of its own, and gives up while one of the
/// pool's comes back.
pub fn who_gives_up_while_they_come_loses_none() -> Model {
    Model::new(1..=2, &[Fault::KeepAnyway], || {
        let streamed = Streamed::<Portable>::new(3, 1, 3, false);
        let own = streamed.take().unwrap();
        let pools = [(); 2].map(|()| streamed.shelf.take().unwrap());
        let mut wait = standing(&streamed, 3);
        streamed.give(own);
        streamed.shelf.look(&mut wait);
        let giver = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            assert_eq!(giver.shelf.give(pools[0]), Given::Home);
        });
        assert!(streamed.end_for_several(wait).is_none(), "one is out");
        thread.join().unwrap();
        assert_eq!(streamed.shelf.give(pools[1]), Given::Home);
        streamed.audit();
    })
}

/// One collects both of a stream's own, of which one is there, and gives up; another one
/// begins to wait for one.
pub fn who_was_barred_is_served_when_the_collection_ends() -> Model {
    Model::new(1..=2, &[Fault::UnbarUnseen], || {
        let streamed = Streamed::<Portable>::new(2, 2, 2, false);
        let held = [streamed.take().unwrap(), streamed.take().unwrap()];
        let collects = standing(&streamed, 2);
        streamed.give(held[0]);
        let waiter = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            let served = waiter.served();
            waiter.give(served);
        });
        assert!(streamed.end_for_several(collects).is_none(), "one is out");
        thread.join().unwrap();
        streamed.give(held[1]);
        streamed.audit();
    })
}

/// One waits for two of the three claims of a stream, and another one for one. All come back
/// while the first looks; the buffers are taken by somebody else.
pub fn claims_that_a_collection_leaves_over_serve_others() -> Model {
    Model::new(1..=2, &[Fault::LeftUnseen], || {
        let streamed = Streamed::<Portable>::new(3, 0, 3, false);
        let held = [(); 3].map(|()| streamed.take().unwrap());
        let mut one = standing(&streamed, 1);
        let mut two = standing(&streamed, 2);
        let taken = held.map(|taken| {
            streamed.give(taken);
            streamed.shelf.take().expect("it is free")
        });
        let other = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            other.shelf.look(&mut two);
            two
        });
        let two = thread.join().unwrap();
        let turn = streamed.shelf.lists.line().turn(one.seat());
        assert_ne!(turn, Turn::Waiting, "he sleeps beside a claim");
        streamed.shelf.look(&mut one);
        assert_eq!(
            streamed.shelf.lists.held(streamed.number),
            3,
            "he has no claim"
        );
        for index in taken {
            assert_eq!(streamed.shelf.give(index), Given::Home);
        }
        for wait in [two, one] {
            let mut wait = wait;
            streamed.shelf.look(&mut wait);
            let served = streamed.end_for_several(wait).expect("all is there");
            served.into_iter().for_each(|taken| streamed.give(taken));
        }
        streamed.audit();
    })
}

/// One of a stream waits for the pool, or one of its own; then another one collects. One of
/// its own comes back.
pub fn one_of_its_own_goes_to_who_came_before_the_one_who_collects() -> Model {
    Model::new(1..=2, &[Fault::NoElders], || {
        let streamed = Streamed::<Portable>::new(3, 1, 4, false);
        let own = streamed.take().unwrap();
        let pools = [(); 2].map(|()| streamed.shelf.take().unwrap());
        let one = standing(&streamed, 1);
        let mut two = standing(&streamed, 2);
        let held = streamed.shelf.lists.held(streamed.number);
        assert_eq!(held, 4, "one of them has no claim");
        let giver = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            giver.give(own);
        });
        streamed.shelf.look(&mut two);
        thread.join().unwrap();
        let turn = streamed.shelf.lists.line().turn(one.seat());
        assert!(matches!(turn, Turn::Given(..)), "who came later has it");
        let served = streamed.end(one).expect("it is given");
        streamed.give(served);
        for index in pools {
            assert_eq!(streamed.shelf.give(index), Given::Home);
        }
        streamed.shelf.look(&mut two);
        let served = streamed.end_for_several(two).expect("all is there");
        served.into_iter().for_each(|taken| streamed.give(taken));
        streamed.audit();
    })
}

/// One who waits for one came first, then one who collects, and then another one who waits for
/// one. One of the stream's own comes back while the first two give up.
pub fn who_came_later_is_served_when_an_elder_and_the_one_who_collects_leave() -> Model {
    Model::new(1..=2, &[Fault::UnbarUnseen], || {
        let streamed = Streamed::<Portable>::new(2, 2, 2, false);
        let [out, back] = [streamed.take().unwrap(), streamed.take().unwrap()];
        let elder = streamed.stand();
        let collects = standing(&streamed, 2);
        let mut later = standing(&streamed, 1);
        let giver = Arc::clone(&streamed);
        let thread = spawn(move || {
            run_on(1);
            giver.give(out);
        });
        let mut taken = Vec::new();
        taken.extend(streamed.end_for_several(elder));
        taken.extend(streamed.end_for_several(collects));
        thread.join().unwrap();
        for taken in taken.into_iter().flatten() {
            streamed.give(taken);
        }
        let turn = streamed.shelf.lists.line().turn(later.seat());
        assert_ne!(turn, Turn::Waiting, "he sleeps beside one of its own");
        streamed.shelf.look(&mut later);
        let served = streamed.end(later).expect("it is there");
        streamed.give(served);
        streamed.give(back);
        streamed.audit();
    })
}
