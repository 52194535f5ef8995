//! A shared object that uses the library: what an engine loads as a plug-in.
//! `tests/plugin.rs` loads it, uses it, and unloads it.

use hugepool::share::{Client, Peers, ShareError};
use hugepool::{Pool, vdi};

/// Takes and gives back `rounds` buffers of a pool of its own, whose caches are `portable`
/// or those that it gets. The number of rounds that found a buffer.
#[unsafe(no_mangle)]
pub extern "C" fn hugepool_plugin_run(rounds: u32, portable: bool) -> u32 {
    let builder = Pool::builder().reserve(4096, 4096, 16);
    let builder = builder.portable_caches(portable);
    let Ok(pool) = builder.address_space(64 << 20).build() else {
        return 0;
    };
    (0..rounds)
        .filter(|_| pool.allocate(4096, 4096).is_ok())
        .count() as u32
}

/// Asks for a pool that nobody has published, in a thread of the library's own. Whether that
/// was the answer.
#[unsafe(no_mangle)]
pub extern "C" fn hugepool_plugin_ask() -> bool {
    let asked = Client::open("nobody's", &Peers::default());
    matches!(asked, Err(ShareError::NotPublished))
}

/// Makes a virtual device set and closes it, which has a child of a fork told apart.
#[unsafe(no_mangle)]
pub extern "C" fn hugepool_plugin_set() {
    drop(vdi::Set::new());
}
