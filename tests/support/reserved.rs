//! Huge pages from the hugetlb pool, for tests that need some.

use super::{number, skipped};

const SYSFS: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/// Reserves huge pages while it lives, and puts the old number back.
pub struct Reserved(usize);

impl Reserved {
    const FILE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

    /// So that `pages` are free; `None`, after saying so, if that cannot be.
    pub fn free(pages: usize) -> Option<Self> {
        let read = |file: &str| number(&format!("{SYSFS}/{file}")).unwrap_or(0);
        let (Some(old), 0) = (number(Self::FILE), read("nr_overcommit_hugepages")) else {
            skipped("2 MiB huge pages: none can be reserved, or any number is to be had");
            return None;
        };
        let unused = || read("free_hugepages").saturating_sub(read("resv_hugepages"));
        let wanted = old + pages - unused().min(pages);
        if unused() > pages || std::fs::write(Self::FILE, wanted.to_string()).is_err() {
            skipped("2 MiB huge pages: reserving them needs root, and none must be free before");
            return None;
        }
        let reserved = Self(old);
        if unused() != pages {
            skipped("2 MiB huge pages: the system has no contiguous memory for them");
            return None;
        }
        Some(reserved)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::FILE, self.0.to_string());
    }
}
