//! The checksum of an object that is uploaded in parts.
//!
//! It is the checksum of the parts' checksums (`COMPOSITE`), or that of the whole body
//! (`FULL_OBJECT`), which follows from the CRCs and the sizes of the parts.

use std::collections::BTreeMap;

use crc_fast::{CrcAlgorithm, checksum_combine};
use data_encoding::BASE64;
use lacewing_store::object::{Attributes, MAX_ATTRIBUTE_BYTES, Object};
use s3s::{
    S3Result,
    dto::{ChecksumAlgorithm, ChecksumType},
    s3_error,
};
use serde::{Deserialize, Serialize};

use crate::s3::checksum::{BodyChecksums, NAMES, PARTS};

/// The checksum that the beginning of an upload asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct UploadChecksum {
    /// The name of the algorithm, as in `x-amz-checksum-crc32`.
    pub(super) name: String,
    is_full: bool,
}

fn crc(name: &str) -> Option<CrcAlgorithm> {
    match name {
        "crc32" => Some(CrcAlgorithm::Crc32IsoHdlc),
        "crc32c" => Some(CrcAlgorithm::Crc32Iscsi),
        "crc64nvme" => Some(CrcAlgorithm::Crc64Nvme),
        _ => None,
    }
}

impl UploadChecksum {
    pub(super) fn new(
        algorithm: Option<&ChecksumAlgorithm>,
        kind: Option<&ChecksumType>,
    ) -> S3Result<Option<UploadChecksum>> {
        let Some(algorithm) = algorithm else {
            return match kind {
                None => Ok(None),
                Some(_) => Err(s3_error!(InvalidRequest, "a checksum type needs an algorithm")),
            };
        };
        let name = algorithm.as_str().to_ascii_lowercase();
        let is_known = NAMES.contains(&&*name);
        let kind = match kind.map(ChecksumType::as_str) {
            None if name == "crc64nvme" => ChecksumType::FULL_OBJECT,
            None => ChecksumType::COMPOSITE,
            Some(kind) => kind,
        };
        let is_full = match kind {
            ChecksumType::FULL_OBJECT if crc(&name).is_some() => true,
            ChecksumType::COMPOSITE if is_known && name != "crc64nvme" => false,
            _ => {
                let text = format!("{} has no checksum of type {kind}", algorithm.as_str());
                return Err(s3_error!(InvalidRequest, "{text}"));
            }
        };
        Ok(Some(UploadChecksum { name, is_full }))
    }

    pub(super) fn kind(&self) -> ChecksumType {
        ChecksumType::from_static(match self.is_full {
            true => ChecksumType::FULL_OBJECT,
            false => ChecksumType::COMPOSITE,
        })
    }

    /// Adds the checksum of an object to its attributes, and those of its parts if there is room.
    ///
    /// # Errors
    /// A part without the checksum.
    pub(super) fn add_to(&self, attributes: &mut Attributes, parts: &[Object]) -> S3Result<()> {
        let of_part = |part: &Object| {
            let text = part.attributes.checksums.get(&self.name).cloned();
            text.ok_or_else(|| s3_error!(InvalidPart, "a part has no checksum {}", self.name))
        };
        let texts: Vec<String> = parts.iter().map(of_part).collect::<S3Result<_>>()?;
        let sizes = parts.iter().map(|part| part.bytes);
        let whole = match crc(&self.name).filter(|_| self.is_full) {
            Some(crc) => combined(crc, &texts, sizes),
            None => self.of_checksums(&texts)?,
        };
        let name = self.name.clone();
        attributes.checksums = BTreeMap::from([(name, whole)]);
        let list = texts.join(",");
        if attributes.bytes() + PARTS.len() + list.len() <= MAX_ATTRIBUTE_BYTES {
            attributes.checksums.insert(PARTS.to_owned(), list);
        }
        Ok(())
    }

    /// The checksum of checksums, with their number.
    fn of_checksums(&self, texts: &[String]) -> S3Result<String> {
        let mut hasher = BodyChecksums::of(&self.name);
        texts.iter().for_each(|text| hasher.update(&decoded(text)));
        let whole = hasher.finish([0; 16])?.remove(&self.name).unwrap_or_default();
        Ok(format!("{whole}-{}", texts.len()))
    }
}

fn decoded(text: &str) -> Vec<u8> {
    BASE64.decode(text.as_bytes()).unwrap_or_default()
}

/// The CRC of a body whose parts have these CRCs and sizes, in base64.
fn combined(crc: CrcAlgorithm, texts: &[String], sizes: impl Iterator<Item = u64>) -> String {
    let crcs: Vec<Vec<u8>> = texts.iter().map(|text| decoded(text)).collect();
    let width = crcs.first().map_or(0, Vec::len);
    let numbers =
        crcs.iter().map(|crc| crc.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    let whole = numbers.zip(sizes).reduce(|(whole, whole_bytes), (part, bytes)| {
        (checksum_combine(crc, whole, part, bytes), whole_bytes + bytes)
    });
    let bytes = whole.map_or(0, |(whole, _)| whole).to_be_bytes();
    BASE64.encode(&bytes[bytes.len() - width.min(bytes.len())..])
}
