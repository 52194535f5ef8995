//! The published numbers of features and commands.
//!
//! Owns: the values of `VDFeatures`, `VDCommands` and `VDWhence`, as the MIT-licensed
//! header of the SQL Server samples has them (`vdi.h`). Uses: nothing. Used by: callers,
//! `config`, which knows by them which features there are.
//!
//! The set passes features on and never sees a command: what they mean is between the
//! server and its client. The names are the published ones, in Rust's spelling:
//! `VDF_ReadMedia` is [`VDF_READ_MEDIA`].

/// Declares numbers by the names that are published for them.
macro_rules! numbers {
    ($( $name:ident, $published:literal = $number:expr; )+) => {
        $( #[doc = concat!("`", $published, "`")] pub const $name: u32 = $number; )+

        /// Every number, by its published name.
        #[cfg(test)]
        const PUBLISHED: &[(&str, u32)] = &[ $( ($published, $name), )+ ];
    };
}

numbers! {
    VDF_REMOVABLE, "VDF_Removable" = 0x1;
    VDF_REWIND, "VDF_Rewind" = 0x2;
    VDF_POSITION, "VDF_Position" = 0x10;
    VDF_SKIP_BLOCKS, "VDF_SkipBlocks" = 0x20;
    VDF_REVERSE_POSITION, "VDF_ReversePosition" = 0x40;
    VDF_DISCARD, "VDF_Discard" = 0x80;
    VDF_FILE_MARKS, "VDF_FileMarks" = 0x100;
    VDF_RANDOM_ACCESS, "VDF_RandomAccess" = 0x200;
    VDF_SNAPSHOT_PREPARE, "VDF_SnapshotPrepare" = 0x400;
    VDF_ENUM_FROZEN_FILES, "VDF_EnumFrozenFiles" = 0x800;
    VDF_VSS_WRITER, "VDF_VSSWriter" = 0x1000;
    VDF_REQUEST_COMPLETE, "VDF_RequestComplete" = 0x2000;
    VDF_WRITE_MEDIA, "VDF_WriteMedia" = 0x1_0000;
    VDF_READ_MEDIA, "VDF_ReadMedia" = 0x2_0000;
    VDF_COMPLETE_ENABLED, "VDF_CompleteEnabled" = 0x4_0000;
    VDF_LATCH_STATS, "VDF_LatchStats" = 0x8000_0000;
    VDF_LIKE_PIPE, "VDF_LikePipe" = 0;
    VDF_LIKE_TAPE, "VDF_LikeTape" = VDF_FILE_MARKS
        | VDF_REMOVABLE
        | VDF_REWIND
        | VDF_POSITION
        | VDF_SKIP_BLOCKS
        | VDF_REVERSE_POSITION;
    VDF_LIKE_DISK, "VDF_LikeDisk" = VDF_RANDOM_ACCESS;

    VDC_READ, "VDC_Read" = 1;
    VDC_WRITE, "VDC_Write" = 2;
    VDC_CLEAR_ERROR, "VDC_ClearError" = 3;
    VDC_REWIND, "VDC_Rewind" = 4;
    VDC_WRITE_MARK, "VDC_WriteMark" = 5;
    VDC_SKIP_MARKS, "VDC_SkipMarks" = 6;
    VDC_SKIP_BLOCKS, "VDC_SkipBlocks" = 7;
    VDC_LOAD, "VDC_Load" = 8;
    VDC_GET_POSITION, "VDC_GetPosition" = 9;
    VDC_SET_POSITION, "VDC_SetPosition" = 10;
    VDC_DISCARD, "VDC_Discard" = 11;
    VDC_FLUSH, "VDC_Flush" = 12;
    VDC_SNAPSHOT, "VDC_Snapshot" = 13;
    VDC_MOUNT_SNAPSHOT, "VDC_MountSnapshot" = 14;
    VDC_PREPARE_TO_FREEZE, "VDC_PrepareToFreeze" = 15;
    VDC_FILE_INFO_BEGIN, "VDC_FileInfoBegin" = 16;
    VDC_FILE_INFO_END, "VDC_FileInfoEnd" = 17;
    VDC_GET_ERROR, "VDC_GetError" = 18;
    VDC_COMPLETE, "VDC_Complete" = 19;

    VDC_BEGINNING, "VDC_Beginning" = 0;
    VDC_CURRENT, "VDC_Current" = 1;
    VDC_END, "VDC_End" = 2;
}

/// Every feature that has a published name.
pub(super) const FEATURES: u32 = VDF_LIKE_TAPE
    | VDF_LIKE_DISK
    | VDF_DISCARD
    | VDF_SNAPSHOT_PREPARE
    | VDF_ENUM_FROZEN_FILES
    | VDF_VSS_WRITER
    | VDF_REQUEST_COMPLETE
    | VDF_WRITE_MEDIA
    | VDF_READ_MEDIA
    | VDF_COMPLETE_ENABLED
    | VDF_LATCH_STATS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_that_is_published_is_known() {
        let features = PUBLISHED
            .iter()
            .filter(|(name, _)| name.starts_with("VDF_"));
        let all = features.fold(0, |all, (_, bit)| all | bit);
        assert_eq!(all, FEATURES);
        assert_eq!(all, 0x8007_3ff3);
    }

    #[test]
    fn commands_are_numbered_in_a_row() {
        let from = PUBLISHED.iter().position(|&(name, _)| name == "VDC_Read");
        let commands = &PUBLISHED[from.unwrap()..];
        let numbers: Vec<u32> = commands.iter().map(|&(_, number)| number).collect();
        let expected: Vec<u32> = (1..=19).chain(0..=2).collect();
        assert_eq!(numbers, expected);
    }
}
