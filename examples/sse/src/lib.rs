//! Server-sent events: a tick now and then, until it was enough or the client goes away.

use std::time::Duration;

use lacewing_sdk::{Query, Sse, sleep, spawn, sse};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(default)]
struct Ticks {
    count: u32,
    every_ms: u64,
}

impl Default for Ticks {
    fn default() -> Ticks {
        Ticks { count: 3, every_ms: 1000 }
    }
}

#[lacewing_sdk::http]
async fn ticks(Query(ticks): Query<Ticks>) -> Sse {
    let (mut events, response) = sse::channel();
    spawn(async move {
        for tick in 1..=ticks.count {
            let event = sse::Event::data(format!("tick {tick} of {}", ticks.count));
            if events.send(event.event("tick").id(tick.to_string())).await.is_err() {
                return; // The client went away.
            }
            if tick < ticks.count {
                sleep(Duration::from_millis(ticks.every_ms)).await;
            }
        }
    });
    response.keep_alive(Duration::from_secs(15))
}

#[cfg(test)]
mod tests {
    use lacewing_sdk::test;

    #[test]
    fn it_ticks_as_often_as_it_is_asked() {
        let response = test::get("/ticks?count=2&every_ms=1").call_async(super::ticks);
        assert_eq!(response.header("content-type"), Some("text/event-stream"));
        assert_eq!(
            response.text(),
            "event: tick\nid: 1\ndata: tick 1 of 2\n\nevent: tick\nid: 2\ndata: tick 2 of 2\n\n"
        );
    }
}
