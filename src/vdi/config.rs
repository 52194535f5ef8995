//! What a set is configured with, and the limits of that.
//!
//! Owns: the structures of the interface, their checks, and the words of `VDConfig`. Uses:
//! `error`, `names`. Used by: callers, `set`, `clients`.

use super::error::Error;
use super::names::FEATURES;
use crate::pool::check_prefix;

/// The smallest and the largest block size, in bytes.
const BLOCK_SIZES: (u32, u32) = (512, 64 << 10);
/// The strictest alignment of a set, in bytes.
const MAX_ALIGNMENT: u32 = 64 << 10;
/// What a transfer size must be a multiple of, in bytes.
const TRANSFER_UNIT: u32 = 64 << 10;
/// The most devices a set can have.
const MAX_DEVICES: u32 = 64;
/// `maxIODepth`: the same for every set.
const MAX_IO_DEPTH: u32 = 4;

/// The configuration of a set: `VDConfig`, eleven words of 32 bits. The client fills in
/// the first seven, the server the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// Devices of the set, 1 to 64.
    pub device_count: u32,
    /// Features that are asked for, and then those that there are: `VDF_*`. Passed on.
    pub features: u32,
    /// Bytes that the client keeps right before each buffer.
    pub prefix_zone_size: u32,
    /// What the client wants buffers aligned to, in bytes; 0: no wish.
    pub alignment: u32,
    /// Bytes between soft file marks; passed on.
    pub soft_file_mark_block_size: u32,
    /// Bytes before the end of the medium at which the client warns; passed on.
    pub eom_warning_size: u32,
    /// How long the client waits for the server, in milliseconds; 0 for ever. Passed on.
    pub server_time_out: u32,
    /// The server's block size, in bytes.
    pub block_size: u32,
    /// How many requests a device may have: 4.
    pub max_io_depth: u32,
    /// The largest transfer, in bytes.
    pub max_transfer_size: u32,
    /// Bytes of all buffers' memory; `u32::MAX` if they are more than that.
    pub buffer_area_size: u32,
}

/// What the server fixes for the life of a set. Named, since the reference and the
/// published header give two of them in different orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Features that there are: `VDF_*`. Passed on.
    pub features: u32,
    /// A power of two, 512 B to 64 KiB.
    pub block_size: u32,
    /// 0, for the block size, or a power of two from there to 64 KiB. A stricter one
    /// that the client wants takes its place.
    pub alignment: u32,
    /// A multiple of 64 KiB.
    pub max_transfer_size: u32,
    /// How long the server waits for the client, in milliseconds. Not used here.
    pub time_out: u32,
}

fn is_power_within(value: u32, least: u32, most: u32) -> bool {
    value.is_power_of_two() && (least..=most).contains(&value)
}

impl Config {
    /// What the client wishes, checked.
    pub(super) fn wishes(&self) -> Result<Self, Error> {
        let (given, most) = (self.device_count, MAX_DEVICES);
        if !(1..=most).contains(&given) {
            return Err(Error::DeviceCount { given, most });
        }
        let unknown = self.features & !FEATURES;
        if unknown != 0 {
            return Err(Error::WishedFeatures { unknown });
        }
        let (given, most) = (self.alignment, MAX_ALIGNMENT);
        if given != 0 && !is_power_within(given, 1, most) {
            return Err(Error::WishedAlignment { given, most });
        }
        check_prefix(self.prefix_zone_size as usize).map_err(Error::PrefixZone)?;
        Ok(Self {
            block_size: 0,
            max_io_depth: MAX_IO_DEPTH,
            max_transfer_size: 0,
            buffer_area_size: 0,
            ..*self
        })
    }

    /// Its words, in the order of the fields.
    pub(super) fn words(&self) -> [u32; 11] {
        [
            self.device_count,
            self.features,
            self.prefix_zone_size,
            self.alignment,
            self.soft_file_mark_block_size,
            self.eom_warning_size,
            self.server_time_out,
            self.block_size,
            self.max_io_depth,
            self.max_transfer_size,
            self.buffer_area_size,
        ]
    }

    /// What has these words.
    pub(super) fn from_words(words: [u32; 11]) -> Self {
        let [
            device_count,
            features,
            prefix_zone_size,
            alignment,
            soft_file_mark_block_size,
            eom_warning_size,
            server_time_out,
            block_size,
            max_io_depth,
            max_transfer_size,
            buffer_area_size,
        ] = words;
        Self {
            device_count,
            features,
            prefix_zone_size,
            alignment,
            soft_file_mark_block_size,
            eom_warning_size,
            server_time_out,
            block_size,
            max_io_depth,
            max_transfer_size,
            buffer_area_size,
        }
    }

    /// With what the server fixes.
    pub(super) fn with(&self, server: &Parameters) -> Result<Self, Error> {
        let (least, most) = BLOCK_SIZES;
        let given = server.block_size;
        if !is_power_within(given, least, most) {
            return Err(Error::BlockSize { given, least, most });
        }
        let (given, least, most) = (server.alignment, server.block_size, MAX_ALIGNMENT);
        if given != 0 && !is_power_within(given, least, most) {
            return Err(Error::Alignment { given, least, most });
        }
        let unknown = server.features & !FEATURES;
        if unknown != 0 {
            return Err(Error::Features { unknown });
        }
        let (given, unit) = (server.max_transfer_size, TRANSFER_UNIT);
        if given == 0 || !given.is_multiple_of(unit) {
            return Err(Error::TransferSize { given, unit });
        }
        Ok(Self {
            features: server.features,
            alignment: (server.alignment.max(server.block_size)).max(self.alignment),
            block_size: server.block_size,
            max_transfer_size: server.max_transfer_size,
            ..*self
        })
    }
}
