//! Counts down in server-sent events, two a second.

use std::time::Duration;

use lacewing_sdk::{Sse, sleep, spawn, sse};

#[lacewing_sdk::http]
async fn countdown() -> Sse {
    let (mut events, response) = sse::channel();
    spawn(async move {
        for left in (0..3).rev() {
            sleep(Duration::from_millis(500)).await;
            if events
                .send(sse::Event::data(format!("{left} left")))
                .await
                .is_err()
            {
                return; // The client went away.
            }
        }
    });
    response
}

#[cfg(test)]
mod tests {
    use super::countdown;
    use lacewing_sdk::test;

    #[test]
    fn it_counts_down() {
        let response = test::get("/").call_async(countdown);
        assert_eq!(response.header("content-type"), Some("text/event-stream"));
        assert_eq!(
            response.text(),
            "data: 2 left\n\ndata: 1 left\n\ndata: 0 left\n\n"
        );
    }
}
