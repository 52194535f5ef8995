//! The codes of a virtual device set: which numbers they are, and what each error says.

mod support;

use hugepool::share::{Access, ShareError};
use hugepool::vdi::*;
use hugepool::{BuildError, Builder, OsError, Pages, Pool, Rung, WhyNotPlaced};
use support::filter::refuse;
use support::process::alone;
use support::skipped;

#[test]
fn the_codes_are_those_of_the_interface() {
    let codes = [
        NOERROR,
        VD_E_NOTOPEN,
        VD_E_TIMEOUT,
        VD_E_ABORT,
        VD_E_SECURITY,
        VD_E_INVALID,
        VD_E_INSTANCE_NAME,
        VD_E_NOTSUPPORTED,
        VD_E_MEMORY,
        VD_E_UNEXPECTED,
        VD_E_PROTOCOL,
        VD_E_OPEN,
        VD_E_CLOSE,
        VD_E_BUSY,
    ];
    let numbers = [0, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15];
    for (code, number) in codes.into_iter().zip(numbers) {
        let expected = if number == 0 { 0 } else { 0x8077_0000 + number };
        assert_eq!(code, expected);
    }
}

fn system(number: i32) -> OsError {
    OsError {
        call: "a call",
        number,
    }
}

/// What asking for less may mend, what the process may not, and the rest.
#[test]
fn what_the_system_refuses_is_memory_only_if_less_may_be_had() {
    for (number, code) in [
        (libc::ENOMEM, VD_E_MEMORY),
        (libc::EAGAIN, VD_E_MEMORY),
        (libc::ENOSPC, VD_E_MEMORY),
        (libc::EDQUOT, VD_E_MEMORY),
        (libc::EFBIG, VD_E_MEMORY),
        (libc::EPERM, VD_E_SECURITY),
        (libc::EACCES, VD_E_SECURITY),
        (libc::EMFILE, VD_E_UNEXPECTED),
        (libc::ENFILE, VD_E_UNEXPECTED),
        (libc::ENOSYS, VD_E_UNEXPECTED),
        (libc::EINVAL, VD_E_UNEXPECTED),
        (libc::ENODEV, VD_E_UNEXPECTED),
        (libc::EINTR, VD_E_UNEXPECTED),
        (0, VD_E_UNEXPECTED),
    ] {
        let reason = system(number);
        let (bytes, granted) = (1 << 20, 0);
        for error in [
            BuildError::System(reason),
            BuildError::NoPages {
                bytes,
                reason: Some(reason),
            },
            BuildError::PagesNotGranted {
                required: Pages::Huge2M,
                bytes,
                granted,
                reason: Some(reason),
            },
            BuildError::Lock {
                bytes,
                limit: None,
                reason,
            },
        ] {
            assert_eq!(Error::Build(error).code(), code, "{error}");
        }
        // A client cannot ask for less.
        let clients = match code {
            VD_E_SECURITY => VD_E_SECURITY,
            _ => VD_E_UNEXPECTED,
        };
        assert_eq!(ShareError::System(reason).code(), clients, "{reason}");
    }
}

#[test]
fn what_cannot_be_built_has_a_code_that_says_what_to_do() {
    let (size, alignment, limit, needed, bytes) = (1, 1, 1, 1, 1);
    let pages = |granted| BuildError::PagesNotGranted {
        required: Pages::Transparent,
        bytes,
        granted,
        reason: None,
    };
    for (error, code) in [
        (BuildError::ZeroSize, VD_E_INVALID),
        (BuildError::ZeroCount { size, alignment }, VD_E_INVALID),
        (BuildError::SizeTooLarge { size, limit }, VD_E_INVALID),
        (BuildError::BadAlignment { alignment }, VD_E_INVALID),
        (
            BuildError::AlignmentTooLarge { alignment, limit },
            VD_E_INVALID,
        ),
        (
            BuildError::PrefixTooLarge { prefix: 1, limit },
            VD_E_INVALID,
        ),
        (
            BuildError::RequireNeedsPrefault {
                required: Pages::Collapsed,
            },
            VD_E_INVALID,
        ),
        (BuildError::SharedForWriting, VD_E_INVALID),
        (BuildError::TooManyClasses { limit }, VD_E_INVALID),
        (
            BuildError::NoPages {
                bytes,
                reason: None,
            },
            VD_E_INVALID,
        ),
        (
            BuildError::Node {
                node: 99,
                why: WhyNotPlaced::NoSuchNode,
                reason: system(libc::EINVAL),
            },
            VD_E_INVALID,
        ),
        (
            BuildError::Node {
                node: 0,
                why: WhyNotPlaced::Filter,
                reason: system(libc::EPERM),
            },
            VD_E_SECURITY,
        ),
        (BuildError::NoNodes, VD_E_INVALID),
        (
            BuildError::NodeTooLarge {
                node: 1024,
                limit: 1023,
            },
            VD_E_INVALID,
        ),
        (
            BuildError::NodeMemory {
                node: 0,
                needed,
                available: 0,
            },
            VD_E_MEMORY,
        ),
        (BuildError::Forked, VD_E_NOTOPEN),
        (BuildError::Overflow { size, count: 1 }, VD_E_MEMORY),
        (BuildError::AddressSpace { needed, limit }, VD_E_MEMORY),
        (BuildError::TooManySlots { limit }, VD_E_MEMORY),
        (
            BuildError::OutOfMemory {
                needed,
                available: None,
            },
            VD_E_MEMORY,
        ),
        // Some were granted; not a single one was.
        (pages(1), VD_E_MEMORY),
        (pages(0), VD_E_UNEXPECTED),
    ] {
        assert_eq!(Error::Build(error).code(), code, "{error}");
        if code != VD_E_INVALID {
            continue;
        }
        // Of a client's wishes it is that they are not supported.
        let wished = Error::PrefixZone(error);
        assert_eq!(wished.code(), VD_E_NOTSUPPORTED);
    }
}

