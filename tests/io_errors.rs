//! What this library refuses, as an error of `std::io`: of the kind that fits, and with the
//! error itself inside.

mod support;

use hugepool::share::{Access, Client, Handle, Peers, ShareError};
use hugepool::vdi::{self, Set};
use hugepool::{
    AllocError, BuildError, FreeError, IntoRawError, OsError, Pages, Pool, RangeError, StreamError,
    WhyNotPlaced,
};
use std::error::Error;
use std::io::{self, ErrorKind, Read};
use std::time::Duration;

/// Checks that `error` becomes one of `kind` which has it inside and says what it says.
#[track_caller]
fn becomes<E>(kind: ErrorKind, error: E)
where
    E: Error + Copy + PartialEq + Into<io::Error> + Send + Sync + 'static,
{
    let made: io::Error = error.into();
    assert_eq!(made.kind(), kind, "{error}");
    let inside = made.get_ref().and_then(|inside| inside.downcast_ref::<E>());
    assert_eq!(inside, Some(&error));
    assert_eq!(made.to_string(), error.to_string());
    // What it was caused by is as far away as from the error itself.
    let cause = |error: &dyn Error| error.source().map(ToString::to_string);
    assert_eq!(cause(&made), cause(&error));
}

fn os(number: i32) -> OsError {
    OsError {
        call: "mmap",
        number,
    }
}

fn pool() -> Pool {
    let builder = Pool::builder().reserve(4096, 4096, 1).prefault(false);
    builder.build().unwrap()
}

#[test]
fn what_the_system_refused_keeps_its_kind() {
    for (number, kind) in [
        (libc::ENOMEM, ErrorKind::OutOfMemory),
        (libc::EPERM, ErrorKind::PermissionDenied),
        (libc::EINVAL, ErrorKind::InvalidInput),
        (libc::EINTR, ErrorKind::Interrupted),
        (libc::ENOSYS, ErrorKind::Unsupported),
        // There was no number.
        (0, ErrorKind::Other),
    ] {
        let reason = os(number);
        becomes(kind, reason);
        for error in [
            BuildError::System(reason),
            BuildError::Lock {
                bytes: 1,
                limit: None,
                reason,
            },
            BuildError::Node {
                node: 0,
                why: WhyNotPlaced::Other,
                reason,
            },
            BuildError::NoPages {
                bytes: 1,
                reason: Some(reason),
            },
            BuildError::PagesNotGranted {
                required: Pages::Huge2M,
                bytes: 1,
                granted: 0,
                reason: Some(reason),
            },
        ] {
            becomes(kind, error);
            let source = error.source().and_then(|source| source.downcast_ref());
            assert_eq!(source, Some(&reason));
            becomes(kind, vdi::Error::Build(error));
        }
        becomes(kind, ShareError::System(reason));
        let error = ShareError::System(reason);
        let source = error.source().and_then(|source| source.downcast_ref());
        assert_eq!(source, Some(&reason));
    }
}

#[test]
fn a_request_that_a_wait_may_serve_would_block_and_others_are_wrong() {
    let pool = pool();
    let stream = pool.stream("of one").maximum(4096, 4096, 1).build();
    let stream = stream.unwrap();
    let refused = |size, alignment| pool.allocate(size, alignment).unwrap_err();
    for (size, alignment) in [(0, 1), (1, 3), (4097, 1), (1, 8192)] {
        becomes(ErrorKind::InvalidInput, refused(size, alignment));
    }
    let never = pool.allocate_many(4096, 4096, 2).unwrap_err();
    becomes(ErrorKind::InvalidInput, never);
    let _buffer = stream.allocate(4096, 4096).unwrap();
    let exhausted = refused(4096, 4096);
    assert!(matches!(exhausted, AllocError::Exhausted { .. }));
    becomes(ErrorKind::WouldBlock, exhausted);
    becomes(ErrorKind::WouldBlock, vdi::Error::Alloc(exhausted));
    let at_maximum = stream.allocate(4096, 4096).unwrap_err();
    assert!(matches!(at_maximum, AllocError::AtMaximum { .. }));
    becomes(ErrorKind::WouldBlock, at_maximum);
    let timed_out = pool.allocate_timeout(4096, 4096, Duration::ZERO);
    becomes(ErrorKind::TimedOut, timed_out.unwrap_err());
    let limit = 65536;
    becomes(
        ErrorKind::ResourceBusy,
        AllocError::TooManyWaiters { limit },
    );
    becomes(ErrorKind::InvalidInput, AllocError::ForeignToken);
    let share = stream.allocate(8192, 4096).unwrap_err();
    becomes(ErrorKind::InvalidInput, share);
}

/// A source that needs a buffer of a pool to read.
struct Source(Pool);

impl Read for Source {
    fn read(&mut self, _into: &mut [u8]) -> io::Result<usize> {
        let _buffer = self.0.allocate_timeout(4096, 4096, Duration::MAX)?;
        Ok(0)
    }
}

/// The loops of `std::io` begin anew after `Interrupted`.
#[test]
fn a_wait_that_somebody_ended_ends_what_it_was_for() {
    let pool = pool();
    let _buffer = pool.allocate(4096, 4096).unwrap();
    let token = pool.cancel_token();
    token.cancel();
    let cancelled = pool.allocate_cancellable(4096, 4096, Duration::MAX, &token);
    becomes(ErrorKind::Other, cancelled.unwrap_err());
    becomes(ErrorKind::Other, AllocError::Aborted);
    let call = vdi::Call::AllocateBuffer;
    becomes(ErrorKind::Other, vdi::Error::Aborted { call });
    pool.abort();
    let copied = io::copy(&mut Source(pool), &mut io::sink());
    let inside = copied.unwrap_err().downcast::<AllocError>();
    assert_eq!(inside.unwrap(), AllocError::Aborted);
}

