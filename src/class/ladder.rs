//! Classes in the order in which requests try them.
//!
//! Owns: that order, and the bound of the climb. Uses: nothing but `ClassId`.
//! Used by: `lookup`, to fill its table; `catalog`, for the requests that the
//! hot path does not serve.

use super::{ClassId, MAX_CLASSES};

/// A class on a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Bytes a buffer can hold.
    pub size: usize,
    /// What its address is a multiple of, in bytes.
    pub alignment: usize,
    /// The class.
    pub class: ClassId,
}

impl Rung {
    /// Whether the class can serve a request.
    pub fn serves(&self, size: usize, alignment: usize) -> bool {
        self.size >= size && self.alignment >= alignment
    }
}

/// Classes by size, then alignment. Lives on the stack: requests that find
/// nothing build one, and must not allocate.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// Size and alignment of each rung.
    shapes: [(u32, u32); MAX_CLASSES],
    classes: [ClassId; MAX_CLASSES],
    len: usize,
}

impl Default for Ladder {
    fn default() -> Self {
        Self {
            shapes: [(0, 0); MAX_CLASSES],
            classes: [ClassId::FIRST; MAX_CLASSES],
            len: 0,
        }
    }
}

impl Ladder {
    /// Puts `rung` in its place. There is room for every class there can be.
    pub fn insert(&mut self, rung: Rung) {
        let key = |rung: &Rung| (rung.size, rung.alignment, rung.class);
        let at = self
            .iter()
            .position(|other| key(&other) > key(&rung))
            .unwrap_or(self.len);
        if self.len == MAX_CLASSES {
            return;
        }
        self.shapes.copy_within(at..self.len, at + 1);
        self.classes.copy_within(at..self.len, at + 1);
        // Both fit: sizes end at 1 GiB, alignments at 64 MiB.
        self.shapes[at] = (rung.size as u32, rung.alignment as u32);
        self.classes[at] = rung.class;
        self.len += 1;
    }

    /// The classes, smallest first.
    pub fn classes(&self) -> &[ClassId] {
        &self.classes[..self.len]
    }

    /// The rungs, smallest first.
    pub fn iter(&self) -> impl Iterator<Item = Rung> + '_ {
        let shapes = self.shapes[..self.len].iter();
        shapes
            .zip(self.classes())
            .map(|(&(size, alignment), &class)| Rung {
                size: size as usize,
                alignment: alignment as usize,
                class,
            })
    }

    /// The smallest class that serves the request.
    pub fn first(&self, size: usize, alignment: usize) -> Option<Rung> {
        self.iter().find(|rung| rung.serves(size, alignment))
    }

    /// The size of the largest class that a request of `size` bytes may have: it
    /// climbs to classes `climb` times its size, or else to the smallest.
    pub fn reach(&self, size: usize, climb: usize) -> usize {
        let first = self.iter().next().map_or(0, |rung| rung.size);
        size.saturating_mul(climb).max(first)
    }

    /// Drops the classes larger than `reach`.
    #[must_use]
    pub fn up_to(mut self, reach: usize) -> Ladder {
        self.len = self.iter().filter(|rung| rung.size <= reach).count();
        self
    }
}

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ladder(sizes: &[(usize, u32)]) -> Ladder {
        let mut ladder = Ladder::default();
        for (at, &(size, shift)) in sizes.iter().enumerate() {
            ladder.insert(Rung {
                size,
                alignment: 1 << shift,
                class: ClassId::new(at).unwrap(),
            });
        }
        ladder
    }

    proptest! {
        #[test]
        fn rungs_are_in_order_and_none_is_lost(
            sizes in proptest::collection::vec((1usize..1000, 9u32..20), 0..30),
        ) {
            let ladder = ladder(&sizes);
            let mut expected = sizes;
            expected.sort_unstable();
            let found: Vec<_> = ladder
                .iter()
                .map(|rung| (rung.size, rung.alignment.trailing_zeros()))
                .collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn climbing_never_passes_its_bound(
            sizes in proptest::collection::vec((1usize..1 << 20, 9u32..12), 1..20),
            size in 1usize..1 << 20, shift in 0u32..13, climb in 0usize..6,
        ) {
            let mut serving = Ladder::default();
            for rung in ladder(&sizes).iter().filter(|rung| rung.serves(size, 1 << shift)) {
                serving.insert(rung);
            }
            let reach = serving.reach(size, climb);
            let serving = serving.up_to(reach);
            let rungs: Vec<_> = serving.iter().map(|rung| rung.size).collect();
            let mut fitting: Vec<_> = sizes
                .iter()
                .filter(|&&(other, at)| other >= size && at >= shift)
                .map(|&(other, _)| other)
                .collect();
            fitting.sort_unstable();
            let expected: Vec<_> = fitting
                .iter()
                .copied()
                .filter(|&other| other <= size * climb || other == fitting[0])
                .collect();
            prop_assert_eq!(rungs, expected);
        }
    }
}