/// EndConfiguration, and RequestBuffers after it, where the system refuses `call` with
/// `number`.
fn refused_by_the_system(call: libc::c_long, number: i32, builder: &Builder) -> Option<[u32; 2]> {
    let sets = [false, true].map(|mapped| {
        let set = Set::with_builder(builder.clone());
        set.open(&Config {
            device_count: 1,
            ..Config::default()
        })
        .unwrap();
        set.begin_configuration(&Parameters {
            features: 0,
            block_size: 4096,
            alignment: 0,
            max_transfer_size: 64 << 10,
            time_out: 0,
        })
        .unwrap();
        set.request_buffers(4096, 0, 4).unwrap();
        if mapped {
            set.end_configuration().unwrap();
        }
        set
    });
    if let Err(error) = refuse(call, number) {
        skipped(&format!("a filter for system calls: {error}"));
        return None;
    }
    let ended = sets[0].end_configuration().unwrap_err();
    assert_eq!(sets[0].state(), State::Configurable, "{ended}");
    assert_eq!(sets[0].query_available_buffers(4096, 0), Ok(0));
    let grown = sets[1].request_buffers(4096, 0, 4).unwrap_err();
    assert_eq!(sets[1].query_available_buffers(4096, 0), Ok(4));
    Some([ended.code(), grown.code()])
}

#[test]
fn a_server_without_descriptors_is_not_asked_to_take_less_memory() {
    alone(
        "a_server_without_descriptors_is_not_asked_to_take_less_memory",
        &[],
        || {
            let shared = Pool::builder().shared(Access::Write);
            let codes = refused_by_the_system(libc::SYS_memfd_create, libc::EMFILE, &shared);
            assert!(codes.is_none_or(|codes| codes == [VD_E_UNEXPECTED; 2]));
        },
    );
}

#[test]
fn a_server_whose_only_pages_want_a_descriptor_says_that_it_has_none() {
    alone(
        "a_server_whose_only_pages_want_a_descriptor_says_that_it_has_none",
        &[],
        || {
            let shared = Pool::builder().shared(Access::Write);
            let builder = (shared.clone())
                .pages(Pages::Transparent, Rung::Never)
                .pages(Pages::Base, Rung::Never);
            if let Err(error) = refuse(libc::SYS_memfd_create, libc::EMFILE) {
                return skipped(&format!("a filter for system calls: {error}"));
            }
            let error = builder.reserve(4096, 4096, 4).build_volatile();
            let error = error.unwrap_err();
            assert!(error.to_string().contains("memfd_create"), "{error}");
            assert_eq!(Error::Build(error).code(), VD_E_UNEXPECTED);
        },
    );
}

#[test]
fn a_server_without_rights_is_not_asked_to_take_less_memory() {
    alone(
        "a_server_without_rights_is_not_asked_to_take_less_memory",
        &[],
        || {
            let shared = Pool::builder().shared(Access::Write);
            let codes = refused_by_the_system(libc::SYS_memfd_create, libc::EACCES, &shared);
            assert!(codes.is_none_or(|codes| codes == [VD_E_SECURITY; 2]));
        },
    );
}
