//! What the URL of an object store begins with.
//!
//! Owns the kinds of stores by their names, and the telling of a URL from a folder. `place` reads by it what the user
//! wrote; `object` makes a client of each kind.

/// A kind of store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// Amazon S3, and what speaks as it does.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
}

impl Scheme {
    pub const ALL: [Scheme; 3] = [Scheme::S3, Scheme::Gs, Scheme::Az];

    /// What is before `://`.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::S3 => "s3",
            Scheme::Gs => "gs",
            Scheme::Az => "az",
        }
    }

    /// What the kind calls the place that prefixes are in.
    #[cfg(feature = "object-store")]
    pub fn container(self) -> &'static str {
        match self {
            Scheme::S3 | Scheme::Gs => "bucket",
            Scheme::Az => "container",
        }
    }

    /// The kind of this name.
    pub fn of(name: &[u8]) -> Option<Scheme> {
        Scheme::ALL
            .into_iter()
            .find(|scheme| scheme.name().as_bytes() == name)
    }
}

/// What is before `://`, if it could be the name of a kind; `None`: it is no URL.
pub fn of_url(text: &[u8]) -> Option<&[u8]> {
    let end = text.windows(3).position(|bytes| bytes == b"://")?;
    let name = &text[..end];
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    (name.first()?.is_ascii_alphabetic() && name.iter().all(is_name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_told_from_the_path_of_a_folder() {
        for (text, name) in [
            ("s3://bucket/x", "s3"),
            ("gs://bucket", "gs"),
            ("az://", "az"),
            ("https://host/x", "https"),
            ("S3://bucket", "S3"),
            ("a+b-c.d://x", "a+b-c.d"),
        ] {
            assert_eq!(of_url(text.as_bytes()), Some(name.as_bytes()), "{text}");
        }
        for text in [
            "", "folder", "/s3://x", "./s3://x", "s3:/x", "s3:", "://x", "a b://x", "3s://x",
        ] {
            assert_eq!(of_url(text.as_bytes()), None, "{text}");
        }
        for scheme in Scheme::ALL {
            assert_eq!(Scheme::of(scheme.name().as_bytes()), Some(scheme));
        }
        assert_eq!(Scheme::of(b"https"), None);
    }
}
