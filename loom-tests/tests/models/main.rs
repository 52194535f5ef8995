//! Every model, one file a subject.
//!
//! | file | proves |
//! | --- | --- |
//! | `depot` | a buffer in the shared list goes to one thread, with its contents |
//! | `cache` | the same of a processor's cache, under refill, flush and robbing |
//! | `portable` | the same of the batch in a portable slot |
//! | `restartable` | the same of restartable sections and the thieves that stop them |
//! | `shutting` | a list that somebody shuts stays shut until they open it |
//! | `exactness` | a request is refused only when nothing is free anywhere |
//! | `teardown` | exactly one thread learns that it brought the last buffer |
//! | `home` | the counters behind that |
//! | `append` | a list that only grows loses nothing, and shows whole values |
//! | `snapshot` | a reader's value outlives its reading |
//! | `stage` | what comes with a set's state is made once, and seen whole |
//! | `growth` | what can be taken is in the directory; what is trimmed is home |
//! | `handle` | a handle names the buffer of whom its maker saw, and nobody else's, before or after a trim |
//! | `track` | what is noted of a buffer's owner is read whole, and of one owner |
//! | `line` | a place in the line is served once, and its owner is woken |
//! | `waiting` | whoever waits is served, in order, whatever happens beside it |
//! | `changing` | so are those who wait while classes come and go |
//! | `streams` | a stream keeps to its share, and whoever waits for it is served |
//! | `collecting` | so are those who wait for several at once, all or none |
//! | `gathering` | the same of a stream, of its own and the pool's |
//! | `cancelling` | who cancels a wait ends it, and no other |
//!
//! Run with
//! `RUSTFLAGS="--cfg hugepool_loom --cfg crossbeam_loom" cargo test --release
//! --target-dir target/loom -p hugepool-loom-tests -- --show-output`;
//! `HUGEPOOL_LOOM_BOUND=3` searches deeper.
#![cfg(hugepool_loom)]

mod append;
mod cache;
mod cancelling;
mod changing;
mod collecting;
mod depot;
mod exactness;
mod gathering;
mod growth;
mod handle;
mod home;
mod line;
mod portable;
mod restartable;
mod shutting;
mod snapshot;
mod stage;
mod streams;
mod teardown;
mod track;
mod waiting;

use hugepool::model::Fault;
use hugepool_loom_tests::Model;

/// Each fault that the library can plant is one that some model must catch; that
/// it does is checked by that model's own test.
#[test]
fn every_fault_has_a_twin() {
    let models: [&[fn() -> Model]; 21] = [
        append::MODELS,
        cache::MODELS,
        cancelling::MODELS,
        depot::MODELS,
        exactness::MODELS,
        gathering::MODELS,
        growth::MODELS,
        handle::MODELS,
        home::MODELS,
        line::MODELS,
        changing::MODELS,
        collecting::MODELS,
        portable::MODELS,
        restartable::MODELS,
        shutting::MODELS,
        snapshot::MODELS,
        stage::MODELS,
        streams::MODELS,
        teardown::MODELS,
        track::MODELS,
        waiting::MODELS,
    ];
    for fault in Fault::ALL {
        let mut twins = models.iter().flat_map(|file| file.iter());
        assert!(
            twins.any(|model| model().twins().contains(fault)),
            "no model catches {fault:?}"
        );
    }
}
