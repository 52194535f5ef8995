//! Waiting while classes come and go: the catalog.
//!
//! Proves: a class that is new serves those who wait already, first those who came
//! first, and what it gave comes back to the next; whoever waits beside a trim is
//! served if anything is left that could serve it, with a larger class if that is
//! all there is, and told if nothing is; a trim takes nothing that is waited for;
//! and no class stays shut for somebody who has left.
//!
//! The twins: a waiter does not pass a fence before it looks what there is; nobody
//! is roused, nor are new classes shut; new buffers are not offered to the line; a
//! trim takes what is waited for.

use super::growth::{ALIGNMENT, Pool, SIZES, Stub, admit, empty};
use hugepool::model::{Fault, Given, Index, Turn, Wait};
use hugepool_loom_tests::{Kind, Model, spawn, tests_of_each_kind};
use loom::thread::yield_now;
use std::sync::Arc;

tests_of_each_kind![
    growth_serves_who_waits,
    what_growth_gave_to_the_first_comes_back_to_the_second,
    a_wait_beside_a_trim_ends,
    a_wait_beside_a_trim_climbs_to_what_is_left,
    a_trim_takes_nothing_that_is_waited_for,
    growth_beside_a_wait_that_ends_leaves_nothing_shut,
];

fn stand<C: Kind>(pool: &Pool<C>) -> Wait {
    let begun = pool.begin_wait(SIZES[0], ALIGNMENT, 1, false);
    begun.expect("there is a class, and a place")
}

/// Ends a wait, with what came.
fn end<C: Kind>(pool: &Pool<C>, wait: Wait) -> Option<Index> {
    Some(pool.lists().end_wait(wait)?.1)
}

/// Sleeps until the wait is over. `None`: nothing will ever serve it.
fn sleep<C: Kind>(pool: &Pool<C>, mut wait: Wait) -> Option<Index> {
    let line = pool.lists().line();
    loop {
        let bell = line.bell(wait.seat());
        let rings = bell.rings();
        let looked = pool.look(&mut wait);
        let over = wait.is_over() || matches!(line.turn(wait.seat()), Turn::Given(..));
        if looked.is_err() || over {
            return end(pool, wait);
        }
        bell.sleep(rings, None);
    }
}

/// A catalog with one class, of which the only buffer is taken.
fn pool<C: Kind>(strict: bool) -> Arc<Pool<C>> {
    let pool = empty::<C>(true, strict);
    admit(&pool, SIZES[0], Stub::new(1, 1), false);
    let taken = pool.take(SIZES[0], ALIGNMENT);
    taken.map(drop).expect("it has just come");
    pool
}

/// One thread waits, another adds a class within the climb.
pub fn growth_serves_who_waits<C: Kind>() -> Model {
    const TWINS: &[Fault] = &[Fault::NoServe, Fault::NoWake, Fault::NoStandFence];
    Model::new(1..=2, TWINS, || {
        let pool = pool::<C>(false);
        let waiter = Arc::clone(&pool);
        let thread = spawn(move || {
            let wait = stand(&waiter);
            sleep(&waiter, wait).expect("it could be served");
        });
        admit(&pool, SIZES[1], Stub::new(2, 1), true);
        thread.join().unwrap();
    })
}

/// Two wait; one buffer is added. Once the first has given it back it is the
/// second's, whatever the second saw of the growth.
pub fn what_growth_gave_to_the_first_comes_back_to_the_second<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::NoRouse], || {
        let pool = pool::<C>(true);
        let mut first = stand(&pool);
        pool.look(&mut first).unwrap();
        let grower = Arc::clone(&pool);
        let thread = spawn(move || admit(&grower, SIZES[1], Stub::new(2, 1), true));
        let mut second = stand(&pool);
        pool.look(&mut second).unwrap();
        loom::stop_exploring();
        thread.join().unwrap();
        let line = pool.lists().line();
        assert_eq!(line.turn(second.seat()), Turn::Waiting, "it overtook");
        let (line, index) = pool.lists().end_wait(first).expect("it came first");
        let home = pool.lists().give(line, index);
        assert_eq!(home, Given::Home);
        assert_eq!(end(&pool, second), Some(index), "it went past who waits");
    })
}

/// Somebody who waits gives up while a class comes that could have served it.
pub fn growth_beside_a_wait_that_ends_leaves_nothing_shut<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::NoServe], || {
        let pool = pool::<C>(true);
        let mut wait = stand(&pool);
        pool.look(&mut wait).unwrap();
        let grower = Arc::clone(&pool);
        let thread = spawn(move || admit(&grower, SIZES[1], Stub::new(2, 1), true));
        // The growth is first, until it is interrupted.
        yield_now();
        let given = pool.lists().end_wait(wait);
        thread.join().unwrap();
        let (line, index) = given.unwrap_or_else(|| {
            let taken = pool.take(SIZES[1], ALIGNMENT).expect("nobody has it");
            (taken.line, taken.index)
        });
        let class = line.id();
        // The first free finds nobody, and opens the list that was shut.
        assert_eq!(pool.lists().give(line, index), Given::Home);
        pool.lists().reopen(class);
        let taken = pool.take(SIZES[1], ALIGNMENT).expect("nobody has it");
        assert_eq!(pool.lists().give(taken.line, taken.index), Given::Home);
        let cached = pool.lists().counts(class).cached;
        assert_eq!(cached, 1, "the class stayed shut");
    })
}

/// One thread waits for a class, another trims it away.
pub fn a_wait_beside_a_trim_ends<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::NoRouse], || {
        let pool = empty::<C>(false, false);
        admit(&pool, SIZES[0], Stub::new(1, 1), true);
        let trimmer = Arc::clone(&pool);
        let thread = spawn(move || trimmer.trim().len());
        // The trim is first, until it is interrupted.
        yield_now();
        let begun = pool.begin_wait(SIZES[0], ALIGNMENT, 1, false);
        let served = begun.is_ok_and(|wait| sleep(&pool, wait).is_some());
        let gone = thread.join().unwrap();
        assert!(served || gone == 1, "the class is there");
    })
}

/// The same, and there is a larger class.
pub fn a_wait_beside_a_trim_climbs_to_what_is_left<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::NoRouse], || {
        let pool = empty::<C>(false, false);
        admit(&pool, SIZES[0], Stub::new(1, 1), true);
        admit(&pool, SIZES[1], Stub::new(2, 1), false);
        let trimmer = Arc::clone(&pool);
        let thread = spawn(move || drop(trimmer.trim()));
        yield_now();
        let wait = stand(&pool);
        sleep(&pool, wait).expect("one of two is left");
        thread.join().unwrap();
    })
}

/// Somebody waits before the trim begins.
pub fn a_trim_takes_nothing_that_is_waited_for<C: Kind>() -> Model {
    Model::new(1..=2, &[Fault::TrimWanted], || {
        let pool = empty::<C>(false, false);
        admit(&pool, SIZES[0], Stub::new(1, 1), true);
        let mut wait = stand(&pool);
        let trimmer = Arc::clone(&pool);
        let thread = spawn(move || trimmer.trim().len());
        let looked = pool.look(&mut wait);
        assert_eq!(thread.join().unwrap(), 0, "somebody waited for it");
        looked.unwrap();
        // The trim may have had it in hand, and has called for it since.
        pool.look(&mut wait).unwrap();
        assert!(end(&pool, wait).is_some(), "nobody has it");
    })
}
