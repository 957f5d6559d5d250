//! The protocol between the host and its compiler: a line, and the bytes that the line announces.
//! Once each way.

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use crate::engine::Profile;

/// The longest line, in bytes.
const LINE_BYTES: u64 = 1024;

/// Asks for a component, whose bytes follow, to be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Request {
    pub(super) metered: bool,
    pub(super) tasks: bool,
    pub(super) component_bytes: u64,
    pub(super) memory_bytes: u64,
    pub(super) cpu_s: u64,
    pub(super) threads: u32,
}

impl Request {
    /// Of those that differ only in how large memories are, which is nothing to a compiler.
    pub(super) fn profile(&self) -> Profile {
        Profile { metered: self.metered, tasks: self.tasks, large: false }
    }
}

/// The kind of the reply. The artifact, or a text for people, follows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct CompilerReply {
    /// The compiler's version.
    pub(super) lacewing: String,
    pub(super) result: ReplyKind,
    #[serde(flatten)]
    pub(super) jail: Jail,
    pub(super) bytes: u64,
}

/// The parts of its jail that the kernel had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Jail {
    /// Landlock took its rights.
    pub(super) landlocked: bool,
    /// System calls were filtered.
    pub(super) filtered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReplyKind {
    Artifact,
    Invalid,
    Memory,
    Unlimited,
}

/// Writes a line and what it announces.
pub(super) fn send(out: &mut impl Write, line: &impl Serialize, bytes: &[u8]) -> io::Result<()> {
    let mut head = serde_json::to_vec(line)?;
    head.push(b'\n');
    out.write_all(&head)?;
    out.write_all(bytes)?;
    out.flush()
}

/// Reads a line. An error of kind `InvalidData` has what was there instead.
pub(super) fn read_line<T: for<'de> Deserialize<'de>>(input: &mut impl BufRead) -> io::Result<T> {
    let mut line = Vec::new();
    input.take(LINE_BYTES).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&line).map_err(|_| {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

/// Reads exactly what was announced.
pub(super) fn read_bytes(input: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    input.take(bytes).read_to_end(&mut all)?;
    if all.len() as u64 == bytes { Ok(all) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request = Request {
        metered: true,
        tasks: false,
        component_bytes: 3,
        memory_bytes: 1 << 30,
        cpu_s: 60,
        threads: 1,
    };

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let mut pipe = Vec::new();
        send(&mut pipe, &REQUEST, b"abc").unwrap();
        let mut input = &pipe[..];
        assert_eq!(read_line::<Request>(&mut input).unwrap(), REQUEST);
        assert_eq!(read_bytes(&mut input, 3).unwrap(), b"abc");
        assert_eq!(read_bytes(&mut input, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(REQUEST.profile(), Profile { metered: true, ..Profile::default() });
    }

    #[test]
    fn a_line_is_bounded_and_shown_where_it_is_another() {
        let endless = vec![b'x'; 1 << 20];
        let error = read_line::<CompilerReply>(&mut &endless[..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string().len() as u64, LINE_BYTES);
        let error = read_line::<CompilerReply>(&mut &b"hello\n"[..]).unwrap_err();
        assert_eq!(error.to_string(), "hello");
        let error = read_line::<CompilerReply>(&mut &b""[..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
