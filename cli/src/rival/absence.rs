//! Why a rival has no figures.
//!
//! Owns the two reasons. The rivals and what makes them give one; the rows carry it to every report.

use serde::{Deserialize, Serialize};

/// Why a rival takes no part, or none any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Absence {
    /// It does not have buffers of this size and alignment, and says so.
    Refuses(String),
    /// It did what no rival may do.
    Failed(String),
}

impl From<String> for Absence {
    /// What a rival says before it has given a buffer is a refusal.
    fn from(reason: String) -> Absence {
        Absence::Refuses(reason)
    }
}
