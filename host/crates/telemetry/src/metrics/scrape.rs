//! A scrape: its text in pieces, each made when the one before has been sent.
//!
//! A scrape holds one piece and a list of series, for any number of lines and any slowness of the
//! reader. Threads that may block make the pieces, one at a time in the whole host: scrapers take
//! turns.

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use prometheus_client::encoding::text::encode_registry;

use super::{Exposition, Metrics, exposition::to_prometheus_text, families::Place, series::Shown};

/// The least size of a piece but the last, in bytes: half a millisecond's work.
const PIECE_BYTES: usize = 64 * 1024;

/// A scrape on its way.
pub(super) struct Scrape {
    metrics: Arc<Metrics>,
    exposition: Exposition,
    next: Next,
}

enum Next {
    /// The host's own families.
    Host,
    /// Those of functions and tenants.
    Families(Shown, Place),
    Nothing,
}

impl Scrape {
    pub(super) fn new(metrics: Arc<Metrics>, exposition: Exposition) -> Scrape {
        Scrape { metrics, exposition, next: Next::Host }
    }

    /// The next lines, whole ones; nothing where there are no more.
    pub(super) fn piece(&mut self) -> Option<String> {
        let mut out = String::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        self.next = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Host => {
                // Infallible: writing to a string does not fail, and every encoder is ours.
                let encoded = encode_registry(&mut out, &self.metrics.registry);
                debug_assert!(encoded.is_ok(), "{encoded:?}");
                Next::Families(self.metrics.series().shown(), Place::default())
            }
            Next::Families(shown, mut place) => {
                if place.append(&shown, &mut out, PIECE_BYTES) {
                    Next::Families(shown, place)
                } else {
                    self.metrics.series().was_shown(&shown);
                    out.push_str("# EOF\n");
                    Next::Nothing
                }
            }
            Next::Nothing => return None,
        };
        Some(match self.exposition {
            Exposition::OpenMetrics => out,
            Exposition::Prometheus => to_prometheus_text(&out),
        })
    }
}

/// The text as a body. One whose host fails in the middle of it has no end.
pub(crate) fn body(
    metrics: &Arc<Metrics>,
    exposition: Exposition,
) -> impl Body<Data = Bytes, Error = Box<dyn Error + Send + Sync>> + Send + 'static {
    let scrape = Scrape::new(metrics.clone(), exposition);
    StreamBody::new(Box::pin(stream::try_unfold(scrape, async |mut scrape| {
        // Never closed.
        let turn = scrape.metrics.scraping.clone().acquire_owned().await?;
        let made = tokio::task::spawn_blocking(move || {
            let piece = scrape.piece();
            drop(turn);
            (scrape, piece)
        });
        let (scrape, piece) = made.await?;
        Ok(piece.map(|piece| (Frame::data(Bytes::from(piece)), scrape)))
    })))
}
