//! The form of a record: entries with their lengths, each appended with one call of the system.

/// One change, or one sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A file was made.
    File {
        /// The number of its inode.
        inode: u64,
        /// Where.
        path: &'a [u8],
    },
    /// A folder was made.
    Folder {
        /// The number of its inode.
        inode: u64,
        /// Where.
        path: &'a [u8],
    },
    /// Bytes were written.
    Write {
        /// To this file.
        inode: u64,
        /// From this byte on.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A file was made shorter or longer.
    Resize {
        /// The file.
        inode: u64,
        /// Its new size.
        bytes: u64,
    },
    /// A file or folder has another name.
    Rename {
        /// The old one.
        from: &'a [u8],
        /// The new one.
        to: &'a [u8],
    },
    /// A file has one more name.
    Link {
        /// One that it had.
        from: &'a [u8],
        /// The new one.
        to: &'a [u8],
    },
    /// A name was removed.
    Remove {
        /// The name.
        path: &'a [u8],
    },
    /// A sync of a file or folder is done.
    Sync {
        /// The file or folder.
        inode: u64,
        /// The length of the record when the sync began: later changes are not covered.
        begun: u64,
    },
}

impl Record<'_> {
    /// Appends the entry to a buffer.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let (tag, numbers, parts): (u8, [u64; 2], [&[u8]; 2]) = match *self {
            Record::File { inode, path } => (0, [inode, 0], [path, &[]]),
            Record::Folder { inode, path } => (1, [inode, 0], [path, &[]]),
            Record::Write { inode, offset, bytes } => (2, [inode, offset], [bytes, &[]]),
            Record::Resize { inode, bytes } => (3, [inode, bytes], [&[], &[]]),
            Record::Rename { from, to } => (4, [0, 0], [from, to]),
            Record::Link { from, to } => (5, [0, 0], [from, to]),
            Record::Remove { path } => (6, [0, 0], [path, &[]]),
            Record::Sync { inode, begun } => (7, [inode, begun], [&[], &[]]),
        };
        buffer.push(tag);
        numbers.iter().for_each(|number| buffer.extend(number.to_le_bytes()));
        for part in parts {
            buffer.extend((part.len() as u64).to_le_bytes());
            buffer.extend(part);
        }
    }

    fn decode<'a>(rest: &mut &'a [u8]) -> Option<Record<'a>> {
        let (&tag, mut left) = rest.split_first()?;
        let [first, second] = [number(&mut left)?, number(&mut left)?];
        let mut part = || {
            let bytes = usize::try_from(number(&mut left)?).ok()?;
            let (part, after) = left.split_at_checked(bytes)?;
            left = after;
            Some(part)
        };
        let [one, two] = [part()?, part()?];
        *rest = left;
        Some(match tag {
            0 => Record::File { inode: first, path: one },
            1 => Record::Folder { inode: first, path: one },
            2 => Record::Write { inode: first, offset: second, bytes: one },
            3 => Record::Resize { inode: first, bytes: second },
            4 => Record::Rename { from: one, to: two },
            5 => Record::Link { from: one, to: two },
            6 => Record::Remove { path: one },
            7 => Record::Sync { inode: first, begun: second },
            _ => return None,
        })
    }
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_le_bytes(*bytes))
}

/// The entries of a record, each with the place where it begins. An entry whose end is missing was
/// being written when the process was killed; it is left out.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Reads a record.
    pub fn new(record: &'a [u8]) -> Records<'a> {
        Records { whole: record.len(), rest: record }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (u64, Record<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let begun = self.whole - self.rest.len();
        Some((begun as u64, Record::decode(&mut self.rest)?))
    }
}
