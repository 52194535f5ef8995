//! A shared pool of buffers of one size, and its clients.

use hugepool::share::{Access, Client, Export, Handle, Layout};
use hugepool::{Memory, Pool, Volatile};
use std::ptr::NonNull;

pub const SIZE: usize = 5000;
pub const PREFIX: usize = 256;

pub fn pool(access: Access, count: usize) -> Pool<Volatile> {
    let builder = Pool::builder().reserve(SIZE, 4096, count);
    let builder = builder.prefix_zone(PREFIX).shared(access);
    builder.address_space(4 << 30).build_volatile().unwrap()
}

/// A client of everything that `pool` shares. What goes over the channel goes as bytes.
pub fn client<M: Memory>(pool: &Pool<M>) -> Client {
    let client = Client::new();
    pool.exports()
        .unwrap()
        .into_iter()
        .for_each(|export| client.attach(sent(export)).unwrap());
    client
}

pub fn sent(export: Export) -> Export {
    let layout = Layout::from_bytes(&export.layout.to_bytes()).unwrap();
    assert_eq!(layout, export.layout);
    Export { layout, ..export }
}

pub fn allocate<M: Memory>(pool: &Pool<M>) -> NonNull<u8> {
    pool.allocate_raw(SIZE, 4096).unwrap()
}

pub fn free<M: Memory>(pool: &Pool<M>, start: NonNull<u8>) {
    // SAFETY: allocated by `allocate`, and freed once.
    unsafe { pool.free_raw(start.as_ptr(), SIZE) }.unwrap();
}

pub fn handle<M: Memory>(pool: &Pool<M>, start: NonNull<u8>) -> Handle {
    Handle::from_raw(pool.handle(start.as_ptr()).unwrap().raw())
}
