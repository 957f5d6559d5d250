//! Clients of the API of the admin address: without the token, and with the token and requests that
//! no client of the API sends.

use std::{collections::BTreeSet, path::Path};

use futures_util::future::join_all;

use super::{Host, Target, admin, rest};
use crate::{admin_api::token, tenants::SUSPECT};

/// A suspect that may write to a store.
fn target() -> Target {
    let grants = "kv = { things = \"read-write\" }\n[kv.things]\n";
    Target::guest("state").limits("deadline_ms = 60_000").grants(grants)
}

const KEYS: &str = "/v1/tenants/suspect/kv/suspect/things/keys";

/// The fields of a request with the token of a host.
fn with_token(host: &Host) -> String {
    format!("authorization: Bearer {}\r\n", token(&host.path(".lacewing/state")))
}

fn request(method: &str, target: &str, fields: &str, content: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n{content}"
    )
}

async fn reply(host: &Host, bytes: impl AsRef<[u8]>) -> String {
    rest(admin::raw(host, bytes).await).await
}

fn status(reply: &str) -> &str {
    reply.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or_default()
}

/// The suspect's own function finds the entry that it set.
async fn entry_is_there(host: &Host) {
    let reply = crate::client::get(host.address(), SUSPECT, "/get/kept").await;
    assert_eq!((reply.status, reply.text()), (200, "1"));
}

/// Sets the entry, and reads it: the host keeps a connection of the database for reads.
async fn entry_is_set(host: &Host) {
    assert_eq!(crate::client::get(host.address(), SUSPECT, "/put/kept/1").await.status, 204);
    entry_is_there(host).await;
}

