//! Key-value stores and transactions, through the real host and a real disk.

use std::{collections::BTreeSet, path::Path, time::Duration};

use futures_util::future::join_all;

use crate::harness::{Reply, Served, guest};

/// A function with the guest `state`, one with the same code that may only read, and one without a
/// grant.
fn manifest(store: &str) -> String {
    let component = guest("state");
    format!(
        r#"app = "shop"
[kv.things]
{store}
[functions.writer]
component = {component:?}
routes = [{{ path = "/{{*rest}}" }}]
grants.kv = {{ things = "read-write" }}
limits = {{ cpu_ms = 200 }}
[functions.reader]
component = {component:?}
routes = [{{ path = "/{{*rest}}", host = "reader.test" }}]
grants.kv = {{ things = "read" }}
[functions.none]
component = {component:?}
routes = [{{ path = "/{{*rest}}", host = "none.test" }}]
"#
    )
}

async fn served() -> Served {
    Served::manifest(&manifest("")).await
}

async fn text(served: &Served, path: &str) -> String {
    let reply = served.get(path).await;
    assert_eq!((reply.status, reply.outcome()), (200, "ok"), "{path}: {}", reply.text());
    reply.text().to_owned()
}

async fn done(served: &Served, path: &str) {
    let reply = served.get(path).await;
    assert_eq!((reply.status, reply.outcome()), (204, "ok"), "{path}: {}", reply.text());
}

