//! A list that only grows.
//!
//! Owns: its values, from their push until the list is dropped. Uses: `sync`. Used by:
//! `share`, for what a client has mapped and whom it asks.
//!
//! ```text
//!   head ──▶ last value ──▶ ... ──▶ first value ──▶ null
//! ```
//!
//! A push changes `head` by one compare-and-swap, and has looked at every value that was
//! there before: whoever came in between makes it look again, at the new ones alone.
//! Nothing is removed, so there is no ABA, and a reference lives as long as the list.

use crate::sync::{AtomicPtr, Ordering, fault};
use std::iter::successors;
use std::ptr;

struct Node<T> {
    value: T,
    /// The one before; written before the node is published, and not again.
    before: *mut Node<T>,
}

/// A list that only grows.
pub struct Append<T> {
    /// The last node. Published with Release by `push`, read with Acquire: who reads a
    /// pointer sees the node, and, since each push read the one before so, those before.
    head: AtomicPtr<Node<T>>,
}

// SAFETY: the nodes are the list's own, and their values go where it goes.
unsafe impl<T: Send> Send for Append<T> {}
// SAFETY: a shared list gives shared references, and takes values from any thread.
unsafe impl<T: Send + Sync> Sync for Append<T> {}

impl<T> Default for Append<T> {
    fn default() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

impl<T> Append<T> {
    fn load(&self) -> *mut Node<T> {
        self.head
            .load(fault!(AppendRelaxed, Ordering::Relaxed, Ordering::Acquire))
    }

    /// The last node, and the nodes from there back to `end`, which is not one of them.
    fn since(&self, end: *const Node<T>) -> (*mut Node<T>, impl Iterator<Item = &Node<T>>) {
        let head = self.load();
        let within = move |node: *mut Node<T>| {
            if node.cast_const() == end {
                return None;
            }
            // SAFETY: `head`, or from a node that was: null, or published, and there until
            // the list is dropped, which outlives our borrow of it.
            unsafe { node.as_ref() }
        };
        (
            head,
            successors(within(head), move |node| within(node.before)),
        )
    }

    /// The values, the last one first. Wait-free.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.since(ptr::null()).1.map(|node| &node.value)
    }

    /// Adds `value`, unless `check` refuses one that is there. Lock-free.
    pub fn push<E>(&self, value: T, mut check: impl FnMut(&T) -> Result<(), E>) -> Result<(), E> {
        let mut new = Box::new(Node {
            value,
            before: ptr::null_mut(),
        });
        let mut checked = ptr::null();
        loop {
            let (head, mut nodes) = self.since(checked);
            nodes.try_for_each(|node| check(&node.value))?;
            checked = head;
            new.before = head;
            let node = Box::into_raw(new);
            fault!(
                AppendStores,
                {
                    self.head.store(node, Ordering::Release);
                    return Ok(());
                },
                ()
            );
            // Release: see `head`. A failure is Relaxed: it is loaded anew.
            let published = self.head.compare_exchange(
                head,
                node,
                fault!(AppendRelaxed, Ordering::Relaxed, Ordering::Release),
                Ordering::Relaxed,
            );
            if published.is_ok() {
                return Ok(());
            }
            // SAFETY: made from a box above, and published to nobody.
            new = unsafe { Box::from_raw(node) };
        }
    }
}

impl<T> Drop for Append<T> {
    fn drop(&mut self) {
        let mut node = self.load();
        while !node.is_null() {
            // SAFETY: nobody has a reference any more; each node came from a box, and is
            // in the list once.
            let last = unsafe { Box::from_raw(node) };
            node = last.before;
        }
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_there_and_what_is_refused_is_not() {
        let list = Append::default();
        let unlike = |new: u32| move |old: &u32| if *old == new { Err(new) } else { Ok(()) };
        for value in 0..5 {
            assert_eq!(list.push(value, unlike(value)), Ok(()));
            assert_eq!(list.push(value, unlike(value)), Err(value));
        }
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [4, 3, 2, 1, 0]);
    }

    #[test]
    fn values_are_dropped_once_with_the_list() {
        let counted = std::rc::Rc::new(());
        let list = Append::default();
        for _ in 0..3 {
            let pushed: Result<(), ()> = list.push(counted.clone(), |_| Ok(()));
            pushed.unwrap();
        }
        assert_eq!(std::rc::Rc::strong_count(&counted), 4);
        drop(list);
        assert_eq!(std::rc::Rc::strong_count(&counted), 1);
    }
}