/// All files and folders below a folder.
fn tree(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        found.insert(entry.path().display().to_string());
        if entry.path().is_dir() {
            found.extend(tree(&entry.path()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_the_token() {
    target()
        .attacked_after(entry_is_set, async |host| {
            let good = with_token(host);
            let token = good.trim_end().rsplit(' ').next().unwrap();
            let (cut, half) = (&token[1..], "0".repeat(token.len()));
            for fields in [
                String::new(),
                format!("authorization: {token}\r\n"),
                format!("authorization: Basic {token}\r\n"),
                format!("authorization: Bearer {cut}\r\n"),
                format!("authorization: Bearer {token}0\r\n"),
                format!("authorization: Bearer {half}\r\n"),
                "authorization: Bearer \r\n".to_owned(),
                "authorization: Bearer \u{1f511}\r\n".to_owned(),
                format!("{good}{good}"),
                format!("cookie: token={token}\r\n"),
            ] {
                for (method, target) in [
                    ("GET", format!("{KEYS}/kept")),
                    ("PUT", format!("{KEYS}/kept")),
                    ("DELETE", format!("{KEYS}/kept")),
                    ("GET", format!("/v1/tenants?access_token={token}")),
                    ("POST", "/v1/backups".to_owned()),
                    ("POST", "/v1/tenants/suspect/checks".to_owned()),
                    ("GET", "/v1/nothing".to_owned()),
                ] {
                    let answer = reply(host, request(method, &target, &fields, "")).await;
                    assert_eq!(status(&answer), "401", "{fields}{method} {target}: {answer}");
                    assert!(answer.contains("www-authenticate: Bearer "), "{answer}");
                    assert!(!answer.contains("suspect"), "{answer}");
                }
            }
            let answer = reply(host, request("GET", &format!("{KEYS}/kept"), &good, "")).await;
            assert!(status(&answer) == "200" && answer.ends_with("\r\n\r\n1"), "{answer}");
            entry_is_there(host).await;
        })
        .await;
}

/// A page does not know the token. One that did would be refused all the same.
#[tokio::test(flavor = "multi_thread")]
async fn pages_with_the_token() {
    target()
        .attacked_after(entry_is_set, async |host| {
            let fields = with_token(host);
            let port = host.admin().port();
            for authority in [format!("evil.test:{port}"), format!("127.0.0.1.evil.test:{port}")] {
                let delete =
                    format!("DELETE {KEYS}/kept HTTP/1.1\r\nhost: {authority}\r\n{fields}\r\n");
                assert_eq!(status(&reply(host, delete).await), "421", "{authority}");
            }
            for page in [
                "origin: http://evil.test\r\n",
                "origin: null\r\n",
                "sec-fetch-site: cross-site\r\nsec-fetch-dest: empty\r\n",
            ] {
                let fields = format!("{fields}{page}");
                let answer = reply(host, request("DELETE", &format!("{KEYS}/kept"), &fields, ""));
                assert_eq!(status(&answer.await), "403", "{page}");
            }
            let preflight = "origin: http://evil.test\r\naccess-control-request-method: PUT\r\n";
            let answer =
                reply(host, request("OPTIONS", &format!("{KEYS}/kept"), preflight, "")).await;
            assert!(!answer.contains("access-control-allow"), "{answer}");
            entry_is_there(host).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_large_or_slow() {
    target()
        .attacked_after(entry_is_set, async |host| {
            let fields = with_token(host);
            let put = |more: &str, content: &str| {
                request("PUT", &format!("{KEYS}/large"), &format!("{fields}{more}"), content)
            };
            let said = reply(host, put("content-length: 1000000000\r\n", "x")).await;
            assert_eq!(status(&said), "413", "{said}");
            // Without a length it is read as far as a value may be long.
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            let mut endless = admin::raw(host, put("transfer-encoding: chunked\r\n", "")).await;
            let mut sent = 0;
            while tokio::io::AsyncWriteExt::write_all(&mut endless, chunk.as_bytes()).await.is_ok()
            {
                sent += 1;
                assert!(sent < 1000, "{sent} chunks of 64 KiB are taken");
            }
            let get = request(
                "GET",
                &format!("{KEYS}/kept"),
                &format!("{fields}content-length: 1\r\n"),
                "x",
            );
            assert_eq!(status(&reply(host, get).await), "413");
            // Slow ones make room for each other, and for a health check.
            let mut slow = Vec::new();
            for _ in 0..4 {
                for _ in 0..50 {
                    slow.push(admin::raw(host, put("content-length: 100\r\n", "x")).await);
                }
                admin::is_answered(host).await;
            }
            drop(slow);
            let large = reply(host, request("GET", &format!("{KEYS}/large"), &fields, "")).await;
            assert_eq!(status(&large), "404", "{large}");
            entry_is_there(host).await;
        })
        .await;
}

/// No path leads out of the tables of a tenant, and no request makes a file.
#[tokio::test(flavor = "multi_thread")]
async fn paths_that_lead_elsewhere() {
    target()
        .attacked_after(entry_is_set, async |host| {
            let fields = with_token(host);
            let before = tree(&host.path(""));
            let ask = async |method: &str, target: &str| {
                reply(host, request(method, target, &fields, "")).await
            };
            for (target, expected) in [
                ("/v1/tenants/../tenants/suspect/kv".to_owned(), "404"),
                ("/v1/tenants/..%2f..%2fetc/kv".to_owned(), "404"),
                ("/v1/tenants/%2e%2e/kv".to_owned(), "404"),
                ("/v1/tenants/suspect%00/kv".to_owned(), "404"),
                ("/v1/tenants/suspect%2fkv".to_owned(), "404"),
                ("/v1/tenants/SUSPECT/kv".to_owned(), "404"),
                ("/v1/tenants/neighbour/kv".to_owned(), "404"),
                ("/v1/tenants/suspect/kv/..%2fneighbour/things/keys".to_owned(), "404"),
                ("/v1/tenants/suspect/kv/suspect/..%2f..%2fthings/keys".to_owned(), "404"),
                ("/v1/tenants/suspect/kv/suspect/things'--/keys".to_owned(), "404"),
                (format!("{KEYS}/../keys/kept"), "404"),
                (format!("{KEYS}/%ff%fe"), "400"),
                (format!("{KEYS}/%c0%af"), "400"),
                (format!("{KEYS}/"), "400"),
                (format!("{KEYS}/{}", "k".repeat(513)), "400"),
                (format!("{KEYS}/{}", "%F0%9F%94%91".repeat(129)), "400"),
                (format!("{KEYS}?prefix=%ff"), "400"),
                (format!("{KEYS}?prefix=a&prefix=b"), "400"),
                (format!("{KEYS}?limit=18446744073709551616"), "400"),
                ("//v1/tenants".to_owned(), "404"),
                ("/v1/".to_owned(), "404"),
            ] {
                let answer = ask("GET", &target).await;
                assert_eq!(status(&answer), expected, "{target}: {answer}");
                assert!(answer.contains("application/problem+json") || target.starts_with("//"));
            }
            // The names of keys are theirs: each of these is one entry.
            let odd =
                ["..", "%2e%2e%2f%2e%2e%2fstate.db", "%00", "a%2fb", "a%5cb", "%0d%0a", "%22%3b"];
            let long = "k".repeat(512);
            for key in odd.iter().copied().chain([long.as_str()]) {
                let put = request(
                    "PUT",
                    &format!("{KEYS}/{key}"),
                    &format!("{fields}content-length: 1\r\n"),
                    "7",
                );
                assert_eq!(status(&reply(host, put).await), "204", "{key}");
                let answer = ask("GET", &format!("{KEYS}/{key}")).await;
                assert!(answer.ends_with("\r\n\r\n7"), "{key}: {answer}");
                assert_eq!(status(&ask("DELETE", &format!("{KEYS}/{key}")).await), "204", "{key}");
            }
            let listed = ask("GET", KEYS).await;
            assert!(listed.ends_with("{\"keys\":[\"kept\"],\"next\":null}"), "{listed}");
            assert_eq!(tree(&host.path("")), before);
            entry_is_there(host).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_by_hundreds_at_once() {
    let attack = async |host: &Host| {
        let fields = format!("{}content-length: 100000\r\n", with_token(host));
        let content = "x".repeat(100_000);
        let write = |n: usize| {
            reply(host, request("PUT", &format!("{KEYS}/n{}", n % 7), &fields, &content))
        };
        let replies = join_all((0..200).map(write)).await;
        for answer in &replies {
            // Some made room for others before they were whole.
            let told = ["204", "503", ""].contains(&status(answer));
            assert!(told, "{answer}");
            assert!(status(answer) != "503" || answer.contains("retry-after: 1\r\n"), "{answer}");
        }
        assert!(replies.iter().any(|answer| status(answer) == "204"));
        admin::is_answered(host).await;
        entry_is_there(host).await;
    };
    let warm = async |host: &Host| {
        entry_is_set(host).await;
        attack(host).await;
    };
    target().attacked_after(warm, attack).await;
}
