//! A bound on the frames of an HTTP/2 connection that ask for nothing.
//!
//! PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, frames of unknown types and DATA without
//! data cost the host time and the client nothing, and no request pays for them. A connection may
//! send some at any time, and more with each request and each piece of a body, in either direction:
//! a client that uses the connection answers with a few frames for each. A token bucket counts them
//! (compare `max_inbound_window_update_frames_per_data_frame_sent` and its neighbours in Envoy's
//! HTTP/2 codec).

use std::time::Instant;

use super::bucket::Bucket;

/// Bytes of a frame's header (RFC 9113, section 4.1).
const HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// Frames that a connection may send at once beyond those that it has earned: a browser opens with
/// some ten.
const BURST: f64 = 1_000.0;
/// Frames a second that a connection may send in any case: it may ask for life signs as often as
/// that.
const PER_SECOND: f64 = 10.0;
/// Frames that a request, or a piece of a body, earns: two window updates, a priority, a reset.
const PER_USEFUL: f64 = 4.0;
/// Frames that a byte which the client takes earns: a client may update two windows for each 512
/// bytes.
const PER_BYTE: f64 = 2.0 / 512.0;

/// More frames that ask for nothing than a connection may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client sends an endless flood of HTTP/2 frames that ask for nothing")]
pub(super) struct FrameFlood;

/// Follows the frames of one connection through the bytes that are read from it.
#[derive(Debug)]
pub(super) struct FrameBudget {
    /// The part of a frame's header that was read.
    header: [u8; HEADER_BYTES],
    have: usize,
    /// Bytes of the current frame's payload that were not read yet.
    payload_left: usize,
    tokens: Bucket,
    /// The responses when they were last counted.
    sent: Sent,
}

/// The responses of a connection so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// Heads and pieces of bodies that were handed over, wrapping.
    pub(super) pieces: u32,
    /// Bytes that were written.
    pub(super) bytes: u64,
}

impl FrameBudget {
    /// Of a connection whose preface was read.
    pub(super) fn new(now: Instant) -> FrameBudget {
        FrameBudget {
            header: [0; HEADER_BYTES],
            have: 0,
            payload_left: 0,
            tokens: Bucket::full(BURST, PER_SECOND, now),
            sent: Sent::default(),
        }
    }

    /// Counts the frames that begin in `bytes`.
    ///
    /// # Errors
    /// The connection has sent too many: it is to be closed.
    pub(super) fn read(
        &mut self,
        mut bytes: &[u8],
        sent: Sent,
        now: impl Fn() -> Instant,
    ) -> Result<(), FrameFlood> {
        let before = std::mem::replace(&mut self.sent, sent);
        let pieces = sent.pieces.wrapping_sub(before.pieces);
        let bytes_sent = u32::try_from(sent.bytes.saturating_sub(before.bytes)).unwrap_or(u32::MAX);
        self.tokens.earn(f64::from(pieces) * PER_USEFUL + f64::from(bytes_sent) * PER_BYTE);
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER_BYTES - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEADER_BYTES {
                self.have = 0;
                self.begin_frame(&now)?;
            }
        }
        Ok(())
    }

    fn begin_frame(&mut self, now: &impl Fn() -> Instant) -> Result<(), FrameFlood> {
        let [a, b, c, kind, ..] = self.header;
        self.payload_left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        match kind {
            HEADERS => self.tokens.earn(PER_USEFUL),
            DATA if self.payload_left > 0 => self.tokens.earn(PER_USEFUL),
            // Bounded by the size of a head.
            CONTINUATION => {}
            _ if self.tokens.spend(now) => {}
            _ => return Err(FrameFlood),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let mut frame = u32::try_from(payload).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 0]);
        frame.resize(HEADER_BYTES + payload, 7);
        frame
    }

    fn budget() -> (FrameBudget, Instant) {
        let now = Instant::now();
        (FrameBudget::new(now), now)
    }

    #[test]
    fn frames_that_ask_for_nothing_are_bounded_and_come_back_with_time() {
        for kind in [2_u8, 3, 4, 6, 8, 0xbb] {
            let (mut budget, now) = budget();
            let ping = frame(kind, 8);
            for _ in 0..1000 {
                assert_eq!(budget.read(&ping, Sent::default(), || now), Ok(()));
            }
            let later = now + Duration::from_secs(1);
            for _ in 0..10 {
                assert_eq!(budget.read(&ping, Sent::default(), || later), Ok(()));
            }
            assert_eq!(budget.read(&ping, Sent::default(), || later), Err(FrameFlood));
        }
    }

    #[test]
    fn requests_earn_a_connection_more_frames() {
        let (mut budget, now) = budget();
        for n in 0..10_000 {
            let request = [frame(HEADERS, 20), frame(2, 5), frame(8, 4), frame(8, 4)].concat();
            assert_eq!(budget.read(&request, Sent::default(), || now), Ok(()), "request {n}");
            let upload = [frame(DATA, 1), frame(8, 4)].concat();
            assert_eq!(budget.read(&upload, Sent::default(), || now), Ok(()));
        }
        let updates = frame(8, 4).repeat(2);
        let mut sent = Sent::default();
        for _ in 0..10_000 {
            sent.pieces += 1;
            assert_eq!(budget.read(&updates, sent, || now), Ok(()), "{sent:?}");
        }
        for _ in 0..10_000 {
            sent.bytes += 512;
            assert_eq!(budget.read(&updates, sent, || now), Ok(()), "{sent:?}");
        }
        let empty = frame(DATA, 0).repeat(2000);
        assert_eq!(budget.read(&empty, sent, || now), Err(FrameFlood));
    }

    proptest! {
        /// However the bytes are cut into reads, the same frames are seen.
        #[test]
        fn reads_may_be_cut_anywhere(
            frames in vec((0_u8..12, 0_usize..40), 1..60),
            cuts in vec(1_usize..50, 1..60),
        ) {
            let bytes: Vec<u8> =
                frames.iter().flat_map(|(kind, payload)| frame(*kind, *payload)).collect();
            let (mut whole, now) = budget();
            whole.read(&bytes, Sent::default(), || now).unwrap();
            let (mut cut, mut rest) = (FrameBudget::new(now), &bytes[..]);
            for len in cuts.iter().cycle() {
                let (piece, left) = rest.split_at((*len).min(rest.len()));
                cut.read(piece, Sent::default(), || now).unwrap();
                rest = left;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(whole.tokens, cut.tokens);
            prop_assert_eq!(whole.payload_left + whole.have, 0);
        }
    }
}
