//! The form of a file: the bytes of a body, then a checksum of each block of them.
//!
//! ```text
//!   bytes │ CRC-32 of each block of 64 KiB, 4 bytes each │ CRC-32 of these, 4 bytes │ size, 8 bytes │ LWOBJ\0\0\x01
//! ```
//!
//! Numbers are little-endian. A reader checks each block that it reads, so that a bit that flips on
//! the disk is an error and not another body.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

/// The bytes that have a checksum together.
const BLOCK: u64 = BLOCK_LENGTH as u64;
const BLOCK_LENGTH: usize = 64 << 10;

const MAGIC: [u8; 8] = *b"LWOBJ\0\0\x01";

/// The bytes after the checksums of blocks.
const END_LENGTH: usize = 20;

/// The checksums of a body that is being written.
#[derive(Debug, Default)]
pub(super) struct Checksums {
    bytes: u64,
    blocks: Vec<u8>,
    block: crc32fast::Hasher,
}

impl Checksums {
    pub(super) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = usize::try_from(BLOCK - self.bytes % BLOCK).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(left.min(bytes.len()));
            self.block.update(now);
            self.bytes += now.len() as u64;
            if self.bytes.is_multiple_of(BLOCK) {
                self.end_block();
            }
            bytes = rest;
        }
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.blocks.extend(block.finalize().to_le_bytes());
    }

    /// The bytes behind those of the body.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if !self.bytes.is_multiple_of(BLOCK) {
            self.end_block();
        }
        let own = crc32fast::hash(&self.blocks).to_le_bytes();
        [&self.blocks, &own[..], &self.bytes.to_le_bytes(), &MAGIC].concat()
    }
}

/// A file whose blocks are checked as they are read.
#[derive(Debug)]
pub(super) struct CheckedFile {
    file: File,
    pub(super) bytes: u64,
    blocks: Vec<u8>,
}

impl CheckedFile {
    /// Reads the checksums of a file.
    pub(super) fn open(mut file: File) -> io::Result<CheckedFile> {
        let length = file.metadata()?.len();
        let mut end = [0; END_LENGTH];
        let end_at =
            length.checked_sub(END_LENGTH as u64).ok_or_else(|| damaged("is too short"))?;
        file.read_exact_at(&mut end, end_at)?;
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| end[at + i]));
        let (own, bytes) = (&end[..4], number(4));
        let blocks_bytes = bytes.div_ceil(BLOCK).saturating_mul(4);
        if end[12..] != MAGIC || bytes.saturating_add(blocks_bytes) != end_at {
            return Err(damaged("has a wrong end"));
        }
        file.seek(SeekFrom::Start(bytes))?;
        let mut blocks = Vec::new();
        (&mut file).take(blocks_bytes).read_to_end(&mut blocks)?;
        match crc32fast::hash(&blocks).to_le_bytes() == own {
            true => Ok(CheckedFile { file, bytes, blocks }),
            false => Err(damaged("has wrong checksums")),
        }
    }

    /// The bytes from `offset` to the end of a block, up to some blocks; none at the end.
    pub(super) fn read(&self, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (first, skip) = (offset / BLOCK, length(offset % BLOCK));
        let begin = first * BLOCK;
        let end = offset.saturating_add(limit as u64).min(self.bytes);
        let end = end.next_multiple_of(BLOCK).min(self.bytes);
        if end <= offset {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; length(end - begin)];
        self.file.read_exact_at(&mut bytes, begin)?;
        let blocks = bytes.chunks(BLOCK_LENGTH).zip(self.blocks.chunks(4).skip(length(first)));
        for (block, checksum) in blocks {
            if crc32fast::hash(block).to_le_bytes() != checksum {
                return Err(damaged("has a wrong checksum"));
            }
        }
        bytes.drain(..skip);
        bytes.truncate(limit);
        Ok(bytes)
    }

    /// Reads and checks all.
    pub(super) fn check(&self) -> io::Result<()> {
        let mut at = 0;
        while at < self.bytes {
            at += self.read(at, BLOCK_LENGTH)?.len() as u64;
        }
        Ok(())
    }
}

fn damaged(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a file of an object {how}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn file(body: &[u8], chunk: usize) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let mut checksums = Checksums::default();
        for chunk in body.chunks(chunk) {
            checksums.add(chunk);
            file.write_all(chunk).unwrap();
        }
        file.write_all(&checksums.finish()).unwrap();
        file
    }

    fn body(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_part_is_read_as_it_was_written(
            size in prop_oneof![0..10_usize, 65_530..65_540_usize, 0..300_000_usize],
            chunk in 1..100_000_usize,
            offset in 0..300_000_u64,
            limit in 1..200_000_usize,
        ) {
            let body = body(size);
            let checked = CheckedFile::open(file(&body, chunk)).unwrap();
            let read = checked.read(offset, limit).unwrap();
            let from = usize::try_from(offset).unwrap().min(size);
            prop_assert_eq!(&read[..], &body[from..(from + limit).min(size)]);
            checked.check().unwrap();
        }

        #[test]
        fn a_bit_that_flips_is_found(size in 1..200_000_usize, at in any::<prop::sample::Index>()) {
            let file = file(&body(size), size);
            let length = file.metadata().unwrap().len();
            let at = at.index(usize::try_from(length).unwrap()) as u64;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 4], at).unwrap();
            let checked = CheckedFile::open(file).and_then(|file| file.check());
            prop_assert_eq!(checked.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_file_that_is_cut_is_found() {
        for left in [0, 7, 19, 20, 100, 70_000] {
            let file = file(&body(100_000), 5000);
            file.set_len(left).unwrap();
            let error = CheckedFile::open(file).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{left}");
        }
    }
}
