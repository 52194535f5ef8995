//! Properties of the format: what is written reads back, and nothing that was damaged does.

use proptest::collection::vec;
use proptest::prelude::*;

use super::format::block::{
    HEADER, Header, HeaderError, Kind as Block, Packing, SEGMENTS, Segment, put_segment,
};
use super::format::catalogue::{BadName, Catalogue, CatalogueError, Totals};
use super::format::entry::{Attributes, Entry, Flaws, Kind, Time, Xattr};
use super::format::{Id, MAX_DEPTH, UNIT};

const BACKUP: Id = Id([7; 16]);

/// A block of segments with these lengths, sealed.
fn sealed(lengths: &[u32], stripe: u32, sequence: u64, offset: u64) -> (Header, Vec<u8>) {
    let mut bytes = vec![0xa5; HEADER];
    for (index, &length) in lengths.iter().enumerate() {
        let segment = Segment {
            entry: 3 * index as u64,
            offset: u64::from(length) << 20,
            length,
        };
        put_segment(&mut bytes, index, &segment);
    }
    let raw = lengths.iter().sum();
    let header = Header {
        backup: BACKUP,
        kind: Block::Data,
        packing: Packing::Plain,
        stripe,
        sequence,
        offset,
        raw,
        stored: raw,
        segments: lengths.len() as u32,
        sum: 0x1234_5678,
    };
    header.seal(&mut bytes);
    (header, bytes)
}

proptest! {
    #[test]
    fn a_header_reads_back_as_it_was_written(
        lengths in vec(1u32..400_000, 1..=SEGMENTS), stripe: u32, sequence: u64, offset: u64,
    ) {
        let (header, bytes) = sealed(&lengths, stripe, sequence, offset);
        prop_assert_eq!(Header::read(&bytes, BACKUP, stripe, offset), Ok(header));
        let back: Vec<u32> = header.table(&bytes).map(|segment| segment.length).collect();
        prop_assert_eq!(back, lengths);
    }

    #[test]
    fn a_header_with_a_flipped_bit_is_refused(
        lengths in vec(1u32..400_000, 1..=SEGMENTS), bit in 0..8 * HEADER,
    ) {
        let (_, mut bytes) = sealed(&lengths, 1, 2, 4096);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Header::read(&bytes, BACKUP, 1, 4096).is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_of_headers_panic(
        at in 0..HEADER - 4, noise in vec(any::<u8>(), 0..200), length in 0..=HEADER,
    ) {
        let (_, mut bytes) = sealed(&[5, 6, 7], 1, 2, 4096);
        let end = HEADER.min(at + noise.len());
        bytes[at..end].copy_from_slice(&noise[..end - at]);
        // With a checksum that is right: what comes after it is looked at, too.
        let sum = crc32fast::hash(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..].copy_from_slice(&sum.to_le_bytes());
        if let Ok(header) = Header::read_any(&bytes) {
            let sum: u64 = header.table(&bytes).map(|segment| u64::from(segment.length)).sum();
            prop_assert_eq!(sum, u64::from(header.raw));
        }
        prop_assert!(length == HEADER || Header::read_any(&bytes[..length]).is_err());
    }
}

#[test]
fn a_block_of_elsewhere_is_not_taken_for_the_one_that_belongs_here() {
    let (_, bytes) = sealed(&[9], 1, 2, 4096);
    let read = |backup, stripe, offset| Header::read(&bytes, backup, stripe, offset);
    assert!(read(BACKUP, 1, 4096).is_ok());
    let other = Id([8; 16]);
    assert_eq!(
        read(other, 1, 4096),
        Err(HeaderError::Backup { found: BACKUP })
    );
    let stripe = HeaderError::Stripe {
        found: 1,
        expected: 2,
    };
    assert_eq!(read(BACKUP, 2, 4096), Err(stripe));
    let offset = HeaderError::Offset {
        found: 4096,
        expected: 8192,
    };
    assert_eq!(read(BACKUP, 1, 8192), Err(offset));
}

#[test]
fn lengths_that_no_block_has_are_refused() {
    let with = |change: fn(&mut Header)| {
        let (mut header, mut bytes) = sealed(&[100], 0, 0, 0);
        change(&mut header);
        header.seal(&mut bytes);
        Header::read_any(&bytes).expect_err("refused")
    };
    let lengths = |raw, stored| HeaderError::Lengths { raw, stored };
    assert_eq!(with(|it| it.stored = 99), lengths(100, 99));
    assert_eq!(with(|it| it.packing = Packing::Zstd), lengths(100, 100));
    let more = |it: &mut Header| (it.raw, it.stored) = ((64 << 20) + 1, (64 << 20) + 1);
    assert_eq!(with(more), lengths((64 << 20) + 1, (64 << 20) + 1));
    let none = |it: &mut Header| it.segments = 0;
    assert_eq!(with(none), HeaderError::Segments { found: 0 });
    let other = |it: &mut Header| (it.raw, it.stored) = (101, 101);
    assert_eq!(
        with(other),
        HeaderError::Sizes {
            segments: 100,
            raw: 101
        }
    );
}

fn entry(parent: Option<u32>, name: &[u8], kind: Kind) -> Entry {
    Entry {
        parent,
        name: name.into(),
        kind,
        flaws: Flaws::default(),
        attributes: Attributes::default(),
        xattrs: Vec::new(),
    }
}

fn file(parent: Option<u32>, name: &[u8]) -> Entry {
    entry(parent, name, Kind::File { size: 10, data: 5 })
}

fn catalogue(entries: Vec<Entry>) -> Catalogue {
    Catalogue {
        backup: BACKUP,
        created: 1,
        transfer: UNIT,
        stripes: vec![
            Totals {
                blocks: 1,
                bytes: 8192
            };
            2
        ],
        entries,
    }
}

fn refusal(entries: Vec<Entry>) -> CatalogueError {
    let bytes = catalogue(entries).to_bytes();
    Catalogue::from_bytes(&bytes).expect_err("refused")
}

/// Entries that fit together: the first is a folder that the others are in.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let attributes = (0u32..0o10000, any::<(u32, u32, i64)>(), 0u32..1_000_000_000);
    let attributes = attributes.prop_map(|(mode, (uid, gid, seconds), nanoseconds)| Attributes {
        mode,
        uid,
        gid,
        modified: Time {
            seconds,
            nanoseconds,
        },
    });
    let xattr = (vec(1u8..=255, 1..40), vec(any::<u8>(), 0..100));
    let xattr = xattr.prop_map(|(name, value)| Xattr {
        name: name.into(),
        value: value.into(),
    });
    let kind = prop_oneof![
        Just(Kind::Directory),
        (0..=i64::MAX as u64, any::<u64>()).prop_map(|(size, data)| Kind::File {
            size,
            data: data.min(size)
        }),
        vec(1u8..=255, 1..100).prop_map(|target| Kind::Symlink {
            target: target.into()
        }),
    ];
    let flaws = any::<(bool, bool)>().prop_map(|(changed, unread)| Flaws { changed, unread });
    let one = (
        kind,
        flaws,
        attributes,
        vec(xattr, 0..3),
        vec(any::<u8>(), 0..20),
    );
    vec(one, 0..20).prop_map(|list| {
        let mut all = vec![entry(None, b"top", Kind::Directory)];
        for (number, (kind, flaws, attributes, xattrs, mut name)) in list.into_iter().enumerate() {
            name.retain(|&byte| byte != 0 && byte != b'/');
            // As wide for each of them: otherwise "1" and "0" is what "" and "10" are, and a
            // catalogue in which two entries have one name is refused.
            name.extend_from_slice(format!("{number:02}").as_bytes());
            let name = name.into();
            all.push(Entry {
                parent: Some(0),
                name,
                kind,
                flaws,
                attributes,
                xattrs,
            });
        }
        all
    })
}

