//! The packed words of the library, as types.
//!
//! Owns: the bit layouts of indices, list heads, batches, slots of per-CPU
//! caches, announcements, granules, quotas of streams, places in the line of those who
//! wait, who has a buffer, and the how manieth. Uses: `sync`, for the faults of broken twins. Used by: every
//! module that shares a word.

mod chunk;
mod collector;
mod extra;
mod hold;
mod index;
mod lease;
mod list;
mod mode;
mod moving;
mod out;
mod slot;
mod standing;

pub use chunk::Chunk;
pub use collector::Collector;
pub use extra::Extra;
pub use hold::Hold;
pub use index::{Index, link};
pub use lease::Lease;
pub use list::{Batch, Head, Pile, Stack};
pub use mode::{Mode, State};
pub use moving::Moving;
pub use out::Out;
pub use slot::{Gate, Level, Limit};
pub use standing::Standing;

#[cfg(all(test, not(hugepool_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_index_gives_back_its_block_and_position(
            block in 1..=Index::MAX_BLOCK,
            position in 0..Index::PER_CHUNK,
        ) {
            let index = Index::new(block, position).unwrap();
            prop_assert_eq!((index.block(), index.position()), (block, position));
            prop_assert_eq!(Index::from_raw(index.raw()), Some(index));
        }

        #[test]
        fn a_chunk_gives_back_what_it_was_made_of(
            class in 1..=u8::MAX,
            block in 1..=Index::MAX_BLOCK,
            count in 1..=Index::PER_CHUNK,
        ) {
            let chunk = Chunk::new(class, Index::new(block, 0).unwrap(), count as usize);
            prop_assert_eq!(Chunk::from_word(chunk.word()), chunk);
            let read = (chunk.class(), chunk.block(), chunk.count());
            prop_assert_eq!(read, (class, block as usize, count as usize));
            prop_assert_eq!(chunk.nth(count as usize - 1), Index::new(block, count - 1));
            prop_assert!(chunk != Chunk::FREE && chunk != Chunk::CLAIMED);
            prop_assert_eq!((Chunk::CLAIMED.count(), Chunk::FREE.count()), (0, 0));
        }

        #[test]
        fn every_change_of_a_head_is_a_new_tag_and_keeps_the_flag(word: u64, top: u32) {
            let head = Head::from_word(word);
            let next_tag = head.tag().wrapping_add(1) & (u32::MAX >> 1);
            let topped = head.with_top(Index::from_raw(top));
            prop_assert_eq!(topped.tag(), next_tag);
            prop_assert_eq!(topped.top(), Index::from_raw(top));
            prop_assert_eq!(topped.is_shut(), head.is_shut());
            for shut in [false, true] {
                prop_assert_eq!(head.with_shut(shut).is_shut(), shut);
                prop_assert_eq!(head.with_shut(shut).top(), head.top());
                prop_assert_eq!(head.with_shut(shut).tag(), next_tag);
            }
        }

        #[test]
        fn a_batch_gives_back_its_array_and_count(id in 0..=Batch::MAX_ID, count in 0u32..31) {
            let batch = Batch::new(id, count);
            prop_assert_eq!((batch.id(), batch.count()), (id, count));
            prop_assert_eq!(Batch::from_raw(batch.raw()), batch);
            prop_assert_eq!(batch.less_one().count(), count.saturating_sub(1));
            prop_assert_eq!(batch.is_none(), count == 0);
        }

        #[test]
        fn every_change_of_a_pile_is_a_new_tag_and_keeps_the_flag(
            word: u64, id in 0..=Batch::MAX_ID, count in 0u32..31,
        ) {
            let (pile, batch) = (Pile::from_word(word), Batch::new(id, count));
            let next_tag = pile.tag().wrapping_add(1);
            prop_assert_eq!(pile.with(batch).tag(), next_tag);
            prop_assert_eq!(pile.with(batch).batch(), batch);
            prop_assert_eq!(pile.with(batch).is_shut(), pile.is_shut());
            for shut in [false, true] {
                prop_assert_eq!(pile.with_shut(shut).is_shut(), shut);
                prop_assert_eq!(pile.with_shut(shut).batch(), pile.batch());
                prop_assert_eq!(pile.with_shut(shut).tag(), next_tag);
            }
        }

        #[test]
        fn every_change_of_a_stack_is_a_new_tag(word: u64, id: u32) {
            let stack = Stack::from_word(word);
            prop_assert_eq!(stack.with_top(id).top(), id);
            prop_assert_eq!(stack.with_top(id).word() >> 32, (word >> 32).wrapping_add(1) & 0xffff_ffff);
        }

        #[test]
        fn an_announcement_counts_carriers_and_versions(
            begun in 0u64..1000, ended in 0u64..1000, forks in 0u32..100_000,
        ) {
            let ended = ended.min(begun);
            let none = Moving::from_word(0).inherited(forks);
            let moving = Moving::from_word(none.word() + begun * Moving::BEGIN - ended * Moving::END);
            prop_assert_eq!(u64::from(moving.version()), begun);
            prop_assert_eq!(u64::from(moving.carrying(forks)), begun - ended);
            prop_assert_eq!(moving.carrying(forks + 1), 0);
            let inherited = moving.inherited(forks + 1);
            prop_assert!(inherited.is_of(forks + 1) && inherited.carrying(forks + 1) == 0);
            prop_assert_eq!(inherited.version(), moving.version());
        }

        #[test]
        fn every_change_of_a_level_is_counted(word: u64, some in 1u32..60) {
            let level = Level::from_word(word & !0xff | 100);
            let changes = |level: Level| level.changes().wrapping_sub(Level::from_word(word).changes());
            prop_assert_eq!(level.raised(some).count(), 100 + some);
            prop_assert_eq!(level.lowered(some).count(), 100 - some);
            prop_assert_eq!(changes(level.raised(some)) & (u64::MAX >> 8), 1);
            prop_assert_eq!(changes(level.lowered(some)) & (u64::MAX >> 8), 1);
        }

        #[test]
        fn a_gate_opens_when_the_last_thief_has_left(capacity: u8, other: u8, thieves in 1u32..50) {
            let mut gate = Gate::default().with_capacity(capacity);
            prop_assert_eq!((gate.room(), gate.is_open()), (capacity, true));
            for n in 1..=thieves {
                gate = gate.entered().unwrap();
                prop_assert_eq!((gate.thieves(), gate.room(), gate.is_open()), (n, 0, false));
            }
            gate = gate.with_capacity(other);
            for n in (0..thieves).rev() {
                prop_assert!(!gate.is_open());
                gate = gate.left();
                prop_assert_eq!(gate.thieves(), n);
            }
            prop_assert_eq!((gate.room(), gate.capacity(), gate.is_open()), (other, other, true));
        }

        #[test]
        fn a_standing_round_trips(ticket in 0..=Standing::MAX_TICKET, task: bool, raw in 1u32.., class: u8) {
            let index = Index::from_raw(raw).unwrap();
            for standing in [
                Standing::Vacant,
                Standing::Waiting { ticket, task },
                Standing::Called { ticket, task, class },
                Standing::Given { class, index },
                Standing::Own { class, index },
                Standing::Entitled { ticket, task },
                Standing::Aborted,
            ] {
                prop_assert_eq!(Standing::from_word(standing.word()), standing);
            }
        }

        #[test]
        fn a_collector_gives_back_his_place_and_knows_his_ticket(
            place in 0u32..1 << 16, ticket in 0..=Standing::MAX_TICKET, other in 1u64..1 << 39,
        ) {
            let collector = Collector::new(place, ticket);
            prop_assert_eq!(Collector::from_word(collector.word()), Some(collector));
            prop_assert_eq!(collector.place(), place);
            prop_assert!(collector.is_of(ticket) && !collector.is_of(ticket ^ other));
            let forked = ticket ^ 1 << 50;
            prop_assert!(!collector.is_of(forked) && !collector.is_kin_of(forked));
            prop_assert!(collector.is_kin_of(ticket ^ other));
        }

        #[test]
        fn every_change_of_a_quota_is_a_new_tag_and_keeps_the_rest(word: u64, more: u8) {
            let extra = Extra::from_word(word & !(1 << 31));
            let tag = |extra: Extra| extra.word() >> 34;
            let next_tag = tag(extra).wrapping_add(1) & (u64::MAX >> 34);
            let (fewer, more) = (extra.count().min(more.into()), u32::from(more));
            for (next, count, shut, closed) in [
                (extra.plus(more), extra.count() + more, extra.is_shut(), extra.is_closed()),
                (extra.minus(fewer), extra.count() - fewer, extra.is_shut(), extra.is_closed()),
                (extra.with_shut(true), extra.count(), true, extra.is_closed()),
                (extra.with_shut(false), extra.count(), false, extra.is_closed()),
                (extra.closed(), extra.count(), extra.is_shut(), true),
            ] {
                prop_assert_eq!(tag(next), next_tag);
                prop_assert_eq!(
                    (next.count(), next.is_shut(), next.is_closed()),
                    (count, shut, closed)
                );
            }
        }

        #[test]
        fn every_change_of_a_mode_is_a_new_version_and_openings_are_counted(word: u64) {
            let mode = Mode::from_word(word);
            let version = |mode: Mode| mode.word() << 30 >> 32;
            for state in [State::Open, State::Sharing, State::Shared] {
                let next = mode.with(state);
                prop_assert_eq!(next.state(), state);
                prop_assert_eq!(version(next), (version(mode) + 1) & 0xffff_ffff);
                let opened = u64::from(state == State::Open && mode.state() != State::Open);
                prop_assert_eq!(next.openings(), (mode.openings() + opened) & (u64::MAX >> 34));
            }
        }

        #[test]
        fn every_owner_of_a_buffer_has_a_word_of_its_own(
            word: u64, size in 1usize..=1 << 30, raw: bool,
        ) {
            let before = Hold::from_word(word);
            let hold = before.taken(size, raw);
            prop_assert_eq!((hold.size(), hold.is_raw()), (size, raw));
            prop_assert_eq!(Hold::from_word(hold.word()), hold);
            prop_assert_ne!(hold.word() >> 32, before.word() >> 32);
            let other = hold.with_raw(!raw);
            prop_assert_eq!((other.size(), other.is_raw()), (size, !raw));
            prop_assert_eq!(other.with_raw(raw), hold);
            let given = hold.given();
            prop_assert_eq!((given.size(), given.is_raw()), (0, false));
            prop_assert_eq!(given.word() >> 32, hold.word() >> 32);
        }

        #[test]
        fn a_lease_gives_back_its_slot_and_generation_and_the_next_is_another(
            slot in 0..Lease::SLOTS, generation in 0u64..1 << 44,
        ) {
            let lease = Lease::new(slot, generation);
            prop_assert_eq!((lease.slot(), lease.generation()), (slot, generation));
            prop_assert_eq!(Lease::from_word(lease.word()), lease);
            let next = Lease::from_word(lease.word().wrapping_add(Lease::NEXT));
            let counted = (generation + 1) % (1 << 44);
            prop_assert_eq!((next.slot(), next.generation()), (slot, counted));
        }

        #[test]
        fn every_change_of_a_limit_is_a_new_version(word: u64, cpus: u32) {
            let limit = Limit::from_word(word);
            prop_assert_eq!(limit.with_cpus(cpus).cpus(), cpus);
            let versions = limit.with_cpus(cpus).word() >> 32;
            prop_assert_eq!(versions, (word >> 32).wrapping_add(1) & 0xffff_ffff);
        }
    }
}
