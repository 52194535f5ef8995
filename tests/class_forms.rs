//! A class has every form of allocation that its pool has, and each does the same.

mod support;

use hugepool::{AllocError, Buffer, Class, FreeError, Pool};
use std::thread;
use std::time::{Duration, Instant};
use support::LONG;
use support::small::{SIZE, take, until_waiting, with_both_kinds};

const ALIGNMENT: usize = SIZE;
/// Runs `test` with a class, and a request for its size by its pool.
fn with_classes(count: usize, test: impl Fn(&Pool, &Class)) {
    with_both_kinds(count, |pool| {
        // A size that is not the class's own is not what its buffers have.
        let class = pool.class(SIZE - 96, 512).unwrap();
        assert_eq!((class.size(), class.alignment()), (SIZE, ALIGNMENT));
        test(pool, &class);
    });
}

/// What ends without a buffer, without the numbers that may differ.
fn refused<T>(result: Result<T, AllocError>) -> std::mem::Discriminant<AllocError> {
    std::mem::discriminant(&result.map(drop).unwrap_err())
}

#[test]
fn forms_that_do_not_wait_take_and_refuse_what_those_of_the_pool_do() {
    with_classes(3, |pool, class| {
        assert_eq!(class.available(), 3);
        let many = class.allocate_many(2).unwrap();
        assert!(many.iter().all(|buffer| buffer.len() == SIZE));
        assert_eq!(class.available(), pool.available(SIZE, ALIGNMENT));
        assert!(class.allocate_many(0).unwrap().is_empty());
        for count in [2, 4] {
            let by_pool = refused(pool.allocate_many(SIZE, ALIGNMENT, count));
            assert_eq!(refused(class.allocate_many(count)), by_pool);
        }
        let never = class.allocate_many(usize::MAX).map(drop).unwrap_err();
        let (count, capacity) = (usize::MAX, 3);
        assert_eq!(never, AllocError::NeverEnough { count, capacity });
        let last = class.allocate().unwrap();
        assert_eq!((last.len(), class.available()), (SIZE, 0));
        assert_eq!(
            refused(class.allocate()),
            refused(pool.allocate(SIZE, ALIGNMENT))
        );
        assert_eq!(
            refused(class.allocate_raw()),
            refused(pool.allocate_raw(SIZE, ALIGNMENT))
        );
        drop((many, last));
        assert_eq!(class.available(), 3);
    });
}

#[test]
fn raw_pointers_of_a_class_are_those_of_its_pool() {
    with_classes(2, |pool, class| {
        let first = class.allocate_raw().unwrap().as_ptr();
        let second = class.allocate_raw().unwrap().as_ptr();
        assert!(first != second && first.addr() % ALIGNMENT == 0);
        // SAFETY: each is the caller's own, and freed once; what is refused changes nothing.
        unsafe {
            pool.free_raw(first, SIZE).unwrap();
            let again = class.free_raw(first).unwrap_err();
            let address = first.addr();
            assert_eq!(again, FreeError::NotAllocated { address });
            let inside = class.free_raw(second.add(1)).unwrap_err();
            assert!(matches!(inside, FreeError::Interior { .. }));
            let foreign = class.free_raw((&raw const again).cast_mut().cast());
            assert!(matches!(foreign, Err(FreeError::Foreign { .. })));
            class.free_raw(second).unwrap();
        }
        // Of a size that is not the class's.
        let short = pool.allocate_raw(SIZE - 1, ALIGNMENT).unwrap().as_ptr();
        // SAFETY: as above.
        unsafe {
            let wrong = class.free_raw(short).unwrap_err();
            let (address, given, allocated) = (short.addr(), SIZE, SIZE - 1);
            let expected = FreeError::WrongSize {
                address,
                given,
                allocated,
            };
            assert_eq!(wrong, expected);
            pool.free_raw(short, SIZE - 1).unwrap();
        }
        assert_eq!(class.available(), 2);
    });
}

/// The waits of a class, each with the limit `LONG`, or with none.
type Form = fn(&Class) -> Result<Buffer, AllocError>;

const WAITS: &[Form] = &[
    |class| class.allocate_timeout(LONG),
    |class| class.allocate_deadline(Instant::now() + LONG),
    |class| class.allocate_cancellable(LONG, &class.pool().cancel_token()),
    #[cfg(feature = "async")]
    |class| by_polling(class.allocate_async()),
];

/// Polls again and again.
#[cfg(feature = "async")]
fn by_polling<T>(future: impl Future<Output = T>) -> T {
    use std::task::{Context, Poll, Waker};
    let mut future = std::pin::pin!(future);
    loop {
        match future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::yield_now(),
        }
    }
}

#[test]
fn every_form_of_waiting_is_served_and_ended_as_those_of_the_pool() {
    for wait in WAITS {
        with_classes(1, |pool, class| {
            drop(wait(class).expect("a buffer is free"));
            let buffer = take(pool);
            thread::scope(|scope| {
                let waiter = scope.spawn(|| wait(class));
                until_waiting(pool, 1);
                drop(buffer);
                let served = waiter.join().unwrap().expect("a buffer came back");
                assert_eq!(served.len(), SIZE);
                let waiter = scope.spawn(|| wait(class));
                until_waiting(pool, 1);
                class.pool().abort();
                assert_eq!(waiter.join().unwrap().unwrap_err(), AllocError::Aborted);
            });
        });
    }
}

#[test]
fn a_deadline_in_the_past_takes_what_is_free_and_waits_for_nothing() {
    with_classes(1, |_, class| {
        let past = Instant::now() - Duration::from_secs(1);
        let buffer = class.allocate_deadline(past).unwrap();
        let (size, alignment, limit) = (SIZE, ALIGNMENT, Duration::ZERO);
        let expected = AllocError::TimedOut {
            size,
            alignment,
            limit,
        };
        assert_eq!(class.allocate_deadline(past).unwrap_err(), expected);
        assert_eq!(class.allocate_timeout(limit).unwrap_err(), expected);
        drop(buffer);
        assert!(class.allocate_deadline(past).is_ok());
    });
}

#[test]
fn a_class_gives_a_handle_of_its_pool_that_keeps_it() {
    with_classes(1, |pool, class| {
        let (handle, same) = (class.pool(), pool.clone());
        let buffer = handle.allocate(SIZE, ALIGNMENT).unwrap();
        assert!(same.contains(buffer.as_ptr()));
        // Buffers of the one are those of the other.
        let start = same.into_raw(buffer).expect("it is of this pool");
        // SAFETY: taken above, of this length, and freed once.
        unsafe { class.free_raw(start.as_ptr()) }.unwrap();
    });
}
