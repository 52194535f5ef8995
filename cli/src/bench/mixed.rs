//! The pattern `mixed`: rings of buffers of several sizes.
//!
//! Owns the sizes, the order in which a worker takes them, and the making of the rivals: this pool has a class for each
//! size, a general allocator is asked for each, and a pool of one size is there once for each. Uses the arenas; `plan`
//! makes groups with the sizes, and the loop is that of `ring`.

use super::arenas::{Arenas, entry};
use super::pattern::Pattern;
use super::random::Random;
use super::window::Contestant;
use crate::rival::general::{General, Glibc};
use crate::rival::mapped::Mmap;
use crate::rival::mixed::Mixed;
use crate::rival::rpmalloc::Rpmalloc;
use crate::rival::zero::Zero;
use crate::rival::{Absence, Name, Rival, Shape, hugepool as pool, shared, store, waiting};
use crate::units::KIB;

/// The smallest size.
const LEAST: usize = 4 * KIB;

/// Draws before a worker begins anew: a power of two.
const DRAWS: usize = 1024;

/// The powers of two from 4 KiB up to `largest`.
pub fn sizes(largest: usize) -> Vec<usize> {
    let each = std::iter::successors(Some(LEAST), |size| size.checked_mul(2));
    each.take_while(|size| *size <= largest).collect()
}

/// What a rival is asked for of each size, if it is asked for `shape` of the largest: as many buffers.
pub fn shapes(shape: Shape) -> Vec<Shape> {
    let sizes = sizes(shape.size).into_iter();
    sizes.map(|size| Shape { size, ..shape }).collect()
}

/// The sizes that a worker takes, as indices: each as often as another, in an order of its own, the same for every rival.
fn draws(taker: usize, sizes: usize) -> Box<[usize]> {
    let mut random = Random::new(taker as u64 + 1);
    (0..DRAWS).map(|_| random.below(sizes)).collect()
}

/// Makes the rival called `name`. The error says why this rival cannot take part.
pub fn enter(arenas: &mut Arenas, name: Name) -> Result<Box<dyn Contestant>, Absence> {
    let shapes = arenas.shapes().to_vec();
    let shapes = shapes.as_slice();
    Ok(match name {
        Name::Hugepool => {
            let pool = arenas.need_pool(name)?;
            each(shapes, |shape| Ok(pool::BySize::new(pool.clone(), shape)))?
        }
        Name::HugepoolClass => {
            let pool = arenas.need_pool(name)?;
            each(shapes, |shape| pool::ByClass::new(&pool, shape))?
        }
        Name::HugepoolRaw => {
            let pool = arenas.need_pool(name)?;
            each(shapes, |shape| Ok(pool::Raw::new(pool.clone(), shape)))?
        }
        Name::HugepoolPortable => {
            let pool = arenas.need_portable(name)?;
            each(shapes, |shape| pool::ByClass::new(&pool, shape))?
        }
        Name::Glibc => each(shapes, |shape| General::new(Glibc, shape))?,
        Name::Mmap => each(shapes, Mmap::new)?,
        Name::Jemalloc => each(shapes, |shape| {
            General::new(tikv_jemallocator::Jemalloc, shape)
        })?,
        Name::Mimalloc => each(shapes, |shape| General::new(mimalloc::MiMalloc, shape))?,
        Name::Rpmalloc => each(shapes, |shape| {
            General::with_threads(Rpmalloc, Rpmalloc::enter, shape)
        })?,
        #[cfg(feature = "snmalloc")]
        Name::Snmalloc => each(shapes, |shape| General::new(snmalloc_rs::SnMalloc, shape))?,
        Name::ArrayQueue => {
            let mappings = arenas.need_mappings(name)?;
            let queues = mappings.into_iter().map(shared::Queue::new);
            entry(Mixed::new(queues.collect(), draws))
        }
        Name::MutexVec => {
            let mappings = arenas.need_mappings(name)?;
            let lists = mappings.into_iter().map(shared::Locked::new);
            entry(Mixed::new(lists.collect(), draws))
        }
        Name::Channel => {
            let mappings = arenas.need_mappings(name)?;
            let channels = mappings.into_iter().map(waiting::channel);
            entry(Mixed::new(channels.collect(), draws))
        }
        Name::StoreIoBuf => each(shapes, store::Store::new)?,
        Name::ZeroPool => each(shapes, Zero::new)?,
        _ => return Err(format!("it takes no part in {}", Pattern::Mixed).into()),
    })
}

/// One of a kind for each size.
fn each<R: Rival>(
    shapes: &[Shape],
    make: impl FnMut(Shape) -> Result<R, String>,
) -> Result<Box<dyn Contestant>, String> {
    let rivals: Result<Vec<R>, String> = shapes.iter().copied().map(make).collect();
    Ok(entry(Mixed::new(rivals?, draws)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_powers_of_two_up_to_the_largest() {
        assert_eq!(sizes(64 * KIB), [4, 8, 16, 32, 64].map(|kib| kib * KIB));
        assert_eq!(sizes(9 * KIB), [4, 8].map(|kib| kib * KIB));
        assert!(sizes(4095).is_empty());
    }

    #[test]
    fn a_worker_takes_every_size_in_an_order_of_its_own_that_stays_the_same() {
        for sizes in [1, 2, 5, 15] {
            let drawn = draws(0, sizes);
            assert!(drawn.len().is_power_of_two());
            for size in 0..sizes {
                let times = drawn.iter().filter(|draw| **draw == size).count();
                // Half as often as another, and twice, at the utmost.
                let usual = DRAWS / sizes;
                assert!((usual / 2..=2 * usual).contains(&times), "{size}: {times}");
            }
            assert!(drawn.iter().all(|draw| *draw < sizes));
            assert_eq!(draws(0, sizes), drawn);
        }
        assert_ne!(draws(0, 5), draws(1, 5));
    }
}
