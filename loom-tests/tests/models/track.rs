//! What is noted of a buffer's owner, beside those who take and give it.
//!
//! Proves: whoever reads it finds nobody, or an owner with all that is noted of that
//! owner, and of no other. Owners come one after another, ordered as the lists order them.
//!
//! The twins: what is noted is published with `Relaxed`; nothing orders that a buffer came
//! home before what its next owner notes; the reader does not look again.

use hugepool::model::{Fault, Holding, Place, Taker, Track};
use hugepool_loom_tests::{Model, spawn, tests};
use loom::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

tests![
    what_is_read_is_of_one_owner,
    what_is_read_is_of_one_owner_whichever_thread_it_is,
    an_owner_that_nobody_follows_is_found,
];

/// All that is noted of owner `of`, each part another for each owner.
fn owner(of: u32) -> Holding {
    let file = if of == 1 { c"one" } else { c"two" };
    Holding {
        by: Taker {
            place: Place::new(file, of),
            stream: of,
        },
        size: of as usize,
        raw: false,
        since: of.into(),
    }
}

fn assert_whole(read: Option<Holding>) {
    if let Some(holding) = read {
        assert_eq!(holding, owner(holding.size as u32), "it mixes two owners");
    }
}

/// A reader beside a thread that takes the buffer, gives it back, and takes it again.
pub fn what_is_read_is_of_one_owner() -> Model {
    const TWINS: &[Fault] = &[
        Fault::TrackRelaxed,
        Fault::NoTrackFence,
        Fault::TrackOneLook,
    ];
    Model::new(2..=3, TWINS, || {
        let track = Arc::new(Track::default());
        let other = Arc::clone(&track);
        let reader = spawn(move || assert_whole(other.read()));
        track.take(&owner(1));
        track.give();
        track.take(&owner(2));
        reader.join().unwrap();
        assert_eq!(track.read(), Some(owner(2)));
        track.give();
        assert_eq!(track.read(), None);
    })
}

/// The buffer goes from one thread to another, which gets it as from a list.
pub fn what_is_read_is_of_one_owner_whichever_thread_it_is() -> Model {
    Model::new(2..=3, &[Fault::NoTrackFence, Fault::TrackOneLook], || {
        let track = Arc::new(Track::default());
        let home = Arc::new(AtomicBool::new(false));
        track.take(&owner(1));
        let (other, there) = (Arc::clone(&track), Arc::clone(&home));
        let next = spawn(move || {
            if there.load(Ordering::Acquire) {
                other.take(&owner(2));
            }
        });
        let other = Arc::clone(&track);
        let reader = spawn(move || assert_whole(other.read()));
        track.give();
        home.store(true, Ordering::Release);
        next.join().unwrap();
        reader.join().unwrap();
    })
}

/// An owner that keeps its buffer, as a `Buffer` or as a raw pointer, is found by whoever
/// knows of it.
pub fn an_owner_that_nobody_follows_is_found() -> Model {
    Model::new(2..=3, &[Fault::TrackRelaxed], || {
        let track = Arc::new(Track::default());
        let other = Arc::clone(&track);
        let reader = spawn(move || {
            let Some(holding) = other.read() else { return };
            let raw = holding.raw;
            assert_eq!(holding, Holding { raw, ..owner(1) });
        });
        track.take(&owner(1));
        track.set_raw(true);
        let raw = true;
        assert_eq!(track.read(), Some(Holding { raw, ..owner(1) }));
        reader.join().unwrap();
    })
}
