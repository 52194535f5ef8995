//! What callers hold: which threads may have it, and that a panic leaves it as good as it was.

mod support;

use hugepool::share::{Access, Client, Export, Layout, Name, Peers, Publication, ShareError, View};
#[cfg(feature = "io-uring")]
use hugepool::uring;
use hugepool::vdi::{self, Set};
use hugepool::{
    AllocError, Buffer, BuildError, Builder, CancelToken, Class, ClassCounters, Counters,
    FreeError, IntoRawError, Machine, OsError, Outstanding, Plain, Pool, RangeError, Region, Stats,
    Stream, StreamBuilder, StreamError, Volatile,
};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use support::kind::{Kind, both_kinds};

both_kinds! {
    what_a_panic_unwinds_past_comes_home_and_the_handles_go_on,
}

fn unwound<T: UnwindSafe + RefUnwindSafe>() {}
fn shared<T: Send + Sync>() {}

macro_rules! each {
    ($check:ident: $($what:ty),+ $(,)?) => { $($check::<$what>();)+ };
}

/// Holds if it compiles.
#[test]
fn handles_may_be_held_across_a_panic() {
    each! { unwound:
        Pool, Pool<Volatile>, Class, Class<Volatile>, Stream, Stream<Volatile>, Buffer,
        Buffer<Volatile>, CancelToken, Builder, StreamBuilder, StreamBuilder<Volatile>, Region,
        Stats, Counters, ClassCounters, Outstanding, Machine, Plain,
        Client, Export, Layout, Name<'static>, Peers, Publication, View,
        Set, vdi::Config, vdi::Parameters,
        AllocError, BuildError, FreeError, OsError, RangeError, StreamError, IntoRawError,
        IntoRawError<Volatile>, ShareError, vdi::Error,
    };
    #[cfg(feature = "async")]
    each! { unwound:
        hugepool::Allocate, hugepool::Allocate<Volatile>, hugepool::AllocateMany,
        hugepool::AllocateMany<Volatile>,
    };
    #[cfg(feature = "bytes")]
    each! { unwound: hugepool::Frozen };
    #[cfg(feature = "io-uring")]
    each! { unwound:
        uring::Registry, uring::Registry<Volatile>, uring::Ring, uring::Service, uring::Handle,
        uring::Transfer, uring::Report, uring::RingError, uring::WhyRejected,
    };
}

/// Holds if it compiles.
#[test]
fn handles_may_be_shared_by_threads() {
    each! { shared:
        Pool, Pool<Volatile>, Class, Class<Volatile>, Stream, Stream<Volatile>, Buffer,
        Buffer<Volatile>, CancelToken, Builder, StreamBuilder, Stats, Counters, Outstanding,
        Client, Export, Peers, Publication, Set, IntoRawError, IntoRawError<Volatile>,
    };
    #[cfg(feature = "async")]
    each! { shared: hugepool::Allocate, hugepool::AllocateMany };
    #[cfg(feature = "bytes")]
    each! { shared: hugepool::Frozen };
    #[cfg(feature = "io-uring")]
    each! { shared:
        uring::Registry, uring::Registry<Volatile>, uring::Ring, uring::Service, uring::Handle,
        uring::Transfer,
    };
}

fn what_a_panic_unwinds_past_comes_home_and_the_handles_go_on(kind: Kind) {
    let builder = Pool::builder().reserve(4096, 4096, 4).prefault(false);
    let pool = kind.build(builder);
    let class = pool.class(4096, 4096).unwrap();
    let stream = pool.stream("of one").minimum(4096, 4096, 1).build();
    let stream = stream.unwrap();
    let mut kept = pool.allocate(4096, 4096).unwrap();
    kept[0] = 1;
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _taken = pool.allocate(4096, 4096).unwrap();
        let _by_class = class.allocate().unwrap();
        let _of_stream = stream.allocate(4096, 4096).unwrap();
        kept[0] = 2;
        kept.clear();
        // Without a word about it.
        resume_unwind(Box::new("in the middle"));
    }));
    assert!(unwound.is_err());
    assert_eq!(pool.available(4096, 4096), 2);
    assert!(stream.allocate(4096, 4096).is_ok() && class.allocate().is_ok());
    // What was done to it was done.
    kept.set_len(1).unwrap();
    assert_eq!(kept[..], [2]);
}

/// The pool's part that it shares with clients, too.
#[test]
fn a_panic_beside_a_publication_leaves_it_open() {
    let builder = Pool::builder().reserve(4096, 4096, 1).prefault(false);
    let pool = builder.shared(Access::Read).build().unwrap();
    let name = format!("hugepool test of handles {}", std::process::id());
    let published = pool.publish(&name, Peers::default()).unwrap();
    let unwound = catch_unwind(|| {
        let _borrowed = (&published, &pool);
        resume_unwind(Box::new("in the middle"));
    });
    assert!(unwound.is_err());
    assert!(Client::open(&name, &Peers::default()).is_ok());
    drop(published);
    assert!(Client::open(&name, &Peers::default()).is_err());
}
