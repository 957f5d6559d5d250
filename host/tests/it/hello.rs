//! The main job, once through.

use crate::harness::{Served, component};

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_answers_over_http() {
    let served = Served::component(&component("hello")).await;
    let reply = served.get("/").await;
    assert_eq!((reply.status, reply.outcome(), reply.text()), (200, "ok", "Hello, world!\n"));
    assert_eq!(reply.headers["x-request-id"].len(), 32);
    served.assert_idle().await;
}
