//! What direct I/O needs of a file, where the kernel may not be asked.

mod support;

use hugepool::direct::DirectIo;
use std::fs::File;
use support::filter::refuse;
use support::process::alone;
use support::skipped;

/// Some filters of system calls say `EPERM` to calls that they do not know.
#[test]
fn where_statx_is_refused_nothing_is_told() {
    let name = "where_statx_is_refused_nothing_is_told";
    alone(name, &[], || {
        let file = File::open("/dev/zero").unwrap();
        for error in [libc::ENOSYS, libc::EPERM] {
            // Of two filters that refuse, the later decides.
            if let Err(why) = refuse(libc::SYS_statx, error) {
                return skipped(&format!("{name}: no filter for system calls: {why}"));
            }
            let direct = DirectIo::of(&file).unwrap().unwrap();
            assert!(!direct.is_told());
            assert_eq!((direct.memory(), direct.offset()), (4096, 4096));
        }
    });
}
