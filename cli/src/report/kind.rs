//! What a rival is to this pool.
//!
//! Owns the kinds that comparisons and pictures tell apart. `verdict` chooses rivals by them, the pictures of the page
//! are ordered by them.

use crate::rival::Name;

/// A kind of row; in the order of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This pool, in any of its forms.
    Own,
    /// Finds memory for each buffer when it is asked for it.
    General,
    /// Has a number of buffers, as this pool does.
    Pool,
    /// A floor or a bound: does less than a rival has to, or has no buffers at all.
    Baseline,
}

impl Kind {
    /// All of them, in the order of a picture.
    pub const ALL: [Kind; 4] = [Kind::Own, Kind::General, Kind::Pool, Kind::Baseline];

    pub fn of(name: Name) -> Kind {
        let is_baseline = name.is_without_a_pool()
            || matches!(
                name,
                Name::Limit | Name::HandOff | Name::NoAllocator | Name::Array
            );
        if name.is_hugepool() {
            Kind::Own
        } else if is_baseline {
            Kind::Baseline
        } else if name.is_general() {
            Kind::General
        } else {
            Kind::Pool
        }
    }

    /// Several of them, in words.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Own => "this pool",
            Kind::General => "general allocators",
            Kind::Pool => "other pools",
            Kind::Baseline => "baselines, no rivals",
        }
    }

    /// One of them, in words.
    pub fn singular(self) -> &'static str {
        match self {
            Kind::Own => "this pool",
            Kind::General => "general allocator",
            Kind::Pool => "other pool",
            Kind::Baseline => "baseline",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_buffers_to_hand_out_is_no_rival() {
        for name in [
            Name::Limit,
            Name::HandOff,
            Name::NoAllocator,
            Name::NoPool,
            Name::NoPoolTasks,
            Name::Array,
        ] {
            assert_eq!(Kind::of(name), Kind::Baseline, "{name}");
        }
        assert_eq!(Kind::of(Name::HugepoolAmple), Kind::Own);
        assert_eq!(Kind::of(Name::Mmap), Kind::General);
        for name in [Name::ArrayQueue, Name::Channel, Name::Semaphore] {
            assert_eq!(Kind::of(name), Kind::Pool, "{name}");
        }
    }
}
