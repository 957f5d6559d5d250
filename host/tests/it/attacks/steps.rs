//! Guests that call the host in a straight line, and so meet no point at which the host can
//! interrupt them.

use futures_util::{StreamExt, stream::FuturesUnordered};
use http::Request;

use super::{Target, heap};
use crate::{
    client,
    components::component_file,
    tenants::{SUSPECT, Tenants},
};

/// [`heap::straight_line`] in a component with room for a text of 3 MiB.
fn straight_line(before: &str, call: &str, times: usize) -> String {
    heap::straight_line(before, call, times)
        .replace("(memory (export \"memory\") 16)", "(memory (export \"memory\") 64)")
        .replace("(import \"m\" \"memory\" (memory 16))", "(import \"m\" \"memory\" (memory 64))")
}

const REQUEST: &str = "(memory.fill (i32.const 0x20000) (i32.const 97) (i32.const 0x300000)) (local.set $h (call $request (call $fields)))";
const METHOD: &str = "(drop (call $set-method (local.get $h) (i32.const 9) (i32.const 0x20000) (i32.const 1000000)))";

/// The request ends within one step, far below its budget, and the next one as well.
async fn ends_at_its_step(text: &str) {
    Target::text(text)
        .limits("cpu_ms = 60_000\ndeadline_ms = 120_000")
        .attacked(async |host| {
            for _ in 0..2 {
                let ended = host.get("/").await.is(504, "cpu_exceeded");
                let ended =
                    ended.because("the guest called the host for 20 ms of CPU time in one step");
                let cpu_us = ended.record["cpu_us"].as_u64().unwrap();
                assert!(cpu_us < 10_000_000, "{}", ended.record);
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_methods_in_a_straight_line() {
    ends_at_its_step(&straight_line(REQUEST, METHOD, 20_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_straight_lines_at_once() {
    Target::text(&straight_line(REQUEST, METHOD, 2_000))
        .limits("cpu_ms = 60_000")
        .attacked(async |host| {
            let all = (0..32).map(|_| {
                host.raw_reply("GET / HTTP/1.1\r\nhost: suspect.test\r\nconnection: close\r\n\r\n")
            });
            for reply in futures_util::future::join_all(all).await {
                let mut lines = reply.lines();
                let outcome = lines.find_map(|line| line.strip_prefix("lacewing-outcome: "));
                assert!(matches!(outcome, Some("cpu_exceeded" | "load_shed")), "{reply}");
            }
        })
        .await;
}

/// The start of a component is a guest as well: its deploy is refused, and the other tenant goes
/// on.
#[tokio::test(flavor = "multi_thread")]
async fn a_straight_line_in_a_start_function() {
    let text = straight_line("", "", 0);
    let start = format!(
        "(func $starts (local $h i32) {REQUEST}{}) (start $starts)\n    (func (export \"handle\")",
        METHOD.repeat(20_000)
    );
    let text = text.replacen("(func (export \"handle\")", &start, 1);
    let (_dir, path) = component_file(&text);
    let tenants = Tenants::hostile("").await;
    let refused = tenants.deploy("suspect", &path, "cpu_ms = 60_000").await.unwrap_err();
    let why = "the component does not start (cpu_exceeded): the guest called the host for 20 ms of CPU time in one step";
    assert!(refused.contains(why), "{refused}");
    tenants.neighbour_is_served().await;
}

/// Requests by the hundred on each of many connections of HTTP/2: all are answered, and so is the
/// neighbour meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn streams_by_the_thousand() {
    Target::guest("hostile")
        .limits("concurrency = 2000")
        .attacked(async |host| {
            let mut waiting = FuturesUnordered::new();
            for _ in 0..10 {
                let mut client = client::http2(host.address()).await;
                for _ in 0..100 {
                    let (sender, body) = client::upload();
                    drop(sender);
                    let request =
                        Request::post(format!("http://{SUSPECT}/fine")).body(body).unwrap();
                    client.ready().await.unwrap();
                    waiting.push(client.send_request(request));
                }
            }
            let mut answered = 0;
            while let Some(answer) = waiting.next().await {
                assert!([200, 404, 503].contains(&answer.unwrap().status().as_u16()));
                answered += 1;
            }
            assert_eq!(answered, 1000);
        })
        .await;
}
