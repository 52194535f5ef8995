//! What is in memory of a range, read from all that the kernel says of the process.
//!
//! Owns: reading of `/proc/thread-self/smaps`. Uses: `std::fs`, `backed` for what is asked. Used
//! by: `backed`.
//!
//! Source: proc_pid_smaps(5).

use super::backed::Backed;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

/// Reads what backs each of `ranges` (first address, bytes), in one pass. The
/// ranges must each consist of whole mappings.
pub fn backed(ranges: &[(usize, usize)]) -> io::Result<Vec<Backed>> {
    // Not `/proc/self`: the first thread may have ended, and then it has no memory.
    let own = File::open("/proc/thread-self/smaps");
    let own = own.or_else(|_| File::open("/proc/self/smaps"))?;
    read(BufReader::new(own), ranges)
}

fn read(text: impl BufRead, ranges: &[(usize, usize)]) -> io::Result<Vec<Backed>> {
    let mut found = vec![Backed::default(); ranges.len()];
    let mut current: Option<(usize, bool)> = None;
    for line in text.lines() {
        let line = line?;
        if let Some((start, end)) = header(&line) {
            current = ranges
                .iter()
                .position(|&(base, len)| start >= base && end <= base.saturating_add(len))
                .map(|at| (at, false));
            continue;
        }
        let Some((at, hugetlb)) = &mut current else {
            continue;
        };
        let backed = &mut found[*at];
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let bytes = || -> usize {
            let kib = value
                .trim()
                .trim_end_matches("kB")
                .trim()
                .parse()
                .unwrap_or(0);
            usize::saturating_mul(kib, 1024)
        };
        match name {
            "KernelPageSize" => {
                let size = bytes();
                if backed.page_size == 0 || size < backed.page_size {
                    backed.page_size = size;
                }
                *hugetlb = size > super::limits::base_page();
            }
            "Rss" => backed.resident += bytes(),
            "AnonHugePages" | "ShmemPmdMapped" => backed.huge += bytes(),
            // Hugetlb pages do not count as Rss. KernelPageSize comes first.
            "Private_Hugetlb" | "Shared_Hugetlb" if *hugetlb => {
                backed.huge += bytes();
                backed.resident += bytes();
            }
            "Locked" => backed.locked += bytes(),
            _ => {}
        }
    }
    Ok(found)
}

/// The address range, if `line` begins a mapping.
fn header(line: &str) -> Option<(usize, usize)> {
    let (range, _) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    Some((
        usize::from_str_radix(start, 16).ok()?,
        usize::from_str_radix(end, 16).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
40000000-40400000 rw-p 00000000 00:00 0 \n\
Size:               4096 kB\n\
KernelPageSize:        4 kB\n\
MMUPageSize:           4 kB\n\
Rss:                4096 kB\n\
AnonHugePages:      2048 kB\n\
Locked:             4096 kB\n\
40600000-40800000 rw-p 00000000 00:0f 1 /anon_hugepage (deleted)\n\
KernelPageSize:     2048 kB\n\
Rss:                   0 kB\n\
AnonHugePages:         0 kB\n\
Private_Hugetlb:    2048 kB\n\
Locked:                0 kB\n\
VmFlags: rd wr mr mw me ac de ht\n";

    #[test]
    fn each_range_gets_its_own_pages() {
        let ranges = [
            (0x4000_0000, 4 << 20),
            (0x4060_0000, 2 << 20),
            (0x5000_0000, 4096),
        ];
        let found = read(TEXT.as_bytes(), &ranges).unwrap();
        assert_eq!(
            found[0],
            Backed {
                page_size: 4096,
                huge: 2 << 20,
                resident: 4 << 20,
                locked: 4 << 20
            }
        );
        assert_eq!(
            found[1],
            Backed {
                page_size: 2 << 20,
                huge: 2 << 20,
                resident: 2 << 20,
                locked: 0
            }
        );
        assert_eq!(found[2], Backed::default());
    }

    #[test]
    fn a_mapping_that_reaches_past_a_range_is_not_counted_to_it() {
        let found = read(TEXT.as_bytes(), &[(0x4000_0000, 2 << 20)]).unwrap();
        assert_eq!(found[0], Backed::default());
    }
}
