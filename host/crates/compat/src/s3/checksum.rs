//! The checksums that a client sends with a body.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use http::HeaderMap;
use s3s::{
    S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256},
    dto::{Checksum, ChecksumType},
    s3_error,
};

const PREFIX: &str = "x-amz-checksum-";

/// The names of the algorithms, as in `x-amz-checksum-crc32`.
pub(super) const NAMES: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];

/// The name under which an object keeps the checksums of its parts, separated by commas.
pub(super) const PARTS: &str = "parts";

/// The checksums that an input, or a part of one, says in its fields.
macro_rules! said_checksums {
    ($input:expr) => {
        [
            ("crc32", &$input.checksum_crc32),
            ("crc32c", &$input.checksum_crc32c),
            ("crc64nvme", &$input.checksum_crc64nvme),
            ("sha1", &$input.checksum_sha1),
            ("sha256", &$input.checksum_sha256),
        ]
    };
}

/// Tells checksums in the fields of an output.
macro_rules! tell_checksums {
    ($output:ident, $checksum:expr) => {
        let checksum = $checksum;
        $output.checksum_crc32 = checksum.checksum_crc32;
        $output.checksum_crc32c = checksum.checksum_crc32c;
        $output.checksum_crc64nvme = checksum.checksum_crc64nvme;
        $output.checksum_sha1 = checksum.checksum_sha1;
        $output.checksum_sha256 = checksum.checksum_sha256;
    };
}

pub(super) use {said_checksums, tell_checksums};

/// The checksums of a body that is being read, and those that its client has said.
pub(super) struct BodyChecksums {
    hasher: ChecksumHasher,
    said: BTreeMap<&'static str, String>,
    md5: Option<Vec<u8>>,
    trailers: Option<TrailingHeaders>,
}

impl BodyChecksums {
    /// The checksums that the head of a request asks for.
    pub(super) fn new(
        headers: &HeaderMap,
        trailers: Option<TrailingHeaders>,
        content_md5: Option<&str>,
    ) -> S3Result<BodyChecksums> {
        let md5 = match content_md5 {
            Some(text) => {
                let digest = BASE64.decode(text.as_bytes()).ok().filter(|md5| md5.len() == 16);
                Some(digest.ok_or_else(|| s3_error!(InvalidDigest))?)
            }
            None => None,
        };
        let mut said = BTreeMap::new();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let mut asked: Vec<String> = Vec::new();
        for name in NAMES {
            if let Some(value) = text(&format!("{PREFIX}{name}")) {
                said.insert(name, value.to_owned());
                asked.push(name.to_owned());
            }
        }
        asked.extend(text("x-amz-sdk-checksum-algorithm").map(str::to_ascii_lowercase));
        let trailer = text("x-amz-trailer").unwrap_or_default().to_ascii_lowercase();
        let trailing = trailer.split(',').filter_map(|name| name.trim().strip_prefix(PREFIX));
        asked.extend(trailing.map(str::to_owned));
        let mut checksums =
            BodyChecksums { hasher: ChecksumHasher::default(), said, md5, trailers };
        asked.iter().for_each(|name| checksums.take(name));
        Ok(checksums)
    }

    /// One checksum, which nothing is compared with.
    pub(super) fn of(name: &str) -> BodyChecksums {
        let hasher = ChecksumHasher::default();
        let mut checksums =
            BodyChecksums { hasher, said: BTreeMap::new(), md5: None, trailers: None };
        checksums.take(name);
        checksums
    }

    /// Takes a checksum besides the others. An unknown name is none.
    pub(super) fn take(&mut self, name: &str) {
        let hasher = &mut self.hasher;
        match name {
            "crc32" => hasher.crc32 = Some(Crc32::new()),
            "crc32c" => hasher.crc32c = Some(Crc32c::new()),
            "crc64nvme" => hasher.crc64nvme = Some(Crc64Nvme::new()),
            "sha1" => hasher.sha1 = Some(Sha1::new()),
            "sha256" => hasher.sha256 = Some(Sha256::new()),
            _ => {}
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// The checksums of the whole body, if they are those that its client has said.
    pub(super) fn finish(self, md5: [u8; 16]) -> S3Result<BTreeMap<String, String>> {
        let BodyChecksums { hasher, mut said, md5: said_md5, trailers } = self;
        if said_md5.is_some_and(|said| said != md5) {
            return Err(s3_error!(BadDigest, "the Content-MD5 is not that of the body"));
        }
        let trailers = trailers.and_then(|trailers| trailers.take()).unwrap_or_default();
        for name in NAMES {
            let value = trailers.get(format!("{PREFIX}{name}"));
            if let Some(value) = value.and_then(|value| value.to_str().ok()) {
                said.insert(name, value.to_owned());
            }
        }
        let found = as_map(&hasher.finalize());
        for (name, said) in said {
            match found.get(name) {
                Some(found) if *found == said => {}
                Some(_) => {
                    return Err(s3_error!(
                        BadDigest,
                        "the checksum {PREFIX}{name} is not that of the body"
                    ));
                }
                None => return Err(s3_error!(InvalidRequest, "{PREFIX}{name} was not announced")),
            }
        }
        Ok(found)
    }
}

fn as_map(checksum: &Checksum) -> BTreeMap<String, String> {
    let all = said_checksums!(checksum).into_iter();
    all.filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
}

/// Checksums that were stored, as S3 tells them.
pub(super) fn told(checksums: &BTreeMap<String, String>) -> Checksum {
    let of = |name: &str| checksums.get(name).cloned();
    // The checksum of checksums ends with their number.
    let kind = match checksums.values().any(|value| value.contains('-')) {
        true => ChecksumType::COMPOSITE,
        false => ChecksumType::FULL_OBJECT,
    };
    Checksum {
        checksum_crc32: of("crc32"),
        checksum_crc32c: of("crc32c"),
        checksum_crc64nvme: of("crc64nvme"),
        checksum_sha1: of("sha1"),
        checksum_sha256: of("sha256"),
        checksum_type: (!checksums.is_empty()).then(|| ChecksumType::from_static(kind)),
    }
}

/// The checksums of one part of an object, from 0, if the object keeps them.
pub(super) fn told_of_part(checksums: &BTreeMap<String, String>, at: usize) -> Checksum {
    let part = checksums.get(PARTS).and_then(|parts| parts.split(',').nth(at));
    let Some(part) = part else { return Checksum::default() };
    let checksum_type = told(checksums).checksum_type;
    let names = checksums.keys().filter(|name| *name != PARTS);
    let of_part = names.map(|name| (name.clone(), part.to_owned())).collect();
    Checksum { checksum_type, ..told(&of_part) }
}