proptest! {
    #[test]
    fn a_catalogue_reads_back_as_it_was_written(entries in entries()) {
        let catalogue = catalogue(entries);
        prop_assert_eq!(Catalogue::from_bytes(&catalogue.to_bytes()), Ok(catalogue));
    }

    #[test]
    fn a_catalogue_with_a_flipped_bit_is_refused(entries in entries(), at: prop::sample::Index, bit in 0..8) {
        let mut bytes = catalogue(entries).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert!(Catalogue::from_bytes(&bytes).is_err());
    }

    #[test]
    fn a_catalogue_that_was_cut_is_refused(entries in entries(), at: prop::sample::Index) {
        let bytes = catalogue(entries).to_bytes();
        prop_assert!(Catalogue::from_bytes(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_of_catalogues_panic(
        entries in entries(), at: prop::sample::Index, noise in vec(any::<u8>(), 1..40),
    ) {
        let mut bytes = catalogue(entries).to_bytes();
        let body = bytes.len() - 4;
        let at = at.index(body);
        let end = body.min(at + noise.len());
        bytes[at..end].copy_from_slice(&noise[..end - at]);
        // With a checksum that is right: what comes after it is looked at, too.
        let sum = crc32fast::hash(&bytes[..body]);
        bytes[body..].copy_from_slice(&sum.to_le_bytes());
        if let Ok(catalogue) = Catalogue::from_bytes(&bytes) {
            for number in 0..catalogue.entries.len() as u32 {
                let path = catalogue.path(number);
                prop_assert!(path.split(|&byte| byte == b'/').all(|name| !name.is_empty() && name != b".."));
            }
        }
    }
}

#[test]
fn a_name_that_is_not_one_name_is_refused() {
    let long = [b'x'; 256];
    let cases: [(&[u8], BadName); 8] = [
        (b"", BadName::Empty),
        (b".", BadName::Dots),
        (b"..", BadName::Dots),
        (b"/etc", BadName::Slash),
        (b"a/b", BadName::Slash),
        (b"../x", BadName::Slash),
        (b"a\0b", BadName::Nul),
        (&long, BadName::Long),
    ];
    for (bad, expected) in cases {
        let error = refusal(vec![file(None, b"good"), file(None, bad)]);
        let CatalogueError::Name { entry: 1, why, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(why, expected);
    }
}

#[test]
fn entries_that_do_not_fit_together_are_refused() {
    let folder = |parent, name| entry(parent, name, Kind::Directory);
    let link = |name, of| entry(None, name, Kind::Link { of });
    let parent = |entry, parent| CatalogueError::Parent { entry, parent };
    // Below a file, below a symbolic link, below what comes later, below itself, below nothing.
    assert_eq!(
        refusal(vec![file(None, b"f"), file(Some(0), b"x")]),
        parent(1, 0)
    );
    let symlink = entry(
        None,
        b"l",
        Kind::Symlink {
            target: b"/".as_slice().into(),
        },
    );
    assert_eq!(
        refusal(vec![symlink.clone(), file(Some(0), b"x")]),
        parent(1, 0)
    );
    assert_eq!(
        refusal(vec![file(Some(1), b"x"), folder(None, b"d")]),
        parent(0, 1)
    );
    assert_eq!(refusal(vec![folder(Some(0), b"d")]), parent(0, 0));
    assert_eq!(refusal(vec![file(Some(9), b"x")]), parent(0, 9));
    let twice = CatalogueError::Twice { entry: 2, other: 0 };
    assert_eq!(
        refusal(vec![
            file(None, b"x"),
            folder(None, b"d"),
            symlink_named(b"x")
        ]),
        twice
    );
    let to = |entry, of| CatalogueError::Link { entry, of };
    assert_eq!(refusal(vec![link(b"a", 1), file(None, b"f")]), to(0, 1));
    assert_eq!(refusal(vec![link(b"a", 0)]), to(0, 0));
    assert_eq!(refusal(vec![folder(None, b"d"), link(b"a", 0)]), to(1, 0));
    assert_eq!(refusal(vec![symlink, link(b"a", 0)]), to(1, 0));
    let chain = vec![file(None, b"f"), link(b"a", 0), link(b"b", 1)];
    assert_eq!(refusal(chain), to(2, 1));
}

fn symlink_named(name: &[u8]) -> Entry {
    entry(
        None,
        name,
        Kind::Symlink {
            target: b"t".as_slice().into(),
        },
    )
}

#[test]
fn numbers_that_lie_are_refused() {
    let sized = |size, data| entry(None, b"f", Kind::File { size, data });
    let lie = |size, data| CatalogueError::Size {
        entry: 0,
        size,
        data,
    };
    assert_eq!(refusal(vec![sized(5, 6)]), lie(5, 6));
    assert_eq!(refusal(vec![sized(1 << 63, 0)]), lie(1 << 63, 0));
    let mut bad = file(None, b"f");
    bad.attributes.mode = 0o10000;
    assert_eq!(
        refusal(vec![bad]),
        CatalogueError::Mode {
            entry: 0,
            mode: 0o10000
        }
    );
    let mut bad = file(None, b"f");
    bad.attributes.modified.nanoseconds = 1_000_000_000;
    let error = CatalogueError::Nanoseconds {
        entry: 0,
        found: 1_000_000_000,
    };
    assert_eq!(refusal(vec![bad]), error);
    let target = |length: usize| {
        entry(
            None,
            b"l",
            Kind::Symlink {
                target: vec![b'x'; length].into(),
            },
        )
    };
    for length in [0, 4096] {
        assert_eq!(
            refusal(vec![target(length)]),
            CatalogueError::Target { entry: 0, length }
        );
    }
    let mut bad = catalogue(Vec::new());
    bad.transfer = 5000;
    let error = Catalogue::from_bytes(&bad.to_bytes());
    assert_eq!(error, Err(CatalogueError::Transfer { found: 5000 }));
    let mut bad = catalogue(Vec::new());
    bad.stripes.clear();
    let error = Catalogue::from_bytes(&bad.to_bytes());
    assert_eq!(error, Err(CatalogueError::Stripes { found: 0 }));
}

#[test]
fn counts_that_are_more_than_the_bytes_cost_no_memory() {
    let mut bytes = catalogue(vec![file(None, b"f")]).to_bytes();
    let body = bytes.len() - 4;
    bytes[44..52].copy_from_slice(&u64::from(u32::MAX - 1).to_le_bytes());
    let sum = crc32fast::hash(&bytes[..body]);
    bytes[body..].copy_from_slice(&sum.to_le_bytes());
    let error = Catalogue::from_bytes(&bytes).expect_err("refused");
    let expected =
        matches!(error, CatalogueError::Entries { found, .. } if found == u64::from(u32::MAX - 1));
    assert!(expected, "{error}");
}

#[test]
fn folders_within_folders_have_a_limit() {
    let chain = |depth: usize| {
        let parent = |number: usize| number.checked_sub(1).map(|parent| parent as u32);
        (0..depth)
            .map(|number| entry(parent(number), b"d", Kind::Directory))
            .collect::<Vec<_>>()
    };
    assert!(Catalogue::from_bytes(&catalogue(chain(MAX_DEPTH)).to_bytes()).is_ok());
    let error = CatalogueError::Depth {
        entry: MAX_DEPTH as u32,
    };
    assert_eq!(refusal(chain(MAX_DEPTH + 1)), error);
}
