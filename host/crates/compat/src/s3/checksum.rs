//! The checksums that a client sends with a body.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use http::HeaderMap;
use s3s::{
    S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256},
    dto::Checksum,
    s3_error,
};

const PREFIX: &str = "x-amz-checksum-";

/// The names of the algorithms, as in `x-amz-checksum-crc32`.
const NAMES: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];

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
        let is_asked = |name: &str| asked.iter().any(|asked| asked == name);
        let hasher = ChecksumHasher {
            crc32: is_asked("crc32").then(Crc32::new),
            crc32c: is_asked("crc32c").then(Crc32c::new),
            crc64nvme: is_asked("crc64nvme").then(Crc64Nvme::new),
            sha1: is_asked("sha1").then(Sha1::new),
            sha256: is_asked("sha256").then(Sha256::new),
        };
        Ok(BodyChecksums { hasher, said, md5, trailers })
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
        let found = as_map(hasher.finalize());
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

fn as_map(checksum: Checksum) -> BTreeMap<String, String> {
    let all = [
        ("crc32", checksum.checksum_crc32),
        ("crc32c", checksum.checksum_crc32c),
        ("crc64nvme", checksum.checksum_crc64nvme),
        ("sha1", checksum.checksum_sha1),
        ("sha256", checksum.checksum_sha256),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Checksums that were stored, as S3 tells them.
pub(super) fn told(checksums: &BTreeMap<String, String>) -> Checksum {
    let of = |name: &str| checksums.get(name).cloned();
    Checksum {
        checksum_crc32: of("crc32"),
        checksum_crc32c: of("crc32c"),
        checksum_crc64nvme: of("crc64nvme"),
        checksum_sha1: of("sha1"),
        checksum_sha256: of("sha256"),
        checksum_type: None,
    }
}