async fn get_from(served: &Served, host: &str, path: &str) -> Reply {
    let mut headers = http::HeaderMap::new();
    headers.insert("host", host.parse().unwrap());
    served.send(http::Method::GET, path, headers, bytes::Bytes::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_that_fails_writes_nothing() {
    let served = served().await;
    for (how, status, outcome) in [
        ("trap", 502, "trap"),
        ("spin", 504, "cpu_exceeded"),
        ("error", 404, "ok"),
        ("unavailable", 503, "ok"),
    ] {
        let reply = served.get(&format!("/fail/{how}")).await;
        assert_eq!((reply.status, reply.outcome()), (status, outcome), "{how}");
        assert_eq!(served.get(&format!("/get/{how}")).await.status, 404, "{how}");
    }
    // A 404 that the handler returns as its answer is no failure.
    assert_eq!(served.get("/fail/answer").await.status, 404);
    assert_eq!(text(&served, "/get/answer").await, "\"written\"");
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_that_are_lost_over_a_limit_fail_the_invocation() {
    let text_of_manifest = manifest("")
        .replace("{ cpu_ms = 200 }", "{ cpu_ms = 200, memory_mib = 8, header_kib = 1024 }");
    let served = Served::manifest(&text_of_manifest).await;
    done(&served, "/lose/1").await;
    assert_eq!(text(&served, "/get/lost").await, "1");
    done(&served, "/put/lost/2").await;
    let reply = served.get("/lose/8").await;
    assert_eq!((reply.status, reply.outcome()), (502, "memory_exceeded"));
    assert_eq!(text(&served, "/get/lost").await, "2");
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_says_what_a_function_may_do() {
    let served = served().await;
    done(&served, "/put/a/1").await;
    let reply = get_from(&served, "reader.test", "/get/a").await;
    assert_eq!((reply.status, reply.text()), (200, "1"));
    for (host, path, sentence) in [
        (
            "reader.test",
            "/put/a/2",
            "the grant for the kv store `things` is `read`, and this call needs `read-write`",
        ),
        (
            "none.test",
            "/get/a",
            "the kv store \"things\" is not granted: the manifest grants no kv store to the function",
        ),
        (
            "localhost",
            "/use/other",
            "the kv store \"other\" is not granted: the function may use things",
        ),
    ] {
        served.lines();
        let reply = get_from(&served, host, path).await;
        // The client reads nothing of the host's.
        assert_eq!(reply.status, 500);
        assert!(!reply.text().contains("grant"), "{}", reply.text());
        let (_, lines) = served.record().await;
        assert!(lines.iter().any(|line| line.contains(sentence)), "{lines:?}");
    }
    assert_eq!(text(&served, "/get/a").await, "1");
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_is_unavailable_and_can_be_emptied() {
    let served = Served::manifest(&manifest("max_mib = 1")).await;
    done(&served, "/fill/600000").await;
    done(&served, "/put/small/1").await;
    let reply = served.get(&format!("/put/large/{}", "x".repeat(7000))).await;
    assert_eq!(reply.status, 204);
    let over = served.get("/fill/1048576").await;
    assert_eq!((over.status, over.outcome()), (507, "store_unavailable"));
    while served.record().await.0["outcome"] == "ok" {}
    // What was there is there.
    assert_eq!(text(&served, "/get/small").await, "1");
    done(&served, "/fill/100").await;
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_increments_count_each_once() {
    let served = served().await;
    let clients = (0..16).map(|_| async {
        let mut seen = Vec::new();
        for _ in 0..20 {
            seen.push(text(&served, "/count/hits").await.parse::<u32>().unwrap());
        }
        seen
    });
    let seen: BTreeSet<u32> = join_all(clients).await.into_iter().flatten().collect();
    // Each answer is another number, and none was left out.
    assert_eq!(seen, (1..=320).collect());
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_transfers_keep_the_sum() {
    let served = served().await;
    for account in 0..4 {
        done(&served, &format!("/put/account:{account}/100")).await;
    }
    let clients = (0..8_u32).map(|client| {
        let served = &served;
        async move {
            for n in 0..25 {
                let (from, to, amount) = ((client + n) % 4, (client * n + 1) % 4, 1 + n % 30);
                let reply = served.get(&format!("/transfer/{from}/{to}/{amount}")).await;
                // There was enough, or there was not; either is an answer of the function.
                assert!([204, 409].contains(&reply.status), "{}", reply.status);
                assert_eq!(reply.outcome(), "ok");
                assert_eq!(text(served, "/sum").await, "400");
            }
        }
    });
    join_all(clients).await;
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_doctors_stays() {
    let served = served().await;
    for _ in 0..30 {
        done(&served, "/put/duty:ada/1").await;
        done(&served, "/put/duty:bea/1").await;
        let (ada, bea) = tokio::join!(text(&served, "/leave/ada"), text(&served, "/leave/bea"));
        let mut both = [ada, bea];
        both.sort();
        assert_eq!(both, ["left", "stays"]);
    }
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_after_a_listing_are_claimed_once() {
    let served = served().await;
    let clients = (0..8).map(|_| async {
        let mut claimed = Vec::new();
        for _ in 0..10 {
            claimed.push(text(&served, "/claim/ticket-").await);
        }
        claimed
    });
    let claimed: BTreeSet<String> = join_all(clients).await.into_iter().flatten().collect();
    assert_eq!(claimed, (0..80).map(|n| format!("ticket-{n:06}")).collect());
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_stays_over_a_new_start_and_belongs_to_one_host() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let text_of_manifest = manifest("");
    let start = |state: &Path| {
        let state = state.to_owned();
        Served::manifest_with(&text_of_manifest, |settings| settings.state_dir = Some(state))
    };
    let first = start(&state).await;
    done(&first, "/put/a/1").await;
    let error = lacewing_store::embedded::EmbeddedStore::open(
        &state,
        lacewing_store::embedded::EmbeddedOptions::default(),
    );
    assert!(error.unwrap_err().to_string().contains("is in use by another process"));
    first.assert_idle().await;
    drop(first);
    let until = std::time::Instant::now() + Duration::from_secs(60);
    // What a host has left is closed by its last task.
    while lacewing_store::embedded::EmbeddedStore::open(
        &state,
        lacewing_store::embedded::EmbeddedOptions::default(),
    )
    .is_err()
    {
        assert!(std::time::Instant::now() < until, "the first host keeps the directory");
        crate::harness::pause().await;
    }
    let second = start(&state).await;
    assert_eq!(text(&second, "/get/a").await, "1");
    second.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interfaces_of_others_lead_to_the_same_stores() {
    let component = guest("keyvalue");
    let served = Served::manifest(&format!(
        r#"app = "shop"
[kv.default]
[kv.spin]
[kv.second]
[functions.all]
component = {component:?}
routes = ["/{{dialect}}/{{store}}"]
grants.kv = {{ default = "read-write", second = "read-write", spin = "read" }}
env = {{ region = "eu", TOKEN = "secret" }}
"#
    ))
    .await;
    for (path, said) in [
        (
            "/draft/default",
            r#"7 [Some(("a", [49])), Some(("b", [55])), None] [true, false] KeyResponse { keys: ["a", "b"], cursor: None } None"#,
        ),
        (
            "/draft2/second",
            r#"-2 true Some([55]) [("a", Some([55])), ("none", None)] KeyResponse { keys: ["a"], cursor: None }"#,
        ),
        // What another interface has left is there.
        ("/spin/default", r#"Some([49]) None [true, false] ["a"]"#),
    ] {
        assert_eq!(text(&served, path).await, said, "{path}");
    }
    let all = r#"Ok([("region", "eu"), ("TOKEN", "secret")])"#;
    for (name, said, of_spin) in [
        ("region", r#"Some("eu")"#, r#"Ok("eu")"#),
        ("token", "None", r#"Ok("secret")"#),
        (
            "none",
            "None",
            r#"Err(Error::Undefined("the manifest has no variable `none` in `env`, and grants no such secret"))"#,
        ),
        (
            "No",
            "None",
            r#"Err(Error::InvalidName("\"No\": a name has lower-case letters, digits and underscores only"))"#,
        ),
    ] {
        let said = format!("Ok({said}) Ok({said}) {all} {of_spin}");
        assert_eq!(text(&served, &format!("/config/{name}")).await, said);
    }
    for (path, said) in [
        ("/draft/none", "Error::NoSuchStore"),
        ("/draft2/none", "Error::NoSuchStore"),
        ("/spin/none", "Error::AccessDenied"),
        ("/spin/spin", "Error::AccessDenied"),
    ] {
        let reply = served.get(path).await;
        assert_eq!(reply.status, 400, "{path}");
        assert_eq!(reply.problem()["detail"], said, "{path}");
    }
    served.assert_idle().await;
}
