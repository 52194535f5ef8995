//! The published numbers of features and commands, in C.
//!
//! Owns: nothing; they are the library's. Uses: the library. Used by: C programs, and the
//! C++ header, which has them without `HP_`.

#![allow(
    non_upper_case_globals,
    reason = "the names are published, with HP_ before them"
)]

use ::pool::vdi;

/// Features of a set (hp_vd_config's `features`), by their published names and numbers.
pub const HP_VDF_Removable: u32 = 0x1;
pub const HP_VDF_Rewind: u32 = 0x2;
pub const HP_VDF_Position: u32 = 0x10;
pub const HP_VDF_SkipBlocks: u32 = 0x20;
pub const HP_VDF_ReversePosition: u32 = 0x40;
pub const HP_VDF_Discard: u32 = 0x80;
pub const HP_VDF_FileMarks: u32 = 0x100;
pub const HP_VDF_RandomAccess: u32 = 0x200;
pub const HP_VDF_SnapshotPrepare: u32 = 0x400;
pub const HP_VDF_EnumFrozenFiles: u32 = 0x800;
pub const HP_VDF_VSSWriter: u32 = 0x1000;
pub const HP_VDF_RequestComplete: u32 = 0x2000;
pub const HP_VDF_WriteMedia: u32 = 0x1_0000;
pub const HP_VDF_ReadMedia: u32 = 0x2_0000;
pub const HP_VDF_CompleteEnabled: u32 = 0x4_0000;
pub const HP_VDF_LatchStats: u32 = 0x8000_0000;
pub const HP_VDF_LikePipe: u32 = 0;
pub const HP_VDF_LikeTape: u32 = 0x173;
pub const HP_VDF_LikeDisk: u32 = 0x200;

/// Commands, by their published names and numbers. A set never sees one.
pub const HP_VDC_Read: u32 = 1;
pub const HP_VDC_Write: u32 = 2;
pub const HP_VDC_ClearError: u32 = 3;
pub const HP_VDC_Rewind: u32 = 4;
pub const HP_VDC_WriteMark: u32 = 5;
pub const HP_VDC_SkipMarks: u32 = 6;
pub const HP_VDC_SkipBlocks: u32 = 7;
pub const HP_VDC_Load: u32 = 8;
pub const HP_VDC_GetPosition: u32 = 9;
pub const HP_VDC_SetPosition: u32 = 10;
pub const HP_VDC_Discard: u32 = 11;
pub const HP_VDC_Flush: u32 = 12;
pub const HP_VDC_Snapshot: u32 = 13;
pub const HP_VDC_MountSnapshot: u32 = 14;
pub const HP_VDC_PrepareToFreeze: u32 = 15;
pub const HP_VDC_FileInfoBegin: u32 = 16;
pub const HP_VDC_FileInfoEnd: u32 = 17;
pub const HP_VDC_GetError: u32 = 18;
pub const HP_VDC_Complete: u32 = 19;

/// From where a command goes on, by their published names and numbers.
pub const HP_VDC_Beginning: u32 = 0;
pub const HP_VDC_Current: u32 = 1;
pub const HP_VDC_End: u32 = 2;

const _: () = {
    assert!(HP_VDF_Removable == vdi::VDF_REMOVABLE);
    assert!(HP_VDF_Rewind == vdi::VDF_REWIND);
    assert!(HP_VDF_Position == vdi::VDF_POSITION);
    assert!(HP_VDF_SkipBlocks == vdi::VDF_SKIP_BLOCKS);
    assert!(HP_VDF_ReversePosition == vdi::VDF_REVERSE_POSITION);
    assert!(HP_VDF_Discard == vdi::VDF_DISCARD);
    assert!(HP_VDF_FileMarks == vdi::VDF_FILE_MARKS);
    assert!(HP_VDF_RandomAccess == vdi::VDF_RANDOM_ACCESS);
    assert!(HP_VDF_SnapshotPrepare == vdi::VDF_SNAPSHOT_PREPARE);
    assert!(HP_VDF_EnumFrozenFiles == vdi::VDF_ENUM_FROZEN_FILES);
    assert!(HP_VDF_VSSWriter == vdi::VDF_VSS_WRITER);
    assert!(HP_VDF_RequestComplete == vdi::VDF_REQUEST_COMPLETE);
    assert!(HP_VDF_WriteMedia == vdi::VDF_WRITE_MEDIA);
    assert!(HP_VDF_ReadMedia == vdi::VDF_READ_MEDIA);
    assert!(HP_VDF_CompleteEnabled == vdi::VDF_COMPLETE_ENABLED);
    assert!(HP_VDF_LatchStats == vdi::VDF_LATCH_STATS);
    assert!(HP_VDF_LikePipe == vdi::VDF_LIKE_PIPE);
    assert!(HP_VDF_LikeTape == vdi::VDF_LIKE_TAPE);
    assert!(HP_VDF_LikeDisk == vdi::VDF_LIKE_DISK);
    assert!(HP_VDC_Read == vdi::VDC_READ);
    assert!(HP_VDC_Write == vdi::VDC_WRITE);
    assert!(HP_VDC_ClearError == vdi::VDC_CLEAR_ERROR);
    assert!(HP_VDC_Rewind == vdi::VDC_REWIND);
    assert!(HP_VDC_WriteMark == vdi::VDC_WRITE_MARK);
    assert!(HP_VDC_SkipMarks == vdi::VDC_SKIP_MARKS);
    assert!(HP_VDC_SkipBlocks == vdi::VDC_SKIP_BLOCKS);
    assert!(HP_VDC_Load == vdi::VDC_LOAD);
    assert!(HP_VDC_GetPosition == vdi::VDC_GET_POSITION);
    assert!(HP_VDC_SetPosition == vdi::VDC_SET_POSITION);
    assert!(HP_VDC_Discard == vdi::VDC_DISCARD);
    assert!(HP_VDC_Flush == vdi::VDC_FLUSH);
    assert!(HP_VDC_Snapshot == vdi::VDC_SNAPSHOT);
    assert!(HP_VDC_MountSnapshot == vdi::VDC_MOUNT_SNAPSHOT);
    assert!(HP_VDC_PrepareToFreeze == vdi::VDC_PREPARE_TO_FREEZE);
    assert!(HP_VDC_FileInfoBegin == vdi::VDC_FILE_INFO_BEGIN);
    assert!(HP_VDC_FileInfoEnd == vdi::VDC_FILE_INFO_END);
    assert!(HP_VDC_GetError == vdi::VDC_GET_ERROR);
    assert!(HP_VDC_Complete == vdi::VDC_COMPLETE);
    assert!(HP_VDC_Beginning == vdi::VDC_BEGINNING);
    assert!(HP_VDC_Current == vdi::VDC_CURRENT);
    assert!(HP_VDC_End == vdi::VDC_END);
};