#[test]
fn a_pool_that_cannot_be_says_whether_the_caller_or_the_system_is_why() {
    let refused = |size, alignment, count| {
        let builder = Pool::builder().reserve(size, alignment, count);
        builder.build().unwrap_err()
    };
    for error in [
        refused(0, 1, 1),
        refused(1, 1, 0),
        refused(1, 3, 1),
        refused((1 << 30) + 1, 1, 1),
        refused(1, 128 << 20, 1),
        Pool::builder().prefix_zone(2 << 20).build().unwrap_err(),
        Pool::builder().shared(Access::Write).build().unwrap_err(),
        Pool::builder().node(1024).build().unwrap_err(),
        Pool::builder().interleave(&[]).build().unwrap_err(),
        BuildError::NoPages {
            bytes: 1,
            reason: None,
        },
    ] {
        becomes(ErrorKind::InvalidInput, error);
    }
    let builder = Pool::builder().reserve(1 << 20, 1, 8);
    let beyond = builder.address_space(1 << 20).build().unwrap_err();
    becomes(ErrorKind::QuotaExceeded, beyond);
    let (needed, limit, available) = (3, 2, 1);
    becomes(
        ErrorKind::FileTooLarge,
        BuildError::FileSize { needed, limit },
    );
    for error in [
        BuildError::OutOfMemory {
            needed,
            available: Some(available),
        },
        BuildError::GroupLimit {
            file: "memory.max",
            needed,
            limit,
            available,
        },
        BuildError::NodeMemory {
            node: 0,
            needed,
            available,
        },
    ] {
        becomes(ErrorKind::OutOfMemory, error);
    }
}

#[test]
fn a_stream_that_cannot_be_says_so() {
    let pool = pool();
    becomes(
        ErrorKind::InvalidInput,
        pool.stream("").build().unwrap_err(),
    );
    let beyond = pool.stream("a").minimum(4096, 4096, 2).build();
    becomes(ErrorKind::QuotaExceeded, beyond.unwrap_err());
    let of_none = pool.stream("a").minimum(8192, 4096, 1).build().unwrap_err();
    let StreamError::Class(why) = of_none else {
        panic!("{of_none}");
    };
    becomes(ErrorKind::InvalidInput, of_none);
    let source = of_none.source().and_then(|source| source.downcast_ref());
    assert_eq!(source, Some(&why));
    let _buffer = pool.allocate(4096, 4096).unwrap();
    let in_use = pool.stream("a").minimum(4096, 4096, 1).build();
    becomes(ErrorKind::ResourceBusy, in_use.unwrap_err());
}

#[test]
fn what_is_wrong_with_a_buffer_is_wrong_input() {
    let (pool, other) = (pool(), pool());
    let mut buffer = pool.allocate(4096, 4096).unwrap();
    let beyond = buffer.set_len(4097).unwrap_err();
    becomes::<RangeError>(ErrorKind::InvalidInput, beyond);
    becomes(ErrorKind::InvalidInput, ShareError::Range(beyond));
    let address = 1;
    let foreign = FreeError::Foreign { address };
    becomes(ErrorKind::InvalidInput, foreign);
    becomes(ErrorKind::InvalidInput, vdi::Error::Free(foreign));
    // With the buffer, which can be had back.
    let made: io::Error = other.into_raw(buffer).unwrap_err().into();
    assert_eq!(made.kind(), ErrorKind::InvalidInput);
    let inside: IntoRawError = made.downcast().unwrap();
    assert!(matches!(inside, IntoRawError::OtherPool(_)));
    assert_eq!(pool.available(4096, 4096), 0);
    let made = io::Error::from(other.into_raw(inside.into_buffer()).unwrap_err());
    assert_eq!(pool.available(4096, 4096), 0);
    drop(made);
    assert_eq!(pool.available(4096, 4096), 1);
}

#[test]
fn what_fails_between_processes_says_at_which_end() {
    let name = format!("hugepool test of errors {}", std::process::id());
    let nobody = Client::open(&name, &Peers::default()).unwrap_err();
    becomes(ErrorKind::NotFound, nobody);
    becomes(ErrorKind::Unsupported, pool().exports().unwrap_err());
    let builder = Pool::builder().reserve(4096, 4096, 1).prefault(false);
    let shared = builder.shared(Access::Read).build().unwrap();
    let _published = shared.publish(&name, Peers::default()).unwrap();
    let taken = shared.publish(&name, Peers::default()).unwrap_err();
    becomes(ErrorKind::AddrInUse, taken);
    let client = Client::open(&name, &Peers::default()).unwrap();
    let stale = client.map(Handle::from_raw(0)).unwrap_err();
    becomes(ErrorKind::InvalidInput, stale);
    becomes(ErrorKind::PermissionDenied, ShareError::ReadOnly);
    becomes(ErrorKind::InvalidData, ShareError::NotSealed);
}

#[test]
fn a_set_says_what_its_code_says() {
    let set = Set::new();
    let early = set.allocate_buffer(1, 0).unwrap_err();
    becomes(ErrorKind::InvalidInput, early);
    let wished = set.open(&vdi::Config::default()).unwrap_err();
    becomes(ErrorKind::Unsupported, wished);
    becomes(ErrorKind::QuotaExceeded, vdi::Error::Devices { limit: 1 });
}
