//! A shared object that uses a pool: what an engine loads as a plug-in.
//! `tests/plugin.rs` loads it, uses it, and unloads it.

use hugepool::Pool;

/// Takes and gives back `rounds` buffers of a pool of its own. The number of
/// rounds that found a buffer.
#[unsafe(no_mangle)]
pub extern "C" fn hugepool_plugin_run(rounds: u32) -> u32 {
    let builder = Pool::builder().reserve(4096, 4096, 16);
    let Ok(pool) = builder.address_space(64 << 20).build() else {
        return 0;
    };
    (0..rounds)
        .filter(|_| pool.allocate(4096, 4096).is_ok())
        .count() as u32
}
