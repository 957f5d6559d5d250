//! Events, one at a time and in batches.

use std::time::Duration;

use lacewing_sdk::error::Retry;
use lacewing_sdk::event::Failure;
use lacewing_sdk::{Bytes, Context, Error, Event, Result, test};

fn messages(results: &[Result<(), Failure>]) -> Vec<&str> {
    results
        .iter()
        .map(|result| result.as_ref().map_or_else(|failure| failure.message.as_str(), |()| "ok"))
        .collect()
}

#[lacewing_sdk::event]
fn even(event: Event<u32>) -> Result<()> {
    if event.data.is_multiple_of(2) { Ok(()) } else { Err(Error::msg("odd")) }
}

#[lacewing_sdk::events]
fn evens(batch: Vec<Event<u32>>) -> Vec<Result<()>> {
    batch.into_iter().map(even).collect()
}

#[test]
fn one_event_fails_without_the_others() {
    let batch = || ["2", "3", "4"].map(test::event);
    assert_eq!(messages(&test::deliver(even, batch())), ["ok", "odd", "ok"]);
    assert_eq!(messages(&test::deliver(evens, batch())), ["ok", "odd", "ok"]);
}

#[test]
fn data_that_does_not_fit_fails_for_good_and_is_not_in_the_batch() {
    for results in [
        test::deliver(even, ["2", "two", "3"].map(test::event)),
        test::deliver(evens, ["2", "two", "3"].map(test::event)),
    ] {
        let message = "the event's data is not valid JSON, line 1 column 2: expected ident";
        assert_eq!(messages(&results), ["ok", message, "odd"]);
        assert_eq!(results[1].as_ref().unwrap_err().retry, Retry::Never);
        assert_eq!(results[2].as_ref().unwrap_err().retry, Retry::Backoff);
    }
    let all_wrong = |_: Vec<Event<u32>>| -> Result<()> { panic!("there is nothing to handle") };
    assert_eq!(test::deliver(all_wrong, ["x", "y"].map(test::event)).len(), 2);
}

#[test]
fn a_batch_may_have_one_result_for_all() {
    let busy = |_: Vec<Event<u32>>| -> Result<()> {
        Err(Error::retry_after(Duration::from_secs(5), "busy"))
    };
    let results = test::deliver(busy, ["1", "2"].map(test::event));
    assert_eq!(messages(&results), ["busy", "busy"]);
    assert_eq!(results[1].as_ref().unwrap_err().retry, Retry::After(Duration::from_secs(5)));
    let fine = |_: Context, _: Vec<Event<u32>>| {};
    assert_eq!(messages(&test::deliver(fine, ["1", "2"].map(test::event))), ["ok", "ok"]);
}

#[test]
fn a_wrong_number_of_results_fails_all() {
    let lazy = |_: Vec<Event<u32>>| vec![Ok::<(), Error>(())];
    let message = "the handler returned 1 results for 2 events";
    assert_eq!(messages(&test::deliver(lazy, ["1", "2"].map(test::event))), [message, message]);
}

#[test]
fn the_attributes_are_the_events() {
    let handler = |_: Context, event: Event<()>| -> Result<()> {
        assert_eq!((event.ty.as_str(), event.attempt), ("paid", 3));
        assert_eq!((event.extension("tenant"), event.extension("x")), (Some("a"), None));
        Ok(())
    };
    let mut event = test::event("null");
    event.ty = "paid".into();
    event.attempt = 3;
    event.extensions.push(("tenant".into(), "a".into()));
    assert_eq!(messages(&test::deliver(handler, [event])), ["ok"]);
}

#[test]
fn data_of_another_content_type_is_bytes_or_text() {
    let of_type = |content_type: &str, data: &'static [u8]| {
        let mut event = test::event(data);
        event.datacontenttype = Some(content_type.into());
        event
    };
    let text = |event: Event<String>| -> Result<()> { Err(Error::msg(event.data)) };
    assert_eq!(messages(&test::deliver(text, [of_type("text/plain", b"plain")])), ["plain"]);
    assert_eq!(
        messages(&test::deliver(text, [of_type("application/json", b"\"json\"")])),
        ["json"]
    );
    let results = test::deliver(text, [of_type("text/plain", b"\xff")]);
    assert_eq!(messages(&results), ["the event's data is not UTF-8: take `Event<Bytes>`"]);
    let bytes = |event: Event<Bytes>| -> Result<()> { Err(Error::msg(event.data.len())) };
    assert_eq!(messages(&test::deliver(bytes, [of_type("image/png", b"\xff\x00")])), ["2"]);
    let results = test::deliver(even, [of_type("image/png", b"2")]);
    assert_eq!(
        messages(&results),
        ["the event's data is `image/png`, not JSON: take `Event<Bytes>`"]
    );
}
