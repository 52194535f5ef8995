//! Buffers that are allocated beforehand, and passed around in a bounded channel.
//!
//! Owns them while they are free. This is what programs without a pool do.

use std::sync::Arc;

use super::fresh::{ByMalloc, Whole};
use super::tokens::Tokens;
use super::{Buffers, Space, Stopped};
use crate::engine::format::block::HEADER;
use crate::failure::Failure;
use crate::units;

type Memory = Whole<ByMalloc>;

pub struct Preallocated {
    tokens: Arc<Tokens<Memory>>,
}

impl Preallocated {
    pub fn new(transfer: usize, count: usize) -> Result<Preallocated, Failure> {
        let one = || {
            let mut whole = Memory::new(HEADER + transfer)?;
            // Faulted in now, as a pool's are.
            whole.whole_mut().fill(0);
            Some(whole)
        };
        let all: Option<Vec<Memory>> = (0..count).map(|_| one()).collect();
        let all = all.ok_or_else(|| {
            let bytes = units::bytes(count * (HEADER + transfer));
            Failure::run(format!("there is no memory for buffers of {bytes}"))
        })?;
        Ok(Preallocated {
            tokens: Arc::new(Tokens::new(all.into_iter())),
        })
    }
}

impl Buffers for Preallocated {
    type Space = Passed;

    fn take(&self) -> Result<Passed, Stopped> {
        Ok(Passed {
            memory: Some(self.tokens.take()?),
            tokens: Arc::clone(&self.tokens),
        })
    }

    fn abort(&self) {
        self.tokens.abort();
    }

    fn high_water(&self) -> u64 {
        self.tokens.most()
    }

    fn pages(&self) -> String {
        "malloc, once".to_owned()
    }
}

pub struct Passed {
    /// There until it is dropped.
    memory: Option<Memory>,
    tokens: Arc<Tokens<Memory>>,
}

/// Why it is there.
const HELD: &str = "it is there until it is dropped";

impl Drop for Passed {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.tokens.give(memory);
        }
    }
}

impl Space for Passed {
    fn whole(&self) -> &[u8] {
        self.memory.as_ref().expect(HELD).whole()
    }

    fn whole_mut(&mut self) -> &mut [u8] {
        self.memory.as_mut().expect(HELD).whole_mut()
    }
}
