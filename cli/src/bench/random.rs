//! A small seeded generator for the order of the rivals and for what they are made behind.
//!
//! Owns splitmix64 and a shuffle. The same seed gives the same order on every machine; nothing else is random.

/// A stream of numbers fixed by its seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The stream of one round of a run with that seed.
    pub fn of_round(seed: u64, round: u32) -> Random {
        let mut seeds = Random::new(seed);
        let own = (0..round).fold(seeds.next(), |_, _| seeds.next());
        Random::new(own)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, but not including, 1.
    #[cfg(test)]
    pub fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from 0 up to, but not including, `end`. (The bias of the remainder is far below what a run can see.)
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Puts the items in a new order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_order_and_nothing_gets_lost() {
        let shuffled = |seed| {
            let mut items: Vec<u32> = (0..20).collect();
            let mut random = Random::new(seed);
            random.shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        let first = |round| Random::of_round(1, round).next();
        assert_eq!(first(1), first(1));
        assert_ne!(first(0), first(1));
        let mut sorted = shuffled(3);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<u32>>());
    }
}
