//! Several buffers in one caller's hand.
//!
//! Owns: how they hang together. Uses: the records. Used by: the searches for several,
//! `pool`.
//!
//! The links of a record belong to whoever holds its buffer, so those that a caller holds
//! are linked by them, as those in a list are: a request for any number of buffers asks
//! nobody for memory.

use super::FreeLists;
use crate::cache::CpuCaches;
use crate::class::{ClassId, Line};
use crate::record::Records;
use crate::word::Index;

/// Buffers that the caller holds. Whoever drops it has put them somewhere.
#[derive(Default)]
#[must_use = "buffers that nobody puts anywhere are lost"]
pub struct Linked {
    top: Option<Index>,
    len: usize,
}

impl Linked {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first of them, which the others are linked to.
    pub(super) fn top(&self) -> Option<Index> {
        self.top
    }

    /// Takes one more into the hand, of `class`.
    pub(super) fn push(&mut self, records: &Records, class: ClassId, index: Index) {
        let record = records.get(index.raw() as usize);
        self.len += 1;
        record.set(self.top, self.len as u32);
        record.note_class(class.index() as u8);
        self.top = Some(index);
    }

    /// Takes one out of the hand.
    pub(super) fn pop(&mut self, records: &Records) -> Option<(ClassId, Index)> {
        let index = self.top?;
        let record = records.get(index.raw() as usize);
        // Before the caller puts it where its link is written anew.
        self.top = record.next();
        self.len -= 1;
        let class = ClassId::new(record.class().into()).unwrap_or(ClassId::FIRST);
        Some((class, index))
    }
}

/// What a request for several took.
#[derive(Default)]
#[must_use = "buffers that nobody puts anywhere are lost"]
pub struct Several {
    /// The quota of the stream that took them; 0: none.
    pub(super) quota: u32,
    /// Those of the stream's own.
    pub(super) own: Linked,
    /// The others.
    pub(super) rest: Linked,
}

impl Several {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.own.len() + self.rest.len()
    }
}

impl From<Linked> for Several {
    fn from(rest: Linked) -> Self {
        Self {
            rest,
            ..Self::default()
        }
    }
}

impl<C: CpuCaches> FreeLists<C> {
    /// Takes one of `several`, with what it goes back by. `None`: there are no more.
    pub fn next_of(&self, several: &mut Several) -> Option<(&Line, Index)> {
        let records = &self.tables.records;
        if let Some((_, index)) = several.own.pop(records) {
            return Some((self.quotas.get(several.quota).line(true), index));
        }
        let (class, index) = several.rest.pop(records)?;
        let line = match several.quota {
            0 => self.classes().line(class),
            quota => self.quotas.get(quota).line(false),
        };
        Some((line, index))
    }
}
