//! Proves: a task that waited in the parent of a fork waits on in a child that polls it,
//! where nobody served it.
#![cfg(feature = "async")]

mod support;

use hugepool::Pool;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use support::process::{alone, in_fork};

const SIZE: usize = 4096;

/// A pool of `count` buffers that a child inherits.
fn pool(count: usize, strict: bool) -> Pool {
    let pool = Pool::builder().reserve(SIZE, SIZE, count).fork(true);
    pool.prefault(false).strict_order(strict).build().unwrap()
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    future.as_mut().poll(&mut context)
}

#[test]
fn a_task_that_waits_for_several_is_served_in_a_child_that_polls_it() {
    let name = "a_task_that_waits_for_several_is_served_in_a_child_that_polls_it";
    alone(name, &[], || {
        for strict in [false, true] {
            let pool = pool(4, strict);
            let mut held = pool.allocate_many(SIZE, SIZE, 4).unwrap();
            let mut future = Box::pin(pool.allocate_many_async(SIZE, SIZE, 3));
            assert!(poll(&mut future).is_pending());
            (0..2).for_each(|_| drop(held.pop()));
            let code = in_fork(|| {
                assert!(poll(&mut future).is_pending());
                // SAFETY: the child's copy of a buffer that the parent keeps.
                drop(unsafe { std::ptr::read(&held[0]) });
                let Poll::Ready(Ok(all)) = poll(&mut future) else {
                    return 1;
                };
                i32::from(all.len() != 3)
            });
            assert_eq!(code, 0, "1: it waits for ever");
            drop(held);
            assert!(matches!(poll(&mut future), Poll::Ready(Ok(all)) if all.len() == 3));
        }
    });
}

/// Whether it waits there, was called by the parent, or was handed a buffer in it.
#[test]
fn a_task_that_waits_is_served_in_a_child_that_polls_it() {
    let name = "a_task_that_waits_is_served_in_a_child_that_polls_it";
    alone(name, &[], || {
        for (strict, given) in [(false, 0), (false, 1), (true, 0), (true, 1), (true, 2)] {
            let pool = pool(2, strict);
            let mut held = pool.allocate_many(SIZE, SIZE, 2).unwrap();
            let mut first = Box::pin(pool.allocate_async(SIZE, SIZE));
            let mut second = Box::pin(pool.allocate_async(SIZE, SIZE));
            assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
            (0..given).for_each(|_| drop(held.pop()));
            let code = in_fork(|| {
                for buffer in &held {
                    // SAFETY: the child's copy of a buffer that the parent keeps.
                    drop(unsafe { std::ptr::read(buffer) });
                }
                let served = |future: &mut _| match poll(future) {
                    Poll::Ready(Ok(buffer)) => Some(buffer),
                    _ => None,
                };
                let (Some(one), Some(_two)) = (served(&mut second), served(&mut first)) else {
                    return 1;
                };
                let mut third = Box::pin(pool.allocate_async(SIZE, SIZE));
                assert!(poll(&mut third).is_pending());
                drop(one);
                i32::from(served(&mut third).is_none())
            });
            assert_eq!(code, 0, "1: one waits for ever");
            drop(held);
            for future in [&mut first, &mut second] {
                assert!(matches!(poll(future), Poll::Ready(Ok(_))));
            }
        }
    });
}

/// It was nobody of this process who waited, until it is polled here.
#[test]
fn a_task_that_a_child_polls_stands_in_line_there() {
    let name = "a_task_that_a_child_polls_stands_in_line_there";
    alone(name, &[], || {
        for strict in [false, true] {
            let pool = pool(1, strict);
            let held = pool.allocate(SIZE, SIZE).unwrap();
            let mut future = Box::pin(pool.allocate_async(SIZE, SIZE));
            assert!(poll(&mut future).is_pending());
            let code = in_fork(|| {
                assert!(poll(&mut future).is_pending());
                // SAFETY: the child's copy of a buffer that the parent keeps.
                drop(unsafe { std::ptr::read(&held) });
                // In strict order it is the task's: nobody overtakes it.
                let overtaken = strict && pool.allocate(SIZE, SIZE).is_ok();
                let served = matches!(poll(&mut future), Poll::Ready(Ok(_)));
                i32::from(overtaken) + 2 * i32::from(!served)
            });
            assert_eq!(code, 0, "1: it was overtaken; 2: it waits for ever");
            drop(held);
        }
    });
}
